"""Decides when to poll, and which page, by a table of situations.

All numbers are seconds, and times are monotonic.

Each database has a page of its own, and the account has one page that shows all databases. The
service may serve a page for 30 minutes, and caches each page apart. The first poll of a page costs
half an hour if it comes before the snapshot is listed, and only its own delay if it comes late.
Each further poll of that page costs only a request. So every pending snapshot has two chances: its
own page, and the account's page.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

from pulumi_snapshots.listing.listings import EXPIRED
from pulumi_snapshots.service.limits import ACCOUNT_LANE, CREATE

SECOND_CHANCE = 3
"""The second chance of a snapshot comes so many times `first_after` after the answer."""
SHARES = 3
"""The service answers three polls of the account's page a minute, for all machines.

This process uses every third slot, or every second slot while resources wait.
"""
SHARES_IF_SHORT = 2
HELPED = 4
"""The account's page shows what an own page missed, so repeated polls of own pages can be so many
times as rare."""

WAITS = 0.25
"""A poll of an own page waits so many times `every` for a poll of the account's page ..."""
WAITS_FOR_FIRST = 1.5
"""... and so many times before the first poll of either, since the account's page shows all."""


class PolledPage(Enum):
    """The page of a poll."""

    OWN = "the database's own page"
    ACCOUNT = "the account's page"


class Poll(NamedTuple):
    """The next poll for a snapshot.

    Attributes:
        at: When the poll is due.
        page: The page that is polled.
    """

    at: float
    page: PolledPage


@dataclass(frozen=True)
class PollSettings:
    """What a user has set about polls.

    Attributes:
        first_after: Seconds from the answer to the first poll.
        every: Seconds between two polls.
        snapshot_ends_cache: Whether a new snapshot ends the caching of a page; None if unknown.
    """

    first_after: float
    every: float
    snapshot_ends_cache: bool | None = None

    @property
    def first_alone(self) -> float:
        """Seconds from the answer to the first poll, for a snapshot without others beside it."""
        if self.snapshot_ends_cache:
            return min(self.first_after, self.every)
        return self.first_after


@dataclass(eq=False)
class PolledSnapshot:
    """A pending snapshot, and the polls of its database's own page.

    Attributes:
        began: When this run began to poll for the snapshot.
        answered: When the wait for the snapshot began, in this run or an earlier one.
        is_finished: Whether the answer was a 200, so that the snapshot should be listed at once.
        is_in_turn: Whether both pages are polled in turn: the own page is likely old, or the
            snapshot a quick one.
        own_polled_at: When the last poll of the own page ended; None before the first one.
        own_new_at: When the own page was last requested that was certainly new; None before that.
    """

    began: float
    answered: float
    is_finished: bool = False
    is_in_turn: bool = False
    own_polled_at: float | None = None
    own_new_at: float | None = None


@dataclass(frozen=True)
class PendingGroup:
    """The snapshots for which a process waits, at one moment.

    Attributes:
        snapshots: The snapshots whose requests are answered, without the answers 200.
        posts_to_come: How many requests are queued or under way.
        most_at_once: How many there were at once, at most, since there was none.
        is_refilled: Whether a request came after a snapshot of the group was found.
        account_is_usable: Whether plan, key and limits allow the account's page.
        account_new_at: When the account's page was requested that the service may still serve, also
            if the answer is still to come; None if the next request gets a new one.
        account_polled_at: When its last poll ended, or the current one began; None before that.
    """

    snapshots: tuple[PolledSnapshot, ...]
    posts_to_come: int = 0
    most_at_once: int = 1
    is_refilled: bool = False
    account_is_usable: bool = True
    account_new_at: float | None = None
    account_polled_at: float | None = None


class Situation(StrEnum):
    """What decides about the next poll for a snapshot; the first that fits."""

    ALONE = "alone"
    ALONE_IN_TURN = "alone, and both pages are polled in turn"
    NO_ACCOUNT_PAGE = "several, without the account's page"
    CACHE_ENDS = "several, and a new snapshot is known to end the cache"
    ACCOUNT_POLLED = "several, and the account's page is polled already"
    SHORT_OF_SLOTS = "several, and resources wait for slots of the engine"
    POSTS_TO_COME = "several, and more requests are to be sent"
    ALL_SENT = "several, and all requests are answered"


@dataclass(frozen=True)
class PollMoment:
    """A snapshot, its group and the settings: all that the rules of the table know."""

    mine: PolledSnapshot
    group: PendingGroup
    settings: PollSettings

    @property
    def is_alone(self) -> bool:
        """Whether the snapshot is polled by itself, whatever is known of others."""
        return self.mine.is_finished or self.group.most_at_once == 1

    @property
    def is_short_of_slots(self) -> bool:
        """Whether requests come late because resources wait for slots of the engine.

        A few requests at a time are sent soon after each other, so the limit between two requests
        does not explain why a poll comes after a snapshot was found.
        """
        spacing = self.group.most_at_once * CREATE.per_account
        return self.group.is_refilled and spacing < self.first_late

    @property
    def first_late(self) -> float:
        """Seconds from the answer to a first poll that is late on purpose."""
        return self.settings.first_after + self.settings.every

    @property
    def second_chance(self) -> float:
        """Seconds from the answer to the first poll of the second page."""
        return SECOND_CHANCE * self.settings.first_after

    @property
    def first_missed(self) -> float:
        """When the first snapshot was answered that its own page did not show; infinite if none."""
        missed = [
            each.answered
            for each in self.group.snapshots
            if each.own_polled_at is not None
        ]
        return min(missed, default=math.inf)


# When a page is polled ---------------------------------------------------------------------------


def never(_: PollMoment) -> float:
    """Return a time that never comes."""
    return math.inf


def own_alone(now: PollMoment) -> float:
    """Return `first_after` after the answer, or the present after a 200.

    Args:
        now: the snapshot, its group and the settings.
    """
    return now.mine.answered + (
        0.0 if now.mine.is_finished else now.settings.first_alone
    )


def own_usual(now: PollMoment) -> float:
    """Return `first_after` after the answer.

    Args:
        now: the snapshot, its group and the settings.
    """
    return now.mine.answered + now.settings.first_after


def own_late(now: PollMoment) -> float:
    """Return a late time: `first_after` and `every` after the answer.

    Args:
        now: the snapshot, its group and the settings.
    """
    return now.mine.answered + now.first_late


def own_while_only_chance(now: PollMoment) -> float:
    """Return a late time if more requests follow, so that it costs nothing; else the usual one.

    Args:
        now: the snapshot, its group and the settings.
    """
    return own_late(now) if now.group.posts_to_come else own_usual(now)


def own_after_account(now: PollMoment) -> float:
    """Return a late time, half of `every` after the account's page lacked the snapshot.

    If the snapshot was old enough by then for a late poll, its second chance comes later.

    Args:
        now: the snapshot, its group and the settings.
    """
    late = own_late(now)
    account_new_at = now.group.account_new_at
    if account_new_at is None:
        return late
    if account_new_at >= late:
        return now.mine.answered + now.second_chance
    return max(late, account_new_at + now.settings.every / 2)


def account_in_turn(now: PollMoment) -> float:
    """Return `every` after each poll of the own page.

    Args:
        now: the snapshot, its group and the settings.
    """
    if now.mine.own_polled_at is None:
        return math.inf
    return now.mine.own_polled_at + now.settings.every


def account_as_second_chance(now: PollMoment) -> float:
    """Return three times `first_after` after the answer of the first missed snapshot.

    Args:
        now: the snapshot, its group and the settings.
    """
    return now.first_missed + now.second_chance


def account_soon_after_missed(now: PollMoment) -> float:
    """Return `first_after` and `every` after the answer of the first missed snapshot.

    Args:
        now: the snapshot, its group and the settings.
    """
    return now.first_missed + now.first_late


def account_for_all(now: PollMoment) -> float:
    """Return `first_after` after the last answer: one request shows all listed snapshots.

    Args:
        now: the snapshot, its group and the settings.
    """
    unpolled = [
        each.answered for each in now.group.snapshots if each.own_polled_at is None
    ]
    if not unpolled:
        return account_as_second_chance(now)
    return max(unpolled) + now.settings.first_after


def account_again(now: PollMoment) -> float:
    """Return the next time that the account's limit allows; after its expiry for a cached page.

    Args:
        now: the snapshot, its group and the settings.
    """
    if (
        now.settings.snapshot_ends_cache is False
        and now.group.account_new_at is not None
    ):
        return now.group.account_new_at + EXPIRED
    return min(each.began for each in now.group.snapshots) + now.settings.every


class PollRow(NamedTuple):
    """When the first poll of each page is due in a situation."""

    own: Callable[[PollMoment], float]
    account: Callable[[PollMoment], float]


TABLE: dict[Situation, PollRow] = {
    Situation.ALONE: PollRow(own_alone, account_as_second_chance),
    Situation.ALONE_IN_TURN: PollRow(own_alone, account_in_turn),
    Situation.NO_ACCOUNT_PAGE: PollRow(own_while_only_chance, never),
    Situation.CACHE_ENDS: PollRow(own_usual, account_again),
    Situation.ACCOUNT_POLLED: PollRow(own_after_account, account_again),
    Situation.SHORT_OF_SLOTS: PollRow(own_usual, account_soon_after_missed),
    Situation.POSTS_TO_COME: PollRow(own_late, account_as_second_chance),
    Situation.ALL_SENT: PollRow(own_late, account_for_all),
}


def situation_of(now: PollMoment) -> Situation:
    """Return the situation, which is the row of the table.

    Args:
        now: the snapshot, its group and the settings.
    """
    is_account_old = now.group.account_new_at is not None
    if now.is_alone:
        is_in_turn = is_account_old or now.mine.is_in_turn
        return Situation.ALONE_IN_TURN if is_in_turn else Situation.ALONE
    facts = (
        (Situation.NO_ACCOUNT_PAGE, not now.group.account_is_usable),
        (Situation.CACHE_ENDS, now.settings.snapshot_ends_cache is True),
        (Situation.ACCOUNT_POLLED, is_account_old),
        (Situation.SHORT_OF_SLOTS, now.is_short_of_slots),
        (Situation.POSTS_TO_COME, now.group.posts_to_come > 0),
    )
    return next((situation for situation, is_so in facts if is_so), Situation.ALL_SENT)


def next_poll(now: PollMoment) -> Poll:
    """Return which page is polled next for a snapshot that no page shows yet, and when.

    Args:
        now: The snapshot, its group and the settings.

    Returns:
        The poll that is due first. One request for all snapshots is better than a slightly earlier
        one for this snapshot, so the own page can give way to the account's; see `_gives_way`.

    Example:
        >>> next_poll(PollMoment(snapshot, group, settings))
        Poll(at=1045.0, page=PolledPage.OWN)
    """
    situation = situation_of(now)
    row = TABLE[situation]
    own = row.own(now) if now.mine.own_polled_at is None else _own_again(now)
    account = _at_account_limit(now, row.account(now))
    if now.group.account_is_usable and account <= own + _gives_way(now, situation):
        return Poll(account, PolledPage.ACCOUNT)
    return Poll(own, PolledPage.OWN)


def _gives_way(now: PollMoment, situation: Situation) -> float:
    """Seconds by which the account's page may be later than the own page, to be polled instead."""
    is_first_of_both = (
        situation is Situation.ALL_SENT and now.mine.own_polled_at is None
    )
    return now.settings.every * (WAITS_FOR_FIRST if is_first_of_both else WAITS)


def _own_again(now: PollMoment) -> float:
    """When an own page is polled again: at growing intervals if the account's page shows all."""
    mine = now.mine
    every = now.settings.every
    polled_at = mine.own_polled_at or 0.0
    soonest = max(polled_at, now.group.account_polled_at or -math.inf) + every
    if mine.own_new_at is None:
        return soonest
    expired = mine.own_new_at + EXPIRED
    if now.settings.snapshot_ends_cache is False and not mine.is_finished:
        return max(soonest, expired)
    longest = every
    if not now.is_alone:
        longest *= len(now.group.snapshots) * (
            HELPED if now.group.account_is_usable else 1
        )
    growing = max(every, polled_at - mine.own_new_at)
    return max(soonest, min(expired, polled_at + min(growing, longest)))


def _at_account_limit(now: PollMoment, due: float) -> float:
    """Return when a poll of the account's page that is due then may be sent."""
    if now.group.account_polled_at is None:
        return due
    shares = SHARES_IF_SHORT if now.is_short_of_slots else SHARES
    return max(due, now.group.account_polled_at + shares * ACCOUNT_LANE.per_account)
