"""What a command shows of the whole account, in as few requests as the service allows.

The service answers few requests for the account's listing, so a command that comes right after another shows the page that
the other got, and says how old it is, instead of waiting for its slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from pulumi_snapshots.listing.complete import ask_all, by_database, newest_first
from pulumi_snapshots.lookup.results import SnapshotInfo
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF, Patience
from pulumi_snapshots.service.limits import ACCOUNT_LISTING
from pulumi_snapshots.service.models import AccountDatabase, ListedSnapshot
from pulumi_snapshots.snapshot.describe import describe

OfEach = Mapping[str, Mapping[str, ListedSnapshot]]
"""The entries of each database, by version."""
FRESH = ACCOUNT_LISTING.per_account
"""Seconds for which a kept page is shown: so long the account's listing must not be requested again."""


@dataclass(frozen=True)
class Page:
    """The account's snapshots.

    Attributes:
        of_each: the entries of each database, by version.
        age: seconds since they were requested.
        kept: whether an earlier command of this machine has requested them.
    """

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
    of_each = await session.complete_listings.of_account(since, origin=origin, unlisted=True)
    age = session.clock.monotonic() - max(since, session.listings.account_requested_at)
    _keep(session, of_each, age)
    return Page(of_each, age, kept=False)


async def databases_of_account(session: Session) -> list[AccountDatabase]:
    """Get the databases of the account, in the service's order, and keep them for later commands."""
    databases = await session.complete_listings.databases(session.listings.recent)
    session.kept_pages.keep(session.clock.utc(), databases=databases)
    return databases


async def keep_databases(session: Session, *, patience: Patience = BRIEF) -> None:
    """Request the databases of the account and keep them."""
    account = await session.databases.account(session.clock.monotonic(), patience=patience)
    session.kept_pages.keep(session.clock.utc(), databases=list(account.databases))


async def keep_listing(session: Session, *, patience: Patience = BRIEF) -> None:
    """Request the account's listing and keep it, if plan and key allow it."""
    listing = await session.listings.account_listing(session.clock.monotonic(), patience=patience)
    if listing is not None:
        _keep(session, by_database(listing))


async def newest_good(
    session: Session, database_id: str, entries: Mapping[str, ListedSnapshot], *, origin: str | None = None
) -> SnapshotInfo | None:
    """The newest snapshot that is available and not empty, without its URL; CannotTell if one that may be it has no time."""
    for entry in newest_first(each for each in entries.values() if origin is None or each.origin == origin):
        record = await describe(session, database_id, entry)
        if record.available and record.size != 0:
            return SnapshotInfo.of(record, with_url=False)
    return None


def age_of(snapshot: SnapshotInfo, now: datetime) -> float:
    """Seconds since a snapshot was taken; its time is known."""
    return (now - parse_rfc3339(snapshot.created_at or rfc3339(now))).total_seconds()


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
    found = await session.complete_listings.found_lately()
    if any(each.result not in kept.snapshots.get(each.database_id, {}) for each in found):
        return None
    session.service_clock.assume(kept.offset)
    return Page(kept.snapshots, age, kept=True)


async def running_databases(session: Session, databases: Sequence[AccountDatabase]) -> Mapping[str, bool]:
    """Whether each database runs, as far as the service says: in one request, or in one for each if it has no such route."""
    running = await session.client.database_statuses(patience=BRIEF)
    if running is not None:
        return running
    if len(databases) + 3 > session.settings.own_requests:  # three are for the rest of what is shown
        return {}
    ask, now = partial(session.databases.status, patience=BRIEF), session.clock.monotonic()
    each = await ask_all([partial(ask, database.id, now) for database in databases])
    return {database.id: status.running for database, status in zip(databases, each, strict=True)}
