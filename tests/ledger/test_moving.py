"""Shared state that is turned on after a run was killed knows what that run has sent."""

from pathlib import Path
from typing import Any

import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.drill.last import LAST
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.guard import book
from pulumi_snapshots.ledger import moving
from pulumi_snapshots.ledger.bucket import place_of
from pulumi_snapshots.ledger.moving import MOVED, Successor
from pulumi_snapshots.ledger.place import ATTEMPTS, packed
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.calls import Rules
from pulumi_snapshots.snapshot.difference import SnapshotRules
from tests.ledger.racing import count
from tests.support.engine_calls import Machine, Stack
from tests.support.memory import Memory
from tests.support.virtual import run_virtual, staged, virtual
from tests.support.world import DATABASE, OWNER, START, World, killed, world

RULES: dict[str, Rules] = {"snapshot": SnapshotRules(), "restore": RestoreRules()}
OPEN = {"kind": "restore", "status": "sent"}
DONE = {"kind": "restore", "status": "found"}
OLD = {
    "guard": "g",
    "snapshot": {"version_id": "1"},
    "noted_at": "2026-03-01T10:00:00Z",
}
NEW = {
    "guard": "g",
    "snapshot": {"version_id": "2"},
    "noted_at": "2026-03-01T11:00:00Z",
}
PIN = {"guard": "g", "value": "1", "snapshot": {}, "asked_at": "2026-03-01T10:30:00Z"}


class Computer:
    """A machine with a ledger of its own, and a shared place."""

    def __init__(
        self, own: dict[str, Any], shared: dict[str, Any] | None = None
    ) -> None:
        clock = Clock(START)
        self.own = Memory(clock, where="own", is_shared=False)
        self.shared = Memory(clock, where="shared")
        self.own.data = packed(own)
        self.shared.data = packed(shared or {})

    def process(self) -> Successor:
        return Successor(self.shared, self.own)


def nothing(_: object) -> None:
    """An edit that changes nothing itself."""


@virtual
async def test_a_killed_runs_request_is_known_once_state_is_shared() -> None:
    computer = Computer({"attempts": {"a": OPEN}}, {"attempts": {"b": DONE}})
    process = computer.process()
    assert (await process.read())["attempts"] == {"a": OPEN, "b": DONE}
    assert computer.shared.writes == computer.own.writes == 0, (
        "a preview has written something"
    )
    await process.edit(count)
    assert (await computer.shared.read())["attempts"] == {"a": OPEN, "b": DONE}
    assert (await computer.own.read())["attempts"] == {"a": OPEN}, (
        "for stacks that do not share"
    )
    moved = (await computer.own.read())[MOVED]
    assert (moved["to"], moved[ATTEMPTS]) == ("shared", ["a"])


@virtual
async def test_a_request_is_taken_along_once() -> None:
    computer = Computer({"attempts": {"a": OPEN}})
    await computer.process().edit(nothing)
    await computer.shared.edit(lambda document: document["attempts"].pop("a"))
    writes = computer.own.writes
    for _ in range(2):
        process = computer.process()
        assert "a" not in (await process.read())["attempts"]
        await process.edit(count)
        assert "a" not in (await computer.shared.read())["attempts"], (
            "it was withdrawn there"
        )
    assert computer.own.writes == writes


@virtual
async def test_what_the_shared_place_knows_better_stays() -> None:
    computer = Computer({"attempts": {"a": OPEN}}, {"attempts": {"a": DONE}})
    process = computer.process()
    assert (await process.read())["attempts"] == {"a": DONE}
    await process.edit(count)
    assert (await computer.shared.read())["attempts"] == {"a": DONE}


@virtual
async def test_what_is_sent_without_shared_state_later_is_taken_along_too() -> None:
    computer = Computer({"attempts": {"a": OPEN}})
    await computer.process().edit(nothing)
    await computer.own.edit(lambda document: document["attempts"].update(c=OPEN))
    await computer.process().edit(nothing)
    assert (await computer.shared.read())["attempts"] == {"a": OPEN, "c": OPEN}
    assert set((await computer.own.read())[MOVED][ATTEMPTS]) == {"a", "c"}


@virtual
async def test_another_shared_place_takes_all_of_it_along() -> None:
    computer = Computer({"attempts": {"a": OPEN}})
    await computer.process().edit(nothing)
    elsewhere = Memory(Clock(START), where="elsewhere")
    await Successor(elsewhere, computer.own).edit(nothing)
    assert (await elsewhere.read())["attempts"] == {"a": OPEN}


@virtual
async def test_a_guards_way_back_is_known_once_state_is_shared() -> None:
    own = {
        "guards": [OLD],
        "roll-backs": [PIN],
        "quota_used_up": "2026-03-01T13:00:00Z",
    }
    computer = Computer(own, {"guards": [NEW], "quota_used_up": "2026-03-01T12:00:00Z"})
    for _ in range(2):
        await computer.process().edit(nothing)
    shared = await computer.shared.read()
    assert shared["guards"] == [OLD, NEW], "oldest first, each once"
    assert shared["roll-backs"] == [PIN]
    assert shared["quota_used_up"] == "2026-03-01T13:00:00Z"
    assert computer.shared.writes == 1


@virtual
async def test_an_edit_that_is_made_twice_takes_along_once() -> None:
    computer = Computer({"attempts": {"a": OPEN}, "guards": [OLD]})
    computer.shared.contended = 0.7
    await computer.process().edit(count)
    shared = await computer.shared.read()
    assert (shared["attempts"], shared["guards"]) == ({"a": OPEN}, [OLD])


@virtual
async def test_a_machine_without_a_ledger_of_its_own_gets_none(tmp_path: Path) -> None:
    own = SqliteFile(tmp_path / "state" / "service.ledger", in_threads=False)
    shared = Memory(Clock(START))
    process = Successor(shared, own)
    assert await process.edit(count) == 1
    assert await process.read() == {"number": 1}
    assert not (tmp_path / "state").exists()


@virtual
async def test_an_own_ledger_that_cannot_be_read_sends_nothing() -> None:
    computer = Computer({"attempts": {"a": OPEN}})
    computer.own.refuses_reads = "it is damaged"
    for work in (computer.process().read, lambda: computer.process().edit(count)):
        with pytest.raises(LedgerUnavailable, match="own: it is damaged"):
            await work()
    assert computer.shared.writes == 0


@virtual
async def test_an_own_ledger_that_cannot_be_written_is_taken_along_all_the_same() -> (
    None
):
    computer = Computer({"attempts": {"a": OPEN}, "guards": [OLD]})
    computer.own.refuses_writes = "read-only"
    process = computer.process()
    for number, each in enumerate((process, process, computer.process()), start=1):
        assert await each.edit(count) == number
    shared = await computer.shared.read()
    assert (shared["attempts"], shared["guards"]) == ({"a": OPEN}, [OLD])


@pytest.mark.parametrize(
    "after", [5.0, 60.0], ids=["before its answer", "while it waits"]
)
@pytest.mark.parametrize("kind", RULES)
@staged(world, snapshot_seconds=300, restore_seconds=100.0, cache_world="invalidated")
async def test_what_a_killed_run_has_sent_is_not_sent_again_once_state_is_shared(
    here: World, kind: str, after: float
) -> None:
    values: dict[str, Any] = {"database_id": DATABASE}
    if kind == "restore":
        values |= {
            "version_id": here.emulator.add_snapshot(DATABASE).version_id,
            "overwrite": True,
        }
        await here.clock.sleep(600)
    own = Memory(here.clock, where="own", is_shared=False)
    stack = Stack(RULES[kind], Machine(here, own), OWNER)
    assert await killed(after, lambda: stack.up(**values), lambda: stack.session)
    await here.clock.sleep(600)
    shared = Successor(Memory(here.clock, where="shared"), own)
    stack.machine = Machine(here, shared)  # type: ignore[arg-type]
    await stack.up(**values)
    assert stack.error is None
    assert len(here.posts) + len(here.requests("restore")) == 1
    assert any("may not have saved its state" in line for line in stack.row.warnings)


def test_a_shared_place_takes_along_what_the_machine_of_the_run_holds(
    tmp_path: Path,
) -> None:
    own = place_of(None, tmp_path, "service", Clock(START))
    run_virtual(SqliteFile(Path(own.where), in_threads=False).edit, count)
    (tmp_path / "team").mkdir()
    shared = place_of(str(tmp_path / "team"), tmp_path, "service", Clock(START))
    assert isinstance(shared, Successor)
    assert shared.where == str(tmp_path / "team" / "service.ledger")


def test_a_run_without_a_home_directory_can_share() -> None:
    shared = place_of("/srv/team", Path("~/.local/state"), "service", Clock(START))
    assert not isinstance(shared, Successor), "it has no ledger of its own"


def test_every_part_of_the_document_is_taken_along_or_need_not_be() -> None:
    assert set(moving.BOOK) == {book.GUARDS, book.PINS}
    assert LAST not in moving.BOOK, "a drill's note may be lost"
    assert MOVED not in {*moving.BOOK, ATTEMPTS}
