"""Other poll plans, to compare the provider's own with."""

from __future__ import annotations

from pulumi_snapshots.api.pacing.rate_limiter import ACCOUNT_LISTING
from pulumi_snapshots.listing.poll_plan import Poll, PolledSnapshot, PollPlan

__all__ = ["POLICIES"]


class Alternating(PollPlan):
    """Polls for each snapshot alone, late, then alternately at the two listings."""

    def next_poll(self, polled: PolledSnapshot) -> Poll:
        if not polled.tries:
            return Poll(polled.answered + self._usual_first)
        at = polled.tried + self.every
        free = at >= self._account_tried + ACCOUNT_LISTING.per_account
        return Poll(at, account=polled.tries % 2 == 1 and free)


class FixedInterval(PollPlan):
    """Polls each database's own listing at a fixed interval."""

    def next_poll(self, polled: PolledSnapshot) -> Poll:
        return Poll(max(polled.began, polled.tried) + self.every)


class AccountOnly(PollPlan):
    """Polls the account's listing only, at a fixed interval."""

    def next_poll(self, polled: PolledSnapshot) -> Poll:
        return Poll(max(polled.began, polled.tried) + self.every, account=True)


class NoProbe(PollPlan):
    """The provider's own, but ignores pages that changed early."""

    def next_poll(self, polled: PolledSnapshot) -> Poll:
        self.listings.invalidation_likely = self.listings.invalidation_proven = False
        return super().next_poll(polled)


POLICIES = {
    "the provider's": PollPlan,
    "each at the two listings in turn": Alternating,
    "own listing, every 30 s": FixedInterval,
    "account listing only": AccountOnly,
    "no probe": NoProbe,
}
