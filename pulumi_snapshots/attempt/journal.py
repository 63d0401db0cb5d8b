"""The attempt journal: a file of POSTs, by which later runs finish what an earlier one has sent.

An entry is written before its POST is sent. Our own answer to the engine does not end it, since the engine may be unable to
save the state: it ends when a later call of the engine carries the version or the attempt, which proves that the state has
it, or after 30 days. A create that finds an entry of its own that was never proved completes from it. The journal also keeps
the versions that were found lately: a later POST of another stack did not start them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cmp_to_key
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.api.service_clock import PLAUSIBLE
from pulumi_snapshots.attempt.owner import EngineRun, owner_of
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.attempt.process import Process
from pulumi_snapshots.clock import Clock, is_nonsense, parse_rfc3339, rfc3339
from pulumi_snapshots.errors.outcomes import SharedStateUnavailable
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.checks import RETENTION
from pulumi_snapshots.properties.unfit import Unfit
from pulumi_snapshots.shared_file import AGAIN_AFTER, SharedFile

T = TypeVar("T")
ENTRIES = "attempts"
FOUND = "found"
FOUND_KEPT = timedelta(hours=2)
"""How long a found version is kept. An older one cannot be mistaken for the snapshot of any unresolved POST."""
ENTRY_KEPT = timedelta(seconds=RETENTION)
"""How long an entry is kept if nothing proves that a state has it: as long as the service keeps a snapshot."""
READ_PATIENCE = 5.0
"""Seconds that a read may take before which nothing is sent. A write that fails later than that is not tried again soon."""
SAME_CLOCK = 2.0
"""Seconds: how far two machines find their clocks apart from a third one is not known more exactly."""
UNREADABLE = (KeyError, TypeError, ValueError, OverflowError, AttributeError)
"""The errors of an unreadable item of the file; it stays as it is, and must not stop a run."""


@dataclass(frozen=True)
class Entry:
    """One POST.

    Attributes:
        owner: the resource, see `owner_of`; None if unknown.
        database_id: the database that the POST was sent for.
        purpose: a digest of the triggers; with other triggers the resource needs another POST.
        post: the POST.
        process: the process that sent it, or waits for its result; see `Process`.
        in_state: whether the engine got it as pending.
        restores: for a restore, the snapshot as DATABASE_ID/VERSION_ID; None for a snapshot.
        finished: the result that the engine got, the version or the time of the restore; None without one.
        proved: whether a later call has shown that the state has it as pending.
        forced: whether the user asked for another one, whatever the state held.
        run: the run of the engine in which the state's resource was deleted, so that only a create of the same run completes
            from it, or one whose engine shows that its state still has the resource, since that run was interrupted; empty if
            it is all about a POST.
        ahead: seconds that the clock of all machines was ahead of the sender's, if several share the journal.
        outputs: what else the state had of what was deleted, without secrets.
    """

    owner: str | None
    database_id: str
    purpose: str
    post: Post
    process: str
    in_state: bool = False
    restores: str | None = None
    finished: str | None = None
    proved: bool = False
    forced: bool = False
    run: str = ""
    ahead: float | None = None
    outputs: dict[str, Any] = field(default_factory=dict)

    def to_file(self) -> dict[str, Any]:
        """The form in the file."""
        others = {name: value for name, value in vars(self).items() if name != "post"}
        if self.ahead is None:
            del others["ahead"]
        return {**others, "attempt": self.post.to_outputs()}

    @classmethod
    def from_file(cls, content: Any) -> Entry:
        """Read the form in the file; raises one of `UNREADABLE` if it cannot be read."""
        entry = cls(
            owner=owner_of(content["owner"]),
            database_id=checks.database_id()(content["database_id"]),
            purpose=str(content["purpose"]),
            post=Post.from_outputs(content["attempt"]),
            process=str(content["process"]),
            in_state=bool(content.get("in_state")),
            restores=content.get("restores"),
            finished=content.get("finished"),
            # Version 0.1.0, which had no such mark, counted what the state was to have as given up.
            proved=bool(content.get("proved", content.get("in_state"))),
            forced=bool(content.get("forced")),
            run=str(content.get("run", "")),
            ahead=None if content.get("ahead") is None else float(content["ahead"]),
            outputs=dict(content.get("outputs", {})),
        )
        entry._check()
        return entry

    def _check(self) -> None:
        """Raise `Unfit` or another of `UNREADABLE` for values that no run writes: they would end in any error much later."""
        post = self.post
        if any(is_nonsense(each) for each in vars(post).values() if isinstance(each, datetime)):
            raise Unfit("is of another time")
        clocks = post.service_clock_offset or 0.0, self.ahead or 0.0
        if not (0 <= post.timeout <= RETENTION and all(abs(each) <= PLAUSIBLE for each in clocks)):
            raise Unfit("has a time-out or a difference of clocks that cannot be")
        if not all(each is None or isinstance(each, str) for each in (post.answered, self.finished, self.owner)):
            raise Unfit("has something else for a text")
        if not all(isinstance(each, str | int | float) for each in self.outputs.values()):
            raise Unfit("has something else for an output")
        for name in {"created_at", "expires_at"} & self.outputs.keys():
            parse_rfc3339(self.outputs[name])
        if self.restores is not None:
            database_id, _, version = self.restores.partition("/")
            checks.database_id()(database_id), checks.version_id(version)

    def is_same_post(self, other: Entry) -> bool:
        """Whether both entries are of the same POST, whatever their resource is called by now."""
        return (self.database_id, self.post.posted_at) == (other.database_id, other.post.posted_at)

    def is_done_for(self, other: Entry) -> bool:
        """Whether this has the result of what the other entry is about to ask for, which no state was shown to have."""
        mine = self.owner, self.purpose, self.restores is None
        is_same = other.owner is not None and mine == (other.owner, other.purpose, other.restores is None)
        return is_same and self.finished is not None and not self.proved and not self.run

    def came_before(self, other: Entry) -> bool:
        """Whether the POST of this entry was sent before the other one, however the clocks stood or were set between them."""
        here, there = self._common_offset, other._common_offset
        apart = 0.0 if here is None or there is None else here - there
        return self.post.posted_at + timedelta(seconds=apart) < other.post.posted_at

    @property
    def _common_offset(self) -> float | None:
        """Seconds that a clock which all machines know is ahead of the sender's; None if none was seen."""
        offset = self.post.service_clock_offset
        return self.ahead if offset is None else offset


@dataclass(frozen=True)
class Found:
    """A version that a create or a refresh found.

    Attributes:
        database_id: the snapshot's database.
        version_id: the service's version id.
        at: when it was found, by this machine's clock; in a file that several machines share, by the clock of all.
    """

    database_id: str
    version_id: str
    at: datetime

    def later(self, seconds: float | None) -> Found:
        """The same by a clock that is ahead."""
        return replace(self, at=self.at + timedelta(seconds=seconds)) if seconds else self

    def to_file(self) -> dict[str, str]:
        """The form in the file."""
        return {**vars(self), "at": rfc3339(self.at)}

    @classmethod
    def from_file(cls, content: Any) -> Found:
        """Read the form in the file; raises one of `UNREADABLE` if it cannot be read."""
        database_id, version_id = checks.database_id()(content["database_id"]), checks.version_id(content["version_id"])
        at = parse_rfc3339(content["at"])
        if is_nonsense(at):
            raise Unfit("is of another time")
        return cls(database_id, version_id, at)


@dataclass(frozen=True)
class Proof:
    """What a call of the engine shows of the state.

    Attributes:
        database_id: the database of a snapshot, or the one that was restored.
        finished: the version, or the time of the restore, that the state has; None while it is pending.
        posted_at: when the POST was sent that the state has as pending; None if it is complete.
        requested: when the POST of a complete one was sent, in whole seconds of the service's clock; None if that is not known.
    """

    database_id: str
    finished: str | None = None
    posted_at: datetime | None = None
    requested: datetime | None = None

    @classmethod
    def of(cls, database_id: str, finished: str | None, post: Post | None, requested_at: str | None) -> Proof:
        """What the outputs of a resource prove; `post` if it is pending, `requested_at` as the state has it."""
        requested = parse_rfc3339(requested_at) if requested_at else None
        return cls(database_id, finished, post.posted_at if post else None, requested)

    def shows(self, entry: Entry) -> bool:
        """Whether it shows that the state has what this entry is about."""
        if entry.database_id != self.database_id:
            return False
        if self.finished is not None and entry.finished is None:
            # Another machine has waited for its result.
            return self.requested is not None and self.requested == entry.post.requested
        if self.finished is not None:
            return entry.finished == self.finished
        return entry.finished is None and not entry.proved and entry.post.posted_at == self.posted_at


class AttemptJournal:
    """The journal of one API key, in a file that is shared with other processes; without a file it keeps nothing.

    Args:
        file: shared with other processes, or with other machines.
        process: this process.
        clock: the time.
        earlier: what this machine wrote before it shared a journal with others; it moves there.
    """

    def __init__(
        self, file: SharedFile | None, process: Process, clock: Clock, earlier: AttemptJournal | None = None
    ) -> None:
        self.file = file
        self.process = process
        self._clock = clock
        self._earlier = earlier
        self._moving = anyio.Lock(fast_acquire=True)
        self._unproved: tuple[Entry, ...] | None = None  # as other processes left them
        self._owed: list[Callable[[dict[str, Any]], object]] = []
        self._signed_at = -math.inf
        self._is_under_way = False
        self._reads_after = -math.inf
        self._notes_after = -math.inf

    # Reads -------------------------------------------------------------------------------------------------------------

    async def of(self, database_id: str) -> list[Entry]:
        """Read the entries of a database before something is sent for it, oldest first.

        Raises:
            SharedStateUnavailable: several machines share the journal, and it cannot be used.
        """
        if self.file is None:
            return []
        await self.file.ready()
        content = await self._content(self.file)
        self._reads_after = -math.inf
        entries = _entries(content)
        return [entry for entry in entries if entry.database_id == database_id]

    async def all(self) -> list[Entry]:
        """Read the entries of all databases, oldest first; none if they cannot be read."""
        return _entries(await self._readable() or {})

    async def recently_found(self) -> list[Found]:
        """Read the versions that runs found lately, of all databases; none if they cannot be read."""
        return [one.later(-(self.ahead or 0.0)) for one in _read(await self._readable() or {}, FOUND, Found.from_file)]

    async def _readable(self) -> dict[str, Any] | None:
        """The content; None if it cannot be read, or could not a moment ago: many reads in a row must not wait each."""
        if self.file is None or self._clock.monotonic() < self._reads_after:
            return None
        # The file keeps why it cannot be read, for a warning. The read of a resource must not wait for it for long.
        with contextlib.suppress(SharedStateUnavailable), anyio.move_on_after(READ_PATIENCE):
            return await self._content(self.file)
        self._reads_after = self._clock.monotonic() + AGAIN_AFTER
        return None

    async def _content(self, file: SharedFile) -> dict[str, Any]:
        content = await file.read()
        if await self._move_in():
            content = await file.read()
        self.process.see(content)
        return content

    async def _move_in(self) -> bool:
        """Move what this machine's earlier runs have written to the journal of all; returns whether there was something."""
        async with self._moving:  # a read that continues before this has ended would miss what moves
            earlier = self._earlier
            return earlier is not None and await self._move(earlier)

    async def _move(self, earlier: AttemptJournal) -> bool:
        entries = await earlier.all()
        over = [entry for entry in entries if not earlier.is_under_way(entry)]

        def edit(content: dict[str, Any]) -> None:
            there = _entries(content)
            new = [replace(entry, ahead=self.ahead) for entry in over if not any(map(entry.is_same_post, there))]
            _replace(content, lambda _: False, *new)

        if over:
            await self._change(edit, None, durable=True)
            await earlier.remove(over)
        if len(over) == len(entries):
            self._earlier = None
        return bool(over)

    def is_under_way(self, entry: Entry) -> bool:
        """Whether another running process is working on an entry."""
        if entry.in_state or entry.finished is not None or entry.process == self.process.name:
            return False
        # After that time no operation is under way, even if the process seems to run: another one may have its number. A
        # lease is of one process only.
        is_recent = entry.post.age(self._clock.utc()) <= entry.post.failed_after.total_seconds()
        return (is_recent or self.process.renew_every > 0) and self.process.is_running(entry.process)

    @property
    def is_held(self) -> bool:
        """Whether other machines know that this process runs, so that they leave its entries to it."""
        return self.file is None or not self.process.renew_every or self.process.is_running(self.process.name)

    def run_of(self, engine: EngineRun) -> str:
        """The name of a run in `Entry.run`."""
        return self.process.run_name(engine.name)

    @asynccontextmanager
    async def kept_alive(self) -> AsyncIterator[None]:
        """Renew this process's lease, if it has one, while the body runs."""
        if self.file is None or not self.process.renew_every:
            yield
            return
        failed: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep_signing)
            try:
                yield
            except Exception as error:  # noqa: BLE001  raised below: the group would wrap it
                failed = error
            group.cancel_scope.cancel()
        if failed is not None:
            raise failed

    async def _keep_signing(self) -> None:
        began = self._clock.monotonic()
        while True:
            due = max(began, self._signed_at) + self.process.renew_every - self._clock.monotonic()
            if due > 0:
                await self._clock.sleep(due)
                continue
            began = self._signed_at = self._clock.monotonic()  # of many attempts one does it
            if self._is_under_way:
                await self._tell(self._sign, None)

    # Writes, each as the file then is; all but `enter` are made up for later if the file cannot be written ----------------

    async def enter(
        self, entry: Entry, *, after: Collection[Entry], instead: Entry | None = None
    ) -> frozenset[str] | None:
        """Add an entry right before its POST is sent, unless another entry of the database forbids that.

        Afterwards it is on the disk, so that it outlives the machine's end too.

        Args:
            entry: the entry.
            after: entries of the database that the caller knows; any other one forbids the POST if its result is not known, or
                if it is what this POST is for.
            instead: the entry of the same POST with an earlier time, if writing it took too long. If several machines share
                the journal and one of them has ended it meanwhile, the POST is forbidden.

        Returns:
            The versions of the database that other runs found lately; None if the entry was not added.

        Raises:
            SharedStateUnavailable: several machines share the journal, and it cannot be written; the POST must not leave.
        """

        def is_it(old: Entry) -> bool:  # written before, but the answer to that was lost
            same = old.is_same_post(entry) or (instead is not None and old.is_same_post(instead))
            return same and old.process == entry.process

        def edit(content: dict[str, Any]) -> frozenset[str] | None:
            there = [old for old in _entries(content) if old.database_id == entry.database_id]
            if instead is not None and self.process.renew_every and not any(map(is_it, there)):
                return None
            others = [old for old in there if not is_it(old)]
            if any(map(self.is_under_way, others)):
                return None
            unknown = [old for old in others if not any(map(old.is_same_post, after))]
            # Another run of this very operation may have finished since, and only its state may have what it did.
            if any(old.finished is None or old.is_done_for(entry) for old in unknown):
                return None
            _replace(content, lambda old: is_it(old) or self._is_past(old), entry)
            found = _read(content, FOUND, Found.from_file)
            return frozenset(one.version_id for one in found if one.database_id == entry.database_id)

        try:
            return await self._change(edit, frozenset(), durable=True)
        except SharedStateUnavailable:
            # Only the answer may be lost, and nothing is sent for the entry.
            self._owed.append(lambda content: _replace(content, is_it))
            raise

    @property
    def ahead(self) -> float | None:
        """See `Entry`."""
        if self.file is None or not self.process.renew_every:
            return None
        return round(self.file.now() - self._clock.utc().timestamp(), 3)  # as exact as the time of a POST

    def by_this_clock(self, entry: Entry) -> Entry:
        """An entry of another machine, with the time of its POST by this machine's clock if theirs are apart."""
        here = self.ahead
        if here is None or entry.ahead is None or abs(entry.ahead - here) < SAME_CLOCK:
            return entry
        behind = round(entry.ahead - here, 3)
        post, offset = entry.post, entry.post.service_clock_offset
        posted_at = post.posted_at + timedelta(seconds=behind)
        moved = replace(
            post, posted_at=posted_at, service_clock_offset=None if offset is None else round(offset - behind, 3)
        )
        return replace(entry, post=moved, ahead=here)

    async def sent_elsewhere(self, database_id: str, post: Post) -> Entry | None:
        """The entry of a POST from the state, if no answer has dated it and the clock of its machine is known from here.

        Without that, another machine would take the time of such a POST for one of its own clock.
        """
        if self.file is None or not self.process.renew_every or post.service_clock_offset is not None:
            return None
        entries = _entries(await self._readable() or {})
        same = (each for each in entries if each.database_id == database_id and each.post.posted_at == post.posted_at)
        entry = next(same, None)
        return None if entry is None or entry.ahead is None else entry

    async def update(self, entry: Entry, *, was: Entry | None = None) -> bool:
        """Replace the entry of a POST; false, without a change, if another process is working on one of its database.

        Args:
            entry: the entry.
            was: the same by another machine's clock, as it is in the file; it is as `entry` unless given.
        """
        before = was or entry

        def edit(content: dict[str, Any]) -> bool:
            others = [old for old in _entries(content) if not old.is_same_post(before)]
            if any(self.is_under_way(old) for old in others if old.database_id == entry.database_id):
                return False
            _replace(content, lambda old: old.is_same_post(before) or old.is_same_post(entry), entry)
            return True

        return await self._tell(edit, default=True)

    async def conclude(self, entry: Entry, found: Found | None = None, *, supersedes: bool = False) -> None:
        """Replace the entry of a POST by the result that goes to the engine, and end the owner's earlier ones.

        Args:
            entry: the entry.
            found: the snapshot that the POST started, if it is known.
            supersedes: whether earlier entries end even if their result is not known.
        """

        def is_over(old: Entry) -> bool:
            is_ours = entry.owner is not None and old.owner == entry.owner and not self.is_under_way(old)
            earlier = is_ours and old.came_before(entry)
            return old.is_same_post(entry) or (earlier and (supersedes or old.finished is not None))

        def edit(content: dict[str, Any]) -> None:
            _replace(content, is_over, entry)
            _note_found(content, found and found.later(self.ahead))

        await self._tell(edit, None)

    async def erase(self, entry: Entry, found: Found | None = None) -> None:
        """Remove the entry of a POST that the state needs no more, and note the snapshot that it started, if it did."""

        def edit(content: dict[str, Any]) -> None:
            _replace(content, entry.is_same_post)
            _note_found(content, found and found.later(self.ahead))

        await self._tell(edit, None)

    async def remove(self, entries: Collection[Entry]) -> None:
        """Remove entries that another journal has now."""
        await self._tell(lambda content: _replace(content, lambda old: any(map(old.is_same_post, entries))), None)

    async def erase_post(self, database_id: str, post: Post, found: Found | None = None) -> None:
        """Remove the entry of a POST that this run has from the state."""
        await self.erase(Entry(None, database_id, "", post, self.process.name), found)

    @property
    def has_every_proof(self) -> bool:
        """Whether `prove` has nothing to do, whatever shows what the state has; from any thread, see `has_noted`."""
        return self.file is None or self._unproved == ()

    def has_noted(self, proof: Proof) -> bool:
        """Whether `prove` has nothing to do; from any thread, since its list is replaced and never changed."""
        unproved = self._unproved
        return self.file is None or (unproved is not None and not any(map(proof.shows, unproved)))

    async def prove(self, proof: Proof) -> None:
        """Note that the state has what this shows. Costs one read in a process, and a write only if an entry ends by it."""
        if self.has_noted(proof):
            return

        def edit(content: dict[str, Any]) -> None:
            entries = (entry for entry in _entries(content) if not entry.run and not self.is_under_way(entry))
            shown = list(filter(proof.shows, entries))
            # One that is pending stays for others: it may still be mistaken for the result of another POST.
            pending = [replace(entry, in_state=True, proved=True) for entry in shown if proof.finished is None]
            if shown:
                _replace(content, lambda old: not old.run and any(map(old.is_same_post, shown)), *pending)

        if self._unproved is None:
            content = await self._readable()
            if content is None:  # the next write proves it, as that of a delete right after this
                self._owed.append(edit)
                return
            # What a run has deleted is not told by a state: an interrupted one leaves it there.
            self._unproved = tuple(entry for entry in _entries(content) if not entry.proved and not entry.run)
        if any(map(proof.shows, self._unproved)):
            self._unproved = tuple(entry for entry in self._unproved if not proof.shows(entry))
            await self._note(edit)

    async def prove_created(self, owner: str | None) -> None:
        """Note that the state has what this process has made for an owner: the engine deletes what that replaces."""

        def is_made(entry: Entry) -> bool:
            return entry.finished is not None and (entry.owner, entry.process) == (owner, self.process.name)

        if owner is not None:
            await self._remove(is_made)

    async def let_go(self, entry: Entry) -> None:
        """Note what the engine deletes, for a create of the same resource in the same run; for its POST there is no entry."""

        def edit(content: dict[str, Any]) -> None:
            _replace(content, lambda old: old.is_same_post(entry) or self._is_past(old), entry)

        await self._note(edit)

    async def give_up(self, entry: Entry) -> None:
        """Note that what the engine deletes is to be replaced by another one, also if this run is interrupted before that."""

        def is_it(old: Entry) -> bool:
            return bool(old.run) and old.is_same_post(entry)

        await self._remove(is_it)

    async def _remove(self, is_over: Callable[[Entry], bool]) -> None:
        """Remove entries for a call of the engine; without a write if there are none."""

        def edit(content: dict[str, Any]) -> None:
            if any(map(is_over, _entries(content))):
                _replace(content, is_over)

        if self.file is None:
            return
        content = await self._readable()
        if content is None:
            self._owed.append(edit)
        elif any(map(is_over, _entries(content))):
            await self._note(edit)

    def _is_past(self, entry: Entry) -> bool:
        """Whether an entry has lasted as long as it may; what a run has deleted lasts as long as the run, however old it is."""
        if entry.run and self.process.is_running(entry.run):
            return False
        return entry.post.age(self._clock.utc()) > ENTRY_KEPT.total_seconds()

    async def _tell(self, edit: Callable[[dict[str, Any]], T], default: T) -> T:
        """Change the file now, or with the next change if it cannot be used; the file keeps why, for a warning."""
        try:
            return await self._change(edit, default)
        except SharedStateUnavailable:
            self._owed.append(edit)
            return default

    async def _note(self, edit: Callable[[dict[str, Any]], None]) -> None:
        """Change the file for a call of the engine that sends nothing; many in a row must not wait each for a place that is gone."""
        began = self._clock.monotonic()
        if began < self._notes_after:
            self._owed.append(edit)
            return
        await self._tell(edit, None)
        ended = self._clock.monotonic()
        if edit in self._owed and ended - began >= READ_PATIENCE:
            self._notes_after = ended + AGAIN_AFTER

    async def _change(self, edit: Callable[[dict[str, Any]], T], default: T, *, durable: bool = False) -> T:
        if self.file is None:
            return default
        owed = tuple(self._owed)

        def whole(content: dict[str, Any]) -> T:
            self.process.see(content)
            before = content.get(ENTRIES)
            for each in owed:
                each(content)
            result = edit(content)
            if content.get(ENTRIES) is not before:  # a lease alone is no reason to write
                self._sign(content)
            return result

        result = await self.file.change(whole, durable=durable)
        self._owed = [each for each in self._owed if each not in owed]
        self._reads_after = self._notes_after = -math.inf
        return result

    def _sign(self, content: dict[str, Any]) -> None:
        """Renew the lease of a process that has something under way, and those of its engine's runs."""
        if not self.process.renew_every:
            return
        mine = [entry for entry in _entries(content) if entry.process == self.process.name]
        runs = {entry.run for entry in mine if entry.run}
        self._is_under_way = any(entry.finished is None and not entry.in_state for entry in mine)
        if runs or self._is_under_way:
            self.process.sign(content, runs)
            self._signed_at = self._clock.monotonic()


def _entries(content: dict[str, Any]) -> list[Entry]:
    return sorted(_read(content, ENTRIES, Entry.from_file), key=cmp_to_key(_order))


def _order(one: Entry, other: Entry) -> int:
    return other.came_before(one) - one.came_before(other)


def _replace(content: dict[str, Any], is_over: Callable[[Entry], bool], *new: Entry) -> None:
    """Remove the entries that are over, and add new ones. All others stay as they are, unreadable ones too."""
    kept = []
    for item in _items(content, ENTRIES):
        entry = _one(item, Entry.from_file)
        if entry is None or not is_over(entry):
            kept.append(item)
    content[ENTRIES] = [*kept, *(entry.to_file() for entry in new)]


def _note_found(content: dict[str, Any], found: Found | None) -> None:
    if found is not None:
        # In the same change, so that other runs never see a POST that is neither unresolved nor found.
        lately = [one for one in _read(content, FOUND, Found.from_file) if found.at - one.at < FOUND_KEPT]
        content[FOUND] = [one.to_file() for one in (*lately, found)]


def _items(content: dict[str, Any], part: str) -> Iterable[Any]:
    stored = content.get(part, [])
    return stored if isinstance(stored, list) else [stored]


def _one(item: Any, from_file: Callable[[Any], T]) -> T | None:
    try:
        return from_file(item)
    except UNREADABLE:
        return None


def _read(content: dict[str, Any], part: str, from_file: Callable[[Any], T]) -> list[T]:
    read = (_one(item, from_file) for item in _items(content, part))
    return [one for one in read if one is not None]
