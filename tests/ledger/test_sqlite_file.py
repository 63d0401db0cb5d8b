"""The ledger's file on a machine in trouble: damaged, locked, full, read-only, missing, or killed in the middle."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import LedgerUnavailable, Step
from pulumi_snapshots.ledger.bucket import place_of
from pulumi_snapshots.ledger.sqlite_file import EMPTY, SqliteFile
from tests.ledger.racing import count
from tests.support.virtual import run_virtual, virtual
from tests.support.world import START

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Of real time, which a virtual clock does not shorten.
    monkeypatch.setattr("pulumi_snapshots.ledger.sqlite_file.PATIENCE", 0.0)
    return tmp_path / "state" / "service.ledger"


def at(path: Path, *, is_shared: bool = False) -> SqliteFile:
    return SqliteFile(path, Clock(START), is_shared=is_shared, in_threads=False)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def refused(place: SqliteFile) -> LedgerUnavailable:
    """The error of an edit, which a read has too."""
    with pytest.raises(LedgerUnavailable) as of_read:
        await place.read()
    with pytest.raises(LedgerUnavailable) as of_edit:
        await place.edit(count)
    assert of_read.value.trouble == of_edit.value.trouble
    return of_edit.value


@virtual
async def test_no_other_user_of_the_machine_can_read_the_ledger(path: Path) -> None:
    before = os.umask(0)
    try:
        await at(path).edit(count)
    finally:
        os.umask(before)
    assert mode(path.parent) == 0o700
    assert {mode(each) for each in path.parent.iterdir()} == {0o600}


def test_a_file_that_is_cut_is_an_error_at_any_length(path: Path) -> None:
    place = at(path)
    run_virtual(place.edit, lambda document: document.update(attempts="x" * 10_000))
    whole = path.read_bytes()
    for length in (0, 1, 99, 100, 512, 4095, 4096, 8192, len(whole) - 4096, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "damaged" in run_virtual(refused, place).trouble, length
        assert path.read_bytes() == whole[:length]
    path.write_bytes(whole)
    assert run_virtual(place.edit, count) == 1


@pytest.mark.parametrize("content", [b"\x00" * 8192, b"{}", b"garbage" * 1000], ids=["zeros", "JSON", "garbage"])
def test_a_file_with_something_else_stays_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert "damaged" in run_virtual(refused, at(path)).trouble
    assert path.read_bytes() == content


def test_a_database_of_another_program_stays_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE notes (text)")
    content = path.read_bytes()
    assert "another program's" in run_virtual(refused, at(path)).trouble
    assert path.read_bytes() == content


def test_a_file_that_another_run_is_just_making_is_waited_for(path: Path) -> None:
    run_virtual(at(path).edit, count)
    content = path.read_bytes()
    path.write_bytes(b"")
    finish = partial(path.write_bytes, content)

    async def make() -> None:
        await anyio.sleep(EMPTY / 2)
        finish()

    async def play() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(make)
            assert await at(path).edit(count) == 2

    run_virtual(play)


@pytest.mark.parametrize("statement", ["DELETE FROM ledger", "UPDATE ledger SET document = 1"])
def test_a_ledger_whose_row_is_gone_is_not_an_empty_one(path: Path, statement: str) -> None:
    run_virtual(at(path).edit, count)
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(statement)
    assert "damaged" in run_virtual(refused, at(path)).trouble


@virtual
async def test_a_process_that_hangs_with_the_lock_ends_the_wait(path: Path) -> None:
    place = at(path)
    await place.edit(count)
    with closing(sqlite3.connect(path)) as stuck:
        stuck.execute("BEGIN EXCLUSIVE")
        assert "another process has held its lock for" in (await refused(place)).trouble
        stuck.rollback()
        stuck.execute("BEGIN IMMEDIATE")
        assert await place.read() == {"number": 1}, "reads go on while another process writes"
    assert await place.edit(count) == 2


def test_an_edit_that_is_cancelled_while_it_runs_is_known_to_be_in(path: Path) -> None:
    async def run() -> None:
        place = SqliteFile(path, Clock())
        with anyio.CancelScope() as scope:

            def change(document: dict[str, Any]) -> int:
                scope.cancel()
                return count(document)

            assert await place.edit(change) == 1
        assert await place.read() == {"number": 1}

    anyio.run(run)


def test_a_lock_that_is_held_does_not_stop_the_event_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    async def run() -> None:
        place, ticks = SqliteFile(path, Clock()), 0
        await place.edit(count)
        with closing(sqlite3.connect(path)) as busy:
            busy.execute("BEGIN EXCLUSIVE")
            async with anyio.create_task_group() as group:
                group.start_soon(place.edit, count)
                group.start_soon(place.read)
                while ticks < 100:
                    await anyio.sleep(0.001)
                    ticks += 1
                busy.rollback()
        assert await place.read() == {"number": 2}

    anyio.run(run)


TROUBLES: dict[str, tuple[str, str]] = {
    "full": ("PRAGMA max_page_count = 1", "database or disk is full"),
    "read-only": ("PRAGMA query_only = ON", "attempt to write a readonly database"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@virtual
async def test_a_disk_in_trouble_is_named_in_plain_words(
    path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement, why = TROUBLES[trouble]
    await at(path).edit(count)
    connect = sqlite3.connect

    def troubled(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.execute(statement)
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", troubled)
        with pytest.raises(LedgerUnavailable) as unavailable:
            await at(path).edit(lambda document: document.update(attempts="x" * 10_000))
        assert unavailable.value.trouble == f"{path}: {why}"
        assert await at(path).read() == {"number": 1}, "polls go on"
    assert "Set SQUARECLOUD_STATE_DIR" in str(unavailable.value.then[0])
    assert await at(path).edit(count) == 2


PLACES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "it is a folder": (lambda path: path.mkdir(parents=True), "unable to open database file"),
    "its folder is a file": (lambda path: path.parent.write_text(""), "Not a directory|File exists"),
}


@pytest.mark.parametrize("trouble", PLACES)
@virtual
async def test_a_path_that_is_taken_is_named_in_plain_words(path: Path, trouble: str) -> None:
    take, why = PLACES[trouble]
    take(path)
    with pytest.raises(LedgerUnavailable, match=why):
        await at(path).edit(count)


@virtual
async def test_a_shared_folder_that_is_not_mounted_is_not_made(path: Path) -> None:
    error = await refused(at(path, is_shared=True))
    assert error.trouble == f"{path}: there is no such folder"
    assert [str(each) for each in error.then] == [
        f"Mount it on this machine, or make it once, by mkdir -p {path.parent}."
    ]
    assert not path.parent.exists()


def test_without_a_home_directory_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = place_of(None, Path("~/.local/state"), "service", Clock(START))
    assert isinstance(place, SqliteFile)
    error = anyio.run(refused, place)
    assert "there is no home directory" in error.trouble
    assert error.then[0].step == Step.USE_OTHER_STATE_DIRECTORY
    assert not list(tmp_path.iterdir())


KILLED = """
import os, sys, sqlite3
from pathlib import Path
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
import anyio

def change(document):
    document["number"] = 99
    os.kill(os.getpid(), 9)

anyio.run(SqliteFile(Path(sys.argv[1]), Clock()).edit, change)
"""


@pytest.mark.parametrize("is_first", [True, False], ids=["the first edit", "a later edit"])
def test_a_process_that_is_killed_in_an_edit_leaves_no_lock_and_no_half(path: Path, *, is_first: bool) -> None:
    place = SqliteFile(path, Clock())
    if not is_first:
        anyio.run(place.edit, count)
    process = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)  # noqa: S603  this very interpreter
    assert process.returncode == -9
    assert path.exists()
    assert anyio.run(partial(SqliteFile(path, Clock()).edit, count)) == (1 if is_first else 2)
