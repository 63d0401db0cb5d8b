"""Lookups: which snapshots and databases exist. The answer is complete, or an error.

A program with half an answer would not declare the resources of the other half, and the engine would forget them.

Every lookup may use an earlier answer of the service if that is no older than `since` (monotonic seconds).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from pulumi_snapshots.errors import CannotTell, Explained
from pulumi_snapshots.listing.complete import ask_all, newest_first, undated
from pulumi_snapshots.lookup.inputs import SnapshotQuery, UrlQuery
from pulumi_snapshots.lookup.results import (
    DATABASE,
    DATABASES,
    DOWNLOAD_URL,
    LATEST,
    SNAPSHOTS,
    DatabaseInfo,
    Lookup,
    SnapshotInfo,
)
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.models import AccountDatabase, ListedSnapshot
from pulumi_snapshots.snapshot.describe import describe

T = TypeVar("T")

OfEach = Mapping[str, Mapping[str, ListedSnapshot]]
"""The entries of each database, by version."""
NO_TIME = datetime.min.replace(tzinfo=UTC)
"""Before every snapshot."""


async def find_snapshots(
    session: Session, query: SnapshotQuery, since: float, of_each: OfEach | None = None
) -> list[SnapshotInfo]:
    """The snapshots that fit, newest first; of one database, or of the whole account.

    Args:
        session: the service.
        query: which ones.
        since: an answer may be as old as this.
        of_each: the entries of each database, if they were requested already.

    Raises:
        CannotTell: the listing leaves the answer open.
        SquareCloudError: no listing.
    """
    found = _fitting(session, query, of_each) if of_each is not None else await _listed(session, query, since)
    # Snapshots without a time come last; they are no error if the query names no age.
    found.sort(key=lambda one: one[1].modified or NO_TIME, reverse=True)
    return [SnapshotInfo.of(await describe(session, *one), with_url=query.with_url) for one in found]


async def find_latest(session: Session, query: SnapshotQuery, since: float) -> SnapshotInfo | None:
    """The newest snapshot of one database that fits and is available; None if there is none.

    Raises:
        CannotTell: the listing leaves the answer open.
        SquareCloudError: no listing.
    """
    for entry in newest_first(entry for _, entry in await _listed(session, query, since)):
        record = await describe(session, query.database_id or "", entry)
        snapshot = SnapshotInfo.of(record, with_url=query.with_url)
        if snapshot.available:
            return snapshot
    return None


async def find_url(session: Session, query: UrlQuery, since: float) -> str:
    """The download URL of one snapshot.

    Raises:
        Explained: the service does not list the snapshot.
        SquareCloudError: no listing.
    """
    entry = (await session.complete_listings.of_database(query.database_id, since)).get(query.version_id)
    url = (await describe(session, query.database_id, entry)).download_url if entry is not None else None
    if url is None:
        raise Explained(f"database {query.database_id} has no snapshot {query.version_id} to download")
    return url


async def find_database(session: Session, database_id: str, since: float) -> DatabaseInfo:
    """One database, and whether it runs.

    Raises:
        CannotTell: the answer does not say what it is.
        SquareCloudError: no answer.
    """
    database = await session.databases.database(database_id, since, patience=BRIEF)
    if database.id != database_id:
        raise CannotTell(f"the service answers for database {database_id} with another one, {database.id}")
    return await _with_status(session, database, since)


async def find_databases(
    session: Session, since: float, *, tell: Callable[[str], None] = lambda _: None
) -> list[DatabaseInfo]:
    """All databases of the account, in the service's order, and whether each runs; `tell` says so if it takes minutes.

    Raises:
        CannotTell: the answer may be incomplete.
        SquareCloudError: no answer.
    """
    databases = await session.complete_listings.databases(since)
    budget = session.settings.own_requests
    if len(databases) >= budget:
        count, minutes = len(databases), len(databases) // budget + 1
        tell(f"asking for the status of {count} databases, {budget} requests a minute: about {minutes} minutes")
    return await ask_all([partial(_with_status, session, database, since) for database in databases])


async def _listed(session: Session, query: SnapshotQuery, since: float) -> list[tuple[str, ListedSnapshot]]:
    """Each entry that fits, with the id of its database."""
    listings, wanted = session.complete_listings, query.database_id
    if wanted is None:
        of_each = await listings.of_account(since, origin=query.origin)
    else:
        of_each = {wanted: await listings.of_database(wanted, since, origin=query.origin)}
    return _fitting(session, query, of_each)


def _fitting(session: Session, query: SnapshotQuery, of_each: OfEach) -> list[tuple[str, ListedSnapshot]]:
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
    is_new = query.newer_than is None or age <= query.newer_than
    return is_new and (query.older_than is None or age > query.older_than)


async def _with_status(session: Session, database: AccountDatabase, since: float) -> DatabaseInfo:
    if database.name is None or database.type is None:
        raise CannotTell(f"the service does not say what database {database.id} is: its name or type is missing")
    running = await session.databases.running(database.id, since, patience=BRIEF)
    return DatabaseInfo(database.id, database.name, database.type, database.ram, database.cluster, running)


_FIND: dict[str, Callable[..., Awaitable[Any]]] = {
    SNAPSHOTS.function: lambda session, query, since, _: find_snapshots(session, query, since),
    LATEST.function: lambda session, query, since, _: find_latest(session, query.candidates, since),
    DOWNLOAD_URL.function: lambda session, query, since, _: find_url(session, query, since),
    DATABASE.function: lambda session, query, since, _: find_database(session, query.database_id, since),
    DATABASES.function: lambda session, _query, since, tell: find_databases(session, since, tell=tell),
}


async def find(
    lookup: Lookup[T], session: Session, values: Mapping[str, Any], since: float, tell: Callable[[str], None]
) -> T:
    """The answer to a lookup whose arguments have no problem; `tell` says so if it takes minutes.

    Raises:
        Explained: there is no certain answer.
    """
    answer: T = await _FIND[lookup.function](session, lookup.query.of(values), since, tell)
    return answer
