"""Random runs of guarded programs, with random services and faults, kills and interrupts: no change without its snapshot.

`GUARDS=5000 pytest tests/simulation/test_guards.py` plays more of them, `GUARD=123` plays one. A failure names its number.
"""

import os
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from pulumi_snapshots.errors import NothingSent, ProviderError
from pulumi_snapshots.guard.book import consult
from pulumi_snapshots.guard.coverage import GUARD_TYPE, state_before
from pulumi_snapshots.guard.inputs import (
    CHOSEN,
    CHOSEN_ALL,
    GuardInputs,
    fits,
    is_chosen_by_program,
)
from squarecloud_emulator import Fault
from tests.simulation.faults import BROKEN, DOUBTS, REFUSALS
from tests.simulation.invariants import switched_on
from tests.support.clocks import Shifted
from tests.support.guarding import Machine, Program
from tests.support.virtual import run_virtual
from tests.support.world import DATABASE, World, kill, world

MINUTE = 60.0
QUOTA: dict[str, Any] = {"status": 429, "code": "DAILY_SNAPSHOTS_LIMIT_REACHED"}


def seeds() -> range:
    if one := os.environ.get("GUARD"):
        return range(int(one), int(one) + 1)
    return range(int(os.environ.get("GUARDS") or 40))


@dataclass
class Story:
    """Some `pulumi up` of one program, one after the other."""

    here: World  # the service
    machine: Machine  # where the program runs
    chance: random.Random  # decides everything
    # the version of the last snapshot that has guarded a change
    last: str | None = None
    written: datetime | None = None
    # what happened, for the summary
    counted: Counter[str] = field(default_factory=Counter)

    async def play(self) -> None:
        for _ in range(self.chance.choice([1, 2, 3, 6])):
            self.break_something()
            await self.up()
            self.here.emulator.clear_faults()
            await self.here.clock.sleep(
                self.chance.choice([1.0, 200.0, 15 * MINUTE, 60 * MINUTE])
            )
            if self.last is not None and self.chance.random() < 0.3:
                await self.restore(self.last)
            if self.last is not None and self.chance.random() < 0.3:
                await self.roll_back()

    def now(self) -> datetime:
        return self.here.emulator.now()

    async def roll_back(self) -> None:
        """Go back as the example of a release does: its user gives the same value at each incident, or another one."""
        value = self.chance.choice(["1", "1", "2"])
        ledger = self.machine.session().ledger
        with suppress(ProviderError):  # a value of an earlier incident may be refused
            found = await consult(
                ledger,
                lambda book: book.last("shop", DATABASE, value, run="a roll-back"),
                writes=True,
            )
            version_id = found.version_id if found else None
            self.counted["roll-backs"] += 1
            if version_id != self.last:
                self.fail(
                    "roll-back",
                    f"{value!r} leads to {version_id}, which guarded before {self.last}",
                )
            if version_id is not None:
                await self.restore(version_id)

    def fail(self, invariant: str, broken: str) -> None:
        """Fail by an invariant, if it is on."""
        self.counted[f"broken: {invariant}"] += 1
        assert invariant not in switched_on(), f"{invariant}: {broken}"

    async def restore(self, version_id: str) -> None:
        """Go back, by this machine or by a client of which it knows nothing."""
        await self.here.clock.sleep(4 * MINUTE)
        try:
            await self.machine.restores(
                version_id, as_a_stranger=self.chance.random() < 0.5
            )
        except NothingSent:  # the service still blocks the account
            return
        self.written = self.now()
        self.counted["restores"] += 1
        await self.here.clock.sleep(self.chance.choice([1.0, 200.0]))

    def break_something(self) -> None:
        kinds = self.chance.choices(
            ["create", "list", "list account", "me"], k=self.chance.randint(0, 2)
        )
        for kind in kinds:
            fault = self.chance.choice([*REFUSALS, *DOUBTS, *BROKEN, QUOTA])
            when = (
                {"when": self.chance.choice(["before", "after"])}
                if fault in DOUBTS
                else {}
            )
            times = self.chance.choice([1, 2, 4, 999])
            self.here.emulator.add_fault(
                Fault(kind=kind, times=times, **{**fault, **when})
            )
        if self.chance.random() < 0.2:
            self.here.emulator.fail_next_snapshot(DATABASE)
        if self.chance.random() < 0.2:
            self.here.emulator.next_snapshot_takes(
                DATABASE, self.chance.choice([3.0, 95.0, 590.0])
            )

    async def up(self) -> None:
        """One run, which may be interrupted or killed."""
        timeout = self.chance.choice([4 * MINUTE, 45 * MINUTE])
        fails = self.chance.random() < 0.3
        inputs = {
            "timeout": timeout,
            "reuse_within": self.chance.choice([0.0, 600.0, 600.0]),
            "fails": fails,
        }
        before = len(self.here.posts)
        program = self.machine.program()
        began = self.here.clock.monotonic()
        ends = self.chance.choice([None, None, "^C", "killed", "one call ends"])
        night = self.chance.choice([None] * 7 + [100.0])
        at = self.chance.choice([0.0, 3.0, 40.0, 130.0, 400.0])
        with anyio.CancelScope() as process:
            async with anyio.create_task_group() as group:
                if night is not None:
                    group.start_soon(self.here.later, night, self.sleep_for_a_night)
                if ends == "^C":
                    group.start_soon(self.here.later, at, program.session.stop)
                if ends == "killed":
                    group.start_soon(self._kill, at, program, process)
                async with anyio.create_task_group() as changes:
                    for number in range(self.chance.randint(1, 6)):
                        changes.start_soon(
                            self._change,
                            program,
                            number,
                            inputs,
                            at if ends == "one call ends" else None,
                        )
                group.cancel_scope.cancel()
        took = self.here.clock.monotonic() - began
        # A call that the engine has cut leaves its request to the next one. That waits in vain if
        # the answer was lost, if the snapshot was never made, or if it is too old once it is found.
        is_kept = took <= timeout and self.is_kept(before, began + at)
        may_take = 1 + (night is not None) + (ends == "one call ends" and not is_kept)
        self.check(program, before, took, timeout, most=may_take)
        await self.check_way_back(program)
        if program.done and not fails and ends in {None, "^C"}:
            self.written = self.now()

    def is_kept(self, before: int, at: float) -> bool:
        """Whether what a run had requested by a time was answered by then, and made."""
        moment = self.now() - timedelta(seconds=self.here.clock.monotonic() - at)
        self.here.emulator.settle()
        made = {each.version_id for each in self.here.emulator.snapshots(DATABASE)}
        return all(
            post.answered_at is not None
            and post.answered_at <= moment
            and post.fault is None  # which may have lost the answer
            and post.version_id in made
            for post in self.here.posts[before:]
            if post.accepted and post.at <= moment
        )

    def sleep_for_a_night(self) -> None:
        """Let the machine be suspended: the service's time goes on, and so does the machine's boot clock."""
        assert isinstance(self.machine.clock, Shifted)
        self.here.emulator.advance(8 * 60 * MINUTE)
        self.machine.clock.ahead += 8 * 60 * MINUTE
        self.counted["nights"] += 1

    async def _kill(
        self, after: float, program: Program, process: anyio.CancelScope
    ) -> None:
        await self.here.clock.sleep(after)
        kill(program.session)
        process.cancel()

    async def _change(
        self, program: Program, number: int, inputs: dict[str, Any], cut: float | None
    ) -> None:
        await self.here.clock.sleep(number * 20.0 * self.chance.random())
        what = f"update of Server {number}"
        if cut is not None and number == 0:
            with anyio.move_on_after(cut):
                await program.change(what, **inputs)
            return
        held_before = set(program.held)
        await program.change(what, **inputs)
        if what in program.done:
            assert not held_before, "a change went past a failed guard"
            self._has_snapshot(program.done[what])
            self._is_young(
                program.done[what], max(inputs["timeout"], inputs["reuse_within"])
            )

    def _has_snapshot(self, version_id: str) -> None:
        """Check that the snapshot is whole at this moment, and a manual one."""
        self.here.emulator.settle()
        there = [
            one
            for one in self.here.emulator.snapshots(DATABASE)
            if one.version_id == version_id
        ]
        assert there, "a change happened without its snapshot"
        assert there[0].origin == "manual", "an automatic snapshot guards nothing"

    def _is_young(self, version_id: str, oldest: float) -> None:
        """Check that the snapshot was taken as late as the guard demands, as the listing shows it."""
        stored = self.here.emulator.snapshots(DATABASE)
        (found,) = (each for each in stored if each.version_id == version_id)
        age = (self.here.emulator.now() - found.modified).total_seconds()
        if age > oldest + 10 * MINUTE:
            self.fail(
                "old guard", f"a change behind a snapshot of {age / MINUTE:.0f} min ago"
            )

    async def check_way_back(self, program: Program) -> None:
        for version_id in set(program.done.values()):
            (post,) = (
                each for each in self.here.posts if each.version_id == version_id
            )
            assert self.written is None or post.at >= self.written, (
                "it is from before an earlier change, or a restore"
            )
            self.last = version_id
        last = await consult(
            self.machine.session().ledger, lambda book: book.last("shop", DATABASE)
        )
        assert self.last in {None, last.version_id if last else None}, (
            "the way back leads elsewhere"
        )

    def check(
        self, program: Program, before: int, took: float, timeout: float, *, most: int
    ) -> None:
        """Check a run that may take `most` snapshots: after a night, the evening's guards no more."""
        accepted = [post for post in self.here.posts[before:] if post.accepted]
        assert len(accepted) <= most, "too many requests of one run started a snapshot"
        assert len(set(program.done.values())) <= most, (
            "too many snapshots guard one run"
        )
        assert not (program.done and program.held), (
            "some changes happened, and others were held back"
        )
        assert took <= timeout + 10 * MINUTE, "a change waits longer than it may"
        assert self.here.emulator.settings.api_key not in "".join(
            map(program.told, program.held)
        )
        self.counted += Counter(
            done=len(program.done), held=len(program.held), posts=len(accepted), runs=1
        )


NAMES = ("a", "b", "c", "d")
TYPE = "servers:index:Server"
STACK = "urn:pulumi:dev::app::"


@dataclass
class Stack:
    """What the engine's state has of a program whose guard is added, widened, narrowed and removed."""

    story: Story
    # by the resources: whether the state has the guard's hook of their deletes
    hooked: dict[str, bool] = field(default_factory=dict)
    guard: dict[str, Any] | None = None
    counted: Counter[str] = field(default_factory=Counter)

    async def play(self) -> None:
        for _ in range(self.story.chance.randint(2, 6)):
            await self.story.here.clock.sleep(
                self.story.chance.choice([1.0, 200.0, 3600.0])
            )
            if self.story.chance.random() < 0.2:
                self.story.here.emulator.add_fault(
                    Fault(kind="create", times=999, **QUOTA)
                )
            await self.up()
            self.story.here.emulator.clear_faults()

    async def up(self) -> None:
        """One run, with any guard or none, in which each resource is kept, changed, replaced, added or removed."""
        chance = self.story.chance
        patterns = [["*"], ["a"], ["a", "b"], [CHOSEN_ALL], [f"{CHOSEN}1"]]
        only = chance.choice(patterns)
        before = chance.choice(
            [None, ["update"], ["create"], ["delete"], ["update", "delete"]]
        )
        run = StackRun(
            self,
            self.story.machine.program(),
            only if chance.random() < 0.8 else None,
            GuardInputs.of({"database_id": DATABASE, "before": before}),
        )
        posts = len(self.story.here.posts)
        if await run.register_guard():
            await run.change_all()
        accepted = [post for post in self.story.here.posts[posts:] if post.accepted]
        assert len(accepted) <= 1, "one run has paid twice"
        if not run.program.done:
            assert not accepted, "nothing has changed, and the guard is no new one"
        self.counted += Counter(
            stacks=1,
            first=run.has_taken_first,
            silent=run.silent,
            heard=len(run.program.done),
        )


@dataclass
class StackRun:
    """One run of it; `only` is None without a guard."""

    stack: Stack
    program: Program
    only: list[str] | None
    inputs: GuardInputs
    is_new_stack: bool = False
    has_taken_first: bool = False
    silent: int = 0  # deletes of which the guard has not heard

    async def register_guard(self) -> bool:
        """Register it as both ways do; returns whether the run continues."""
        stack = self.stack
        listed: dict[str, tuple[str, dict[str, Any]]] = {
            f"{STACK}{TYPE}::{name}": (TYPE, {}) for name in stack.hooked
        }
        if stack.guard is not None:
            listed[f"{STACK}{GUARD_TYPE}::shop"] = (GUARD_TYPE, stack.guard)
        state = state_before(listed, [], "shop")
        self.is_new_stack = not state.guardable
        if self.only is None:
            stack.guard = None
            return True
        reason = state.unhooked(self.inputs.changes, self.only)
        if reason is not None:
            await self.program.first(reason, self.inputs)
            if self.program.held:
                return False
            self.has_taken_first = True
        stack.guard = {"before": [*self.inputs.changes], "only": self.only}
        return True

    async def change_all(self) -> None:
        hooked = self.stack.hooked
        wanted = [name for name in NAMES if self.stack.story.chance.random() < 0.7]
        for name in wanted:
            what = self.stack.story.chance.choice(["keep", "update", "replace"])
            if name not in hooked:
                what = "create"
            if not await self.change(name, what):
                return
            hooked[name] = self.hears("delete", name)
        for name in {*hooked} - {*wanted}:
            if not await self.delete(name):
                return

    def hears(self, change: str, name: str) -> bool:
        """Whether the program gives a resource the guard's hook of a change."""
        if self.only is None or change not in self.inputs.changes:
            return False
        return any(map(is_chosen_by_program, self.only)) or bool(
            fits(TYPE, name, self.only)
        )

    async def change(self, name: str, what: str) -> bool:
        if what == "replace":
            return await self.delete(name, replaced=True) and await self.change(
                name, "create"
            )
        if what == "keep" or not self.hears(what, name):
            return True
        if what == "create" and self.inputs.before is None and self.is_new_stack:
            return True
        return await self.asked(f"{what} of Server {name}")

    async def delete(self, name: str, *, replaced: bool = False) -> bool:
        """Delete it by the hooks that the state has, first if it is replaced."""
        if self.stack.hooked[name]:
            # The engine does not know a hook whose guard was taken out.
            if self.only is None or "delete" not in self.inputs.changes:
                return False
            if not await self.asked(f"delete of Server {name}"):
                return False
        else:
            self.silent += 1
            is_meant = self.hears("delete", name)
            assert not is_meant or self.program.done, (
                "what it guards was deleted silently"
            )
        if not replaced:
            del self.stack.hooked[name]
        return True

    async def asked(self, what: str) -> bool:
        await self.program.change(what)
        return what in self.program.done


async def guarded_stack(seed: int) -> Counter[str]:
    chance = random.Random(seed)
    async with world(
        snapshot_seconds=5.0, cache_world="invalidated", plan_memory_mb=256_000
    ) as here:
        stack = Stack(Story(here, Machine(here), chance))
        await stack.play()
        return stack.counted


async def played(seed: int) -> Counter[str]:
    chance = random.Random(seed)
    service: dict[str, Any] = {
        "cache_world": chance.choice(["invalidated", "kept"]),
        "modified_is": chance.choice(["start", "end"]),
        "snapshot_seconds": chance.choice([5.0, 60.0, 100.0, 500.0]),
        "clock_offset_seconds": chance.choice([0.0, -20.0, 3600.0]),
        "key_of_200_has_version": chance.random() < 0.8,
        "plan": chance.choice(["paid", "free"]),
        "plan_memory_mb": 256_000,
    }
    async with world(**service) as here:
        story = Story(here, Machine(here, clock=Shifted(here.clock)), chance)
        await story.play()
        return story.counted


def test_no_change_goes_past_its_guard_in_random_runs() -> None:
    total = Counter[str]()
    for seed in seeds():
        try:
            total += run_virtual(played, seed)
            total += run_virtual(guarded_stack, seed)
        except BaseException as error:
            pytest.fail(f"GUARD={seed}: {error!r}")
            raise
    print(total)  # noqa: T201  with -rP or -s
    assert {"done", "held", "restores", "first", "silent", "heard"} <= {*+total}
