"""Random stories of several runs: what a user does to a stack, what happens to the runs, and what must be true afterwards.

A seed gives one story. `Story.told` is its text, step by step.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from unittest import mock

from pulumi_snapshots.cli.terminal.child import ChildCommand
from pulumi_snapshots.clock import parse_rfc3339
from squarecloud_emulator import Fault, JournalEntry
from squarecloud_emulator.service.resources import Restore
from tests.simulation import moves
from tests.simulation.books import SLACK, Books, Want
from tests.simulation.commands import OWN_OPTIONS, Command, with_options
from tests.simulation.faults import NEW_CODES
from tests.simulation.guarded import GuardedRun
from tests.simulation.hints import hints_in
from tests.simulation.model_engine import (
    Declared,
    Engine,
    Held,
    RunEndedError,
    Stack,
    copied,
)
from tests.simulation.scenery import (
    PROOF,
    ObservedEmulator,
    Programs,
    Scratch,
    draw_computers,
    draw_roles,
    draw_service,
)
from tests.simulation.up import AT_THE_CLAIM, Up
from tests.simulation.ways_out import (
    OTHER_TRIGGERS,
    Taken,
    is_shown,
    take,
    use_other_triggers,
)
from tests.support.inside import run_inside
from tests.support.world import START

MINUTE = 60.0
HOUR = 3600.0
DISK_FULL = "the disk is full"


Checkpoint = tuple[Stack, list[Held], int, dict[str, Want | None]]
"""Of the backend's history: a stack, its state and its program's release then, and what the books had of it."""


def is_refused(errors: list[str]) -> bool:
    """Whether other triggers help, and not `--replace`: of another name, or the plugin does not see what the other way's read shows."""
    return any(
        "under another name" in each or "for this very resource" in each
        for each in errors
    )


class Story:
    """One story, and what its moves and checks share. `invariants` names what is checked beside what always is."""

    def __init__(self, seed: int, invariants: Collection[str] = ()) -> None:
        self.chance = random.Random(f"story {seed}")
        self.seed = seed
        self.invariants = invariants
        self.told: list[str] = []
        self.books = Books(self)
        self.taken: list[Taken] = []  # the ways out that the last runs have named
        # of somebody else: the database, and when by the service's clock
        self.foreign_restores: list[tuple[str, datetime]] = []
        self.types_restores = False
        # when a guarded command has last changed a database, by a ledger's name and the database
        self.changed_at: dict[tuple[str, str], datetime] = {}
        # the snapshots' POSTs that the service had not answered when a machine was paused: here their
        # answers are dated after the pause, so their snapshots look older, and may be taken again
        self.on_their_way: list[JournalEntry] = []
        self.checkpoints: list[Checkpoint] = []

    # Scenery --------------------------------------------------------------------------------------

    def _begin(self) -> None:
        chance = self.chance
        self._loop = asyncio.get_running_loop()
        self.service = draw_service(chance)
        self.emulator = ObservedEmulator(self.service)
        self.computers = draw_computers(chance, self.emulator)
        self.computer = self.computers[0]
        self.roles = draw_roles(chance, self.service)
        self.upstream = chance.random() < 0.6
        # whether the snapshot is a trigger of the restore
        follows = chance.random() < 0.5
        self.programs = Programs(self.emulator, self.roles, self.upstream, follows)
        self.keys = [self.emulator.settings.api_key]
        names = ["dev", "prod"] if chance.random() < 0.35 else ["dev"]
        self.stacks = [
            Stack(name, way=chance.choice(["dynamic", "plugin"])) for name in names
        ]
        # whether both are about the same databases
        self.common = len(names) > 1 and chance.random() < 0.5
        for stack in self.stacks:
            self.programs.write(stack, self.stacks[0].program if self.common else [])
        self._say_scenery(names)

    def _say_scenery(self, names: list[str]) -> None:
        parts = [
            " and ".join(self.roles),
            f"by the {self.stacks[0].way} way",
            self.computer.place.is_shared and "with shared state",
            any(self.computer.place.delay) and "slow",
            self.common and "of the same databases",
        ]
        about = ", ".join(each for each in parts if each)
        self.say(f"{' and '.join(names)}: {about}; service: {self.service}")

    @property
    def has_drill(self) -> bool:
        """Whether the programs have a Drill, which only other triggers drill again."""
        return PROOF in self.roles

    @property
    def somebody_restored(self) -> bool:
        """Whether a database was restored by others than a stack's own runs."""
        return self.types_restores or bool(self.foreign_restores)

    @property
    def now(self) -> float:
        """Seconds since the story began."""
        return self._loop.time()

    def say(self, what: str) -> None:
        """Add a line to the text of the story."""
        at = START + timedelta(seconds=self.now)
        self.told.append(f"{at:%d %H:%M:%S}  {what}")

    def fail(self, invariant: str, broken: str) -> None:
        """Fail by an invariant, if it is on; otherwise the story only says what was broken."""
        self.say(f"   BROKEN ({invariant}): {broken}")
        assert invariant not in self.invariants, f"{invariant}: {broken}"

    def later(
        self, seconds: float, work: Any, *args: Any, **options: Any
    ) -> asyncio.TimerHandle:
        """Call something after so many seconds."""
        return self._loop.call_later(seconds, partial(work, *args, **options))

    def sent(self, kind: str) -> list[JournalEntry]:
        """The requests of a kind, as the emulator's journal has them."""
        return [entry for entry in self.emulator.journal if entry.kind == kind]

    def posts_since(self, number: int) -> list[JournalEntry]:
        """What the service has accepted since its journal had so many entries."""
        return [entry for entry in self.emulator.journal[number:] if entry.accepted]

    def restore_of(self, post: JournalEntry) -> Restore | None:
        """What a POST has started."""
        of = post.database_id
        accepted = [
            one
            for one in self.sent("restore")
            if one.accepted and one.database_id == of
        ]
        started = [
            restore for target, restore in self.emulator.restores if target == of
        ]
        place = accepted.index(post) if post in accepted else len(started)
        return started[place] if place < len(started) else None

    @staticmethod
    def databases(stack: Stack) -> list[str]:
        """The databases whose snapshots a program is about."""
        return [one.inputs["database_id"] for one in stack.declared()]

    # The play -------------------------------------------------------------------------------------

    async def play(self) -> None:
        """Play it."""
        self._begin()
        with mock.patch(
            "pulumi_snapshots.drill.drill.Database", partial(Scratch, self)
        ):
            await self.up(self.stacks[0], Up())
            for _ in range(self.chance.randint(3, 9)):
                await self._step()
            await self._end()

    async def _step(self) -> None:
        stack = self.chance.choice(self.stacks)
        (move,) = self.chance.choices(list(moves.MOVES), list(moves.MOVES.values()))
        if move is not moves.wait:
            self.taken = []
        await move(self, stack)
        if self.taken and self.chance.random() < 0.4:
            await take(self, self.chance.choice(self.taken))

    # A run of the engine --------------------------------------------------------------------------

    async def up(self, stack: Stack, up: Up) -> list[str]:
        """One `pulumi up`; returns its errors."""
        self.say(f"`up` of {stack.name} on the {self.computer.name}, {stack.way}{up}")
        named = [one for one in stack.program if up.replace and one.role == up.replace]
        replace = tuple(stack.urn(one.kind, one.name) for one in named)
        untold = {
            one.name for one in named if not (up.refresh and is_shown(stack, one))
        }
        saves = 0 if up.at_end and up.saves is not None else up.saves
        engine = self.engine(stack, replace=replace, saves=saves, at_end=up.at_end)
        self.add_faults(up.post_fault, up.read_fault)
        self._arm(stack, up)
        began = self.emulator.now()

        async def run() -> None:
            if up.preview:
                await engine.preview()
            if not engine.errors:
                await engine.update(refresh=up.refresh)

        with self.in_trouble(up.trouble):
            await self.run(engine, run(), up.cut)
            self._disarm(up)
        if up.is_plain and not engine.errors:
            self._check_replaced(engine, named, began, untold)
        self._keep_checkpoint(stack)
        return engine.errors

    def _arm(self, stack: Stack, up: Up) -> None:
        """Prepare what happens during a run."""
        self.computer.naps = [up.nap] if up.nap else []
        if up.fills_up:
            self.computer.before_post.append(self._fill_disk)
        # The daily automatic snapshot comes at the worst time; an old entry does not say that it is one.
        if up.automatic is not None and not self.emulator.settings.old_style_entries:
            for database_id in self.databases(stack):
                take_one = self.emulator.add_snapshot
                self.later(up.automatic, take_one, database_id, origin="automatic")

    async def _fill_disk(self) -> None:
        self.computer.place.refuses_writes = DISK_FULL

    def _disarm(self, up: Up) -> None:
        self.computer.before_post.clear()
        if up.fills_up:
            self.computer.place.refuses_writes = ""

    def engine(self, stack: Stack, *, key: bool = True, **run: Any) -> Engine:
        """An engine for one command, on the present machine."""
        return Engine(
            stack, self.computer, self._config(key=key), books=self.books, **run
        )

    def _config(self, *, key: bool = True) -> dict[str, str]:
        config = {
            "squarecloud:apiUrl": self.emulator.api_url,
            "squarecloud:snapshotsUrl": self.emulator.snapshots_url,
        }
        return config | (
            {"squarecloud:apiKey": self.emulator.settings.api_key} if key else {}
        )

    @contextmanager
    def in_trouble(self, trouble: tuple[str, float, float] | None) -> Iterator[None]:
        """Let the ledger's place refuse something for a while."""
        if trouble is None:
            yield
            return
        what, begins, lasts = trouble
        refuse = partial(setattr, self.computer.place, f"refuses_{what}")
        timers = [
            self.later(begins, refuse, DISK_FULL),
            self.later(begins + lasts, refuse, ""),
        ]
        if not begins:
            refuse(DISK_FULL)
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()
            refuse("")

    def add_faults(
        self,
        post_fault: dict[str, Any] | None = None,
        read_fault: dict[str, Any] | None = None,
    ) -> None:
        """Let the service answer with these faults, and no others."""
        self.emulator.clear_faults()
        posts = ("restore",) if post_fault in NEW_CODES else ("create", "restore")
        reads = ("list", "list account", "status", "restore status")
        for kinds, fault in ((posts, post_fault), (reads, read_fault)):
            if fault:
                for kind in kinds:
                    self.emulator.add_fault(Fault(kind=kind, **fault))

    async def run(
        self, engine: Engine, work: Any, cut: tuple[str, float] | None = None
    ) -> None:
        """Let an engine work, unless that is cut, and check what there is afterwards."""
        task = asyncio.ensure_future(work)
        if cut is not None:
            await self._wait_for_cut(task, cut)
        if cut is not None and not task.done():
            if cut[0] != "^C":
                engine.kill()
                task.cancel()
                with suppress(asyncio.CancelledError, RunEndedError):
                    await task
                self.say("   killed")
                self.check()
                return
            engine.cancel()
        await task
        engine.end()
        self._say_end(engine)
        found = hints_in([*engine.errors, *engine.warnings])
        self.taken += [Taken(hint, engine.stack, None) for hint in found]
        self.check()

    async def _wait_for_cut(
        self, task: asyncio.Task[None], cut: tuple[str, float]
    ) -> None:
        if cut[0] != AT_THE_CLAIM:
            await asyncio.wait([task], timeout=cut[1])
            return
        claimed = asyncio.Event()

        async def stop() -> None:
            claimed.set()
            await asyncio.Event().wait()

        self.computer.before_post.append(stop)
        claim = asyncio.ensure_future(claimed.wait())
        await asyncio.wait([task, claim], return_when=asyncio.FIRST_COMPLETED)
        claim.cancel()
        self.computer.before_post.clear()

    def _say_end(self, engine: Engine) -> None:
        for error in engine.errors:
            self.say(f"   error: {' / '.join(error.splitlines())}")
        for warning in engine.warnings:
            self.say(f"   warning: {' / '.join(warning.splitlines())}")
        for held in engine.stack.state:
            if held.kind != "Upstream":
                marks = ("unfinished", "gone", "replaced", "tainted")
                about = " ".join(name for name in marks if getattr(held, name))
                self.say(f"   in the state: {held.name} {held.id} {about}".rstrip())

    def _keep_checkpoint(self, stack: Stack) -> None:
        """Remember what the backend's history has, and what it was in the books."""
        saved = {role: self.books.page(stack, role).saved for role in self.roles}
        self.checkpoints.append((stack, copied(stack.state), stack.release, saved))

    # A command of the command line ----------------------------------------------------------------

    async def command(
        self,
        *arguments: str,
        cut: tuple[str, float] | None = None,
    ) -> Command:
        """Type a command, and check what it prints."""
        computer = self.computer
        settings = {
            "SQUARECLOUD_API_KEY": self.emulator.settings.api_key,
            "SQUARECLOUD_API_URL": self.emulator.api_url,
            "SQUARECLOUD_SNAPSHOTS_URL": self.emulator.snapshots_url,
        }
        guarded = None
        typed_options = [each for each in OWN_OPTIONS if each not in arguments]
        if arguments[0] == "guard":
            typed_options = []  # it has no result of its own
            guarded = GuardedRun(self, computer, arguments)
        command = Command(
            computer,
            settings,
            with_options(arguments, *typed_options),
            child=guarded.change if guarded else ChildCommand(),
        )
        ends = "; {} after {:.0f} s".format(*cut) if cut else ""
        self.say(f"`{command.typed}` on the {computer.name}{ends}")
        if arguments[0] == "restore":
            self.types_restores = True
        typed = self.emulator.now()
        await (command.run_until(*cut) if cut else command.run())
        for line in command.err.getvalue().splitlines():
            self.say(f"   {line}")
        version = None if guarded else command.record.get("version_id")
        self.say(
            "   killed"
            if command.code is None
            else f"   exit {command.code}: {version}"
        )
        found = hints_in([command.err.getvalue()])
        self.taken += [Taken(hint, None, command) for hint in found]
        if guarded is not None:
            guarded.check_end(command)
        elif command.code == 0:
            self._check_command(command, typed)
        self.check()
        return command

    def _check_command(self, command: Command, typed: datetime) -> None:
        """Check that what a command has printed is new, or as old as it may be."""
        reuse = "--reuse-within" in command.arguments
        allowed = timedelta(seconds=(HOUR if reuse else 0) + SLACK)
        if command.arguments[0] == "restore":
            # one of the same command is resumed within its time-out
            allowed += timedelta(hours=1)
        if command.record.get("requested_at") is None:
            return
        requested = parse_rfc3339(command.record["requested_at"])
        if requested < typed - allowed:
            age = (typed - requested).total_seconds()
            printed = f"{command.typed} hands out what was requested at {requested:%d %H:%M:%S}"
            self.fail("as new", f"{printed}, {age:.0f} s before it was typed")

    # What must be true ----------------------------------------------------------------------------

    def _check_replaced(
        self, engine: Engine, named: list[Declared], began: datetime, untold: set[str]
    ) -> None:
        """Check that what `--replace` names is new, or that a warning says what does it.

        A provider is not told of `--replace` without `--refresh`, nor if no refresh reads the resource:
        `untold` has the names of those. Nor is it told of what was deleted with something upstream.
        """
        told = hints_in(engine.warnings)
        is_told = bool(told)
        # what is used was itself asked for by `--replace`, by a run that was not saved
        names_triggers = any(each.kind == "triggers" for each in told)
        notes = hints_in(engine.notes)
        for declared in named:
            if names_triggers or (is_told and declared.name in untold):
                continue
            urn = engine.stack.urn(declared.kind, declared.name)
            if declared.name in engine.cascaded and urn in {
                each.subject for each in notes
            }:
                continue
            held = engine.stack.find(declared.name)
            if held is None or held.kind == "Drill" or "requested_at" not in held.plain:
                continue
            requested = parse_rfc3339(held.plain["requested_at"])
            age = (began - requested).total_seconds()
            if age > SLACK:
                what = f"--replace of {declared.name}"
                self.fail(
                    "as new", f"{what} hands out what was requested {age:.0f} s before"
                )

    def check(self) -> None:
        """Check what is true after each run."""
        self.books.check_posts()
        unwritten = [each for computer in self.computers for each in computer.unwritten]
        assert not unwritten, f"sent before it was written down: {unwritten}"
        self._check_paused()
        journal = self.emulator.journal
        limited = [
            entry
            for entry in journal
            if entry.code == "RATE_LIMITED" and not entry.fault
        ]
        assert not limited, (
            f"more requests than the account may send: {limited[0].at:%d %H:%M:%S}"
        )
        # The time is asked for without one.
        assert {entry.key for entry in journal} <= {"right", "none"}, (
            "a request had another key"
        )
        self._check_secrets()

    @property
    def tells_restores(self) -> bool:
        """Whether the service says how a restore stands; nothing else tells a failure from a success, or of somebody's restore."""
        return bool(self.service["restore_status_route"] == "there")

    def _check_paused(self) -> None:
        """Check that no machine has woken and restored over what was restored meanwhile."""
        for computer in self.computers:
            for database_id, claimed, left in (
                computer.sent_after_pause if self.tells_restores else []
            ):
                others = [
                    f"{at:%d %H:%M:%S}"
                    for restored, at in self.foreign_restores
                    if restored == database_id and claimed < at < left
                ]
                if others:
                    paused = (
                        f"the {computer.name} was paused from {claimed:%d %H:%M:%S} on"
                    )
                    self.fail("paused", f"{paused}, and restores over {others}")
            computer.sent_after_pause.clear()

    def _check_secrets(self) -> None:
        states = [held.outputs for stack in self.stacks for held in stack.state]
        ledgers = [computer.place.data for computer in self.computers]
        shown = repr([*self.told[-20:], states, ledgers])
        assert not any(key in shown for key in self.keys), (
            "the key is in a state, a ledger or a message"
        )

    # The end --------------------------------------------------------------------------------------

    async def calm(self, stack: Stack | None, limit: float = 45 * MINUTE) -> None:
        """Let nothing go wrong from here on, and wait until the service answers again."""
        self.emulator.clear_faults()
        for database in self.emulator.databases.values():
            database.next_restore_error = None
            database.next_snapshot_fails = False
            database.next_restore_leaves_down = False
        for each in self.stacks if stack is None else [stack]:
            each.set_timeout(limit)
        blocks = [entry.at for entry in self.sent_blocked()]
        # A process that does not know the service's time yet takes a block to last as much longer as the clocks differ.
        lasts = HOUR + abs(self.service["clock_offset_seconds"])
        if blocks and (self.emulator.now() - blocks[-1]).total_seconds() < lasts:
            await asyncio.sleep(lasts)

    def sent_blocked(self) -> list[JournalEntry]:
        """The requests that were refused because of the account's rate limit."""
        return [
            entry for entry in self.emulator.journal if entry.code == "RATE_LIMITED"
        ]

    async def _end(self) -> None:
        """Without faults, everything is as the program says, by what the errors tell the user to do at most."""
        if self.chance.random() < 0.5:
            for stack in self.stacks:
                await use_other_triggers(self, stack, "other triggers", OTHER_TRIGGERS)
        self.say("from here on nothing goes wrong")
        for _, restore in self.emulator.restores:
            restore.leaves_down = False
        for database in self.emulator.databases.values():
            if not database.running:
                self.emulator.start_database(database.id)
        for stack in self.stacks:
            await self._end_of(stack)

    async def _end_of(self, stack: Stack) -> None:
        await self.calm(stack, 3 * HOUR)
        errors: list[str] = []
        for pause in (5 * MINUTE, 20 * MINUTE, 3 * HOUR, 10 * MINUTE):
            if not (errors := await self.up(stack, Up())):
                break
            await asyncio.sleep(pause)
        # An earlier `--replace` whose end is not known either is given up first.
        for _ in range(2):
            if errors:
                errors = await self._give_up(stack, errors)
        assert not errors, f"the stack has no way out: {errors}"
        await moves.preview(self, stack)
        await moves.refresh(self, stack)
        await self._changes(stack)
        self.say(f"`destroy` of {stack.name}")
        engine = self.engine(stack)
        await self.run(engine, engine.destroy())
        assert not stack.state, "a destroy leaves something"

    async def _changes(self, stack: Stack) -> None:
        """Without faults, what the user asks for happens at once, and once."""
        await self.calm(stack, 3 * HOUR)
        self.change_triggers(stack)
        await self._acts(stack, Up(), self.roles)
        for role in self.roles:
            # Without `--refresh`, what a run has just made looks as if no state had it.
            await self._acts(stack, Up(replace=role, refresh=True), (role,))

    def change_triggers(self, stack: Stack) -> None:
        """Let a program have triggers that it never had."""
        stack.release = stack.highest = stack.highest + 1
        self.programs.set_triggers(stack)
        self.say(
            f"the program of {stack.name} has release v{stack.release} in its triggers"
        )

    async def _acts(self, stack: Stack, up: Up, roles: tuple[str, ...]) -> None:
        sent = len(self.emulator.journal)
        errors = await self.up(stack, up)
        if self.common and any("under another name" in error for error in errors):
            return  # another stack's, which no call has shown yet
        assert not errors, f"it fails without a reason: {errors}"
        posts = [entry.kind for entry in self.posts_since(sent)]
        assert len(posts) >= len(roles), f"of {roles} only {posts} act"

    async def _give_up(self, stack: Stack, errors: list[str]) -> list[str]:
        """Do what the errors offer: another one, by `--replace` or by other triggers; returns what fails still."""
        for role in self.roles:
            if self._is_unfinished(stack, role) and not is_refused(errors):
                errors = await self.up(stack, Up(replace=role))
            if not self._is_unfinished(stack, role) or is_refused(errors):
                self.change_triggers(stack)
                errors = await self.up(stack, Up())
        if errors:
            await asyncio.sleep(3 * HOUR)
            errors = await self.up(stack, Up())
        return errors

    @staticmethod
    def _is_unfinished(stack: Stack, role: str) -> bool:
        return any(
            one.unfinished
            for one in stack.state
            if one.role == role and not one.replaced
        )


def played(seed: int, invariants: Collection[str] = ()) -> Story:
    """Play a story; raises an error, and prints how it came to that."""
    story = Story(seed, invariants)
    try:
        run_inside(story.play)
    except BaseException:
        print(  # noqa: T201
            f"replay: STORY={seed} python -m pytest -s tests/simulation/test_stories.py"
        )
        print("\n".join(story.told))  # noqa: T201
        raise
    return story
