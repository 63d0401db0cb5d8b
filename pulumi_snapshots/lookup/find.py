"""Lookups: which snapshots and databases exist. The answer is complete, or an error; an earlier one will do if it is from `since` (monotonic seconds) or later."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from pulumi_snapshots.errors import CannotTell, Explained
from pulumi_snapshots.ledger.attempt import NEVER
from pulumi_snapshots.listing.listings import ask_all, by_database, time_of
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
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF, ONCE
from pulumi_snapshots.service.limits import ACCOUNT_LISTING
from pulumi_snapshots.service.models import AccountDatabase, ListedSnapshot
from pulumi_snapshots.snapshot.read import newest
from pulumi_snapshots.snapshot.record import describe

T = TypeVar("T")
OfEach = Mapping[str, Mapping[str, ListedSnapshot]]
"""The entries of each database, by version."""
FRESH = ACCOUNT_LISTING.per_account
"""Seconds for which a kept page is shown: so long the account's listing must not be requested again."""


async def find_snapshots(
    session: Session, query: SnapshotQuery, since: float, of_each: OfEach | None = None
) -> list[SnapshotInfo]:
    """The snapshots that fit, newest first, of one database or the account; in `of_each` if they were requested already."""
    found = await _fitting(session, query, since, of_each)
    # Snapshots without a time come last; they are no error if the query names no age.
    found.sort(key=lambda one: one[1].modified or NEVER, reverse=True)
    return [SnapshotInfo.of(await describe(session, *one), with_url=query.with_url) for one in found]


async def find_latest(session: Session, query: SnapshotQuery, since: float) -> SnapshotInfo | None:
    """The newest snapshot of one database that fits and is available; None if there is none."""
    entries = [entry for _, entry in await _fitting(session, query, since)]
    record = await newest(session, query.database_id or "", entries)
    return SnapshotInfo.of(record, with_url=query.with_url) if record else None


async def find_url(session: Session, query: UrlQuery, since: float) -> str:
    """The download URL of one snapshot; an error if the service does not list it."""
    entry = (await session.listings.of_database(query.database_id, since)).get(query.version_id)
    url = (await describe(session, query.database_id, entry)).download_url if entry is not None else None
    if url is None:
        raise Explained(f"database {query.database_id} has no snapshot {query.version_id} to download")
    return url


async def find_database(session: Session, database_id: str, since: float) -> DatabaseInfo:
    """One database, and whether it runs."""
    database = await session.listings.database(database_id, since, patience=BRIEF)
    if database.id != database_id:
        raise CannotTell(f"the service answers for database {database_id} with another one, {database.id}")
    return await _with_status(session, database, since)


async def find_databases(session: Session, since: float, tell: Callable[[str], object]) -> list[DatabaseInfo]:
    """All databases of the account, in the service's order, and whether each runs; `tell` says so if it takes minutes."""
    databases, budget = await session.listings.databases(since), session.settings.own_requests
    if minutes := len(databases) // budget:
        tell(f"asking for the status of {len(databases)} databases, {budget} a minute: about {minutes + 1} minutes")
    return await ask_all([partial(_with_status, session, database, since) for database in databases])


async def find(
    lookup: Lookup[T], session: Session, values: Mapping[str, Any], since: float, tell: Callable[[str], object]
) -> T:
    """The answer to a lookup whose arguments have no problem; half an answer would make a program drop resources.

    Raises CannotTell if the service's answer leaves open what was looked up, or the service's own error without an answer.
    """
    query: Any = lookup.query.of(values)
    ways: dict[str, Callable[[], Awaitable[Any]]] = {
        SNAPSHOTS.function: lambda: find_snapshots(session, query, since),
        LATEST.function: lambda: find_latest(session, query.candidates, since),
        DOWNLOAD_URL.function: lambda: find_url(session, query, since),
        DATABASE.function: lambda: find_database(session, query.database_id, since),
        DATABASES.function: lambda: find_databases(session, since, tell),
    }
    found: T = await ways[lookup.function]()
    return found


async def _fitting(
    session: Session, query: SnapshotQuery, since: float, of_each: OfEach | None = None
) -> list[tuple[str, ListedSnapshot]]:
    """Each entry that fits, with the id of its database."""
    listings, wanted = session.listings, query.database_id
    if of_each is None and wanted is not None:
        of_each = {wanted: await listings.of_database(wanted, since, origin=query.origin)}
    elif of_each is None:
        of_each = await listings.of_account(since, origin=query.origin)
    now, newest, oldest = session.service_clock.now(), query.older_than, query.newer_than

    def fits(entry: ListedSnapshot) -> bool:
        if query.origin is not None and entry.origin != query.origin:
            return False
        if oldest is None and newest is None:
            return True
        age = (now - time_of(entry)).total_seconds()
        return (oldest is None or age <= oldest) and (newest is None or age > newest)

    return [(one, entry) for one, entries in of_each.items() for entry in entries.values() if fits(entry)]


async def _with_status(session: Session, database: AccountDatabase, since: float) -> DatabaseInfo:
    if database.name is None or database.type is None:
        raise CannotTell(f"the service does not say what database {database.id} is: its name or type is missing")
    status = await session.listings.database_status(database.id, since, patience=BRIEF)
    return DatabaseInfo(database.id, database.name, database.type, database.ram, database.cluster, status.running)


# What a command shows of the whole account: the service answers few requests for its listing, so a command that comes right
# after another shows the page that the other got, and says how old it is.


@dataclass(frozen=True)
class Page:
    """The account's snapshots, the seconds since they were requested, and whether an earlier command has requested them."""

    of_each: OfEach
    age: float
    kept: bool


async def snapshots_of_account(session: Session, *, origin: str | None = None, may_be_kept: bool = True) -> Page:
    """Get the snapshots of each database; those of a moment ago if an earlier command of this machine has requested them.

    What runs have found is among them also if the service's page is too old to list it, as far as they know it. If only one
    origin matters, the others may be incomplete.
    """
    if may_be_kept and (page := await _kept_lately(session)) is not None:
        return page
    since = session.clock.monotonic()
    of_each = await session.listings.of_account(since, origin=origin, unlisted=True)
    age = session.clock.monotonic() - max(since, session.listings.account_requested_at)
    _keep(session, of_each, age)
    return Page(of_each, age, kept=False)


async def databases_of_account(session: Session) -> list[AccountDatabase]:
    """Get the databases of the account, in the service's order, and keep them for later commands."""
    databases = await session.listings.databases(session.listings.recent)
    session.kept_pages.keep(session.clock.utc(), databases=databases)
    return databases


async def keep_listing(session: Session) -> None:
    """Request the account's listing and keep it, if plan and key allow it."""
    listing = await session.listings.account_listing(session.clock.monotonic(), patience=ONCE)
    if listing is not None:
        _keep(session, by_database(listing))


def _keep(session: Session, of_each: OfEach, age: float = 0.0) -> None:
    """Keep the account's snapshots; those without a name no page has shown yet."""
    named = {one: {id_: each for id_, each in entries.items() if each.name} for one, entries in of_each.items()}
    at = session.clock.utc() - timedelta(seconds=age)
    session.kept_pages.keep(at, snapshots=named, offset=session.service_clock.offset)


async def _kept_lately(session: Session) -> Page | None:
    """The kept page, if asking for another one would mean waiting, and if it has all that this machine has found since."""
    kept = session.kept_pages.read()
    age = kept.age("snapshots", session.clock.utc())
    if not 0 <= age < FRESH:
        return None
    found = await session.listings.found_lately()
    if any(each.result not in kept.snapshots.get(each.database_id, {}) for each in found):
        return None
    session.service_clock.assume(kept.offset)
    return Page(kept.snapshots, age, kept=True)
