"""What cannot be done now ends `pulumi up` with the engine's own exit code, so that CI can try it again tomorrow."""

import pytest

from tests.engine.stage import DATABASE, App, diagnostics, joined

pytestmark = pytest.mark.engine

PROGRAM = f"""
from servers import Server
from {{package}} import Snapshot

snapshot = Snapshot("before-release", "{DATABASE}")
Server("dependant", value=snapshot.version_id)
Server("independent")
"""
AWAITED = 10
"""The engine's exit code if something was not done yet and nothing failed."""


@pytest.mark.parametrize("way", ["dynamic", "plugin"])
def test_an_up_that_is_refused_by_the_quota_ends_with_code_10_and_is_repeated_later(
    app: App, way: str
) -> None:
    package = "pulumi_snapshots"
    if way == "plugin":
        app.plug()
        package = "pulumi_snapshots.plugin"
    app.program('from servers import Server\nServer("removed")\n')
    app.up()
    assert app.done() == ["create removed"]
    app.program(PROGRAM.format(package=package))
    app.fault("create", status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED")
    printed = app.up(fails=AWAITED)
    shown = joined(diagnostics(printed))
    assert "warning: The plan's daily quota of snapshots is used up" in shown
    assert shown.count("daily quota of snapshots is used up") == 1
    assert "error:" not in shown
    assert "No snapshot of database" in shown
    assert app.done() == ["create independent", "delete removed"], (
        "nothing that depends on it"
    )
    assert not {"dependant", "before-release"} & {
        one["urn"].rpartition("::")[2] for one in app.resources()
    }
    app.mend()
    app.pass_time(600)
    app.up()
    assert app.done() == ["create dependant"]
    assert len(app.started()) == 1


@pytest.mark.parametrize("way", ["dynamic", "plugin"])
def test_an_up_in_which_something_failed_ends_as_a_failure(app: App, way: str) -> None:
    package = "pulumi_snapshots"
    if way == "plugin":
        app.plug()
        package = "pulumi_snapshots.plugin"
    app.program(PROGRAM.format(package=package))
    app.fault("create", status=404, code="SNAPSHOT_FAILED")
    assert "could not capture the snapshot" in app.up(fails=True)
