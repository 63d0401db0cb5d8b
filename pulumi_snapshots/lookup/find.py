"""Lookups: which snapshots and databases exist. The answer is complete, or an error.

A program with half an answer would not declare the resources of the other half, and the engine would forget them.

Every lookup may use an earlier answer of the service if that is no older than `since` (monotonic seconds). It raises CannotTell
if the service's answer leaves open what was looked up, or the service's own error if there is no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar, cast

from pulumi_snapshots.errors import CannotTell, Explained
from pulumi_snapshots.listing.complete import ask_all, newest_first, time_of
from pulumi_snapshots.lookup.account import OfEach
from pulumi_snapshots.lookup.results import (
    DATABASE,
    DOWNLOAD_URL,
    LATEST,
    SNAPSHOTS,
    DatabaseInfo,
    Lookup,
    SnapshotInfo,
    SnapshotQuery,
)
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.models import AccountDatabase, ListedSnapshot
from pulumi_snapshots.snapshot.describe import describe

T = TypeVar("T")

NO_TIME = datetime.min.replace(tzinfo=UTC)
"""Before every snapshot."""


async def find_snapshots(
    session: Session, query: SnapshotQuery, since: float, of_each: OfEach | None = None
) -> list[SnapshotInfo]:
    """The snapshots that fit, newest first, of one database or the account; in `of_each` if they were requested already."""
    found = await _fitting(session, query, since, of_each)
    # Snapshots without a time come last; they are no error if the query names no age.
    found.sort(key=lambda one: one[1].modified or NO_TIME, reverse=True)
    return [SnapshotInfo.of(await describe(session, *one), with_url=query.with_url) for one in found]


async def find_latest(session: Session, query: SnapshotQuery, since: float) -> SnapshotInfo | None:
    """The newest snapshot of one database that fits and is available; None if there is none."""
    for entry in newest_first(entry for _, entry in await _fitting(session, query, since)):
        record = await describe(session, query.database_id or "", entry)
        snapshot = SnapshotInfo.of(record, with_url=query.with_url)
        if snapshot.available:
            return snapshot
    return None


async def find_url(session: Session, database_id: str, version_id: str, since: float) -> str:
    """The download URL of one snapshot; an error if the service does not list it."""
    entry = (await session.complete_listings.of_database(database_id, since)).get(version_id)
    url = (await describe(session, database_id, entry)).download_url if entry is not None else None
    if url is None:
        raise Explained(f"database {database_id} has no snapshot {version_id} to download")
    return url


async def find_database(session: Session, database_id: str, since: float) -> DatabaseInfo:
    """One database, and whether it runs."""
    database = await session.databases.database(database_id, since, patience=BRIEF)
    if database.id != database_id:
        raise CannotTell(f"the service answers for database {database_id} with another one, {database.id}")
    return await _with_status(session, database, since)


async def find_databases(
    session: Session, since: float, *, tell: Callable[[str], None] = lambda _: None
) -> list[DatabaseInfo]:
    """All databases of the account, in the service's order, and whether each runs; `tell` says so if it takes minutes."""
    databases = await session.complete_listings.databases(since)
    budget = session.settings.own_requests
    if len(databases) >= budget:
        count, minutes = len(databases), len(databases) // budget + 1
        tell(f"asking for the status of {count} databases, {budget} requests a minute: about {minutes} minutes")
    return await ask_all([partial(_with_status, session, database, since) for database in databases])


async def find(
    lookup: Lookup[T], session: Session, values: Mapping[str, Any], since: float, tell: Callable[[str], None]
) -> T:
    """The answer to a lookup whose arguments have no problem; `tell` says so if it takes minutes."""
    query: Any = lookup.query.of(values)
    match lookup.function:
        case SNAPSHOTS.function:
            found: object = await find_snapshots(session, query, since)
        case LATEST.function:
            found = await find_latest(session, query.candidates, since)
        case DOWNLOAD_URL.function:
            found = await find_url(session, query.database_id, query.version_id, since)
        case DATABASE.function:
            found = await find_database(session, query.database_id, since)
        case _:
            found = await find_databases(session, since, tell=tell)
    return cast("T", found)


async def _fitting(
    session: Session, query: SnapshotQuery, since: float, of_each: OfEach | None = None
) -> list[tuple[str, ListedSnapshot]]:
    """Each entry that fits, with the id of its database."""
    if of_each is None and (wanted := query.database_id) is not None:
        of_each = {wanted: await session.complete_listings.of_database(wanted, since, origin=query.origin)}
    elif of_each is None:
        of_each = await session.complete_listings.of_account(since, origin=query.origin)
    every = ((database_id, entry) for database_id, entries in of_each.items() for entry in entries.values())
    return [(database_id, entry) for database_id, entry in every if _fits(session, query, entry)]


def _fits(session: Session, query: SnapshotQuery, entry: ListedSnapshot) -> bool:
    if query.origin is not None and entry.origin != query.origin:
        return False
    if query.newer_than is None and query.older_than is None:
        return True
    age = (session.client.service_clock.now() - time_of(entry)).total_seconds()
    is_new = query.newer_than is None or age <= query.newer_than
    return is_new and (query.older_than is None or age > query.older_than)


async def _with_status(session: Session, database: AccountDatabase, since: float) -> DatabaseInfo:
    if database.name is None or database.type is None:
        raise CannotTell(f"the service does not say what database {database.id} is: its name or type is missing")
    status = await session.databases.status(database.id, since, patience=BRIEF)
    return DatabaseInfo(database.id, database.name, database.type, database.ram, database.cluster, status.running)
