"""The ledger: what runs must know of each other, in one document that one edit changes."""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.clock import ServiceClock, parse_rfc3339
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.attempt import (
    PROGRESS,
    SAVED,
    Attempt,
    Status,
    request_name,
)
from pulumi_snapshots.ledger.decision import Claim, Wish, decide
from pulumi_snapshots.ledger.place import ATTEMPTS, UNREADABLE, Document, Place

T = TypeVar("T")
FIELDS_OF_ATTEMPT = Attempt.properties().keys()


class Ledger:
    """The ledger of one service, shared by all runs that use the same place.

    Every method raises `LedgerUnavailable` if the `place` of its document cannot be used. The
    document is then unchanged, and until an edit succeeds `trouble` holds the reason, for a
    warning. All times are by the `clock`, the service's.

    Attributes:
        seen: See `RunMemory.seen`. Each edit marks these attempts as saved. No edit is made only to
            mark them, so that a run without a change writes nothing.
    """

    def __init__(self, place: Place, clock: ServiceClock) -> None:
        self.place = place
        self.read = place.read
        self.clock = clock
        self.trouble = ""
        self.seen: AbstractSet[str] = frozenset()
        self._writing = anyio.Lock(fast_acquire=True)
        self._dropping = anyio.Lock(fast_acquire=True)
        self._to_drop: dict[str | None, set[str]] = {}

    async def edit(self, change: Callable[[Document], T]) -> T:
        """Change the document, see `Place.edit`.

        Args:
            change: Changes the document; called again if another run was faster.

        Returns:
            The result of `change`.
        """

        def change_and_mark(document: Document) -> T:
            result = change(document)
            _mark_saved(document, self.seen)
            return result

        async with self._writing:
            try:
                result = await self.place.edit(change_and_mark)
            except LedgerUnavailable as error:
                self.trouble = error.trouble
                raise
        self.trouble = ""
        return result

    async def look(self) -> Document:
        """Read the document; after a failure, `trouble` says why.

        Returns:
            The document.
        """
        try:
            return await self.read()
        except LedgerUnavailable as error:
            self.trouble = error.trouble
            raise

    async def attempts(self) -> list[Attempt]:
        """Read all attempts, oldest first.

        Returns:
            The attempts.
        """
        return [*self.attempts_in(await self.read()).values()]

    async def get(self, id_: str) -> Attempt | None:
        """Read one attempt.

        Args:
            id_: The attempt's id.

        Returns:
            The attempt; None if the ledger lacks it.
        """
        return self.attempts_in(await self.read()).get(id_)

    async def snapshots(self, database_id: str | None = None) -> list[Attempt]:
        """Read which requests have a snapshot, oldest request first.

        Args:
            database_id: Only attempts for this database; None for all.

        Returns:
            The attempts that have led to a snapshot.
        """
        return [
            each
            for each in await self.attempts()
            if each.has_snapshot and database_id in {None, each.database_id}
        ]

    def attempts_in(self, document: Document) -> dict[str, Attempt]:
        """Read the attempts of a document.

        Args:
            document: The ledger's document.

        Returns:
            The attempts by their ids, oldest first.

        Raises:
            LedgerUnavailable: If an entry cannot be read, since a request may have been sent for
                it.
        """
        stored = document.get(ATTEMPTS, {})
        unreadable = (LookupError, TypeError, ValueError, AttributeError, OverflowError)
        with suppress(*unreadable):
            found = [
                Attempt.from_outputs(each)
                for id_, each in stored.items()
                if each.keys() <= FIELDS_OF_ATTEMPT and each["request"]["id"] == id_
            ]
            if len(found) == len(stored) and all(each.is_sound for each in found):
                found.sort(key=attrgetter("request.posted_at"))
                return {each.id: each for each in found}
        raise self.place.unavailable(
            "it holds an entry that cannot be read", *UNREADABLE
        )

    # A request ------------------------------------------------------------------------------------

    def decided(self, document: Document, wish: Wish) -> Claim:
        """Decide on a document what an operation has to act on, and enter a new attempt.

        Args:
            document: The ledger's document.
            wish: What the operation wants.

        Returns:
            What the operation has to act on.

        Raises:
            ClaimRefused: If nothing may be sent, see `decide`.
        """
        now = self.clock.now()
        attempts = self.attempts_in(document)
        if wish.id in attempts:  # the answer to its own write was lost
            return Claim(attempts[wish.id], "new")
        claim = decide(attempts.values(), wish, now)
        if claim.role != "new":
            return claim
        if self.clock.is_known():  # never by a clock that no answer has confirmed
            for id_, each in attempts.items():
                if each.is_past(now) or each.is_void(now):
                    del document[ATTEMPTS][id_]
        _put(document, claim.attempt)
        return claim

    def left(
        self, document: Document, attempt: Attempt, answered_within: timedelta
    ) -> Attempt | None:
        """Enter in a document that the request of a claim leaves now.

        Args:
            document: The ledger's document.
            attempt: The claim.
            answered_within: How long its run may wait for the answer.

        Returns:
            The attempt as it is then; None if its time to leave is over, or the ledger lacks it.
        """
        now = self.clock.now()
        entered = self.attempts_in(document).get(attempt.id)
        if (
            entered is None
            or entered.status is not Status.CLAIMED
            or now > (entered.due or now)
        ):
            return None
        sent = replace(entered, status=Status.SENT, due=now + answered_within)
        _put(document, sent)
        return sent

    async def enter(self, attempt: Attempt, *, is_new: bool = False) -> Attempt:
        """Enter what is known of an attempt, beside what other runs have entered.

        Args:
            attempt: The attempt as the caller knows it.
            is_new: Whether the ledger may lack the attempt because only a state has it. Otherwise
                an attempt without an answer that the ledger lacks was withdrawn: it has started
                nothing.

        Returns:
            The attempt as it is then; an attempt only moves forward, see `Attempt.joined`.
        """

        def change(document: Document) -> Attempt:
            entered = self.attempts_in(document).get(attempt.id)
            known = entered.joined(attempt) if entered is not None else attempt
            is_answered = PROGRESS[attempt.status] > PROGRESS[Status.LOST]
            if entered is not None or is_answered or is_new:
                _put(document, known)
            return known

        return await self.edit(change)

    async def end(
        self,
        attempt: Attempt,
        result: str,
        *,
        failed: bool = False,
        holds: timedelta | None = None,
    ) -> Attempt:
        """Enter the result of an attempt; a first result stays.

        Args:
            attempt: The attempt as the caller knows it.
            result: Its version, the time of the restore, or the code of its failure.
            failed: Whether the result is the code of a failure.
            holds: How long other requests stay away from the database then.

        Returns:
            The attempt as it is then.
        """
        now = self.clock.now()
        ended = replace(
            attempt,
            status=Status.FAILED if failed else Status.FOUND,
            result=result,
            ended_at=now,
            held_until=now + holds if holds else None,
        )
        return await self.enter(ended)

    async def take_shared(self, attempt: Attempt) -> bool:
        """Take what a guard shares with one Snapshot of its run.

        Args:
            attempt: The guard's attempt.

        Returns:
            Whether the attempt was shared until now.
        """

        def change(document: Document) -> bool:
            entered = self.attempts_in(document).get(attempt.id)
            if entered is None or entered.shared_in is None:
                return False
            _put(document, replace(entered, shared_in=None))
            return True

        return await self.edit(change)

    def stop_sharing(self, document: Document, database_id: str) -> None:
        """Enter in a document that no Snapshot may use a guard's request any more.

        Args:
            document: The ledger's document.
            database_id: The database of the requests.
        """
        for each in self.attempts_in(document).values():
            if each.shared_in is not None and each.database_id == database_id:
                _put(document, replace(each, shared_in=None))

    async def hold(self, attempt: Attempt, until: datetime | None) -> None:
        """Let no other request of an attempt's database begin for a time.

        Args:
            attempt: The attempt.
            until: The end of that time; None ends it now.
        """

        def change(document: Document) -> None:
            entered = self.attempts_in(document).get(attempt.id)
            if entered is not None:
                _put(document, replace(entered, held_until=until))

        await self.edit(change)

    async def withdraw(self, attempt: Attempt) -> bool:
        """Remove an attempt that has certainly started nothing, or whose result will never come.

        Args:
            attempt: The attempt.

        Returns:
            Whether the attempt was removed: False if another run has entered its result, or how it
            was answered, meanwhile.
        """

        def change(document: Document) -> bool:
            entered = self.attempts_in(document).get(attempt.id)
            if entered is not None:
                answered = entered.joined(attempt).request.answered
                if entered.is_over or answered != attempt.request.answered:
                    return False
            document.get(ATTEMPTS, {}).pop(attempt.id, None)
            return True

        return await self.edit(change)

    # What states have -----------------------------------------------------------------------------

    async def drop(self, names: Iterable[str], run: str | None) -> None:
        """Enter that states drop attempts; what many calls drop at once is entered in one edit.

        Args:
            names: By what the states have them, see `Attempt.names`.
            run: The run that drops them, so that a later one may do them again; None to mark them
                as saved and no more.
        """
        wanted = frozenset(names)
        waiting = self._to_drop.setdefault(run, set())
        waiting |= wanted

        def change(document: Document) -> None:
            for each in self.attempts_in(document).values():
                if not each.names & dropped:
                    continue
                _put(document, replace(each, in_state=run or SAVED))

        async with self._dropping:
            if not wanted & waiting:
                return  # another call has taken them along
            dropped = frozenset(waiting)
            await self.edit(change)
            waiting -= dropped

    async def enter_seen(self) -> None:
        """Mark as saved what calls of this process have shown states to have."""
        await self.edit(lambda _: None)


def _put(document: Document, attempt: Attempt) -> None:
    document.setdefault(ATTEMPTS, {})[attempt.request.id] = attempt.to_outputs()


def _mark_saved(document: Document, seen: AbstractSet[str]) -> None:
    """Mark the attempts as saved that states were seen to have; entries are as they are stored."""
    entries: dict[str, Any] = document.get(ATTEMPTS, {})
    for id_, entry in entries.items() if seen else ():
        # An entry that cannot be read is reported by `Ledger.attempts_in`.
        with suppress(LookupError, TypeError, ValueError, AttributeError):
            posted_at = entry["request"]["posted_at"]
            requested_at = parse_rfc3339(posted_at).replace(microsecond=0)
            name = request_name(entry["kind"], entry["database_id"], requested_at)
            if id_ in seen or name in seen:
                entry["in_state"] = SAVED
