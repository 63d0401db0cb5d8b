"""Where an archive's bytes come from: a URL that serves exactly its version, and a fresh one when that has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.api.errors import SquareCloudError
from pulumi_snapshots.api.signed_url import expiry_of, version_of
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import not_listed
from pulumi_snapshots.errors.text import Text
from pulumi_snapshots.snapshot.describe import describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pulumi_snapshots.api.models import ListedSnapshot
    from pulumi_snapshots.archive.inputs import ArchiveInputs
    from pulumi_snapshots.listing.listings import Listings, Page
    from pulumi_snapshots.run.session import Session

__all__ = ["NoUrl", "Source"]

FRUITLESS = 3
"""URLs in a row that may be refused: a host that accepts none of them accepts the next one neither."""


class NoUrl(Explained):
    """There is no URL, or no fresh one, that serves this snapshot."""


class Source:
    """One snapshot at the service.

    Args:
        session: the service; None without a key.
        inputs: checked.
        say: told what it waits for.

    Attributes:
        url: to download from, once it is located.
        size: bytes, as the listing announced them; None where not known.
        created: UTC; None where not known.
    """

    def __init__(self, session: Session | None, inputs: ArchiveInputs, say: Callable[[str], None]) -> None:
        self.url = ""
        self.size = inputs.size
        self.created = _moment(inputs.created_at)
        self._session = session
        self._inputs = inputs
        self._say = say
        self._refused: set[str] = set()
        self._fruitless = 0

    async def locate(self) -> None:
        """Find a URL.

        Raises:
            NoUrl: there is none.
            SquareCloudError: the service could not be asked.
        """
        given, database_id = self._inputs.download_url, self._inputs.database_id
        if given is not None and (self.pinned(given) or self._session is None or database_id is None):
            self.url = given
        elif self._session is None or database_id is None:
            raise NoUrl(
                "no API key is set, so its download URL cannot be looked up",
                then=[Next(Step.SET_KEY), Next(Step.GIVE_URL)],
            )
        else:
            self._say("looking up its download URL")
            entry = await self._session.listings.find_version(database_id, self._inputs.version_id)
            if entry is None or not await self._take(self._session, database_id, entry):
                raise NoUrl(not_listed(database_id, self._inputs.version_id))

    def pinned(self, url: str) -> bool:
        """Whether a URL serves this version, whatever is newest."""
        return version_of(url) == self._inputs.version_id

    def served(self) -> None:
        """The URL was accepted, and bytes came."""
        self._fruitless = 0

    async def renew(self, refusal: SquareCloudError) -> None:
        """Find another URL than the one that was refused.

        Raises:
            NoUrl: there is none.
        """
        session, database_id = self._session, self._inputs.database_id
        if session is None or database_id is None:
            raise NoUrl(
                Text("{refusal} Without an API key no fresh one can be asked for", refusal=refusal),
                then=[Next(Step.SET_KEY), Next(Step.RENEW_URL)],
            )
        self._refused.add(self.url)
        self._fruitless += 1
        number = 0
        while self._fruitless < FRUITLESS:
            number += 1
            self._say("the download URL was refused; asking for a fresh one")
            try:
                # The two listings are cached apart, each for up to 30 minutes: the other one may have a fresh URL.
                page = await _page(session.listings, database_id, number, session.clock.monotonic())
                entry = page.version(self._inputs.version_id)
                if entry is not None and await self._take(session, database_id, entry):
                    return
            except SquareCloudError as error:
                if not error.passing:
                    why = Text("{refusal} A fresh one could not be had: {why}", refusal=refusal, why=error.happened)
                    raise NoUrl(why, then=error.then) from error
            else:
                if entry is None and page.complete:
                    raise NoUrl(f"{refusal} The service does not list this snapshot any more, so there is no fresh one")
                if entry is not None and not self._expired(session):
                    break  # what it lists is what was refused, and not for its age
            await session.clock.sleep(session.settings.look_every)
        raise NoUrl(f"{refusal} The URL that the service lists now is refused likewise")

    async def _take(self, session: Session, database_id: str, entry: ListedSnapshot) -> bool:
        """Use what a listing says; whether its URL is a new one."""
        record = await describe(session, database_id, entry, base_url=self._inputs.download_url)
        url = record.download_url
        if url is None or not self.pinned(url) or url in self._refused:
            return False
        self.url = url
        self.size = record.size if self.size is None else self.size
        self.created = self.created or _moment(record.created_at)
        return True

    def _expired(self, session: Session) -> bool:
        expiry = expiry_of(self.url)
        return expiry is not None and expiry <= session.client.service_clock.now()


def _moment(text: str | None) -> datetime | None:
    return parse_rfc3339(text) if text else None


async def _page(listings: Listings, database_id: str, number: int, since: float) -> Page:
    """Poll number `number` (from 1), of the two listings in turn."""
    if number % 2 == 0 and not listings.invalidation_proven:
        page = await listings.account_page(database_id, since)
        if page is not None:
            return page
    return await listings.own_page(database_id, since)
