"""Other poll plans, to compare the provider's own with."""

from __future__ import annotations

from pulumi_snapshots.listing.poll_plan import Poll, PolledSnapshot, PollPlan
from pulumi_snapshots.service.limits import ACCOUNT_LISTING


class Alternating(PollPlan):
    """Polls for each snapshot alone, late, then alternately at the two listings."""

    def next_poll(self, polled: PolledSnapshot) -> Poll:
        if polled.own_tried < polled.began:
            return Poll(polled.answered + self.first_poll_after)
        tried = max(polled.own_tried, self._account_tried)
        at = tried + self.poll_every
        free = at >= self._account_tried + ACCOUNT_LISTING.per_account
        return Poll(at, account=polled.own_tried >= self._account_tried and free)


class FixedInterval(PollPlan):
    """Polls each database's own listing at a fixed interval."""

    def next_poll(self, polled: PolledSnapshot) -> Poll:
        return Poll(max(polled.began, polled.own_tried) + self.poll_every)


class AccountOnly(PollPlan):
    """Polls the account's listing only, at a fixed interval."""

    def next_poll(self, polled: PolledSnapshot) -> Poll:
        return Poll(max(polled.began, self._account_tried) + self.poll_every, account=True)


POLICIES: dict[str, type[PollPlan] | None] = {
    "the provider's": None,
    "each at the two listings in turn": Alternating,
    "own listing, every 30 s": FixedInterval,
    "account listing only": AccountOnly,
}
