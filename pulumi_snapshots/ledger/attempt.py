"""One attempt to start a snapshot or a restore, as the ledger has it. All times are the service's.

        claim             leaves          200, 202           found
(none) -------> CLAIMED -------> SENT -----------> ACCEPTED -------> FOUND
                   |               |  no answer       ^ |
                   |               +---------> LOST --+ +----------> FAILED
                   +--> void, if it has not left in time

An attempt only moves to the right. FAILED is a restore that the service reports as failed. What was
refused, was never sent, or has certainly started nothing is removed.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal, Self, get_args

from pulumi_snapshots.clock import YEARS, to_the_second
from pulumi_snapshots.properties.catalogue import Record, declare
from pulumi_snapshots.properties.checks import RETENTION

Kind = Literal["snapshot", "restore"]
OwnerKind = Literal["resource", "drill", "guard", "command", "unknown"]
ACCEPTED_ANSWERS = frozenset({"200", "202"})
NOT_ANSWERED = "not answered"
"""`Request.answered` until there is an answer, or the wait for an answer has ended."""
DRILL_TYPE = "Drill"
"""The type whose restores stand beside those of a Restore, which may have the same name."""
GUARD_OWNER = "guard"
"""Begins the owner of a guard's request; the database follows, so its guards share one owner."""

LEAVES_WITHIN = timedelta(seconds=10)
"""How old a claim may be when its request leaves. If another run's request comes in between, the
service's own cooldowns, 120 s and more, refuse one of the two."""
FAILED_AFTER = timedelta(hours=2)
"""A listing fetched this long after an accepted request, and without its snapshot, proves that
there will be none: no snapshot and no cached page takes as long."""
LOST_AFTER = timedelta(minutes=50)
"""The same for a request whose answer was lost: its snapshot is whole after 20 minutes, and the
service may serve an older page for 30 more."""
LATEST_OF_LOST = timedelta(minutes=15)
"""How much later than a request whose answer was lost its snapshot may have been taken: the
service's soft deadline of 90 s and the "~2 minutes" after that, with room. Others wait as long."""
LONGEST_WAIT = timedelta(minutes=45)
"""How long others wait for a request that was accepted: 15 minutes for its snapshot, and 30 in
which the service may serve an older page."""
SECOND = timedelta(seconds=1)
"""How exactly two processes know the service's time."""
SKEW = timedelta(seconds=5)
"""How far `modified` may be before the POST: `Date` has whole seconds, and clocks drift."""
CLEAR = SKEW + SECOND
"""How long a request waits after another snapshot of its database was found: longer than the skew
that finding its own allows. Another machine may have to tell the two apart by their times alone."""
FOUND_KEPT = timedelta(hours=2)
"""How long a snapshot's attempt is kept once no run comes back for the snapshot: its version must
not be taken for the snapshot of another request."""
KEPT = timedelta(seconds=RETENTION)
"""How long anything else is kept: as long as the service keeps a snapshot."""
FIRST_TIME = datetime(YEARS.start, 1, 1, tzinfo=UTC)
LAST_TIME = datetime(YEARS.stop, 1, 1, tzinfo=UTC)
NEVER = datetime.fromtimestamp(0, UTC)
SAVED = "saved"
"""`Attempt.in_state` once a state was seen to have an attempt."""


class Status(StrEnum):
    """How far an attempt is."""

    CLAIMED = "claimed"
    SENT = "sent"
    LOST = "lost"
    ACCEPTED = "accepted"
    FOUND = "found"
    FAILED = "failed"


ENDS = frozenset({Status.FOUND, Status.FAILED})
PROGRESS = {
    Status.CLAIMED: 0,
    Status.SENT: 1,
    Status.LOST: 2,
    Status.ACCEPTED: 3,
    Status.FOUND: 4,
    Status.FAILED: 4,
}
"""How far along an attempt is with each status."""


def owner_of(urn: str | None) -> str | None:
    """Name who sends a request, the same in every run.

    Args:
        urn: A resource's URN, or any other text, such as a command; None if unknown.

    Returns:
        For a URN its project, stack, the types of its parents and its name, joined by `::`. Its own
        type is left out, since the same resource of the dynamic provider and of the plugin has one
        owner. Any other text is its own owner.

    Example:
        >>> owner_of("urn:pulumi:dev::shop::squarecloud:index:Snapshot::before")
        'shop::dev::before'
        >>> owner_of("create 3f2a…")
        'create 3f2a…'
    """
    parts = (urn or "").split("::", 3)
    if len(parts) != 4 or not parts[0].startswith("urn:pulumi:"):  # noqa: PLR2004  named below
        return urn
    stack, project, types, name = parts
    parents, _, own_type = types.rpartition("$")
    mark = DRILL_TYPE if own_type.endswith(f":{DRILL_TYPE}") else ""
    words = (project, stack.removeprefix("urn:pulumi:"), parents, mark, name)
    return "::".join(filter(None, words))


def owner_kind(owner: str | None) -> OwnerKind:
    """Return what kind of sender an owner is.

    Args:
        owner: A result of `owner_of`.

    Returns:
        `unknown` for None. A text without `::` is a guard or a command.
    """
    if owner is None:
        return "unknown"
    if "::" in owner:
        return "drill" if DRILL_TYPE in owner.split("::")[2:-1] else "resource"
    return "guard" if owner.startswith(f"{GUARD_OWNER}:") else "command"


def is_resource(owner: str | None) -> bool:
    """Tell whether an owner is a resource: a later call can show that a state has its result.

    Args:
        owner: A result of `owner_of`; None is no resource.

    Returns:
        True for a drill too, but not for a guard, whose result no state keeps.
    """
    return owner_kind(owner) in {"resource", "drill"}


class Request(Record, sparse=True):
    """The request of a snapshot or a restore whose result is not known yet."""

    posted_at: datetime = declare("When it was sent, by the service's clock.")
    answered: str = declare("`202`, `200`, or how the answer was lost.")
    timeout: float = declare("Seconds that the create was to wait.")
    id: str = declare("Identifies the request among those that runs remember.")
    previous: datetime | None = declare(
        "Of a restore: when the one before it began, as the service's status said then.",
        default=None,
        internal=True,
    )
    followed: datetime | None = declare(
        "Of a restore: until when polls have shown that no other one was accepted after it.",
        default=None,
        internal=True,
    )
    began: datetime | None = declare(
        "Of a restore: when it began, as the service's status says, by the service's clock.",
        default=None,
    )
    outcome: str | None = declare(
        "Of a restore: `success`, or the code with which it failed, as the service's status says.",
        default=None,
    )

    @property
    def accepted(self) -> bool:
        """Whether the service accepted the request."""
        return self.answered in ACCEPTED_ANSWERS

    @property
    def status(self) -> Status:
        """The status of its attempt while the result is not known."""
        if self.answered == NOT_ANSWERED:
            return Status.SENT
        return Status.ACCEPTED if self.accepted else Status.LOST

    @property
    def unanswered(self) -> str:
        """Why no answer says whether the request was accepted, to follow "was requested and"."""
        if self.answered == NOT_ANSWERED:
            return "is not answered yet"
        return f"the answer was lost ({self.answered})"

    @property
    def longest(self) -> timedelta:
        """How long after the request a listing without its snapshot proves that none will come."""
        if not self.accepted:
            return LOST_AFTER
        return max(FAILED_AFTER, timedelta(seconds=self.timeout))

    @property
    def requested(self) -> datetime:
        """When the request was sent, in whole seconds, as a state keeps the time."""
        return self.posted_at.replace(microsecond=0)

    def age(self, now: datetime) -> float:
        """Return how long ago the request was sent.

        Args:
            now: The service's time.

        Returns:
            Seconds; 0 if the request is later than `now`.
        """
        return max(0.0, (now - self.posted_at).total_seconds())


class Attempt(Record, sparse=True):
    """One request and its result, as the ledger has it; times are by the service's clock."""

    kind: Kind = declare("What it starts.")
    owner: str | None = declare(
        "The resource or command, see `owner_of`; None if unknown."
    )
    database_id: str = declare("The database that it was sent for.")
    purpose: str = declare(
        "A digest of the triggers; with other triggers the owner needs another."
    )
    request: Request = declare(
        "The request itself, also in the state while it is pending."
    )
    status: Status = declare("How far it is.")
    source: str | None = declare(
        "Of a restore, the snapshot as DATABASE_ID/VERSION_ID.", default=None
    )
    due: datetime | None = declare(
        "Until when its run enters that it has left, or how it was answered.",
        default=None,
    )
    result: str | None = declare(
        "The version, or the time of the restore, or the code of its failure.",
        default=None,
    )
    ended_at: datetime | None = declare("When the result was found.", default=None)
    forced: bool = declare(
        "Whether it replaces what a state had with equal triggers.", default=False
    )
    in_state: str | None = declare(
        "`saved` once a call has shown that a state has it; then the run in which that state has "
        "dropped it, so that a later run may do it again.",
        default=None,
    )
    held_until: datetime | None = declare(
        "Until when others must stay away although it is over.", default=None
    )
    account: str | None = declare(
        "The account of its API key, as `Settings.account` names it.", default=None
    )
    shared_in: str | None = declare(
        "Of a guard of a whole stack: the run in which a Snapshot may use it, until one does, or "
        "something guarded has changed.",
        default=None,
    )

    @property
    def id(self) -> str:
        """The request's id, which identifies the attempt in the state too."""
        return self.request.id

    @property
    def names(self) -> frozenset[str]:
        """The names by which a state shows this attempt: its id, or the time of its request."""
        return frozenset(
            {self.id, request_name(self.kind, self.database_id, self.request.requested)}
        )

    @property
    def saved(self) -> bool:
        """Whether a call has shown that a state has it, or had it until it was dropped."""
        return self.in_state is not None

    @property
    def is_dropped(self) -> bool:
        """Whether its state has dropped it."""
        return self.in_state not in {None, SAVED}

    @property
    def has_snapshot(self) -> bool:
        """Whether a snapshot is its result."""
        return self.kind == "snapshot" and self.status is Status.FOUND

    @property
    def is_over(self) -> bool:
        """Whether its result is known."""
        return self.status in ENDS

    @property
    def has_known_end(self) -> bool:
        """Whether the attempt is over, or the service has said how it ended."""
        return self.is_over or self.request.outcome is not None

    @property
    def waited_for_until(self) -> datetime:
        """Until when other requests wait for its end; later the attempt holds up none."""
        if self.has_known_end:
            return self.held_until or NEVER
        if self.status is Status.CLAIMED:
            return self.due or NEVER
        if self.kind == "restore":
            own = timedelta(seconds=self.request.timeout)
            return self.request.posted_at + min(own, LONGEST_WAIT)
        longest = LONGEST_WAIT if self.request.accepted else LATEST_OF_LOST
        return self.request.posted_at + longest

    def is_void(self, now: datetime) -> bool:
        """Tell whether this is a claim whose time to leave is over, so that nothing was sent.

        Args:
            now: The service's time.

        Returns:
            True from a second after `due` on, by which two machines may differ.
        """
        return self.status is Status.CLAIMED and now > (self.due or NEVER) + SECOND

    def is_owner_at_work(self, now: datetime) -> bool:
        """Tell whether its own run may still enter how the request was answered.

        Args:
            now: The service's time.

        Returns:
            True until `due`, unless the answer is known; of a claim until it is void.
        """
        if self.status is Status.CLAIMED:
            return not self.is_void(now)
        return self.status is Status.SENT and now < (self.due or NEVER)

    def is_past(self, now: datetime) -> bool:
        """Tell whether the ledger need not keep the attempt any longer.

        Args:
            now: The service's time.

        Returns:
            True two hours after its end for a snapshot that a state has or that no resource asked
            for, and 30 days after its end or its request for anything else.
        """
        times = (self.request.posted_at, self.ended_at)
        last = max(each for each in times if each is not None)
        nobody_returns = self.saved or not is_resource(self.owner)
        return now > last + (
            FOUND_KEPT if self.has_snapshot and nobody_returns else KEPT
        )

    def joined(self, other: Self) -> Self:
        """Join what two views of this attempt know; an attempt only moves forward.

        A first result stays.

        Args:
            other: What the caller knows of the same attempt.

        Returns:
            The view that is further along, with what the other view knows besides.

        Example:
            >>> sent = replace(claim, status=Status.SENT)
            >>> claim.joined(sent).status, sent.joined(claim).status
            (<Status.SENT: 'sent'>, <Status.SENT: 'sent'>)
        """
        is_further = PROGRESS[other.status] > PROGRESS[self.status]
        ahead = other if is_further else self
        behind = self if is_further else other
        followed = (ahead.request.followed, behind.request.followed)
        request = replace(
            ahead.request,
            followed=max(filter(None, followed), default=None),
            began=ahead.request.began or behind.request.began,
            outcome=ahead.request.outcome or behind.request.outcome,
        )
        return replace(
            ahead,
            request=request,
            in_state=self.in_state or (SAVED if other.saved else None),
            shared_in=self.shared_in,
        )

    @property
    def is_sound(self) -> bool:
        """Whether its values are such as runs write; raises TypeError for a time without a zone."""
        texts = (
            self.database_id,
            self.purpose,
            self.request.answered,
            self.request.id,
            self.owner,
            self.account,
            self.source,
            self.result,
            self.in_state,
            self.shared_in,
        )
        times = (self.request.posted_at, self.due, self.ended_at, self.held_until)
        return (
            self.kind in get_args(Kind)
            and all(isinstance(each, str | None) for each in texts)
            and all(FIRST_TIME <= each < LAST_TIME for each in times if each)
        )


def last_restored(attempts: Iterable[Attempt], database_id: str) -> datetime:
    """Find when runs have last restored a database.

    Args:
        attempts: All that count.
        database_id: The database.

    Returns:
        When the last restore ended, or was requested if its end is not known; `NEVER` without one.
    """
    times = [
        each.ended_at or each.request.posted_at
        for each in attempts
        if (each.kind, each.database_id) == ("restore", database_id)
    ]
    return max(times, default=NEVER)


def request_name(kind: Kind, database_id: str, requested_at: datetime | str) -> str:
    """Name a request as a state has it, which keeps no id of a request that is complete.

    The service accepts two requests of a kind for one database only minutes apart, so a time in
    whole seconds is enough.

    Args:
        kind: What it started.
        database_id: The database that it was sent for.
        requested_at: When it was sent, in whole seconds, by the service's clock.

    Returns:
        The name, the same in every process.
    """
    return f"{kind} of {database_id} at {to_the_second(requested_at)}"
