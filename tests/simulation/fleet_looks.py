"""Other ways to look for many pending snapshots, to compare the provider's own with."""

from __future__ import annotations

from pulumi_snapshots.listing.poll_plan import Poll, PollPlan, Waiting

__all__ = ["POLICIES"]


class Alternating(PollPlan):
    """Each snapshot by itself, as one that is alone: at the two listings in turn."""

    def next_poll(self, wait: Waiting) -> Poll:
        return self._alone(wait)


class FixedInterval(PollPlan):
    """Each database's own listing, again and again."""

    def next_poll(self, wait: Waiting) -> Poll:
        return Poll(max(wait.began, wait.tried) + self.every)


class AccountOnly(PollPlan):
    """The account's listing alone, when the first of all is due."""

    def next_poll(self, wait: Waiting) -> Poll:
        return Poll(max(wait.began, wait.tried) + self.every, account=True)


class NoHint(PollPlan):
    """The provider's own, without what a page that changed early tells."""

    def next_poll(self, wait: Waiting) -> Poll:
        self.listings.hinted = self.listings.sees_new_at_once = False
        return super().next_poll(wait)


POLICIES = {
    "the provider's": PollPlan,
    "each at the two listings in turn": Alternating,
    "own listing, every 30 s": FixedInterval,
    "account listing only": AccountOnly,
    "no hint": NoHint,
}
