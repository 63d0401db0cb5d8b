"""Pages of the whole account, kept for later commands in a file on this machine.

The file has no download URLs.

The service answers few requests for the account's listing, so a command that comes right after
another one shows the earlier page, and says how old it is.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field

from pulumi_snapshots.errors import CannotTell
from pulumi_snapshots.listing.listings import (
    FLEET_FROM,
    SERVICE_CACHE,
    by_database,
    entry_of,
)
from pulumi_snapshots.lookup.find import OfEach
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import ONCE
from pulumi_snapshots.service.limits import ACCOUNT_LANE
from pulumi_snapshots.service.models import AccountDatabase, ListedSnapshot, Utc
from pulumi_snapshots.state_directory import written_whole

FRESH = ACCOUNT_LANE.per_account
"""Seconds for which a kept page is shown: so long the account's listing must not be requested
again.
"""


class Kept(BaseModel):
    """The content of the file; times are by this machine's clock."""

    # by database and version
    snapshots: dict[str, dict[str, ListedSnapshot]] = Field(default={}, repr=False)
    # seconds that the service's clock was ahead of this machine's, if that was known
    offset: float | None = None
    databases: list[AccountDatabase] = []
    at: dict[str, Utc] = {}  # when each of the two was requested
    asked: dict[
        str, Utc
    ] = {}  # when each was requested in passing, whatever the result

    def age(self, what: str, now: datetime) -> float:
        """Return the seconds since a page was requested.

        The number is negative if the clock was set back.

        Args:
            what: `snapshots` or `databases`.
            now: the present time.
        """
        return (now - self.at[what]).total_seconds() if what in self.at else math.inf


class KeptPages:
    """The newest pages of the account, shared by the commands of one machine and key, in a file.

    A file that cannot be read counts as empty. Nothing is kept if the file cannot be written or has
    a relative path. If two commands end at the same moment, the pages of one can be lost.
    """

    def __init__(self, session: Session) -> None:
        self._path = (
            session.settings.state_directory()
            / f"{session.settings.fingerprint()}.pages.json"
        )

    def read(self) -> Kept:
        """Return the kept pages."""
        with suppress(OSError, ValueError):
            return Kept.model_validate_json(self._path.read_bytes())
        return Kept()

    def may_request(self, what: str, now: datetime, pause: float) -> bool:
        """Return whether a page can be requested in passing.

        After True, the answer is False for `pause` seconds, whatever the result of the request.

        Args:
            what: `snapshots` or `databases`.
            now: the present time.
            pause: seconds between two requests.
        """
        asked = self.read().asked
        if what in asked and 0 <= (now - asked[what]).total_seconds() < pause:
            return False
        # What cannot be noted could be requested at every press of a key.
        return self._write(asked={**asked, what: now})

    def keep(self, at: datetime, **shown: Any) -> None:
        """Keep attributes of `Kept`.

        Args:
            at: when they were requested.
            **shown: the attributes.
        """
        self._write(**shown, at={**self.read().at, **dict.fromkeys(shown, at)})

    def _write(self, **changes: Any) -> bool:
        """Replace a part of the file; returns whether it could be written."""
        content = self.read().model_copy(update=changes)
        with suppress(OSError):
            if self._path.is_absolute():
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with written_whole(self._path) as file:
                    file.write(content.model_dump_json(exclude_defaults=True).encode())
                return True
        return False


@dataclass(frozen=True)
class AccountPage:
    """The snapshots of the account as they were listed."""

    of_each: OfEach
    age: float
    kept: bool


async def snapshots_of_account(
    session: Session, *, origin: str | None = None, may_be_kept: bool = True
) -> AccountPage:
    """Get the snapshots of each database.

    A page that an earlier command of this machine requested a moment ago will do.

    Snapshots that runs have found are included even if the service's page is too old to list them,
    as far as the runs know them.

    Args:
        session: the session of the process.
        origin: the only origin that matters, so that others can be incomplete; None for both.
        may_be_kept: whether the page of an earlier command of this machine will do.

    Returns:
        The snapshots.
    """
    if may_be_kept and (page := await _kept_lately(session)) is not None:
        return page
    since = session.clock.monotonic()
    of_each = await session.listings.of_account(since, origin=origin, unlisted=True)
    age = session.clock.monotonic() - max(since, session.listings.account_requested_at)
    _keep(session, of_each, age)
    return AccountPage(of_each, age, kept=False)


async def snapshots_of_databases(
    session: Session,
    databases: Sequence[str],
    *,
    origin: str | None,
    may_be_kept: bool = True,
) -> AccountPage:
    """Get the snapshots of some databases, in a way that delays no `create` that follows.

    Args:
        session: The session of the process.
        databases: The whole ids of the databases; none for all of the account.
        origin: The only origin that matters; None for both.
        may_be_kept: Whether the page of an earlier command of this machine will do.

    Returns:
        The snapshots of these databases at least.
    """
    if not databases or len(databases) >= FLEET_FROM:
        return await snapshots_of_account(
            session, origin=origin, may_be_kept=may_be_kept
        )
    page = await _kept_lately(session) if may_be_kept else None
    # The account's page proves of no database that it has no snapshot.
    if page is not None and all(page.of_each.get(each) for each in databases):
        return page
    listings = session.listings
    since = session.clock.monotonic()
    of_each: dict[str, Mapping[str, ListedSnapshot]] = {}
    for database_id in databases:
        of_each[database_id] = await listings.of_database(
            database_id, since, origin=origin, unlisted=True, spares_own=True
        )
    if listings.account_requested_at >= since:
        await keep_listing(session, since)
    return AccountPage(of_each, session.clock.monotonic() - since, kept=False)


def known_versions(session: Session, database_id: str) -> dict[str, ListedSnapshot]:
    """Return the snapshots of a database that a command of this machine listed recently.

    Args:
        session: the session of the process.
        database_id: the database.
    """
    kept = KeptPages(session).read()
    if 0 <= kept.age("snapshots", session.clock.utc()) < SERVICE_CACHE:
        return kept.snapshots.get(database_id, {})
    return {}


async def databases_of_account(session: Session) -> list[AccountDatabase]:
    """Get the account's databases in the service's order, and keep them for later commands.

    Args:
        session: the session of the process.

    Returns:
        The databases.
    """
    databases = await session.listings.databases(session.listings.recent)
    KeptPages(session).keep(session.clock.utc(), databases=databases)
    return databases


async def keep_listing(session: Session, since: float | None = None) -> None:
    """Request the account's listing and keep it, if plan and key allow it.

    Args:
        session: the session of the process.
        since: the oldest listing that will do, by the monotonic clock; None for a new one.
    """
    since = session.clock.monotonic() if since is None else since
    listing = await session.listings.account_listing(since, patience=ONCE)
    if listing is not None:
        with suppress(CannotTell):
            _keep(session, by_database(listing))


def _keep(session: Session, of_each: OfEach, age: float = 0.0) -> None:
    """Keep the account's snapshots; those without a name no page has shown yet."""
    named = {
        one: {id_: each for id_, each in entries.items() if each.name}
        for one, entries in of_each.items()
    }
    at = session.clock.utc() - timedelta(seconds=age)
    KeptPages(session).keep(at, snapshots=named, offset=session.service_clock.offset)


async def _kept_lately(session: Session) -> AccountPage | None:
    """The kept page, if requesting another one would mean waiting.

    What this machine has found since is added as its runs have noted it.
    """
    kept = KeptPages(session).read()
    age = kept.age("snapshots", session.clock.utc())
    if not 0 <= age < FRESH:
        return None
    of_each: dict[str, dict[str, ListedSnapshot]] = {
        one: {**entries} for one, entries in kept.snapshots.items()
    }
    for each in await session.listings.found_lately():
        version = each.result or ""
        of_each.setdefault(each.database_id, {}).setdefault(version, entry_of(each))
    session.service_clock.assume(kept.offset)
    return AccountPage(of_each, age, kept=True)
