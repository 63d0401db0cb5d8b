"""Databases at a real PostgreSQL server: snapshots are complete, restores exact, and other databases untouched."""

import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import wait
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psycopg
import pytest

from squarecloud_emulator import Emulator, EmulatorSettings
from squarecloud_emulator.data.postgres_server import PostgresServer
from squarecloud_emulator.data.postgres_store import PostgresStore
from tests.support.real_data import (
    SPOIL,
    content_of,
    databases_of,
    filled,
    fresh,
    sql_at,
)
from tests.support.world import DATABASE, World, world
from tools.servers import Server

QUICK: dict[str, Any] = {
    "snapshot_seconds": 0.0,
    "restore_seconds": 0.0,
    "cache_world": "invalidated",
}
BUSY_SECONDS = 10.0


def at_server(
    server: Server, body: Callable[[World], Awaitable[None]], **options: Any
) -> None:
    """Run `body` with an emulator whose databases are at this server."""
    store = PostgresStore(server.dsn(), None)

    async def run() -> None:
        try:
            async with world(
                store=store, settings={"poll_every": 0.05}, **QUICK, **options
            ) as here:
                await body(here)
        finally:
            store.close()

    anyio.run(run)


async def restored(here: World, version_id: str) -> None:
    """Restore through the client, and wait until the service brings the database up."""
    client = here.session.client
    name = here.newest().name
    await client.restore_snapshot(DATABASE, name=name, version_id=version_id)
    with anyio.fail_after(BUSY_SECONDS):
        while here.emulator.account.restoring(
            DATABASE
        ):  # polling over HTTP would exceed the rate limit
            await anyio.to_thread.run_sync(
                wait, [here.emulator.account.restore_work[DATABASE]], BUSY_SECONDS
            )
            here.emulator.settle()
    assert (await client.database_status(DATABASE)).running


def test_restore_brings_back_everything_in_the_snapshot(server: Server) -> None:
    url = server.url(DATABASE)

    async def body(here: World) -> None:
        before = filled(url)
        taken = (await here.create()).complete
        sql_at(url, SPOIL)
        spoilt = sql_at(url, "SELECT name FROM customer ORDER BY id")
        with closing(psycopg.connect(url)) as application:
            await restored(here, taken.version_id or "")
            assert content_of(url) == before
            assert spoilt == [("Zoë 🦉 O'Hara lost",), ("空 lost",), ("later",)]
            with pytest.raises(psycopg.OperationalError):
                application.execute("SELECT 1")
        # The restored database works: sequences continue, and constraints still apply.
        assert sql_at(url, "SELECT nextval('tickets')") == [(1014,)]
        assert sql_at(
            url, "INSERT INTO customer (name) VALUES ('next') RETURNING id"
        ) == [(42,)]
        for wrong in (
            "INSERT INTO customer (name) VALUES ('')",
            """INSERT INTO "Bestellung für 日本" (customer, state) VALUES (1, 'open')""",
            """UPDATE "Bestellung für 日本" SET price = -1""",
        ):
            with pytest.raises(psycopg.IntegrityError):
                sql_at(url, wrong)

    at_server(server, body)
    assert not {DATABASE, f"{DATABASE}.new", f"{DATABASE}.old"} & databases_of(server)


def test_failed_dump_or_restore_leaves_the_data_and_is_logged(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = server.url(DATABASE)

    async def body(here: World) -> None:
        sql_at(url, "CREATE TABLE t AS SELECT 7 AS n")
        stored = here.emulator.add_snapshot(DATABASE)
        store = here.emulator.account.store
        assert isinstance(store, PostgresStore)
        archive = store._folder._zip(stored.version_id)
        archive.write_bytes(archive.read_bytes()[:-1000])
        await restored(here, stored.version_id)
        assert sql_at(url, "SELECT n FROM t") == [(7,)]
        broken = tmp_path / "pg_dump"
        broken.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 1\n")
        broken.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        ending = await here.create()
        assert "SNAPSHOT_FAILED" in str(ending.nothing)
        assert here.emulator.snapshots(DATABASE) == [stored]

    at_server(server, body, restore_tail_seconds=0.0)
    assert f"{DATABASE}.new" not in databases_of(server)
    assert "restore failed, and the database holds what it held" in caplog.text
    assert "snapshot failed: pg_dump failed: no space left" in caplog.text


def test_databases_of_other_programs_are_never_touched(server: Server) -> None:
    url = fresh(server, DATABASE)
    sql_at(url, "CREATE TABLE theirs (n integer)")

    async def body(here: World) -> None:
        with pytest.raises(ValueError, match="not the emulator's"):
            here.emulator.add_database(DATABASE)
        assert DATABASE not in here.emulator.databases

    try:
        at_server(server, body, databases=())
        assert sql_at(url, "SELECT * FROM theirs") == []
    finally:
        sql_at(server.url(), f'DROP DATABASE "{DATABASE}"')


def test_only_a_killed_emulators_database_is_replaced(server: Server) -> None:
    first = PostgresServer(server.dsn(), kept=False)
    first.create(DATABASE)
    try:
        with pytest.raises(ValueError, match="another emulator's"):
            PostgresServer(server.dsn(), kept=False).create(DATABASE)
        dead = f"squarecloud-emulator, {socket.gethostname()} 999999999"
        sql_at(server.url(), f"COMMENT ON DATABASE \"{DATABASE}\" IS '{dead}'")
        sql_at(server.url(DATABASE), "CREATE TABLE old (n integer)")
        PostgresServer(server.dsn(), kept=False).create(DATABASE)
        assert sql_at(
            server.url(DATABASE),
            "SELECT count(*) FROM pg_tables WHERE tablename = 'old'",
        ) == [(0,)]
    finally:
        first.drop(DATABASE)


def test_folder_remembers_the_databases_at_the_server(
    server: Server, tmp_path: Path
) -> None:
    url = server.url(DATABASE)
    settings = EmulatorSettings(snapshot_seconds=0)
    emulator = Emulator(
        settings, data_folder=tmp_path, store=PostgresStore(server.dsn(), tmp_path)
    )
    emulator.add_database(DATABASE)
    sql_at(url, "CREATE TABLE t AS SELECT 7 AS n")
    stored = emulator.add_snapshot(DATABASE)
    emulator.stop()
    assert sql_at(url, "SELECT n FROM t") == [(7,)]

    with pytest.raises(ValueError, match="is at a PostgreSQL server: give its DSN"):
        Emulator(settings, data_folder=tmp_path)

    # This is how a run leaves it that was killed in the middle of a restore.
    sql_at(server.url(), f'ALTER DATABASE "{DATABASE}" ALLOW_CONNECTIONS false')
    emulator = Emulator(
        settings, data_folder=tmp_path, store=PostgresStore(server.dsn(), tmp_path)
    )
    assert emulator.execute(DATABASE, "SELECT n FROM t") == [[[7]]]
    assert [one.version_id for one in emulator.snapshots(DATABASE)] == [
        stored.version_id
    ]
    emulator.remove_database(DATABASE)
    emulator.stop()
    assert DATABASE not in databases_of(server)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "state.json"
    ]
