"""The plugin at a real engine: found by `plugins.providers`, with the whole life of a snapshot and an archive."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.archive.scene import put
from tests.engine.conftest import SERVICE
from tests.engine.stage import DATABASE, OTHER_DATABASE, wait_for
from tests.support.near_emulator import near_emulator

if TYPE_CHECKING:
    from tests.engine.stage import App

pytestmark = pytest.mark.engine

HEAD = "import pulumi\nfrom pulumi_snapshots import plugin\nfrom pulumi_snapshots.plugin import Archive, Snapshot\n"
SNAPSHOT = f"""
config = pulumi.Config()
snapshot = Snapshot("before-release", "{DATABASE}", triggers=[config.get("release")], timeout=config.get("timeout"))
pulumi.export("download_url", snapshot.download_url)
pulumi.export("id", snapshot.id)
pulumi.export("version_id", snapshot.version_id)
pulumi.export("types", pulumi.Output.all(snapshot.size, snapshot.available, snapshot.created_at, snapshot.attempt).apply(
    lambda values: [type(value).__name__ for value in values]))
"""


@pytest.fixture
def plugged(app: App) -> App:
    app.plug()
    return app


def in_state(app: App, kind: str) -> list[dict[str, Any]]:
    return [one for one in app.resources() if one["type"] == f"squarecloud:index:{kind}"]


def test_a_real_interrupt_and_a_killed_engine_end_the_plugin(plugged: App) -> None:
    """What each leaves behind is the same by both ways: `test_engine_parity.py`, `test_engine_promises.py`."""
    app = plugged
    app.program(HEAD + SNAPSHOT)
    app.slow()
    up = app.start_up(real=True)
    up.shows("accepted; next check ")
    up.interrupt()
    assert "The wait was interrupted." in app.ends(up, fails=True)
    (pending,) = in_state(app, "Snapshot")
    assert pending["outputs"]["attempt"]["answered"] == "202"
    up = app.start_up(real=True)
    up.shows("accepted; next check ")
    assert up.processes("pulumi-resource-squarecloud")
    up.kill()
    wait_for(lambda: not up.processes("pulumi-resource-squarecloud"), "the end of the plugin")
    app.pass_time(600)
    app.run("cancel", "--yes")
    app.up()
    assert [f"{DATABASE}/{version}" for version in app.started()] == [in_state(app, "Snapshot")[0]["id"]]


TWO_ACCOUNTS = f"""
import pulumi
from pulumi_snapshots.plugin import LookupFailed, Provider, Snapshot
from pulumi_snapshots.plugin import get_database, get_databases, get_latest_snapshot_output

second = Provider("second", api_key="{{key}}", api_url="{{api}}", snapshots_url="{{files}}", poll_every="0.2s",
                  requests_per_minute=100)
first = Snapshot("first", "{DATABASE}")
other = Snapshot("other", "{DATABASE}", opts=pulumi.ResourceOptions(provider=second))
pulumi.export("names", [one.id for one in get_databases(opts=pulumi.InvokeOptions(provider=None))])
latest = get_latest_snapshot_output(first.database_id, opts=pulumi.InvokeOutputOptions(depends_on=[first]))
pulumi.export("latest", pulumi.Output.unsecret(latest.version_id))
pulumi.export("first", first.version_id)
pulumi.export("other", other.id)
try:
    get_database("{"c" * 32}")
except LookupFailed as failure:
    pulumi.export("failed", [str(failure), failure.code])
"""


def test_it_serves_two_accounts_and_imports_what_is_listed(plugged: App) -> None:
    app = plugged
    with near_emulator(*SERVICE) as second:
        app.program(TWO_ACCOUNTS.format(key=second.key, api=second.api, files=second.snapshots))
        printed = app.up()
        assert "warning" not in printed
        outputs = app.stack.outputs()
        assert sorted(outputs["names"]) == [DATABASE, OTHER_DATABASE]
        told, code = outputs["failed"]
        assert told.startswith("get_database: This account has no such database.")
        assert code is None
        (taken,) = [entry["version_id"] for entry in second.journal() if entry["kind"] == "create"]
        assert outputs["other"] == f"{DATABASE}/{taken}"
        assert app.started() == [outputs["first"]] == [outputs["latest"]]
        stored = app.state_file.read_text()
        for secret in (second.key, app.emulator.key, "Signature="):
            assert secret not in stored
            assert secret not in printed
        assert "4 unchanged" in app.up()

    # Import: any snapshot that is listed, whoever took it
    automatic = app.emulator.control("snapshots", {"database_id": OTHER_DATABASE, "origin": "automatic"})["version_id"]
    told = app.import_("wrong", f"{DATABASE}/pending:20260101T000000Z", fails=True)
    assert "is the provisional id of a pending snapshot" in told
    app.import_("imported", f"{OTHER_DATABASE}/{automatic}")
    app.import_("newest", f"{OTHER_DATABASE}/latest")
    found = {each["urn"].rpartition("::")[2]: each for each in in_state(app, "Snapshot")}
    for name in ("imported", "newest"):
        assert found[name]["id"] == f"{OTHER_DATABASE}/{automatic}"
        assert found[name]["inputs"]["databaseId"] == OTHER_DATABASE
        assert found[name]["outputs"]["origin"] == "automatic"

    # An archive by its URI: its manifest says what the state of its resource said
    app.import_("nightly", put(app.folder / "kept", 0, DATABASE).as_uri(), kind="Archive")
    program = 'Archive("nightly", database_id="{}", version_id="v0", destination="{}/kept/")'
    app.program(HEAD + program.format(DATABASE, app.folder))
    assert "Archive nightly" not in app.preview(), "nothing is archived again"


WRONG_SETTINGS = {
    "squarecloud:apiurl=x": "property apiurl value {x} has a problem: is not a setting of this provider",
    "squarecloud:apiKey=two words": "apiKey must be the bare API key",
}


def test_an_attached_plugin_works_for_one_command_after_the_other(app: App) -> None:
    code = "from pulumi_snapshots.plugin.serve import main; main()"
    with subprocess.Popen(  # noqa: S603  this very interpreter
        [sys.executable, "-c", code], env=app.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as plugin:
        assert plugin.stdout is not None
        del app.environment["SQUARECLOUD_API_KEY"]  # one that the engine itself starts has none
        app.environment["PULUMI_DEBUG_PROVIDERS"] = f"squarecloud:{plugin.stdout.readline().strip()}"
        try:
            for database in (DATABASE, OTHER_DATABASE):
                app.program(HEAD + SNAPSHOT.replace(DATABASE, database))
                app.run("up", "--yes")  # with its preview, a command of its own
        finally:
            plugin.terminate()
    assert plugin.returncode == 0
    assert len(app.started()) == 2


def test_wrong_settings_fail_in_the_preview_by_name(plugged: App) -> None:
    app = plugged
    app.program(HEAD + SNAPSHOT)
    for setting, problem in WRONG_SETTINGS.items():
        # The engine ends the program then, and a language host of this age shows that as a traceback of the program's.
        ended = app.stack.run("preview", "-c", setting, check=False)
        assert ended.returncode != 0
        assert problem in ended.stdout
        assert "two words" not in ended.stdout + ended.stderr
        app.run("config", "rm", setting.partition("=")[0])
    token = "squarecloud:index:Snapshot"
    app.program(f'pulumi.CustomResource("{token}", "x", {{"databaseId": ["x"], "timeout": "soon", "trigger": ["x"]}})')
    printed = app.preview(fails=True)
    for problem in (
        f"has a problem: trigger is not an input of {token}; its inputs are databaseId, triggers,",
        "has a problem: databaseId must be a string, not list",
        "property timeout value {soon} has a problem: must be a duration",
    ):
        assert problem in printed
    app.program(HEAD + 'Archive("x", destination="/x.zip", download_url="http://host/x?Signature=opens-the-data")')
    printed = app.preview(fails=True)
    assert "property downloadUrl value {[secret]} has a problem: " in printed
    assert "opens-the-data" not in printed
    assert app.requests() == []


MOVES = f"""
from dependant import Dependant

snapshot = Snapshot("before-release", "{DATABASE}", triggers=["a", {{{{"b_c": 1}}}}], rotate_after="7d", timeout="10m")
Archive("offsite", snapshot, destination="{{storage}}/")
Dependant("dependant", snapshot.download_url)
pulumi.export("version_id", snapshot.version_id)
pulumi.export("download_url", snapshot.download_url)
"""


def test_a_changed_import_line_takes_no_snapshot_again(plugged: App) -> None:
    app = plugged
    program = MOVES.format(storage=app.folder / "storage")
    app.program("from pulumi_snapshots import Archive\n" + program)
    app.up()
    (version,), url = app.started(), app.url()
    app.forget_requests()
    app.program("from pulumi_snapshots.plugin import Archive, Snapshot\n" + program)
    preview = app.preview("--diff")
    for word in ("replace", "create", "delete"):
        assert f"to {word}" not in preview
    printed = app.run("up", "--yes")
    assert "~ 2 updated" in printed
    assert "Diagnostics" not in printed
    assert app.stack.outputs()["version_id"] == version
    assert app.url() == url
    assert in_state(app, "Snapshot")[0]["outputs"]["triggers"] == ["a", {"b_c": 1}]
    assert not any("_" in name for kind in ("Snapshot", "Archive") for name in in_state(app, kind)[0]["outputs"])
    assert "4 unchanged" in app.up()

    # And back
    app.program("from pulumi_snapshots import Archive\n" + program)
    assert "~ 2 updated" in app.up()
    assert app.outputs()["version_id"] == version
    assert app.outputs()["triggers"] == ["a", {"b_c": 1}]
    assert app.url() == url
    assert "4 unchanged" in app.up()
    assert app.requests() == []
