"""The ledger: everything that runs must know of each other, in one document that one edit changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.attempt import Attempt, Claim, Intent, Proof, Status, decide, is_resource, unresolved
from pulumi_snapshots.ledger.place import Document, Place
from pulumi_snapshots.ledger.service_clock import ServiceClock

T = TypeVar("T")
ATTEMPTS = "attempts"
AGAIN_AFTER = timedelta(minutes=1)
"""How long no other call reads a ledger for what its state shows, after one could not: a stack may have a thousand of them."""
UNKNOWN_RUN = "unknown"
"""In `Attempt.let_go` the run of a process without an engine."""
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, OverflowError)
"""The errors of an entry that no run has written like that."""


@dataclass(eq=False)
class _Edit:
    """A change that waits to be written, and its end."""

    change: Callable[[Document], Any]
    result: Any = None
    error: Exception | None = None
    done: bool = False


class Ledger:
    """The ledger of one service, shared by all runs that use the same place.

    Every method raises `LedgerUnavailable` if the place cannot be used; what it was to change is as before then.

    Args:
        place: holds the document.
        clock: the service's; all times in the ledger are by it.

    Attributes:
        trouble: why the place could not be used lately, for a warning; empty if it could.
    """

    def __init__(self, place: Place, clock: ServiceClock) -> None:
        self.place = place
        self.clock = clock
        self.trouble = ""
        self._known: set[str] = set()
        self._unproved: tuple[Attempt, ...] | None = None
        self._seen: tuple[Attempt, ...] = ()
        self._reading = anyio.Lock()
        self._writing = anyio.Lock(fast_acquire=True)
        self._waiting: list[_Edit] = []
        self._read: tuple[datetime, list[Attempt] | LedgerUnavailable] | None = None

    async def read(self) -> Document:
        """Read the document."""
        with self._noting():
            return await self.place.read()

    async def edit(self, change: Callable[[Document], T]) -> T:
        """Change the document, see `Place.edit`. Changes that wait for another one are written together."""
        mine = _Edit(change)
        self._waiting.append(mine)
        try:
            await self._writing.acquire()
        except anyio.get_cancelled_exc_class():
            if mine in self._waiting:
                self._waiting.remove(mine)
                raise
            with anyio.CancelScope(shield=True):  # its caller must know whether it was written
                await self._writing.acquire()
        try:
            if not mine.done:
                await self._write(mine)
        finally:
            self._writing.release()
        with self._noting():
            if mine.error is not None:
                raise mine.error
        result: T = mine.result
        return result

    async def _write(self, mine: _Edit) -> None:
        """Write all changes that wait, each of which gets its result or its error."""
        edits, self._waiting = self._waiting, []
        try:
            await self.place.edit(partial(_make, edits))
        except Exception as error:  # noqa: BLE001  each caller gets it
            if isinstance(error, LedgerUnavailable):  # those that came meanwhile have waited for the same place
                edits, self._waiting = edits + self._waiting, []
            for each in edits:
                each.error = error.again() if isinstance(error, LedgerUnavailable) else error
        except BaseException:  # this caller was cancelled before anything was written
            self._waiting = [each for each in edits if each is not mine] + self._waiting
            raise
        for each in edits:
            each.done = True
        self._read = None

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except LedgerUnavailable as error:
            self.trouble = error.trouble
            raise
        self.trouble = ""

    async def attempts(self) -> list[Attempt]:
        """Read all attempts, oldest first."""
        return self.attempts_in(await self.read())

    async def get(self, id_: str) -> Attempt | None:
        """Read one attempt; None if it is not there."""
        return next((each for each in await self.attempts() if each.id == id_), None)

    async def snapshots(self, database_id: str | None = None) -> list[Attempt]:
        """Read which requests have a snapshot, of a database or of all, oldest request first."""
        return [
            each
            for each in await self.attempts()
            if (each.kind, each.status) == ("snapshot", Status.FOUND) and database_id in {None, each.database_id}
        ]

    # A request -----------------------------------------------------------------------------------------------------------

    def decided(self, document: Document, intent: Intent) -> Claim:
        """Decide on a document what an operation has to act on, and enter a new attempt; see `decide`."""
        now = self.clock.now()
        kept = [each for each in self.attempts_in(document) if not each.is_past(now)]
        claim = decide(kept, intent, now)
        if claim.is_new:
            new = claim.attempt
            if intent.fresh and new.owner is not None:  # what it had asked for before is given up
                mine = new.owner, new.kind, new.database_id
                kept = [
                    replace(each, proved=True) if (each.owner, each.kind, each.database_id) == mine else each
                    for each in kept
                ]
            document[ATTEMPTS] = {each.id: each.to_document() for each in (*kept, new)}
        return claim

    async def withdraw(self, attempt: Attempt) -> None:
        """Remove an attempt that has certainly started nothing, or whose result will never come."""
        await self.edit(lambda document: document.get(ATTEMPTS, {}).pop(attempt.id, None))

    async def answered(self, attempt: Attempt, how: str) -> Attempt:
        """Enter how a request was answered, see `Request.answered`."""

        def change(document: Document) -> Attempt:
            there = self._one(document, attempt.id) or attempt
            request = replace(there.request, answered=how)
            known = there if there.is_over else replace(there, request=request, status=unresolved(request))
            self._put(document, known)
            return known

        return await self.edit(change)

    async def update(self, attempt: Attempt, **changes: Any) -> Attempt:
        """Change fields of an attempt; one that another run has seen the end of meanwhile stays as it is there."""

        def change(document: Document) -> Attempt:
            there = self._one(document, attempt.id)
            if there is not None and there.is_over and not attempt.is_over:
                return there
            changed = replace(there or attempt, **changes)
            if there is not None and there.status is not Status.SENT:  # its run knows better how it was answered
                changed = replace(changed, request=replace(changed.request, answered=there.request.answered))
            # One without an answer that is gone was withdrawn by its run: it has started nothing.
            if there is not None or attempt.proved or attempt.request.accepted:
                self._put(document, changed)
            return changed

        return await self.edit(change)

    async def found(self, attempt: Attempt, result: str, *, holds: timedelta | None = None) -> Attempt:
        """Enter the result of an attempt; earlier finished ones of the same owner are superseded.

        Args:
            attempt: the attempt.
            result: see `Attempt.result`.
            holds: how long others must stay away from its database all the same.
        """

        def change(document: Document) -> Attempt:
            there = self._one(document, attempt.id) or attempt
            if there.is_over:
                return there
            proved = there.proved or not is_resource(there.owner)
            now = self.clock.now()
            done = replace(there, status=Status.FOUND, result=result, ended_at=now, proved=proved)
            done = replace(done, held_until=now + holds) if holds else done
            for each in self.attempts_in(document):
                same = (each.owner, each.kind, each.database_id) == (done.owner, done.kind, done.database_id)
                if same and each.is_over and each.request.posted_at < done.request.posted_at:
                    self._put(document, replace(each, proved=True))
            self._put(document, done)
            return done

        return await self.edit(change)

    async def failed(self, attempt: Attempt, code: str) -> Attempt:
        """Enter that the service has reported a failure."""
        return await self.update(attempt, status=Status.FAILED, result=code, ended_at=self.clock.now(), proved=True)

    async def hold(self, attempt: Attempt, until: datetime | None) -> None:
        """Keep others away from the database of an attempt that is over, until then; None lets them act again."""

        def change(document: Document) -> None:
            there = self._one(document, attempt.id)
            if there is not None:
                self._put(document, replace(there, held_until=until))

        await self.edit(change)

    # What states have ----------------------------------------------------------------------------------------------------

    def has_noted(self, proof: Proof) -> bool:
        """Whether `note` has nothing to do; from any thread, since its list is replaced and never changed."""
        if self._unproved is None or (proof.request is not None and proof.request.id not in self._known):
            return False
        return not any(map(proof.shows, self._unproved))

    async def note(self, proof: Proof, owner: str | None, purpose: str, source: str | None = None) -> None:
        """Note that the state has what a call has carried; a pending request that the ledger lacks is entered.

        Costs one read in a process, and a write only if it proves something.
        """
        there = await self._there() if self._unproved is None else []
        if self._unproved is None:
            self._known = {each.id for each in there}
            self._seen = tuple(there)
            self._unproved = tuple(each for each in there if not each.proved or each.let_go)
        if self.has_noted(proof):
            return
        shown = [each for each in self._unproved if proof.shows(each)]
        if not shown and proof.request is not None:
            request, kind, database_id = proof.request, proof.kind, proof.database_id
            shown = [Attempt(kind, owner, database_id, purpose, request, unresolved(request), source)]
        await self._mark(shown, proof)
        self._known |= {each.id for each in shown}
        self._unproved = tuple(each for each in self._unproved if each not in shown)

    async def let_go(self, proof: Proof, run: str) -> None:
        """Note that a state drops a restore, so that the same resource may do it again in a later run."""
        shown = [each for each in self._seen if proof.shows(each)]
        if not shown:  # of this process itself, or of none
            shown = [each for each in await self._there() if proof.shows(each)]
        await self._mark(shown, proof, run or UNKNOWN_RUN)

    async def _mark(self, shown: list[Attempt], proof: Proof, run: str | None = None) -> None:
        """Enter that a state has these attempts, or has let them go in a run."""

        def change(document: Document) -> None:
            for each in shown:
                there = replace(self._one(document, each.id) or each, proved=True, let_go=run)
                if proof.result and not there.is_over:
                    there = replace(there, status=Status.FOUND, result=proof.result)
                self._put(document, there)

        if shown:
            await self.edit(change)

    async def _there(self) -> list[Attempt]:
        """Read all attempts, for many calls that show a state: also if that fails, it is not read again for each."""
        async with self._reading:
            if self._read is not None and abs(self.clock.now() - self._read[0]) < AGAIN_AFTER:
                if isinstance(self._read[1], LedgerUnavailable):
                    raise self._read[1].again()
                return self._read[1]
            try:
                there = await self.attempts()
            except LedgerUnavailable as error:
                self._read = self.clock.now(), error
                raise
            self._read = self.clock.now(), there
            return there

    # The document ----------------------------------------------------------------------------------------------------------

    def attempts_in(self, document: Document) -> list[Attempt]:
        """The attempts of a document, oldest first."""
        with self._readable():
            read = [Attempt.from_document(each) for each in document.get(ATTEMPTS, {}).values()]
        return sorted(read, key=lambda each: each.request.posted_at)

    def _one(self, document: Document, id_: str) -> Attempt | None:
        with self._readable():
            stored = document.get(ATTEMPTS, {}).get(id_)
            return None if stored is None else Attempt.from_document(stored)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Raise `LedgerUnavailable` for an entry that cannot be read: another version may have written it, and it may be of a request."""
        try:
            yield
        except UNREADABLE:
            raise self.place.unreadable("it holds an entry that cannot be read") from None

    @staticmethod
    def _put(document: Document, attempt: Attempt) -> None:
        document.setdefault(ATTEMPTS, {})[attempt.id] = attempt.to_document()


def _make(edits: list[_Edit], document: Document) -> None:
    """Make changes. One that raises is left out, and all others are made again without it."""
    before = json.dumps(document) if len(edits) > 1 else ""
    for each in edits:
        each.error = None
    index = 0
    while index < len(edits):
        each = edits[index]
        index += 1
        if each.error is None:
            try:
                each.result = each.change(document)
            except Exception as error:
                each.error, index = error, 0
                if not before:
                    raise
                document.clear()
                document.update(json.loads(before))
