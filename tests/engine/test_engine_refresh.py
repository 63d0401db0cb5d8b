"""What `pulumi refresh`, and a look-up of an existing snapshot, do to the state and tell, at a real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.stage import DATABASE, diagnostics

if TYPE_CHECKING:
    from tests.engine.stage import App

pytestmark = pytest.mark.engine

URN = "urn:pulumi:dev::app::pulumi-python:dynamic/squarecloud:Snapshot::before-release"
PROGRAM = f"""
from dependant import Dependant

snapshot = Snapshot("before-release", "{DATABASE}")
Dependant("dependant", snapshot.download_url)
pulumi.export("download_url", snapshot.download_url)
"""
DAY = 86400.0


def test_a_missing_snapshot_stays_in_the_state(app: App) -> None:
    app.program(PROGRAM)
    app.up()
    (version,) = app.started()
    app.emulator.control(f"snapshots/{version}", method="DELETE")
    app.pass_time(3600)
    printed = app.refresh()
    assert f"warning: snapshot {DATABASE}/{version} is not in the service's listing" in diagnostics(printed)
    assert app.outputs()["available"] is False
    assert "3 unchanged" in app.up()
    printed = app.up("--refresh", "--replace", URN)
    assert f"forgotten: {DATABASE}/{version}, which the service no longer listed" in diagnostics(printed)
    assert app.started() == [version, app.outputs()["version_id"]]


def test_a_changed_key_reaches_a_refresh_that_runs_the_program(app: App) -> None:
    app.program(PROGRAM)
    key = app.environment.pop("SQUARECLOUD_API_KEY")
    app.stack.run("config", "set", "--secret", "squarecloud:apiKey", key)
    app.up()
    new_key = "new-key-" * 8
    app.change_key(new_key)
    app.stack.run("config", "set", "--secret", "squarecloud:apiKey", new_key)
    refused = "The API key is unknown, revoked or expired"
    told = diagnostics(app.refresh(fails=True))
    assert refused in told
    advice = "if it was changed since, run `pulumi refresh --run-program`."
    assert any(line.endswith(advice) for line in told.splitlines())
    app.refresh("--run-program")
    assert app.outputs()["available"] is True


def test_an_existing_snapshot_is_looked_up_by_its_id(app: App) -> None:
    stored = app.emulator.control("snapshots", {"database_id": DATABASE, "size": 30_000_001})
    found = f"{DATABASE}/{stored['version_id']}"
    program = """
snapshot = Snapshot.get("existing", "{}")
pulumi.export("download_url", snapshot.download_url)
pulumi.export("size", snapshot.size.apply(lambda size: [type(size).__name__, str(size)]))
pulumi.export("requested_at", snapshot.requested_at.apply(repr))
"""
    app.program(program.format(found))
    printed = app.preview()
    assert "read pulumi-python:dynamic/squarecloud:Snapshot existing" in printed
    app.up()
    assert app.snapshot("existing")["id"] == found
    assert app.stack.outputs() == {
        "download_url": "[secret]",
        "size": ["int", str(stored["size"])],
        "requested_at": "None",
    }
    assert f"versionId={stored['version_id']}" in app.url()
    assert app.url() not in app.state_file.read_text()
    app.refresh()
    assert app.snapshot("existing")["outputs"]["available"] is True
    assert "forgotten" not in app.destroy()

    for wrong, reason in {
        f"{DATABASE}/nothing": f"The service lists no snapshot nothing of database {DATABASE}.",
        f"{DATABASE}/pending:20260101T000000Z": f"error: {DATABASE}/pending:20260101T000000Z is the provisional id of a pending snapshot",
        DATABASE: f"The id of a snapshot is DATABASE_ID/VERSION_ID, not '{DATABASE}'.",
    }.items():
        app.program(program.format(wrong))
        assert reason in diagnostics(app.up(fails=True))
    assert app.posts() == []
