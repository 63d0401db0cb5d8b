"""Promises that hold across runs, at a real engine: what was sent is not sent again, whatever happens between two runs."""

from pathlib import Path
from typing import Any

import pytest

from tests.engine.stage import DATABASE, OTHER_DATABASE, App, diagnostics

pytestmark = pytest.mark.engine

RESTORED = "c36da0f703ed9627a73fd6e297728343"
"""A database of its own: the service takes no snapshot of one for two minutes after a restore."""
PROGRAM = f"""
from servers import Server
from {{package}} import Restore, Snapshot

config = pulumi.Config()
upstream = Server("upstream", size=config.get("size"), delete_before_replace=True)
snapshot = Snapshot("before-release", "{DATABASE}", triggers=[upstream.id, {{{{"nested": [upstream.id]}}}}])
pending = Snapshot("slow", "{OTHER_DATABASE}", timeout="8s" if config.get_bool("hasty") else None)
Restore("back", database_id="{RESTORED}", version_id="{{version}}", overwrite=True, triggers=[upstream.id])
pulumi.export("version_id", snapshot.version_id)
pulumi.export("slow", pending.version_id)
"""


@pytest.fixture
def service() -> tuple[str, ...]:
    return ("--restore-seconds", "0.5", "--database", RESTORED)


DYNAMIC_BY_DAY = ["dynamic", pytest.param("plugin", marks=pytest.mark.nightly)]
PLUGIN_BY_DAY = [pytest.param("dynamic", marks=pytest.mark.nightly), "plugin"]
"""The stories of `tests/simulation` play each promise by both ways in virtual time; the real engine does so at night."""


@pytest.fixture
def way(app: App, request: pytest.FixtureRequest) -> str:
    """The package whose classes a program imports."""
    app.environment["SQUARECLOUD_RESTORE_SETTLE"] = "1s"
    app.emulator.sql(
        RESTORED, "CREATE TABLE rows (state)", "INSERT INTO rows VALUES ('then')"
    )
    if request.param == "plugin":
        app.plug()
        return "pulumi_snapshots.plugin"
    return "pulumi_snapshots"


def of(app: App, name: str) -> dict[str, Any]:
    (found,) = [one for one in app.resources() if one["urn"].endswith(f"::{name}")]
    return dict(found["outputs"])


@pytest.mark.parametrize("way", PLUGIN_BY_DAY, indirect=True)
def test_what_could_not_be_saved_or_is_deleted_upstream_is_not_sent_again(
    app: App, way: str
) -> None:
    version = app.stored(RESTORED)
    app.emulator.sql(RESTORED, "UPDATE rows SET state = 'now'")
    program = PROGRAM.format(package=way, version=version)
    app.program(program)
    app.slow(OTHER_DATABASE)
    _saves_nothing_of_an_up(app)
    app.pass_time(600)
    _has_another_key(app)

    # The next up has what the service did, and sends only what was not sent.
    app.emulator.sql(RESTORED, "UPDATE rows SET state = 'later'")
    printed = app.up("-c", "size=1", "-c", "hasty=false")
    assert "by an earlier run that" in diagnostics(printed)
    taken = _versions(app, way)
    assert sorted(taken.values()) == sorted(app.started())
    assert len(app.restores()) == 1

    # Something upstream is deleted first and made again with the same output: nothing is taken, nothing is restored.
    app.pass_time(600)
    app.emulator.sql(RESTORED, "UPDATE rows SET state = 'later still'")
    assert "upstream" in app.up(*SECOND_SIZE)
    assert _versions(app, way) == taken
    assert "later still" in str(app.emulator.sql(RESTORED, "SELECT state FROM rows"))
    assert (len(app.started()), len(app.restores())) == (2, 1)
    _is_done_again_as_often_as_it_is_asked_for(app)
    _refuses_in_the_preview_what_a_state_changes(app, program)


SECOND_SIZE = ("-c", "size=2", "-c", "hasty=false")


def _saves_nothing_of_an_up(app: App) -> None:
    """As if the engine could not. That itself takes minutes, since the engine tries again and again."""
    saved = app.state_file.read_text()
    app.up("-c", "size=1", "-c", "hasty=true", fails=True)
    app.state_file.write_text(saved)
    names = {one["urn"].rpartition("::")[2] for one in app.resources()}
    assert not names & {"before-release", "back", "slow"}


def _has_another_key(app: App) -> None:
    key = f"{app.environment['SQUARECLOUD_API_KEY']}-rotated"
    app.change_key(key)
    app.environment["SQUARECLOUD_API_KEY"] = key


def _versions(app: App, way: str) -> dict[str, str]:
    """The versions of both snapshots in the state, by the resource's name."""
    name = "version_id" if way == "pulumi_snapshots" else "versionId"
    return {each: of(app, each)[name] for each in ("before-release", "slow")}


def _is_done_again_as_often_as_it_is_asked_for(app: App) -> None:
    """Also directly after the run before."""
    urns = [
        one["urn"]
        for one in app.resources()
        if one["urn"].rpartition("::")[2] in {"slow", "back"}
    ]
    replaced = [word for urn in urns for word in ("--replace", urn)]
    for count in (1, 2):
        app.pass_time(600)
        app.up("--refresh", *SECOND_SIZE, *replaced)
        assert (len(app.started()), len(app.restores())) == (2 + count, 1 + count)


def _refuses_in_the_preview_what_a_state_changes(app: App, program: str) -> None:
    """What a state does not give back as it was is no trigger; that leaves the stack as it is."""
    wrong = program.replace(
        "overwrite=True, triggers=[",
        'overwrite=True, triggers=[pulumi.StringAsset("x"), ',
    )
    app.program(wrong)
    assert "must not hold an asset or archive" in app.preview(*SECOND_SIZE, fails=True)
    app.program(program)
    assert "5 unchanged" in app.preview(*SECOND_SIZE)


@pytest.mark.parametrize("way", PLUGIN_BY_DAY, indirect=True)
def test_a_replacement_trigger_takes_a_new_snapshot_directly_after_a_run(
    app: App, way: str
) -> None:
    options = 'opts=pulumi.ResourceOptions(replacement_trigger=pulumi.Config().require("release"))'
    app.program(
        f'from {way} import Snapshot\n\nSnapshot("before-release", "{DATABASE}", {options})\n'
    )
    for release in ("v1", "v2"):
        app.up("-c", f"release={release}")
        app.pass_time(600)
    assert len(app.started()) == 2


MOVING = f"""
import importlib

config = pulumi.Config()
package = importlib.import_module(config.require("package"))
names = {{{{"opts": pulumi.ResourceOptions(aliases=[pulumi.Alias(name="renamed")])}}}} if config.get_bool("alias") else {{{{}}}}
snapshot = package.Snapshot(config.get("name") or "before-release", "{DATABASE}", triggers=["v1"],
                            timeout="6s" if config.get_bool("hasty") else None, **names)
package.Restore("back", database_id="{RESTORED}", version_id="{{version}}", overwrite=True, triggers=[snapshot])
pulumi.export("version_id", snapshot.version_id)
"""


@pytest.mark.parametrize("way", ["dynamic"], indirect=True)
def test_a_resource_that_moves_or_is_renamed_is_the_same_and_so_is_its_id_as_a_trigger(
    app: App, way: str
) -> None:
    app.plug()
    version = app.stored(RESTORED)
    app.program(MOVING.format(version=version))
    app.slow()
    app.up("-c", f"package={way}", "-c", "hasty=true", fails=True)
    assert "pending" in next(
        one["id"] for one in app.resources() if one["urn"].endswith("::before-release")
    )

    def goes_on(*arguments: str) -> None:
        """An `up` after which one snapshot is taken, and one restore was done."""
        app.pass_time(600)
        app.up("-c", "hasty=false", *arguments)
        assert app.stack.outputs()["version_id"] == app.started()[0]
        assert (len(app.started()), len(app.restores())) == (1, 1)

    goes_on()  # the restore's trigger is the provisional id, or already the final one
    app.refresh()
    goes_on()
    goes_on("-c", "package=pulumi_snapshots.plugin")
    (urn,) = [
        one["urn"] for one in app.resources() if one["urn"].endswith("::before-release")
    ]
    app.run("state", "rename", urn, "renamed", "--yes")
    goes_on("-c", "name=renamed")
    goes_on("-c", "name=again", "-c", "alias=true")
    goes_on("-c", f"package={way}")
    app.run("stack", "rename", "other")
    app.select("other")
    goes_on()


@pytest.mark.parametrize(
    "service", [("--clock-offset", "1200", "--database", RESTORED)]
)
@pytest.mark.parametrize("way", DYNAMIC_BY_DAY, indirect=True)
def test_only_proof_ends_an_attempt_whose_answer_was_lost(app: App, way: str) -> None:
    """The service's clock is 20 minutes ahead and moves on alone; it stood two hours back in the other stories."""
    version = app.stored(RESTORED)
    app.program(f"""
from {way} import Restore, Snapshot

timeout = pulumi.Config().get("timeout")
snapshot = Snapshot("before-release", "{DATABASE}", timeout=timeout)
Restore("back", database_id="{RESTORED}", version_id="{version}", overwrite=True, timeout=timeout)
pulumi.export("version_id", snapshot.version_id)
""")
    app.slow()
    app.fault("create", when="after", drop=True)
    app.fault("restore", when="after", drop=True)
    app.up("-c", "timeout=2s", fails=True)
    app.forget()  # and goes on at another machine
    app.pass_time(300)
    empty = '{"status":"success","response":[]}'
    app.fault("list", times=1, body=empty)
    app.fault("list account", times=1, body=empty)
    app.up("-c", "timeout=2s", fails=True)
    app.pass_time(600)
    app.up("-c", "timeout=40s")
    assert (len(app.posts()), len(app.restores())) == (1, 1)
    assert [app.stack.outputs()["version_id"]] == app.started()


# Machines that share a place

SHARED = f"""
from {{package}} import Restore, Snapshot

Snapshot("before-release", "{DATABASE}", triggers=["v1"])
Restore("back", database_id="{RESTORED}", version_id="{{version}}", overwrite=True)
"""


@pytest.mark.parametrize(
    "package",
    [
        "pulumi_snapshots",
        pytest.param("pulumi_snapshots.plugin", marks=pytest.mark.nightly),
    ],
)
def test_what_one_machine_has_sent_another_does_not_send_again(
    app: App, package: str, tmp_path: Path
) -> None:
    name = "version_id" if package == "pulumi_snapshots" else "versionId"
    if name == "versionId":
        app.plug()
    app.environment["SQUARECLOUD_RESTORE_SETTLE"] = "1s"
    version = app.stored(RESTORED)
    app.program(SHARED.format(package=package, version=version))
    shared = tmp_path / "shared"
    setting = "squarecloud:sharedState"

    if (
        name == "version_id"
    ):  # the plugin words an error alike, and each run takes seconds
        printed = diagnostics(app.up("-c", f"{setting}={shared}", fails=True))
        assert f"{setting} cannot be used: {shared}" in printed
        assert "there is no such folder." in printed
        assert (
            "Nothing was started, because each request must be written there first."
            in printed
        )
        assert "squarecloud-snapshots explain ledger-unavailable" in printed
        assert not app.posts()

    # The state of the first machine is lost; the second one completes from the place.
    shared.mkdir()
    saved = app.state_file.read_text()
    app.up("-c", f"{setting}={shared}")
    app.state_file.write_text(saved)
    app.environment["XDG_STATE_HOME"] = str(tmp_path / "another machine")
    printed = app.up("-c", f"{setting}={shared}")
    assert "by an earlier run that" in diagnostics(printed)
    assert [of(app, "before-release")[name]] == app.started()
    assert len(app.restores()) == 1
    assert {path.suffix for path in shared.iterdir()} <= {".ledger", ".ledger-journal"}
    assert len(list(shared.glob("*.ledger"))) == 1


@pytest.mark.parametrize(
    "package",
    ["pulumi_snapshots", "pulumi_snapshots.plugin"],
    ids=["dynamic", "plugin"],
)
def test_the_backend_that_a_project_names_is_where_a_run_writes_down_what_it_sends(
    app: App, package: str
) -> None:
    if package != "pulumi_snapshots":
        app.plug()
    project = app.stack.project / "Pulumi.yaml"
    (app.stack.project / "src").mkdir()
    url = app.environment.pop("PULUMI_BACKEND_URL")
    project.write_text(f"{project.read_text()}main: src\nbackend: {{url: '{url}'}}\n")
    program = (
        f'from {package} import Snapshot\nSnapshot("before-release", "{DATABASE}")\n'
    )
    (app.stack.project / "src" / "__main__.py").write_text(program)
    app.up("-c", "squarecloud:sharedState=backend")
    assert len(app.posts()) == 1
    assert list((app.folder / "backend" / ".pulumi-snapshots").glob("*.ledger"))
    assert not list((app.folder / "state").rglob("*.ledger"))
