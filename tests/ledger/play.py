"""Plays stories of several runs, told as lines of moves, at an emulated service in virtual time."""

import ast
import math
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from pulumi_snapshots.ledger.place import ATTEMPTS, Document
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.calls import EngineCall, ResourceNotFinished
from pulumi_snapshots.run.memory import PENDING, id_at
from pulumi_snapshots.snapshot.difference import SnapshotRules
from tests.cli.typed import Desk, Ended
from tests.support.clocks import Shifted
from tests.support.engine_calls import Machine, Stack
from tests.support.failing import flat
from tests.support.memory import Memory, Mortal
from tests.support.restoring import RESTORER, Scene, scene
from tests.support.world import DATABASE, OWNER, World

T = TypeVar("T")
UNSAVED = "by an earlier run that may not have saved its state"


def of(here: World) -> Stack:
    return Stack(SnapshotRules(), Machine(here), OWNER)


def back(at: Scene) -> Stack:
    return Stack(RestoreRules(), Machine(at.here), RESTORER)


def given(at: Scene, **changes: Any) -> dict[str, Any]:
    stored = at.stored
    usual = {
        "version_id": stored.version_id,
        "name": stored.name,
        "runtime": stored.runtime,
        "overwrite": True,
    }
    return {"database_id": DATABASE, **usual, **changes}


def accepted(here: World) -> list[str | None]:
    return [post.version_id for post in here.posts if post.accepted]


# The words of a move ---------------------------------------------------------------------------------------------------


def facts_in(words: list[str]) -> dict[str, Any]:
    """What `name=value` says, with numbers and the like as such."""

    def read(value: str) -> Any:
        try:
            return ast.literal_eval(value)
        except ValueError:
            return value

    return {
        name: read(value) for name, _, value in (each.partition("=") for each in words)
    }


@dataclass(frozen=True)
class How:
    """What a story says of one run: its triggers and inputs, what happens meanwhile, and how it ends."""

    words: list[str]
    text: str  # what the run says, in parts between `&`; empty for a run without a warning

    TIMES = ("killed", "lost", "unwritable", "within")
    FLAGS = ("replace", "trigger", "cascade", "first", "late", "refresh")
    """The words that name seconds since the beginning of the run."""

    @property
    def _pairs(self) -> dict[str, str]:
        return dict(each.split("=") for each in self.words if "=" in each)

    @property
    def seconds(self) -> dict[str, float]:
        """When something happens to the run, by the words in `TIMES`."""
        return {
            name: float(value)
            for name, value in self._pairs.items()
            if name in self.TIMES
        }

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs that the words give."""
        inputs: dict[str, Any] = {
            name: value for name, value in self._pairs.items() if name not in self.TIMES
        }
        triggers = [
            each for each in self.words if each.startswith("v") and "=" not in each
        ]
        return inputs | ({"triggers": triggers} if triggers else {})

    @property
    def engine(self) -> dict[str, Any]:
        """What the engine does otherwise than usual, as `Stack.up` takes it."""
        chosen: dict[str, Any] = {
            each: True for each in self.FLAGS if each in self.words
        }
        if "apart" in self.words:
            chosen["cascade"] = "apart"
        return chosen | {"saves": not {"unsaved", "late"} & set(self.words)}

    def with_text(self, text: str) -> Self:
        """The same run, which says this."""
        return replace(self, text=text)


class Freezing(Mortal):
    """The ledger as a process has it whose machine stands still once the process has claimed a request."""

    def __init__(self, place: Memory) -> None:
        super().__init__(place)
        self.frozen_at: float | None = None  # None before and after that
        self.frozen = anyio.Event()
        self.woken = anyio.Event()

    async def edit(self, change: Callable[[Document], T]) -> T:
        known = (await self.read()).get(ATTEMPTS, {}).keys()
        result = await super().edit(change)
        claimed = (await self.read()).get(ATTEMPTS, {}).keys() - known
        if claimed and not self.frozen.is_set():
            self.frozen_at = anyio.current_time()
            self.frozen.set()
            # No deadline passes on a machine that stands still.
            with anyio.CancelScope(shield=True):
                await self.woken.wait()
        return result


Act = Callable[..., Awaitable[None]]
MOVES: list[tuple[list[str], Act]] = []
"""The moves that stories know, each with what plays it; the first that fits counts."""


def plays(pattern: str) -> Callable[[Act], Act]:
    """Let a method play the moves of a pattern.

    A word in capitals of the pattern is any word, and `...` are all that follow. The method gets those, and as `text` what
    follows a colon.
    """

    def register(act: Act) -> Act:
        MOVES.append((pattern.split(), act))
        return act

    return register


def fitting(pattern: list[str], words: list[str]) -> list[Any] | None:
    """The words for which a pattern leaves room; None if the words do not fit."""
    has_rest = pattern[-1] == "..."
    fixed = pattern[:-1] if has_rest else pattern
    is_long_enough = len(words) >= len(fixed) if has_rest else len(words) == len(fixed)
    if not is_long_enough:
        return None
    taken: list[Any] = []
    for expected, word in zip(fixed, words, strict=False):
        if expected.isupper():
            taken.append(word)
        elif expected != word:
            return None
    return [*taken, words[len(fixed) :]] if has_rest else taken


# The stage -------------------------------------------------------------------------------------------------------------


class Play:
    """A story's stacks and machines.

    `S` is a Snapshot and `R` a Restore; `S.name` another one of its stack, `S@stack` the same one of another stack. Each `up`
    is a new process on one machine, with its triggers first, and ends well and without a warning unless `pending`, `refused` or
    `killed` follows, or after a colon what it says, in parts between `&`; `theirs` are the snapshots that somebody has taken.
    One that ends `anyhow` may end well or not, and what it says may be a warning or an error.
    One that is `continued` ends well, and says in one line that an earlier run has requested what it has, and what that is.
    A `late` one is killed before an engine saves that saves at the end only, as with `PULUMI_SKIP_CHECKPOINTS`.
    `within` is the most seconds that it may take. After the seconds of `lost` the machine's ledger vanishes, after those of
    `unwritable` it refuses writes.
    `types` is a command line on that machine, with DATABASE, SNAPSHOT and THEIRS for ids; `fails types` is one that fails.
    """

    def __init__(self, at: Scene, background: TaskGroup, folder: Path) -> None:
        self.at = at
        self.machine = self.new_machine()
        self.stacks: dict[str, Stack] = {}
        self.kept: dict[str, tuple[str, dict[str, Any]]] = {}
        self.theirs: list[str] = []
        self.desk = self._new_desk(folder)
        self.typed: Ended | None = None  # how the last command ended
        self._background = background
        # Runs that go on while the story does: how each is to end, and whether it has.
        self._started: dict[str, tuple[How, anyio.Event, anyio.CancelScope]] = {}

    def _new_desk(self, folder: Path) -> Desk:
        """Where commands are typed on the first machine; stacks use the service at the same address."""
        here = self.at.here
        desk = Desk(here, folder, place=lambda: Mortal(self.machine.memory))
        urls: dict[str, Any] = {
            "api_url": here.emulator.api_url,
            "snapshots_url": here.emulator.snapshots_url,
        }
        here.session.settings = replace(here.session.settings, **urls)
        return desk

    def stack(self, who: str) -> Stack:
        if who not in self.stacks:
            resource, _, stack = who.partition("@")
            kind, _, name = resource.partition(".")
            urn = (OWNER if kind == "S" else RESTORER).replace(
                ":dev:", f":{stack or 'dev'}:"
            )
            urn = f"{urn.rpartition('::')[0]}::{name}" if name else urn
            rules = SnapshotRules() if kind == "S" else RestoreRules()
            self.stacks[who] = Stack(rules, self.machine, urn)
        return self.stacks[who]

    def end(self) -> None:
        """End the runs that go on still, also those that are frozen."""
        self._background.cancel_scope.cancel()
        for stack in self.stacks.values():
            place: object = stack.machine.memory
            if isinstance(place, Freezing):
                place.killed = True
                place.woken.set()

    def new_machine(
        self, *, place: Memory | None = None, api_key: str | None = None
    ) -> Machine:
        return Machine(self.at.here, place, Shifted(self.at.here.clock), api_key)

    async def move(self, line: str) -> None:
        """Play one move; what fails says which move that was, and what was sent by then."""
        with self.noted(line):
            words, _, text = line.partition(": ")
            for pattern, act in MOVES:
                taken = fitting(pattern, words.split())
                if taken is not None:
                    await act(self, *taken, **({"text": text} if text else {}))
                    return
            raise AssertionError(f"no story knows the move {line!r}")

    @contextmanager
    def noted(self, line: str) -> Iterator[None]:
        """Add to an error of the body in which move it came."""
        try:
            yield
        except Exception as error:
            kinds = {"snapshots": self.at.here.posts, "restores": self.at.posts}
            sent = ", ".join(f"{len(posts)} {kind}" for kind, posts in kinds.items())
            error.add_note(
                f"in the move {line!r}, after {self.at.elapsed:.0f} s; sent: {sent}"
            )
            raise

    # Time, rows, and what others do ------------------------------------------------------------------------------------

    @plays("wait SECONDS")
    async def wait(self, seconds: str) -> None:
        await anyio.sleep(float(seconds))

    @plays("it is over SECONDS")
    async def is_over(self, seconds: str) -> None:
        assert self.at.elapsed > float(seconds)

    @plays("rows change")
    async def rows_change(self) -> None:
        self.at.writes("later")

    @plays("rows STATE")
    async def rows_are(self, state: str) -> None:
        assert self.at.holds() == state

    @plays("somebody takes ...")
    async def somebody_takes(self, minutes: list[str]) -> None:
        here = self.at.here
        began = here.posts[0].at if minutes and here.posts else here.emulator.now()
        at = began + timedelta(minutes=sum(map(float, minutes)))
        self.theirs.append(here.emulator.add_snapshot(DATABASE, modified=at).version_id)

    @plays("somebody restores")
    async def somebody_restores(self) -> None:
        await self.at.somebody_restores(self.at.stored)

    @plays("somebody restores STATE")
    async def somebody_restores_rows(self, state: str) -> None:
        """Somebody restores a snapshot whose rows say this."""
        before = self.at.holds()
        self.at.writes(state)
        stored = self.at.here.emulator.add_snapshot(DATABASE)
        self.at.writes(before)
        await self.at.somebody_restores(stored)

    # The service -------------------------------------------------------------------------------------------------------

    @plays("the next restore fails CODE")
    async def next_restore_fails(self, code: str) -> None:
        self.at.here.emulator.databases[DATABASE].next_restore_error = code

    @plays("the next fails")
    async def next_snapshot_fails(self) -> None:
        self.at.here.emulator.fail_next_snapshot(DATABASE)

    @plays("the next restore leaves the database down")
    async def next_restore_leaves_down(self) -> None:
        self.at.here.emulator.databases[DATABASE].next_restore_leaves_down = True

    @plays("the database comes up")
    async def database_comes_up(self) -> None:
        self.at.here.emulator.start_database(DATABASE)

    @plays("the listings freeze")
    async def listings_freeze(self) -> None:
        """Another client lists now, so that a service that keeps its pages shows them for 30 minutes."""
        await self.at.here.freeze_listings()

    @plays("fault KIND ...")
    async def fault(self, kind: str, effects: list[str]) -> None:
        self.at.here.fault(kind=kind.replace("_", " "), **facts_in(effects))

    @plays("mend")
    async def mend(self) -> None:
        self.at.here.emulator.clear_faults()

    @plays("accepted NUMBER")
    async def accepted(self, number: str) -> None:
        count = len(accepted(self.at.here)) + len(self.at.accepted)
        assert count == int(number)

    @plays("sent NUMBER")
    async def sent(self, number: str) -> None:
        count = len(self.at.here.posts) + len(self.at.posts)
        assert count == int(number)

    # The ledger, the key, and machines ---------------------------------------------------------------------------------

    @plays("the ledger fails")
    async def ledger_fails(self) -> None:
        self.machine.memory.refuses_reads = "SlowDown"

    @plays("the ledger refuses writes")
    async def ledger_refuses_writes(self) -> None:
        self.machine.memory.refuses_writes = "No space left on device"

    @plays("the ledger works")
    async def ledger_works(self) -> None:
        self.machine.memory.refuses_reads = ""
        self.machine.memory.refuses_writes = ""

    @plays("the key rotates")
    async def key_rotates(self) -> None:
        key = "rotated" * 9
        self.at.here.emulator.settings = replace(
            self.at.here.emulator.settings, api_key=key
        )
        for stack in self.stacks.values():
            stack.machine = self.new_machine(place=self.machine.place, api_key=key)

    @plays("WHO moves ...")
    async def moves(self, who: str, beside: list[str]) -> None:
        """Run on another machine from now on, which shares the ledger if it is `beside` the first."""
        stack = self.stack(who)
        stack.machine = self.new_machine(place=stack.machine.place if beside else None)

    @plays("WHO comes back")
    async def comes_back(self, who: str) -> None:
        self.stack(who).machine = self.machine

    @plays("WHO joins OTHER")
    async def joins(self, who: str, other: str) -> None:
        self.stack(who).machine = self.stack(other).machine

    @plays("WHO clock SECONDS")
    async def clock_is_ahead(self, who: str, seconds: str) -> None:
        self.clock_of(who).ahead = float(seconds)

    def clock_of(self, who: str) -> Shifted:
        """The clock of the machine on which a resource's runs are."""
        clock = self.stack(who).machine.clock
        assert isinstance(clock, Shifted)
        return clock

    @plays("WHO freezes at its claim")
    async def freezes(self, who: str) -> None:
        """Let a machine of its own, beside the first, stand still once it has claimed a request."""
        stack = self.stack(who)
        stack.machine = self.new_machine(place=self.machine.place)
        vars(stack.machine).update(memory=Freezing(self.machine.memory))

    @plays("WHO is frozen")
    async def is_frozen(self, who: str) -> None:
        await self._freezing(who).frozen.wait()

    @plays("WHO wakes CLOCKS")
    async def wakes(self, who: str, clocks: str) -> None:
        """Go on: `suspended` all clocks have counted, `paused` only the wall clock was set, `unset` none knows of the time."""
        place = self._freezing(who)
        clock = self.clock_of(who)
        assert place.frozen_at is not None
        missed = anyio.current_time() - place.frozen_at
        if clocks in {"paused", "unset"}:
            clock.paused += missed
        if clocks == "unset":
            clock.wall_lost += missed
        place.woken.set()

    def _freezing(self, who: str) -> Freezing:
        place: object = self.stack(who).machine.memory
        assert isinstance(place, Freezing)
        return place

    # The state ---------------------------------------------------------------------------------------------------------

    @plays("WHO keeps its checkpoint")
    async def keeps_checkpoint(self, who: str) -> None:
        self.kept[who] = self.stack(who).id, dict(self.stack(who).outputs)

    @plays("WHO imports it")
    async def imports_checkpoint(self, who: str) -> None:
        self.stack(who).id, self.stack(who).outputs = self.kept[who]

    @plays("WHO imports nothing")
    async def imports_nothing(self, who: str) -> None:
        """The state is one from before the resource; or the resource is removed from it, as with `pulumi state delete`."""
        self.stack(who).id = ""
        self.stack(who).outputs = {}

    @plays("WHO is renamed NAME with an alias")
    async def is_renamed_with_alias(self, who: str, name: str) -> None:
        stack = self.stack(who)
        stack.urn = f"{stack.urn.rpartition('::')[0]}::{name}"

    @plays("WHO becomes URN")
    async def becomes(self, who: str, urn: str) -> None:
        self.stack(who).urn = urn

    @plays("WHO is renamed NAME")
    async def is_renamed(self, who: str, name: str) -> None:
        """The program names it so, without an alias: the engine makes it anew, and deletes the old one at the end."""
        stack = self.stack(who)
        stack.id = ""
        stack.outputs = {}
        stack.urn = f"{stack.urn.rpartition('::')[0]}::{name}"

    @plays("WHO has theirs")
    async def has_theirs(self, who: str) -> None:
        assert self.stack(who).outputs["version_id"] == self.theirs[-1]

    @plays("WHO has the first")
    async def has_the_first(self, who: str) -> None:
        assert self.stack(who).outputs["requested_at"] == "2026-03-01T12:00:00Z"

    @plays("WHO has NUMBER")
    async def has(self, who: str, number: str) -> None:
        assert (
            self.stack(who).outputs["version_id"]
            == accepted(self.at.here)[int(number) - 1]
        )

    @plays("WHO shows ...")
    async def shows(self, who: str, words: list[str]) -> None:
        """One text of the row's progress has each of these, with `_` for a space."""
        parts = [each.replace("_", " ") for each in words]
        shown = self.stack(who).row.shown
        assert any(all(part in text for part in parts) for text in shown), shown

    @plays("WHO is undecided")
    async def is_undecided(self, who: str) -> None:
        assert getattr(
            getattr(self.stack(who).error, "error", None), "undecided", False
        )

    @plays("WHO is proved")
    async def is_proved(self, who: str) -> None:
        stack = self.stack(who)
        assert stack.shared is not None
        for each in await stack.session.ledger.attempts():
            assert each.saved or each.names & stack.shared.memory.seen

    # Runs --------------------------------------------------------------------------------------------------------------

    @plays("WHO preview ...")
    async def preview(self, who: str, triggers: list[str]) -> None:
        stack = self.stack(who)
        await stack.preview(**self.values(stack, How(triggers, "")))

    @plays("WHO refresh")
    async def refresh(self, who: str) -> None:
        self.stack(who).begin()
        await self.stack(who).read()

    @plays("WHO destroy")
    async def destroy(self, who: str) -> None:
        await self.stack(who).destroy()

    @plays("WHO destroy unwritten")
    async def destroy_unwritten(self, who: str) -> None:
        """A destroy that writes nothing into the ledger."""
        before = self.machine.memory.writes
        await self.stack(who).destroy()
        assert self.machine.memory.writes == before

    @plays("WHO up ...")
    async def up(self, who: str, words: list[str], text: str = "") -> None:
        stack = self.stack(who)
        how = How(words, text)
        seconds = how.seconds
        if "killed" in seconds:
            await self._killed(stack, how, seconds["killed"])
            return
        began = self.at.elapsed
        await self._run(stack, how)
        took = self.at.elapsed - began
        within = seconds.get("within", math.inf)
        assert took <= within
        self._check_end(stack, how)

    @plays("WHO starts up ...")
    async def starts(self, who: str, words: list[str]) -> None:
        """A run that goes on while the story does."""
        how = How(words, "")
        over = anyio.Event()
        process = anyio.CancelScope()

        async def run() -> None:
            with self.noted(f"{who} starts up"), process:
                await self._run(self.stack(who), how)
            over.set()

        self._started[who] = how, over, process
        self._background.start_soon(run)
        await anyio.lowlevel.checkpoint()

    @plays("WHO ends")
    async def ends(self, who: str, text: str = "") -> None:
        """The end of a run that was started."""
        how, over, _ = self._started.pop(who)
        await over.wait()
        self._check_end(self.stack(who), how.with_text(text))

    @plays("WHO is interrupted")
    async def is_interrupted(self, who: str) -> None:
        """Type ^C in a run that was started."""
        self.stack(who).session.stop()

    @plays("WHO is killed")
    async def is_killed(self, who: str) -> None:
        """Kill a run that was started, also one that is frozen, on a machine to which nobody comes back."""
        _, over, process = self._started.pop(who)
        place = self.stack(who).session.ledger.place
        vars(place).update(killed=True)
        process.cancel()
        if isinstance(place, Freezing):
            place.woken.set()
        await over.wait()
        self.stack(who).machine = self.machine

    def values(self, stack: Stack, how: How) -> dict[str, Any]:
        """The inputs of a resource in one run."""
        if stack.rules.kind == "restore":
            return given(self.at, **how.inputs)
        return {"database_id": DATABASE, **how.inputs}

    async def _run(self, stack: Stack, how: How) -> None:
        await self._meanwhile(how, stack.up(**how.engine, **self.values(stack, how)))

    async def _meanwhile(self, how: How, work: Awaitable[T]) -> T:
        """Let a run come to its end, and what the story says happen meanwhile."""
        happen = {
            "lost": lambda: vars(self.machine.memory).update(data=None),
            "unwritable": lambda: vars(self.machine.memory).update(
                refuses_writes="disk full"
            ),
        }
        for name, after in how.seconds.items():
            if name in happen:
                work = self.at.here.meanwhile(after, happen[name], work)
        return await work

    async def _killed(self, stack: Stack, how: How, after: float) -> None:
        async with anyio.create_task_group() as process:
            process.start_soon(
                partial(stack.up, **how.engine, **self.values(stack, how))
            )
            await anyio.sleep(after)
            vars(stack.session.ledger.place).update(killed=True)
            process.cancel_scope.cancel()

    def _check_end(self, stack: Stack, how: How) -> None:
        """Hold the end of a run against what the story says of it."""
        if "anyhow" in how.words:
            self._check_error(stack, how.text)
        elif "continued" in how.words:
            self._check_continued(stack)
        else:
            told = self._told_by(stack, how)
            assert how.text or not stack.row.warnings, told
            self._check_words(how.text, told)

    def _told_by(self, stack: Stack, how: How) -> str:
        """What a run says that has ended as the story has it."""
        if "refused" in how.words:
            assert stack.error is not None, "it was not refused"
            return flat(stack.row.wording.error_text(stack.error))
        told = "".join(stack.row.warnings)
        if "pending" in how.words:
            assert isinstance(stack.error, ResourceNotFinished), stack.row.shown
            self._check_provisional(stack)
            return told + flat(stack.row.wording.error_text(stack.error.error))
        assert stack.error is None, stack.row.wording.error_text(stack.error)
        return told

    def _check_words(self, text: str, told: str) -> None:
        """Each part of a text is told."""
        for part in filter(None, text.split(" & ")):
            wanted = self.theirs if part == "theirs" else [part]
            assert [each for each in wanted if each not in told] == [], told

    def _check_error(self, stack: Stack, text: str) -> None:
        """A run that may end well or not says this."""
        end = (
            stack.error.error
            if isinstance(stack.error, ResourceNotFinished)
            else stack.error
        )
        told = [*stack.row.notes, *stack.row.warnings]
        told += [flat(stack.row.wording.error_text(end))] if end else []
        self._check_words(text, "\n".join(told))

    @staticmethod
    def _check_provisional(stack: Stack) -> None:
        """The id of a pending snapshot names the time of its request."""
        moment = stack.outputs.get("requested_at")
        if stack.rules.kind == "snapshot" and moment is not None:
            assert stack.id == id_at(DATABASE, PENDING, moment)

    @staticmethod
    def _check_continued(stack: Stack) -> None:
        """A run has what an earlier one has requested, and one line that stays says so."""
        assert stack.error is None, stack.row.wording.error_text(stack.error)
        lines = [*stack.row.notes, *stack.row.warnings]
        version = stack.outputs["version_id"]
        assert sum("earlier run" in line and version in line for line in lines) == 1, (
            lines
        )

    # Calls of one process ----------------------------------------------------------------------------------------------

    @plays("WHO begins")
    async def begins(self, who: str) -> None:
        self.stack(who).begin()

    @plays("WHO begins with OTHER")
    async def begins_with(self, who: str, other: str) -> None:
        """In the process of another resource's run."""
        self.stack(who).begin()
        self.stack(who).shared = self.stack(other).shared

    @plays("WHO reads")
    async def reads(self, who: str) -> None:
        await self.stack(who).read()

    @plays("WHO compares")
    async def compares(self, who: str) -> None:
        stack = self.stack(who)
        await stack.check(self.values(stack, How([], "")), in_state=True)
        await stack.diff(self.values(stack, How([], "")))

    @plays("WHO deletes")
    async def deletes(self, who: str) -> None:
        await self._delete(self.stack(who), self.stack(who).call())

    @plays("WHO deletes keyless")
    async def deletes_keyless(self, who: str) -> None:
        stack = self.stack(who)
        call = stack.call()
        settings = replace(self.at.here.session.settings, api_key=None)
        await self._delete(
            stack, EngineCall(stack.urn, lambda: settings, call.shared, stack.row)
        )

    @staticmethod
    async def _delete(stack: Stack, call: EngineCall) -> None:
        await stack.rules.delete(call, stack.id, stack.outputs)
        stack.id = ""
        stack.outputs = {}

    # Commands ----------------------------------------------------------------------------------------------------------

    @plays("types ...")
    async def types(self, words: list[str], text: str = "") -> None:
        self.typed = await self._type(words)
        assert self.typed.code == 0, self.typed.err
        self._check_printed(text)

    @plays("fails types ...")
    async def fails_types(self, words: list[str], text: str = "") -> None:
        self.typed = await self._type(words)
        assert self.typed.code != 0, self.typed.out
        self._check_printed(text)

    @plays("anyhow types ...")
    async def types_anyhow(self, words: list[str]) -> None:
        """A command that may fail or not."""
        self.typed = await self._type(words)

    @plays("it does not print ...")
    async def does_not_print(self, words: list[str]) -> None:
        assert self.typed is not None
        assert " ".join(words) not in self.typed.out

    @plays("it prints NUMBER")
    async def prints(self, number: str) -> None:
        """The last command has printed the snapshot of this accepted request."""
        assert self.typed is not None
        assert str(accepted(self.at.here)[int(number) - 1]) in self.typed.out

    async def _type(self, words: list[str]) -> Ended:
        ids = {
            "DATABASE": DATABASE,
            "SNAPSHOT": f"{DATABASE}/{self.at.stored.version_id}",
        }
        if self.theirs:
            ids["THEIRS"] = f"{DATABASE}/{self.theirs[-1]}"
        how = How(words, "")
        began = self.at.elapsed
        typed = [
            ids.get(each, each)
            for each in words
            if each.partition("=")[0] not in how.seconds
        ]
        ended = await self._meanwhile(how, self.desk.types(*typed))
        took = self.at.elapsed - began
        within = how.seconds.get("within", math.inf)
        assert took <= within, ended.err
        return ended

    def _check_printed(self, text: str) -> None:
        assert self.typed is not None
        told = flat(self.typed.err)
        assert [each for each in text.split(" & ") if each not in told] == [], told


async def play(story: str) -> None:
    """Play the moves of a story; the first may be settings of the service."""
    async with on_stage(story):
        pass


@asynccontextmanager
async def on_stage(story: str) -> AsyncIterator[Play]:
    """Play the moves of a story, and let the body play more on the same stage."""
    moves = " ".join(story.split()).split("; ")
    options: dict[str, Any] = {"snapshot_seconds": 10, "cache_world": "invalidated"}
    if moves[0].startswith("service "):
        options |= facts_in(moves.pop(0).split()[1:])
    failure: Exception | None = None
    with tempfile.TemporaryDirectory() as folder:
        async with scene(**options) as at, anyio.create_task_group() as background:
            stage = Play(at, background, Path(folder))
            try:
                for each in filter(None, moves):
                    await stage.move(each)
                yield stage
            except Exception as error:  # noqa: BLE001  raised below, without the group around it
                failure = error
            stage.end()
    if failure is not None:
        raise failure


# Tables of stories -----------------------------------------------------------------------------------------------------


def params(stories: dict[str, str], *more: dict[str, dict[str, str]]) -> list[Any]:
    """The parameters of a test that plays stories by their names; `more` has them by what a user loses."""
    groups = [stories, *(group for by_loss in more for group in by_loss.values())]
    return [
        pytest.param(story, id=name)
        for group in groups
        for name, story in group.items()
    ]
