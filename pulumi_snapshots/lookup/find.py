"""Lookups: which snapshots and databases there are. A complete answer or an error, since a program acts on what is missing, too.

A program that goes on with half an answer would no longer declare the resources of the other half, and the engine would
forget them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import anyio

from pulumi_snapshots.api.client import BRIEF
from pulumi_snapshots.api.errors import NotAllowed, SquareCloudError
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import CannotTell
from pulumi_snapshots.listing.listings import SERVICE_CACHE, owner_of
from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo
from pulumi_snapshots.snapshot.describe import describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from pulumi_snapshots.api.models import AccountDatabase, ListedSnapshot, Listing
    from pulumi_snapshots.attempt.journal import Found
    from pulumi_snapshots.listing.listings import Page
    from pulumi_snapshots.lookup.inputs import SnapshotQuery
    from pulumi_snapshots.run.session import Session

__all__ = ["find_database", "find_databases", "find_latest", "find_snapshots"]

T = TypeVar("T")
Entries = dict[str, "ListedSnapshot"]
"""Entries by version."""
OPEN_ONE = Next(Step.OPEN_VERSION)


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
    if query.database_id is None:
        of_each = await _listed_of_account(session, query, since)
    else:
        of_each = {query.database_id: await _listed_of(session, query.database_id, query, since)}
    found = [
        (database_id, entry)
        for database_id, entries in of_each.items()
        for entry in entries.values()
        if _fits(session, query, entry)
    ]
    # Those without a time come last.
    dated = [one for one in found if one[1].modified is not None]
    dated.sort(key=lambda one: one[1].modified, reverse=True)  # type: ignore[arg-type,return-value]  # none is None
    undated = [one for one in found if one[1].modified is None]
    return [SnapshotInfo.of(await describe(session, *one)) for one in (*dated, *undated)]


async def find_latest(session: Session, query: SnapshotQuery, since: float) -> SnapshotInfo | None:
    """The newest snapshot that fits and is available; None where there is none.

    Args:
        session: the service.
        query: of which database.
        since: what was asked for then (monotonic) or later is good enough.

    Raises:
        CannotTell: the listing does not tell for sure.
        SquareCloudError: no listing.
    """
    found = await find_snapshots(session, query, since)
    for one in found:
        if one.created_at is None:
            raise _undated(one.version_id)
    return next((one for one in found if one.available), None)


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
        databases = await _databases(session, since)
        budget = session.settings.own_requests
        if len(databases) >= budget:
            minutes = len(databases) // budget + 1
            tell(
                f"asking for the status of {len(databases)} databases, {budget} requests a minute: about {minutes} minutes"
            )
        return await _all([_later(_with_status, session, database, since) for database in databases])
    except NotAllowed as error:
        raise _scope_unknown(error) from error


# Snapshots -----------------------------------------------------------------------------------------------------------


async def _listed_of(session: Session, database_id: str, query: SnapshotQuery, since: float) -> Entries:
    """What the service lists of a database, the snapshots that creates of this machine have found included."""
    entries = _certain(await session.listings.looked_up(database_id, since), database_id)
    for newest in _by_version(await _found(session, query, [database_id])).get(database_id, {}).values():
        # A page that was asked for before it was found may be renewed; one that is older at the service may not, but
        # the two listings are cached apart, and one of them has shown it.
        renewed = max(since, session.clock.monotonic() - _seconds_since(session, newest))
        if newest.version_id not in entries:
            entries |= _certain(await session.listings.database(database_id, renewed, patience=BRIEF), database_id)
        if newest.version_id not in entries:
            account = await session.listings.account(database_id, renewed, patience=BRIEF)
            entries = {**_by_entry(account.entries if account else ()), **entries}
        if newest.version_id not in entries:
            raise _old_page(newest)
    return entries


async def _listed_of_account(session: Session, query: SnapshotQuery, since: float) -> dict[str, Entries]:
    """What the service lists of each database of the account, those found by creates of this machine included."""
    listing = await session.listings.account_listing(since, patience=BRIEF)
    if listing is None:
        databases = await _databases_instead(session, since)
        listed = await _all([_later(_listed_of, session, one.id, query, since) for one in databases])
        return dict(zip((one.id for one in databases), listed, strict=True))
    of_each = _of_each(listing)
    lacking = [one for one in await _found(session, query) if one.version_id not in of_each.get(one.database_id, {})]
    if lacking:
        renewed = max(since, session.clock.monotonic() - min(_seconds_since(session, one) for one in lacking))
        again = await session.listings.account_listing(renewed, patience=BRIEF)
        of_each = _of_each(listing if again is None else again)
        for database_id in {one.database_id for one in lacking}:
            of_each[database_id] = of_each.get(database_id, {}) | await _listed_of(session, database_id, query, since)
    return of_each


def _certain(page: Page, database_id: str) -> Entries:
    _all_readable(page.listing, f"of database {database_id}")
    return _by_entry(page.entries)


def _of_each(listing: Listing) -> dict[str, Entries]:
    _all_readable(listing, "of the account")
    of_each: dict[str, Entries] = {}
    for entry in listing.entries:
        database_id = owner_of(entry)
        if database_id is None:
            raise CannotTell(
                f"the service's listing of the account does not tell whose snapshot {entry.version} is",
                then=[Next(Step.GIVE_DATABASE)],
            )
        of_each.setdefault(database_id, {})[entry.version or ""] = entry
    return of_each


def _all_readable(listing: Listing, whose: str) -> None:
    if listing.unreadable:
        raise CannotTell(
            f"{listing.unreadable} of {listing.unreadable + len(listing.entries)} entries of the service's listing {whose} are "
            "unreadable, so it does not tell for sure",
            then=[OPEN_ONE],
        )


def _by_entry(entries: Iterable[ListedSnapshot]) -> Entries:
    return {entry.version or "": entry for entry in entries}


def _fits(session: Session, query: SnapshotQuery, entry: ListedSnapshot) -> bool:
    if query.origin is not None and entry.origin != query.origin:
        return False
    if not query.needs_times:
        return True
    if entry.modified is None:
        raise _undated(entry.version or "")
    age = (session.client.service_clock.now() - entry.modified).total_seconds()
    return (query.newer_than is None or age <= query.newer_than) and (
        query.older_than is None or age > query.older_than
    )


async def _found(session: Session, query: SnapshotQuery, databases: Iterable[str] | None = None) -> list[Found]:
    """What creates of this machine have found so lately that an old page may lack it; all of it is manual."""
    if query.origin == "automatic":
        return []
    return [
        one
        for one in await session.snapshot_journal.found()
        if _seconds_since(session, one) < SERVICE_CACHE and (databases is None or one.database_id in databases)
    ]


def _by_version(found: Iterable[Found]) -> dict[str, dict[str, Found]]:
    of_each: dict[str, dict[str, Found]] = {}
    for one in found:
        of_each.setdefault(one.database_id, {})[one.version_id] = one
    return of_each


def _seconds_since(session: Session, found: Found) -> float:
    return (session.clock.utc() - found.at).total_seconds()


async def _databases_instead(session: Session, since: float) -> list[AccountDatabase]:
    """The databases to be asked one by one, where plan or key do not allow the account's listing."""
    databases = await _databases(session, since)
    budget = session.settings.own_requests
    if len(databases) + 2 > budget:  # the refused one and the account were two
        raise CannotTell(
            f"{session.listings.account_refusal} Each of its {len(databases)} databases would have to be asked by itself, which is "
            f"more than the {budget} requests of a minute",
            then=[Next(Step.GIVE_DATABASE), Next(Step.RAISE_BUDGET)],
        )
    return databases


def _undated(version_id: str) -> CannotTell:
    return CannotTell(
        f"the service lists snapshot {version_id} without a time, so its age is not known", then=[OPEN_ONE]
    )


def _old_page(found: Found) -> CannotTell:
    until = found.at + timedelta(seconds=SERVICE_CACHE)
    return CannotTell(
        f"the service serves an old page: it lacks snapshot {found.version_id} of database {found.database_id}, which a run "
        f"on this machine has found at {found.at:%H:%M:%S} UTC",
        then=[Next(Step.RUN_AGAIN_AFTER, time=f"{until:%H:%M:%S} UTC"), OPEN_ONE],
    )


# Databases -----------------------------------------------------------------------------------------------------------


async def _databases(session: Session, since: float) -> list[AccountDatabase]:
    account = await session.databases.account(since, patience=BRIEF)
    if account.unreadable:
        raise CannotTell(
            f"{account.unreadable} of {account.unreadable + len(account.databases)} entries of the service's list of the "
            "account's databases are unreadable",
            then=[Next(Step.LOOK_UP_DATABASE)],
        )
    return list(account.databases)


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


# Several at once -----------------------------------------------------------------------------------------------------


def _later(function: Callable[..., Awaitable[T]], *arguments: object) -> Callable[[], Awaitable[T]]:
    return lambda: function(*arguments)


async def _all(questions: list[Callable[[], Awaitable[T]]]) -> list[T]:
    """All answers, in order; the first failure ends the others and is raised as it is."""
    answers: dict[int, T] = {}
    failures: list[Exception] = []

    async def ask(number: int) -> None:
        try:
            answers[number] = await questions[number]()
        except (SquareCloudError, CannotTell) as failure:
            failures.append(failure)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for number in range(len(questions)):
            group.start_soon(ask, number)
    if failures:
        raise failures[0]
    return [answers[number] for number in range(len(questions))]
