"""The moves of a story: each is drawn by chance, and does one thing to a stack, a machine, the service, or the account."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.ledger.attempt import LATEST_OF_LOST
from squarecloud_emulator.service.refusals import RefusedError
from tests.simulation.books import target_of
from tests.simulation.commands import CHANGES, with_options
from tests.simulation.faults import BROKEN, DOUBTS, NEW_CODES, REFUSALS
from tests.simulation.model_engine import Declared, Held, Stack, copied
from tests.simulation.up import AT_THE_CLAIM, Up
from tests.simulation.ways_out import OTHER_TRIGGERS, use_other_triggers
from tests.support.inside import Computer

if TYPE_CHECKING:
    from tests.simulation.stories import Checkpoint, Story

MINUTE = 60.0
HOUR = 3600.0
DAY = 86400.0
APART = 130.0
"""Seconds between our POST and a later restore of somebody else: closer together, the service does not tell them apart."""
POST_FAULTS: list[dict[str, Any]] = [
    *({**fault, "times": times} for fault in REFUSALS for times in (1, 3)),
    *({**fault, "when": when} for fault in DOUBTS for when in ("before", "after")),
    *BROKEN,
]
READ_FAULTS: list[dict[str, Any]] = [
    {"html": 404},
    {"drop": True, "times": 3},
    {"html": 502, "times": 6},
    {"status": 500, "code": "INTERNAL", "times": 4},
    {"status": 401, "code": "ACCESS_DENIED"},
    {"truncated": True, "times": 3},
    {"delay": 40.0, "times": 3},
]


# --- Runs of the engine -------------------------------------------------------------------------------


async def draw_up(story: Story, stack: Stack) -> None:
    """Let the user change the program, and run an `up` that may be cut."""
    _change_program(story, stack)
    _plan_failures(story, stack)
    await story.up(stack, _drawn_up(story))


def _change_program(story: Story, stack: Stack) -> None:
    chance = story.chance
    if chance.random() < 0.25 * _often(story):
        story.change_triggers(stack)
    if story.upstream and chance.random() < 0.35:
        stack.size += 1
        story.say(
            "something upstream has another size, and is to be deleted before it is made again"
        )
    story.programs.set_triggers(stack)
    _change_options(story, stack)
    stack.set_timeout(chance.choice([3 * MINUTE, 10 * MINUTE, 45 * MINUTE]))


def _often(story: Story) -> float:
    """How much more often the triggers change, or a run is cut."""
    return 2.0 if story.has_drill else 1.0


def _change_options(story: Story, stack: Stack) -> None:
    chance = story.chance
    if chance.random() < 0.1:
        one = chance.choice(stack.declared())
        stack.declare(one, first=not one.first)
        story.say(f"{one.name} {'loses' if one.first else 'has'} delete_before_replace")
    if story.upstream and chance.random() < 0.2:
        one = chance.choice(stack.declared())
        stack.declare(one, cascades=not one.cascades)
        follows = "is not" if one.cascades else "is"
        story.say(f"{one.name} {follows} replaced with what is upstream")
    if chance.random() < 0.07:
        one = chance.choice(stack.declared())
        stack.declare(one, release=one.release + 1)
        story.say(f"{one.name} has another replacement_trigger")


def _plan_failures(story: Story, stack: Stack) -> None:
    """Let the next snapshot or restore fail after it was accepted, or leave its database down."""
    for one in stack.declared():
        drawn = story.chance.random()
        target = target_of(one.inputs)
        if drawn < 0.06 and one.kind == "Snapshot":
            story.say("the next Snapshot at the service will fail")
            story.emulator.fail_next_snapshot(target)
        elif drawn < 0.06 and story.tells_restores:
            story.say(f"the next {one.kind} at the service will fail")
            story.emulator.next_restore_fails_with(target, "SNAPSHOT_CORRUPT")
        elif drawn > 0.95 and one.kind == "Restore":
            story.say("the next restore will succeed, and its database stay down")
            story.emulator.next_restore_leaves_down(target)


def _drawn_up(story: Story) -> Up:
    chance = story.chance
    up = Up(
        preview=chance.random() < 0.6,
        at_end=chance.random() < 0.1,
        refresh=chance.random() < 0.1,
        trouble=_draw_trouble(story),
    )
    if chance.random() < 0.25 * _often(story):
        up = replace(up, cut=_draw_cut(story))
    if chance.random() < 0.25 * _often(story):
        up = replace(up, saves=chance.choice([0, 0, 1, 2, 3]))
    if chance.random() < 0.12:
        up = replace(
            up, replace=chance.choice(story.roles), refresh=chance.random() < 0.5
        )
    if chance.random() < 0.1:
        up = replace(up, nap=chance.choice([5.0, 20.0, 100.0, HOUR]))
    if chance.random() < 0.05:
        up = replace(up, fills_up=True)
    if chance.random() < 0.25:
        up = replace(up, post_fault=chance.choice(POST_FAULTS + NEW_CODES))
    if chance.random() < 0.15:
        up = replace(up, read_fault=chance.choice(READ_FAULTS))
    if chance.random() < 0.3:
        up = replace(up, automatic=chance.choice([1.0, 30.0, 100.0, 170.0]))
    return up


def _draw_cut(story: Story) -> tuple[str, float]:
    how = story.chance.choice(["^C", "^C", "kill -9", "kill -9", AT_THE_CLAIM])
    return how, story.chance.choice([0.0, 0.5, 40.0, 95.0, 130.0, 300.0])


def _draw_trouble(story: Story) -> tuple[str, float, float] | None:
    chance = story.chance
    if chance.random() >= 0.12:
        return None
    what = chance.choice(["writes", "writes", "reads"])
    begins = chance.choice([0.0, 0.0, 1.0, 40.0, 95.0])
    return what, begins, chance.choice([0.3, 10.0, 100.0, 2000.0])


async def fill_disk(story: Story, stack: Stack) -> None:
    """Let the ledger refuse writes from a POST on, of an `up` that has not the time to see its end."""
    story.change_triggers(stack)
    stack.set_timeout(3 * MINUTE)
    await story.up(stack, Up(preview=False, fills_up=True))


async def kill_at_claim(story: Story, stack: Stack) -> None:
    """Kill an `up` between a claim and its POST."""
    story.change_triggers(stack)
    await story.up(stack, Up(preview=False, cut=(AT_THE_CLAIM, 0.0)))


async def other_triggers(story: Story, stack: Stack) -> None:
    """Change the triggers: nothing that happened before may hold that up for long."""
    await use_other_triggers(story, stack, "other triggers", OTHER_TRIGGERS)


async def both(story: Story, _stack: Stack) -> None:
    """Run an `up` of each stack at once."""
    story.say("at once:")
    await asyncio.gather(*(story.up(stack, Up()) for stack in story.stacks))


async def preview(story: Story, stack: Stack) -> None:
    """Run `preview`, which sends nothing."""
    story.say(f"`preview` of {stack.name} on the {story.computer.name}")
    engine = story.engine(stack)
    sent = len(story.emulator.journal)
    await story.run(engine, engine.preview())
    assert len(story.emulator.journal) == sent, "a preview has sent a request"


async def refresh(story: Story, stack: Stack) -> None:
    """Run `refresh`."""
    story.say(f"`refresh` of {stack.name} on the {story.computer.name}")
    engine = story.engine(stack)
    await story.run(engine, engine.refresh())


async def destroy(story: Story, stack: Stack) -> None:
    """Run `destroy`, with `--refresh`, without a key, or neither."""
    drawn = story.chance.random()
    has_key = drawn < 0.7
    refreshes = drawn < 0.3
    how = " with `--refresh`" if refreshes else ""
    how += "" if has_key else " without a key"
    story.say(f"`destroy` of {stack.name} on the {story.computer.name}{how}")
    engine = story.engine(stack, key=has_key)
    with story.in_trouble(_draw_trouble(story)):
        await story.run(engine, engine.destroy(refresh=refreshes))


# --- Commands of the command line -----------------------------------------------------------------------


async def create(story: Story, stack: Stack) -> None:
    """Type `create` of a database of the program."""
    chance = story.chance
    database = chance.choice(story.databases(stack))
    options = chance.choice([[], [], ["--reuse-within", "1h"]])
    if chance.random() < 0.1:
        story.emulator.fail_next_snapshot(database)
        story.say("the next Snapshot at the service will fail")
    await _type(story, "create", database, *options)


async def create_again(story: Story, stack: Stack) -> None:
    """Kill a `create` that has sent its request, and type it again later."""
    chance = story.chance
    database = chance.choice(story.databases(stack))
    cut = "kill -9", chance.choice([40.0, 95.0, 130.0])
    await story.command("create", database, "--timeout", "45m", cut=cut)
    await asyncio.sleep(chance.choice([MINUTE, 10 * MINUTE, HOUR, DAY]))
    await story.command("create", database, "--timeout", "45m")


async def restore(story: Story, stack: Stack) -> None:
    """Type `restore` of the snapshot that the program restores."""
    back = _declared(stack, "Restore")
    if back is None or _was_restored_lately(story):
        return
    options = story.chance.choice([[], [], ["--new"]])
    options += story.chance.choice([[], ["--no-keep"], ["--no-keep"]])
    if story.chance.random() < 0.15:
        story.say("the next restore will succeed, and its database stay down")
        story.emulator.next_restore_leaves_down(target_of(back.inputs))
    await _type(story, *restore_command(back), *options)


def restore_command(back: Declared) -> list[str]:
    """The arguments of the command that restores what a Restore does."""
    snapshot = f"{back.inputs['database_id']}/{back.inputs['version_id']}"
    return ["restore", snapshot, "--onto", target_of(back.inputs), "--yes"]


async def guard(story: Story, stack: Stack) -> None:
    """Type `guard` of a command that changes a database of the program."""
    chance = story.chance
    # what is guarded holds more than what a drill restores
    databases = [
        target_of(one.inputs) for one in stack.declared() if one.kind != "Drill"
    ]
    options = chance.choice([[], ["--reuse-within", "0"], ["--reuse-within", "1h"]])
    await _type(story, "guard", chance.choice(databases), *options, *CHANGES)


async def _type(story: Story, *arguments: str) -> None:
    chance = story.chance
    timeout = chance.choice(["3m", "10m", "45m"])
    cut = _draw_cut(story) if chance.random() < 0.3 else None
    if cut is not None and cut[0] == AT_THE_CLAIM:
        cut = ("kill -9", 95.0)
    story.add_faults(chance.choice(POST_FAULTS) if chance.random() < 0.15 else None)
    await story.command(*with_options(arguments, "--timeout", timeout), cut=cut)


def _declared(stack: Stack, kind: str) -> Declared | None:
    return next((one for one in stack.program if one.kind == kind), None)


# --- What a user does to a state or a program ---------------------------------------------------------------


async def taint(story: Story, stack: Stack) -> None:
    """Run `state taint` of something."""
    held = _one_in(story, stack)
    if held is not None:
        held.tainted = True
        story.books.page(stack, held.role).linger()
        story.say(f"`state taint` of {held.name}")


async def forget(story: Story, stack: Stack) -> None:
    """Run `state delete` of something, which the command refuses for what others need."""
    held = _one_in(story, stack)
    if held is not None and not any(held.name in other.needs for other in stack.state):
        stack.state.remove(held)
        story.books.drop(stack, held.role)
        story.say(f"`state delete` of {held.name}")


def _one_in(story: Story, stack: Stack) -> Held | None:
    found = [
        held
        for held in stack.state
        if held.kind != "Upstream" and not held.replaced and not held.gone
    ]
    return story.chance.choice(found) if found else None


async def rename(story: Story, stack: Stack) -> None:
    """Give a resource another name, with an alias or by `state rename`."""
    one = story.chance.choice(stack.declared())
    name = f"{one.name}-x"
    held = stack.old_of(one)
    page = story.books.page(stack, one.role)
    wants = [*page.unsaved]
    if held is not None and held.unfinished and page.saved is not None:
        wants.append(page.saved)
    for want in wants:
        # a new name without a state is another resource
        want.more += one.kind == "Snapshot"
    story.books.note_rename(stack, one.role)
    how = ", with an alias"
    aliases = (one.name, *one.aliases)
    if held is not None and story.chance.random() < 0.5:
        _rename_in_state(stack, held, name)
        how = " by `state rename`"
        aliases = ()
    stack.declare(one, name=name, aliases=aliases)
    story.programs.set_triggers(stack)
    story.say(f"{one.name} is called {name}{how}")


def _rename_in_state(stack: Stack, held: Held, name: str) -> None:
    for other in stack.state:
        if held.name in other.needs:
            other.needs = {name if each == held.name else each for each in other.needs}
    held.name = name


async def rename_stack(story: Story, stack: Stack) -> None:
    """Run `stack rename`."""
    story.say(f"`stack rename` of {stack.name} to {stack.name}-x")
    for role in story.roles:
        story.books.note_stack_rename(stack, role)
    stack.name += "-x"


async def import_checkpoint(story: Story, stack: Stack) -> None:
    """Import an older checkpoint, perhaps with the program that it was of, or with one between that and the present one."""
    older = [each for each in story.checkpoints if each[0] is stack]
    if not older:
        return
    checkpoint = story.chance.choice(older)
    _import(story, stack, checkpoint)
    release = checkpoint[2]
    if story.chance.random() < 0.6 and release < stack.release:
        _set_back_program(
            story, stack, story.chance.randint(release, stack.release - 1)
        )


async def set_back(story: Story, stack: Stack) -> None:
    """Make two releases, and set the state back to the one before both, and the program to the first of them."""
    if not story.checkpoints or story.checkpoints[-1][0] is not stack:
        return
    before = story.checkpoints[-1]
    await story.calm(stack)
    for _ in range(2):
        story.change_triggers(stack)
        await story.up(stack, Up(preview=False))
        await asyncio.sleep(20 * MINUTE)
    _import(story, stack, before)
    _set_back_program(story, stack, stack.release - 1)
    await story.up(stack, Up(preview=False))


def _import(story: Story, stack: Stack, checkpoint: Checkpoint) -> None:
    _, state, _, saved = checkpoint
    stack.state = copied(state)
    for role, want in saved.items():
        story.books.note_import(stack, role, want)
    held = [f"{each.name} {each.id}" for each in state]
    story.say(f"an older checkpoint of {stack.name} is imported: {held}")


def _set_back_program(story: Story, stack: Stack, release: int) -> None:
    stack.release = release
    story.programs.set_triggers(stack)
    story.say(f"the program of {stack.name} has the earlier release v{release}")


async def switch_way(story: Story, stack: Stack) -> None:
    """Let a program import the classes of the other way to the engine."""
    stack.way = "plugin" if stack.way == "dynamic" else "dynamic"
    story.say(f"the program of {stack.name} imports the classes of the {stack.way} way")


# --- Machines, the account, the service ---------------------------------------------------------------------


async def move(story: Story, _stack: Stack) -> None:
    """Go to the other machine."""
    story.computer = _other_computer(story)
    if not story.computer.place.is_shared:
        # As documented, what another machine has started just before cannot be told from a POST of this one.
        await asyncio.sleep(LATEST_OF_LOST.total_seconds())
    story.say(f"from now on on the {story.computer.name}")


def _other_computer(story: Story) -> Computer:
    return story.computers[1 - story.computers.index(story.computer)]


async def step_clock(story: Story, _stack: Stack) -> None:
    """Set the machine's clock."""
    story.computer.ahead = story.chance.choice(
        [0.0, 20 * MINUTE, -10 * MINUTE, 3.0, DAY]
    )
    story.say(
        f"the clock of the {story.computer.name} is {story.computer.ahead:.0f} s ahead"
    )


async def rotate(story: Story, _stack: Stack) -> None:
    """Give the account another key."""
    account = story.keys[0].partition("-")[0]
    story.keys.append(f"{account}-{len(story.keys):058d}")
    story.emulator.settings = replace(story.emulator.settings, api_key=story.keys[-1])
    story.say("the account has another key")


async def pause(story: Story, stack: Stack) -> None:
    """Pause a machine with all its clocks between a restore's claim and its next request, while somebody else restores."""
    back = _declared(stack, "Restore")
    if back is None or _was_restored_lately(story):
        return
    sleeper = story.computer
    story.change_triggers(stack)
    stack.set_timeout(45 * MINUTE)
    story.say(f"the {sleeper.name} is to be paused for 30 min")

    def sleep() -> None:
        # The others' time goes on.
        sleeper.was_paused = True
        unanswered = [post for post in story.sent("create") if post.answered_at is None]
        story.on_their_way += unanswered
        _other_computer(story).ahead += 30 * MINUTE
        story.emulator.advance(10 * MINUTE)
        _restore_by_somebody(story, back)
        story.emulator.advance(20 * MINUTE)

    # What a Drill of the same run restores is another database, which nobody else overwrites.
    sleeper.after_claim[target_of(back.inputs)] = sleep
    await story.up(stack, Up(preview=False))
    sleeper.after_claim.clear()
    sleeper.was_paused = False


async def foreign(story: Story, stack: Stack) -> None:
    """Let somebody else take a snapshot by hand, which no request of ours can be confused with: all are long over."""
    story.emulator.settle()
    times = [post.at for post in story.emulator.journal if post.accepted]
    # a run that was killed may have entered one that never left
    attempts = [each for computer in story.computers for each in computer.attempts()]
    times += [parse_rfc3339(each["request"]["posted_at"]) for each in attempts]
    now = story.emulator.now()
    if all((now - at).total_seconds() > 3 * HOUR for at in times):
        story.emulator.add_snapshot(story.chance.choice(story.databases(stack)))
        story.say("somebody else takes a snapshot")
        # before the service's clock is known, an older one may match a POST
        await asyncio.sleep(MINUTE + 1)


async def foreign_restore(story: Story, stack: Stack) -> None:
    """Let somebody else restore a database, clearly later than what we may have sent: the service does not say whose it shows.

    One from right before our next run fails: after a success ours waits.
    """
    back = _declared(stack, "Restore")
    if back is None or _was_restored_lately(story):
        return
    is_right_before = story.chance.random() < 0.5
    _restore_by_somebody(
        story, back, "RESTORE_INTERRUPTED" if is_right_before else None
    )
    await asyncio.sleep(1.0 if is_right_before else APART)


def _restore_by_somebody(
    story: Story, back: Declared, error: str | None = None
) -> None:
    """Let somebody else restore now what a Restore does, unless the service refuses that; with an error it fails."""
    story.emulator.settle()
    target = story.emulator.databases[target_of(back.inputs)]
    planned = target.next_restore_error, target.next_restore_leaves_down
    target.next_restore_error = error
    target.next_restore_leaves_down = False
    stored = story.emulator.account.version(back.inputs["version_id"])
    now = story.emulator.now()
    if stored is not None:
        with suppress(RefusedError):
            story.emulator.start_unobserved(target, stored.name, stored.version_id, now)
            story.foreign_restores.append((target.id, now))
            story.say(
                f"somebody else restores, {'which fails' if error else 'and succeeds'}"
            )
    target.next_restore_error, target.next_restore_leaves_down = planned


def _was_restored_lately(story: Story) -> bool:
    """Whether we have restored just now, or may have: a run that was killed knows its claim only."""
    times = [post.at for post in story.sent("restore")]
    times += [
        parse_rfc3339(each["request"]["posted_at"])
        for computer in story.computers
        for each in computer.attempts()
        if each["kind"] == "restore"
    ]
    now = story.emulator.now()
    return any((now - at).total_seconds() < APART for at in times)


async def wait(story: Story, _stack: Stack) -> None:
    """Let time pass."""
    seconds = story.chance.choice([30.0, 200.0, 20 * MINUTE, HOUR, 3 * HOUR, DAY])
    story.say(f"{timedelta(seconds=seconds)} pass")
    await asyncio.sleep(seconds)


MOVES = {
    draw_up: 45,
    other_triggers: 4,
    fill_disk: 3,
    kill_at_claim: 3,
    both: 8,
    preview: 6,
    refresh: 8,
    destroy: 6,
    create: 8,
    create_again: 3,
    restore: 5,
    guard: 6,
    taint: 5,
    forget: 5,
    rename: 5,
    rename_stack: 4,
    import_checkpoint: 6,
    set_back: 3,
    switch_way: 5,
    move: 6,
    step_clock: 5,
    rotate: 4,
    pause: 3,
    foreign: 6,
    foreign_restore: 6,
    wait: 14,
}
"""How often each move is drawn, beside the others."""
