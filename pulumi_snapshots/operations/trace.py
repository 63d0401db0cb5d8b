"""What is written down of a create's POST while it lasts: for the other resources of this process, and for later runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.api.errors import NotSent
from pulumi_snapshots.operations.find import failed_after
from pulumi_snapshots.operations.journal import Entry, Found
from pulumi_snapshots.operations.memory import KnownAttempt
from pulumi_snapshots.operations.watch import age_of

if TYPE_CHECKING:
    from pulumi_snapshots.operations.inputs import SnapshotInputs
    from pulumi_snapshots.operations.record import Attempt
    from pulumi_snapshots.operations.session import Session

__all__ = ["HeldBack", "Trace"]


class HeldBack(NotSent):
    """A create of another run on this database is under way, so that this one's POST did not leave."""


class Trace:
    """Keeps the run's memory and the attempt journal in step with one create.

    Args:
        session: has both.
        inputs: the create's.
        owner: the resource's name.
    """

    def __init__(self, session: Session, inputs: SnapshotInputs, owner: str | None) -> None:
        self._session = session
        self._inputs = inputs
        self._owner = owner
        self._known: KnownAttempt | None = None
        self._entry: Entry | None = None
        self._found: Found | None = None

    @property
    def attempt(self) -> Attempt | None:
        """The POST that may have started a snapshot; None while none has."""
        return self._known.attempt if self._known else None

    async def others_are_answering(self) -> bool:
        """Whether a living process has a create under way on this database."""
        journal = self._session.journal
        # None lasts that long, whatever the system says: another process may have its number by now.
        return any(
            journal.is_under_way(entry) and not self._is_over(entry)
            for entry in await journal.of(self._inputs.database_id)
        )

    async def take_over(self) -> Attempt | None:
        """The POST of an earlier run that was killed in this very create; None where there is none.

        What else the journal knows to be unresolved on this database becomes known to this run.
        """
        journal, memory, database_id = self._session.journal, self._session.memory, self._inputs.database_id
        for entry in await journal.of(database_id):
            known = KnownAttempt(entry.owner, entry.attempt, orphaned=self._is_orphaned(entry))
            if self._is_over(entry):
                await journal.erase(entry)
            elif self._is_of_this_create(entry) and await journal.write(replace(entry, process=journal.process.name)):
                self.resumes(entry.attempt)
                return entry.attempt
            elif known not in memory.attempts(database_id):
                memory.begin(database_id, known)
        return None

    def _is_over(self, entry: Entry) -> bool:
        """Whether a snapshot of it would be there by now."""
        return timedelta(seconds=age_of(self._session, entry.attempt)) > failed_after(entry.attempt)

    def _is_orphaned(self, entry: Entry) -> bool:
        """Whether nobody will claim it; what another resource left when it was killed, that one's next run will."""
        return not entry.in_state and entry.owner in {None, self._owner}

    def _is_of_this_create(self, entry: Entry) -> bool:
        """Whether a killed run left it in this create; one that is in the state was given up, or it would be resumed."""
        return (
            not entry.in_state
            and entry.process != self._session.journal.process.name
            and self._owner is not None
            and entry.owner == self._owner
            and entry.purpose == self._inputs.purpose
        )

    def resumes(self, attempt: Attempt) -> None:
        """The POST was sent by an earlier run."""
        self._entry = self._entry_of(attempt)
        self._remember(KnownAttempt(self._owner, attempt))

    async def sends(self, attempt: Attempt) -> None:
        """The POST leaves now, or more is known of it: written down for who comes after a kill.

        Raises:
            HeldBack: a create of another run on this database was faster; the POST must not leave.
        """
        entry = self._entry_of(attempt)
        if not await self._session.journal.write(entry) and self._known is None:
            raise HeldBack(f"POST /databases/{self._inputs.database_id}/snapshots")
        if self._known is None:
            # Read now that nobody else can start one: what others have found by now is not of this POST.
            for version_id in await self._session.journal.found(entry.database_id):
                self._session.memory.is_of_another(entry.database_id, version_id)
        self._entry = entry
        self._remember(KnownAttempt(self._owner, attempt))

    async def nothing_was_started(self) -> None:
        """The POST was refused, or never left."""
        self._remember(None)
        await self._erase()

    def found(self, version_id: str) -> None:
        """Its snapshot is known."""
        self._found = Found(self._inputs.database_id, version_id, self._session.clock.utc())
        self._remember(None)

    async def answered(self) -> None:
        """The create or resume has answered, and the state has its end: found, failed, or still pending."""
        with anyio.CancelScope(shield=True):
            if self._known is None:
                await self._erase()
            elif self._entry is not None:
                await self._session.journal.write(replace(self._entry, attempt=self._known.attempt, in_state=True))

    async def _erase(self) -> None:
        if self._entry is not None:
            await self._session.journal.erase(self._entry, self._found)
            self._entry = None

    def _entry_of(self, attempt: Attempt) -> Entry:
        process = self._session.journal.process.name
        return Entry(self._owner, self._inputs.database_id, self._inputs.purpose, attempt, process)

    def _remember(self, known: KnownAttempt | None) -> None:
        memory, database_id = self._session.memory, self._inputs.database_id
        if self._known is not None:
            memory.resolve(database_id, self._known)
        self._known = known
        if known is not None:
            memory.begin(database_id, known)
