"""A ledger that cannot be used, a run that is killed or interrupted at the worst moment, and other trouble, as a user meets them."""

import random
import re
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import pytest

from pulumi_snapshots.errors import LedgerUnavailable, NothingSent
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.calls import Rules
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.difference import SnapshotRules
from pulumi_snapshots.snapshot.record import SnapshotInputs
from tests.support.engine_calls import Machine, Stack
from tests.support.memory import Memory
from tests.support.virtual import staged
from tests.support.world import DATABASE, OWNER, Row, World, world

FLEET = tuple(f"{number + 1:032x}" for number in range(20))
RULES: dict[str, Rules] = {"snapshot": SnapshotRules(), "restore": RestoreRules()}


def sent(here: World) -> int:
    """How many requests to start something have come."""
    return len(here.posts) + len(here.requests("restore"))


def wanted(here: World, kind: str) -> dict[str, Any]:
    values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
    if kind == "restore":
        values |= {
            "version_id": here.emulator.snapshots(DATABASE)[0].version_id,
            "overwrite": True,
        }
    return values


@staged(world, snapshot_seconds=10)
async def test_a_refused_request_is_sent_again_although_the_ledger_could_not_be_written_then(
    here: World,
) -> None:
    place = Memory(here.clock)
    here.fault(kind="create", status=429, code="KEEP_CALM", delay=5.0)
    async with anyio.create_task_group() as group:
        group.start_soon(
            partial(create, here.another_run(place), here.inputs(), row := Row(), OWNER)
        )
        await anyio.sleep(2)
        place.refuses_writes = "SlowDown"
        await anyio.sleep(5)
        place.refuses_writes = ""
    assert [post.accepted for post in here.posts] == [False, True]
    assert f"found snapshot {here.posts[-1].version_id}" in row.shown


@pytest.mark.parametrize("kind", RULES)
@staged(world, snapshot_seconds=10, restore_seconds=10.0)
async def test_a_request_that_the_ledger_keeps_back_at_the_last_moment_was_not_started(
    here: World, kind: str
) -> None:
    here.emulator.add_snapshot(DATABASE)
    await anyio.sleep(300)
    place = Memory(here.clock)

    def is_full(_: object) -> str:
        place.refuses_writes = "No space left on device"
        return ""

    place.accident = is_full  # once it has the claim
    stack = Stack(RULES[kind], Machine(here, place), OWNER)
    await stack.up(**wanted(here, kind))
    assert isinstance(stack.error, LedgerUnavailable)
    assert "Nothing was started" in stack.row.wording.error_text(stack.error)
    assert not stack.id
    assert sent(here) == 0
    place.accident = None
    place.refuses_writes = ""
    await stack.up(**wanted(here, kind))
    assert stack.error is None
    assert sent(here) == 1


# Two of one database in one program


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("contended", [0.0, 0.5], ids=["alone", "others are faster"])
@staged(world, snapshot_seconds=10)
async def test_two_snapshots_of_one_database_in_one_program_are_both_taken(
    here: World, seed: int, contended: float
) -> None:
    place = Memory(here.clock, delay=(0.05, 0.3), chance=random.Random(seed))
    place.contended = contended
    session = here.another_run(place)
    found = dict[str, str | None]()

    async def take(owner: str) -> None:
        found[owner] = (await create(session, here.inputs(), Row(), owner)).version_id

    async with anyio.create_task_group() as program:
        for name in ("first", "second"):
            program.start_soon(take, OWNER.replace("before-release", name))
    assert sorted(map(str, found.values())) == sorted(
        str(post.version_id) for post in here.posts
    )
    assert len(set(found.values())) == 2
    assert here.clock.monotonic() < 10 * 60, (
        "the second waits for the first, and for the limit of the database"
    )


@staged(
    world,
    databases=(DATABASE, *FLEET),
    snapshot_seconds=300,
    plan_memory_mb=2_560_000,
    cache_world="invalidated",
)
async def test_of_many_in_one_program_two_that_wait_for_the_same_continue_together(
    here: World,
) -> None:
    place = Memory(here.clock)
    await here.killed(
        20, lambda process: here.create(session=process), here.another_run(place)
    )
    session = here.another_run(place)
    done: dict[str, float] = {}

    async def take(name: str, database_id: str) -> None:
        inputs = here.inputs(database_id=database_id, reuse_within=3600.0)
        await create(session, inputs, Row(), OWNER.replace("before-release", name))
        done[name] = here.clock.monotonic()

    async with anyio.create_task_group() as program:
        for name, database_id in {"first": DATABASE, "second": DATABASE}.items():
            program.start_soon(take, name, database_id)
        for database_id in FLEET:
            program.start_soon(take, database_id, database_id)
    assert max(done["first"], done["second"]) < 10 * 60


# The state directory


def is_full(path: Path, pragma: str = "max_page_count = 1") -> Iterator[None]:
    """The disk is full: SQLite cannot make the file longer."""
    real = sqlite3.connect

    def connect(*arguments: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(*arguments, **more)
        connection.execute(f"PRAGMA {pragma}")
        return connection

    path.parent.mkdir(parents=True, exist_ok=True)
    with mock.patch("sqlite3.connect", connect):
        yield


def is_read_only(path: Path) -> Iterator[None]:
    return is_full(path, "query_only = ON")


def is_a_file(path: Path) -> Iterator[None]:
    """Something else is in its place, so that the folder cannot be made."""
    path.parent.write_text("")
    yield
    path.parent.unlink()


@pytest.mark.parametrize(
    "trouble", [is_full, is_read_only, is_a_file], ids=lambda trouble: trouble.__name__
)
@pytest.mark.parametrize(
    "saves", [True, False], ids=["the state is saved", "the state is not saved"]
)
@pytest.mark.parametrize("kind", RULES)
@staged(world, snapshot_seconds=10, restore_seconds=10.0)
async def test_without_a_ledger_nothing_is_sent_and_the_error_names_the_way_out(
    here: World,
    tmp_path: Path,
    kind: str,
    trouble: Callable[[Path], Iterator[None]],
    *,
    saves: bool,
) -> None:
    path = tmp_path / "state" / "service.ledger"
    here.emulator.add_snapshot(DATABASE)
    await anyio.sleep(300)
    place = SqliteFile(path, in_threads=False)
    stack = Stack(RULES[kind], Machine(here, place), OWNER)  # type: ignore[arg-type]
    lasts = trouble(path)
    next(lasts)
    for _ in range(2):
        await stack.up(saves=saves, **wanted(here, kind))
        assert isinstance(stack.error, LedgerUnavailable)
        told = stack.row.wording.error_text(stack.error)
        assert str(path) in told
        assert "Nothing was started" in told
        assert "SQUARECLOUD_STATE_DIR" in told
        assert not stack.id
    assert sent(here) == 0
    assert next(lasts, None) is None
    stack.machine = Machine(here, SqliteFile(path, in_threads=False))  # type: ignore[arg-type]
    await stack.up(**wanted(here, kind))
    assert stack.error is None
    assert sent(here) == 1


# The service


@pytest.mark.parametrize("status", [400, 409, 429, 500, 503])
@pytest.mark.parametrize("kind", RULES)
@staged(world, snapshot_seconds=10, restore_seconds=10.0)
async def test_a_refusal_without_a_code_is_named_by_its_status(
    here: World, kind: str, status: int
) -> None:
    here.emulator.add_snapshot(DATABASE)
    await anyio.sleep(300)
    here.fault(
        kind="create" if kind == "snapshot" else "restore", status=status, times=1
    )
    stack = Stack(RULES[kind], Machine(here), OWNER)
    await stack.up(**wanted(here, kind))
    error = getattr(stack.error, "error", stack.error)
    assert (error is None) is (status == 429), "what passes by itself is sent again"
    told = "\n".join(
        [*stack.row.shown, *([stack.row.wording.error_text(error)] if error else [])]
    )
    assert re.search(rf"\b{status}\b", told)
    assert "None" not in told


# ^C


@pytest.mark.parametrize("after", [0.05, 0.4, 0.9, 1.4, 3.0, 5.0, 7.0])
@pytest.mark.parametrize("kind", RULES)
@staged(world, snapshot_seconds=10, restore_seconds=10.0)
async def test_an_interrupt_before_anything_was_sent_keeps_nothing_and_says_where_it_was(
    here: World, after: float, kind: str
) -> None:
    """Also during the ledger's write, which takes 2 s here."""
    here.emulator.add_snapshot(DATABASE)
    place = Memory(here.clock, delay=(2.0, 2.0))
    stack = Stack(RULES[kind], Machine(here, place), OWNER)
    values = wanted(here, kind)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: stack.up(**values))
        await anyio.sleep(after)
        stack.session.stop()
    told = (
        stack.row.wording.error_text(getattr(stack.error, "error", stack.error))
        if stack.error
        else ""
    )
    assert "while ." not in told
    there = (
        await Machine(here, place).process().ledger(here.session.settings).attempts()
    )
    if sent(here) == 0:
        assert isinstance(stack.error, NothingSent)
        assert "interrupted, while " in told
        assert not stack.id
        assert there == []
    else:
        assert stack.id
        assert len(there) == 1


@staged(world, snapshot_seconds=100)
async def test_the_ledger_holds_neither_key_nor_triggers(here: World) -> None:
    place = here.session.ledger.place
    assert isinstance(place, Memory)
    secret = SnapshotInputs.of(
        {"database_id": DATABASE, "triggers": ["a secret value"]}
    )
    await here.killed(20, partial(create, inputs=secret, listener=Row(), owner=OWNER))
    assert place.data is not None
    assert DATABASE.encode() in place.data
    assert b"a secret value" not in place.data
    assert here.emulator.settings.api_key.encode() not in place.data
