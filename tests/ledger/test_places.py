"""What every place of the ledger promises, with two processes at each."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import HintKind, LedgerUnavailable
from pulumi_snapshots.errors.pages import page_of
from pulumi_snapshots.ledger.place import Place
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from pulumi_snapshots.storage.store import StoredContent
from tests.ledger.racing import count
from tests.support.ledger_places import NAME, Store
from tests.support.virtual import virtual
from tests.support.world import START


@dataclass
class Two:
    """Two processes at one place, and what writes, reads and removes its document without asking for anything."""

    one: Place
    other: Place
    put: Callable[[bytes], None]
    get: Callable[[], bytes | None]
    drop: Callable[[], object]
    empty: Callable[[], object]


def in_a_file(folder: Path, *, is_shared: bool = False) -> Two:
    path = folder / "service.ledger"
    one, other = (SqliteFile(path, is_shared=is_shared, in_threads=False) for _ in "ab")

    def put(data: bytes) -> None:
        with closing(sqlite3.connect(path)) as file, file:
            file.execute(
                "CREATE TABLE IF NOT EXISTS ledger (id INTEGER PRIMARY KEY, document BLOB)"
            )
            file.execute("INSERT OR REPLACE INTO ledger VALUES (1, ?)", (data,))

    def get() -> bytes | None:
        if not path.exists():
            return None
        with closing(sqlite3.connect(path)) as file:
            data: bytes = file.execute("SELECT document FROM ledger").fetchone()[0]
            return data

    return Two(one, other, put, get, path.unlink, lambda: path.write_bytes(b""))


def in_a_folder(folder: Path) -> Two:
    return in_a_file(folder, is_shared=True)


def in_a_bucket(_: Path) -> Two:
    store = Store(Clock(START))

    def put(data: bytes) -> None:
        store.held[NAME] = StoredContent(data, '"put"')

    def get() -> bytes | None:
        return store.held[NAME].content if NAME in store.held else None

    one = store.bucket()
    other = store.bucket()
    return Two(one, other, put, get, lambda: store.held.pop(NAME), lambda: put(b""))


@pytest.fixture(
    params=[in_a_file, in_a_folder, in_a_bucket], ids=lambda make: make.__name__
)
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Two:
    made: Two = request.param(tmp_path)
    return made


@virtual
async def test_what_one_process_writes_another_one_reads(two: Two) -> None:
    assert await two.one.read() == {}
    assert two.get() is None, "a read has written something"
    assert await two.one.edit(count) == 1
    assert await two.other.read() == {"number": 1}
    assert await two.other.edit(count) == 2
    assert await two.one.edit(count) == 3
    assert await two.one.read() == {"number": 3}


@virtual
async def test_no_change_is_lost_when_many_edit_at_once(two: Two) -> None:
    results: list[int] = []

    async def edit(place: Place) -> None:
        results.append(await place.edit(count))

    async with anyio.create_task_group() as group:
        for _ in range(25):
            group.start_soon(edit, two.one)
            group.start_soon(edit, two.other)
    assert sorted(results) == list(range(1, 51)), "two claims had the same answer"
    assert await two.one.read() == {"number": 50}


@virtual
async def test_a_change_that_raises_writes_nothing_and_says_so(two: Two) -> None:
    def refuse(document: dict[str, Any]) -> None:
        count(document)
        raise KeyError("refused")

    await two.one.edit(count)
    before = two.get()
    with pytest.raises(KeyError, match="refused"):
        await two.one.edit(refuse)
    assert two.get() == before
    assert await two.one.edit(count) == 2


@virtual
async def test_an_edit_without_a_change_writes_nothing(two: Two) -> None:
    await two.one.edit(count)
    before = two.get()
    assert await two.other.edit(lambda document: document["number"]) == 1
    assert two.get() == before


@virtual
async def test_an_empty_ledger_counts_as_new(two: Two) -> None:
    two.empty()
    assert await two.one.read() == {}
    assert await two.one.edit(count) == 1
    assert await two.other.edit(count) == 2


@pytest.mark.parametrize("seen_by", ["an edit", "a read"])
@pytest.mark.parametrize("how", ["moved", "emptied"])
@virtual
async def test_a_ledger_that_is_emptied_while_a_run_is_under_way_is_no_empty_one(
    two: Two, seen_by: str, how: str
) -> None:
    await two.one.edit(count)
    process = two.one if seen_by == "an edit" else two.other
    await process.read()
    (two.drop if how == "moved" else two.empty)()
    for work in (process.edit(count), process.read()):
        with pytest.raises(
            LedgerUnavailable, match="was moved or emptied while this run was under way"
        ) as gone:
            await work
        assert gone.value.then[0].step is HintKind.PUT_LEDGER_BACK
    assert how == "emptied" or two.get() is None


@virtual
async def test_what_a_later_version_may_add_is_kept(two: Two) -> None:
    two.put(b'{"format": 2, "number": 1, "more": [1]}')
    await two.one.edit(count)
    written = json.loads(two.get() or b"")
    assert (written["format"], written["number"], written["more"]) == (2, 2, [1])


@pytest.mark.parametrize(
    ("data", "why", "steps"),
    [
        (b'{"attempts": {"a"', "damaged", [HintKind.MOVE_LEDGER_ASIDE]),
        (b"[1]", "damaged", [HintKind.MOVE_LEDGER_ASIDE]),
        (b"\xff\x00", "damaged", [HintKind.MOVE_LEDGER_ASIDE]),
        (b"[" * 100_000, "damaged", [HintKind.MOVE_LEDGER_ASIDE]),
        (
            b'{"format": 3, "attempts": {}}',
            "a later version",
            [HintKind.UPGRADE, HintKind.MOVE_LEDGER_ASIDE],
        ),
        (
            b'{"format": 1, "attempts": {}}',
            "an older version",
            [HintKind.MOVE_LEDGER_ASIDE],
        ),
        (b'{"attempts": {}}', "an older version", [HintKind.MOVE_LEDGER_ASIDE]),
        (
            b'{"format": "x"}',
            "a later version",
            [HintKind.UPGRADE, HintKind.MOVE_LEDGER_ASIDE],
        ),
    ],
    ids=[
        "cut",
        "a list",
        "bytes",
        "deep",
        "format 3",
        "format 1",
        "no format",
        "format x",
    ],
)
@virtual
async def test_what_cannot_be_read_stays_as_it_is_and_sends_nothing(
    two: Two, data: bytes, why: str, steps: list[HintKind]
) -> None:
    two.put(data)
    for work in (two.one.read(), two.one.edit(count)):
        with pytest.raises(LedgerUnavailable, match="cannot be used") as unavailable:
            await work
        assert why in unavailable.value.trouble
        assert two.one.where in str(unavailable.value)
        assert [each.step for each in unavailable.value.then][: len(steps)] == steps
        aside = str(unavailable.value.then[len(steps) - 1])
        assert two.one.where in aside
        assert "does not know what is under way, or what no state has yet" in aside
        assert page_of(unavailable.value) == "ledger-unavailable"
    assert two.get() == data
