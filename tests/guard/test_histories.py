"""Which snapshot guards which run: the histories of one database as a table, played in virtual time."""

from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from squarecloud_emulator import Fault
from tests.support.clocks import set_clock
from tests.support.guarding import Machine
from tests.support.memory import Memory
from tests.support.virtual import virtual
from tests.support.world import DATABASE, Row, World, killed, world

DAY = 86400.0
QUICK: dict[str, Any] = {"snapshot_seconds": 5.0, "cache_world": "invalidated"}
KEPT: dict[str, Any] = {"snapshot_seconds": 5.0, "cache_world": "kept"}
SLOW: dict[str, Any] = {"snapshot_seconds": 300.0}
LONG = {"reuse_within": DAY}
WEEK = {"reuse_within": 7 * DAY}
LOST = Fault(kind="create", times=1, drop=True, when="after")
"""The answer to the first POST is lost."""
NEVER_ARRIVES = Fault(kind="create", times=1, drop=True, when="before", delay=30.0)
"""The first POST does not arrive."""
UNKNOWN = [
    Fault(kind="restore status", times=100, **each)
    for each in ({"status": 500, "code": "INTERNAL"}, {"drop": True})
]


def kills(seconds: float, **after_restores: Any) -> dict[str, Any]:
    return {"snapshot_seconds": seconds, "cache_world": "invalidated", **after_restores}


# By what it tells: the service, the steps, and the POST whose snapshot guards each run; 0 for one that
# was there. A number passes minutes, and `ahead` sets the machine's clock by minutes; the others are methods of `History`.
HISTORIES: dict[str, tuple[dict[str, Any], list[Any], list[Any]]] = {
    "two good releases": (QUICK, ["up", "up"], [1, 2]),
    "two good releases, a kept listing": (KEPT, ["up", "up"], [1, 2]),
    "two good releases, slow": (SLOW, ["up", "up"], [1, 2]),
    "another stack spends it too": (QUICK, ["fails", ("up", {"guard": "another/stack/shop"}), "up"], [1, 1, 2]),
    "a failed run, repeated for days": (
        QUICK, [*(step for _ in range(3) for step in (("fails", WEEK), 24 * 60))], [1, 1, 1]
    ),
    "a failed run, however long its snapshot took": (kills(1200.0), ["fails", "fails", "fails"], [1, 1, 1]),
    "a failed run, a kept listing": (KEPT, ["fails", "up"], [1, 1]),
    "a failed run whose answer was lost": (KEPT, [LOST, "fails", "up"], [1, 1]),
    **{
        f"a restore by {who}: {what}": row
        for who in ("restore", "stranger")
        for what, row in {
            "twice": (QUICK, [("fails", LONG), 4, who, ("fails", LONG), 4, who, ("snapshot", LONG)], [1, 2, 3]),
            "after a killed run": (kills(150.0, modified_is="start"), [("there", {"days": 1}), "kill", 4, who, ("up", LONG)], [2]),
            "after a killed run that ends later": (kills(500.0, modified_is="end"), [("there", {"days": 1}), "kill", 4, who, ("up", LONG)], [2]),
            "told to a Snapshot": (QUICK, ["snapshot", 5, who, 5, ("snapshot", {**LONG, "triggers": ["v2"]})], [1, 2]),
        }.items()
    },
    "what a killed run requested is not used again if nothing is to be": (
        QUICK, ["fails", 4, "stranger", 4, ("takes", 150.0), "kill", ("up", {"reuse_within": 0.0})], [1, 3]
    ),
    "a restore is remembered longer than the service does": (QUICK, ["fails", 4, "restore", 180, ("up", LONG)], [1, 2]),
    "the service does not say whether it was restored": (QUICK, ["fails", 5, UNKNOWN[0], "up"], [1, 2]),
    "the service does not answer that": (QUICK, ["fails", 5, UNKNOWN[1], "up"], [1, 2]),
    "another machine": (QUICK, ["fails", 5, "move", "up"], [1, 2]),
    "another machine of a shared ledger": (QUICK, ["share", "fails", 5, "move", "up"], [1, 1]),
    "a killed run": (SLOW, [("kill", {"after": 200.0}), "up"], [1]),
    "a killed run, soon after": (SLOW, [("kill", {"after": 200.0}), 10, "up"], [1]),
    "a killed run, long ago": (SLOW, [("kill", {"after": 200.0}), 46, "up"], [2]),
    "a killed run, clock set back": (SLOW, [("kill", {"after": 200.0}), 120, ("ahead", -180), "up"], [2]),
    "a killed run, clock was ahead": (SLOW, [("ahead", 1440), ("kill", {"after": 200.0}), 10, ("ahead", 0), "up"], [1]),
    "a killed run, clock set ahead": (SLOW, [("kill", {"after": 200.0}), ("ahead", 50), "up"], [1]),
    "a young manual snapshot, and an automatic one": (
        {}, ["share", "there", 9, "fails", ("there", {"origin": "automatic"}), 2, "up"], [0, 1]
    ),
    "a listed one that grew too old while the guard waited for a killed run": (
        QUICK, ["share", 4, "snapshot", 1, NEVER_ARRIVES, ("kill", {"after": 200.0, "reuse_within": 0.0}), 5,
        ("up", {"timeout": 600.0})], [1, 2]
    ),
    "one that no listing shows yet": (KEPT, ["lists", "snapshot", "up"], [1, 1]),
}  # fmt: skip


class History:
    """One database, and the runs about it; each method is a step of `HISTORIES`."""

    def __init__(self, here: World) -> None:
        self.here = here
        self.emulator = here.emulator
        self.machine = Machine(here)
        self.found: list[str | None] = []

    async def up(self, *, fails: bool = False, **given: Any) -> None:
        program = self.machine.program()
        await program.changes(2, fails=fails, **given)
        assert program.done, "\n".join(map(str, program.held.values()))
        (version,) = set(program.done.values())
        self.found.append(version)

    async def fails(self, **given: Any) -> None:
        await self.up(fails=True, **given)

    async def kill(self, after: float = 100.0, **given: Any) -> None:
        program = self.machine.program()
        await killed(
            after,
            partial(program.change, "update of Server shop", **given),
            lambda: program.session,
        )

    async def snapshot(self, **given: Any) -> None:
        row = Row()
        self.found.append((await self.machine.snapshot(row, **given)).version_id)
        told = f"snapshot {DATABASE}/{self.found[0]} is not used again: the database was restored since"
        assert (row.notes == [told]) is ("triggers" in given)

    async def restore(self, *, as_a_stranger: bool = False) -> None:
        await self.machine.restores(
            str(self.emulator.snapshots(DATABASE)[-1].version_id),
            as_a_stranger=as_a_stranger,
        )

    async def stranger(self) -> None:
        await self.restore(as_a_stranger=True)

    async def share(self) -> None:
        self.machine = Machine(self.here, Memory(self.here.clock))

    async def move(self) -> None:
        self.machine = Machine(
            self.here, self.machine.memory if self.machine.memory.is_shared else None
        )

    async def lists(self) -> None:
        await self.here.session.listings.own_page(DATABASE, self.here.clock.monotonic())

    async def there(self, origin: Any = "manual", days: int = 0) -> None:
        self.emulator.add_snapshot(
            DATABASE, origin=origin, modified=self.emulator.now() - timedelta(days=days)
        )


@pytest.mark.parametrize("name", HISTORIES)
@virtual
async def test_the_right_snapshot_guards_each_run_of_a_history(name: str) -> None:
    service, steps, expected = HISTORIES[name]
    async with world(**service) as here:
        history = History(here)
        clock = ExitStack()
        with clock:
            for step in steps:
                what, given = step if isinstance(step, tuple) else (step, {})
                if isinstance(what, Fault):
                    here.emulator.add_fault(what)
                elif isinstance(what, int):
                    await here.clock.sleep(what * 60.0)
                elif what == "ahead":
                    clock.close()
                    clock.enter_context(set_clock(here.clock, timedelta(minutes=given)))
                elif what == "takes":
                    here.emulator.next_snapshot_takes(DATABASE, given)
                else:
                    await getattr(history, what)(**given)
        number = {
            post.version_id: at
            for at, post in enumerate([each for each in here.posts if each.accepted], 1)
        }
        assert [number.get(version, 0) for version in history.found] == expected
