"""Databases that no drill may overwrite, since a resource or a guard uses them.

This run knows some of them, and the ledger others.
"""

from __future__ import annotations

from datetime import timedelta

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.guard.book import GuardBook, consult
from pulumi_snapshots.ledger.attempt import Attempt, is_resource, owner_kind
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.run.memory import DRILLS_OVERWRITE, Uses, in_use, is_same_database

REMEMBERED_FOR = timedelta(days=1)
"""How long a request of a resource keeps drills away from its database.

The provider sees every resource of a program, unless `--target` leaves some out, and none of other
stacks and machines. A daily snapshot is seen within this time, and a resource that has left its
program does not keep drills away for longer.
"""


async def refusal(uses: Uses, ledger: Ledger, database_id: str) -> str | None:
    """Say why a drill must not overwrite a database.

    Args:
        uses: What this run knows.
        ledger: What all runs with the same ledger know. The ledger is read once.
        database_id: The scratch database.

    Returns:
        The reason, to follow the name of the property; None if nothing is known that uses the
        database.

    Raises:
        LedgerUnavailable: The ledger cannot be read, so nothing shows that no guard uses the
        database.
    """
    resource = uses.user_of(database_id)
    if resource is not None:
        return in_use(resource)
    return await consult(ledger, lambda book: _refusal_in(book, database_id))


def _refusal_in(book: GuardBook, database_id: str) -> str | None:
    """Say which guard or request in the ledger keeps drills away; None if none does."""
    for entry in book.history():
        if is_same_database(entry.database_id, database_id):
            return in_use(f"Guard {entry.guard!r}")
    for attempt in book.attempts:
        until = attempt.request.posted_at + REMEMBERED_FOR
        if until > book.now and _uses(attempt, database_id):
            return (
                f"must be used for drills only, but {_requested(attempt)} at "
                f"{to_the_second(attempt.request.posted_at)}, which keeps drills away until "
                f"{to_the_second(until)}: {DRILLS_OVERWRITE}"
            )
    return None


def _uses(attempt: Attempt, database_id: str) -> bool:
    """Whether a request shows that a resource or a guard uses the data of a database."""
    if owner_kind(attempt.owner) not in {"resource", "drill", "guard"}:
        return False  # A command asks for one snapshot or restore only.
    if attempt.source and is_same_database(
        attempt.source.partition("/")[0], database_id
    ):
        return True
    is_drill = owner_kind(attempt.owner) == "drill"
    return is_same_database(attempt.database_id, database_id) and not is_drill


def _requested(attempt: Attempt) -> str:
    """Say who has requested what: `'nightly' of shop/dev has requested a snapshot of it`."""
    owner = "a Guard"
    if is_resource(attempt.owner):
        project, stack, *_, name = str(attempt.owner).split("::")
        owner = f"{name!r} of {project}/{stack}"
    if attempt.kind == "snapshot":
        return f"{owner} has requested a snapshot of it"
    return f"{owner} has requested the restore of {attempt.source}"
