"""A Restore and an Archive at a real engine: neither acts again because something else changed, or a run was killed."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.engine.stage import DATABASE, App, Command, diagnostics, kept_because

pytestmark = pytest.mark.engine

DAY = 86400.0
URN = "urn:pulumi:dev::app::pulumi-python:dynamic/squarecloud:Restore::back"
ANOTHER_SNAPSHOT = "the snapshot changed; set triggers to restore again."
LATEST = f"""
from pulumi_snapshots import Restore, get_latest_snapshot

config = pulumi.Config()
Restore("back", get_latest_snapshot("{DATABASE}"), overwrite=config.get_bool("overwrite"), triggers=[config.get("again")])
"""
PAGE = (Path(__file__).parents[2] / "docs" / "restore.md").read_text()
RELEASES = (
    'release = pulumi.Config().require("release")\n'
    + PAGE.partition("```python\n")[2].partition("```")[0]
)
"""The page's program, as it stands there."""
PLAIN = """
from servers import Server
from pulumi_snapshots import Restore

back = Restore("back", database_id="{database}", version_id="{version}", overwrite=True, timeout="5m",
               target_database_id={target})
Server("dependant", back.restored_at)
"""


@pytest.fixture
def service() -> tuple[str, ...]:
    return ("--restore-seconds", "0.5")


@pytest.fixture(autouse=True)
def _soon_settled(app: App) -> None:
    app.environment["SQUARECLOUD_RESTORE_SETTLE"] = "1s"
    app.emulator.sql(
        DATABASE, "CREATE TABLE rows (state)", "INSERT INTO rows VALUES ('then')"
    )


def writes(app: App, text: str) -> None:
    app.emulator.sql(DATABASE, f"UPDATE rows SET state = '{text}'")  # noqa: S608  the test's own text


def holds(app: App) -> str:
    return str(app.emulator.sql(DATABASE, "SELECT state FROM rows")[0][0][0])


def back(app: App) -> dict[str, Any]:
    (found,) = [
        one
        for one in app.resources()
        if one["type"] == "pulumi-python:dynamic/squarecloud:Restore"
    ]
    return found


@pytest.mark.parametrize(
    "service", [("--restore-seconds", "0.5", "--cache-world", "kept")]
)
def test_a_restore_needs_permission_and_acts_once(app: App) -> None:
    app.program(LATEST)
    version = app.stored()
    writes(app, "now")
    refusal = "overwrite must be true: a restore overwrites everything that the database holds"
    assert refusal in app.preview(fails=True)
    app.stack.run("config", "set", "overwrite", "true")
    _restores(app, version)
    _does_nothing_for_a_newer_snapshot(app, version)
    _restores_the_newer_one_by_a_trigger(app, version)

    # A refresh compares what is destroyed then: that does not mean that the state keeps it.
    app.pass_time(200)
    app.run("destroy", "--yes", "--skip-preview", "--refresh")
    app.up()
    assert len(app.restores()) == 3
    _is_kept_and_destroyed_when_no_snapshot_is_left(app)


def _restores(app: App, version: str) -> None:
    """The run says what it restored, and so do the outputs."""
    printed = app.up()
    said = rf"restored {DATABASE}/{version}, taken [\d:]+ UTC, onto"
    assert re.search(said, diagnostics(printed))
    assert holds(app) == "then"
    outputs = back(app)["outputs"]
    assert (outputs["version_id"], outputs["target_database_id"]) == (version, DATABASE)
    assert outputs["requested_at"] <= outputs["restored_at"]
    assert "attempt" not in outputs


def _does_nothing_for_a_newer_snapshot(app: App, version: str) -> None:
    """The night's automatic snapshot is the latest one from now on, and the application has gone on."""
    app.pass_time(DAY)
    writes(app, "later")
    app.stored(origin="automatic")
    for printed in (app.preview(), app.up()):
        assert ANOTHER_SNAPSHOT in diagnostics(printed)
        assert "2 unchanged" in printed
    assert back(app)["outputs"]["version_id"] == version
    assert holds(app) == "later"


def _restores_the_newer_one_by_a_trigger(app: App, version: str) -> None:
    printed = app.run("up", "--yes", "-c", "again=yes")
    assert "back replace" in printed
    forgotten = (
        f"the restore of {DATABASE}/{version}; database {DATABASE} keeps what it holds"
    )
    assert f"forgotten: {forgotten}" in printed
    assert back(app)["outputs"]["version_id"] != version
    assert len(app.restores()) == 2


def _is_kept_and_destroyed_when_no_snapshot_is_left(app: App) -> None:
    """After a month neither costs a request, nor changes what the database holds."""
    app.pass_time(31 * DAY)
    writes(app, "a month later")
    before = len(app.requests())
    outputs = back(app)["outputs"]
    app.refresh()
    assert back(app)["outputs"] == outputs
    app.destroy()
    assert len(app.requests()) == before
    assert holds(app) == "a month later"


def test_a_forgotten_restore_overwrites_no_later_release(app: App) -> None:
    app.program(RELEASES)
    printed = app.up("-c", "release=1", "-c", "rollback=true", fails=True)
    assert (
        "is new in this same run, so there is nothing to go back to yet"
        in diagnostics(printed)
    )
    assert not app.restores()
    first = app.outputs()["version_id"]

    writes(app, "broken by release 1")
    told = diagnostics(app.up("-c", "release=1", "-c", "rollback=true"))
    assert re.search(
        rf"restored {DATABASE}/{first}, taken [\d:]+ UTC, onto database {DATABASE}\n",
        told,
    )
    assert holds(app) == "then"
    assert app.stack.outputs()["restored_at"] == back(app)["outputs"]["restored_at"]

    for release in (2, 1):  # the next one, and back to the older one
        app.pass_time(200)
        writes(app, f"running {release}")
        printed = app.up("-c", f"release={release}", "-c", "rollback=true")
        assert ANOTHER_SNAPSHOT in diagnostics(printed)
        assert app.outputs()["version_id"] != first
        assert holds(app) == f"running {release}"
    assert back(app)["outputs"]["version_id"] == first
    assert len(app.restores()) == 1


def under_way(app: App, *, real: bool = False) -> Command:
    """A `pulumi up` whose restore was accepted, and that waits for its database."""
    app.program(PLAIN.format(database=DATABASE, version=app.stored(), target=None))
    writes(app, "now")
    app.emulator.control("settings", {"restore_seconds": 600}, "PATCH")
    up = app.start_up(real=real)
    up.shows("restoring; next poll ")
    return up


def test_the_next_up_watches_an_interrupted_restore(app: App) -> None:
    up = under_way(app)
    up.interrupt()
    printed = app.ends(up, fails=True)
    kept = back(app)
    assert kept["id"].startswith(f"{DATABASE}/restore:2")
    assert kept["outputs"]["attempt"]["began"] >= kept["outputs"]["requested_at"][:10]
    assert kept_because(app, kept, printed) == (
        f"The restore of snapshot {DATABASE}/{kept['outputs']['version_id']} onto database {DATABASE} was requested at "
        f"{kept['outputs']['requested_at']} and accepted, and a restore of the database was running (download) when the "
        "service was last asked: what it holds now is not known. The wait was interrupted. The request is kept in the state: the next `pulumi up` keeps waiting "
        f"and sends no second request. `pulumi up --refresh --replace '{URN}'` restores again, over whatever the database "
        "holds by then. more: squarecloud-snapshots explain restore-pending"
    )

    again = app.start_up()
    again.shows("restoring; next poll ")
    app.pass_time(600)
    app.ends(again)
    assert holds(app) == "then"
    assert back(app)["outputs"]["restored_at"]
    assert "attempt" not in back(app)["outputs"]
    writes(app, "later")
    assert "3 unchanged" in app.up()
    assert len(app.restores()) == 1
    assert holds(app) == "later"


# Archives

ARCHIVED = """
from pulumi_snapshots import Archive

config = pulumi.Config()
snapshot = Snapshot("before-release", "{database}", triggers=[config.get("release")])
offsite = Archive("offsite", snapshot, destination="{folder}/", keep_last=1, timeout=config.get("timeout"))
pulumi.export("uri", offsite.uri)
pulumi.export("sha256", offsite.sha256)
pulumi.export("types", pulumi.Output.all(offsite.size, offsite.archived_at).apply(
    lambda values: [type(value).__name__ for value in values]))
"""


def files(folder: Path) -> list[Path]:
    return [
        path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"
    ]


def test_an_archive_survives_loss_replacement_and_destroy(app: App) -> None:
    folder = app.folder / "archives"
    app.program(ARCHIVED.format(database=DATABASE, folder=folder))
    assert "Diagnostics" not in app.up()
    (file,) = files(folder)
    _is_described_by_the_outputs(app, folder, file)
    app.forget_requests()
    assert "3 unchanged" in app.run("up", "--yes", "-c", "timeout=10m")
    assert app.requests() == []

    _costs_nothing_if_only_the_url_is_signed_again(app)
    second = _is_replaced_by_another_version(app, file)
    _is_archived_again_if_it_is_lost(app, second)
    app.forget_requests()
    del app.environment["SQUARECLOUD_API_KEY"]
    printed = app.destroy()
    assert f"kept: {second}" in diagnostics(printed)
    assert app.requests() == []
    assert app.resources() == []
    assert files(folder) == [second]


def _is_described_by_the_outputs(app: App, folder: Path, file: Path) -> None:
    """Where it is and what it holds, without what opens the data."""
    outputs = app.stack.outputs()
    assert (
        Path(unquote(urlsplit(outputs["uri"]).path))
        == file
        == folder / DATABASE / file.name
    )
    assert outputs["sha256"] == sha256(file.read_bytes()).hexdigest()
    assert outputs["types"] == ["int", "str"]
    assert "Signature=" not in app.state_file.read_text()


def _costs_nothing_if_only_the_url_is_signed_again(app: App) -> None:
    """As in the URL's last days: it is another URL of the same version."""
    app.pass_time(24 * DAY)
    url = app.outputs()["download_url"]
    app.refresh()
    assert app.outputs()["download_url"] != url
    app.forget_requests()
    assert "3 unchanged" in app.up()
    assert app.requests() == []


def _is_replaced_by_another_version(app: App, file: Path) -> Path:
    """The one file that there is then, which is named after its version and was loaded once."""
    printed = app.run("up", "--yes", "-c", "release=2")
    assert "Archive offsite replaced" in printed
    (second,) = files(file.parent)
    assert second != file
    assert second.name.endswith(f"Z-{app.started()[-1]}.zip")
    assert [entry["kind"] for entry in app.requests()].count("download") == 1
    assert "kept" not in diagnostics(printed)
    return second


def _is_archived_again_if_it_is_lost(app: App, file: Path) -> None:
    content = file.read_bytes()
    file.unlink()
    warning = (
        f"warning: the archive {file} is missing. The next `pulumi up` archives again."
    )
    assert warning in app.refresh()
    assert "offsite updated" in app.up("-c", "release=2")
    assert file.read_bytes() == content
    assert "3 unchanged" in app.up("-c", "release=2")
