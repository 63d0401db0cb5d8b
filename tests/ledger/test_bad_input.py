"""A ledger, a clock or an answer that is wrong, as a user of `pulumi up` meets it: a clear error or the right result."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors import LedgerUnavailable, NothingSent
from pulumi_snapshots.ledger.place import Document
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.calls import Rules
from pulumi_snapshots.snapshot.difference import SnapshotRules
from tests.support.clocks import Shifted
from tests.support.engine_calls import Machine, Stack
from tests.support.virtual import staged
from tests.support.world import DATABASE, OTHER_DATABASE, OWNER, START, World, world

RULES: dict[str, Rules] = {"snapshot": SnapshotRules(), "restore": RestoreRules()}
SERVICE: dict[str, Any] = {
    "databases": (DATABASE, OTHER_DATABASE),
    "snapshot_seconds": 100,
    "restore_seconds": 10.0,
    "cache_world": "invalidated",
    "key_of_200_has_version": False,
}


def sent(here: World) -> int:
    """How many requests to start something have come."""
    return len(here.posts) + len(here.requests("restore"))


def wanted(here: World, kind: str, trigger: str = "v1") -> dict[str, Any]:
    values: dict[str, Any] = {"database_id": DATABASE, "triggers": [trigger]}
    if kind == "restore":
        version_id = here.emulator.snapshots(DATABASE)[-1].version_id
        values |= {"version_id": version_id, "overwrite": True}
    return values


async def stack_of(here: World, kind: str, machine: Machine | None = None) -> Stack:
    """A stack without the resource, at a service whose database has a snapshot from before."""
    here.emulator.add_snapshot(DATABASE)
    await here.clock.sleep(600)
    return Stack(RULES[kind], machine or Machine(here), OWNER)


def told(stack: Stack) -> str:
    """What a user reads of the last run but its progress."""
    lines = [*stack.row.notes, *stack.row.warnings]
    if stack.error is not None:
        lines.append(
            stack.row.wording.error_text(getattr(stack.error, "error", stack.error))
        )
    return "\n".join(lines)


def check_act(
    here: World, stack: Stack, kind: str, *, at: datetime | None = None
) -> None:
    """Check that a run has acted once, and that the state has exactly that, with its time."""
    assert stack.error is None, told(stack)
    assert sent(here) == 1
    (post,) = here.posts if kind == "snapshot" else here.requests("restore")
    assert post.accepted
    assert not stack.pending
    if kind == "snapshot":
        assert stack.outputs["version_id"] == post.version_id
    requested = parse_rfc3339(stack.outputs["requested_at"])
    assert abs(requested - (at or post.at)) <= timedelta(seconds=2)


# The ledger's file -----------------------------------------------------------------------------------------------------


def statement(text: str, *values: bytes) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path)) as file, file:
            file.execute(text, values)

    return run


def written_as(number: int) -> Callable[[Path], None]:
    document = json.dumps({"format": number, "attempts": {}}).encode()
    return statement("UPDATE ledger SET document = ?", document)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


USELESS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (cut, "it is damaged, or another program's"),
    "garbage": (lambda path: path.write_bytes(b"garbage" * 1000), "it is damaged"),
    "of an older format": (
        written_as(1),
        "an older version of this package has written it",
    ),
    "of a later format": (
        written_as(3),
        "a later version of this package has written it",
    ),
}
USEFUL: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "in WAL mode": statement("PRAGMA journal_mode = WAL"),
}


async def begun(here: World, kind: str, path: Path) -> Stack:
    """A stack whose machine's ledger holds the request of another resource."""
    stack = await stack_of(here, kind)
    other = Stack(RULES["snapshot"], stack.machine, f"{OWNER}-2")
    await up(other, path, database_id=OTHER_DATABASE)
    assert other.error is None
    here.emulator.journal.clear()
    return stack


async def up(stack: Stack, path: Path, **values: Any) -> None:
    """A run, whose process has seen nothing of the ledger's file yet."""
    place = SqliteFile(path, in_threads=False)
    stack.machine = Machine(stack.machine.here, place)  # type: ignore[arg-type]
    await stack.up(**values)


@pytest.mark.parametrize(("spoil", "why"), USELESS.values(), ids=USELESS)
@pytest.mark.parametrize("kind", RULES)
@staged(world, **SERVICE)
async def test_a_ledger_that_is_no_use_sends_nothing_until_it_is_moved_aside(
    here: World, tmp_path: Path, kind: str, spoil: Callable[[Path], object], why: str
) -> None:
    path = tmp_path / "service.ledger"
    stack = await begun(here, kind, path)
    spoil(path)
    content = path.read_bytes()
    for _ in range(2):
        await up(stack, path, **wanted(here, kind))
        assert isinstance(stack.error, LedgerUnavailable)
        assert why in told(stack)
        assert str(path) in told(stack)
        assert "Nothing was started" in told(stack)
        assert not stack.id
    assert sent(here) == 0
    assert path.read_bytes() == content
    path.rename(tmp_path / "aside")
    await up(stack, path, **wanted(here, kind))
    check_act(here, stack, kind)


@pytest.mark.parametrize("spoil", USEFUL.values(), ids=USEFUL)
@pytest.mark.parametrize("kind", RULES)
@staged(world, **SERVICE)
async def test_a_ledger_that_a_tool_has_touched_works_if_that_loses_nothing(
    here: World, tmp_path: Path, kind: str, spoil: Callable[[Path], object]
) -> None:
    path = tmp_path / "service.ledger"
    stack = await begun(here, kind, path)
    spoil(path)
    await up(stack, path, **wanted(here, kind))
    check_act(here, stack, kind)
    known = (await SqliteFile(path, in_threads=False).read())["attempts"].values()
    databases = {each["database_id"] for each in known}
    assert databases == (
        {DATABASE} if spoil is USEFUL["empty"] else {DATABASE, OTHER_DATABASE}
    )
    await up(stack, path, **wanted(here, kind))
    check_act(here, stack, kind)


# A ledger that an old copy has taken the place of


@pytest.mark.parametrize("trigger", ["v1", "v2"])
@pytest.mark.parametrize("kind", RULES)
@staged(world, **SERVICE)
async def test_a_ledger_that_is_rolled_back_between_runs_repeats_nothing_that_a_state_has(
    here: World, kind: str, trigger: str
) -> None:
    machine = Machine(here)
    stack = await stack_of(here, kind, machine)
    await stack.up(**wanted(here, kind))
    await here.clock.sleep(600)
    machine.memory.data = None
    await stack.up(**wanted(here, kind, trigger))
    assert stack.error is None
    assert sent(here) == (1 if trigger == "v1" else 2)


@pytest.mark.parametrize("back", [1, 2])
@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("kind", RULES)
@staged(world, **SERVICE)
async def test_a_ledger_that_is_rolled_back_in_the_middle_of_a_run_costs_nothing(
    here: World, kind: str, number: int, back: int
) -> None:
    """After its so manieth write, by one or two versions."""
    versions: list[bytes | None] = [None] * back
    machine = Machine(here)
    memory = machine.memory

    def roll_back(_: Document) -> str:
        versions.append(memory.data)
        if len(versions) == number + back:
            memory.data = versions[number - 1]
        return ""

    memory.accident = roll_back
    stack = await stack_of(here, kind, machine)
    await stack.up(**wanted(here, kind))
    check_act(here, stack, kind)
    await here.clock.sleep(600)
    await stack.up(**wanted(here, kind))
    check_act(here, stack, kind)


# Clocks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("year", [1971, 2040])
@pytest.mark.parametrize("kind", RULES)
@staged(world, **SERVICE)
async def test_a_machine_in_another_decade_reads_that_its_clock_is_wrong(
    here: World, kind: str, year: int
) -> None:
    ahead = datetime(year, 3, 1, tzinfo=UTC) - START
    machine = Machine(here, clock=Shifted(here.clock, ahead.total_seconds()))
    stack = await stack_of(here, kind, machine)
    await stack.up(**wanted(here, kind))
    assert isinstance(stack.error, NothingSent)
    assert f"this machine's clock is wrong: it says {year}-03-01 00:1" in told(stack)
    assert "and the service says 2026-03-01 12:1" in told(stack)
    assert "no date" not in told(stack)
    assert sent(here) == 0
    assert not stack.id


@pytest.mark.parametrize(
    "off", [timedelta(hours=13), timedelta(days=40), timedelta(days=-40)], ids=str
)
@pytest.mark.parametrize("kind", RULES)
@staged(world, **SERVICE)
async def test_a_machine_that_is_hours_or_days_off_acts_by_the_clock_of_the_service(
    here: World, kind: str, off: timedelta
) -> None:
    machine = Machine(here, clock=Shifted(here.clock, off.total_seconds()))
    stack = await stack_of(here, kind, machine)
    await stack.up(**wanted(here, kind))
    check_act(here, stack, kind)
    assert stack.row.warnings == []
    await stack.up(**wanted(here, kind))
    check_act(here, stack, kind)


# Answers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", RULES)
@staged(world, **SERVICE)
async def test_a_service_that_says_no_time_is_sent_nothing(
    here: World, kind: str
) -> None:
    stack = await stack_of(here, kind)
    here.fault(headers={"date": ""}, times=None)
    await stack.up(**wanted(here, kind))
    assert isinstance(stack.error, NothingSent)
    assert "the service's answers have no date" in told(stack)
    assert sent(here) == 0
    here.emulator.clear_faults()
    await stack.up(**wanted(here, kind))
    check_act(here, stack, kind)


@pytest.mark.parametrize("skip", range(1, 6))
@pytest.mark.parametrize("kind", RULES)
@staged(world, **SERVICE)
async def test_a_service_that_stops_to_say_the_time_loses_nothing(
    here: World, kind: str, skip: int
) -> None:
    stack = await stack_of(here, kind)
    here.fault(headers={"date": ""}, skip=skip, times=None)
    await stack.up(**wanted(here, kind))
    check_act(here, stack, kind)


@pytest.mark.parametrize("back", [timedelta(days=1), timedelta(minutes=20)], ids=str)
@pytest.mark.parametrize("skip", range(6))
@pytest.mark.parametrize("kind", RULES)
@staged(world, **SERVICE)
async def test_one_stored_page_of_a_proxy_makes_no_other_snapshot_ours(
    here: World, kind: str, skip: int, back: timedelta
) -> None:
    """Whichever page of a run it is, the first one too, from which the run learns the time."""
    stack = await stack_of(here, kind)
    stored = format_datetime(here.emulator.now() - back, usegmt=True)
    here.fault(method="GET", headers={"date": stored}, skip=skip)
    await stack.up(**wanted(here, kind))
    check_act(here, stack, kind)
