"""The plugin at a real engine: how a project finds it, the whole life of its resources, and `pulumi do`."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pulumi_snapshots.plugin.description.identity import PLUGIN_VERSION
from tests.archive.scene import put
from tests.engine.conftest import SERVICE
from tests.engine.stage import DATABASE, OTHER_DATABASE, App, wait_for
from tests.support.near_emulator import near_emulator
from tools.sandbox import Service

pytestmark = pytest.mark.engine

PAGE = (Path(__file__).parents[2] / "docs" / "plugin.md").read_text()
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
    return [
        one for one in app.resources() if one["type"] == f"squarecloud:index:{kind}"
    ]


def test_a_real_interrupt_and_a_killed_engine_end_the_plugin(plugged: App) -> None:
    """What each leaves behind is the same by both ways: `test_engine_promises.py`."""
    app = plugged
    app.program(HEAD + SNAPSHOT)
    app.slow()
    up = app.start_up(real=True)
    up.shows("accepted; next poll ")
    up.interrupt()
    assert "The wait was interrupted." in app.ends(up, fails=True)
    (pending,) = in_state(app, "Snapshot")
    assert pending["outputs"]["attempt"]["answered"] == "202"
    up = app.start_up(real=True)
    up.shows("accepted; next poll ")
    assert up.processes("pulumi-resource-squarecloud")
    up.process.kill()
    wait_for(
        lambda: not up.processes("pulumi-resource-squarecloud"), "the end of the plugin"
    )
    app.pass_time(600)
    app.run("cancel", "--yes")
    app.up()
    assert [f"{DATABASE}/{version}" for version in app.started()] == [
        in_state(app, "Snapshot")[0]["id"]
    ]


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
        _serves_two_accounts(app, second)
    _imports_snapshots_that_are_listed(app)
    _imports_an_archive_by_its_uri(app)


def _serves_two_accounts(app: App, second: Service) -> None:
    """Each with its own provider, whose secrets are neither stored nor printed."""
    app.program(
        TWO_ACCOUNTS.format(key=second.key, api=second.api, files=second.snapshots)
    )
    printed = app.up()
    assert "warning" not in printed
    outputs = app.stack.outputs()
    assert sorted(outputs["names"]) == [DATABASE, OTHER_DATABASE]
    told, code = outputs["failed"]
    assert told.startswith("get_database: This account has no such database.")
    assert code is None
    (taken,) = [
        entry["version_id"] for entry in second.journal() if entry["kind"] == "create"
    ]
    assert outputs["other"] == f"{DATABASE}/{taken}"
    assert app.started() == [outputs["first"]] == [outputs["latest"]]
    stored = app.state_file.read_text()
    for secret in (second.key, app.emulator.key, "Signature="):
        assert secret not in stored
        assert secret not in printed
    assert "4 unchanged" in app.up()


def _imports_snapshots_that_are_listed(app: App) -> None:
    """Whoever took them, by their id or as the latest one, but none that is pending."""
    automatic = app.stored(OTHER_DATABASE, origin="automatic")
    told = app.import_("wrong", f"{DATABASE}/pending:20260101T000000Z", fails=True)
    assert "is the provisional id of a pending snapshot" in told
    app.import_("imported", f"{OTHER_DATABASE}/{automatic}")
    app.import_("newest", f"{OTHER_DATABASE}/latest")
    found = {
        each["urn"].rpartition("::")[2]: each for each in in_state(app, "Snapshot")
    }
    for name in ("imported", "newest"):
        assert found[name]["id"] == f"{OTHER_DATABASE}/{automatic}"
        assert found[name]["inputs"]["databaseId"] == OTHER_DATABASE
        assert found[name]["outputs"]["origin"] == "automatic"


def _imports_an_archive_by_its_uri(app: App) -> None:
    """Its manifest says what the state of its resource said, and names the importer."""
    stored = put(app.folder / "kept", 0, DATABASE)
    manifest = stored.with_name(f"{stored.name}.json")
    as_put = manifest.read_text()
    app.program(
        'pulumi.CustomResource("squarecloud:index:Archive", "seen", {}, '
        f'pulumi.ResourceOptions(id="{stored.as_uri()}"))'
    )
    app.up()
    assert manifest.read_text() == as_put, "a lookup holds nothing"
    app.import_("nightly", stored.as_uri(), kind="Archive")
    holder = json.loads(manifest.read_text())["owners"][-1]
    assert holder["name"].endswith("squarecloud:index:Archive::nightly")
    assert holder["until"] is not None
    program = HEAD + (
        f'Archive("nightly", database_id="{DATABASE}", version_id="v0", destination="{app.folder}/kept/"OPTIONS)'
    )
    app.program(program.replace("OPTIONS", ""))
    previewed = app.preview()
    assert "1 to update" in previewed, "the importer is entered as an owner"
    assert "to replace" not in previewed, "nothing is archived again"
    app.up()
    owner = json.loads(manifest.read_text())["owners"][-1]
    assert (owner["name"], owner["until"]) == (holder["name"], None)
    app.program("")
    app.up()
    sealed = put(app.folder / "sealed", 0, DATABASE, recipients=["age1someone"])
    of_sealed = sealed.with_name(f"{sealed.name}.json")
    some = ("--properties", "destination")
    app.import_("sealed", sealed.as_uri(), *some, kind="Archive")
    holder_of_sealed = json.loads(of_sealed.read_text())["owners"][-1]
    assert holder_of_sealed["name"].endswith("squarecloud:index:Archive::sealed")
    app.up()
    manifest.write_text(as_put)
    option = f', opts=pulumi.ResourceOptions(import_="{stored.as_uri()}")'
    app.program(program.replace("OPTIONS", option))
    app.preview()
    assert manifest.read_text() == as_put, "the preview of a program notes nothing"
    app.up()
    owner = json.loads(manifest.read_text())["owners"][-1]
    assert (owner["name"], owner["until"]) == (holder["name"], None)


def test_a_wrong_input_fails_in_the_preview_by_name(plugged: App) -> None:
    app = plugged
    token = "squarecloud:index:Snapshot"
    app.program(
        f'pulumi.CustomResource("{token}", "x", {{"databaseId": ["x"], "timeout": "soon", "trigger": ["x"]}})'
    )
    printed = app.preview(fails=True)
    assert (
        f"has a problem: trigger is not an input of {token}; its inputs are databaseId, triggers,"
        in printed
    )
    assert "property timeout value {soon} has a problem: must be a duration" in printed
    app.program(
        HEAD
        + 'Archive("x", destination="/x.zip", download_url="http://host/x?Signature=opens-the-data")'
    )
    printed = app.preview(fails=True)
    assert "property downloadUrl value {[secret]} has a problem: " in printed
    assert "opens-the-data" not in printed
    assert app.requests() == []


MOVES = f"""
from servers import Server

snapshot = Snapshot("before-release", "{DATABASE}", triggers=["a", {{{{"b_c": 1}}}}], rotate_after="7d", timeout="10m")
Archive("offsite", snapshot, destination="{{storage}}/")
Server("dependant", snapshot.download_url)
pulumi.export("version_id", snapshot.version_id)
pulumi.export("download_url", snapshot.download_url)
"""


def test_a_changed_import_line_takes_no_snapshot_again(plugged: App) -> None:
    app = plugged
    program = MOVES.format(storage=app.folder / "storage")
    app.program("from pulumi_snapshots import Archive\n" + program)
    app.up()
    (version,) = app.started()
    url = app.url()
    app.forget_requests()
    app.program("from pulumi_snapshots.plugin import Archive, Snapshot\n" + program)
    _is_updated_in_place(app)
    assert app.stack.outputs()["version_id"] == version
    assert app.url() == url
    _has_the_plugins_names_in_the_state(app)
    assert "4 unchanged" in app.up()

    # And back
    app.program("from pulumi_snapshots import Archive\n" + program)
    assert "~ 2 updated" in app.up()
    assert app.outputs()["version_id"] == version
    assert app.outputs()["triggers"] == ["a", {"b_c": 1}]
    assert app.url() == url
    assert "4 unchanged" in app.up()
    assert app.requests() == []


def _is_updated_in_place(app: App) -> None:
    preview = app.preview("--diff")
    for word in ("replace", "create", "delete"):
        assert f"to {word}" not in preview
    printed = app.run("up", "--yes")
    assert "~ 2 updated" in printed
    assert "Diagnostics" not in printed


def _has_the_plugins_names_in_the_state(app: App) -> None:
    """In camel case, but for the names in what users give as triggers."""
    assert in_state(app, "Snapshot")[0]["outputs"]["triggers"] == ["a", {"b_c": 1}]
    for kind in ("Snapshot", "Archive"):
        assert not any("_" in name for name in in_state(app, kind)[0]["outputs"])


# How a project finds it

SCRIPTS = Path(sys.executable).parent
INSTALLED = f"""
from pulumi_snapshots import plugin
plugin.Snapshot("before-release", "{DATABASE}")
"""


def fails(app: App, quoted: str) -> str:
    """A preview that fails with the engine's words that the page quotes; the program may add its traceback."""
    assert re.search(rf"^\|.*`{re.escape(quoted)}`.*\|.*\|$", PAGE, re.MULTILINE), (
        "a reader does not find it"
    )
    result = app.stack.run("preview", check=False)
    assert result.returncode
    assert quoted in result.stdout + result.stderr
    return result.stdout + result.stderr


def test_a_project_finds_the_plugin_where_the_page_says(
    app: App, engine: Path, tmp_path: Path
) -> None:
    forked = app.environment
    app.be_real()
    app.program(INSTALLED)
    # A PATH with a python3 and nothing of its environment, as where the project is in another language.
    (tmp_path / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "python3").chmod(0o700)
    activated = app.environment["PATH"]
    outside = f"{tmp_path}:{engine}:/usr/bin:/bin"
    app.environment["PATH"] = outside
    fails(
        app,
        "no resource plugin 'pulumi-resource-squarecloud' found in the workspace or on your $PATH",
    )

    install = [str(SCRIPTS / "squarecloud-snapshots"), "plugin", "install"]
    done = subprocess.run(  # noqa: S603  ours
        install, env=app.environment, capture_output=True, text=True, check=True
    )
    assert (
        done.stdout
        == f"installed pulumi-resource-squarecloud {PLUGIN_VERSION}, which runs in {sys.prefix}\n"
    )
    assert done.stderr == ""
    printed = app.up()
    assert f"found snapshot {app.started()[0]}" in printed
    assert "warning" not in printed

    # the rest is about the plugin alone
    app.stack.environment = {**forked, "PATH": activated}
    shadowed = f"{SCRIPTS}/pulumi-resource-squarecloud"
    assert (
        f"warning: using pulumi-resource-squarecloud from $PATH at {shadowed}"
        in app.preview()
    )
    app.environment["PULUMI_IGNORE_AMBIENT_PLUGINS"] = "true"
    assert "warning" not in app.preview()
    del app.environment["PULUMI_IGNORE_AMBIENT_PLUGINS"]

    app.environment["PATH"] = outside
    (installed,) = (tmp_path / "home" / "plugins").glob("*/pulumi-resource-squarecloud")
    text = installed.read_text()
    installed.write_text(text.replace(str(SCRIPTS), f"{SCRIPTS}/gone"))
    assert f"its Python environment is gone ({SCRIPTS}/gone/" in fails(
        app, "could not read plugin"
    )

    project = app.stack.project
    (snippet,) = re.findall(r"```yaml\n(plugins:.*?)```", PAGE, re.DOTALL)
    (project / "Pulumi.yaml").write_text(f"name: app\nruntime: python\n{snippet}")
    fails(app, "no folder at path")
    (project / ".venv").symlink_to(SCRIPTS.parent)
    app.environment["PATH"] = activated
    assert "warning" not in app.preview()


# Without a program

SECTION = PAGE.partition("\n## Without a program\n")[2].partition("\n## ")[0]


def test_each_command_of_the_page_works(app: App) -> None:
    (app.stack.project / "Pulumi.yaml").write_text("name: app\n")
    app.install_plugin()
    app.environment["PULUMI_IGNORE_AMBIENT_PLUGINS"] = "true"
    stored = app.stored(origin="manual")
    latest = f"{DATABASE}/{stored}"
    asked: list[str] = []

    def done(command: str) -> Any:
        """What it prints on stdout, which has nothing but its answer; later, what was asked."""
        app.forget_requests()
        result = app.stack.run(*shlex.split(command), check=False)
        sys.stdout.write(f"$ pulumi {command}\n{result.stdout}\n{result.stderr}\n")
        assert result.returncode == 0, result.stderr
        asked[:] = [one["kind"] for one in app.requests()]
        return (
            json.loads(result.stdout)
            if "create before" not in command
            else result.stdout
        )

    blocks = "\n".join(
        re.findall(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    )
    databases, newest, listed, read, create, keep = re.findall(
        r"^pulumi (do .*)$", blocks, re.MULTILINE
    )
    assert DATABASE in {one["id"] for one in done(databases)["databases"]}
    assert done(newest)["snapshot"]["id"] == latest
    (only,) = done(listed)
    assert only["id"] == latest
    assert re.fullmatch(rf"{DATABASE}-\d{{8}}T\d{{6}}Z", only["name"])
    assert asked == ["list"]
    found = done(read)
    assert (found["id"], found["downloadUrl"]) == (latest, "[secret]")

    taken = done(create)["versionId"]
    assert asked.count("create") == 1

    app.pass_time(200)
    assert "Created before-release" in done(keep)
    (kept,) = [
        one for one in app.resources() if one["type"] == "squarecloud:index:Snapshot"
    ]
    assert kept["urn"].endswith("::before-release")
    assert kept["outputs"]["versionId"] not in {stored, taken}
