"""Lookups of snapshots and databases.

Each answer is complete, or an error. Answers of the service that arrived at `since`, in monotonic
seconds, or later are used again.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from pulumi_snapshots.errors import CannotTell, ProviderError
from pulumi_snapshots.ledger.attempt import NEVER
from pulumi_snapshots.listing.listings import ask_all, time_of
from pulumi_snapshots.lookup.results import (
    DATABASE,
    DATABASES,
    DOWNLOAD_URL,
    LATEST,
    SNAPSHOTS,
    DatabaseInfo,
    Lookup,
    SnapshotInfo,
    SnapshotQuery,
    UrlQuery,
)
from pulumi_snapshots.properties.catalogue import Values
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.models import AccountDatabase, ListedSnapshot
from pulumi_snapshots.snapshot.read import newest
from pulumi_snapshots.snapshot.record import describe

T = TypeVar("T")
# the entries of each database, by version
OfEach = Mapping[str, Mapping[str, ListedSnapshot]]


async def find_snapshots(
    session: Session, query: SnapshotQuery, since: float, of_each: OfEach | None = None
) -> list[SnapshotInfo]:
    """Find the snapshots that match a query, newest first, of one database or the account.

    Args:
        session: The session of the process.
        query: The query.
        since: How old the answer can be, in monotonic seconds.
        of_each: The entries of each database if they were requested already; None otherwise.

    Returns:
        The snapshots.
    """
    matching = await _matching(session, query, since, of_each)
    # Snapshots without a time come last; they are no error if the query names no age.
    matching.sort(key=lambda each: each[1].modified or NEVER, reverse=True)
    return [
        SnapshotInfo.of(await describe(session, *each), with_url=query.with_url)
        for each in matching
    ]


async def find_latest(
    session: Session, query: SnapshotQuery, since: float
) -> SnapshotInfo | None:
    """Find the newest available snapshot of one database that matches a query.

    Args:
        session: The session of the process.
        query: The query.
        since: How old the answer can be, in monotonic seconds.

    Returns:
        The snapshot; None if there is none.
    """
    entries = [entry for _, entry in await _matching(session, query, since)]
    record = await newest(session, query.database_id or "", entries)
    return SnapshotInfo.of(record, with_url=query.with_url) if record else None


async def find_url(session: Session, query: UrlQuery, since: float) -> str:
    """Find the download URL of one snapshot.

    Args:
        session: The session of the process.
        query: The query.
        since: How old the answer can be, in monotonic seconds.

    Returns:
        The URL, which is a secret.

    Raises:
        ProviderError: The service does not list the snapshot, or lists it without a URL.
    """
    entries = await session.listings.of_database(query.database_id, since)
    entry = entries.get(query.version_id)
    if entry is not None:
        record = await describe(session, query.database_id, entry)
        if record.download_url is not None:
            return record.download_url
    raise ProviderError(
        f"database {query.database_id} has no snapshot {query.version_id} to download"
    )


async def find_database(
    session: Session, database_id: str, since: float
) -> DatabaseInfo:
    """Find one database, and whether it runs.

    Args:
        session: The session of the process.
        database_id: The database.
        since: How old the answer can be, in monotonic seconds.

    Returns:
        The database.
    """
    database = await session.listings.database(database_id, since, patience=BRIEF)
    if database.id != database_id:
        raise CannotTell(
            f"the service answers for database {database_id} with another one, {database.id}"
        )
    return await _with_status(session, database, since)


async def find_databases(
    session: Session, since: float, tell: Callable[[str], object]
) -> list[DatabaseInfo]:
    """Find all databases of the account, in the service's order, and whether each runs.

    Args:
        session: The session of the process.
        since: How old the answer can be, in monotonic seconds.
        tell: Tells the user if the lookup takes minutes.

    Returns:
        The databases.
    """
    databases = await session.listings.databases(since)
    budget = session.settings.own_requests
    minutes = len(databases) // budget
    if minutes:
        tell(
            f"asking for the status of {len(databases)} databases, {budget} a minute: "
            f"about {minutes + 1} minutes"
        )
    return await ask_all(
        [partial(_with_status, session, database, since) for database in databases]
    )


async def answer_lookup(
    lookup: Lookup[T],
    session: Session,
    values: Values,
    since: float,
    tell: Callable[[str], object],
) -> T:
    """Answer a lookup completely. Half an answer would make a program leave out resources.

    Args:
        lookup: The lookup.
        session: The session of the process.
        values: The arguments, without a problem.
        since: How old the answer can be, in monotonic seconds.
        tell: Tells the user what takes long.

    Returns:
        The answer.

    Raises:
        CannotTell: The service's answer leaves a part open.
    """
    query: Any = lookup.query.of(values)
    lookups: dict[str, Callable[[], Awaitable[Any]]] = {
        SNAPSHOTS.function: lambda: find_snapshots(session, query, since),
        LATEST.function: lambda: find_latest(session, query.candidates, since),
        DOWNLOAD_URL.function: lambda: find_url(session, query, since),
        DATABASE.function: lambda: find_database(session, query.database_id, since),
        DATABASES.function: lambda: find_databases(session, since, tell),
    }
    answer: T = await lookups[lookup.function]()
    return answer


async def _matching(
    session: Session, query: SnapshotQuery, since: float, of_each: OfEach | None = None
) -> list[tuple[str, ListedSnapshot]]:
    """Each entry that matches, with the id of its database."""
    listings = session.listings
    wanted = query.database_id
    if of_each is None and wanted is not None:
        of_each = {
            wanted: await listings.of_database(wanted, since, origin=query.origin)
        }
    elif of_each is None:
        of_each = await listings.of_account(since, origin=query.origin)
    now = session.service_clock.now()
    newer_than = query.newer_than
    older_than = query.older_than

    def matches(entry: ListedSnapshot) -> bool:
        if query.origin not in {None, entry.origin}:
            return False
        if newer_than is None and older_than is None:
            return True  # so no entry needs a time
        age = (now - time_of(entry)).total_seconds()
        is_old_enough = older_than is None or age > older_than
        return is_old_enough and (newer_than is None or age <= newer_than)

    return [
        (database_id, entry)
        for database_id, entries in of_each.items()
        for entry in entries.values()
        if matches(entry)
    ]


async def _with_status(
    session: Session, database: AccountDatabase, since: float
) -> DatabaseInfo:
    if database.name is None or database.type is None:
        raise CannotTell(
            f"the service does not say what database {database.id} is: its name or type is missing"
        )
    status = await session.listings.database_status(database.id, since, patience=BRIEF)
    return DatabaseInfo(
        database.id,
        database.name,
        database.type,
        database.ram,
        database.cluster,
        status.running,
    )
