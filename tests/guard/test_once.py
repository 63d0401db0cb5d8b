"""One snapshot before the first guarded change of a run, and no change past a guard that has none; in virtual time."""

from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import pytest

from pulumi_snapshots.errors import AnyMessage
from pulumi_snapshots.guard.book import consult
from pulumi_snapshots.guard.inputs import GuardInputs
from pulumi_snapshots.guard.preview import PreviewedChanges
from pulumi_snapshots.ledger.attempt import SAVED, Attempt, Request, Status
from pulumi_snapshots.restore.record import RestoreInputs
from pulumi_snapshots.restore.restore import restore
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.record import short_id
from tests.support.clocks import Shifted, set_clock
from tests.support.guarding import Machine
from tests.support.memory import Memory, Mortal
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OTHER_DATABASE, Row, World, world

FIRST = "update of Server 0"
LAST = "update of Server 19"
MINUTE = 60.0
DAY = 86400.0


@pytest.mark.parametrize("snapshot_seconds", [5.0, 300.0])
@pytest.mark.parametrize("apart", [0.0, 40.0])
@virtual
async def test_twenty_guarded_changes_cost_one_snapshot(
    snapshot_seconds: float, apart: float
) -> None:
    async with world(snapshot_seconds=snapshot_seconds) as w:
        program = Machine(w).program()
        await program.changes(20, apart=apart)
        (post,) = w.posts
        assert list(program.done.values()) == [post.version_id] * 20
        (line,) = program.row.notes
        guarded, way_back = line.split("\n")
        assert guarded in {
            f"guarded by {DATABASE}/{post.version_id}: {change}"
            for change in program.done
        }
        assert (
            way_back
            == f"To go back: squarecloud-snapshots restore {short_id(f'{DATABASE}/{post.version_id}')}"
        )
        assert not program.row.warnings


@staged(world, snapshot_seconds=20.0, cache_world="kept")
async def test_a_guard_does_not_wait_for_a_url_that_it_does_not_need(w: World) -> None:
    # A page from before the snapshot is served for 30 minutes, but the answer to the POST has named the version.
    program = Machine(w).program()
    began = w.clock.monotonic()
    await program.changes(1)
    assert program.done == {FIRST: w.started()}
    assert w.clock.monotonic() - began < MINUTE
    (listing,) = w.listings
    assert listing.at > w.posts[0].at, (
        "what other machines do is not known: nothing to reuse"
    )


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "quota used up": (
        {"status": 429, "code": "DAILY_SNAPSHOTS_LIMIT_REACHED"},
        "daily quota",
    ),
    "blocked": ({"status": 429, "code": "RATE_LIMITED"}, "RATE_LIMITED"),
    "not found": ({"status": 404, "code": "DATABASE_NOT_FOUND"}, "DATABASE_NOT_FOUND"),
    "key refused": ({"status": 401, "code": "ACCESS_DENIED"}, "ACCESS_DENIED"),
    "failed": ({"status": 500, "code": "SNAPSHOT_FAILED"}, "SNAPSHOT_FAILED"),
    "not reached": ({"no_connect": True}, "could not be reached"),
    "cooldown without end": (
        {"status": 429, "code": "KEEP_CALM"},
        "No snapshot of database",
    ),
    "answer lost": ({"drop": True, "when": "before"}, "the answer was lost"),
    "gateway": ({"html": 502, "when": "before"}, "the answer was lost"),
}


@pytest.mark.parametrize("why", REFUSED)
@staged(world)
async def test_no_change_goes_past_a_guard_without_a_snapshot(
    w: World, why: str
) -> None:
    fault, said = REFUSED[why]
    w.fault(kind="create", times=99, **fault)
    program = Machine(w).program()
    await program.changes(20, apart=30.0, timeout=10 * MINUTE)
    assert (len(program.done), len(program.held)) == (0, 20)
    held = "was held back, since no snapshot guards it: "
    assert program.told(FIRST).startswith(f"The {FIRST} {held}")
    assert said in program.told(FIRST)
    assert program.told(LAST).startswith(f"The {LAST} {held}it failed for the {FIRST}")
    assert not any(post.accepted for post in w.posts)


@pytest.mark.parametrize(
    ("why", "is_named"),
    [
        ("quota used up", True),
        ("blocked", True),
        ("failed", True),
        ("not reached", True),
        ("not found", False),
        ("key refused", False),
    ],
)
@staged(world)
async def test_the_emergency_way_is_named_where_no_snapshot_can_be_taken_now(
    w: World, why: str, *, is_named: bool
) -> None:
    fault, _ = REFUSED[why]
    w.fault(kind="create", times=99, **fault)
    program = Machine(w).program()
    await program.change(FIRST, timeout=10 * MINUTE)
    assert ("if squarecloud:guard is off" in program.told(FIRST)) is is_named


@pytest.mark.parametrize("setting", ["on", "off"])
@staged(world)
async def test_a_change_that_fails_shows_the_way_back_if_there_is_one(
    w: World, setting: str
) -> None:
    machine = Machine(w)
    program = machine.program(machine.session(guard=setting))
    await program.change(FIRST, fails=True)
    notes = len(program.row.notes)
    program.guards.show_failure(GuardInputs(DATABASE), FIRST, program.row)
    shown = program.row.notes[notes:]
    if setting == "off":
        assert shown == []
        return
    (note,) = shown
    id_ = f"{DATABASE}/{w.started()}"
    assert note.startswith(f"{FIRST} has failed, guarded by {id_}\nTo go back: ")


@staged(world, snapshot_seconds=300.0)
async def test_an_interrupted_guard_holds_back_and_says_what_is_next(w: World) -> None:
    machine = Machine(w)
    program = machine.program()
    again = machine.program()
    await w.meanwhile(200.0, program.session.stop, program.changes(3, apart=1.0))
    assert not program.done
    then = "waits for this snapshot until timeout after the request, or reuse_within if that is longer"
    for words in ("is not listed yet. The wait was interrupted.", then):
        assert words in program.told(FIRST)
    await again.changes(3)
    assert set(again.done.values()) == {w.started()}
    assert any(note.startswith(f"adopted {DATABASE}/") for note in again.row.notes)


@pytest.mark.parametrize(
    "waits", [True, False], ids=["by a change that waits", "by a later program"]
)
@staged(world, snapshot_seconds=300.0)
async def test_a_guard_whose_call_was_cancelled_is_resumed_without_a_second_post(
    w: World, *, waits: bool
) -> None:
    """As with the Automation API: the process lives on."""
    program = Machine(w).program()
    async with anyio.create_task_group() as group:
        if waits:
            group.start_soon(program.change, LAST)
        with anyio.move_on_after(200.0):
            await program.change(FIRST)
    if not waits:
        assert not program.done
        program = Machine(w).program(program.session)
        await program.changes(2)
    assert set(program.done.values()) == {w.started()}


@pytest.mark.parametrize("reuse_within", [0.0, 600.0])
@staged(world, snapshot_seconds=300.0)
async def test_a_change_after_a_cancelled_one_uses_what_its_run_has_requested(
    w: World, *, reuse_within: float
) -> None:
    program = Machine(w).program()
    with anyio.move_on_after(200.0):
        await program.change(FIRST, reuse_within=reuse_within)
    await w.clock.sleep(15 * MINUTE)
    await program.change(LAST, reuse_within=reuse_within)
    assert program.done == {LAST: w.started()}


@staged(world, snapshot_seconds=300.0, cache_world="invalidated")
async def test_a_change_long_after_a_cancelled_one_has_a_snapshot_of_its_own(
    w: World,
) -> None:
    machine = Machine(w)
    program = machine.program()
    async with anyio.create_task_group() as group:
        # for which the guard waits before it requests its own
        group.start_soon(machine.snapshot)
        await w.clock.sleep(5.0)
        with anyio.move_on_after(9 * MINUTE):
            await program.change(FIRST, reuse_within=0.0, timeout=10 * MINUTE)
    assert len(w.posts) == 2
    assert not program.done
    await w.clock.sleep(12 * MINUTE)
    await program.change(LAST, reuse_within=0.0, timeout=10 * MINUTE)
    assert program.done == {LAST: w.posts[2].version_id}


@staged(world, snapshot_seconds=30.0)
async def test_an_old_snapshot_guards_nothing_while_the_service_cannot_say_how_old_it_is(
    w: World,
) -> None:
    machine = Machine(w)
    await machine.program().changes(1)
    await w.clock.sleep(120 * MINUTE)
    w.fault(no_connect=True, times=100)
    with set_clock(w.clock, -timedelta(hours=2)):
        again = machine.program()
        await again.change(FIRST)
    assert not again.done
    assert "could not be reached" in again.told(FIRST)


@pytest.mark.parametrize(
    ("first", "cache_world"),
    [
        ("the guard", "invalidated"),
        ("the Snapshot", "invalidated"),
        ("the Snapshot", "kept"),
    ],
)
@pytest.mark.parametrize("snapshot_seconds", [5.0, 1200.0])
@virtual
async def test_a_guard_shares_its_post_with_a_snapshot_of_the_same_up(
    first: str, cache_world: str, snapshot_seconds: float
) -> None:
    async with world(snapshot_seconds=snapshot_seconds, cache_world=cache_world) as w:
        machine = Machine(w)
        program = machine.program()
        row = Row()
        async with anyio.create_task_group() as group:
            if first == "the Snapshot":
                group.start_soon(machine.snapshot, row)
                await w.clock.sleep(1.0)
            group.start_soon(program.changes, 3)
            if first == "the guard":
                await w.clock.sleep(1.0)
                # by the rules of a Snapshot, from when it is found
                within = {"reuse_within": 1800.0}
                group.start_soon(partial(machine.snapshot, row, **within))
        assert set(program.done.values()) == {w.started()}


@staged(world, databases=(DATABASE, OTHER_DATABASE))
async def test_each_database_has_one_snapshot_whichever_guard_asks(w: World) -> None:
    program = Machine(w).program()
    async with anyio.create_task_group() as group:
        for database_id in (DATABASE, OTHER_DATABASE):
            group.start_soon(
                partial(program.change, database_id, database_id=database_id)
            )
    await program.change(LAST, guard="stock")
    taken = {post.database_id: post.version_id for post in w.posts}
    assert program.done == {**taken, LAST: taken[DATABASE]}
    lasts = await consult(
        program.session.ledger,
        lambda book: [book.last(each, DATABASE) for each in ("shop", "stock")],
    )
    assert [last and last.version_id for last in lasts] == [taken[DATABASE]] * 2


@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("by_a_guard", [False, True])
@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_a_change_without_a_guard_spends_the_snapshot_whatever_the_clock_shows(
    w: World, *, is_shared: bool, by_a_guard: bool
) -> None:
    place = Memory(w.clock, is_shared=is_shared)
    slow = Shifted(w.clock, -3600.0)
    first = Machine(w, place).program(
        w.another_run(Mortal(place), clock=None if is_shared else slow)
    )
    if by_a_guard:
        await first.change("update of Server 0", fails=True)
    else:
        await create(first.session, w.inputs(), Row(), "urn:a-snapshot")
    await w.clock.sleep(MINUTE)
    without = Machine(w, place).program(
        w.another_run(Mortal(place), clock=slow, guard="off")
    )
    await without.change("update of Server 1")
    await w.clock.sleep(MINUTE)
    again = Machine(w, place).program(w.another_run(Mortal(place), clock=slow))
    await again.change("update of Server 2")
    assert again.done["update of Server 2"] not in {
        "",
        next(post for post in w.posts if post.accepted).version_id,
    }


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "code": "DAILY_SNAPSHOTS_LIMIT_REACHED"},
        {"status": 401, "code": "ACCESS_DENIED"},
    ],
)
@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_a_program_that_lives_on_is_guarded_again_once_the_refusal_is_over(
    w: World, fault: dict[str, Any]
) -> None:
    machine = Machine(w)
    session = machine.session()
    w.fault(kind="create", times=1, **fault)
    done = list[str]()
    for _ in range(3):
        program = machine.program(session)
        await program.changes(1)
        done += program.done.values()
        assert bool(done) is (len(w.posts) > 1)
        await w.clock.sleep(200.0)
    assert done == [w.started()]


@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_each_of_several_changes_that_cannot_be_noted_fails(w: World) -> None:
    machine = Machine(w)
    program = machine.program()
    await program.changes(3, fails=True)
    machine.memory.refuses_writes = "the disk is full"
    machine.memory.delay = (0.1, 0.1)
    await program.changes(3)
    assert len(program.held) == 3
    for what in program.held:
        assert f"{what} has happened, but could not be noted: " in program.told(what)
        assert "the disk is full" in program.told(what)


@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_a_preview_names_the_snapshot_that_would_be_used_again_until_the_database_is_restored(
    w: World,
) -> None:
    machine = Machine(w)

    async def foreseen() -> str:
        foresight = PreviewedChanges(DATABASE, GuardInputs(DATABASE))
        foresight.show("update", "urn", Row())
        await consult(
            machine.session().ledger,
            lambda book: foresight.learn(book, DATABASE, 3600.0),
        )
        return str(foresight.summary())

    await machine.program().changes(1, fails=True)
    assert f": {DATABASE}/{w.started()}, requested at " in await foreseen()
    earlier = Request(
        w.clock.utc() - timedelta(minutes=50),
        "202",
        2700.0,
        "of a state that this machine sees only now",
    )
    ledger = machine.session().ledger
    theirs = Attempt(
        "snapshot",
        "app::dev::earlier",
        DATABASE,
        "v1",
        earlier,
        Status.ACCEPTED,
        in_state=SAVED,
    )
    await ledger.end(await ledger.enter(theirs, is_new=True), "earlier")
    assert f": {DATABASE}/{w.started()}, requested at " in await foreseen(), (
        "the newest one"
    )
    await w.clock.sleep(4 * MINUTE)
    await machine.restores(w.started())
    assert (await foreseen()).endswith("which would be a new one")


@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_a_preview_by_a_clock_that_was_set_back_sees_that_a_change_has_used_the_snapshot(
    w: World,
) -> None:
    clock = Shifted(w.clock)
    machine = Machine(w, clock=clock)
    await machine.program().changes(1)
    clock.ahead -= MINUTE
    foresight = PreviewedChanges(DATABASE, GuardInputs(DATABASE))
    foresight.show("update", "urn", Row())
    await consult(
        machine.session().ledger,
        lambda book: foresight.learn(book, DATABASE, 3600.0),
    )
    assert str(foresight.summary()).endswith("which would be a new one")


@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_no_change_goes_past_a_guard_whose_snapshot_cannot_be_noted(
    w: World,
) -> None:
    machine = Machine(w)
    taken = await machine.snapshot()
    program = machine.program()
    again = machine.program()
    machine.memory.refuses_writes = "the disk is full"
    await program.changes(2)
    assert not program.done
    assert any("the disk is full" in program.told(what) for what in program.held)
    machine.memory.refuses_writes = ""
    await again.changes(2)
    assert set(again.done.values()) == {taken.version_id} == {w.started()}


@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_two_hundred_changes_at_once_are_noted_by_few_entries(w: World) -> None:
    machine = Machine(w)
    program = machine.program()
    await program.change("update of Server first", fails=True)
    machine.memory.delay, before = (0.1, 0.1), machine.memory.writes
    await program.changes(200)
    assert machine.memory.writes - before <= 3


@pytest.mark.parametrize("ledger", ["there", "full"])
@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_guards_that_are_off_hold_nothing_back_and_leave_a_warning_and_an_entry(
    w: World, ledger: str
) -> None:
    machine = Machine(w)
    failed = machine.program()
    again = machine.program()
    await failed.changes(1, fails=True)
    machine.memory.refuses_writes = "the disk is full" if ledger == "full" else ""
    at_night = machine.program(machine.session(guard="off"))
    await at_night.changes(2)
    assert (len(at_night.done), len(at_night.held)) == (2, 0)
    assert at_night.row.warnings == [
        f"the {change} has no snapshot, since squarecloud:guard is off"
        for change in at_night.done
    ]
    machine.memory.refuses_writes = ""
    book = await consult(at_night.session.ledger, lambda book: book)
    last = book.last("shop", DATABASE)
    assert last is not None
    assert last.version_id == w.started(), (
        "there is none from before the changes at night"
    )
    if ledger == "there":
        newest = book.history("shop")[0]
        assert (newest.id, len(newest.changes)) == (None, 2)
        await again.changes(1, reuse_within=DAY)
        assert set(again.done.values()).isdisjoint(failed.done.values())


@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_a_new_guard_whose_snapshot_cannot_be_noted_as_spent_lets_nothing_change(
    w: World,
) -> None:
    machine = Machine(w)
    program = machine.program()

    class Full(Row):
        def note(self, text: AnyMessage) -> None:
            super().note(text)
            machine.memory.refuses_writes = "the disk is full"

    program.row = Full()
    await program.first("first run", GuardInputs(DATABASE))
    assert not program.done
    assert "could not be noted" in program.told("first run")


@pytest.mark.parametrize("ahead", [2 * 3600.0, 40 * DAY])
@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_a_change_that_a_wrong_clock_has_noted_holds_up_no_later_guard(
    w: World, ahead: float
) -> None:
    memory = Memory(w.clock)
    at_night = Machine(w, memory, Shifted(w.clock, ahead))
    await at_night.program(at_night.session(guard="off")).changes(1)
    for machine in (Machine(w, memory), at_night):
        began = w.clock.monotonic()
        before = len(w.posts)
        program = machine.program()
        await program.changes(1)
        assert list(program.done) == [FIRST]
        assert len(w.posts) == before + 1, "it was not reused, and not taken twice"
        assert w.clock.monotonic() - began < MINUTE
        await w.clock.sleep(10 * MINUTE)


@pytest.mark.parametrize(
    ("fault", "guards"),
    [
        (
            {"kind": "create", "status": 429, "code": "DAILY_SNAPSHOTS_LIMIT_REACHED"},
            "the automatic one",
        ),
        ({"no_connect": True}, "the guard's"),
        ({"kind": "create", "status": 404, "code": "DATABASE_NOT_FOUND"}, "none"),
    ],
)
@pytest.mark.parametrize("fallback", [None, 60.0, DAY])
@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_an_earlier_snapshot_guards_only_if_none_can_be_taken_and_the_program_allows_its_age(
    w: World, fault: dict[str, Any], guards: str, fallback: float | None
) -> None:
    machine = Machine(w)
    first = machine.program()
    again = machine.program()
    await first.changes(1)
    await w.clock.sleep(3600.0)
    automatic = w.emulator.add_snapshot(DATABASE, origin="automatic")
    await w.clock.sleep(600.0)
    w.fault(times=999, **fault)
    await again.changes(2, fallback=fallback)
    expected = {
        "the automatic one": automatic.version_id,
        "the guard's": w.started(),
    }.get(guards)
    if fallback != DAY or expected is None:
        assert not again.done
        return
    assert set(again.done.values()) == {expected}
    (warning,) = again.row.warnings
    assert f"so the newest snapshot guards: {DATABASE}/{expected} of 2" in warning


@pytest.mark.parametrize("at", range(0, 40, 2))
@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_an_interrupt_is_no_reason_to_use_an_earlier_snapshot(
    w: World, at: float
) -> None:
    machine = Machine(w)
    first = machine.program()
    again = machine.program()
    await first.changes(1)
    await w.clock.sleep(3600.0)
    w.fault(kind="create", status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED", times=999)
    for kind in ("list", "list account", "me"):
        w.fault(kind=kind, delay=10.0, times=999)
    began = w.clock.monotonic()
    async with anyio.create_task_group() as group:
        group.start_soon(w.later, at, again.session.stop)
        await again.changes(1, fallback=DAY, reuse_within=0.0)
        took = w.clock.monotonic() - began
        group.cancel_scope.cancel()
    assert bool(again.done) is (took < at)


@pytest.mark.parametrize(
    ("reuse_within", "fallback", "until"),
    [(600.0, None, 1800.0), (600.0, DAY, 1800.0), (0.0, None, None), (0.0, DAY, 0.0)],
)
@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_a_change_waits_for_the_end_of_a_block_or_is_held_back_at_once(
    w: World, reuse_within: float, fallback: float | None, until: float | None
) -> None:
    machine = Machine(w, Memory(w.clock))
    first = machine.program()
    again = machine.program()
    await first.changes(1)
    await w.clock.sleep(3600.0)
    w.emulator.block(1800.0)
    began = w.clock.monotonic()
    await again.changes(1, reuse_within=reuse_within, fallback=fallback)
    assert w.clock.monotonic() - began == pytest.approx(until or 0.0, abs=10.0)
    assert bool(again.done) is (until is not None)


@staged(world, snapshot_seconds=150.0, cache_world="invalidated")
async def test_a_snapshot_from_before_a_change_elsewhere_does_not_guard_a_run_that_waited_for_it(
    w: World,
) -> None:
    machine = Machine(w)
    first = machine.program()
    second = machine.program()
    async with anyio.create_task_group() as group:
        group.start_soon(first.changes, 1)
        await w.clock.sleep(30.0)
        group.start_soon(second.changes, 1)
        while not first.done:
            await w.clock.sleep(1.0)
    assert first.done != second.done
    assert len(w.posts) >= 2


@staged(world, snapshot_seconds=60.0, cache_world="invalidated")
async def test_a_restore_onto_a_guarded_database_is_shown_by_its_guard_and_is_no_last_one(
    w: World,
) -> None:
    machine = Machine(w)
    program = machine.program()
    await program.change(FIRST)
    version = program.done[FIRST]
    await w.clock.sleep(300.0)
    (stored,) = [
        each for each in w.emulator.snapshots(DATABASE) if each.version_id == version
    ]
    inputs = RestoreInputs(
        DATABASE,
        version,
        DATABASE,
        overwrite=True,
        keep_current=True,
        name=stored.name,
        runtime=stored.runtime,
    )
    record = await restore(machine.session(), inputs, Row(), "urn:a-restore")
    kept = w.posts[1].version_id
    assert record.previous == f"{DATABASE}/{kept}"
    ledger = machine.session().ledger
    history = await consult(ledger, lambda book: book.history("shop"))
    assert [(each.version_id, each.changes) for each in history] == [
        (kept, [f"restore of {short_id(f'{DATABASE}/{version}')}"]),
        (version, [FIRST]),
    ]
    last = await consult(ledger, lambda book: book.last("shop", DATABASE))
    assert last is not None
    assert last.version_id == version, "the way back of the guard stays"
    # What was kept is from before the restore, so it guards nothing that comes after it.
    await w.clock.sleep(300.0)
    again = machine.program()
    await again.change(LAST, reuse_within=3600.0)
    assert again.done[LAST] not in {version, kept}
