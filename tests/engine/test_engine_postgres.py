"""A real PostgreSQL database, snapshotted, archived and restored by a real engine, comes back row for row."""

from __future__ import annotations

import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.engine.stage import DATABASE
from tests.support.real_data import SPOIL, content_of, filled, fresh, sql_at

if TYPE_CHECKING:
    from tests.engine.stage import App
    from tools.postgres import Server

pytestmark = pytest.mark.engine

PROGRAM = """
from pulumi_snapshots import Archive, Restore

snapshot = Snapshot("before-release", "{database}")
Archive("offsite", snapshot, destination="{folder}/snapshot.zip")
if pulumi.Config().get_bool("back"):
    Restore("back", snapshot, overwrite=True)
"""


@pytest.fixture
def service(server: Server) -> tuple[str, ...]:
    return ("--postgres-dsn", server.dsn(), "--restore-seconds", "0.5")


def test_an_up_keeps_the_rows_that_were_there_then(app: App, server: Server) -> None:
    content = filled(server.url(DATABASE))
    app.program(PROGRAM.format(database=DATABASE, folder=app.folder / "archives"))
    app.up()
    sql_at(server.url(DATABASE), SPOIL)
    with zipfile.ZipFile(app.folder / "archives" / "snapshot.zip") as archive:
        dump = archive.extract("database.dump", app.folder)
    elsewhere = fresh(server, "elsewhere")
    subprocess.run(["pg_restore", "--exit-on-error", "--dbname", server.dsn("elsewhere"), dump], check=True)  # noqa: S603, S607
    assert content_of(elsewhere) == content
    assert app.outputs()["runtime"] == "postgres"

    assert content_of(server.url(DATABASE)) != content
    app.environment["SQUARECLOUD_RESTORE_SETTLE"] = "1s"
    app.up("-c", "back=true")
    assert content_of(server.url(DATABASE)) == content
