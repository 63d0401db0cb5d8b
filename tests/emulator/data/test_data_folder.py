"""The data folder: databases, snapshots and limits survive a restart."""

from __future__ import annotations

import io
import sqlite3
import zipfile
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from squarecloud_emulator import Emulator
from tests.emulator.visit import DATABASE, START, visit
from tests.support.virtual import run_virtual, virtual

if TYPE_CHECKING:
    from pathlib import Path


def test_restart_on_the_same_folder_shows_the_same_snapshots(tmp_path: Path) -> None:
    async def before() -> tuple[str, bytes]:
        async with visit(data_folder=tmp_path) as at:
            at.emulator.execute(DATABASE, "CREATE TABLE t (n)", "INSERT INTO t VALUES (1)")
            await at.create()
            (entry,) = (await at.listing()).json()["response"]
            return entry["url"], (await at.files.get(entry["url"])).content

    async def after(url: str, content: bytes) -> None:
        async with visit(data_folder=tmp_path) as at:
            await at.clock.sleep(60)
            assert at.emulator.execute(DATABASE, "SELECT n FROM t") == [[[1]]]
            assert (await at.files.get(url)).content == content
            assert (await at.create()).json()["code"] == "KEEP_CALM"
            await at.clock.sleep(180)
            await at.create()
            new, old = await at.versions()
            assert new != old
            assert f"versionId={old}" in url

    run_virtual(after, *run_virtual(before))


def test_snapshot_and_restore_in_progress_outlive_a_restart(tmp_path: Path) -> None:
    async def before() -> None:
        async with visit(data_folder=tmp_path) as at:
            at.emulator.execute(DATABASE, "CREATE TABLE t (n)", "INSERT INTO t VALUES (1)")
            stored = at.emulator.add_snapshot(DATABASE)
            at.emulator.add_database("other", snapshot_seconds=200)
            await at.create("other")
            at.emulator.execute(DATABASE, "DELETE FROM t")
            await at.restore(stored.version_id)

    async def after() -> None:
        async with visit(data_folder=tmp_path) as at:
            # The machine's clock starts again from START; the restore began after the other snapshot's 90 s.
            assert not await at.running()
            await at.clock.sleep(90 + 60)
            assert await at.running()
            assert at.emulator.execute(DATABASE, "SELECT n FROM t") == [[[1]]]
            await at.clock.sleep(50)
            assert len(await at.versions("other")) == 1

    run_virtual(before)
    run_virtual(after)


def test_skipped_time_stays_skipped_after_a_restart(tmp_path: Path) -> None:
    async def before() -> None:
        async with visit(data_folder=tmp_path, plan_memory_mb=256) as at:
            for _ in range(2):
                await at.create()
                at.emulator.advance(3600)
            at.emulator.revoke_key()

    async def after() -> None:
        async with visit(data_folder=tmp_path, plan_memory_mb=256) as at:
            assert at.emulator.now() >= START + timedelta(hours=2)
            assert (await at.create()).json()["code"] == "ACCESS_DENIED"
            at.emulator.revoke_key(revoked=False)
            assert (await at.create()).json()["code"] == "DAILY_SNAPSHOTS_LIMIT_REACHED"

    run_virtual(before)
    run_virtual(after)


@virtual
async def test_snapshot_in_a_folder_can_be_opened_with_sqlite(tmp_path: Path) -> None:
    async with visit(data_folder=tmp_path) as at:
        with closing(sqlite3.connect(tmp_path / "databases" / f"{DATABASE}.sqlite")) as application:
            application.execute("CREATE TABLE orders (id INTEGER, state TEXT)")
            application.execute("INSERT INTO orders VALUES (1, 'paid')")
            application.commit()
            await at.create()
            application.execute("UPDATE orders SET state = 'lost'")
            application.commit()
            (version_id,) = await at.versions()
            with zipfile.ZipFile(io.BytesIO(at.emulator.archive_of(version_id))) as archive:
                archive.extract("database.sqlite", tmp_path)
            with closing(sqlite3.connect(tmp_path / "database.sqlite")) as copy:
                assert copy.execute("SELECT * FROM orders").fetchall() == [(1, "paid")]
            await at.restore(version_id)
            await at.clock.sleep(60)
            assert await at.running()
            assert application.execute("SELECT * FROM orders").fetchall() == [(1, "paid")]


@virtual
async def test_locked_database_fails_only_its_own_snapshot(tmp_path: Path) -> None:
    async with visit(data_folder=tmp_path) as at:
        stored = at.emulator.add_snapshot(DATABASE)
        with closing(sqlite3.connect(tmp_path / "databases" / f"{DATABASE}.sqlite")) as application:
            application.execute("CREATE TABLE t (n)")
            application.execute("BEGIN EXCLUSIVE")
            assert (await at.create()).json()["code"] == "SNAPSHOT_FAILED"
            assert at.emulator.account.quota.uses == []
            assert (await at.restore(stored.version_id)).status_code == 200
            await at.clock.sleep(60)
            assert await at.running()
            application.rollback()
        assert (await at.create()).status_code == 200
        (tmp_path / "snapshots" / f"{stored.version_id}.zip").unlink()
        await at.clock.sleep(120)
        await at.restore(stored.version_id)
        await at.clock.sleep(60)
        assert await at.running()
        assert at.emulator.execute(DATABASE, "SELECT n FROM t") == [[]]


def test_removed_database_leaves_no_files(tmp_path: Path) -> None:
    async def body() -> None:
        async with visit(data_folder=tmp_path) as at:
            await at.create()
            at.emulator.remove_database(DATABASE)
            assert (await at.listing()).status_code == 404

    run_virtual(body)
    assert [one.name for one in tmp_path.rglob("*") if one.is_file()] == ["state.json"]


def test_key_is_never_written_to_disk(tmp_path: Path) -> None:
    async def body() -> str:
        async with visit(data_folder=tmp_path) as at:
            await at.create()
            return at.emulator.settings.api_key

    key = run_virtual(body)
    assert all(key.encode() not in one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())


@pytest.mark.parametrize("content", ["", "{", '{"format": 2}', "[]"])
def test_folder_with_something_else_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(ValueError, match=r"state\.json is not a state"):
        Emulator(data_folder=tmp_path)
    assert (tmp_path / "state.json").read_text() == content


def test_databases_can_be_added_before_the_event_loop_runs() -> None:
    emulator = Emulator()
    database = emulator.add_database()
    emulator.add_snapshot(database.id)
    emulator.advance(3600)
    assert len(emulator.snapshots(database.id)) == 1
    with pytest.raises(ValueError, match="taken"):
        emulator.add_database(database.id)
