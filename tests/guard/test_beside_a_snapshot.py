"""A Snapshot and a Guard of one database in one run: one request, whichever is first, and both continue together."""

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest

from pulumi_snapshots.guard.inputs import (
    CHANGES,
    CHOSEN_ALL,
    CHOSEN_HOOKS,
    FIRST_UP,
    GuardInputs,
    is_whole,
)
from pulumi_snapshots.guard.preview import PreviewedChanges
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.create import create
from tests.support.guarding import RUNS, Machine, Program
from tests.support.virtual import staged
from tests.support.world import DATABASE, OWNER, Row, World, world

CHANGE = "update of Server 0"
TOGETHER = 10.0
"""Seconds within which both know the snapshot."""


class Run:
    """One run of a program with a guard and Snapshots, which may be in processes of their own."""

    def __init__(self, w: World, *, whole: bool = True, apart: bool = True) -> None:
        self.w = w
        self.machine = Machine(w)
        self.program = self.machine.program()
        self.apart = apart
        self.run = self._join(self.program)
        if whole:
            self.program.guards.whole.add("shop")
        self.row = Row()
        self.is_slow = False  # whether changes go on after the end of the test
        self.taken: dict[str, str] = {}
        self.known_at: dict[str, float] = {}

    def _join(self, program: Program) -> str:
        run = f"run {next(RUNS)}"
        program.guards._run = program.session.memory.run = run
        return run

    def next(self) -> None:
        """The next run of the same program, on the same machine."""
        whole = self.program.guards.whole
        self.program = self.machine.program()
        self.program.guards.whole |= whole
        self.run = self._join(self.program)

    def _session(self) -> Session:
        session = self.machine.session() if self.apart else self.program.session
        session.memory.run = self.run
        return session

    async def change(self, what: str = CHANGE, **inputs: Any) -> None:
        await self.program.change(what, fails=self.is_slow, **inputs)
        self.known_at[what] = self.w.clock.monotonic()

    async def snapshot(
        self, name: str = "a", *, forced: bool = False, **inputs: Any
    ) -> None:
        owner = f"{OWNER}-{name}"
        asked = self.w.inputs(**inputs)
        record = await create(self._session(), asked, self.row, owner, forced=forced)
        assert record.name, "a Snapshot has its details and its own URL"
        self.taken[name] = record.version_id or ""
        self.known_at[name] = self.w.clock.monotonic()

    async def both(self, first: str, apart: float) -> None:
        """Let the guard and the Snapshot want a snapshot, one some seconds after the other."""
        wants: list[Callable[[], Any]] = [self.change, self.snapshot]
        if first == "snapshot":
            wants.reverse()
        async with anyio.create_task_group() as group:
            group.start_soon(wants[0])
            await anyio.sleep(apart)
            group.start_soon(wants[1])


@pytest.mark.parametrize("first", ["guard", "snapshot"])
@pytest.mark.parametrize("apart", [0.0, 7.0, 140.0])
@pytest.mark.parametrize("seconds", [20.0, 200.0])
@pytest.mark.parametrize("processes", ["two processes", "one process"])
@staged(world, cache_world="invalidated")
async def test_both_use_one_snapshot_and_know_it_within_seconds(
    w: World, first: str, apart: float, seconds: float, processes: str
) -> None:
    vars(w.emulator.settings).update(snapshot_seconds=seconds)
    run = Run(w, apart=processes == "two processes")
    run.is_slow = True
    await run.both(first, apart)
    version = w.started()
    assert (run.program.done, run.taken) == ({CHANGE: version}, {"a": version})
    earlier, later = sorted(run.known_at.values())
    assert later - max(earlier, apart) < TOGETHER


@staged(world, snapshot_seconds=20.0, cache_world="kept")
async def test_a_guard_does_not_wait_for_the_url_of_the_snapshot_that_it_shares(
    w: World,
) -> None:
    await w.freeze_listings()
    run = Run(w)
    began = w.clock.monotonic()
    async with anyio.create_task_group() as group:
        group.start_soon(partial(create, run._session(), w.inputs(), run.row, OWNER))
        await anyio.sleep(1.0)
        await run.change()
        assert w.clock.monotonic() - began < 20.0 + TOGETHER
    assert run.program.done == {CHANGE: w.started()}


@staged(world, snapshot_seconds=20.0, cache_world="invalidated")
async def test_a_snapshot_after_a_guarded_change_is_one_of_its_own(w: World) -> None:
    run = Run(w)
    await run.change()
    await w.clock.sleep(200.0)
    await run.snapshot()
    assert run.taken["a"] != run.program.done[CHANGE]
    assert len(w.posts) == 2


@staged(world, snapshot_seconds=20.0, cache_world="invalidated")
async def test_a_snapshot_of_a_guards_process_may_reuse_the_guards(w: World) -> None:
    run = Run(w, whole=False, apart=False)
    await run.change()
    await w.clock.sleep(200.0)
    await run.snapshot(reuse_within=600.0)
    assert run.taken["a"] == run.program.done[CHANGE] == w.started()


@staged(world, snapshot_seconds=20.0, cache_world="invalidated")
async def test_a_snapshot_beside_the_first_run_of_a_guard_uses_that_one(
    w: World,
) -> None:
    run = Run(w)
    inputs = GuardInputs(DATABASE, reuse_within=600.0)
    await run.program.first(f"{FIRST_UP} (new)", inputs)
    await run.snapshot()
    assert run.taken["a"] == w.started()
    assert any(
        "which a guard of this run has requested" in note for note in run.row.notes
    )
    await run.snapshot("b")
    assert run.taken["b"] != run.taken["a"], "two Snapshots are two"


@pytest.mark.parametrize(
    "why", ["part of the stack", "another run", "forced", "restored"]
)
@staged(world, snapshot_seconds=20.0, cache_world="invalidated")
async def test_a_snapshot_uses_no_guards_that_may_be_too_old_for_it(
    w: World, why: str
) -> None:
    run = Run(w, whole=why != "part of the stack")
    run.is_slow = True
    await run.change()
    guards = w.started()
    if why == "another run":
        run.next()
    if why == "restored":
        await run.machine.restores(guards)
    await w.clock.sleep(200.0)
    await run.snapshot(forced=why == "forced")
    assert run.taken["a"] != guards


@staged(world, snapshot_seconds=60.0, cache_world="invalidated")
async def test_only_one_of_two_snapshots_at_once_uses_the_guards(w: World) -> None:
    run = Run(w)
    run.is_slow = True
    async with anyio.create_task_group() as group:
        group.start_soon(run.change)
        await anyio.sleep(7.0)
        group.start_soon(run.snapshot, "a")
        group.start_soon(run.snapshot, "b")
    guards = run.program.done[CHANGE]
    assert sorted(map(str, run.taken.values())) == sorted(
        str(post.version_id) for post in w.posts
    )
    assert guards in run.taken.values()


@pytest.mark.parametrize(
    ("changes", "patterns", "whole"),
    [
        (CHANGES, {"*"}, True),
        (CHANGES, {CHOSEN_ALL, CHOSEN_HOOKS}, True),
        (CHANGES, {CHOSEN_HOOKS}, False),
        (CHANGES, {"shop"}, False),
        (("update", "delete"), {"*"}, False),
    ],
)
def test_a_guard_shares_only_if_it_sees_every_change(
    changes: tuple[str, ...], patterns: set[str], *, whole: bool
) -> None:
    assert is_whole(changes, patterns) is whole


@pytest.mark.parametrize("first", [True, False], ids=["first run", "later run"])
def test_the_preview_says_to_remove_a_snapshot_that_may_not_share(
    *, first: bool
) -> None:
    preview = PreviewedChanges(DATABASE, GuardInputs(DATABASE))
    preview.in_state = {"urn": "type"}
    preview.show("create", OWNER, Row())
    assert preview.beside() is None, "nothing waits for a snapshot"
    if first:
        preview.first_up = "the state does not have this guard yet"
    else:
        preview.show(
            "update", "urn:pulumi:dev::shop::servers:index:Server::shop", Row()
        )
    warning = str(preview.beside())
    assert warning.startswith(
        "Snapshot before-release and this guard can each take a snapshot"
    )
    assert "Remove the Snapshot" in warning
