"""What is written down of a POST while its operation lasts: for the other resources of this process, and for later runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.api.errors import NotSent
from pulumi_snapshots.attempt.journal import Entry, Found
from pulumi_snapshots.attempt.memory import KnownAttempt
from pulumi_snapshots.listing.match import failed_after
from pulumi_snapshots.listing.wait import age_of

if TYPE_CHECKING:
    from pulumi_snapshots.attempt.journal import AttemptJournal
    from pulumi_snapshots.attempt.record import Attempt
    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.snapshot.inputs import SnapshotInputs

__all__ = ["HeldBack", "SnapshotTrace", "Trace"]


class HeldBack(NotSent):
    """Another run has an attempt on this database that was not waited for, so that this one's POST did not leave."""


class Trace:
    """Keeps an attempt journal in step with one operation.

    Args:
        session: the service.
        journal: of the session, for this kind of POST.
        database_id: whom it is sent to.
        purpose: what it is for, see `Entry`.
        owner: the resource's name.
        restores: see `Entry`.
        anew: whether it gives up on what a killed run has left of this very operation.
    """

    def __init__(  # noqa: PLR0913  what an entry holds
        self,
        session: Session,
        journal: AttemptJournal,
        *,
        database_id: str,
        purpose: str,
        owner: str | None,
        restores: str | None = None,
        anew: bool = False,
    ) -> None:
        self._session = session
        self._journal = journal
        self._database_id = database_id
        self._purpose = purpose
        self._owner = owner
        self._restores = restores
        self._anew = anew
        self._attempt: Attempt | None = None
        self._entry: Entry | None = None
        self._found: Found | None = None
        self._earlier: list[Entry] = []

    @property
    def attempt(self) -> Attempt | None:
        """The POST that may have started something; None while none has."""
        return self._attempt

    async def others_are_answering(self) -> bool:
        """Whether a living process has an operation under way on this database."""
        # None lasts that long, whatever the system says: another process may have its number by now.
        return any(
            self._journal.is_under_way(entry) and self._age(entry) <= failed_after(entry.attempt)
            for entry in await self._journal.of(self._database_id)
        )

    async def take_over(self) -> Attempt | None:
        """The POST of an earlier run that was killed in this very operation; None where there is none.

        What else the journal knows to be unresolved on this database becomes known to this run, once.
        """
        process = self._journal.process.name
        for entry in await self._journal.of(self._database_id):
            if self._is_over(entry):
                await self._journal.erase(entry)
            elif self._is_ours(entry) and await self._journal.write(replace(entry, process=process)):
                self._restores = entry.restores
                self.resumes(entry.attempt)
                return entry.attempt
            elif not any(entry.is_same_attempt(earlier) for earlier in self._earlier):
                self._earlier.append(entry)
                self._learns_of(entry)
        return None

    def _is_ours(self, entry: Entry) -> bool:
        """Whether a killed run left it in this operation; one that is in the state was given up, or it would be resumed."""
        return (
            not self._anew
            and not entry.in_state
            and entry.process != self._journal.process.name
            and self._owner is not None
            and entry.owner == self._owner
            and entry.purpose == self._purpose
        )

    def _is_over(self, entry: Entry) -> bool:
        """Whether it tells nothing any more."""
        return self._age(entry) > failed_after(entry.attempt)

    def _age(self, entry: Entry) -> timedelta:
        return timedelta(seconds=age_of(self._session, entry.attempt))

    def _learns_of(self, entry: Entry) -> None:
        """Somebody else's attempt on this database is not resolved."""

    def resumes(self, attempt: Attempt) -> None:
        """The POST was sent by an earlier run."""
        self._entry = self._entry_of(attempt)
        self._remember(attempt)

    async def sends(self, attempt: Attempt) -> None:
        """The POST leaves now, or more is known of it: written down for who comes after a kill.

        Raises:
            HeldBack: another run on this database was faster, also where its operation has ended meanwhile with its end
                unknown; the POST must not leave.
        """
        entry = self._entry_of(attempt)
        if self._attempt is not None:
            await self._journal.write(entry)
            self._entry = entry
        else:
            if not await self._journal.write(entry, after=self._earlier):
                raise HeldBack(f"POST /databases/{self._database_id}/snapshots")
            self._entry = entry  # known before the next wait: an interrupt must not leave it behind
            await self._entered(entry)
        self._remember(attempt)

    async def _entered(self, entry: Entry) -> None:
        """Nobody else can start one on this database now."""

    async def nothing_was_started(self) -> None:
        """The POST was refused, or never left."""
        self._remember(None)
        await self._erase()

    async def answered(self) -> None:
        """The operation has answered, and the state has its end: done, failed, or still pending."""
        with anyio.CancelScope(shield=True):
            if self._attempt is None:
                await self._erase()
            elif self._entry is not None:
                await self._journal.write(replace(self._entry, attempt=self._attempt, in_state=True))

    async def _erase(self) -> None:
        if self._entry is not None:
            await self._journal.erase(self._entry, self._found)
            self._entry = None

    def _entry_of(self, attempt: Attempt) -> Entry:
        process = self._journal.process.name
        return Entry(self._owner, self._database_id, self._purpose, attempt, process, restores=self._restores)

    def _remember(self, attempt: Attempt | None) -> None:
        self._attempt = attempt

    async def learns(self, attempt: Attempt) -> None:
        """More is known of it than how it was answered."""
        self._remember(attempt)
        await self.sends(attempt)

    def resolved(self) -> None:
        """Its end is known."""
        self._remember(None)


class SnapshotTrace(Trace):
    """Of a create: keeps the run's memory in step too, so that no other one takes its snapshot.

    Args:
        session: the service.
        inputs: the create's.
        owner: the resource's name.
        anew: whether it gives up on what a killed run has left of this very create.
    """

    def __init__(self, session: Session, inputs: SnapshotInputs, owner: str | None, *, anew: bool = False) -> None:
        super().__init__(
            session, session.journal, database_id=inputs.database_id, purpose=inputs.purpose, owner=owner, anew=anew
        )

    def _learns_of(self, entry: Entry) -> None:
        # Nobody will claim what an earlier run of this resource left; what another one's left, that one's next run will.
        orphaned = not entry.in_state and entry.owner in {None, self._owner}
        known = KnownAttempt(entry.owner, entry.attempt, orphaned=orphaned)
        if known not in self._session.memory.attempts(self._database_id):
            self._session.memory.begin(self._database_id, known)

    async def _entered(self, _entry: Entry) -> None:
        # What others have found by now is not of this POST.
        for version_id in await self._journal.found(self._database_id):
            self._session.memory.is_of_another(self._database_id, version_id)

    def found(self, version_id: str) -> None:
        """Its snapshot is known."""
        self._found = Found(self._database_id, version_id, self._session.clock.utc())
        self.resolved()

    def _remember(self, attempt: Attempt | None) -> None:
        memory = self._session.memory
        if self._attempt is not None:
            memory.resolve(self._database_id, KnownAttempt(self._owner, self._attempt))
        super()._remember(attempt)
        if attempt is not None:
            memory.begin(self._database_id, KnownAttempt(self._owner, attempt))
