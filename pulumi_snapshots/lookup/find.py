"""Lookups: which snapshots and databases there are. A complete answer or an error, since a program acts on what is missing, too.

A program that goes on with half an answer would no longer declare the resources of the other half, and the engine would
forget them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from pulumi_snapshots.api.client import BRIEF
from pulumi_snapshots.api.errors import NotAllowed
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import CannotTell
from pulumi_snapshots.listing.complete import ask_all, newest_first, undated
from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo
from pulumi_snapshots.snapshot.describe import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_snapshots.api.models import AccountDatabase, ListedSnapshot
    from pulumi_snapshots.lookup.inputs import SnapshotQuery
    from pulumi_snapshots.run.session import Session

__all__ = ["find_database", "find_databases", "find_latest", "find_snapshots"]

NO_TIME = datetime.min.replace(tzinfo=UTC)
"""Before every snapshot."""


async def find_snapshots(session: Session, query: SnapshotQuery, since: float) -> list[SnapshotInfo]:
    """The snapshots that fit, newest first; of one database, or of the whole account.

    Args:
        session: the service.
        query: which.
        since: what was asked for then (monotonic) or later is good enough.

    Raises:
        CannotTell: the listing does not tell for sure.
        SquareCloudError: no listing.
    """
    found = await _listed(session, query, since)
    # Those without a time come last; they are asked for only if no age is.
    found.sort(key=lambda one: one[1].modified or NO_TIME, reverse=True)
    return [SnapshotInfo.of(await describe(session, *one)) for one in found]


async def find_latest(session: Session, query: SnapshotQuery, since: float) -> SnapshotInfo | None:
    """The newest snapshot that fits and is available; None where there is none.

    Args:
        session: the service.
        query: of one database.
        since: what was asked for then (monotonic) or later is good enough.

    Raises:
        CannotTell: the listing does not tell for sure.
        SquareCloudError: no listing.
    """
    for entry in newest_first(entry for _, entry in await _listed(session, query, since)):
        snapshot = SnapshotInfo.of(await describe(session, query.database_id or "", entry))
        if snapshot.available:
            return snapshot
    return None


async def find_database(session: Session, database_id: str, since: float) -> DatabaseInfo:
    """One database, and whether it runs.

    Args:
        session: the service.
        database_id: a checked id.
        since: what was asked for then (monotonic) or later is good enough.

    Raises:
        CannotTell: the answer does not say what it is.
        SquareCloudError: no answer.
    """
    try:
        database = await session.databases.database(database_id, since, patience=BRIEF)
        if database.id != database_id:
            raise CannotTell(f"the service answers for database {database_id} with another one, {database.id}")
        return await _with_status(session, database, since)
    except NotAllowed as error:
        raise _scope_unknown(error) from error


async def find_databases(
    session: Session, since: float, *, tell: Callable[[str], None] = lambda _: None
) -> list[DatabaseInfo]:
    """All databases of the account, in the service's order, and whether each runs.

    Args:
        session: the service.
        since: what was asked for then (monotonic) or later is good enough.
        tell: told where it takes a while.

    Raises:
        CannotTell: the answer does not tell all of them for sure.
        SquareCloudError: no answer.
    """
    try:
        databases = await session.complete_listings.databases(since)
        budget = session.settings.own_requests
        if len(databases) >= budget:
            minutes = len(databases) // budget + 1
            tell(
                f"asking for the status of {len(databases)} databases, {budget} requests a minute: about {minutes} minutes"
            )
        return await ask_all([partial(_with_status, session, database, since) for database in databases])
    except NotAllowed as error:
        raise _scope_unknown(error) from error


async def _listed(session: Session, query: SnapshotQuery, since: float) -> list[tuple[str, ListedSnapshot]]:
    """Each entry that fits, after the id of its database."""
    if query.database_id is None:
        of_each = await session.complete_listings.of_account(since, origin=query.origin)
    else:
        of_each = {
            query.database_id: await session.complete_listings.of_database(
                query.database_id, since, origin=query.origin
            )
        }
    return [
        (database_id, entry)
        for database_id, entries in of_each.items()
        for entry in entries.values()
        if _fits(session, query, entry)
    ]


def _fits(session: Session, query: SnapshotQuery, entry: ListedSnapshot) -> bool:
    if query.origin is not None and entry.origin != query.origin:
        return False
    if not query.needs_times:
        return True
    if entry.modified is None:
        raise undated(entry)
    age = (session.client.service_clock.now() - entry.modified).total_seconds()
    return (query.newer_than is None or age <= query.newer_than) and (
        query.older_than is None or age > query.older_than
    )


async def _with_status(session: Session, database: AccountDatabase, since: float) -> DatabaseInfo:
    if database.name is None or database.type is None:
        raise CannotTell(f"the service does not say what database {database.id} is: its name or type is missing")
    running = await session.databases.running(database.id, since, patience=BRIEF)
    return DatabaseInfo(
        id=database.id,
        name=database.name,
        type=database.type,
        ram=database.ram,
        cluster=database.cluster,
        running=running,
    )


def _scope_unknown(error: NotAllowed) -> Exception:
    """A refusal of a question about databases, whose scopes the service does not publish."""
    if error.code != "MISSING_SCOPE":
        return error
    return CannotTell(
        f"{error} The service does not publish which scope a question about databases needs",
        then=[Next(Step.USE_KEY_WITHOUT_LIMITS)],
    )
