"""The data folder: databases, snapshots and limits survive a restart."""

import io
import sqlite3
import zipfile
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from squarecloud_emulator import Emulator
from tests.emulator.visit import DATABASE, START, Visit, told, visit
from tests.support.virtual import run_virtual


def runs(
    folder: Path, *bodies: Callable[[Visit], Awaitable[None]], **settings: Any
) -> None:
    """Run each with an emulator of its own on this folder, one after the other."""
    for body in bodies:

        async def run(body: Callable[[Visit], Awaitable[None]] = body) -> None:
            async with visit(data_folder=folder, **settings) as at:
                await body(at)

        run_virtual(run)


def files_in(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file()]


def test_restart_on_the_same_folder_shows_the_same_snapshots(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def before(at: Visit) -> None:
        at.sql("CREATE TABLE t (n)", "INSERT INTO t VALUES (1)")
        await at.create()
        url = (await at.entries())[0]["url"]
        seen.extend([url, (await at.files.get(url)).content])
        seen.append(at.emulator.settings.api_key)

    async def after(at: Visit) -> None:
        url, content, _ = seen
        await at.clock.sleep(60)
        assert at.sql("SELECT n FROM t") == [[1]]
        assert (await at.files.get(url)).content == content
        assert told(await at.create()) == "429 KEEP_CALM"
        await at.clock.sleep(180)
        await at.create()
        new, old = await at.versions()
        assert new != old
        assert f"versionId={old}" in url
        assert all(
            seen[2].encode() not in one.read_bytes() for one in files_in(tmp_path)
        ), "the key is not on the disk"
        at.emulator.remove_database(DATABASE)
        assert (await at.listing()).status_code == 404

    runs(tmp_path, before, after)
    assert [one.name for one in files_in(tmp_path)] == ["state.json"]


def test_snapshot_and_restore_in_progress_outlive_a_restart(tmp_path: Path) -> None:
    async def before(at: Visit) -> None:
        at.sql("CREATE TABLE t (n)", "INSERT INTO t VALUES (1)")
        version = at.added()
        at.emulator.add_database("other", snapshot_seconds=200)
        await at.create("other")
        at.sql("DELETE FROM t")
        at.emulator.add_database("failed")
        at.emulator.next_restore_fails_with("failed", "CONTAINER_NOT_FOUND")
        await at.again("failed")
        await at.clock.sleep(60)
        await at.restore(version)

    async def after(at: Visit) -> None:
        # The machine's clock starts again from START; the restore began after the other snapshot's 90 s, and a minute.
        assert not await at.running()
        await at.clock.sleep(90 + 60 + 60)
        assert await at.running()
        assert at.sql("SELECT n FROM t") == [[1]]
        kept = (await at.api.get("databases/failed/snapshots/restore")).json()[
            "response"
        ]
        assert (kept["state"], kept["code"]) == ("error", "CONTAINER_NOT_FOUND")
        assert len(await at.versions("other")) == 1

    runs(tmp_path, before, after)


def test_skipped_time_stays_skipped_after_a_restart(tmp_path: Path) -> None:
    async def before(at: Visit) -> None:
        for _ in range(2):
            await at.create()
            at.emulator.advance(3600)
        at.emulator.revoke_key()

    async def after(at: Visit) -> None:
        assert at.emulator.now() >= START + timedelta(hours=2)
        assert told(await at.create()) == "401 ACCESS_DENIED"
        at.emulator.revoke_key(revoked=False)
        assert told(await at.create()) == "429 DAILY_SNAPSHOTS_LIMIT_REACHED"

    runs(tmp_path, before, after, plan_memory_mb=256)


def test_an_application_opens_its_database_and_a_snapshot_with_sqlite(
    tmp_path: Path,
) -> None:
    async def body(at: Visit) -> None:
        with closing(
            sqlite3.connect(tmp_path / "databases" / f"{DATABASE}.sqlite")
        ) as application:
            application.execute("CREATE TABLE orders (id INTEGER, state TEXT)")
            application.execute("INSERT INTO orders VALUES (1, 'paid')")
            application.commit()
            await at.create()
            application.execute("UPDATE orders SET state = 'lost'")
            application.commit()
            (version,) = await at.versions()
            with zipfile.ZipFile(
                io.BytesIO(at.emulator.archive_of(version))
            ) as archive:
                archive.extract("database.sqlite", tmp_path)
            with closing(sqlite3.connect(tmp_path / "database.sqlite")) as copy:
                assert copy.execute("SELECT * FROM orders").fetchall() == [(1, "paid")]
            await at.plays("again: 200; +200")
            assert await at.running()
            assert application.execute("SELECT * FROM orders").fetchall() == [
                (1, "paid")
            ]
            application.execute("UPDATE orders SET state = 'later'")
            application.commit()
            # While it is locked, its own snapshot fails, and a restore leaves it; so does one whose file is gone.
            application.execute("BEGIN EXCLUSIVE")
            await at.plays("create: 404 SNAPSHOT_FAILED; spent: 1; again: 200; +60")
            assert await at.running()
            application.rollback()
            (tmp_path / "snapshots" / f"{version}.zip").unlink()
            await at.plays("+120; again: 200; +60")
            assert await at.running()
            assert application.execute("SELECT * FROM orders").fetchall() == [
                (1, "later")
            ]

    runs(tmp_path, body)


@pytest.mark.parametrize("content", ["", "{", '{"format": 2}', "[]"])
def test_folder_with_something_else_is_refused_and_left_alone(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(ValueError, match=r"state\.json is not a state"):
        Emulator(data_folder=tmp_path)
    assert (tmp_path / "state.json").read_text() == content
