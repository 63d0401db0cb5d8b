"""Two machines that share a place, at a real engine: what one has sent the other does not send, by both ways to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.stage import DATABASE, App, diagnostics
from tests.engine.test_engine_promises import RESTORED, of, restores

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

PROGRAM = f"""
from {{package}} import Restore, Snapshot

Snapshot("before-release", "{DATABASE}", triggers=["v1"])
Restore("back", database_id="{RESTORED}", version_id="{{version}}", overwrite=True)
"""


@pytest.fixture
def service() -> tuple[str, ...]:
    return ("--restore-seconds", "0.5", "--database", RESTORED)


@pytest.mark.parametrize("package", ["pulumi_snapshots", "pulumi_snapshots.plugin"], ids=["dynamic", "plugin"])
def test_what_one_machine_has_sent_another_does_not_send_again(app: App, package: str, tmp_path: Path) -> None:
    name = "version_id" if package == "pulumi_snapshots" else "versionId"
    if name == "versionId":
        app.plug()
    app.environment["SQUARECLOUD_RESTORE_SETTLE"] = "1s"
    version = app.emulator.control("snapshots", {"database_id": RESTORED})["version_id"]
    app.program(PROGRAM.format(package=package, version=version))
    shared, setting = tmp_path / "shared", "squarecloud:sharedState"

    if name == "version_id":  # the plugin words an error alike, and each run takes seconds
        printed = diagnostics(app.up("-c", f"{setting}={shared}", fails=True))
        assert f"{setting} cannot be used: {shared}" in printed
        assert "there is no such folder." in printed
        assert "Nothing was started: what is sent must be written down there first." in printed
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
    assert len(restores(app)) == 1
    assert {path.suffix for path in shared.iterdir()} <= {".ledger", ".ledger-journal"}
    assert len(list(shared.glob("*.ledger"))) == 1


@pytest.mark.parametrize("package", ["pulumi_snapshots", "pulumi_snapshots.plugin"], ids=["dynamic", "plugin"])
def test_the_backend_that_a_project_names_is_where_a_run_writes_down_what_it_sends(app: App, package: str) -> None:
    if package != "pulumi_snapshots":
        app.plug()
    project = app.stack.project / "Pulumi.yaml"
    (app.stack.project / "src").mkdir()
    url = app.environment.pop("PULUMI_BACKEND_URL")
    project.write_text(f"{project.read_text()}main: src\nbackend: {{url: '{url}'}}\n")
    program = f'from {package} import Snapshot\nSnapshot("before-release", "{DATABASE}")\n'
    (app.stack.project / "src" / "__main__.py").write_text(program)
    app.up("-c", "squarecloud:sharedState=backend")
    assert len(app.posts()) == 1
    assert list((app.folder / "backend" / ".pulumi-snapshots").glob("*.ledger"))
    assert not list((app.folder / "state").rglob("*.ledger"))
