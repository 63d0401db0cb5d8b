"""Decide which run may send a request: a table, one function a row. Times are the service's.

Each row looks at what the ledger knows of the same resource or database and decides, or leaves the
decision to the next row. If no row decides, a new request may be sent. What a row knows is written
down; nothing is inferred from what must have happened:

| fact | says | known to |
| --- | --- | --- |
| `Wish.forced` | another one is wanted, although one exists with equal triggers | who asks |
| `Wish.seen` | what calls of this process have shown states to have | the process |
| `Wish.began_with` | what the ledger had when the operation began | the operation |
| `Wish.void` | attempts that the operation knows to be over, or in no other's way | the operation |
| `Attempt.in_state` | what calls have shown of states: one has it, or has dropped it | the ledger |
| `Attempt.shared_in` | a Snapshot may use what a guard has requested, in this run | the ledger |
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from operator import attrgetter
from typing import Literal, NamedTuple

from pulumi_snapshots.ledger.attempt import (
    LEAVES_WITHIN,
    NOT_ANSWERED,
    Attempt,
    Kind,
    Request,
    Status,
    is_resource,
    last_restored,
    owner_kind,
)

UNSAVED_LASTS = timedelta(days=1)
"""How long a snapshot is handed out that no state was seen to have. The next run of a stack comes
within a day, or data have changed so much since that an old snapshot would mislead."""
RENAMED_WITHIN = timedelta(days=1)
"""How long a restore under another name of the same stack is taken for this one: a program is
renamed and run again within a day, and a restore of long ago was another act."""


@dataclass(frozen=True)
class Wish:
    """What an operation wants to request; see `Attempt` and `Request` for the rest."""

    kind: Kind
    owner: str | None
    database_id: str
    purpose: str
    timeout: float  # seconds that the operation may take
    source: str | None = None
    account: str | None = None
    run: str = ""  # the `pulumi up` or command of its process; empty if unknown
    forced: bool = False
    # how old another owner's request may be to be used instead
    reuses: timedelta | None = None
    # digests that the same triggers may have had
    also_purposes: frozenset[str] = frozenset()
    seen: frozenset[str] = frozenset()  # as `Attempt.names`
    began_with: frozenset[str] | None = None  # ids; None until the ledger was read
    void: frozenset[str] = frozenset()  # ids
    previous: datetime | None = None  # when the last restore of the database began
    # as `Attempt.shared_in`, of the request to be sent
    shared_in: str | None = None
    id: str = ""  # of the request to be sent

    def attempt_of(self, request: Request, status: Status) -> Attempt:
        """Make the attempt of a request for what is wanted.

        Args:
            request: The request, new or of an earlier run.
            status: How far the request is.

        Returns:
            The attempt, which is not entered yet.
        """
        return Attempt(
            self.kind,
            self.owner,
            self.database_id,
            self.purpose,
            request,
            status,
            self.source,
            account=self.account,
            shared_in=self.shared_in,
        )

    def is_mine(self, attempt: Attempt) -> bool:
        """Tell whether an attempt was made by the same resource, in this or an earlier run.

        Args:
            attempt: An attempt of any owner.

        Returns:
            False if the owner is not known. An attempt for another database counts only if it is a
            resource's, and not of another account.
        """
        if self.owner is None or (attempt.kind, attempt.owner) != (
            self.kind,
            self.owner,
        ):
            return False
        if attempt.database_id == self.database_id:
            return True
        # A resource of another account can have the same name, but no database of this one.
        return is_resource(self.owner) and attempt.account == self.account

    def is_for_same(self, attempt: Attempt) -> bool:
        """Tell whether an attempt has the same database and triggers.

        Args:
            attempt: An attempt of any owner.

        Returns:
            True also for an earlier digest of the same triggers.
        """
        same_triggers = (
            attempt.purpose == self.purpose or attempt.purpose in self.also_purposes
        )
        return attempt.database_id == self.database_id and same_triggers

    def has_seen(self, attempt: Attempt) -> bool:
        """Tell whether a call of this process has shown that a state has an attempt.

        Args:
            attempt: The attempt.

        Returns:
            True if the state has it by its id, or by when it was requested.
        """
        return bool(attempt.names & self.seen)

    def is_new_since(self, attempt: Attempt) -> bool:
        """Tell whether the ledger got an attempt since the operation began.

        The ledger's order counts: clocks do not show which of two is earlier by a moment.

        Args:
            attempt: An attempt that the ledger has now.

        Returns:
            False while the ledger has not been read for the operation.
        """
        return self.began_with is not None and attempt.id not in self.began_with


class Claim(NamedTuple):
    """What an operation has to act on."""

    attempt: Attempt
    role: Literal["new", "resumed", "in the way"]


class ClaimRefused(Exception):
    """A request must not be sent because of an attempt that the ledger has.

    Attributes:
        why: `overtaken`: another run of the same resource was faster. `rolled back`: the state that
            this run has is older than the ledger. `renamed`: a resource of another name has done
            the same. `unknown`: how the same command ended is not known, and will not be.
        attempt: The attempt in the ledger.
    """

    def __init__(
        self,
        why: Literal["overtaken", "rolled back", "renamed", "unknown"],
        attempt: Attempt,
    ) -> None:
        super().__init__(why)
        self.why = why
        self.attempt = attempt


@dataclass(frozen=True)
class Known:
    """What the ledger knows that still counts, newest request first."""

    wish: Wish
    attempts: Sequence[Attempt]
    now: datetime

    @cached_property
    def mine(self) -> Sequence[Attempt]:
        """The attempts of the same resource or command."""
        return [each for each in self.attempts if self.wish.is_mine(each)]

    @property
    def same_database(self) -> Sequence[Attempt]:
        """The attempts of anybody to start the same for the same database."""
        about = (self.wish.kind, self.wish.database_id)
        return [
            each for each in self.attempts if (each.kind, each.database_id) == about
        ]

    @property
    def newest(self) -> Attempt | None:
        """The last attempt of the same resource: its state has been about that since."""
        return next(iter(self.mine), None)

    @property
    def newest_of_source(self) -> Attempt | None:
        """The last attempt of the same command to restore the same snapshot."""
        source = self.wish.source
        return next((each for each in self.mine if each.source == source), None)

    def age(self, attempt: Attempt) -> timedelta:
        """Return how long ago the request of an attempt was sent.

        Args:
            attempt: The attempt.

        Returns:
            The time since then, by the service's clock.
        """
        return self.now - attempt.request.posted_at


Row = Callable[[Known], Claim | None]
"""Decides, or leaves the decision to the next row by None; raises `ClaimRefused`."""


# Rows of snapshots --------------------------------------------------------------------------------


def unsaved_snapshot(known: Known) -> Claim | None:
    """A Snapshot resource uses what the run before requested and could not save, for a day."""
    wish = known.wish
    newest = known.newest
    if newest is None or wish.forced or not is_resource(wish.owner):
        return None
    is_unsaved = not newest.saved and not wish.has_seen(newest)
    if is_unsaved and wish.is_for_same(newest) and known.age(newest) <= UNSAVED_LASTS:
        return Claim(newest, "resumed")
    return None


def shared_request(known: Known) -> Claim | None:
    """A Snapshot resource uses what a guard of the same run has requested before any change."""
    wish = known.wish
    if wish.forced or not wish.run or owner_kind(wish.owner) != "resource":
        return None
    restored_at = last_restored(known.attempts, wish.database_id)
    for each in known.same_database:
        if each.shared_in == wish.run and each.request.posted_at >= restored_at:
            return Claim(each, "resumed")
    return None


def reusable_request(known: Known) -> Claim | None:
    """A command that asks for any snapshot of a time waits for a request that is under way."""
    wish = known.wish
    if wish.reuses is None or owner_kind(wish.owner) != "command":
        return None
    for each in known.same_database:
        if not each.is_over and known.age(each) <= wish.reuses:
            return Claim(each, "resumed")
    return None


def open_request(known: Known) -> Claim | None:
    """A request waits for another one whose end is not known, so that the two can be told apart."""
    for each in known.same_database:
        if known.now < each.waited_for_until:
            return Claim(each, "in the way")
    return None


# Rows of restores ---------------------------------------------------------------------------------


def unsaved_restore(known: Known) -> Claim | None:
    """A restore whose run could not save its state counts as it ended, and is never sent again."""
    wish = known.wish
    newest = known.newest
    if newest is None or not is_resource(wish.owner) or not wish.is_for_same(newest):
        return None
    if newest.status is Status.FAILED and owner_kind(wish.owner) == "drill":
        return None  # A drill overwrites a scratch database, so a failed one may be tried again.
    if newest.is_dropped:
        # Another process of this run has deleted the resource because of something upstream.
        is_of_this_run = newest.in_state == wish.run and not wish.forced
        return Claim(newest, "resumed") if is_of_this_run else None
    return Claim(newest, "resumed") if _is_left(newest, wish) else None


def _is_left(newest: Attempt, wish: Wish) -> bool:
    """Tell whether no state was seen to have a restore, which has been sent or has failed."""
    # With equal triggers, only a forced one can be beside what the state has.
    if wish.has_seen(newest) or (wish.forced and not newest.forced):
        return False
    return not newest.saved or newest.status is Status.FAILED


def same_command(known: Known) -> Claim | None:
    """A command watches the restore that an equal command has begun, as long as that may take."""
    wish = known.wish
    newest = known.newest_of_source
    if newest is None or wish.forced or owner_kind(wish.owner) != "command":
        return None
    if not newest.is_over and known.age(newest) <= timedelta(
        seconds=newest.request.timeout
    ):
        is_resumed = True
    elif newest.has_known_end:
        # Of two equal commands at the same time, only the first restores.
        is_resumed = wish.is_new_since(newest)
    elif known.age(newest) <= timedelta(seconds=wish.timeout):
        is_resumed = True  # the user typed a longer time-out to watch it
    else:
        raise ClaimRefused("unknown", newest)
    return Claim(newest, "resumed") if is_resumed else None


def overtaken_restore(known: Known) -> Claim | None:
    """A run that was held up does not restore over what a later run of the same resource did."""
    newest = known.newest
    if (
        newest is not None
        and is_resource(known.wish.owner)
        and known.wish.is_new_since(newest)
    ):
        raise ClaimRefused("overtaken", newest)
    return None


def rolled_back_restore(known: Known) -> Claim | None:
    """A state that lacks the resource's last restore is an old one, which restores nothing."""
    wish = known.wish
    newest = known.newest
    if newest is None or wish.forced or owner_kind(wish.owner) != "resource":
        return None
    if wish.has_seen(newest):
        return None
    # What was dropped may be wanted again, but not by a state from before it was made.
    if newest.is_dropped and not any(map(wish.has_seen, known.mine)):
        return None
    for each in known.mine:
        if wish.is_for_same(each):
            raise ClaimRefused("rolled back", each)
    return None


def renamed_restore(known: Known) -> Claim | None:
    """The same restore under another name of the stack is not repeated.

    Most likely, the resource was renamed.
    """
    wish = known.wish
    if wish.forced or owner_kind(wish.owner) != "resource":
        return None
    for each in known.same_database:
        is_same = each.source == wish.source and wish.is_for_same(each)
        if is_same and _is_renamed(known, each):
            raise ClaimRefused("renamed", each)
    return None


def _is_renamed(known: Known, attempt: Attempt) -> bool:
    """Tell whether an attempt may be of the owner under its earlier name.

    The last attempt of that name says whether it is still in use: what was dropped because another
    one has replaced it counts, as in a state from before both.
    """
    owner = known.wish.owner
    if owner_kind(attempt.owner) != "resource" or attempt.owner == owner:
        return False
    if _project_and_stack(owner) != _project_and_stack(attempt.owner):
        return False
    name = attempt.kind, attempt.owner
    last = next(each for each in known.attempts if (each.kind, each.owner) == name)
    is_removed = attempt.is_dropped and last.is_dropped
    if is_removed or attempt.status is Status.FAILED:
        return False
    return known.age(last) <= RENAMED_WITHIN


def _project_and_stack(owner: str | None) -> list[str]:
    return (owner or "").split("::")[:2]


TABLE: dict[Kind, tuple[Row, ...]] = {
    "snapshot": (unsaved_snapshot, shared_request, reusable_request, open_request),
    "restore": (
        unsaved_restore,
        same_command,
        overtaken_restore,
        rolled_back_restore,
        renamed_restore,
        open_request,
    ),
}


def decide(attempts: Collection[Attempt], wish: Wish, now: datetime) -> Claim:
    """Decide what an operation has to act on, and whether it may send a request.

    Args:
        attempts: All that the ledger has.
        wish: What the operation wants.
        now: The service's time.

    Returns:
        A new attempt, to be entered and sent; an attempt to resume; or an attempt to wait for.

    Raises:
        ClaimRefused: Nothing may be sent.

    Example:
        >>> decide([], wish, now).role
        'new'
        >>> decide([sent_by_earlier_run], wish, now).role
        'resumed'
        >>> decide([sent_by_another_stack], wish, now).role
        'in the way'
    """
    known = still_counting(attempts, wish, now)
    for row in TABLE[wish.kind]:
        claim = row(known)
        if claim is not None:
            return claim
    return Claim(new_attempt(wish, now), "new")


def left_by_earlier_run(
    attempts: Collection[Attempt],
    wish: Wish,
    now: datetime,
) -> Attempt | None:
    """Find what an earlier run of the same resource has left, which needs no request.

    Args:
        attempts: All that the ledger has.
        wish: What the operation wants.
        now: The service's time, as far as it is known.

    Returns:
        The attempt to resume; None if there is none.
    """
    row = unsaved_snapshot if wish.kind == "snapshot" else unsaved_restore
    claim = row(still_counting(attempts, wish, now))
    return claim.attempt if claim is not None else None


def still_counting(attempts: Collection[Attempt], wish: Wish, now: datetime) -> Known:
    """Leave out what is too old, what was never sent, and what the operation knows to be over.

    Args:
        attempts: All that the ledger has.
        wish: What the operation wants.
        now: The service's time.

    Returns:
        The attempts that still count, newest request first.
    """
    counting = [
        each
        for each in attempts
        if not each.is_past(now) and not each.is_void(now) and each.id not in wish.void
    ]
    counting.sort(key=attrgetter("request.posted_at"), reverse=True)
    return Known(wish, counting, now)


def new_attempt(wish: Wish, now: datetime) -> Attempt:
    """Make the attempt that a wish enters into the ledger, to be sent within `LEAVES_WITHIN`.

    Args:
        wish: What the operation wants.
        now: The service's time, of which state and ledger keep milliseconds.

    Returns:
        The claim, which is not entered yet.
    """
    # State and ledger have times in milliseconds.
    posted_at = now.replace(microsecond=now.microsecond // 1000 * 1000)
    request = Request(
        posted_at,
        NOT_ANSWERED,
        wish.timeout,
        wish.id,
        previous=wish.previous,
    )
    claim = wish.attempt_of(request, Status.CLAIMED)
    return replace(claim, due=posted_at + LEAVES_WITHIN, forced=wish.forced)
