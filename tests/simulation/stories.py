"""Random stories of several runs: what a user does to a stack, what happens to the runs, and what must be true afterwards.

A seed gives one story. `Story.told` is its text, step by step.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from dataclasses import replace as changed
from datetime import timedelta
from functools import partial
from typing import Any, Self
from unittest import mock

from pulumi_snapshots.clock import Clock, parse_rfc3339
from pulumi_snapshots.listing.polling import LATE
from pulumi_snapshots.snapshot.record import is_pinned
from squarecloud_emulator import Emulator, EmulatorSettings, Fault, JournalEntry
from squarecloud_emulator.service.refusals import RefusedError
from squarecloud_emulator.service.resources import Restore
from tests.simulation.faults import BROKEN, DOUBTS, NEW_CODES, REFUSALS
from tests.simulation.model_engine import Declared, Engine, Held, Ref, RunEndedError, Stack, copied
from tests.support.inside import Computer, MachineClock, run_inside
from tests.support.memory import Memory
from tests.support.servicer import CallFailedError
from tests.support.world import START

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
APART = 130.0
"""Seconds between our POST and a later restore of somebody else: closer together, the service does not tell them apart."""
CALL = (0.05, 0.3)
"""For how many seconds a slow place is slow in each call."""
SLACK = 2.0
"""Seconds by which a call may exceed its time-out, for the last calls to a slow place."""
READS = {True: 10.0, False: 2 * MINUTE}
"""Seconds that a read may take, of something unfinished and of something complete."""
KINDS = {"Snapshot": "create", "Restore": "restore", "Drill": "restore"}
"""What the emulator's journal calls the POST of each kind of resource."""

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


def is_refused(errors: list[str]) -> bool:
    """Whether other triggers help, and not `--replace`: of another name, or the plugin does not see what the other way's read shows."""
    return any("under another name" in each or "for this very resource" in each for each in errors)


# --- The books: what the user has asked for, and what was sent for it --------------------------------------------------------


@dataclass(eq=False)
class Want:
    """One thing that the user wants: a snapshot, or a restore."""

    number: int
    kind: str
    purpose: Any  # with an equal one, an unsaved run is the same wish
    forced: bool  # whether the user wants it though the state has one
    database_id: str
    posts: list[JournalEntry] = field(default_factory=list)  # what was sent for it
    machines: set[str] = field(default_factory=set)
    # where a run has shown that the state has the last of those
    shown_on: set[str] = field(default_factory=set)
    late: str = ""  # the version that was matched with a warning
    more: int = 0  # how many more may be sent for it, as documented
    by_old_name: bool = False  # whether a state had it by another name, as another resource's may
    version: str | None = None  # of a snapshot, as the state has it

    @property
    def snapshot(self) -> str:
        started = [post.version_id for post in self.posts if post.accepted]
        return self.version or next(reversed(started), None) or f"want {self.number}"


@dataclass
class Page:
    saved: Want | None = None  # what the state has
    # what a run has made, which its own state may have only at its end
    made: tuple[Engine, Want] | None = None
    # what was asked for since then, and no state has
    unsaved: list[Want] = field(default_factory=list)
    # what the state had before the user dropped it, and some machine was never shown that
    lingering: list[Want] = field(default_factory=list)

    def lingers(self) -> None:
        """What the state has is to be another one, and some machine was never shown this one."""
        if self.saved is not None and self.saved.machines - self.saved.shown_on:
            self.lingering.append(self.saved)


class Books:
    """Checks what the providers do against what the user has asked for."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.pages = defaultdict[tuple[int, str], Page](Page)
        self.wants: list[Want] = []

    def page(self, stack: Stack, role: str) -> Page:
        return self.pages[id(stack), role]

    def purpose(self, engine: Engine, declared: Declared) -> Any:
        """What the user would call the same wish: the target and the triggers, whatever the ids of resources in them are."""

        def meaning(value: Any) -> Any:
            if isinstance(value, Ref):
                page = self.page(engine.stack, "before")
                held = page.made[1] if page.made and page.made[0] is engine else page.saved
                return "a" if value.name.startswith("upstream") else held and held.snapshot
            return [meaning(each) for each in value] if isinstance(value, list) else value

        inputs = declared.inputs
        return target_of(inputs), repr(meaning(inputs.get("triggers") or []))

    # What the engine calls ------------------------------------------------------------------------------------------------

    def creates(
        self,
        engine: Engine,
        declared: Declared,
        old: Held | None,
        *,
        again: bool,
        reasons: tuple[str, ...],
    ) -> Told:
        page, purpose = self.page(engine.stack, declared.role), self.purpose(engine, declared)
        targeted = engine.stack.urn(declared.kind, declared.name) in engine.replace
        forced = "forced" in reasons or (again and targeted)
        saved = page.saved
        same = (
            saved
            if saved is not None and saved.purpose == purpose and not self._has_failed(saved)
            else None
        )
        if (
            old is not None
            and not forced
            and not again
            and same
            and any(post.accepted for post in same.posts)
        ):
            raise AssertionError(
                f"replaced because of {reasons}, though nothing has changed and nothing has failed"
            )
        # Deleted in this run, for what is upstream: the engine's calls do not say whether `--replace` names it too.
        may_be_same = same if again else None
        is_same = None if forced else may_be_same
        if is_same is not None and declared.name in engine.deleted:
            # another replacement_trigger is not told by the engine
            return Told(self, engine, declared, is_same)
        # What an interrupted run has deleted to make another one is still to be made.
        # A forced one that no state has may be made once more, or the one that was forced before be handed out.
        changes = saved is None or saved.purpose != purpose
        want = next(
            (
                one
                for one in page.unsaved
                if one.purpose == purpose and (changes or one.forced >= forced)
            ),
            None,
        )
        if want is not None and (forced or targeted):
            want.more, want.forced = want.more + 1, True
        if forced and saved is not None and engine.computer.memory not in saved.shown_on:
            page.lingering.append(saved)  # it cannot be told from one that was not saved
        want = want or is_same or self._new(page, declared.kind, purpose, forced=forced or targeted)
        want.machines.add(engine.computer.memory)
        # What a forced replacement has left behind that was interrupted after its delete looks like any other.
        told = Told(self, engine, declared, want, or_else=may_be_same)
        if not (want.posts or forced or targeted):
            # It was forced in vain: what was to be replaced was still pending, and serves the wish as well.
            before = [
                one
                for one in self.wants
                if (one.kind, one.purpose) == (want.kind, purpose) and one.posts
            ]
            told.resumed = before[-1] if before else None
        return told

    def _has_failed(self, want: Want) -> bool:
        accepted = sorted((post for post in want.posts if post.accepted), key=lambda post: post.at)
        return bool(accepted) and self.failed(accepted[-1])

    def updates(self, engine: Engine, declared: Declared, old: Held) -> Told:
        page, purpose = self.page(engine.stack, declared.role), self.purpose(engine, declared)
        self._shown(engine, old)
        assert page.saved is not None
        unsaved = next((one for one in page.unsaved if one.purpose == purpose), None)
        if declared.kind != "Drill" or page.saved.purpose == purpose:
            # If its request never came, a run whose end no state has may have sent another one.
            return Told(
                self,
                engine,
                declared,
                page.saved,
                or_else=unsaved,
                resumes=declared.kind == "Restore",
            )
        # A drill is never replaced: an update drills again.
        want = unsaved or self._new(page, "Drill", purpose)
        want.machines.add(engine.computer.memory)
        return Told(self, engine, declared, want, proof=old.plain.get("last_good"))

    def _new(self, page: Page, kind: str, purpose: Any, *, forced: bool = False) -> Want:
        want = Want(len(self.wants) + 1, kind, purpose, forced, purpose[0])
        self.wants.append(want)
        page.unsaved.append(want)
        return want

    def stays(self, engine: Engine, declared: Declared, old: Held) -> None:
        self._shown(engine, old)
        page = self.page(engine.stack, declared.role)
        assert page.saved is not None
        purpose = self.purpose(engine, declared)
        assert page.saved.purpose == purpose, (
            f"nothing happens, though {page.saved.purpose} is {purpose} now"
        )

    @contextmanager
    def reads(self, engine: Engine, held: Held) -> Iterator[None]:
        began, was, before = self.story.now, held.unfinished, held.plain
        try:
            yield
        finally:
            self._shown(engine, held)
            took = self.story.now - began
        assert took <= READS[was] + SLACK, f"a read took {took:.0f} s"
        self.check_result(engine, held)
        if held.kind == "Snapshot":
            self._check_refreshed(before, held.plain)
        want = self.page(engine.stack, held.role).saved
        if want is not None and held.kind == "Snapshot" and not held.replaced:
            want.version = held.plain.get("version_id")

    def _check_refreshed(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        version = before.get("version_id")
        if version is None:
            return
        assert after.get("version_id") == version, (
            f"a refresh has made {after.get('version_id')} of {version}"
        )
        if is_pinned(before.get("download_url"), version) and not is_pinned(
            after.get("download_url"), version
        ):
            raise AssertionError("a refresh has lost the pinned URL")
        stored = [one.version_id for one in self.story.emulator.snapshots(before["database_id"])]
        if version in stored and before["available"] and not after["available"]:
            raise AssertionError("the snapshot is stored, but not available in the state")

    def _shown(self, engine: Engine, held: Held) -> None:
        want = self.page(engine.stack, held.role).saved
        if (
            want is None or held.replaced or held.gone or engine.computer.is_broken
        ):  # no call is made for what is gone
            return
        if self.may_be_of(held, [post for post in want.posts if post.accepted][-1:]):
            want.shown_on.add(engine.computer.memory)

    def deleted(self, engine: Engine, held: Held) -> None:
        if held.kind == "Upstream" or held.replaced:
            return
        others = (
            each for each in engine.stack.state if each is not held and each.role == held.role
        )
        # Otherwise the resource has another name now, and an older checkpoint had this one.
        if all(each.replaced for each in others):
            self._shown(engine, held)
            self.dropped(engine.stack, held.role)

    def dropped(self, stack: Stack, role: str) -> None:
        """The state has it no more."""
        page = self.page(stack, role)
        page.lingers()
        page.lingering += page.unsaved  # what no state ever had may be handed out still
        page.saved = None
        page.unsaved.clear()

    def imported(self, stack: Stack, role: str, want: Want | None) -> None:
        """The state is an older one, which knows nothing of what was made since."""
        page = self.page(stack, role)
        if page.saved is not None and page.saved is not want:
            page.lingers()
            page.unsaved.append(page.saved)
            # A state had it, so it is taken or drilled again; what was shown by another name may be another's.
            page.saved.more += page.saved.kind != "Restore" or page.saved.by_old_name
        if want is not None and page.saved is not want:
            page.unsaved[:] = [each for each in page.unsaved if each is not want]
        page.saved = want

    def renamed(self, stack: Stack, role: str) -> None:
        """Whatever call has shown it until now, also a preview's, had another name."""
        if (want := self.page(stack, role).saved) is not None:
            want.by_old_name = True

    def kept(self, _engine: Engine, declared: Declared, error: CallFailedError) -> None:
        self._plain(error)
        assert error.kept is None or "__provider" not in error.kept.outputs, (
            f"{declared.name} cannot be read again"
        )

    def failed(self, post: Any, *more: Any) -> bool:
        if more:
            self._plain(more[1])
            return True
        if post.kind == "create":
            emulator, of = self.story.emulator, post.database_id
            there = [one.version_id for one in emulator.snapshots(of)] + [
                one.version_id for one in emulator.account.running(of)
            ]
            return post.version_id not in there
        restore = self.story.restore_of(post)
        return restore is not None and restore.error is not None

    def _plain(self, error: CallFailedError) -> None:
        if (
            "another restore of the database" in error.message
            and not self.story.common | self.story.somebody_restored
        ):
            raise AssertionError(f"nobody else restores: {error.message}")
        assert error.code != "INTERNAL", f"a traceback: {error.message}"
        assert "Traceback" not in error.message, f"a traceback: {error.message}"

    # What must be true ----------------------------------------------------------------------------------------------------

    def check_result(self, engine: Engine, held: Held, want: Want | None = None) -> None:
        """The right version or restore, or an error."""
        page = self.page(engine.stack, held.role)
        want = want or page.saved
        if want is None or held.replaced or (not held.unfinished and self.is_of(held, want)):
            return
        for old in page.lingering:
            known = engine.computer.memory in old.machines - old.shown_on
            if old.purpose == want.purpose and known and self.may_be_of(held, old.posts):
                # As documented: no call has shown this machine that the state had it.
                want.posts += [post for post in old.posts if post not in want.posts]
                want.number, want.more = old.number, max(want.more, old.more)
                want.machines |= old.machines
                return
        if held.unfinished:
            return
        sent = [post for post in want.posts if post.accepted]
        if (
            held.kind == "Snapshot" and sent and self.failed(sent[-1])
        ):  # as documented: it says that it is late
            taken, said = (
                parse_rfc3339(held.plain["created_at"]),
                engine.provider(held.way).warnings,
            )
            if taken > sent[-1].at + LATE and any("although its time is" in each for each in said):
                want.late = held.plain["version_id"]
                return
        raise AssertionError(
            f"{held.id} is none of what was started for this wish: {[(post.at, post.version_id) for post in sent]}"
        )

    @staticmethod
    def may_be_of(held: Held, posts: list[JournalEntry]) -> bool:
        """Whether something was handed out again that an earlier wish has started; what is unfinished says when."""
        sent = [post for post in posts if post.accepted]
        if held.unfinished:
            requested_at = parse_rfc3339(held.plain["requested_at"])
            return any(abs((post.at - requested_at).total_seconds()) <= SLACK for post in sent)
        return held.kind != "Snapshot" or held.plain.get("version_id") in {
            post.version_id for post in sent
        }

    def is_of(self, held: Held, want: Want) -> bool:
        sent = [post for post in want.posts if post.accepted and not self.failed(post)]
        if held.kind == "Snapshot":
            return held.plain.get("version_id") in {want.late, *(post.version_id for post in sent)}
        return bool(sent) and "attempt" not in held.plain

    def check_posts(self) -> None:
        """No wish has more than one accepted POST, whose result may have come."""
        for want in self.wants:
            if want.kind == "Drill" and self.story.common:
                continue  # the other stack's restore may have overwritten what was to be checked
            accepted = [post for post in want.posts if post.accepted and not self.failed(post)]
            if len(accepted) > len(want.machines) + want.more:
                at = ", ".join(f"{post.at:%d %H:%M:%S}" for post in accepted)
                raise AssertionError(
                    f"{want.kind} for {want.purpose} was sent {len(accepted)} times: {at}"
                )


@dataclass
class Told:
    books: Books
    engine: Engine
    declared: Declared
    want: Want  # what it is for
    or_else: Want | None = None
    resumes: bool = False
    proof: dict[str, Any] | None = None
    resumed: Want | None = None  # what it may resume instead
    is_made: bool = False

    def __post_init__(self) -> None:
        self.page = self.books.page(self.engine.stack, self.declared.role)

    def __enter__(self) -> Self:
        self._before = len(self._sent())
        self._began = self.books.story.now
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        sent = self._note_posts()
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            return
        timeout = self.declared.inputs["timeout"]
        took = self.books.story.now - self._began
        assert took <= timeout + SLACK, (
            f"{self.declared.name} ended {took - timeout:.0f} s after its time-out"
        )
        assert not (self.resumes and sent), "a resume has restored again"
        lost = [post for post in sent if post.accepted and not self.books.failed(post)]
        assert self.is_made or not lost, "an accepted POST is forgotten"

    def _sent(self) -> list[JournalEntry]:
        stack = self.engine.stack
        wire = self.engine.provider(stack.way).shared.wire
        posts = wire.requests(stack.urn(self.declared.kind, self.declared.name))
        return [post for post in posts if post.kind == KINDS[self.declared.kind]]

    def _note_posts(self) -> list[JournalEntry]:
        """Note what this call has sent."""
        sent = self._sent()[self._before :]
        new = [post for post in sent if post not in self.want.posts]
        self.want.posts += new
        if any(post.accepted for post in new):
            self.want.shown_on.clear()
        return sent

    def made(self, held: Held) -> None:
        """The provider has answered with this."""
        self.is_made = True
        self._note_posts()
        assert self.proof is None or held.plain.get("last_good"), "the last good drill is forgotten"
        if self.or_else is not None and self.books.is_of(held, self.or_else):
            self.want = self.or_else
        elif (
            self.resumed is not None
            and held.unfinished
            and self.books.may_be_of(held, self.resumed.posts)
        ):
            self.want = self.resumed
        self.page.made = self.engine, self.want
        self.want.version = held.plain.get("version_id") if held.kind == "Snapshot" else None
        self.books.check_result(self.engine, held, self.want)

    def saved(self) -> None:
        """The state has what was made."""
        if self.page.saved is not self.want:
            self.page.lingers()
        self.page.saved = self.want
        # What is newer than what was handed out, and what no state ever had, may be handed out by a later run.
        self.page.lingering += [one for one in self.page.unsaved if one.number > self.want.number]
        self.page.unsaved.clear()
        self.want.shown_on.clear()
        self.want.machines.add(self.engine.computer.memory)


# --- The story ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Up:
    """What is special about one `up`."""

    cut: tuple[str, float] | None = None  # how it ends early, and after how many seconds
    saves: int | None = None  # how many steps the backend stores
    replace: str = ""  # the role of what `--replace` names
    preview: bool = True  # whether it has one
    refresh: bool = False  # whether it has `--refresh`
    at_end: bool = False  # whether its state is stored at the end only
    nap: float = 0.0  # seconds for which the machine sleeps right before a POST leaves
    # what the ledger's place refuses, from when on, and for how many seconds
    trouble: tuple[str, float, float] | None = None
    post_fault: dict[str, Any] | None = None  # the fault of the POSTs
    read_fault: dict[str, Any] | None = None  # the fault of everything else
    # after how many seconds the service takes snapshots of all databases by itself
    automatic: float | None = None


def target_of(inputs: dict[str, Any]) -> str:
    found: str = (
        inputs.get("target_database_id")
        or inputs.get("scratch_database_id")
        or inputs["database_id"]
    )
    return found


class Scratch:
    """Stands for the library that speaks to a drill's scratch database, which says what it holds, and since when it runs."""

    def __init__(self, story: Story, dsn: str, *, timeout: float) -> None:
        assert timeout > 0
        self._story, self._id = story, dsn.rpartition("/")[2]

    async def age(self) -> float | None:
        await asyncio.sleep(0)
        at = self._story.emulator.existing(self._id)
        return (self._story.emulator.now() - (at.started_at or at.created_at)).total_seconds()

    async def ask(self, _: str) -> str | None:
        await asyncio.sleep(10.0)
        there = [restore for of, restore in self._story.restores if of == self._id]
        there = [one for one in there if one.error is None and not one.in_progress]
        return there[-1].version_id if there else None


class Story:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(f"story {seed}")
        self.seed = seed
        self.told: list[str] = []
        self.restores: list[tuple[str, Restore]] = []
        self.books = Books(self)

    # Scenery -------------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        chance = self.chance
        self._loop = asyncio.get_running_loop()
        self.service: dict[str, Any] = {
            "snapshot_seconds": chance.choice([5.0, 60.0, 100.0, 200.0, 500.0]),
            "cache_world": chance.choice(["invalidated", "kept"]),
            "modified_is": chance.choice(["start", "end"]),
            "key_of_200_has_version": chance.random() < 0.7,
            "restore_seconds": chance.choice([5.0, 60.0, 60.0, 400.0]),
            "restore_queue_seconds": chance.choice([0.0, 0.0, 0.0, 150.0, 400.0]),
            "restore_holds": chance.random() < 0.3,
            "restore_stops_database": chance.random() < 0.7,
            "restore_tail_seconds": chance.choice([0.0, 120.0, 200.0]),
            "restore_status_route": chance.choice(
                ["there", "there", "there", "there", "404", "405"]
            ),
            "refusals_start_cooldown": chance.random() < 0.3,
            "clock_offset_seconds": chance.choice([0.0, 0.0, 0.7, -20.0, HOUR]),
            "plan_memory_mb": 256_000,
            "plan": chance.choice(["paid", "paid", "free"]),
            "name_style": chance.choice(["id", "id_type", "id_type_origin"]),
            "version_style": chance.choice(["uuid", "opaque"]),
            "old_style_entries": chance.random() < 0.25,
            "retry_after_header": chance.random() < 0.3,
        }
        self.emulator = Emulator(
            EmulatorSettings(**self.service), clock=MachineClock(0.0), base_url="http://127.0.0.1:1"
        )
        start = self.start_restore = self.emulator.account.start_restore

        def recorded(resource: Any, *args: Any) -> Restore:
            restore = start(resource, *args)
            self.restores.append((resource.id, restore))
            return restore

        self.emulator.account.start_restore = recorded  # type: ignore[assignment, method-assign]
        self.computers = [
            Computer(name, self.emulator, place=Memory(Clock(START), where=name, is_shared=False))
            for name in ("laptop", "runner")
        ]
        self.computer = self.computers[0]
        if chance.random() < 0.3:
            self.computers[1].place = self.computers[0].place = Memory(Clock(START), where="shared")
            self.computers[1].places = self.computers[0].places
        if chance.random() < 0.4:
            for computer in self.computers:
                computer.place.delay = CALL
        kinds = [
            ("before",),
            ("back",),
            ("before", "back"),
            ("before", "second"),
            ("before", "second", "back"),
        ]
        self.roles = chance.choice(kinds)
        # Where nothing shows that a restore has acted, a drill fails.
        shows = (
            self.service["restore_status_route"] == "there"
            or not self.service["restore_queue_seconds"]
        )
        shows = shows and self.service["restore_stops_database"]
        if shows and random.Random(f"drill {self.seed}").random() < 0.4:
            self.roles += ("proof",)
        self.upstream = chance.random() < 0.6
        self.follows = chance.random() < 0.5  # whether the snapshot is a trigger of the restore
        self.keys = [self.emulator.settings.api_key]
        self.checkpoints: list[tuple[Stack, list[Held], dict[str, Want | None]]] = []
        names = ["dev", "prod"] if chance.random() < 0.35 else ["dev"]
        self.stacks = [Stack(name, way=chance.choice(["dynamic", "plugin"])) for name in names]
        self.common = (
            len(names) > 1 and chance.random() < 0.5
        )  # whether both are about the same databases
        self.somebody_restored = False
        for stack in self.stacks:
            self._write_program(stack, self.stacks[0].program if self.common else [])
        parts = [" and ".join(self.roles), f"by the {self.stacks[0].way} way"]
        parts += ["with shared state"] if self.computer.place.is_shared else []
        parts += ["slow"] if any(self.computer.place.delay) else []
        parts += ["of the same databases"] if self.common else []
        self.say(f"{' and '.join(names)}: {', '.join(parts)}; service: {self.service}")

    def _write_program(self, stack: Stack, like: list[Declared]) -> None:
        stack.program = list(like)
        if like:
            return
        source = self.emulator.add_database().id
        stored = self.emulator.add_snapshot(source)
        stack.program += [Declared("Upstream", "upstream", {"size": 1})] if self.upstream else []
        database = self.emulator.add_database().id
        for role in self.roles:
            kind, target, inputs = (
                "Snapshot",
                "",
                dict[str, Any](database_id=database, timeout=45 * MINUTE),
            )
            if role in {"back", "proof"}:
                kind, target = "Restore", self.emulator.add_database().id
                inputs = {
                    "database_id": source,
                    "version_id": stored.version_id,
                    "timeout": 15 * MINUTE,
                }
                inputs |= {"target_database_id": target, "overwrite": True}
            if role == "proof":
                kind = "Drill"
                del inputs["target_database_id"], inputs["overwrite"]
                inputs |= {"scratch_database_id": target, "overwrite_scratch": True}
                inputs["connection"] = (
                    f"postgresql://driller:never-shown@tunnel.example:6000/{target}"
                )
                inputs["checks"] = [{"query": "the version", "equals": stored.version_id}]
            stack.program.append(Declared(kind, role, inputs, role=role))
        self._set_triggers(stack)

    def _set_triggers(self, stack: Stack) -> None:
        usual = [f"v{stack.release}", *([Ref("upstream", "same")] if self.upstream else [])]
        snapshots = [
            Ref(one.name, "id") for one in stack.program if self.follows and one.role == "before"
        ]
        for one in list(stack.program):
            triggers = {"triggers": [*usual, *(snapshots if one.kind == "Restore" else [])]}
            stack.declare(
                one,
                inputs={"size": stack.size}
                if one.kind == "Upstream"
                else {**one.inputs, **triggers},
            )

    def restore_of(self, post: JournalEntry) -> Restore | None:
        accepted = [
            one
            for one in self._sent("restore")
            if one.accepted and one.database_id == post.database_id
        ]
        started = [
            restore for database_id, restore in self.restores if database_id == post.database_id
        ]
        place = accepted.index(post) if post in accepted else -1
        return started[place] if 0 <= place < len(started) else None

    @property
    def now(self) -> float:
        return self._loop.time()

    def say(self, what: str) -> None:
        at = START + timedelta(seconds=self.now)
        self.told.append(f"{at:%d %H:%M:%S}  {what}")

    # Steps ---------------------------------------------------------------------------------------------------------------

    async def play(self) -> None:
        self._begin()
        with mock.patch("pulumi_snapshots.drill.drill.Database", partial(Scratch, self)):
            await self._play()

    async def _play(self) -> None:
        await self.up(self.stacks[0], Up())
        for _ in range(self.chance.randint(3, 9)):
            await self._step()
        await self._end()

    async def _step(self) -> None:
        chance, stack = self.chance, self.chance.choice(self.stacks)
        steps = {
            self._draw_up: 45, self._wait: 14, self._preview: 6, self._refresh: 8, self._destroy: 6, self._taint: 5,
            self._forget: 5, self._rename: 5, self._move: 6, self._step_clock: 5, self._switch_way: 5,
            self._rotate: 4, self._import: 5, self._rename_stack: 4, self._both: 8, self._foreign: 6,
            self._foreign_restore: 6,
        }  # fmt: skip
        (step,) = chance.choices(list(steps), list(steps.values()))
        await step(stack)

    async def _draw_up(self, stack: Stack) -> None:
        chance = self.chance
        often = 2.0 if "proof" in self.roles else 1.0  # only other triggers drill again
        if chance.random() < 0.25 * often:
            stack.release += 1
            self.say(f"the program of {stack.name} has release v{stack.release} in its triggers")
        if self.upstream and chance.random() < 0.35:
            stack.size += 1
            self.say(
                "something upstream has another size, and is to be deleted before it is made again"
            )
        self._set_triggers(stack)
        mine = stack.declared()
        if chance.random() < 0.1:
            one = chance.choice(mine)
            stack.declare(one, first=not one.first)
            self.say(f"{one.name} {'has' if not one.first else 'loses'} delete_before_replace")
        if self.upstream and chance.random() < 0.2:
            one = chance.choice(stack.declared())
            stack.declare(one, cascades=not one.cascades)
            self.say(
                f"{one.name} {'is' if not one.cascades else 'is not'} replaced with what is upstream"
            )
        if chance.random() < 0.07:
            one = chance.choice(stack.declared())
            stack.declare(one, release=one.release + 1)
            self.say(f"{one.name} has another replacement_trigger")
        stack.set_timeout(chance.choice([3 * MINUTE, 10 * MINUTE, 45 * MINUTE]))
        for one in mine:
            if chance.random() < 0.06:
                self.say(f"the next {one.kind} at the service will fail")
                if one.kind == "Snapshot":
                    self.emulator.fail_next_snapshot(one.inputs["database_id"])
                elif (
                    self.service["restore_status_route"] == "there"
                ):  # nothing else tells it from a success
                    self.emulator.databases[
                        target_of(one.inputs)
                    ].next_restore_error = "SNAPSHOT_CORRUPT"
        await self.up(
            stack,
            Up(
                cut=(
                    chance.choice(["^C", "kill -9"]),
                    chance.choice([0.0, 0.5, 40.0, 95.0, 130.0, 300.0]),
                )
                if chance.random() < 0.25 * often
                else None,
                saves=chance.choice([0, 0, 1, 2, 3]) if chance.random() < 0.25 * often else None,
                replace=chance.choice(self.roles) if chance.random() < 0.12 else "",
                preview=chance.random() < 0.6,
                at_end=chance.random() < 0.1,
                nap=chance.choice([5.0, 20.0, 100.0, HOUR]) if chance.random() < 0.1 else 0.0,
                trouble=self._draw_trouble(),
                post_fault=chance.choice(POST_FAULTS + NEW_CODES)
                if chance.random() < 0.25
                else None,
                read_fault=chance.choice(READ_FAULTS) if chance.random() < 0.15 else None,
                automatic=chance.choice([1.0, 30.0, 100.0, 170.0])
                if chance.random() < 0.3
                else None,
            ),
        )

    def _draw_trouble(self) -> tuple[str, float, float] | None:
        chance = self.chance
        if chance.random() >= 0.12:
            return None
        begins, lasts = (
            chance.choice([0.0, 0.0, 1.0, 40.0, 95.0]),
            chance.choice([0.3, 10.0, 100.0, 2000.0]),
        )
        return chance.choice(["writes", "writes", "reads"]), begins, lasts

    async def up(self, stack: Stack, up: Up) -> list[str]:
        """One `pulumi up`; returns its errors."""
        replace = [
            stack.urn(one.kind, one.name)
            for one in stack.program
            if up.replace and one.role == up.replace
        ]
        special = [
            f"{up.cut[0]} after {up.cut[1]:.0f} s" if up.cut else "",
            f"the backend stores {up.saves} steps and is gone" if up.saves is not None else "",
            f"--replace of the {up.replace}" if up.replace else "",
            "" if up.preview else "--skip-preview",
            "--refresh" if up.refresh else "",
            "PULUMI_SKIP_CHECKPOINTS" if up.at_end else "",
            f"the machine sleeps for {up.nap:.0f} s before a POST leaves" if up.nap else "",
            f"the POST: {up.post_fault}" if up.post_fault else "",
            f"the polls: {up.read_fault}" if up.read_fault else "",
            "the ledger refuses {} from {:.0f} s on for {:.0f} s".format(*up.trouble)
            if up.trouble
            else "",
        ]
        self.say(
            f"`up` of {stack.name} on the {self.computer.name}, {stack.way}"
            + "".join(f"; {each}" for each in special if each)
        )
        self._add_faults(up)
        saves = 0 if up.at_end and up.saves is not None else up.saves
        engine = self._engine(stack, replace=tuple(replace), saves=saves, at_end=up.at_end)
        self.computer.naps = [up.nap] if up.nap else []

        async def run() -> None:
            if up.preview:
                await engine.preview()
            if not engine.errors:
                await engine.update(refresh=up.refresh)

        # The daily automatic snapshot comes at the worst time; an old entry does not say that it is one.
        if up.automatic is not None and not self.emulator.settings.old_style_entries:
            for database_id in self._databases(stack):
                self._loop.call_later(
                    up.automatic,
                    partial(self.emulator.add_snapshot, database_id, origin="automatic"),
                )
        with self._in_trouble(up.trouble):
            await self._run(engine, run(), up.cut)
        self._keep_checkpoint(stack)
        return engine.errors

    def _engine(self, stack: Stack, *, key: bool = True, **run: Any) -> Engine:
        return Engine(stack, self.computer, self._config(key=key), books=self.books, **run)

    @contextmanager
    def _in_trouble(self, trouble: tuple[str, float, float] | None) -> Iterator[None]:
        """Let the ledger's place refuse something for a while."""
        if trouble is None:
            yield
            return
        what, begins, lasts = trouble
        refuse, full = partial(setattr, self.computer.place, f"refuses_{what}"), "the disk is full"
        timers = [
            self._loop.call_later(begins, refuse, full),
            self._loop.call_later(begins + lasts, refuse, ""),
        ]
        if not begins:
            refuse(full)
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()
            refuse("")

    def _config(self, *, key: bool = True) -> dict[str, str]:
        config = {
            "squarecloud:apiUrl": self.emulator.api_url,
            "squarecloud:snapshotsUrl": self.emulator.snapshots_url,
        }
        return config | ({"squarecloud:apiKey": self.emulator.settings.api_key} if key else {})

    def _add_faults(self, up: Up) -> None:
        self.emulator.clear_faults()
        posts = ("restore",) if up.post_fault in NEW_CODES else ("create", "restore")
        reads = ("list", "list account", "status", "restore status")
        for kinds, fault in ((posts, up.post_fault), (reads, up.read_fault)):
            for kind in kinds if fault else ():
                self.emulator.add_fault(Fault(kind=kind, **(fault or {})))

    async def _run(self, engine: Engine, work: Any, cut: tuple[str, float] | None = None) -> None:
        task = asyncio.ensure_future(work)
        if cut is not None:
            await asyncio.wait([task], timeout=cut[1])
            if not task.done() and cut[0] == "^C":
                engine.cancel()
            elif not task.done():
                engine.kill()
                task.cancel()
                with suppress(asyncio.CancelledError, RunEndedError):
                    await task
                self.say("   killed")
                self._check()
                return
        await task
        engine.end()
        for error in engine.errors:
            self.say(f"   error: {' / '.join(error.splitlines())}")
        for warning in engine.warnings:
            self.say(f"   warning: {' / '.join(warning.splitlines())}")
        for held in engine.stack.state:
            if held.kind != "Upstream":
                marks = [
                    name
                    for name in ("unfinished", "gone", "replaced", "tainted")
                    if getattr(held, name)
                ]
                self.say(f"   in the state: {held.name} {held.id} {' '.join(marks)}".rstrip())
        self._check()

    def _check(self) -> None:
        self.books.check_posts()
        unwritten = [each for computer in self.computers for each in computer.unwritten]
        assert not unwritten, f"sent before it was written down: {unwritten}"
        limited = [
            entry
            for entry in self.emulator.journal
            if entry.code == "RATE_LIMITED" and not entry.fault
        ]
        assert not limited, f"more requests than the account may send: {limited[0].at:%d %H:%M:%S}"
        # The time is asked for without one.
        assert {entry.key for entry in self.emulator.journal} <= {"right", "none"}, (
            "a request had another key"
        )
        states = [held.outputs for stack in self.stacks for held in stack.state]
        shown = repr(
            [*self.told[-20:], states, [computer.place.data for computer in self.computers]]
        )
        assert not any(key in shown for key in self.keys), (
            "the key is in a state, a ledger or a message"
        )

    async def _preview(self, stack: Stack) -> None:
        self.say(f"`preview` of {stack.name} on the {self.computer.name}")
        engine = self._engine(stack)
        sent = len(self.emulator.journal)
        await self._run(engine, engine.preview())
        assert len(self.emulator.journal) == sent, "a preview has sent a request"

    async def _refresh(self, stack: Stack) -> None:
        self.say(f"`refresh` of {stack.name} on the {self.computer.name}")
        engine = self._engine(stack)
        await self._run(engine, engine.refresh())

    async def _destroy(self, stack: Stack) -> None:
        drawn = self.chance.random()
        how = "without a key" if drawn >= 0.7 else "with `--refresh`" if drawn < 0.3 else ""
        self.say(f"`destroy` of {stack.name} on the {self.computer.name} {how}".rstrip())
        engine = self._engine(stack, key=drawn < 0.7)
        with self._in_trouble(self._draw_trouble()):
            await self._run(engine, engine.destroy(refresh=drawn < 0.3))

    async def _taint(self, stack: Stack) -> None:
        if held := self._one_in(stack):
            held.tainted = True
            self.books.page(stack, held.role).lingers()
            self.say(f"`state taint` of {held.name}")

    async def _forget(self, stack: Stack) -> None:
        held = self._one_in(stack)
        if held and not any(
            held.name in other.needs for other in stack.state
        ):  # the command refuses
            stack.state.remove(held)
            self.books.dropped(stack, held.role)
            self.say(f"`state delete` of {held.name}")

    def _one_in(self, stack: Stack) -> Held | None:
        found = [
            held
            for held in stack.state
            if held.kind != "Upstream" and not held.replaced and not held.gone
        ]
        return self.chance.choice(found) if found else None

    async def _rename(self, stack: Stack) -> None:
        one = self.chance.choice(stack.declared())
        name, held = f"{one.name}-x", stack.old_of(one)
        for want in self.books.page(stack, one.role).unsaved:
            want.more += one.kind == "Snapshot"  # a new name without a state is another resource
        self.books.renamed(stack, one.role)
        by_command = held is not None and self.chance.random() < 0.5
        if by_command and held is not None:
            for other in stack.state:
                if held.name in other.needs:
                    other.needs = {name if each == held.name else each for each in other.needs}
            held.name = name
        aliases = () if by_command else (one.name, *one.aliases)
        stack.declare(one, name=name, aliases=aliases)
        self._set_triggers(stack)
        self.say(
            f"{one.name} is called {name}"
            + (" by `state rename`" if by_command else ", with an alias")
        )

    async def _move(self, _stack: Stack) -> None:
        self.computer = self.computers[1 - self.computers.index(self.computer)]
        if not self.computer.place.is_shared:
            # As documented, what another machine has started just before cannot be told from a POST of this one.
            await asyncio.sleep(LATE.total_seconds())
        self.say(f"from now on on the {self.computer.name}")

    async def _step_clock(self, _stack: Stack) -> None:
        ahead = self.chance.choice([0.0, 20 * MINUTE, -10 * MINUTE, 3.0, DAY])
        self.computer.ahead = ahead
        self.say(f"the clock of the {self.computer.name} is {self.computer.ahead:.0f} s ahead")

    async def _rotate(self, _stack: Stack) -> None:
        account = self.keys[0].partition("-")[0]
        self.keys.append(f"{account}-{len(self.keys):058d}")
        self.emulator.settings = changed(self.emulator.settings, api_key=self.keys[-1])
        self.say("the account has another key")

    async def _rename_stack(self, stack: Stack) -> None:
        self.say(f"`stack rename` of {stack.name} to {stack.name}-x")
        for role in self.roles:
            self.books.renamed(stack, role)
        stack.name += "-x"

    def _keep_checkpoint(self, stack: Stack) -> None:
        """Remember what the backend's history has, and what it was in the books."""
        saved = {role: self.books.page(stack, role).saved for role in self.roles}
        self.checkpoints.append((stack, copied(stack.state), saved))

    async def _import(self, stack: Stack) -> None:
        older = [each for each in self.checkpoints if each[0] is stack]
        if not older:
            return
        _, state, saved = self.chance.choice(older)
        stack.state = copied(state)
        for role, want in saved.items():
            self.books.imported(stack, role, want)
        self.say(
            f"an older checkpoint of {stack.name} is imported: {[f'{held.name} {held.id}' for held in state]}"
        )

    async def _both(self, _stack: Stack) -> None:
        self.say("at once:")
        await asyncio.gather(*(self.up(stack, Up()) for stack in self.stacks))

    async def _switch_way(self, stack: Stack) -> None:
        stack.way = "plugin" if stack.way == "dynamic" else "dynamic"
        self.say(f"the program of {stack.name} imports the classes of the {stack.way} way")

    async def _foreign(self, stack: Stack) -> None:
        """Somebody else takes a snapshot by hand, which no request of ours can be confused with: all are long over."""
        self.emulator.settle()
        times = [post.at for post in self.emulator.journal if post.accepted]
        for (
            computer
        ) in self.computers:  # a run that was killed may have entered one that never left
            times += [parse_rfc3339(each["request"]["posted_at"]) for each in computer.attempts()]
        if all((self.emulator.now() - at).total_seconds() > 3 * HOUR for at in times):
            self.emulator.add_snapshot(self.chance.choice(self._databases(stack)))
            self.say("somebody else takes a snapshot")
            # before the service's clock is known, an older one may match a POST
            await asyncio.sleep(MINUTE + 1)

    async def _foreign_restore(self, stack: Stack) -> None:
        """Somebody else restores a database, clearly later than what we may have sent: the service does not say whose it shows.

        One from right before our next run fails: after a success ours waits.
        """
        back = next((one.inputs for one in stack.program if one.kind == "Restore"), None)
        now = self.emulator.now()
        if back is None or any(
            (now - post.at).total_seconds() < APART for post in self._sent("restore")
        ):
            return
        target, right_before = (
            self.emulator.databases[back["target_database_id"]],
            self.chance.random() < 0.5,
        )
        stored = self.emulator.account.version(back["version_id"])
        error, target.next_restore_error = (
            target.next_restore_error,
            "RESTORE_INTERRUPTED" if right_before else None,
        )
        with suppress(RefusedError):
            self.start_restore(target, stored.name if stored else "", back["version_id"], now)
            self.somebody_restored = True
            self.say(f"somebody else restores, {'which fails' if right_before else 'and succeeds'}")
        target.next_restore_error = error
        await asyncio.sleep(1.0 if right_before else APART)

    def _sent(self, kind: str) -> list[JournalEntry]:
        return [entry for entry in self.emulator.journal if entry.kind == kind]

    @staticmethod
    def _databases(stack: Stack) -> list[str]:
        return [one.inputs["database_id"] for one in stack.declared()]

    async def _wait(self, _stack: Stack) -> None:
        seconds = self.chance.choice([30.0, 200.0, 20 * MINUTE, HOUR, 3 * HOUR, DAY])
        self.say(f"{timedelta(seconds=seconds)} pass")
        await asyncio.sleep(seconds)

    # The end -------------------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """Without faults, everything is as the program says, by what the errors tell the user to do at most."""
        self.say("from here on nothing goes wrong")
        for stack in self.stacks:
            stack.set_timeout(3 * HOUR)
            for database in self.emulator.databases.values():
                database.next_restore_error, database.next_snapshot_fails = None, False
            errors: list[str] = []
            for pause in (5 * MINUTE, 20 * MINUTE, 3 * HOUR, 10 * MINUTE):
                if not (errors := await self.up(stack, Up())):
                    break
                await asyncio.sleep(pause)
            else:
                # An earlier `--replace` whose end is not known either is given up first.
                if errors := await self._gives_up(stack, errors):
                    errors = await self._gives_up(stack, errors)
            assert not errors, f"the stack has no way out: {errors}"
            await self._preview(stack)
            await self._refresh(stack)
            await self._changes(stack)
            self.say(f"`destroy` of {stack.name}")
            engine = self._engine(stack)
            await self._run(engine, engine.destroy())
            assert not stack.state, "a destroy leaves something"

    async def _changes(self, stack: Stack) -> None:
        """Without faults, what the user asks for happens at once, and once."""
        blocks = [entry.at for entry in self.emulator.journal if entry.code == "RATE_LIMITED"]
        # A process that does not know the service's time yet takes a block to last as much longer as the clocks differ.
        lasts = HOUR + abs(self.service["clock_offset_seconds"])
        if blocks and (self.emulator.now() - blocks[-1]).total_seconds() < lasts:
            await asyncio.sleep(lasts)
        stack.release += 1
        self._set_triggers(stack)
        self.say(f"the program of {stack.name} has release v{stack.release} in its triggers")
        await self._acts(stack, Up(), self.roles)
        for role in self.roles:
            # A plain `--replace` cannot be told from a create that follows an older checkpoint.
            kind = next(one.kind for one in stack.program if one.role == role)
            await self._preview(stack)
            await self._acts(stack, Up(replace=role, refresh=kind != "Snapshot"), (role,))

    async def _acts(self, stack: Stack, up: Up, roles: tuple[str, ...]) -> None:
        sent = len(self.emulator.journal)
        errors = await self.up(stack, up)
        if self.common and any("under another name" in error for error in errors):
            return  # another stack's, which no call has shown yet
        assert not errors, f"it fails without a reason: {errors}"
        posts = [
            entry
            for entry in self.emulator.journal[sent:]
            if entry.kind in KINDS.values() and entry.accepted
        ]
        assert len(posts) >= len(roles), f"of {roles} only {[post.kind for post in posts]} act"

    async def _gives_up(self, stack: Stack, errors: list[str]) -> list[str]:
        """Do what the errors offer: another one, by `--replace` or by other triggers; returns what fails still."""
        for role in self.roles:
            held = next((one for one in stack.state if one.role == role and not one.replaced), None)
            if held is not None and held.unfinished and not is_refused(errors):
                errors = await self.up(stack, Up(replace=role))
            if held is None or not held.unfinished or is_refused(errors):
                stack.release += 1
                self._set_triggers(stack)
                self.say(f"the user changes the triggers: v{stack.release}")
                errors = await self.up(stack, Up())
        if errors:
            await asyncio.sleep(3 * HOUR)
            errors = await self.up(stack, Up())
        return errors


def played(seed: int) -> Story:
    """Play a story; raises an error, and prints how it came to that."""
    story = Story(seed)
    try:
        run_inside(story.play)
    except BaseException:
        print(f"replay: STORY={seed} python -m pytest -s tests/simulation/test_stories.py")  # noqa: T201
        print("\n".join(story.told))  # noqa: T201
        raise
    return story
