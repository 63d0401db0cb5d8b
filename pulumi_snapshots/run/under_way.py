"""A request that is under way, in the words of everything that shows it: `runs`, and the row of each run that waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pulumi_snapshots.ledger.attempt import GUARDS, Attempt, is_resource


@dataclass(frozen=True)
class UnderWay:
    """What runs, and users, know of a request that has no known end, or keeps others away.

    Attributes:
        attempt: the request.
        now: the service's time.
        is_shared: whether machines share the ledger.
    """

    attempt: Attempt
    now: datetime
    is_shared: bool

    @property
    def what(self) -> str:
        """What was requested, without its database."""
        return "snapshot" if self.attempt.kind == "snapshot" else f"restore of {self.attempt.source}"

    @property
    def by(self) -> str:
        """Who has requested it: resource and stack, or the command."""
        owner = self.attempt.owner
        if owner is None or not is_resource(owner):
            return owner or "an unnamed resource"
        project, stack, *_, name = owner.split("::")
        return f"{name} of {project}/{stack}"

    @property
    def until(self) -> datetime:
        """Until when others wait for it at most."""
        return self.attempt.waited_for_until

    @property
    def state(self) -> str:
        """Where it stands."""
        attempt = self.attempt
        if attempt.is_over:
            return "its checks are under way" if attempt.kind == "restore" else "found a moment ago"
        if attempt.awaits_answer(self.now):
            return "its answer is awaited"
        if self.now >= self.until:
            return "it was never seen to end"
        if attempt.request.accepted:
            return f"accepted, not {'listed yet' if attempt.kind == 'snapshot' else 'finished'}"
        return f"{attempt.request.answered}, its end is not known"

    @property
    def command(self) -> str:
        """The command that resumes it, with its arguments; empty if a resource or a guard has requested it."""
        attempt, owner = self.attempt, self.attempt.owner or ""
        if is_resource(owner) or owner.rpartition(" ")[2] not in {"create", "restore"}:
            return ""
        if attempt.kind == "snapshot":
            return f"{owner} {attempt.database_id}"
        source = attempt.source or ""
        onto = "" if source.startswith(f"{attempt.database_id}/") else f" --onto {attempt.database_id}"
        return f"{owner} {source}{onto} --yes"

    @property
    def then(self) -> str:
        """What ends it unless its run still does, which no ledger shows, and what a user can do."""
        attempt, owner = self.attempt, self.attempt.owner or ""
        where = "any machine that shares the ledger" if self.is_shared else "this machine"
        if attempt.is_over:
            return "nothing to do: it ends by itself"
        if attempt.kind == "snapshot" and self.now >= self.until:
            return "the next snapshot of that database forgets it"
        if owner.rpartition(" ")[2] in {"", "probe", "verify"}:
            waits = "the next snapshot of that database waits for it"
            return f"no run claims it: {waits if attempt.kind == 'snapshot' else 'check the database'}"
        if attempt.proved:
            again = "its stack has it as pending, and the next run of that stack"
        elif is_resource(owner):
            again = f"the next run of its stack on {where}"
        elif owner.startswith(f"{GUARDS}:"):
            again = f"the next guarded change on {where}"
        else:
            again = f"running `{self.command or owner}` again on {where}"
        return f"unless it is still running: {again} resumes it, and sends nothing"

    def __str__(self) -> str:
        return f"{self.by} requested one ({self.state}); {self.then}"
