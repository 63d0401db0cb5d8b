"""What happens to a snapshot that was paid for when the run that waits for it ends before it is there."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.engine.stage import DATABASE, diagnostics, joined, wait_for

if TYPE_CHECKING:
    from tests.engine.stage import App, Command

pytestmark = pytest.mark.engine

URN = "urn:pulumi:dev::app::pulumi-python:dynamic/squarecloud:Snapshot::before-release"
PROGRAM = f"""
from dependant import Dependant

config = pulumi.Config()
snapshot = Snapshot("before-release", "{DATABASE}", triggers=[config.get("release")], reuse_within=config.get("reuse"),
                    opts=pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create=config.get("timeout"))))
Dependant("dependant", snapshot.download_url)
pulumi.export("download_url", snapshot.download_url)
pulumi.export("version_id", snapshot.version_id)
"""


def waiting(app: App, *arguments: str, real: bool = False) -> Command:
    """A `pulumi up` whose request was accepted, and that waits for its snapshot."""
    app.slow()
    up = app.start_up(*arguments, real=real)
    up.shows("accepted; next check ")
    return up


def test_the_next_up_resumes_an_interrupted_wait_for_free(app: App) -> None:
    app.program(PROGRAM)
    up = waiting(app, real=True)
    up.process.send_signal(signal.SIGINT)
    printed = app.ends(up, fails=True)

    kept = app.snapshot()
    assert kept["id"].startswith(f"{DATABASE}/pending:2")
    assert kept["outputs"]["attempt"]["answered"] == "202"
    (reason,) = kept["initErrors"]
    assert joined(reason) == (
        f"A snapshot of database {DATABASE} was requested at {kept['outputs']['requested_at']} and accepted (202), but is "
        "not listed yet. The wait was interrupted. The request is kept in the state: the next `pulumi up` keeps waiting and sends no "
        f"second request. `pulumi up --refresh --replace '{URN}'` gives up on it instead, and may use another of today's snapshots. "
        "more: squarecloud-snapshots explain pending"
    )
    assert joined(reason) in joined(diagnostics(printed))
    assert not any(one["urn"].endswith("::dependant") for one in app.resources())

    again = app.start_up()
    again.shows("accepted; next check ")
    app.pass_time(600)
    told = diagnostics(app.ends(again))
    (version,) = app.started()
    assert re.search(r" pending since [\d: -]+ UTC; will keep waiting, no new request\n", told)
    assert re.search(rf" found {DATABASE}/{version}, taken .* ago; no new request was sent\n", told)
    assert len(app.posts()) == 1
    assert app.outputs()["version_id"] == version
    assert "attempt" not in app.outputs()
    assert app.stack.outputs()["version_id"] == version
    app.refresh()
    assert app.snapshot()["id"] == f"{DATABASE}/{version}"
    assert len(app.posts()) == 1


def test_the_old_snapshot_stays_until_its_replacement_is_there(app: App) -> None:
    app.program(PROGRAM)
    app.up()
    (old,) = app.started()
    before = app.stack.outputs(show_secrets=True)
    app.pass_time(200)

    up = waiting(app, "-c", "release=2", real=True)
    up.terminate()  # as a CI system ends a job
    printed = app.ends(up, fails=True)
    assert "The wait was interrupted." in joined(printed)
    assert "forgotten" not in printed
    assert app.stack.outputs(show_secrets=True) == before
    assert "dependant" not in printed
    pending, kept = app.snapshots()
    assert kept["delete"] is True
    assert kept["outputs"]["version_id"] == old
    assert "pending:" in pending["id"]

    app.pass_time(600)
    printed = app.up("-c", "release=2")
    told = diagnostics(printed)
    assert re.search(r" found \S+, taken .* ago; no new request was sent\n", told)
    assert f"forgotten: the old record {DATABASE}/{old}" in told
    assert "its replacement, which an earlier run began, is there: nothing is taken again." in told
    assert app.started() == [old, app.outputs()["version_id"]]
    assert len(app.posts()) == 2


def test_a_killed_run_is_not_paid_for_twice(app: App) -> None:
    app.program(PROGRAM)
    up = waiting(app, real=True)
    up.kill()
    up.process.wait()
    wait_for(lambda: not up.providers(), "the end of the provider that nobody listens to any more")
    app.pass_time(600)
    app.stack.run("cancel", "--yes")
    printed = app.up()
    assert "Attempting to deploy or update resources with 1 pending operations" in printed
    assert [app.outputs()["version_id"]] == app.started()
    assert len(app.posts()) == 1
