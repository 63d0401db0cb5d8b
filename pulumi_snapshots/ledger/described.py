"""A request of the ledger in words, for those who wait for it and for users."""

from datetime import datetime
from typing import Any

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.ledger.attempt import GUARDS, Attempt, is_resource

FIELDS = ("database_id", "what", "by", "since", "until", "state", "then", "kind", "source", "owner", "account")


def described(attempt: Attempt, now: datetime, *, is_shared: bool) -> dict[str, Any]:
    """What runs, and users, know of a request that has no known end, or keeps others away; `is_shared`: machines share the ledger."""
    by = attempt.owner or "an unnamed resource"
    if is_resource(attempt.owner):
        project, stack, *_, name = by.split("::")
        by = f"{name} of {project}/{stack}"
    told = {
        "what": "snapshot" if attempt.kind == "snapshot" else f"restore of {attempt.source}",
        "by": by,
        "since": rfc3339(attempt.request.posted_at),
        "until": rfc3339(attempt.waited_for_until),
        "state": _state(attempt, now),
        "then": _then(attempt, now, "any machine that shares the ledger" if is_shared else "this machine"),
    }
    return {name: told[name] if name in told else getattr(attempt, name) for name in FIELDS}


def command_of(attempt: Attempt) -> str:
    """The command that resumes it, with its arguments; empty if a resource or a guard has requested it."""
    owner, source = attempt.owner or "", attempt.source or ""
    if is_resource(owner) or owner.rpartition(" ")[2] not in {"create", "restore"}:
        return ""
    if attempt.kind == "snapshot":
        return f"{owner} {attempt.database_id}"
    onto = "" if source.startswith(f"{attempt.database_id}/") else f" --onto {attempt.database_id}"
    return f"{owner} {source}{onto} --yes"


def _state(attempt: Attempt, now: datetime) -> str:
    if attempt.is_over:
        return "its checks are under way" if attempt.kind == "restore" else "found a moment ago"
    if now >= attempt.waited_for_until:
        return "it was never seen to end"
    if attempt.request.accepted:
        return f"accepted, not {'listed yet' if attempt.kind == 'snapshot' else 'finished'}"
    return attempt.request.unanswered.removeprefix("is ")


def _then(attempt: Attempt, now: datetime, where: str) -> str:
    """What ends it unless its run still does, which no ledger shows, and what a user can do."""
    owner = attempt.owner or ""
    if attempt.is_over:
        return "nothing to do"
    if attempt.kind == "snapshot" and now >= attempt.waited_for_until:
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
        again = f"running `{command_of(attempt) or owner}` again on {where}"
    return f"unless it is still running: {again} resumes it, and sends nothing"
