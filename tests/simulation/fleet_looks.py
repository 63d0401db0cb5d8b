"""Other ways to look for many pending snapshots, to compare the provider's own with."""

from __future__ import annotations

from pulumi_snapshots.listing.poll_plan import Look, Looking, Wait

__all__ = ["POLICIES"]


class Alternating(Looking):
    """Each snapshot by itself, as one that is alone: at the two listings in turn."""

    def next(self, wait: Wait) -> Look:
        return self._alone(wait)


class FixedInterval(Looking):
    """Each database's own listing, again and again."""

    def next(self, wait: Wait) -> Look:
        return Look(max(wait.began, wait.tried) + self.every)


class AccountOnly(Looking):
    """The account's listing alone, when the first of all is due."""

    def next(self, wait: Wait) -> Look:
        return Look(max(wait.began, wait.tried) + self.every, account=True)


class NoHint(Looking):
    """The provider's own, without what a page that changed early tells."""

    def next(self, wait: Wait) -> Look:
        self.looks.hinted = self.looks.sees_new_at_once = False
        return super().next(wait)


POLICIES = {
    "the provider's": Looking,
    "each at the two listings in turn": Alternating,
    "own listing, every 30 s": FixedInterval,
    "account listing only": AccountOnly,
    "no hint": NoHint,
}
