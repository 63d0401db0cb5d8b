"""The bytes of one snapshot: a URL that serves exactly its version, a fresh one if it expires, and a transfer that resumes."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from itertools import cycle

from pulumi_snapshots.archive.record import ArchiveInputs
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors import Explained, Step, Text, Words, not_listed
from pulumi_snapshots.hosts.download import DownloadBroken, Served, UrlRefused, open_download
from pulumi_snapshots.listing.polling import wait_for_version
from pulumi_snapshots.properties.checks import expiry_of, version_of
from pulumi_snapshots.run.memory import Listener, Member
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.service.models import ListedSnapshot
from pulumi_snapshots.snapshot.record import describe

# bytes that go to the writer at once: with fewer, handing over costs more than hashing
BLOCK = 1024 * 1024
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)  # seconds between tries that bring no byte
REFUSALS = 3  # URLs in a row that the host may refuse before it is taken to refuse every one
PROGRESS_EVERY = 10.0  # seconds between lines of progress: in CI each is a line of the log


class NoUrl(Explained):
    """No URL serves this snapshot, or no fresh one."""


class Source:
    """One snapshot at the service: what is `known` of it, `received` bytes of it so far, and why the transfer `broke_off` last.

    When it was taken is the host's `Last-Modified`, unless the service or the inputs said it.
    """

    def __init__(
        self,
        session: Session | None,
        inputs: ArchiveInputs,
        transfers: Transfers,
        listener: Listener,
    ) -> None:
        self.received = 0
        self.broke_off: Words = ""
        taken = parse_rfc3339(inputs.created_at) if inputs.created_at else None
        self.known = Served(total=inputs.size, version=inputs.version_id, etag=None, modified=taken)
        self._session = session if inputs.database_id else None
        self._database_id, self._version_id = inputs.database_id or "", inputs.version_id
        self._inputs, self._transfers, self._listener = inputs, transfers, listener
        self._url, self._is_described = inputs.download_url or "", False
        self._refused: set[str] = set()
        self._said_at = float("-inf")

    @property
    def so_far(self) -> str:
        """How far the transfer is."""
        if not (total := self.known.total):
            return f"{bytes_text(self.received)} archived"
        return (
            f"{self.received * 100 // total} %, {bytes_text(self.received)} of {bytes_text(total)}"
        )

    async def locate(self) -> None:
        """Find a URL, unless the given one is good enough; raises `NoUrl`, or an error of the service."""
        if self._url and (self._is_pinned(self._url) or self._session is None):
            return
        if self._session is None:
            happened = "no API key is set, so its download URL cannot be looked up"
            raise NoUrl(happened, then=[Step.SET_KEY, Step.GIVE_URL])
        self._listener.progress("looking up its download URL")
        session, which = self._session, (self._database_id, self._version_id)
        member, patience = Member(session.fleet, self._listener), self._inputs.timeout
        way = (session.poll_plan, *which, member.waits)
        entry, by = await wait_for_version(*way, patience=patience, created=self.known.modified)
        if entry is None or not await self._use(session, entry):
            happened, then = not_listed(*which, by)
            raise NoUrl(happened, then=then)

    async def blocks(self) -> AsyncGenerator[bytes | bytearray, None]:
        """Yield all bytes in blocks, however often the connection breaks or the URL expires; raises `Explained`.

        The first block is empty: the host has described the snapshot by then.
        """
        pauses, block = iter(PAUSES), bytearray()
        while True:
            before, http = self.received, self._transfers.http
            try:
                asked = open_download(self._url, http=http, offset=before, known=self.known)
                async with asked as (served, arriving):
                    if not self._is_described:
                        self._describe(served)
                        yield b""
                    async for piece in arriving:
                        block += piece
                        self.received += len(piece)
                        if self.known.total is not None and self.received > self.known.total:
                            # Without an end, it would fill the disk.
                            raise Explained(
                                f"the host sends more than the {self.known.total} bytes that were announced"
                            )
                        if len(block) >= BLOCK:
                            self._refused.clear()
                            yield block
                            block = bytearray()
                            self._tell()
                break
            except UrlRefused as refusal:
                await self._renew(refusal)
            except DownloadBroken as error:
                self.broke_off = error.exchange
                pauses = iter(PAUSES) if self.received > before else pauses
                if (seconds := next(pauses, None)) is None:
                    raise
                again = self._transfers.clock.utc() + timedelta(seconds=seconds)
                broke = "{so_far}; the transfer broke off, next try {again} ({why})"
                self._listener.progress(
                    Text(broke, so_far=self.so_far, again=again, why=error.happened)
                )
                await self._transfers.clock.sleep(seconds)
        if block:
            yield block

    def _tell(self) -> None:
        if (now := self._transfers.clock.monotonic()) - self._said_at >= PROGRESS_EVERY:
            self._said_at = now
            self._listener.progress(self.so_far)

    def _describe(self, served: Served) -> None:
        """Take what the first answer describes, if it is the right snapshot; later answers are compared with it."""
        if served.version is None and not self._is_pinned(self._url):
            raise Explained(
                "the URL is not pinned to a version and the host does not say which one it serves, so it may be another one",
                then=[Step.RENEW_URL],
            )
        known, self._is_described = self.known, True
        total = known.total if served.total is None else served.total
        self.known = replace(
            known, total=total, etag=served.etag, modified=known.modified or served.modified
        )

    def _is_pinned(self, url: str) -> bool:
        return version_of(url) == self._version_id

    async def _renew(self, refusal: UrlRefused) -> None:
        """Find another URL than the one that was refused; raises `NoUrl` if there is none."""
        if (session := self._session) is None:
            why = Text(
                "{refusal} Without an API key there is no way to get a fresh one", refusal=refusal
            )
            raise NoUrl(why, then=[Step.SET_KEY, Step.RENEW_URL]) from refusal
        self._refused.add(self._url)
        # The two listings are cached separately, each for up to 30 minutes: the other one may have a fresh URL.
        pages = (session.listings.own_page, session.listings.account_page)
        for page_of in cycle(pages) if len(self._refused) < REFUSALS else ():
            self._listener.progress("the download URL was refused; asking for a fresh one")
            try:
                page = await page_of(self._database_id, session.clock.monotonic())
                entry = page.version(self._version_id) if page else None
                if entry is not None and await self._use(session, entry):
                    return
            except SquareCloudError as error:
                if not error.passing:
                    why = Text(
                        "{refusal} There is no fresh one: {why}",
                        refusal=refusal,
                        why=error.happened,
                    )
                    raise NoUrl(why, then=error.then) from error
            else:
                if page is not None and page.complete and entry is None:
                    raise NoUrl(
                        f"{refusal} The service does not list this snapshot any more, so there is no fresh one"
                    )
                expiry = expiry_of(self._url)
                if entry is not None and (
                    expiry is None or expiry > session.client.service_clock.now()
                ):
                    break  # the listed URL is the refused one, and has not expired
            await session.clock.sleep(session.settings.poll_every)
        raise NoUrl(f"{refusal} The URL that the service lists now is refused too")

    async def _use(self, session: Session, entry: ListedSnapshot) -> bool:
        """Use the URL of a listing, if it is another one; returns whether it is."""
        record = await describe(
            session, self._database_id, entry, base_url=self._inputs.download_url
        )
        url = record.download_url
        if url is None or not self._is_pinned(url) or url in self._refused:
            return False
        self._url, known = url, self.known
        taken = known.modified or (parse_rfc3339(record.created_at) if record.created_at else None)
        self.known = replace(
            known, total=record.size if known.total is None else known.total, modified=taken
        )
        return True


def bytes_text(count: int) -> str:
    """Bytes as people read them: `430.0 MB`, decimal units."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size >= 1000:  # noqa: PLR2004  the next unit
            size, unit = size / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
