"""action.yml and the template of GitLab, played step by step with the emulator: a snapshot, the command, the way back.

Python's own `venv` and `pip`, and git, have stand-ins that fetch nothing: what they are asked for is checked, and the package
is this clone's. Each step is run by bash as a runner does, with what it gets by its environment.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.support.near_emulator import quick_emulator
from tests.support.preloaded import python_of
from tools.sandbox import Service

PROJECT = Path(__file__).resolve().parents[2]
ACTION = yaml.safe_load((PROJECT / "action.yml").read_text())
TEMPLATE = yaml.safe_load((PROJECT / "templates" / "guard.yml").read_text())[
    ".squarecloud-guard"
]
DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
OTHER = "b25c9e6f2dc8516b962fc5d186617232"
SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
VENV = """#!/bin/sh
test "$1 $2" = "-m venv" || exit 9
mkdir -p "$3/bin"
cat >"$3/bin/pip" <<'END'
#!/bin/sh
for last; do :; done
echo "$last" >>"$HOME/installed"
END
cat >"$3/bin/squarecloud-snapshots" <<'END'
#!/bin/sh
exec "$PYTHON" -m pulumi_snapshots.cli "$@"
END
chmod +x "$3/bin/pip" "$3/bin/squarecloud-snapshots"
"""
GIT = f"""#!/bin/sh
case "$1 $2" in
"clone --quiet") test "$3" = https://example.com/clone.git && ln -s {PROJECT} "$4" ;;
*) test "$3 $4 $5" = "checkout --quiet c0ffee" ;;
esac
"""
STEP_OUTPUT = re.compile(r"\$\{\{ steps\.(\w+)\.outputs\.(\w+) \}\}")


@dataclass
class Played:
    """How a job ended."""

    code: int
    log: str
    snapshot: str
    undo: str
    summary: str

    @property
    def done(self) -> "Played":
        assert self.code == 0, self.log
        return self


@dataclass
class Runner:
    """A machine that starts empty."""

    folder: Path
    service: Service
    more: dict[str, str]

    def __post_init__(self) -> None:
        programs = self.folder / "bin"
        self.work = self.folder / "work"
        for each in (programs, self.work, self.folder / "temp"):
            each.mkdir(parents=True)
        for name, text in (("python3", VENV), ("git", GIT)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.environment = {
            "PATH": f"{programs}{os.pathsep}/usr/bin:/bin",
            "HOME": str(self.folder),
            "CI": "true",
            **{
                each: value
                for each, value in self.service.environment.items()
                if "KEY" not in each
            },
            **self.more,
        }

    def runs(self, script: str, environment: Mapping[str, str]) -> tuple[int, str]:
        ended = subprocess.run(  # noqa: S603  what a runner does
            [*SHELL, script],
            cwd=self.work,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )
        return ended.returncode, ended.stdout

    def github(self, **inputs: str) -> Played:
        """Play the steps of the action."""
        given = {name: each.get("default") for name, each in ACTION["inputs"].items()}
        given |= {
            "token": self.service.key,
            **{k.replace("_", "-"): v for k, v in inputs.items()},
        }
        assert given.keys() == ACTION["inputs"].keys()
        log = ""
        code = 0
        summary = self.folder / "summary"
        outputs: dict[tuple[str, str], str] = {}
        for number, step in enumerate(ACTION["runs"]["steps"]):
            output = self.folder / f"output-{number}"
            output.touch()
            code, printed = self.runs(
                step["run"],
                {
                    "GITHUB_OUTPUT": str(output),
                    "GITHUB_STEP_SUMMARY": str(summary),
                    "GITHUB_ACTION_PATH": str(PROJECT),
                    "RUNNER_TEMP": str(self.folder / "temp"),
                    **{
                        name: _evaluated(text, given)
                        for name, text in step["env"].items()
                    },
                },
            )
            log += printed
            for line in output.read_text().splitlines():
                name, _, value = line.partition("=")
                outputs[str(step.get("id")), name] = value
            if code:
                break
        values = {}
        for name, each in ACTION["outputs"].items():
            found = STEP_OUTPUT.fullmatch(each["value"])
            assert found
            values[name] = outputs.get((found[1], found[2]), "")
        shown = summary.read_text() if summary.exists() else ""
        return Played(code, log, values["snapshot"], values["undo"], shown)

    def gitlab(self, **inputs: str) -> Played:
        """Play the script of a job that extends the template."""
        given = {f"GUARD_{name.upper()}": value for name, value in inputs.items()}
        variables = {
            "SQUARECLOUD_API_KEY": self.service.key,
            "PULUMI_SNAPSHOTS": "https://example.com/clone.git",
            "PULUMI_SNAPSHOTS_COMMIT": "c0ffee",
            **TEMPLATE["variables"],
        }
        assert given.keys() <= variables.keys()
        code, log = self.runs("\n".join(TEMPLATE["script"]), {**variables, **given})
        dotenv, page = (self.work / name for name in self._artifacts())
        lines = dotenv.read_text().splitlines() if dotenv.exists() else []
        written = dict(each.split("=", 1) for each in lines)
        assert not re.search(r"\s", "".join(written.values())), (
            "GitLab takes no such value"
        )
        summary = page.read_text() if page.exists() else ""
        undo = re.findall(r"```sh\n(.*)\n```", summary)
        snapshot = written.get("SQUARECLOUD_SNAPSHOT", "").replace(",", " ")
        return Played(code, log, snapshot, "".join(undo), summary)

    def _artifacts(self) -> tuple[str, str]:
        (page,) = TEMPLATE["artifacts"]["paths"]
        return TEMPLATE["artifacts"]["reports"]["dotenv"], page

    def plays(self, place: str, **inputs: str) -> Played:
        ended: Played = getattr(self, place)(**inputs)
        assert self.service.key not in ended.log + ended.summary
        return ended


def _evaluated(text: str, inputs: Mapping[str, Any]) -> str:
    name = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", text)
    assert name, f"{text}: one input, and nothing around it"
    return str(inputs[name[1]])


@pytest.fixture
def service() -> Iterator[Service]:
    with quick_emulator(DATABASE, OTHER) as emulator:
        yield emulator


@pytest.fixture
def here(forks: dict[str, str]) -> dict[str, str]:
    """What the environment of each runner has here."""
    return {**forks, "PYTHON": python_of(forks)}


@pytest.fixture
def runner(service: Service, tmp_path: Path, here: dict[str, str]) -> Runner:
    return Runner(tmp_path / "runner", service, here)


def taken(service: Service) -> list[str]:
    sent = [
        each
        for each in service.journal()
        if each["kind"] == "create" and each["version_id"]
    ]
    return [f"{each['database_id']}/{each['version_id']}" for each in sent]


each_place = pytest.mark.parametrize("place", ["github", "gitlab"])


@each_place
def test_the_command_runs_after_a_snapshot_and_the_way_back_is_shown(
    runner: Runner, service: Service, place: str
) -> None:
    command = 'echo "one: $*"\necho "key: ${SQUARECLOUD_API_KEY:-none}" | tee done\n'
    ended = runner.plays(
        place, database=f"{DATABASE}\n {OTHER}\n", command=command
    ).done
    snapshots = taken(service)
    assert sorted(ended.snapshot.split(" ")) == sorted(snapshots)
    assert len(snapshots) == 2
    ways = [
        f"squarecloud-snapshots restore {each}" for each in ended.snapshot.split(" ")
    ]
    assert ended.undo == " && ".join(ways)
    assert ended.undo in ended.summary
    assert "the scope `databases:read`" in ended.summary, "what the way back needs"
    assert ended.summary.startswith("### `echo` is guarded by a snapshot\n")
    assert (runner.work / "done").read_text() == "key: none\n"
    (installed,) = (runner.folder / "installed").read_text().splitlines()
    assert installed.endswith("[cli]")


@each_place
def test_a_command_that_fails_fails_the_job_with_its_exit_code(
    runner: Runner, service: Service, place: str
) -> None:
    command = "sh -c 'exit 7' | cat\ntouch too-far"
    ended = runner.plays(place, database=DATABASE, command=command)
    assert ended.code == 7, ended.log
    (snapshot,) = taken(service)
    assert ended.snapshot == snapshot
    assert f"run of sh has failed, guarded by {snapshot}" in ended.log
    assert not (runner.work / "too-far").exists()


@each_place
def test_without_a_snapshot_the_command_does_not_run(
    runner: Runner, service: Service, place: str
) -> None:
    code = "DAILY_SNAPSHOTS_LIMIT_REACHED"
    service.control(
        "faults", {"kind": "create", "status": 429, "code": code, "times": None}
    )
    ended = runner.plays(place, database=DATABASE, command="touch done")
    assert ended.code == 125, ended.log
    assert (ended.snapshot, ended.undo, ended.summary) == ("", "", "")
    assert not (runner.work / "done").exists()


@each_place
def test_with_shared_state_the_next_runner_is_guarded_by_the_snapshot_of_the_first_try(
    service: Service, tmp_path: Path, here: dict[str, str], place: str
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    given = {"database": DATABASE, "shared_state": str(shared)}
    lost = Runner(tmp_path / "1", service, here)
    assert lost.plays(place, command="false", **given).code == 1
    ended = (
        Runner(tmp_path / "2", service, here).plays(place, command="true", **given).done
    )
    (snapshot,) = taken(service)
    assert ended.snapshot == snapshot
    assert (
        "an earlier run of false did not begin, failed, was cut off, or is still under way"
        in ended.log
    )
    assert (lost.folder / "installed").read_text().endswith("[cli,archive]\n")


@each_place
def test_a_vendors_command_gets_the_key_if_that_is_wanted(
    runner: Runner, service: Service, place: str
) -> None:
    command = 'test "$SQUARECLOUD_API_KEY" = "$(cat ../key)"'
    (runner.folder / "key").write_text(service.key)
    runner.plays(place, database=DATABASE, command=command, keep_key="true").done  # noqa: B018  it asserts


@each_place
def test_guards_that_are_off_are_said_to_be_off(
    runner: Runner, service: Service, place: str
) -> None:
    runner.environment["SQUARECLOUD_GUARD"] = "off"
    ended = runner.plays(place, database=DATABASE, command="touch done").done
    assert ended.summary == "### `touch` has no snapshot, since guards are off\n"
    assert (ended.snapshot, ended.undo, taken(service)) == ("", "", [])


HOSTILE = {
    "a command in a database": {"database": f"{DATABASE};touch${{IFS}}pwned"},
    "a substitution in a database": {"database": "$(touch${IFS}pwned)"},
    "an option in a database": {"database": f"--restore-on-failure --yes {DATABASE}"},
    "a command in fallback": {"fallback": "1h;touch pwned"},
    "an option in fallback": {"fallback": "1h --yes"},
    "a pattern in a database": {"database": "*"},
    "no database": {"database": " \n"},
    "no command": {"command": " \n"},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_an_input_is_never_run_and_never_an_option(
    runner: Runner, service: Service, what: str
) -> None:
    (runner.work / DATABASE).touch()  # what a pattern would find
    given = {"database": DATABASE, "command": "touch pwned", **HOSTILE[what]}
    ended = runner.plays("github", **given)
    assert ended.code in {2, 125}, ended.log
    assert "Error: " in ended.log
    assert not (runner.work / "pwned").exists()
    assert {each["kind"] for each in service.journal()} <= {"me"}, (
        "it is looked up as a name"
    )


def test_what_guards_shows_of_a_command_is_its_first_word(runner: Runner) -> None:
    secret = "PGPASSWORD=hunter2 true --password=hunter2"
    for database, command in (
        (DATABASE, "/bin/echo --password=hunter2 >/dev/null"),
        (OTHER, secret),
    ):
        runner.plays("gitlab", database=database, command=command).done  # noqa: B018  it asserts
    code, log = runner.runs(
        '"$PYTHON" -m pulumi_snapshots.cli guards', {"SQUARECLOUD_API_KEY": ""}
    )
    assert code == 0, log
    assert "command guard/echo" in log
    assert "command guard/command" in log
    assert "hunter2" not in log


def block(page: str) -> Any:
    """The first workflow of a page."""
    text = (PROJECT / "docs" / "howto" / f"{page}.md").read_text()
    return yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])


def test_the_job_of_each_page_runs_a_migration_after_a_snapshot(
    service: Service, tmp_path: Path, here: dict[str, str]
) -> None:
    """With a stand-in for Alembic, which is not here."""
    migrate = block("github-actions")["jobs"]["migrate"]
    (step,) = (
        each for each in migrate["steps"] if each.get("uses") == "./.pulumi-snapshots"
    )
    assert step["with"].pop("token") == "${{ secrets.SQUARECLOUD_API_KEY }}"
    gitlab = block("gitlab-ci")
    assert (PROJECT / gitlab["include"][0]["file"].lstrip("/")).is_file()
    job = gitlab["migrate"]
    assert job["extends"] == ".squarecloud-guard"
    assert "script" not in job, "it would replace the template's"
    variables = {
        k.removeprefix("GUARD_").lower(): v for k, v in job["variables"].items()
    }
    for place, given in (
        ("github", step["with"]),
        ("gitlab", {**variables, "database": OTHER}),
    ):
        runner = Runner(tmp_path / place, service, here)
        alembic = runner.folder / "bin" / "alembic"
        alembic.write_text('#!/bin/sh\necho "migrated: $*"\n')
        alembic.chmod(0o755)
        ended = runner.plays(place, **given).done
        assert "migrated: upgrade head" in ended.log
        assert ended.summary.startswith("### `alembic` is guarded")
    assert [each.partition("/")[0] for each in taken(service)] == [DATABASE, OTHER]


def test_the_inputs_reach_the_steps_by_their_environment_alone() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"], step["name"]
        assert step["shell"] == "bash"
    assert {"token", "database", "command", "fallback", "shared-state"} <= ACTION[
        "inputs"
    ].keys()
    assert ACTION["outputs"].keys() == {"snapshot", "undo"}
    named = {name.replace("-", "_") for name in ACTION["inputs"]} - {"token"}
    assert {f"GUARD_{name.upper()}" for name in named} == TEMPLATE["variables"].keys()
