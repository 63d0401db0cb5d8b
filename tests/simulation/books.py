"""The books of a story: what its user has asked for, what was sent for that, and whether a provider's answer fits."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.ledger.attempt import LATEST_OF_LOST
from pulumi_snapshots.ledger.decision import RENAMED_WITHIN, UNSAVED_LASTS
from pulumi_snapshots.snapshot.record import is_pinned
from squarecloud_emulator import JournalEntry
from tests.simulation.model_engine import Declared, Engine, Held, Ref, Stack
from tests.support.inside import LONGEST_CLAIM
from tests.support.servicer import CallFailedError

if TYPE_CHECKING:
    from tests.simulation.stories import Story

MINUTE = 60.0
Unsaved = tuple[str, datetime]
"""A request that the ledger has and no state was seen to have: its database, and when it was sent."""
SLACK = 2.0
"""Seconds by which a call may exceed its time-out, for the last calls to a slow place."""
LONGEST_READ = {True: 10.0, False: 2 * MINUTE}
"""Seconds that a read may take, of something unfinished and of something complete."""
KINDS = {"Snapshot": "create", "Restore": "restore", "Drill": "restore"}
"""What the emulator's journal calls the POST of each kind of resource."""


def target_of(inputs: dict[str, Any]) -> str:
    """The database that a resource is about: a Restore's and a Drill's is the one that they overwrite."""
    for name in ("target_database_id", "scratch_database_id"):
        if inputs.get(name):
            return str(inputs[name])
    return str(inputs["database_id"])


@dataclass(eq=False)
class Want:
    """One thing that the user wants: a snapshot, a restore or a drill."""

    number: int
    kind: str
    purpose: Any  # with an equal one, an unsaved run is the same wish
    forced: bool  # whether the user wants it though the state has one
    database_id: str
    posts: list[JournalEntry] = field(default_factory=list)  # what was sent for it
    machines: set[str] = field(default_factory=set)
    # the ledgers that have what was sent for it
    senders: set[str] = field(default_factory=set)
    late: str = ""  # the version that was matched with a warning
    more: int = 0  # how many more may be sent for it, as documented
    # whether a state had it, and was set back to one of before that
    is_rolled_back: bool = False
    # whether a state had it by another name, as another resource's may
    by_old_name: bool = False
    # whether its resource has had another name since
    is_renamed: bool = False
    version: str | None = None  # of a snapshot, as the state has it

    @property
    def accepted(self) -> list[JournalEntry]:
        """What the service has accepted of it."""
        return [post for post in self.posts if post.accepted]

    @property
    def snapshot(self) -> str:
        """Names the snapshot that it has led to."""
        started = [post.version_id for post in self.accepted]
        return self.version or next(reversed(started), None) or f"want {self.number}"


@dataclass
class Page:
    """The wishes for one resource of a stack."""

    saved: Want | None = None  # what the state has
    # what a run has made, which its own state may have only at its end
    made: tuple[Engine, Want] | None = None
    # all that the state ever had, oldest first
    history: list[Want] = field(default_factory=list)
    # what was asked for since then, and no state has
    unsaved: list[Want] = field(default_factory=list)
    # what the state had, or never had, before the user dropped it or wanted another one
    lingering: list[Want] = field(default_factory=list)

    def linger(self) -> None:
        """Note that the state is to have another one."""
        if self.saved is not None:
            self.lingering.append(self.saved)

    def unsaved_for(self, purpose: Any, *, forced: bool) -> Want | None:
        """A wish of this purpose that no state has.

        A forced one that no state has may be made once more, or the one that was forced before be handed out.
        """
        changes = self.saved is None or self.saved.purpose != purpose
        for want in self.unsaved:
            if want.purpose == purpose and (changes or want.forced >= forced):
                return want
        return None


@dataclass
class Creation:
    """A create of the engine, and why it comes."""

    engine: Engine
    declared: Declared
    old: Held | None  # what the state has
    page: Page
    purpose: Any
    again: bool  # whether it was deleted in this run, to be made again
    reasons: tuple[str, ...]  # of its replacement, as the comparison gave them

    @property
    def targeted(self) -> bool:
        """Whether `--replace` names it."""
        urn = self.engine.stack.urn(self.declared.kind, self.declared.name)
        return urn in self.engine.replace

    @property
    def forced(self) -> bool:
        """Whether another one is wanted whatever the state holds."""
        return "forced" in self.reasons or (self.again and self.targeted)


class Books:
    """Checks what the providers do against what the user has asked for."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.pages = defaultdict[tuple[int, str], Page](Page)
        self.wants: list[Want] = []

    def page(self, stack: Stack, role: str) -> Page:
        """The wishes for a resource of a stack."""
        return self.pages[id(stack), role]

    def purpose(self, engine: Engine, declared: Declared) -> Any:
        """What the user would call the same wish: the target and the triggers, whatever the ids of resources in them are."""
        triggers = declared.inputs.get("triggers") or []
        return target_of(declared.inputs), repr(
            [self._meaning(engine, each) for each in triggers]
        )

    def _meaning(self, engine: Engine, value: Any) -> Any:
        if isinstance(value, list):
            return [self._meaning(engine, each) for each in value]
        if not isinstance(value, Ref):
            return value
        if value.name.startswith("upstream"):
            return "a"
        page = self.page(engine.stack, "before")
        is_made_now = page.made is not None and page.made[0] is engine
        held = page.made[1] if page.made is not None and is_made_now else page.saved
        return held and held.snapshot

    # A create -------------------------------------------------------------------------------------

    def creates(
        self,
        engine: Engine,
        declared: Declared,
        old: Held | None,
        *,
        again: bool,
        reasons: tuple[str, ...],
    ) -> Told:
        """Open the wish that a create is for."""
        page = self.page(engine.stack, declared.role)
        purpose = self.purpose(engine, declared)
        creation = Creation(engine, declared, old, page, purpose, again, reasons)
        same = self._same(creation)
        self._check_reasons(creation, same)
        # Deleted in this run, for what is upstream: the engine's calls do not say whether `--replace` names it too.
        may_be_same = same if again else None
        is_same = None if creation.forced else may_be_same
        if is_same is not None and declared.name in engine.deleted:
            # another replacement_trigger is not told by the engine
            return Told(self, engine, declared, is_same)
        want = self._want(creation, is_same)
        want.machines.add(engine.computer.memory)
        # What a forced replacement has left behind that was interrupted after its delete looks like any other.
        told = Told(self, engine, declared, want, or_else=may_be_same)
        told.resumed = self._resumed(creation, want)
        told.is_forced = creation.forced or creation.targeted
        return told

    def _same(self, creation: Creation) -> Want | None:
        """What the state has, if it is for the same purpose and has not failed."""
        saved = creation.page.saved
        if (
            saved is None
            or saved.purpose != creation.purpose
            or self._has_failed(saved)
        ):
            return None
        return saved

    def _has_failed(self, want: Want) -> bool:
        accepted = sorted(want.accepted, key=lambda post: post.at)
        return bool(accepted) and self.failed(accepted[-1])

    @staticmethod
    def _check_reasons(creation: Creation, same: Want | None) -> None:
        is_asked_for = creation.old is None or creation.forced or creation.again
        assert is_asked_for or same is None or not same.accepted, (
            f"replaced because of {creation.reasons}, though nothing has changed and nothing has failed"
        )

    def _want(self, creation: Creation, is_same: Want | None) -> Want:
        """The wish that a create is for: an earlier one that no state has, what the state has, or a new one."""
        page = creation.page
        is_demanded = creation.forced or creation.targeted
        # What an interrupted run has deleted to make another one is still to be made.
        want = page.unsaved_for(creation.purpose, forced=creation.forced)
        if want is not None and is_demanded:
            want.more += 1
            want.forced = True
        elif want is not None and self._is_too_old(want):
            want.more += 1  # what no state has serves a day
        if creation.forced:
            page.linger()  # it cannot be told from one that was not saved
        if want is not None:
            return want
        if is_same is not None:
            return is_same
        return self._new(
            page, creation.declared.kind, creation.purpose, forced=is_demanded
        )

    def _is_too_old(self, want: Want) -> bool:
        newest = max((post.at for post in want.accepted), default=None)
        now = self.story.emulator.now()
        return newest is not None and now - newest > UNSAVED_LASTS

    def _resumed(self, creation: Creation, want: Want) -> Want | None:
        """What a create may resume in place of its wish.

        It was forced in vain: what was to be replaced was still pending, and serves the wish as well.
        """
        if want.posts or creation.forced or creation.targeted:
            return None
        about = want.kind, creation.purpose
        before = [
            one for one in self.wants if (one.kind, one.purpose) == about and one.posts
        ]
        return before[-1] if before else None

    def _new(
        self, page: Page, kind: str, purpose: Any, *, forced: bool = False
    ) -> Want:
        want = Want(len(self.wants) + 1, kind, purpose, forced, purpose[0])
        self.wants.append(want)
        page.unsaved.append(want)
        return want

    # Other calls of the engine --------------------------------------------------------------------

    def updates(self, engine: Engine, declared: Declared, old: Held) -> Told:
        """Open the wish that an update is for."""
        page = self.page(engine.stack, declared.role)
        purpose = self.purpose(engine, declared)
        assert page.saved is not None
        unsaved = next((one for one in page.unsaved if one.purpose == purpose), None)
        if declared.kind != "Drill" or page.saved.purpose == purpose:
            resumes = declared.kind == "Restore"
            # If its request never came, a run whose end no state has may have sent another one.
            return Told(
                self, engine, declared, page.saved, or_else=unsaved, resumes=resumes
            )
        # A drill is never replaced: an update drills again.
        want = unsaved or self._new(page, "Drill", purpose)
        want.machines.add(engine.computer.memory)
        return Told(self, engine, declared, want, proof=old.plain.get("last_good"))

    def stays(self, engine: Engine, declared: Declared) -> None:
        """Check that nothing happens for a resource because nothing is to."""
        page = self.page(engine.stack, declared.role)
        assert page.saved is not None
        purpose = self.purpose(engine, declared)
        assert page.saved.purpose == purpose, (
            f"nothing happens, though {page.saved.purpose} is {purpose} now"
        )

    @contextmanager
    def reads(self, engine: Engine, held: Held) -> Iterator[None]:
        """Check a read, during the body."""
        began = self.story.now
        was_unfinished = held.unfinished
        before = held.plain
        try:
            yield
        finally:
            took = self.story.now - began
        assert took <= LONGEST_READ[was_unfinished] + SLACK, f"a read took {took:.0f} s"
        self.check_result(engine, held)
        if held.kind != "Snapshot":
            return
        self._check_refreshed(before, held.plain)
        want = self.page(engine.stack, held.role).saved
        if want is not None and not held.replaced:
            want.version = held.plain.get("version_id")

    def _check_refreshed(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        version = before.get("version_id")
        if version is None:
            return
        assert after.get("version_id") == version, (
            f"a refresh has made {after.get('version_id')} of {version}"
        )
        was_pinned = is_pinned(before.get("download_url"), version)
        assert not was_pinned or is_pinned(after.get("download_url"), version), (
            "a refresh has lost the pinned URL"
        )
        stored = [
            one.version_id
            for one in self.story.emulator.snapshots(before["database_id"])
        ]
        if version in stored and before["available"]:
            assert after["available"], (
                "the snapshot is stored, but not available in the state"
            )

    def deleted(self, engine: Engine, held: Held) -> None:
        """Note that the engine has deleted a resource."""
        if held.kind == "Upstream" or held.replaced:
            return
        same_role = [each for each in engine.stack.state if each.role == held.role]
        # Otherwise the resource has another name now, and an older checkpoint had this one.
        if all(each.replaced for each in same_role if each is not held):
            self.drop(engine.stack, held.role)

    # What the user does to a state ----------------------------------------------------------------

    def drop(self, stack: Stack, role: str) -> None:
        """Note that a state does not have a resource any more."""
        page = self.page(stack, role)
        page.linger()
        page.lingering += page.unsaved  # what no state ever had may be handed out still
        page.saved = None
        page.unsaved.clear()

    def note_import(self, stack: Stack, role: str, want: Want | None) -> None:
        """Note that a state is an older one, which knows nothing of what was made since."""
        page = self.page(stack, role)
        if page.saved is not None and page.saved is not want:
            page.linger()
            page.unsaved.append(page.saved)
            # A state had it, so it is taken or drilled again; what was shown by another name may be another's.
            page.saved.more += page.saved.kind != "Restore" or page.saved.by_old_name
        self._roll_back(page, want)
        if want is not None and page.saved is not want:
            page.unsaved[:] = [each for each in page.unsaved if each is not want]
        page.saved = want

    @staticmethod
    def _roll_back(page: Page, want: Want | None) -> None:
        """Note what the state had between this want and the present one: a restore of those must not act again."""
        number = 0 if want is None else want.number
        for earlier in page.history:
            # Of a newer state that is imported again: what it has dropped may act again.
            if earlier.number < number:
                earlier.is_rolled_back = False
        for later in page.history:
            if later.number <= number or later.kind != "Restore" or later.by_old_name:
                continue
            later.is_rolled_back = True
            if later not in page.unsaved:
                page.unsaved.append(later)
                later.more += 1

    def note_rename(self, stack: Stack, role: str) -> None:
        """Note that whatever call has shown a resource until now, also a preview's, had another name."""
        page = self.page(stack, role)
        if page.saved is not None:
            page.saved.by_old_name = True
        # Once a name has not restored for a day, it is done again under another one, as documented.
        for want in page.history:
            want.is_renamed = True

    def note_stack_rename(self, stack: Stack, role: str) -> None:
        """Note that a resource is another one from now on: no ledger knows what it was with its stack's earlier name."""
        page = self.page(stack, role)
        for want in (*page.history, *page.unsaved):
            want.by_old_name = True
            want.is_rolled_back = False
        for want in page.unsaved:
            want.more += 1
        self.note_rename(stack, role)

    # Errors ---------------------------------------------------------------------------------------

    def kept(self, declared: Declared, error: CallFailedError) -> None:
        """Check an error that leaves something unfinished."""
        self.check_error(error)
        assert error.kept is None or "__provider" not in error.kept.outputs, (
            f"{declared.name} cannot be read again"
        )

    def check_error(self, error: CallFailedError) -> None:
        """Check that an error is one for users, and true."""
        is_about_another = "another restore of the database" in error.message
        others_restore = self.story.common or self.story.somebody_restored
        assert others_restore or not is_about_another, (
            f"nobody else restores: {error.message}"
        )
        assert error.code != "INTERNAL", f"a traceback: {error.message}"
        assert "Traceback" not in error.message, f"a traceback: {error.message}"

    # What must be true ----------------------------------------------------------------------------

    def failed(self, post: JournalEntry) -> bool:
        """Whether the service has accepted a POST and made nothing of it."""
        if post.kind != "create":
            restore = self.story.restore_of(post)
            return restore is not None and restore.error is not None
        assert post.database_id is not None
        emulator = self.story.emulator
        stored = [one.version_id for one in emulator.snapshots(post.database_id)]
        running = [one.version_id for one in emulator.account.running(post.database_id)]
        return post.version_id not in [*stored, *running]

    def check_result(
        self,
        engine: Engine,
        held: Held,
        want: Want | None = None,
        unsaved: list[Unsaved] | None = None,
    ) -> None:
        """Check that a resource is of the right version or restore, or unfinished.

        What the ledger has as `unsaved` may be handed out again: no call has written down that a state had it.
        """
        page = self.page(engine.stack, held.role)
        want = want or page.saved
        if want is None or held.replaced or engine.stack.declaring(held.name) is None:
            return  # what the program does not declare any more waits for its deletion
        if not held.unfinished and self.is_of(held, want):
            return
        unsaved = engine.computer.unsaved() if unsaved is None else unsaved
        if self._is_lingering(held, want, page.lingering, unsaved) or held.unfinished:
            return
        if held.kind == "Snapshot" and self._is_late(engine, held, want):
            return
        started = [(post.at, post.version_id) for post in want.accepted]
        raise AssertionError(
            f"{held.id} is none of what was started for this wish: {started}"
        )

    def _is_lingering(
        self, held: Held, want: Want, lingering: list[Want], unsaved: list[Unsaved]
    ) -> bool:
        """Whether it is what the state had before, which no call has written down, as documented."""
        for old in lingering:
            posts = [post for post in old.posts if _is_among(post, unsaved)]
            if old.purpose == want.purpose and posts and self.may_be_of(held, posts):
                want.posts += [post for post in old.posts if post not in want.posts]
                want.number = old.number
                want.more = max(want.more, old.more)
                want.machines |= old.machines
                return True
        return False

    def _is_late(self, engine: Engine, held: Held, want: Want) -> bool:
        """Whether it is a later snapshot than the one that failed, and a warning says so, as documented."""
        if not want.accepted:
            return False
        last = want.accepted[-1]
        # The answer of one on its way is dated after its snapshot, which is then not taken for its own.
        if not self.failed(last) and last not in self.story.on_their_way:
            return False
        taken = parse_rfc3339(held.plain["created_at"])
        warnings = engine.provider(held.way).warnings
        is_warned = any("although its time is" in each for each in warnings)
        if taken <= last.at + LATEST_OF_LOST or not is_warned:
            return False
        want.late = held.plain["version_id"]
        return True

    @staticmethod
    def may_be_of(held: Held, posts: list[JournalEntry]) -> bool:
        """Whether something was handed out again that an earlier wish has started; what is unfinished says when."""
        sent = [post for post in posts if post.accepted]
        if held.unfinished:
            requested_at = parse_rfc3339(held.plain["requested_at"])
            return any(
                abs((post.at - requested_at).total_seconds()) <= SLACK for post in sent
            )
        versions = {post.version_id for post in sent}
        return held.kind != "Snapshot" or held.plain.get("version_id") in versions

    def is_of(self, held: Held, want: Want) -> bool:
        """Whether a complete resource is the result of what was sent for a wish."""
        sent = [post for post in want.accepted if not self.failed(post)]
        if held.kind == "Snapshot":
            return held.plain.get("version_id") in {
                want.late,
                *(post.version_id for post in sent),
            }
        return bool(sent) and "attempt" not in held.plain

    def check_posts(self) -> None:
        """Check that no wish has more than one accepted POST, whose result may have come."""
        for want in self.wants:
            if want.kind == "Drill" and self.story.common:
                continue  # the other stack's restore may have overwritten what was to be checked
            accepted = [post for post in want.accepted if not self.failed(post)]
            accepted = [
                post for post in accepted if post not in self.story.on_their_way
            ]
            if len(accepted) > len(want.machines) + want.more:
                at = ", ".join(f"{post.at:%d %H:%M:%S}" for post in accepted)
                about = f"{want.kind} for {want.purpose}"
                raise AssertionError(f"{about} was sent {len(accepted)} times: {at}")


def _is_among(post: JournalEntry, unsaved: list[Unsaved]) -> bool:
    """Whether the ledger has this POST among what no state was seen to have.

    Of one whose run was killed before the answer, the ledger has the time of its claim.
    """
    slack = timedelta(seconds=SLACK)
    return any(
        database_id == post.database_id
        and -slack <= post.at - posted_at <= LONGEST_CLAIM + slack
        for database_id, posted_at in unsaved
    )


@dataclass
class Told:
    """One call that makes or changes a resource, and the wish that it is for."""

    books: Books
    engine: Engine
    declared: Declared
    want: Want  # what it is for
    or_else: Want | None = None
    resumes: bool = False
    proof: dict[str, Any] | None = None
    resumed: Want | None = None  # what it may resume instead
    is_forced: bool = False  # whether another one is wanted whatever there was before
    is_made: bool = False

    def __post_init__(self) -> None:
        self.page = self.books.page(self.engine.stack, self.declared.role)

    def __enter__(self) -> Self:
        self._before = len(self._sent())
        self._began = self.books.story.now
        self._unsaved = self.engine.computer.unsaved()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _trace: object
    ) -> None:
        sent = self._note_posts()
        was_killed = kind is not None and issubclass(kind, asyncio.CancelledError)
        if not was_killed:
            self._check_call(sent)

    def _check_call(self, sent: list[JournalEntry]) -> None:
        """Check that the call has ended in time, and has sent nothing that is forgotten."""
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
            self._check_again(new)
            self.want.senders.add(self.engine.computer.memory)
        return sent

    def _check_again(self, new: list[JournalEntry]) -> None:
        """Check that a restore does not act again because an older state was imported; other triggers and `--replace` do it."""
        before = [post for post in self.want.accepted if post not in new]
        is_known = self.engine.computer.memory in self.want.senders
        if self.want.is_renamed and before:
            is_known &= (
                self.books.story.emulator.now() - before[-1].at <= RENAMED_WITHIN
            )
        if self.want.is_rolled_back and not self.is_forced and is_known and before:
            times = [f"{post.at:%d %H:%M:%S}" for post in self.want.accepted]
            self.books.story.fail(
                "acts once", f"{self.declared.name} is restored again: {times}"
            )

    def made(self, held: Held) -> None:
        """Check what the provider has answered with."""
        self.is_made = True
        self._check_answer(held, self._note_posts())
        assert self.proof is None or held.plain.get("last_good"), (
            "the last good drill is forgotten"
        )
        if self.or_else is not None and self.books.is_of(held, self.or_else):
            self.want = self.or_else
        elif self.resumed is not None and self._is_resumed(held, self.resumed):
            self.want = self.resumed
        self.page.made = self.engine, self.want
        self.want.version = (
            held.plain.get("version_id") if held.kind == "Snapshot" else None
        )
        self.books.check_result(self.engine, held, self.want, self._unsaved)

    def _check_answer(self, held: Held, sent: list[JournalEntry]) -> None:
        """Check that an answer which the process got is not forgotten, whatever the ledger can be written."""
        attempt = held.plain.get("attempt") or {}
        for post in sent:
            if not (
                held.unfinished
                and self._is_answered(post)
                and self.books.may_be_of(held, [post])
            ):
                continue
            if attempt and attempt.get("answered") not in {"200", "202"}:
                answer = f"{post.status} at {post.answered_at:%d %H:%M:%S}"
                broken = f"{self.declared.name} was answered {answer}, and is kept as {attempt}"
                self.books.story.fail("answer kept", broken)

    def _is_answered(self, post: JournalEntry) -> bool:
        """Whether the call got an answer; one that comes as the time-out ends may be too late."""
        if not post.accepted or post.fault is not None or post.answered_at is None:
            return False
        story = self.books.story
        is_at_end = story.now - self._began >= self.declared.inputs["timeout"]
        age = (story.emulator.now() - post.answered_at).total_seconds()
        return not is_at_end or age >= SLACK

    def _is_resumed(self, held: Held, earlier: Want) -> bool:
        return held.unfinished and self.books.may_be_of(held, earlier.posts)

    def saved(self) -> None:
        """Note that the state has what was made."""
        if self.page.saved is not self.want:
            self.page.linger()
        self.page.saved = self.want
        self.page.history.append(self.want)
        # What is newer than what was handed out, and what no state ever had, may be handed out by a later run.
        newer = [one for one in self.page.unsaved if one.number > self.want.number]
        self.page.lingering += newer
        self.page.unsaved.clear()
        self.want.machines.add(self.engine.computer.memory)
