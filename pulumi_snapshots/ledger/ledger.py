"""The ledger: everything that runs must know of each other, in one document that one edit changes."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.clock import ServiceClock, rfc3339
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.attempt import (
    GUARDS,
    NEVER,
    Attempt,
    Claim,
    Intent,
    Proof,
    Status,
    decide,
    is_resource,
)
from pulumi_snapshots.ledger.place import UNREADABLE, Document, Place

T = TypeVar("T")
ATTEMPTS = "attempts"
KEYS = Attempt.properties().keys()
AGAIN_AFTER = timedelta(minutes=1)
"""How long no call reads a ledger for what its state shows after one could not: a stack may have a thousand of them."""


class Ledger:
    """The ledger of one service, shared by all runs that use the same place.

    Every method raises `LedgerUnavailable` if the `place` of its document cannot be used; what it was to change is as before
    then, and `trouble` says why, for a warning, until an edit succeeds. All times are by the `clock`, the service's.
    """

    def __init__(self, place: Place, clock: ServiceClock) -> None:
        self.place = place
        self.read = place.read
        self.clock = clock
        self.trouble = ""
        self._writing = anyio.Lock(fast_acquire=True)
        self._reading = anyio.Lock()
        # As attempts were once in this process, replaced and never changed.
        self._seen: dict[str, Attempt] | None = None
        self._tried_at = NEVER
        self._marking = anyio.Lock(fast_acquire=True)
        self._marks: dict[str, tuple[Attempt, str | None, str | None]] = {}

    async def edit(self, change: Callable[[Document], T]) -> T:
        """Change the document, see `Place.edit`."""
        async with self._writing:
            try:
                result = await self.place.edit(change)
            except LedgerUnavailable as error:
                self.trouble = error.trouble
                raise
        self.trouble = ""
        return result

    async def attempts(self) -> list[Attempt]:
        """Read all attempts, oldest first."""
        return [*self.attempts_in(await self.read()).values()]

    async def get(self, id_: str) -> Attempt | None:
        """Read one attempt; None if it is not there."""
        return self.attempts_in(await self.read()).get(id_)

    async def snapshots(self, database_id: str | None = None) -> list[Attempt]:
        """Read which requests have a snapshot, of a database or of all, oldest request first."""
        return [
            each
            for each in await self.attempts()
            if each.has_snapshot and database_id in {None, each.database_id}
        ]

    def attempts_in(self, document: Document) -> dict[str, Attempt]:
        """The attempts of a document by their ids, oldest first; one that cannot be read is an error, as it may be of a request."""
        stored = document.get(ATTEMPTS, {})
        with suppress(LookupError, TypeError, ValueError, AttributeError, OverflowError):
            found = [
                (id_, Attempt.from_outputs(each))
                for id_, each in stored.items()
                if each.keys() <= KEYS
            ]
            if len(found) == len(stored) and all(each.is_sound for _, each in found):
                return dict(sorted(found, key=lambda each: each[1].request.posted_at))
        # no run has written it so
        raise self.place.unavailable("it holds an entry that cannot be read", *UNREADABLE)

    # A request -----------------------------------------------------------------------------------------------------------

    def decided(self, document: Document, intent: Intent) -> Claim:
        """Decide on a document what an operation has to act on, and enter a new attempt; see `decide`."""
        now, there = self.clock.now(), self.attempts_in(document)
        if intent.id in there:  # the answer to its own write was lost
            return Claim(there[intent.id], "new")
        claim = decide(there.values(), intent, now)
        if claim.role == "new":
            kept = {
                id_: each
                for id_, each in document.get(ATTEMPTS, {}).items()
                if not there[id_].is_past(now)
            }
            document[ATTEMPTS] = {**kept, claim.attempt.id: claim.attempt.to_outputs()}
        return claim

    async def withdraw(self, attempt: Attempt) -> None:
        """Remove an attempt that has certainly started nothing, or whose result will never come."""
        await self.edit(lambda document: document.get(ATTEMPTS, {}).pop(attempt.id, None))

    async def update(self, attempt: Attempt, **changes: Any) -> Attempt:
        """Change fields of an attempt; one that another run has seen the end of meanwhile stays as it is there."""

        def change(document: Document) -> Attempt:
            there = self.attempts_in(document).get(attempt.id)
            if there is not None and there.is_over and not attempt.is_over:
                return there
            changed = replace(there or attempt, **changes)
            if (
                there is not None and there.status is not Status.SENT
            ):  # its run knows better how it was answered
                changed = replace(
                    changed, request=replace(changed.request, answered=there.request.answered)
                )
            # One without an answer that is gone was withdrawn: it has started nothing.
            if there is not None or changed.status not in {Status.SENT, Status.LOST}:
                _put(document, changed)
            return changed

        return await self.edit(change)

    async def ended(
        self, attempt: Attempt, result: str, *, failed: bool = False, holds: timedelta | None = None
    ) -> Attempt:
        """Enter the result of an attempt, after which others stay away from its database for `holds`; nothing resumes earlier ones."""
        now = self.clock.now()

        def change(document: Document) -> Attempt:
            known = self.attempts_in(document)
            there = known.get(attempt.id, attempt)
            if there.is_over:
                return there
            for each in () if failed else known.values():  # it may be forgotten before them
                same = (each.owner, each.kind, each.database_id) == (
                    there.owner,
                    there.kind,
                    there.database_id,
                )
                if same and each.is_over and each.request.posted_at < there.request.posted_at:
                    _put(document, replace(each, proved=True))
            status = Status.FAILED if failed else Status.FOUND
            proved = failed or there.proved or not is_resource(there.owner)
            until = now + holds if holds else None
            done = replace(
                there, status=status, result=result, ended_at=now, proved=proved, held_until=until
            )
            _put(document, done)
            return done

        return await self.edit(change)

    # What states have ----------------------------------------------------------------------------------------------------

    async def note(self, proof: Proof, owner: str | None, let_go: str | None = None) -> None:
        """Note that the state has what a call has carried, or drops it in the run `let_go`, so that a later run may do it again.

        A pending request that the ledger lacks is entered. Costs one read in a process, and a write only if it proves something;
        what waits for that is entered in one edit.
        """

        def change(document: Document) -> dict[str, Attempt]:
            there, marked = self.attempts_in(document), dict[str, Attempt]()
            for id_, (attempt, result, run) in marks.items():
                one = replace(there.get(id_, attempt), proved=True, let_go=run)
                if result and not one.is_over:
                    one = replace(one, status=Status.FOUND, result=result)
                _put(document, one)
                marked[id_] = one
            return marked

        async with self._reading:
            if self._seen is None and abs(self.clock.now() - self._tried_at) >= AGAIN_AFTER:
                try:
                    self._seen = self.attempts_in(await self.read())
                finally:
                    self._tried_at = self.clock.now()
            seen = self._seen or {}
        shown = [
            each
            for each in seen.values()
            if proof.shows(each) and (let_go or each.let_go or not each.proved)
        ]
        if proof.request is not None and proof.request.id not in seen:
            known = proof.request, proof.request.status, proof.source
            shown = [Attempt(proof.kind, owner, proof.database_id, proof.purpose, *known)]
        self._marks |= {each.id: (each, proof.result, let_go) for each in shown}
        async with self._marking:
            if any(
                each.id in self._marks for each in shown
            ):  # otherwise another call has taken them along
                marks, self._marks = self._marks, {}
                marked = await self.edit(change)
                if self._seen is not None:  # all of them, or none
                    self._seen = self._seen | marked


def _put(document: Document, attempt: Attempt) -> None:
    document.setdefault(ATTEMPTS, {})[attempt.id] = attempt.to_outputs()


# In words ---------------------------------------------------------------------------------------------------------------

FIELDS = (
    "database_id",
    "what",
    "by",
    "since",
    "until",
    "state",
    "then",
    "kind",
    "source",
    "owner",
    "account",
)


def described(attempt: Attempt, now: datetime, *, is_shared: bool) -> dict[str, Any]:
    """What runs, and users, know of a request that has no known end, or keeps others away; `is_shared`: machines share the ledger."""
    by = attempt.owner or "an unnamed resource"
    if is_resource(attempt.owner):
        project, stack, *_, name = by.split("::")
        by = f"{name} of {project}/{stack}"
    told = {
        "what": "snapshot" if attempt.kind == "snapshot" else f"restore of {attempt.source}",
        "by": by,
        "since": rfc3339(attempt.request.posted_at),
        "until": rfc3339(attempt.waited_for_until),
        "state": _state(attempt, now),
        "then": _then(
            attempt, now, "any machine that shares the ledger" if is_shared else "this machine"
        ),
    }
    return {name: told[name] if name in told else getattr(attempt, name) for name in FIELDS}


def command_of(attempt: Attempt) -> str:
    """The command that resumes it, with its arguments; empty if a resource or a guard has requested it."""
    owner, source = attempt.owner or "", attempt.source or ""
    if is_resource(owner) or owner.rpartition(" ")[2] not in {"create", "restore"}:
        return ""
    if attempt.kind == "snapshot":
        return f"{owner} {attempt.database_id}"
    onto = "" if source.startswith(f"{attempt.database_id}/") else f" --onto {attempt.database_id}"
    return f"{owner} {source}{onto} --yes"


def _state(attempt: Attempt, now: datetime) -> str:
    if attempt.is_over:
        return "its checks are under way" if attempt.kind == "restore" else "found a moment ago"
    if now >= attempt.waited_for_until:
        return "it was never seen to end"
    if attempt.request.accepted:
        return f"accepted, not {'listed yet' if attempt.kind == 'snapshot' else 'finished'}"
    return attempt.request.unanswered.removeprefix("is ")


def _then(attempt: Attempt, now: datetime, where: str) -> str:
    """What ends it unless its run still does, which no ledger shows, and what a user can do."""
    owner = attempt.owner or ""
    if attempt.is_over:
        return "nothing to do"
    if attempt.kind == "snapshot" and now >= attempt.waited_for_until:
        return "the next snapshot of that database forgets it"
    if owner.rpartition(" ")[2] in {"", "probe"}:
        waits = "the next snapshot of that database waits for it"
        return f"no run claims it: {waits if attempt.kind == 'snapshot' else 'check the database'}"
    if attempt.proved:
        again = "its stack has it as pending, and the next run of that stack"
    elif is_resource(owner):
        again = f"the next run of its stack on {where}"
    elif owner.startswith(f"{GUARDS}:"):
        again = f"the next guarded change on {where}"
    else:
        again = f"running `{command_of(attempt) or owner}` again on {where}"
    return f"unless it is still running: {again} resumes it, and sends nothing"
