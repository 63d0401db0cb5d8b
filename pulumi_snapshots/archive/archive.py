"""Archive: streams one snapshot to durable storage, in one pass, whole or not at all."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.api.download import DownloadBroken, Served, UrlRefused, open_download
from pulumi_snapshots.archive.destination import object_name
from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.archive.source import NoUrl, Source
from pulumi_snapshots.archive.stores import StoreTrouble
from pulumi_snapshots.archive.upkeep import prune
from pulumi_snapshots.archive.zip_directory import BrokenZip, check_directory
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.text import Text
from pulumi_snapshots.properties.durations import duration_text
from pulumi_snapshots.snapshot.inputs import SnapshotInputs

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from pulumi_snapshots.api.download import Part
    from pulumi_snapshots.archive.destination import Destination
    from pulumi_snapshots.archive.inputs import ArchiveInputs
    from pulumi_snapshots.archive.stores import Draft, Seen
    from pulumi_snapshots.archive.transfers import Transfers
    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.progress import Listener
    from pulumi_snapshots.run.session import Session

__all__ = ["NotArchived", "archive", "bytes_text"]

BLOCK = 1024 * 1024
"""Bytes that go to the worker thread at once: with fewer, handing over costs more than hashing."""
BLOCKS_AHEAD = 4
"""Blocks that the receiver may be ahead of the writer."""
TAIL = 4 * 1024 * 1024
"""Last bytes that are kept, to read the zip's directory: all of one with up to about 50,000 members."""
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)
"""Seconds between tries that bring nothing; every byte received begins them anew."""
PROGRESS_EVERY = 10.0
"""Seconds: in CI each message is a line of the log."""


Meter = Callable[[int, int | None], None]
"""Told bytes received, and of the whole."""


class NotArchived(Explained):
    """It was not archived: what was under the final name is as it was."""


class _WrongSnapshot(Explained):
    """What the host serves is not what was asked for."""


async def archive(  # noqa: PLR0913  a progress bar is the sixth
    session: Session | None,
    transfers: Transfers,
    inputs: ArchiveInputs,
    listener: Listener,
    *,
    previous: ArchiveRecord | None = None,
    meter: Meter | None = None,
) -> ArchiveRecord:
    """Stream a snapshot to its destination.

    Args:
        session: the service, to look up what the inputs do not give and to ask for a fresh URL; None without a key.
        transfers: of the process.
        inputs: checked.
        listener: hears how it goes.
        previous: what this resource has archived before, for `keep_last`.
        meter: told the bytes that came and those of the whole (None where nobody says), for a progress bar; the
            listener hears of them every 10 s without one.

    Returns:
        The record of an object that is whole.

    Raises:
        NotArchived: it is not; what was there before still is.
    """
    job = _Job(session, transfers, inputs, listener, meter)
    record: ArchiveRecord | None = None
    trouble: Explained | None = None
    try:
        with transfers.until(math.inf) as scope:
            async with transfers.turn:
                # Waiting for others, each of which has its own time-out, is no part of the transfer.
                scope.deadline = transfers.clock.monotonic() + inputs.timeout
                record = await job.run()
    except Explained as error:
        trouble = error
    if record is None:
        raise job.failure(trouble, _then(trouble, inputs, previous)) from trouble
    listener.progress(f"archived {bytes_text(record.size)} to {record.uri}")
    return await prune(transfers, record, previous, inputs.keep_last, listener)


def _then(trouble: Explained | None, inputs: ArchiveInputs, previous: ArchiveRecord | None) -> list[Next]:
    """The next steps: a lost object that the service does not have any more would be asked for at each run."""
    if trouble is None:
        return []
    is_lost = previous is not None and previous.lost is not None and previous.version_id == inputs.version_id
    if not is_lost or previous is None or not isinstance(trouble, NoUrl):
        return [*trouble.then]
    return [*trouble.then, Next(Step.PUT_ARCHIVE_BACK, uri=previous.uri)]


class _Job:
    """One transfer: receives in the event loop, writes in a worker thread."""

    def __init__(
        self,
        session: Session | None,
        transfers: Transfers,
        inputs: ArchiveInputs,
        listener: Listener,
        meter: Meter | None,
    ) -> None:
        self._transfers = transfers
        self._inputs = inputs
        self._listener = listener
        self._meter = meter
        self._source = Source(session, inputs, listener.progress)
        self._writer = _Writer(transfers)
        self._served: Served | None = None
        self._place = inputs.destination
        self._received = 0
        self._pending = bytearray()
        self._said_at = float("-inf")
        self._left = ""
        self._broke_off: Words = ""

    async def run(self) -> ArchiveRecord:
        """Locate, transfer, verify, and let it appear under its name."""
        try:
            await self._source.locate()
            await self._transfer()
            await self._transfers.blocking(self._writer.check, self._total)
            # From here on it is there or it is not: nothing waits between its appearance and the record of it.
            return self._record(await self._writer.commit())
        except BaseException:
            with anyio.CancelScope(shield=True):
                self._left = await self._writer.discard()
            raise

    @property
    def _total(self) -> int | None:
        """Bytes of the whole, as far as anybody says."""
        total = self._served.total if self._served is not None else None
        return self._source.size if total is None else total

    async def _transfer(self) -> None:
        send, blocks = anyio.create_memory_object_stream[bytearray](BLOCKS_AHEAD)
        trouble: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._writer.run, blocks)
            async with send:
                try:
                    await self._receive(send)
                except (Explained, anyio.BrokenResourceError) as error:
                    # Raised below: a task group would wrap it.
                    trouble = error
                    group.cancel_scope.cancel()
        if trouble is not None or self._writer.trouble is not None:
            raise self._writer.trouble or trouble or AssertionError

    async def _receive(self, send: MemoryObjectSendStream[bytearray]) -> None:
        """Until the last byte, however often the connection breaks or the URL expires."""
        pauses = iter(PAUSES)
        while True:
            before = self._received
            try:
                async with open_download(
                    self._source.url, http=self._transfers.http, offset=before, known=self._served
                ) as part:
                    await self._begin(part)
                    await self._read(part, send)
            except UrlRefused as refusal:
                await self._source.renew(refusal)
            except DownloadBroken as error:
                self._broke_off = error.happened
                if self._received > before:
                    pauses = iter(PAUSES)
                pause = next(pauses, None)
                if pause is None:
                    raise
                self._listener.progress(
                    f"{self._so_far()}; the transfer broke off, trying again in {pause:.0f} s ({error.happened})"
                )
                await self._transfers.clock.sleep(pause)
            else:
                break
        if self._pending:
            await send.send(self._pending)

    async def _begin(self, part: Part) -> None:
        """At the first answer: whether it is the right snapshot, and where it goes."""
        if self._served is not None:
            return
        served, wanted = part.served, self._inputs.version_id
        if served.version is not None and served.version != wanted:
            raise _WrongSnapshot(f"the URL serves version {served.version}, not {wanted}")
        if served.version is None and not self._source.pinned(self._source.url):
            raise _WrongSnapshot(
                "the URL is not pinned to a version and the host does not say which one it serves, so it may be another one",
                then=[Next(Step.RENEW_URL)],
            )
        if None not in {served.total, self._source.size} and served.total != self._source.size:
            raise _WrongSnapshot(f"the host serves {served.total} bytes, but the service announced {self._source.size}")
        self._place = self._named(served)
        store = self._transfers.store(self._place)
        self._served = served
        await self._writer.begin(store.begin, self._total)

    def _named(self, served: Served) -> Destination:
        """The object's place; in a folder it is named after the snapshot."""
        if not self._inputs.destination.folder:
            return self._inputs.destination
        # The host's `Last-Modified` is the listing's `modified`, in whole seconds.
        database_id, created = self._inputs.database_id, self._source.created or served.modified
        if database_id is None or SnapshotInputs.problems({"database_id": database_id}) or created is None:
            missing = "time" if created is None else "database"
            raise _WrongSnapshot(f"its {missing} is not known, so it cannot be named", then=[Next(Step.NAME_OBJECT)])
        return self._inputs.destination.named(object_name(database_id, self._inputs.version_id, created))

    async def _read(self, part: Part, send: MemoryObjectSendStream[bytearray]) -> None:
        async for piece in part:
            self._pending += piece
            self._received += len(piece)
            if len(self._pending) >= BLOCK:
                self._source.served()
                block, self._pending = self._pending, bytearray()
                await send.send(block)
                self._say()
        if self._total is not None and self._received < self._total:
            raise DownloadBroken(part.request, message=f"it ended after {self._received} of {self._total} bytes")

    def _say(self) -> None:
        if self._meter is not None:
            self._meter(self._received, self._total)
            return
        now = self._transfers.clock.monotonic()
        if now - self._said_at >= PROGRESS_EVERY:
            self._said_at = now
            self._listener.progress(self._so_far())

    def _so_far(self) -> str:
        total = self._total
        if not total:
            return f"{bytes_text(self._received)} archived"
        return f"{self._received * 100 // total} %, {bytes_text(self._received)} of {bytes_text(total)}"

    def _record(self, seen: Seen) -> ArchiveRecord:
        return ArchiveRecord(
            uri=self._place.uri,
            size=seen.size,
            sha256=self._writer.sha256(),
            archived_at=rfc3339(self._transfers.clock.utc()),
            database_id=self._inputs.database_id,
            version_id=self._inputs.version_id,
            mark=seen.mark,
        )

    def failure(self, trouble: Explained | None, then: list[Next]) -> NotArchived:
        """The error of a transfer that did not end well.

        Args:
            trouble: what ended it; None if that was its time-out or an interrupt.
            then: the next steps.
        """
        which = "/".join(part for part in (self._inputs.database_id, self._inputs.version_id) if part)
        why: Words
        if trouble is not None:
            why = trouble.happened
        elif self._transfers.stopping:
            why = f"it was interrupted at {self._so_far()}"
        else:
            why = f"it was not whole after {duration_text(self._inputs.timeout)} (timeout): {self._so_far()}"
            why += f" (it broke off last: {self._broke_off})" if self._broke_off else ""
        happened = Text("Snapshot {which} was not archived to {uri}: {why}", which=which, uri=self._place.uri, why=why)
        left = self._left or "Nothing of it is left there, and what was there is untouched."
        return NotArchived(happened, left, then)


class _Writer:
    """Hashes and writes in one pass, in a worker thread, one block after the other."""

    def __init__(self, transfers: Transfers) -> None:
        self.trouble: StoreTrouble | None = None
        self._transfers = transfers
        self._hasher = sha256()
        self._written = 0
        self._tail: deque[bytearray] = deque()
        self._tail_size = 0
        self._draft: Draft | None = None

    async def begin(self, begin: Callable[[int | None], Draft], size: int | None) -> None:
        # Shielded: a draft that was begun must be known, or nobody discards it.
        with anyio.CancelScope(shield=True):
            self._draft = await self._transfers.blocking(begin, size)

    async def run(self, blocks: MemoryObjectReceiveStream[bytearray]) -> None:
        """Take blocks until there are no more; on trouble it stops taking, which the sender notices."""
        async with blocks:
            try:
                async for block in blocks:
                    await self._transfers.blocking(self._take, block)
            except StoreTrouble as trouble:
                self.trouble = trouble

    def _take(self, block: bytearray) -> None:
        self._opened.write(block)
        self._hasher.update(block)
        self._written += len(block)
        self._tail.append(block)
        self._tail_size += len(block)
        while self._tail_size - len(self._tail[0]) >= TAIL:
            self._tail_size -= len(self._tail.popleft())

    def check(self, size: int | None) -> None:
        """Whether all is there, and the zip's directory can be read.

        Raises:
            BrokenZip: it cannot.
        """
        if size is not None and self._written != size:
            raise BrokenZip(f"{self._written} bytes came, but {size} were announced")
        try:
            check_directory(b"".join(self._tail), self._written)
        except BrokenZip as error:
            raise BrokenZip(f"what came is no zip that can be opened: {error.happened}") from None

    async def commit(self) -> Seen:
        seen: Seen | None = None
        with anyio.CancelScope(shield=True):
            seen = await self._transfers.blocking(self._opened.commit)
        if seen is None:
            raise AssertionError  # it is shielded
        self._draft = None
        return seen

    async def discard(self) -> str:
        """Leave nothing; returns what to say where that failed."""
        draft, self._draft = self._draft, None
        if draft is not None:
            try:
                await self._transfers.blocking(draft.discard)
            except StoreTrouble as trouble:
                return f"What was there is untouched, but an unfinished part may be left ({trouble.happened})."
        return ""

    def sha256(self) -> str:
        return self._hasher.hexdigest()

    @property
    def _opened(self) -> Draft:
        if self._draft is None:
            raise AssertionError  # begun with the first answer
        return self._draft


def bytes_text(count: int) -> str:
    """Bytes as people read them: `430.0 MB`, decimal units."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004  the next unit
            return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
