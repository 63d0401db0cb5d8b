"""What runs, and users, read of a request that another run has sent."""

from datetime import datetime
from typing import Any

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.ledger.attempt import (
    GUARD_OWNER,
    Attempt,
    is_resource,
    owner_kind,
)

FIELDS = (
    "database_id",
    "what",
    "by",
    "since",
    "until",
    "state",
    "then",
    "kind",
    "source",
    "owner",
    "account",
)
"""The names of what `request_facts` tells, in the order in which they are shown."""
SHARED = "any machine that shares the ledger"
THIS_MACHINE = "this machine"


def requester(attempt: Attempt) -> str:
    """Name who has sent a request.

    Args:
        attempt: The attempt of the request.

    Returns:
        Such as `before of shop/dev`, or the command.
    """
    owner = attempt.owner or "an unnamed resource"
    if not is_resource(attempt.owner):
        return owner
    project, stack, *_, name = owner.split("::")
    return f"{name} of {project}/{stack}"


def plain_requester(attempt: Attempt) -> str:
    """Name who has sent a request, in words for somebody who waits for it.

    Args:
        attempt: The attempt of the request.

    Returns:
        Such as "`before` in stack `shop/dev`", or "a guard".
    """
    if owner_kind(attempt.owner) == "guard":
        return "a guard"
    if not is_resource(attempt.owner):
        return f"`{attempt.owner}`" if attempt.owner else "an unnamed resource"
    project, stack, *_, name = (attempt.owner or "").split("::")
    return f"`{name}` in stack `{project}/{stack}`"


def request_facts(
    attempt: Attempt, now: datetime, *, is_shared: bool
) -> dict[str, Any]:
    """Tell what is known of a request that has no known end, or keeps others away.

    Args:
        attempt: The attempt of the request.
        now: The service's time.
        is_shared: Whether several machines share the ledger.

    Returns:
        A text for each of `FIELDS`, None for what does not apply; times as RFC 3339.
    """
    what = "snapshot" if attempt.kind == "snapshot" else f"restore of {attempt.source}"
    facts: dict[str, Any] = {name: getattr(attempt, name, None) for name in FIELDS}
    facts["what"] = what
    facts["by"] = requester(attempt)
    facts["since"] = rfc3339(attempt.request.posted_at)
    facts["until"] = rfc3339(attempt.waited_for_until)
    facts["state"] = request_state(attempt, now)
    facts["then"] = _next_step(attempt, now, SHARED if is_shared else THIS_MACHINE)
    return facts


def request_state(attempt: Attempt, now: datetime) -> str:
    """Tell how far a request is, in words.

    Args:
        attempt: The attempt of the request.
        now: The service's time.

    Returns:
        Such as `accepted, not listed yet`.
    """
    if attempt.is_over:
        return (
            "its checks are under way"
            if attempt.kind == "restore"
            else "found a moment ago"
        )
    if now >= attempt.waited_for_until:
        return "its end was never seen"
    if attempt.request.accepted:
        return f"accepted, not {'listed yet' if attempt.kind == 'snapshot' else 'finished'}"
    return attempt.request.unanswered.removeprefix("is ")


def resuming_command(attempt: Attempt) -> str | None:
    """Name the command that waits for a request.

    Args:
        attempt: The attempt of the request.

    Returns:
        The command with its arguments; None if no command has sent the request.
    """
    owner = attempt.owner or ""
    source = attempt.source or ""
    if owner_kind(attempt.owner) != "command":
        return None
    command = owner.rpartition(" ")[2]
    if command == "create":
        return f"{owner} {attempt.database_id} --reuse-within 1h"
    if command != "restore":
        return None
    is_onto_own = source.startswith(f"{attempt.database_id}/")
    onto = "" if is_onto_own else f" --onto {attempt.database_id}"
    return f"{owner} {source}{onto} --yes"


def _next_step(attempt: Attempt, now: datetime, where: str) -> str:
    """Tell what ends a request unless its own run does, which no ledger shows."""
    owner = attempt.owner or ""
    if attempt.is_over:
        return "nothing to do"
    if now >= attempt.waited_for_until:
        return "nothing waits for it any longer"
    command = resuming_command(attempt)
    if command is not None:
        again = f"running `{command}` on {where}"
    elif owner.startswith(f"{GUARD_OWNER}:"):
        again = f"the next guarded change on {where}"
    elif not is_resource(attempt.owner):
        return "the next request of that database waits for it"
    elif attempt.saved:
        again = "its stack has it as pending, and the next run of that stack"
    else:
        again = f"the next run of its stack on {where}"
    return (
        f"unless its run is still working on it, {again} waits for it and sends nothing"
    )
