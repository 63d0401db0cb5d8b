"""A snapshot that is archived to a folder, at a real engine: from the first `up` to the destroy."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.engine.stage import DATABASE, App, diagnostics

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


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"]


def test_an_archive_survives_loss_replacement_and_destroy(app: App) -> None:
    folder = app.folder / "archives"
    app.program(PROGRAM.format(database=DATABASE, folder=folder))
    printed = app.up()
    assert "Diagnostics" not in printed
    (file,) = files(folder)
    outputs = app.stack.outputs()
    assert Path(unquote(urlsplit(outputs["uri"]).path)) == file == folder / DATABASE / file.name
    assert outputs["sha256"] == sha256(file.read_bytes()).hexdigest()
    assert outputs["types"] == ["int", "str"]
    assert "Signature=" not in app.state_file.read_text()
    app.forget_requests()
    assert "3 unchanged" in app.run("up", "--yes", "-c", "timeout=10m")
    assert app.requests() == []

    # Another signature of the same version, in the URL's last days, archives nothing; another version does.
    app.pass_time(24 * DAY)
    url = app.outputs()["download_url"]
    app.refresh()
    assert app.outputs()["download_url"] != url
    app.forget_requests()
    assert "3 unchanged" in app.up()
    assert app.requests() == []
    printed = app.run("up", "--yes", "-c", "release=2")
    assert "Archive offsite replaced" in printed
    (second,) = files(folder)
    assert second != file
    assert second.name.endswith(f"Z-{app.started()[-1]}.zip")
    assert [entry["kind"] for entry in app.requests()].count("download") == 1
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
