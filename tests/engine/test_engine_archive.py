"""A snapshot that is archived to a folder, at a real engine: from the first `up` to the destroy."""

from __future__ import annotations

import zipfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.engine.stage import DATABASE, diagnostics

if TYPE_CHECKING:
    from tests.engine.stage import App

pytestmark = pytest.mark.engine

PROGRAM = """
from pulumi_snapshots import Archive

config = pulumi.Config()
snapshot = Snapshot("before-release", "{database}", triggers=[config.get("release")])
offsite = Archive("offsite", snapshot, destination="{folder}/", keep_last=1, timeout=config.get("timeout"))
pulumi.export("uri", offsite.uri)
pulumi.export("sha256", offsite.sha256)
pulumi.export("types", pulumi.Output.all(offsite.size, offsite.archived_at).apply(
    lambda values: [type(value).__name__ for value in values]))
"""
DAY = 86400.0


def archive_in(app: App) -> dict[str, Any]:
    (found,) = [one for one in app.resources() if one["type"] == "pulumi-python:dynamic/squarecloud:Archive"]
    return found


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"]


def downloads(app: App) -> int:
    return len([entry for entry in app.requests() if entry["kind"] == "download"])


def test_no_further_up_archives_or_sends_again(app: App) -> None:
    folder = app.folder / "archives"
    app.program(PROGRAM.format(database=DATABASE, folder=folder))
    preview = app.preview()
    assert "offsite create" in preview
    assert app.requests() == []

    printed = app.up()
    assert "Diagnostics" not in printed
    (file,) = files(folder)
    version = app.started()[0]
    outputs = app.stack.outputs()
    assert Path(unquote(urlsplit(outputs["uri"]).path)) == file
    assert file.name.endswith(f"Z-{version}.zip")
    assert file.parent.name == DATABASE
    assert outputs["sha256"] == sha256(file.read_bytes()).hexdigest()
    assert outputs["types"] == ["int", "str"]
    assert zipfile.ZipFile(file).testzip() is None
    assert archive_in(app)["id"] == outputs["uri"]
    assert downloads(app) == 1
    assert "Signature=" not in app.state_file.read_text()

    app.forget_requests()
    assert "3 unchanged" in app.run("up", "--yes", "-c", "timeout=10m")
    assert app.requests() == []

    # The URL is renewed in its last days: another signature of the same version.
    app.pass_time(24 * DAY)
    url = app.outputs()["download_url"]
    app.refresh()
    assert app.outputs()["download_url"] != url
    app.forget_requests()
    assert "3 unchanged" in app.up()
    assert app.requests() == []


def test_an_archive_survives_loss_replacement_and_destroy(app: App) -> None:
    folder = app.folder / "archives"
    app.program(PROGRAM.format(database=DATABASE, folder=folder))
    app.up()
    (file,) = files(folder)
    app.pass_time(DAY)
    app.forget_requests()
    printed = app.run("up", "--yes", "-c", "release=2")
    assert "Archive offsite replaced" in printed
    (second,) = files(folder)
    assert second != file
    assert second.name.endswith(f"Z-{app.started()[-1]}.zip")
    assert downloads(app) == 1
    assert "kept" not in diagnostics(printed)

    content = second.read_bytes()
    second.unlink()
    printed = app.refresh()
    assert f"warning: the archive {second} is missing. The next `pulumi up` archives again." in printed
    printed = app.up("-c", "release=2")
    assert "offsite updated" in printed
    assert second.read_bytes() == content
    assert "3 unchanged" in app.up("-c", "release=2")

    app.forget_requests()
    del app.environment["SQUARECLOUD_API_KEY"]
    printed = app.destroy()
    assert f"kept: {second}" in diagnostics(printed)
    assert app.requests() == []
    assert app.resources() == []
    assert files(folder) == [second]


def test_an_archive_waits_for_a_snapshot_that_is_pending(app: App) -> None:
    folder = app.folder / "archives"
    app.program(PROGRAM.format(database=DATABASE, folder=folder).replace("triggers=", 'timeout="1s", triggers='))
    app.slow()
    app.up(fails=True)
    assert app.outputs()["available"] is False
    assert "offsite create" in app.preview()
    assert not folder.exists()
    app.pass_time(600)
    app.up()
    (file,) = files(folder)
    assert app.started()[0] in file.name
