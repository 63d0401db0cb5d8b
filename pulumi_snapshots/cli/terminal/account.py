"""Pages of the whole account, kept for later commands in a file on this machine.

The file has no download URLs.

The service answers few requests for the account's listing, so a command that comes right after
another one shows the earlier page, and says how old it is.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

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


PageKind = Literal["snapshots", "databases"]


class PagesFile(BaseModel):
    """The content of the file; times are by this machine's clock."""

    # by database and version
    snapshots: dict[str, dict[str, ListedSnapshot]] = Field(default={}, repr=False)
    # seconds that the service's clock was ahead of this machine's, if that was known
    offset: float | None = None
    databases: list[AccountDatabase] = []
    # when each of these was requested
    at: dict[str, Utc] = {}
    # when each page was requested in passing, whatever the result
    asked: dict[PageKind, Utc] = {}

    def age(self, page: PageKind, now: datetime) -> float:
        """Return the seconds since a page was requested.

        Args:
            page: The page.
            now: The present time.

        Returns:
            The seconds; negative if the clock was set back, infinite without a page.
        """
        return (now - self.at[page]).total_seconds() if page in self.at else math.inf


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

    def read(self) -> PagesFile:
        """Return the kept pages."""
        with suppress(OSError, ValueError):
            return PagesFile.model_validate_json(self._path.read_bytes())
        return PagesFile()

    def may_request(self, page: PageKind, now: datetime, pause: float) -> bool:
        """Return whether a page can be requested in passing.

        After True, the answer is False for `pause` seconds, whatever the result of the request.

        Args:
            page: The page.
            now: The present time.
            pause: Seconds between two requests.
        """
        asked = self.read().asked
        if page in asked and 0 <= (now - asked[page]).total_seconds() < pause:
            return False
        # A request that cannot be noted could be sent at every press of a key.
        return self._write(asked={**asked, page: now})

    def keep(self, at: datetime, **pages: Any) -> None:
        """Keep attributes of `PagesFile`.

        Args:
            at: When they were requested.
            **pages: The attributes.
        """
        self._write(**pages, at={**self.read().at, **dict.fromkeys(pages, at)})

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
    """The snapshots of the account as they were listed.

    Attributes:
        of_each: The snapshots by database and version.
        age: The seconds since the listing was requested.
        kept: Whether an earlier command requested the listing.
    """

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
    kept = await _kept_lately(session) if may_be_kept else None
    if kept is not None:
        return kept
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
    kept = await _kept_lately(session) if may_be_kept else None
    # The account's page proves of no database that it has no snapshot.
    if kept is not None and all(map(kept.of_each.get, databases)):
        return kept
    listings = session.listings
    since = session.clock.monotonic()
    of_each = {
        database_id: await listings.of_database(
            database_id, since, origin=origin, unlisted=True, spares_own=True
        )
        for database_id in databases
    }
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
    if since is None:
        since = session.clock.monotonic()
    listing = await session.listings.account_listing(since, patience=ONCE)
    if listing is not None:
        with suppress(CannotTell):
            _keep(session, by_database(listing))


def _keep(session: Session, of_each: OfEach, age: float = 0.0) -> None:
    """Keep the account's snapshots but those without a name, which no page has shown yet."""
    listed = {
        database_id: {version: each for version, each in entries.items() if each.name}
        for database_id, entries in of_each.items()
    }
    at = session.clock.utc() - timedelta(seconds=age)
    KeptPages(session).keep(at, snapshots=listed, offset=session.service_clock.offset)


async def _kept_lately(session: Session) -> AccountPage | None:
    """The kept page, if requesting another page would mean waiting.

    Snapshots that runs of this machine have found since are added, as the runs have noted them.
    """
    kept = KeptPages(session).read()
    age = kept.age("snapshots", session.clock.utc())
    if not 0 <= age < FRESH:
        return None
    of_each = kept.snapshots
    for each in await session.listings.found_lately():
        version = each.result or ""
        of_each.setdefault(each.database_id, {}).setdefault(version, entry_of(each))
    session.service_clock.assume(kept.offset)
    return AccountPage(of_each, age, kept=True)
