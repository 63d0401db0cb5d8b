"""One attempt to start a snapshot or a restore, as the ledger has it, and the rules of when a new one may begin.

         claim               200, 202            found
(none) --------> SENT ----> ACCEPTED ----> FOUND ----> (none), once the state has it
                  |  lost, killed  ^
                  +----> LOST -----+---> FAILED      a restore that the service reports as failed
                  +----> (none)                      refused, never sent, or proved that it never came
"""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Self, get_args

from pulumi_snapshots.clock import YEARS, rfc3339
from pulumi_snapshots.properties.catalogue import Record, declare
from pulumi_snapshots.properties.checks import RETENTION

Kind = Literal["snapshot", "restore"]
ACCEPTED = frozenset({"200", "202"})
NOT_AWAITED = "not awaited"  # `Request.answered` until there is an answer
# its restores stand beside those of a Restore, which may have the same name
SENDS_RESTORES = "Drill"
GUARDS = "guard"
"""The owner of every guard's request, with the database: whichever guard of it comes next completes what a killed run has
started."""

FAILED_AFTER, LOST_AFTER = timedelta(hours=2), timedelta(minutes=50)
"""A request has failed if a listing fetched this long after it does not show its snapshot: one that was accepted, since no snapshot
and no cached page takes as long; and one whose answer was lost, since its snapshot is whole after 20 minutes, and the service may
serve an older page for 30 more."""
LATEST_OF_LOST = timedelta(minutes=15)
"""How much later than a request whose answer was lost its snapshot may have been taken: the service's soft deadline of 90 s and
the "~2 minutes" after it, with room."""
SECOND, SKEW = timedelta(seconds=1), timedelta(seconds=5)
"""How exactly two processes know the service's time; and how far `modified` may be before the POST: `Date` has whole seconds, and
clocks drift."""
CLEAR = SKEW + SECOND
"""How long a request waits after a snapshot of the same database: longer than the skew that finding it allows."""
APART_FROM_LOST = LATEST_OF_LOST + CLEAR
"""How much later than one whose answer was lost the next one is sent, without waiting for the proof that it never came."""
ANSWER_WITHIN = timedelta(seconds=130)
"""How long an answer may take: the time-out of a POST, with room. An older attempt without an answer is LOST."""
FOUND_KEPT, KEPT = timedelta(hours=2), timedelta(seconds=RETENTION)
"""How long a result is kept that a state has, since an older version cannot be mistaken for the snapshot of another request; and
anything else: as long as the service keeps a snapshot."""
ERA = (
    datetime(YEARS.start, 1, 1, tzinfo=UTC),
    datetime(YEARS.stop, 1, 1, tzinfo=UTC),
)  # between these are all times
NEVER = datetime.fromtimestamp(0, UTC)


class Status(StrEnum):
    """Where an attempt stands."""

    SENT = "sent"
    ACCEPTED = "accepted"
    LOST = "lost"
    FOUND = "found"
    FAILED = "failed"


def owner_of(urn: str | None) -> str | None:
    """Return who a URN is about: project, stack, types of its parents and name. Anything else, such as a command, is its own owner."""
    parts = (urn or "").split("::", 3)
    if len(parts) != 4 or not parts[0].startswith("urn:pulumi:"):  # noqa: PLR2004  stack, project, types, name
        return urn
    stack, project, types, name = parts
    parents, _, own = types.rpartition("$")
    # Not its own type: the same resource of the dynamic provider and of the plugin has one owner.
    kind = SENDS_RESTORES if own.endswith(f":{SENDS_RESTORES}") else ""
    return "::".join(
        filter(None, (project, stack.removeprefix("urn:pulumi:"), parents, kind, name))
    )


def is_resource(owner: str | None) -> bool:
    """Whether an owner is a resource, whose later calls show what its state has; nothing shows what a command has printed."""
    return owner is not None and "::" in owner


def is_renamed(owner: str | None, other: str | None, *, stack_only: bool = False) -> bool:
    """Whether two owners of one project differ, with `stack_only` in nothing but the stack."""
    ours, theirs = ((each or "").split("::") for each in (owner, other))
    if min(len(ours), len(theirs)) < 3 or ours[0] != theirs[0] or ours == theirs:  # noqa: PLR2004  project, stack and name
        return False
    return not stack_only or ours[2:] == theirs[2:]


class Request(Record, sparse=True):
    """The request of a snapshot or a restore whose result is not known yet."""

    posted_at: datetime = declare("When it was sent, by the service's clock.")
    answered: str = declare("`202`, `200`, or how the answer was lost.")
    timeout: float = declare("Seconds that the create was to wait.")
    id: str = declare("Identifies the request among those that runs remember.", default="")
    # In states of versions before 0.1: seconds that the service's clock was ahead of the one that `posted_at` is by.
    service_clock_offset: float | None = declare("", default=None, internal=True)
    # Of a restore: when the one before it began, as the service's status said before the request.
    previous: datetime | None = declare("", default=None, internal=True)
    began: datetime | None = declare(
        "Of a restore: when it began, as the service's status says, by the service's clock.",
        default=None,
    )
    outcome: str | None = declare(
        "Of a restore: `success`, or the code with which it failed, as the service's status says.",
        default=None,
    )

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> Self:
        """From the state or the ledger; one by a machine's clock is moved to the service's."""
        request = super().from_outputs(outputs)
        if request.service_clock_offset is not None:
            ahead = timedelta(seconds=request.service_clock_offset)
            request = replace(
                request, posted_at=request.posted_at + ahead, service_clock_offset=None
            )
        return request if request.id else replace(request, id=rfc3339(request.posted_at))

    @property
    def accepted(self) -> bool:
        """Whether the service accepted it."""
        return self.answered in ACCEPTED

    @property
    def status(self) -> Status:
        """The status of its attempt while the result is not known."""
        if self.answered == NOT_AWAITED:
            return Status.SENT
        return Status.ACCEPTED if self.accepted else Status.LOST

    @property
    def unanswered(self) -> str:
        """Why no answer says whether it was accepted, in words that follow "was requested and"."""
        return (
            "is not answered yet"
            if self.answered == NOT_AWAITED
            else f"the answer was lost ({self.answered})"
        )

    @property
    def longest(self) -> timedelta:
        """How long after it a listing without its snapshot proves that there will be none."""
        return max(FAILED_AFTER, timedelta(seconds=self.timeout)) if self.accepted else LOST_AFTER

    @property
    def requested(self) -> datetime:
        """When it was sent, in whole seconds, as a state has it."""
        return self.posted_at.replace(microsecond=0)

    def age(self, now: datetime) -> float:
        """Seconds since it was sent, at this time of the service; 0 if that is in the future."""
        return max(0.0, (now - self.posted_at).total_seconds())


class Attempt(Record, sparse=True):
    """One request and its result, as the ledger has it; times are by the service's clock."""

    kind: Kind = declare("What it starts.")
    owner: str | None = declare("The resource or command, see `owner_of`; None if unknown.")
    database_id: str = declare("The database that it was sent for.")
    purpose: str = declare(
        "A digest of the triggers; with other triggers the owner needs another one."
    )
    request: Request = declare("The request itself, also in the state while it is pending.")
    status: Status = declare("Where it stands.")
    source: str | None = declare(
        "Of a restore, the snapshot as DATABASE_ID/VERSION_ID.", default=None
    )
    result: str | None = declare(
        "The version, or the time of the restore, or the code of its failure.", default=None
    )
    ended_at: datetime | None = declare("When the result was found.", default=None)
    proved: bool = declare(
        "Whether a call has shown that the state has it, or it was given up.", default=False
    )
    let_go: str | None = declare(
        "The run in which the state has dropped it: a later one may do it again.", default=None
    )
    held_until: datetime | None = declare(
        "Until when others must stay away although it is over.", default=None
    )
    fresh: bool = declare("See `Intent`.", default=False)
    account: str | None = declare(
        "The account of its API key, as `Settings.account` names it.", default=None
    )

    @property
    def id(self) -> str:
        """Identifies it, in the state too."""
        return self.request.id

    @property
    def names(self) -> frozenset[str]:
        """Its id and its result, as `Intent.carried` has them."""
        return frozenset(filter(None, (self.id, self.result)))

    @property
    def has_snapshot(self) -> bool:
        """Whether a snapshot is its result."""
        return (self.kind, self.status) == ("snapshot", Status.FOUND)

    @property
    def is_over(self) -> bool:
        """Whether its result is known."""
        return self.status in {Status.FOUND, Status.FAILED}

    @property
    def in_the_way_until(self) -> datetime:
        """Until when another one of the same database must wait for it, since their results could not be told apart."""
        if self.is_over:
            return self.held_until or NEVER
        # The snapshot of one whose answer was lost is taken soon after it or never.
        is_lost = self.kind == "snapshot" and not self.request.accepted
        return self.request.posted_at + (APART_FROM_LOST if is_lost else KEPT)

    @property
    def waited_for_until(self) -> datetime:
        """Until when others wait for its end, at most: later it is proved to have none, or can be told apart."""
        until = self.in_the_way_until
        return until if self.is_over else min(until, self.request.posted_at + self.request.longest)

    def awaits_answer(self, now: datetime) -> bool:
        """Whether it may still get an answer, so that its result must not be looked for yet."""
        return self.status is Status.SENT and now < self.request.posted_at + ANSWER_WITHIN

    def is_past(self, now: datetime) -> bool:
        """Whether it need not be kept any longer."""
        is_forgotten = (self.proved and self.has_snapshot) or self.status is Status.FAILED
        last = max(filter(None, (self.request.posted_at, self.ended_at)))
        return now > last + (FOUND_KEPT if is_forgotten else KEPT)

    @property
    def is_sound(self) -> bool:
        """Whether its values are such as runs write; TypeError for a time without a zone."""
        texts = (
            self.database_id,
            self.purpose,
            self.request.answered,
            self.owner,
            self.account,
            self.source,
        )
        times = self.request.posted_at, self.ended_at, self.held_until
        return (
            self.kind in get_args(Kind)
            and all(isinstance(each, str | None) for each in (*texts, self.result))
            and all(ERA[0] <= each < ERA[1] for each in times if each)
        )


@dataclass(frozen=True)
class Intent:
    """What an operation is about to send a request for; see `Attempt` and `Request` for the rest."""

    kind: Kind
    owner: str | None
    database_id: str
    purpose: str
    timeout: float  # seconds that the operation may take
    source: str | None = None
    fresh: bool = False  # whether another one is wanted, whatever earlier runs have left
    # ids of the attempts that the ledger had when it began; None for all
    earlier: frozenset[str] | None = None
    carried: frozenset[str] = (
        frozenset()
    )  # results and ids that calls of this run have shown its states to have
    # how old an earlier attempt may be that is resumed; None for any age
    oldest: timedelta | None = None
    ignored: frozenset[str] = frozenset()  # ids of attempts whose end no run will ever see
    # Ids of its own attempts that have started nothing, although the ledger may have them still.
    withdrawn: frozenset[str] = frozenset()
    purposes: frozenset[str] = (
        frozenset()
    )  # the digests that the same triggers may have had in earlier runs
    previous: datetime | None = None
    account: str | None = None
    run: str = ""  # of which its process is one, as `Attempt.let_go` has it; empty if unknown
    id: str = ""  # of the request that it is to send

    def is_mine(self, attempt: Attempt) -> bool:
        """Whether an attempt was made by the operation itself, in this or an earlier run."""
        if self.owner is None or (attempt.kind, attempt.owner) != (self.kind, self.owner):
            return False
        # A resource of another account can have the same name, but no database of it: it has another key too.
        same_account = None in (attempt.account, self.account) or attempt.account == self.account
        # A command is about whichever database it names.
        return attempt.database_id == self.database_id or (is_resource(self.owner) and same_account)

    def is_for_same(self, attempt: Attempt) -> bool:
        """Whether an attempt has the same database and purpose."""
        return attempt.database_id == self.database_id and attempt.purpose in {
            self.purpose,
            *self.purposes,
        }

    def began_after(self, attempt: Attempt) -> bool:
        """Whether the ledger had an attempt already; clocks do not show which of two is earlier by a moment."""
        return self.earlier is None or attempt.id in self.earlier

    def counts(self, attempt: Attempt, now: datetime) -> bool:
        """Whether an attempt is neither too old, nor one that the operation could not withdraw."""
        return not attempt.is_past(now) and attempt.id not in self.withdrawn


class Claim(NamedTuple):
    """The attempt that an operation has to act on: a new one, which is to be sent, one of its own to resume, or one in its way."""

    attempt: Attempt
    role: Literal["new", "resumed", "in the way"]


class ClaimRefused(Exception):
    """A request must not be sent: another run, or one under another name, has sent this attempt, or the state lacks its result."""

    def __init__(self, why: Literal["overtaken", "renamed", "done"], attempt: Attempt) -> None:
        super().__init__(why)
        self.why, self.attempt = why, attempt


def decide(attempts: Collection[Attempt], intent: Intent, now: datetime) -> Claim:
    """Decide what an operation has to act on, the only place that says whether a request may be sent; or raise `ClaimRefused`."""
    if (ours := left(attempts, intent, now)) is not None:
        return Claim(ours, "resumed")
    newest = _newest(attempts, intent, now)
    if newest is not None and intent.kind == "restore":
        if not intent.began_after(newest):
            raise ClaimRefused("overtaken", newest)
        has_ended = newest.is_over or newest.id in intent.ignored
        is_lost = (
            has_ended
            and not newest.let_go
            and not newest.names & intent.carried
            and intent.is_for_same(newest)
        )
        if is_lost and is_resource(intent.owner) and not intent.fresh:
            raise ClaimRefused("done", newest)
    about = intent.kind, intent.database_id
    here = [
        each
        for each in attempts
        if (each.kind, each.database_id) == about and intent.counts(each, now)
    ]
    here.sort(key=lambda each: each.request.posted_at, reverse=True)
    for each in here:
        is_open = not each.proved and each.status is not Status.FAILED
        is_same = intent.is_for_same(each) and each.source == intent.source
        # A snapshot may cost one more.
        is_earlier = intent.kind == "restore" or (intent.began_after(each) and not intent.fresh)
        stack_only = intent.kind == "snapshot"
        if (
            is_open
            and is_same
            and is_earlier
            and is_renamed(each.owner, intent.owner, stack_only=stack_only)
        ):
            raise ClaimRefused("renamed", each)
    for each in here:
        if now < each.in_the_way_until and each.id not in intent.ignored:
            return Claim(each, "in the way")
    # as state and ledger have it
    posted_at = now.replace(microsecond=now.microsecond // 1000 * 1000)
    id_ = intent.id or secrets.token_hex(8)
    request = Request(posted_at, NOT_AWAITED, intent.timeout, id_, previous=intent.previous)
    what = (
        intent.kind,
        intent.owner,
        intent.database_id,
        intent.purpose,
        request,
        Status.SENT,
        intent.source,
    )
    return Claim(Attempt(*what, fresh=intent.fresh, account=intent.account), "new")


def left(attempts: Collection[Attempt], intent: Intent, now: datetime) -> Attempt | None:
    """Find what an earlier run of this operation has left, and no state was shown to have, which is resumed; None for nothing."""
    newest = _newest(attempts, intent, now)
    if newest is None or newest.names & intent.carried or not intent.is_for_same(newest):
        return None
    if intent.oldest is not None and newest.request.posted_at < now - intent.oldest:
        return None
    # What another process of this run has deleted, because of something upstream, is made again as it was.
    if newest.proved and (intent.fresh or newest.let_go != intent.run):
        return None
    # The state has had a restore before it, with the same inputs, so they do not show which of the two it has. A restore must
    # not act twice; a snapshot may cost one more.
    is_as_fresh = newest.fresh and newest.kind == "restore" and is_resource(newest.owner)
    return newest if is_as_fresh or not intent.fresh else None


def _newest(attempts: Collection[Attempt], intent: Intent, now: datetime) -> Attempt | None:
    """The last attempt of the operation itself that has not failed: its state has been about that since."""
    kept = [each for each in attempts if intent.counts(each, now)]
    mine = [each for each in kept if intent.is_mine(each) and each.status is not Status.FAILED]
    return max(mine, key=lambda each: each.request.posted_at, default=None)


@dataclass(frozen=True)
class Proof:
    """What a call of the engine shows of the state; see `Attempt` for the rest."""

    kind: Kind
    database_id: str
    result: str | None = None  # None while it is pending
    request: Request | None = None  # the one that the state has as pending; None if it is complete
    # when the request was sent of what the state has as complete, as the state has it
    requested_at: str | None = None
    purpose: str = ""
    source: str | None = None
    record: Any = None  # the resource

    def shows(self, attempt: Attempt) -> bool:
        """Whether it shows that the state has this attempt."""
        if self.request is not None:
            return attempt.id == self.request.id
        if self.result is None or (self.kind, self.database_id) != (
            attempt.kind,
            attempt.database_id,
        ):
            return False
        if self.requested_at != rfc3339(attempt.request.requested):
            return False  # it was adopted, or brought back by its id
        # found by a run that has another ledger
        return attempt.result == self.result or not attempt.is_over

    @property
    def names(self) -> frozenset[str]:
        """The id and the result, as `Intent.carried` has them."""
        return frozenset(filter(None, (self.result, self.request.id if self.request else None)))
