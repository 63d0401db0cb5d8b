"""Other poll plans, to compare the provider's own with."""

from __future__ import annotations

from pulumi_snapshots.listing.poll_plan import Pending, Poll, PollPlan
from pulumi_snapshots.service.limits import ACCOUNT_LISTING


class Alternating(PollPlan):
    """Polls for each snapshot alone, late, then alternately at the two listings."""

    def next_poll(self, mine: Pending) -> Poll:
        if mine.own_tried < mine.began:
            return Poll(mine.answered + self.first_after)
        tried = max(mine.own_tried, self.account_tried)
        at = tried + self.every
        free = at >= self.account_tried + ACCOUNT_LISTING.per_account
        return Poll(at, account=mine.own_tried >= self.account_tried and free)


class FixedInterval(PollPlan):
    """Polls each database's own listing at a fixed interval."""

    def next_poll(self, mine: Pending) -> Poll:
        return Poll(max(mine.began, mine.own_tried) + self.every)


class AccountOnly(PollPlan):
    """Polls the account's listing only, at a fixed interval."""

    def next_poll(self, mine: Pending) -> Poll:
        return Poll(max(mine.began, self.account_tried) + self.every, account=True)


POLICIES: dict[str, type[PollPlan] | None] = {
    "the provider's": None,
    "each at the two listings in turn": Alternating,
    "own listing, every 30 s": FixedInterval,
    "account listing only": AccountOnly,
}
