"""The workflows of the pages: checked as they are printed, and their steps played on runners that start empty."""

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from pulumi_snapshots.run.settings import Settings
from tests.engine.stage import DATABASE, App, wait_for
from tests.support.machine import had
from tests.support.object_stores import ObjectStore, Stores
from tools.engine import installed

PROJECT = Path(__file__).resolve().parents[2]
HOWTO = PROJECT / "docs" / "howto"
PROGRAM = f"""import pulumi
from pulumi_snapshots import Snapshot

Snapshot("before-release", "{DATABASE}", triggers=[pulumi.Config().require("release")])
"""
PIP = """#!/bin/sh
# Every package comes from the clone.
for argument in "$@"; do
  case "$argument" in
  install) ;;
  ./.pulumi-snapshots\\[*) test -f .pulumi-snapshots/pyproject.toml || exit 1 ;;
  *) echo "$argument is a name that anybody could register" >&2; exit 1 ;;
  esac
done
"""


def blocks(page: str) -> list[str]:
    return re.findall(
        r"^```yaml\n(.*?)^```$",
        (HOWTO / f"{page}.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )


GITHUB = blocks("github-actions")
GITLAB = blocks("gitlab-ci")


@dataclass
class Runner:
    """A machine that starts empty: what its steps see is the job's environment and a checkout."""

    folder: Path
    environment: dict[str, str]

    def start(self, line: str) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603  what the page shows
            ["bash", "-eo", "pipefail", "-c", line],  # noqa: S607  as a runner does
            cwd=self.folder / "work",
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def plays(self, line: str, *, fails: bool = False) -> str:
        process = self.start(line)
        printed, _ = process.communicate(timeout=180)
        print(f"$ {line}\n{printed}")  # noqa: T201  pytest shows it where a test fails
        assert (process.returncode != 0) is fails, printed
        return printed


@pytest.fixture(scope="module")
def store(stores: Stores) -> ObjectStore:
    store = stores("s3")
    store.make_bucket("my-bucket")
    return store


def runner(
    app: App,
    store: ObjectStore,
    number: int,
    variables: dict[str, Any],
    *,
    as_printed: bool,
) -> Runner:
    """An empty machine for the job of a page's workflow, on which the packages, and the login to the cloud, are there."""
    folder = app.folder / f"runner-{number}"
    bin_ = folder / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "pip").write_text(PIP)
    (bin_ / "pip").chmod(0o755)
    shutil.copytree(app.stack.project, folder / "work")
    (folder / "work" / ".pulumi-snapshots").symlink_to(PROJECT)
    given = {
        name: value
        for name, value in variables.items()
        if isinstance(value, str) and "{{" not in value
    }
    given.pop("AWS_ROLE_ARN", None), given.pop("AWS_WEB_IDENTITY_TOKEN_FILE", None)
    there = store.url.removeprefix("http://")
    given["PULUMI_BACKEND_URL"] += (
        f"&endpoint={there}&disableSSL=true&s3ForcePathStyle=true"
    )
    if not as_printed:  # the engine that is built for tests knows no bucket: both runners' states lie in one folder
        given["SQUARECLOUD_SHARED_STATE"] = str(Settings.read({}, given).shared_state)
        given["PULUMI_BACKEND_URL"] = app.environment["PULUMI_BACKEND_URL"]
    own = {
        name: value for name, value in app.environment.items() if name != "PULUMI_STACK"
    }
    cloud = {
        name: value
        for name, value in store.environment.items()
        if name != "AWS_ENDPOINT_URL"
    }
    home = {
        "HOME": str(folder),
        "PULUMI_HOME": str(folder / "home"),
        "XDG_STATE_HOME": str(folder / "state"),
    }
    ci = {
        "CI": "true",
        "CI_COMMIT_SHA": "c0ffee",
        "PULUMI_CONFIG_PASSPHRASE": "x",
        "UNLOCK": "",
    }
    path = {
        "PATH": os.pathsep.join([str(bin_), str(app.stack.pulumi.parent), own["PATH"]])
    }
    return Runner(folder, {**own, **cloud, **home, **ci, **given, **path})


def jobs() -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of the two pages that deploy."""
    return yaml.safe_load(GITHUB[-1])["jobs"]["deploy"], yaml.safe_load(GITLAB[-1])[
        "deploy"
    ]


def steps(job: dict[str, Any]) -> list[str]:
    """The commands of a job that concern Pulumi."""
    lines = [
        each if isinstance(each, str) else each.get("run", "")
        for each in job.get("steps") or job["script"]
    ]
    return [line for line in lines if line and not line.startswith(("git ", "printf "))]


def test_both_pages_run_the_same_commands() -> None:
    github, gitlab = jobs()
    assert [each["uses"].partition("@")[0] for each in github["steps"] if "uses" in each] == ["actions/checkout"] * 2 + [
        "actions/setup-python", "pulumi/actions", "aws-actions/configure-aws-credentials"
    ]  # fmt: skip
    unlock = r'if \[ -n "\$UNLOCK" \]; then (.*); fi'
    assert [
        re.sub(unlock, r"\1", line).replace("CI_COMMIT", "GITHUB")
        for line in steps(gitlab)
    ] == steps(github)


@pytest.mark.engine
@pytest.mark.parametrize(
    "as_printed", [False, pytest.param(True, marks=pytest.mark.nightly)]
)
def test_a_lost_runner_costs_no_second_snapshot(
    app: App, store: ObjectStore, *, as_printed: bool
) -> None:
    if as_printed:
        had("pulumi", lambda: installed(os.environ))
    _, gitlab = jobs()
    lines = steps(gitlab)
    doctor, up, unlock = (
        next(line for line in lines if word in line)
        for word in ("doctor", "pulumi up", "pulumi cancel")
    )
    (app.stack.project / "__main__.py").write_text(PROGRAM)
    (app.stack.project / "Pulumi.yaml").write_text("name: gitlab\nruntime: python\n")

    lost = runner(app, store, 1, gitlab.get("variables", {}), as_printed=as_printed)
    lost.plays("pulumi stack init production")
    lost.plays(lines[0])
    usable = r"ok +ledger +shared: s3://my-bucket/.pulumi-snapshots/\w+.ledger.json can be read and written, and a stale"
    assert re.search(usable, lost.plays(doctor))
    app.slow()
    process = lost.start(up)
    wait_for(app.posts, "the request")
    wait_for(
        lambda: "list" in {each["kind"] for each in app.requests()}, "the first poll"
    )
    os.killpg(process.pid, signal.SIGKILL)
    for name in ("pulumi-language", "pulumi.dynamic"):
        subprocess.run(["pkill", "-9", "-s", str(process.pid), "-f", name], check=False)  # noqa: S603, S607
    process.communicate()

    after = runner(app, store, 2, gitlab.get("variables", {}), as_printed=as_printed)
    after.plays(lines[0])
    after.plays(doctor)
    assert "the stack is currently locked by 1 lock(s)" in after.plays(up, fails=True)
    listed = after.plays("squarecloud-snapshots runs --stack production")
    assert (
        f"{DATABASE}\n  what   snapshot\n  by     before-release of gitlab/production\n"
        in listed
    )
    assert "state  accepted, not listed yet" in listed
    after.environment["UNLOCK"] = "yes"
    after.plays(unlock)
    app.emulator.control("clock", {"advance": 700.0})
    printed = after.plays(up)
    assert "an earlier run" in printed
    assert len(app.posts()) == 1
    assert "nothing is under way" in after.plays(
        "squarecloud-snapshots runs --stack production"
    )
