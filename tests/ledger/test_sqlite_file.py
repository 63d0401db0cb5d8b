"""The ledger's file on a machine in trouble: damaged, locked, missing, killed in the middle, or of another user."""

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import HintKind, LedgerUnavailable
from pulumi_snapshots.ledger.bucket import place_of
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from tests.ledger.racing import count
from tests.support.machine import without
from tests.support.virtual import run_virtual, virtual
from tests.support.world import START


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Of real time, which a virtual clock does not shorten.
    monkeypatch.setattr("pulumi_snapshots.ledger.sqlite_file.FILE_PATIENCE", 0.0)
    return tmp_path / "state" / "service.ledger"


def at(path: Path, *, is_shared: bool = False) -> SqliteFile:
    return SqliteFile(path, is_shared=is_shared, in_threads=False)


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
    for length in (
        1,
        99,
        100,
        512,
        4095,
        4096,
        8192,
        len(whole) - 4096,
        len(whole) - 1,
    ):
        path.write_bytes(whole[:length])
        assert "damaged" in run_virtual(refused, place).trouble, length
        assert path.read_bytes() == whole[:length]
    path.write_bytes(whole)
    assert run_virtual(place.edit, count) == 1


def sqlite(statement: str) -> Callable[[Path], None]:
    """What a statement makes of a file, which may be a new one."""

    def run(path: Path) -> None:
        with closing(sqlite3.connect(path)) as file, file:
            file.executescript(statement)

    return run


STRANGE: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "zeros": ("damaged", lambda path: path.write_bytes(b"\x00" * 8192)),
    "JSON": ("damaged", lambda path: path.write_bytes(b"{}")),
    "garbage": ("damaged", lambda path: path.write_bytes(b"garbage" * 1000)),
    "another program's": (
        "another program's",
        sqlite("DROP TABLE ledger; CREATE TABLE notes (text)"),
    ),
    "no row": ("damaged", sqlite("DELETE FROM ledger")),
    "a number": ("damaged", sqlite("UPDATE ledger SET document = 1")),
}


@pytest.mark.parametrize(("trouble", "spoil"), STRANGE.values(), ids=STRANGE)
def test_a_file_with_something_else_stays_as_it_is(
    path: Path, trouble: str, spoil: Callable[[Path], Any]
) -> None:
    run_virtual(at(path).edit, count)
    spoil(path)
    content = path.read_bytes()
    assert trouble in run_virtual(refused, at(path)).trouble
    assert path.read_bytes() == content


def test_a_file_system_without_links_has_a_ledger_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(Path, "hardlink_to", link)
    assert run_virtual(at(path).edit, count) == 1
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert mode(path) == 0o600


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_first_edit_that_fails_leaves_nothing_that_is_called_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, is_shared: bool
) -> None:
    def is_full(*arguments: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **more)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    path.parent.mkdir(parents=True)
    connect = sqlite3.connect
    with monkeypatch.context() as full:
        full.setattr(sqlite3, "connect", is_full)
        with pytest.raises(LedgerUnavailable, match="full"):
            run_virtual(at(path, is_shared=is_shared).edit, count)
    assert run_virtual(at(path, is_shared=is_shared).read) == {}
    assert run_virtual(at(path, is_shared=is_shared).edit, count) == 1
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"", None], ids=["empty", "not there"])
def test_a_change_of_nothing_makes_no_ledger_and_the_next_one_does(
    path: Path, content: bytes | None
) -> None:
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    assert run_virtual(at(path).edit, len) == 0
    assert run_virtual(at(path).edit, count) == 1
    assert mode(path) == 0o600


# Another journal, as a tool may leave it


def write_ahead(path: Path) -> sqlite3.Connection:
    """Switch the journal as a tool does, and write with it."""
    tool = sqlite3.connect(path)
    tool.execute("PRAGMA journal_mode = WAL")
    tool.execute("PRAGMA wal_autocheckpoint = 0")
    number = b'{"format":2,"number":5}'
    tool.execute("UPDATE ledger SET document = ?", (number,))
    tool.commit()
    return tool


def test_a_write_ahead_log_is_switched_off_and_its_data_is_kept(path: Path) -> None:
    run_virtual(at(path).edit, count)
    write_ahead(path).close()
    assert run_virtual(at(path).read) == {"number": 5}
    assert run_virtual(at(path).edit, count) == 6
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_write_ahead_log_of_a_killed_tool_loses_nothing(path: Path) -> None:
    run_virtual(at(path).edit, count)
    kill = (
        "import os, sys; from pathlib import Path\n"
        "from tests.ledger.test_sqlite_file import write_ahead\n"
        "tool = write_ahead(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", kill, str(path)], check=False)  # noqa: S603  this very interpreter
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0
    assert run_virtual(at(path).edit, count) == 6


def test_a_tool_that_keeps_its_write_ahead_log_open_is_named(path: Path) -> None:
    run_virtual(at(path).edit, count)
    with closing(write_ahead(path)) as tool:
        tool.execute("BEGIN")
        tool.execute("SELECT * FROM ledger").fetchone()
        with pytest.raises(LedgerUnavailable, match="write-ahead log") as refusal:
            run_virtual(at(path).edit, count)
        assert refusal.value.then[0].step == HintKind.CLOSE_PROGRAM
        assert str(path) in str(refusal.value.then[0])
    assert run_virtual(at(path).edit, count) == 6


@virtual
async def test_a_process_that_hangs_with_the_lock_ends_the_wait(path: Path) -> None:
    place = at(path)
    await place.edit(count)
    with closing(sqlite3.connect(path)) as stuck:
        stuck.execute("BEGIN EXCLUSIVE")
        assert "another process has held its lock for" in (await refused(place)).trouble
        stuck.rollback()
        stuck.execute("BEGIN IMMEDIATE")
        assert await place.read() == {"number": 1}, (
            "reads go on while another process writes"
        )
    assert await place.edit(count) == 2


def test_an_edit_that_is_cancelled_while_it_runs_is_known_to_be_in(path: Path) -> None:
    async def run() -> None:
        place = SqliteFile(path)
        with anyio.CancelScope() as scope:

            def change(document: dict[str, Any]) -> int:
                scope.cancel()
                return count(document)

            assert await place.edit(change) == 1
        assert await place.read() == {"number": 1}

    anyio.run(run)


def test_a_lock_that_is_held_does_not_stop_the_event_loop(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()

    async def run() -> None:
        place = SqliteFile(path)
        ticks = 0
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


@virtual
async def test_a_shared_folder_that_is_not_mounted_is_not_made(path: Path) -> None:
    error = await refused(at(path, is_shared=True))
    assert error.trouble == f"{path}: there is no such folder"
    assert [str(each) for each in error.then] == [
        f"Mount it on this machine, or create it once: mkdir -p {path.parent}."
    ]
    assert not path.parent.exists()


@pytest.mark.parametrize("is_shared", [False, True])
@virtual
async def test_a_file_in_place_of_a_folder_is_named(
    path: Path, *, is_shared: bool
) -> None:
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.touch()
    error = await refused(at(path / "sub" / path.name, is_shared=is_shared))
    assert error.trouble.endswith(f": {path.parent} is a file, not a folder")
    assert "mkdir" not in str(error.then)


def test_without_a_home_directory_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = place_of(None, Path("~/.local/state"), "service", Clock(START))
    assert isinstance(place, SqliteFile)
    error = anyio.run(refused, place)
    assert "there is no home directory" in error.trouble
    assert error.then[0].step == HintKind.USE_OTHER_STATE_DIRECTORY
    assert not list(tmp_path.iterdir())


KILLED = """
import os, sys, sqlite3
from pathlib import Path
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
import anyio

def change(document):
    document["number"] = 99
    os.kill(os.getpid(), 9)

anyio.run(SqliteFile(Path(sys.argv[1])).edit, change)
"""


@pytest.mark.parametrize(
    "is_first", [True, False], ids=["the first edit", "a later edit"]
)
def test_a_process_that_is_killed_in_an_edit_leaves_no_lock_and_no_half(
    path: Path, *, is_first: bool
) -> None:
    place = SqliteFile(path)
    if not is_first:
        anyio.run(place.edit, count)
    process = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)  # noqa: S603  this very interpreter
    assert process.returncode == -9
    assert path.exists()
    assert anyio.run(partial(SqliteFile(path).edit, count)) == (1 if is_first else 2)


two_users = pytest.mark.skipif(
    os.geteuid() != 0, reason=without("root", "only root can be two users")
)

FIRST = 60_001
SECOND = 60_002
TEAM = 60_100
RUN = """
import os, sys
from pathlib import Path
import anyio
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.engine.wording import PYTHON
from tests.ledger.racing import raise_it
user, folder = int(sys.argv[1]), sys.argv[2]
anyio.run(anyio.sleep, 0)  # loads the rest, which another user may be unable to read
os.setgroups([60_100]); os.setgid(user); os.setuid(user); os.umask(0o022)
try:
    anyio.run(raise_it, folder, Path("/nowhere"), 2)
except LedgerUnavailable as error:
    sys.exit(PYTHON.report(error))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with (
        tempfile.TemporaryDirectory() as above
    ):  # pytest's own is closed for other users
        Path(above).chmod(0o755)
        yield Path(above) / "shared"


def run_as(user: int, folder: Path) -> str:
    done = subprocess.run(  # noqa: S603  this very interpreter
        [sys.executable, "-c", RUN, str(user), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}
    return done.stderr


def made(folder: Path, owner: int, group: int, mode: int) -> None:
    folder.mkdir()
    os.chown(folder, owner, group)
    folder.chmod(mode)


@two_users
@pytest.mark.parametrize(
    ("group", "mode"), [(TEAM, 0o2775), (TEAM, 0o770), (FIRST, 0o777)]
)
def test_a_folder_that_both_may_write_works_for_both(
    folder: Path, group: int, mode: int
) -> None:
    made(folder, FIRST, group, mode)
    assert [run_as(user, folder) for user in (FIRST, SECOND, FIRST)] == ["", "", ""]


@two_users
def test_the_folder_in_a_backend_is_made_so_that_both_may_write_it(
    folder: Path,
) -> None:
    made(folder, FIRST, TEAM, 0o2775)
    own = folder / ".pulumi-snapshots"
    assert [run_as(user, own) for user in (SECOND, FIRST)] == ["", ""]
    assert (
        run_as(FIRST, folder / "other" / ".pulumi-snapshots").count(
            "there is no such folder"
        )
        == 1
    )


@two_users
def test_a_folder_that_only_one_may_write_tells_the_other_what_to_do(
    folder: Path,
) -> None:
    made(folder, FIRST, TEAM, 0o755)
    assert run_as(FIRST, folder) == ""
    said = run_as(SECOND, folder)
    assert "squarecloud:sharedState cannot be used" in said
    assert f"chgrp -R GROUP {folder} && chmod -R g+rwXs {folder}" in said
    subprocess.run(  # noqa: S602
        f"chgrp -R {TEAM} {folder} && chmod -R g+rwXs {folder}", shell=True, check=True
    )
    assert [run_as(user, folder) for user in (SECOND, FIRST)] == ["", ""], (
        "what it says helps"
    )


def test_resources_of_a_first_run_that_begin_at_once_all_use_the_file(
    tmp_path: Path,
) -> None:
    async def play() -> None:
        for number in range(30):
            place = SqliteFile(tmp_path / str(number) / "new.ledger")
            async with anyio.create_task_group() as group:
                for each in range(12):
                    group.start_soon(place.edit, partial(dict.update, **{str(each): 1}))
                    group.start_soon(place.read)
            assert len(await place.read()) == 12

    anyio.run(play)
