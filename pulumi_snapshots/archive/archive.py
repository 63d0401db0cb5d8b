"""Archives one snapshot: streams it to durable storage in one pass, whole or not at all."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from hashlib import sha256

import anyio

from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.archive.manifest import describe
from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.archive.source import Meter, NoUrl, Source, bytes_text
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.archive.upkeep import prune
from pulumi_snapshots.archive.zip_directory import BrokenZip, check_directory
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.text import Text
from pulumi_snapshots.progress import Listener
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.drills import Drilled
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.stores.destination import Destination, place_text
from pulumi_snapshots.stores.encryption import SUFFIX, SealedDraft, sealed_size
from pulumi_snapshots.stores.store import Draft, Seen, StoreTrouble

BLOCKS_AHEAD = 4
"""Blocks that the receiver may be ahead of the writer."""
BLOCKS_KEPT = 5
"""Last blocks that are kept to check the zip's directory: at least 4 MiB, which is about 50,000 members."""


class NotArchived(Explained):
    """It was not archived; what was under its name is unchanged."""


async def archive(  # noqa: PLR0913  a progress bar is the sixth
    session: Session | None,
    transfers: Transfers,
    inputs: ArchiveInputs,
    listener: Listener,
    *,
    previous: ArchiveRecord | None = None,
    meter: Meter | None = None,
    manifest: bool = True,
    proof: Callable[[ArchiveRecord], Drilled | None] = lambda _: None,
) -> ArchiveRecord:
    """Stream a snapshot to its destination.

    Args:
        session: the service, for what the inputs do not give and for a fresh URL; None without a key.
        transfers: of the process.
        inputs: checked.
        listener: hears how it goes.
        previous: what this resource has archived before, for `keep_last`.
        meter: for a progress bar; without one the listener hears every 10 s how far it is.
        manifest: whether a manifest is written beside the object.
        proof: the drill that has proved the object's snapshot, for the manifest.

    Returns:
        The record of the object, which is whole.

    Raises:
        NotArchived: it is not; what was there before still is.
    """
    job = _Job(transfers, inputs, Source(session, inputs, transfers, listener, meter))
    try:
        record = await job.run()
    except Explained as trouble:
        then = [*trouble.then]
        # Without a way out, an object that is lost and cannot be archived again would fail every run.
        if previous and previous.lost and previous.version_id == inputs.version_id and isinstance(trouble, NoUrl):
            then.append(Next(Step.PUT_ARCHIVE_BACK, uri=place_text(previous.uri)))
        which = "/".join(filter(None, (inputs.database_id, inputs.version_id)))
        what = Text(
            "Snapshot {which} was not {archived} to {uri}: {why}",
            which=which,
            uri=place_text(job.place.uri),
            why=trouble.happened,
        )
        raise NotArchived(what, job.left, then) from trouble
    listener.progress(Text("{archived} {size} to {uri}", size=bytes_text(record.size), uri=place_text(record.uri)))
    if manifest:
        await describe(transfers, record, inputs.recipients, listener, drill=proof(record))
    return await prune(transfers, record, previous, inputs, listener)


class _Job:
    """One transfer: the event loop receives, a worker thread hashes and writes.

    Attributes:
        place: of the object; its folder until its name is known.
        left: what is left there if it fails.
    """

    def __init__(self, transfers: Transfers, inputs: ArchiveInputs, source: Source) -> None:
        self.place = inputs.destination
        self.left = "Nothing of it is left there, and what was there is untouched."
        self._transfers = transfers
        self._inputs = inputs
        self._source = source
        self._hasher = sha256()
        self._tail: deque[bytes] = deque(maxlen=BLOCKS_KEPT)

    async def run(self) -> ArchiveRecord:
        """Archive it in time; raises `Explained` if that fails."""
        with self._transfers.until(math.inf) as scope:
            await self._source.locate()  # which may wait for half an hour, so it holds no slot
            async with self._transfers.slots:
                # Neither wait counts: the lookups and the transfers ahead have time-outs of their own.
                scope.deadline = self._transfers.clock.monotonic() + self._inputs.timeout
                return await self._archive()
        so_far = self._source.so_far
        if self._transfers.stopping:
            raise Explained(f"it was interrupted at {so_far}")
        broke_off = f" (it broke off last: {self._source.broke_off})" if self._source.broke_off else ""
        raise Explained(f"it was not whole after {spoken(self._inputs.timeout)} (timeout): {so_far}{broke_off}")

    async def _archive(self) -> ArchiveRecord:
        async with aclosing(self._source.blocks()) as blocks:
            await anext(blocks)  # the host has described the snapshot
            self.place = self._named()
            draft = await self._transfers.blocking(self._begin)
            try:
                await self._stream(blocks, draft)
                seen = await self._transfers.blocking(self._commit, draft)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self._discard(draft)
                raise
        plain, sealed, created = self._hasher.hexdigest(), isinstance(draft, SealedDraft), self._source.created
        return ArchiveRecord(
            uri=self.place.uri,
            size=seen.size,
            sha256=draft.hasher.hexdigest() if isinstance(draft, SealedDraft) else plain,
            archived_at=rfc3339(self._transfers.clock.utc()),
            database_id=self._inputs.database_id,
            version_id=self._inputs.version_id,
            mark=seen.mark,
            created_at=rfc3339(created) if created else None,
            pinned=self._inputs.pin or None,
            plain_size=self._source.received if sealed else None,
            plain_sha256=plain if sealed else None,
        )

    def _begin(self) -> Draft:
        store, total, keys = self._transfers.store(self.place), self._source.total, self._inputs.recipients
        if not keys:
            return store.begin(total)
        return SealedDraft(store.begin(sealed_size(total, len(keys)) if total else None), keys)

    def _named(self) -> Destination:
        """The place of the object; in a folder it is named after the snapshot."""
        place, database_id, created = self._inputs.destination, self._inputs.database_id, self._source.created
        if not place.folder:
            return place
        if database_id is None or SnapshotInputs.problems({"database_id": database_id}) or created is None:
            missing = "time" if created is None else "database"
            raise Explained(f"its {missing} is not known, so it cannot be named", then=[Next(Step.NAME_OBJECT)])
        return place.named(database_id, self._inputs.version_id, created, SUFFIX * bool(self._inputs.recipients))

    async def _stream(self, blocks: AsyncIterator[bytes], draft: Draft) -> None:
        send, receive = anyio.create_memory_object_stream[bytes](BLOCKS_AHEAD)
        try:
            with receive:
                async with anyio.create_task_group() as group, send:
                    group.start_soon(self._write, receive, draft)
                    async for block in blocks:
                        await send.send(block)
        except ExceptionGroup as errors:  # the task group's
            raise errors.exceptions[0] from None

    async def _write(self, blocks: AsyncIterator[bytes], draft: Draft) -> None:
        async for block in blocks:
            await self._transfers.blocking(self._append, block, draft)

    def _append(self, block: bytes, draft: Draft) -> None:
        draft.write(block)
        self._hasher.update(block)
        self._tail.append(block)

    def _commit(self, draft: Draft) -> Seen:
        """Check it and let it appear, in one call that a cancellation does not end."""
        received, total = self._source.received, self._source.total
        if total not in {None, received}:
            raise BrokenZip(f"{received} bytes came, but {total} were announced")
        try:
            check_directory(b"".join(self._tail), received)
        except BrokenZip as error:
            raise BrokenZip(f"the download is not a readable zip: {error.happened}") from None
        return draft.commit()

    async def _discard(self, draft: Draft) -> None:
        try:
            await self._transfers.blocking(draft.discard)
        except StoreTrouble as trouble:
            self.left = f"What was there is untouched, but an unfinished part may be left ({trouble.happened})."
