"""The bytes of one snapshot: the URL that serves them, and a transfer that resumes.

A URL serves exactly its version; a fresh URL is found if it expires.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from itertools import cycle

from pulumi_snapshots.archive.record import ArchiveInputs
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors import (
    AnyMessage,
    HintKind,
    Message,
    ProviderError,
    not_listed,
)
from pulumi_snapshots.hosts.download import (
    DownloadBroken,
    Served,
    UrlRefused,
    open_download,
)
from pulumi_snapshots.listing.polling import wait_for_version
from pulumi_snapshots.properties.checks import expiry_of, version_of
from pulumi_snapshots.run.memory import Listener, Member
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.service.models import ListedSnapshot
from pulumi_snapshots.snapshot.record import describe

BLOCK_SIZE = 1024 * 1024
"""Bytes that go to the writer at once: with fewer, handing over costs more than hashing."""
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)
"""Seconds between tries that bring no byte."""
REFUSALS = 3
"""URLs in a row that the host may refuse before it is taken to refuse every URL."""
PROGRESS_EVERY = 10.0
"""Seconds between lines of progress: in CI each is a line of the log."""


class NoUrl(ProviderError):
    """No URL serves this snapshot, or no fresh one."""


class Source:
    """One snapshot at the service.

    Attributes:
        known: the snapshot's properties so far. Its time is the `Last-Modified` of the host, unless
            the service or the inputs have given one.
        received: bytes received so far.
        broke_off: why the last transfer broke off; empty if none has.
    """

    def __init__(
        self,
        session: Session | None,
        inputs: ArchiveInputs,
        transfers: Transfers,
        listener: Listener,
    ) -> None:
        self.received = 0
        self.broke_off: AnyMessage = ""
        taken = parse_rfc3339(inputs.created_at) if inputs.created_at else None
        self.known = Served(
            total=inputs.size,
            version=inputs.version_id,
            etag=None,
            modified=taken,
        )
        self._session = session if inputs.database_id else None
        self._database_id = inputs.database_id or ""
        self._version_id = inputs.version_id
        self._inputs = inputs
        self._transfers = transfers
        self._listener = listener
        self._url = inputs.download_url or ""
        self._is_described = False
        self._refused: set[str] = set()
        self._shown_at = float("-inf")

    @property
    def so_far(self) -> str:
        """How far the transfer is, for people."""
        received = bytes_text(self.received)
        total = self.known.total
        if not total:
            return f"{received} archived"
        return f"{self.received * 100 // total} %, {received} of {bytes_text(total)}"

    async def locate(self) -> None:
        """Find a download URL, unless the given URL is good enough.

        Raises:
            NoUrl: there is no key, or the service lists no such snapshot in time.
            SquareCloudError: the service refused to list snapshots.
        """
        session = self._session
        if self._url and (session is None or self._is_pinned(self._url)):
            return
        if session is None:
            happened = "no API key is set, so its download URL cannot be looked up"
            raise NoUrl(happened, then=[HintKind.SET_KEY, HintKind.GIVE_URL])
        self._listener.progress("looking up its download URL")
        entry, listed_by = await wait_for_version(
            session.poll_plan,
            self._database_id,
            self._version_id,
            Member(session.fleet, self._listener).waits,
            patience=self._inputs.timeout,
            created=self.known.modified,
        )
        if entry is None or not await self._use(session, entry):
            happened, then = not_listed(self._database_id, self._version_id, listed_by)
            raise NoUrl(happened, then=then)

    async def blocks(
        self,
    ) -> AsyncGenerator[bytes | bytearray, None]:
        """Receive all bytes, however often the connection breaks or the URL expires.

        Yields:
            The bytes, in blocks. The first block is empty: the host has described the snapshot.

        Raises:
            ProviderError: the bytes cannot be received.
        """
        pauses = iter(PAUSES)
        block = bytearray()
        while True:
            before = self.received
            try:
                async with aclosing(self._pieces()) as pieces:
                    async for piece in pieces:
                        if not piece:
                            yield b""
                        block += piece
                        if len(block) >= BLOCK_SIZE:
                            self._refused.clear()
                            yield block
                            block = bytearray()
                            self._show_progress()
                break
            except UrlRefused as refusal:
                await self._renew(refusal)
            except DownloadBroken as error:
                if self.received > before:
                    pauses = iter(PAUSES)
                await self._pause(error, next(pauses, None))
        if block:
            yield block

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        """Receive the rest of the snapshot by one request; an empty piece says it is described."""
        http = self._transfers.http
        asked = open_download(
            self._url,
            http=http,
            offset=self.received,
            known=self.known,
        )
        async with asked as (served, arriving):
            if not self._is_described:
                self._describe(served)
                yield b""
            async for piece in arriving:
                self.received += len(piece)
                total = self.known.total
                # Without this check an endless body would fill the disk.
                if total is not None and self.received > total:
                    raise ProviderError(
                        f"the host sends more than the {total} bytes that were announced"
                    )
                if piece:
                    yield piece

    async def _pause(self, error: DownloadBroken, seconds: float | None) -> None:
        """Wait before the next try; raises the error if no pause is left."""
        self.broke_off = error.exchange
        if seconds is None:
            raise error
        again = self._transfers.clock.utc() + timedelta(seconds=seconds)
        template = "{so_far}; the transfer broke off, next try {again} ({why})"
        self._listener.progress(
            Message(template, so_far=self.so_far, again=again, why=error.happened)
        )
        await self._transfers.clock.sleep(seconds)

    def _show_progress(self) -> None:
        now = self._transfers.clock.monotonic()
        if now - self._shown_at >= PROGRESS_EVERY:
            self._shown_at = now
            self._listener.progress(self.so_far)

    def _describe(self, served: Served) -> None:
        """Keep the first answer's description of the snapshot, with which later ones are compared.

        Raises `ProviderError` if the answer may be of another snapshot.
        """
        if served.version is None and not self._is_pinned(self._url):
            raise ProviderError(
                "the URL is not pinned to a version and the host does not say which one it "
                "serves, so it may be another one",
                then=[HintKind.RENEW_URL],
            )
        self._is_described = True
        known = self.known
        self.known = replace(
            known,
            total=known.total if served.total is None else served.total,
            etag=served.etag,
            modified=known.modified or served.modified,
        )

    def _is_pinned(self, url: str) -> bool:
        return version_of(url) == self._version_id

    # A fresh URL ------------------------------------------------------------------------------

    async def _renew(self, refusal: UrlRefused) -> None:
        """Find another URL than the one that was refused; raises `NoUrl` if there is none."""
        session = self._session
        if session is None:
            text = "{refusal} Without an API key there is no way to get a fresh one"
            raise NoUrl(
                Message(text, refusal=refusal),
                then=[HintKind.SET_KEY, HintKind.RENEW_URL],
            ) from refusal
        self._refused.add(self._url)
        if len(self._refused) < REFUSALS:
            # The two listings are cached separately, each for up to 30 minutes.
            for is_own in cycle((True, False)):
                self._listener.progress(
                    "the download URL was refused; asking for a fresh one"
                )
                is_fresh = await self._use_listed(session, refusal, is_own=is_own)
                if is_fresh:
                    return
                if is_fresh is False:
                    break
                await session.clock.sleep(session.settings.poll_every)
        raise NoUrl(f"{refusal} The URL that the service lists now is refused too")

    async def _use_listed(
        self, session: Session, refusal: UrlRefused, *, is_own: bool
    ) -> bool | None:
        """Use the URL in the database's own listing, or in that of the account.

        Returns:
            True if the URL is a fresh one; False if it was refused although it has not expired;
            None if this listing could not be fetched, or is too old to show a fresh URL.

        Raises:
            NoUrl: the service does not list the snapshot any more.
        """
        listings = session.listings
        page_of = listings.own_page if is_own else listings.account_page
        try:
            page = await page_of(self._database_id, session.clock.monotonic())
            entry = page.version(self._version_id) if page else None
            if entry is not None:
                is_used = await self._use(session, entry)
                return None if not is_used and self._is_expired(session) else is_used
        except SquareCloudError as error:
            if error.passing:
                return None
            text = "{refusal} There is no fresh one: {why}"
            why = Message(text, refusal=refusal, why=error.happened)
            raise NoUrl(why, then=error.then) from error
        if page is not None and page.complete:
            gone = "The service does not list this snapshot any more, so there is no fresh one"
            raise NoUrl(f"{refusal} {gone}")
        return None

    def _is_expired(self, session: Session) -> bool:
        """Tell whether the present URL says that it is not served any more."""
        expiry = expiry_of(self._url)
        return expiry is not None and expiry <= session.service_clock.now()

    async def _use(self, session: Session, entry: ListedSnapshot) -> bool:
        """Use the URL of a listing if it is pinned to the snapshot and was not refused.

        Returns whether the URL is used.
        """
        record = await describe(
            session,
            self._database_id,
            entry,
            base_url=self._inputs.download_url,
        )
        url = record.download_url
        if url is None or not self._is_pinned(url) or url in self._refused:
            return False
        self._url = url
        taken = parse_rfc3339(record.created_at) if record.created_at else None
        known = self.known
        total = record.size if known.total is None else known.total
        self.known = replace(known, total=total, modified=known.modified or taken)
        return True


def bytes_text(count: int) -> str:
    """Format a number of bytes for people, in decimal units, such as `430.0 MB`.

    Args:
        count: the bytes.

    Returns:
        The text.
    """
    size = float(count)
    unit = "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size >= 1000:  # noqa: PLR2004  the next unit
            size /= 1000
            unit = larger
    return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
