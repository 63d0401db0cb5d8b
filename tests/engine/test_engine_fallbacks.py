"""What a user still gets where the installed SDK lacks what the provider finds in today's, at a real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.stage import DATABASE, diagnostics

if TYPE_CHECKING:
    from tests.engine.stage import App

pytestmark = [pytest.mark.engine, pytest.mark.nightly]

PROGRAM = f"""
snapshot = Snapshot("before-release", "{DATABASE}", triggers=[pulumi.Config().get("release")],
                    timeout=pulumi.Config().get("timeout"), reuse_within=pulumi.Config().get("reuse"))
pulumi.export("download_url", snapshot.download_url)
"""

# The interpreter loads this before anything else; only a dynamic provider's process is changed.
SITE = """
import sys

if "pulumi.dynamic" in sys.orig_argv:
    from pulumi_snapshots.dynamic import engine_access

    {change}
"""


def lacks(app: App, change: str) -> None:
    site = app.folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE.format(change=change))
    app.environment["PYTHONPATH"] = str(site)
    app.program(PROGRAM)


def test_a_newer_sdk_still_shows_progress_and_plain_errors(app: App) -> None:
    lacks(app, "engine_access._find_call = lambda: (None, None)")
    app.slow()
    printed = app.up("-c", "timeout=2s", fails=True)
    assert "app-dev creating" in printed
    assert "accepted; next check " in printed
    told = diagnostics(printed)
    assert f"A snapshot of database {DATABASE} was requested at" in told
    assert (
        "The installed Pulumi SDK has no known way to keep it in the stack's state: the next `pulumi up` takes another"
        in told
    )
    assert "It is kept" not in told
    assert app.snapshots() == []

    app.pass_time(600)
    app.up("-c", "reuse=1h", "-c", "timeout=1m")
    assert [app.outputs()["version_id"]] == app.started()
    app.pass_time(3600)
    app.up("-c", "release=2")
    assert len(app.started()) == 2
    assert app.url() not in app.state_file.read_text()
    app.refresh()
    assert "forgotten: " in app.destroy()


def test_without_partial_state_a_kept_snapshot_is_resumed(app: App) -> None:
    app.program(PROGRAM)
    app.slow()
    app.up("-c", "timeout=1s", fails=True)
    lacks(app, "engine_access._find_call = lambda: (None, None)")
    told = diagnostics(app.up("-c", "timeout=1s", fails=True))
    assert "It is kept in the state: the next `pulumi up` keeps waiting" in told
    app.pass_time(600)
    app.up("-c", "timeout=1s")
    assert [app.outputs()["version_id"]] == app.started()
    assert len(app.posts()) == 1


def test_an_interrupt_loses_nothing_if_the_sdk_hides_cancel(app: App) -> None:
    lacks(app, "engine_access._find_cancel_handlers = lambda: []")
    app.slow()
    up = app.start_up(real=True)
    up.shows("accepted; next check ")
    up.interrupt()
    up.shows("^C received; cancelling.")
    app.pass_time(600)
    app.ends(up, fails=True)
    assert [app.outputs()["version_id"]] == app.started()
    assert "unchanged" in app.up()


def test_without_the_engines_address_only_progress_is_lost(app: App) -> None:
    lacks(app, "engine_access._find_engine_address = lambda: None")
    printed = app.up()
    assert "found snapshot" not in printed
    app.pass_time(200)
    assert "forgotten: " in app.up("-c", "release=2")
    app.fault("create", status=404, code="DATABASE_NOT_FOUND")
    app.pass_time(200)
    assert "404 DATABASE_NOT_FOUND: this account has no such database." in diagnostics(
        app.up("-c", "release=3", fails=True)
    )
    assert app.outputs()["version_id"] == app.started()[-1]


def test_without_a_wider_pool_five_snapshots_still_come(app: App) -> None:
    lacks(app, "engine_access._find_thread_pool = lambda: None")
    databases = [f"{number:032x}" for number in range(5)]
    for database_id in databases:
        stored = app.emulator.control("databases", {"id": database_id})
        assert stored["id"] == database_id
        app.emulator.control("snapshots", {"database_id": database_id})
    app.program(f'for id in {databases!r}:\n    Snapshot(id, id, reuse_within="3h")')
    printed = app.up()
    assert diagnostics(printed).count("no known way to serve more than four resources at a time") == 1
    assert len(app.snapshots()) == 5
    assert app.posts() == []
