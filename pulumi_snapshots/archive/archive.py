"""Archives one snapshot: streams it to durable storage in one pass, whole or not at all."""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    aclosing,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, replace

import anyio

from pulumi_snapshots.archive.manifest import (
    Manifest,
    ManifestFile,
    Owner,
    manifest_store,
    merged,
    note_in_manifest,
    read_manifest_file,
)
from pulumi_snapshots.archive.record import (
    ArchiveInputs,
    ArchiveRecord,
    object_in,
)
from pulumi_snapshots.archive.removal import objects_before, prune
from pulumi_snapshots.archive.source import NoUrl, Source, bytes_text
from pulumi_snapshots.archive.transfers import ObjectStore, Transfers
from pulumi_snapshots.archive.upload import Upload
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors import Hint, HintKind, Message, ProviderError
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.run.memory import Listener
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.record import SnapshotInputs
from pulumi_snapshots.storage.destination import (
    Destination,
    place_text,
)
from pulumi_snapshots.storage.store import (
    Mark,
    ObjectStat,
    Overtaken,
    StoreTrouble,
    refuse_file_in_the_way,
)

CLAIM_LIVES = 120.0
"""Seconds after which the writer of a claim is taken to be dead.

The request that lets an object appear takes less.
"""
TRANSFER_TRIES = 3
"""Transfers of one archive while other writers put their own object under its name."""
UNTOUCHED = (
    "No part of it is left there, and an earlier file of that name is unchanged."
)


class NotArchived(ProviderError):
    """The snapshot was not archived; what was under the object's name is unchanged."""


@dataclass(frozen=True)
class ArchiveRequest:
    """A snapshot that is to be archived.

    Attributes:
        session: the service; None without an API key.
        transfers: the means by which this process archives.
        inputs: which snapshot, and where to.
        listener: shows the progress.
        owner: the owner of the archive; None leaves its manifest without an owner.
        previous: the resource's last archive; None for the first one.
        manifest: whether a manifest is written beside the object.
        force: whether to overwrite a file that no manifest explains.
    """

    session: Session | None
    transfers: Transfers
    inputs: ArchiveInputs
    listener: Listener
    owner: Owner | None = None
    previous: ArchiveRecord | None = None
    manifest: bool = True
    force: bool = False

    @property
    def owner_id(self) -> str | None:
        """The id of the owner, if there is one."""
        return self.owner.id if self.owner else None

    def has_written(self, uri: str, seen: ObjectStat) -> bool:
        """Tell whether an object is unchanged since this resource wrote it.

        Args:
            uri: the object's URI.
            seen: the object as the store describes it now.
        """
        objects = self.previous.all_objects if self.previous else []
        return any((each.uri, each.mark) == (uri, seen.mark) for each in objects)


async def archive_snapshot(request: ArchiveRequest) -> ArchiveRecord:
    """Stream a snapshot to its destination, then apply the rule of its resource.

    Args:
        request: the snapshot, its destination and the rule.

    Returns:
        The record that the state keeps. Its `unproved` says why the content of the zip is not
        proved.

    Raises:
        NotArchived: nothing was archived, and the destination is unchanged.
    """
    with _saying_new_folder(request.inputs.destination, request.listener):
        record = await _transferred(request)
    name = place_text(record.uri)
    archived = Message(
        "{archived} {size} to {uri}",
        size=bytes_text(record.size),
        uri=name,
    )
    request.listener.progress(archived)
    if record.unproved:
        request.listener.warn(f"{name} is not proved: {record.unproved}.")
    transfers = request.transfers
    before = await objects_before(
        transfers, request.previous, request.inputs, request.listener
    )
    return await prune(transfers, record, before, request.inputs, request.listener)


@contextmanager
def _saying_new_folder(place: Destination, listener: Listener) -> Iterator[None]:
    """Say that the body has created the folder of a file.

    The line stays under Diagnostics if the folder may be a mount that is missing or mistyped.
    """
    folder = place.file if place.folder else place.file.parent
    is_new = place.scheme == "file" and not folder.exists()
    is_mount = is_new and not folder.parent.exists()
    yield
    if is_new:
        say = listener.note if is_mount else listener.progress
        say(f"{folder} did not exist and was created")


async def _transferred(request: ArchiveRequest) -> ArchiveRecord:
    """Archive the snapshot, again if another writer was faster; raises `NotArchived`."""
    place = request.inputs.destination
    for _ in range(TRANSFER_TRIES):
        transfer = _Transfer(request)
        try:
            return await transfer.run()
        except Overtaken:  # the next try looks at what the other writer has put there
            place = transfer.place
        except ProviderError as trouble:
            raise _not_archived(
                request, transfer.place, trouble, transfer.left
            ) from trouble
    crowded = ProviderError("another program writes it at the same time")
    raise _not_archived(request, place, crowded, "The other program's object is there.")


def _not_archived(
    request: ArchiveRequest,
    place: Destination,
    trouble: ProviderError,
    left: str,
) -> NotArchived:
    """Make the error that a user reads; `left` says what is left at the destination."""
    inputs = request.inputs
    which = "/".join(filter(None, (inputs.database_id, inputs.version_id)))
    template = "Snapshot {which} was not {archived} to {uri}: {why}"
    text = Message(
        template,
        which=which,
        uri=place_text(place.uri),
        why=trouble.happened,
    )
    previous = request.previous
    is_lost = previous and previous.lost and previous.version_id == inputs.version_id
    steps: list[HintKind | Hint] = [*trouble.then]
    if is_lost and isinstance(trouble, NoUrl):  # every further run would fail
        steps.append(HintKind.PUT_ARCHIVE_BACK)
    return NotArchived(text, left, steps)


@dataclass(frozen=True)
class Occupant:
    """The object that is stored under the name of an object to be written.

    Attributes:
        seen: the object; None if there is none, or if the key may not read.
        manifest_file: the file in the place of its manifest.
    """

    seen: ObjectStat | None
    manifest_file: ManifestFile

    @property
    def manifest(self) -> Manifest | None:
        """The manifest of the object; None if there is none."""
        return self.manifest_file.manifest


@dataclass(frozen=True)
class Written:
    """An archive that exists.

    Attributes:
        record: the record that the state keeps of it.
        claim: the claim that its manifest must hold until the manifest is complete.
        shared: the manifest of an object that was there already; None if it was written now.
    """

    record: ArchiveRecord
    claim: str | None
    shared: Manifest | None = None


class _Transfer:
    """One try to archive a snapshot.

    Attributes:
        place: a folder, until the object's name is known.
        left: what is left at the destination if the try fails, as a sentence.
    """

    def __init__(self, request: ArchiveRequest) -> None:
        self.place = request.inputs.destination
        self.left = UNTOUCHED
        self._request = request
        self._transfers = request.transfers
        self._inputs = request.inputs
        self._source = Source(
            request.session,
            request.inputs,
            request.transfers,
            request.listener,
        )

    async def run(self) -> ArchiveRecord:
        """Archive the snapshot in time, and write its manifest.

        Raises:
            ProviderError: the snapshot was not archived.
            Overtaken: another writer's object is there.
        """
        written = await self._within_timeout()
        record = written.record
        if self._request.manifest:
            uri = record.uri
            warning = f"{place_text(uri)} is archived, but its manifest was not written"
            await note_in_manifest(
                self._transfers,
                uri,
                lambda found: self._described(found, written),
                self._request.listener,
                warning,
            )
        return record

    def _described(self, present: Manifest | None, written: Written) -> Manifest:
        """Make the complete manifest; raises `Overtaken` if the one found shows another writer."""
        shared = written.shared
        is_gone = shared is not None and (
            present is None or present.sha256 != shared.sha256
        )
        claim = present.claim if present else None
        if is_gone or claim != written.claim:
            raise Overtaken(written.record.uri)
        return self._merged(present, written.record, claim=None)

    def _merged(
        self,
        present: Manifest | None,
        record: ArchiveRecord,
        claim: str | None,
    ) -> Manifest:
        return merged(
            present,
            record,
            self._inputs.recipients,
            self._request.owner,
            claim,
        )

    # Time -------------------------------------------------------------------------------------

    async def _within_timeout(self) -> Written:
        with self._transfers.until(math.inf) as scope:
            try:
                return await self._found_or_transferred(scope)
            except StoreTrouble as trouble:
                if not scope.cancel_called:
                    raise
                self._source.broke_off = trouble.happened
        raise ProviderError(self._why_cut_off())

    def _why_cut_off(self) -> str:
        """Say why the transfer ended before it was whole, and how far it was."""
        so_far = self._source.so_far
        if self._transfers.stopping:
            return f"it was interrupted at {so_far}"
        broke_off = self._source.broke_off
        last = f" (it broke off last: {broke_off})" if broke_off else ""
        timeout = spoken(self._inputs.timeout)
        return f"it was not whole after {timeout} (timeout): {so_far}{last}"

    @asynccontextmanager
    async def _slot(self, scope: anyio.CancelScope) -> AsyncIterator[None]:
        """Give the body a slot and the time-out; lookups and waits have time-outs of their own."""
        async with self._transfers.slots:
            scope.deadline = self._transfers.clock.monotonic() + self._inputs.timeout
            yield
            scope.deadline = math.inf

    async def _found_or_transferred(self, scope: anyio.CancelScope) -> Written:
        """Use the same archive if it is there, which takes neither the service nor its host."""
        occupant = None
        if self.place.scheme == "file":
            file = self.place.file
            # Before a wait of half an hour, at whose end the transfer would fail.
            refuse_file_in_the_way(file if self.place.folder else file.parent)
        if not self.place.folder or self._source.known.modified is not None:
            async with self._slot(scope):
                occupant = await self._occupant()
                written = await self._verified(occupant)
            if written is not None:
                return written
        # This can wait for a listing for half an hour, so it holds no slot.
        await self._source.locate()
        async with self._slot(scope):
            return await self._downloaded(occupant)

    # What is there ----------------------------------------------------------------------------

    async def _occupant(self) -> Occupant:
        """Find what is under the object's name, and wait while another run is writing it.

        Raises:
            ProviderError: the object has no name, or one of that name must not be overwritten.
        """
        self._name_object()
        clock = self._transfers.clock
        began = clock.monotonic()
        while True:
            occupant = await self._transfers.reading(self._read_occupant)
            manifest = occupant.manifest
            self._refuse_unexplained(occupant)
            self._refuse_other_archive(manifest)
            is_claimed = manifest is not None and manifest.claim is not None
            is_dead = clock.monotonic() - began > CLAIM_LIVES
            if is_dead or not (is_claimed and self._may_share(manifest)):
                return occupant
            self._request.listener.progress("another run is writing it; waiting")
            await clock.sleep(1.0)

    def _name_object(self) -> None:
        """Choose the name of an object in a folder, which is that of its snapshot."""
        if not self.place.folder:
            return
        database_id = self._inputs.database_id
        created = self._source.known.modified
        then = [HintKind.NAME_OBJECT]
        if created is None:
            happened = "its time is not known, so it cannot be named"
            raise ProviderError(happened, then=then)
        if database_id is None or SnapshotInputs.problems({"database_id": database_id}):
            happened = "its database is not known, so it cannot be named"
            raise ProviderError(happened, then=then)
        self.place = object_in(
            self.place,
            database_id,
            self._inputs.version_id,
            created,
            sealed=bool(self._inputs.recipients),
        )

    def _read_occupant(self) -> Occupant:
        manifest_file = read_manifest_file(self._transfers, self.place.uri)
        seen = (
            self._transfers.store(self.place).stat()
            if manifest_file.is_readable
            else None
        )
        return Occupant(seen, manifest_file)

    def _may_share(self, manifest: Manifest | None) -> bool:
        """Tell whether the wanted archive is the one that a manifest describes."""
        return (
            self._request.manifest and manifest is not None and self._is_same(manifest)
        )

    def _is_same(self, manifest: Manifest) -> bool:
        """Tell whether a manifest is of the wanted snapshot, for the wanted recipients."""
        wanted = set(self._inputs.recipients or ())
        return (
            self._is_same_version(manifest) and set(manifest.recipients or ()) == wanted
        )

    def _is_same_version(self, manifest: Manifest) -> bool:
        same = manifest.version_id == self._inputs.version_id
        return same and self._is_same_database(manifest)

    def _is_same_database(self, manifest: Manifest) -> bool:
        wanted = self._inputs.database_id
        is_unknown = None in {manifest.database_id, wanted}
        return is_unknown or manifest.database_id == wanted

    def _refuse_unexplained(self, occupant: Occupant) -> None:
        """Refuse to overwrite a file that no manifest explains; raises `ProviderError`."""
        seen = occupant.seen
        is_explained = occupant.manifest is not None and self._request.manifest
        if seen is None or is_explained or self._request.force:
            return
        if self._request.has_written(self.place.uri, seen):
            return
        name = place_text(self.place.uri)
        happened = f"{name} is there already"
        if self._request.manifest:
            happened += ", and no manifest says what it is"
        raise ProviderError(happened, then=[HintKind.KEEP_FILE])

    def _refuse_other_archive(self, manifest: Manifest | None) -> None:
        """Refuse to overwrite what another owner, or a pin, keeps; raises `ProviderError`."""
        if manifest is None or self._is_same(manifest):
            return
        owner_id = self._request.owner_id
        is_same_version = self._is_same_version(manifest)
        is_pinned = not is_same_version and manifest.pinned_by(owner_id)
        other_owners = manifest.others_text(owner_id)
        if self._is_same_database(manifest) and not other_owners and not is_pinned:
            return
        text = "another archive has this name"
        if is_same_version:
            text = "it is encrypted for other {recipients}"
        if is_pinned:
            text += "; {pin} keeps it for good"
        elif other_owners:
            text += "; it belongs to {others}"
        text += ". Give {destination} another name"
        raise ProviderError(Message(text, others=other_owners))

    async def _verified(self, occupant: Occupant) -> Written | None:
        """Verify the same archive that is there; None if there is none, or it is not whole."""
        manifest = occupant.manifest
        seen = occupant.seen
        if manifest is None or not self._may_share(manifest):
            return None
        if seen is None or seen.size != manifest.size:
            return None
        self._request.listener.progress("the archive is there already; verifying it")
        digest = await self._transfers.digest(self._transfers.store(self.place))
        if digest != manifest.sha256:
            return None
        record = manifest.record(self.place.uri, seen.mark, self._request.owner_id)
        record = replace(record, pinned=self._inputs.pin or None)
        return Written(record, manifest.claim, shared=manifest)

    # The transfer -----------------------------------------------------------------------------

    async def _downloaded(self, occupant: Occupant | None) -> Written:
        """Download the snapshot, and write it; `occupant` is None while it has no name."""
        async with aclosing(self._source.blocks()) as blocks:
            await anext(blocks)  # the host has described the snapshot
            if occupant is None:
                occupant = await self._occupant()
                written = await self._verified(occupant)
                if written is not None:
                    return written
            store = self._transfers.store(self.place)
            upload = Upload(store, self._inputs.recipients or ())
            try:
                async for block in blocks:
                    await self._transfers.blocking(upload.push, block)
                now = rfc3339(self._transfers.clock.utc())
                return await self._transfers.blocking(
                    self._commit, upload, occupant, now
                )
            except BaseException:
                await self._discard(upload)
                raise

    async def _discard(self, upload: Upload) -> None:
        """Leave nothing of an upload, or say what may be left."""
        with anyio.CancelScope(shield=True):
            try:
                await self._transfers.blocking(upload.discard)
            except StoreTrouble as trouble:
                part = f"an unfinished upload may be left ({trouble.happened})"
                self.left = f"An earlier file of that name is unchanged, but {part}."

    def _commit(self, upload: Upload, occupant: Occupant, now: str) -> Written:
        """Let the object appear, after claiming its name; raises `Overtaken` for all but one."""
        upload.end()
        record = self._record(upload, now)
        self._require_unchanged(occupant)
        with self._claimed(record, occupant) as claim:
            return Written(replace(record, mark=upload.appear()), claim)

    def _require_unchanged(self, occupant: Occupant) -> None:
        """Raise `Overtaken` if a file that no manifest explains has appeared meanwhile."""
        # If a manifest explains the file, the claim shows other writers.
        is_explained = occupant.manifest is not None
        if (
            is_explained
            or self._request.force
            or not occupant.manifest_file.is_readable
        ):
            return
        if self._transfers.store(self.place).stat() != occupant.seen:
            raise Overtaken(self.place.uri)

    def _record(self, upload: Upload, now: str) -> ArchiveRecord:
        taken = self._source.known.modified
        return ArchiveRecord(
            uri=self.place.uri,
            size=upload.size,
            sha256=upload.sha256,
            archived_at=now,
            database_id=self._inputs.database_id,
            version_id=self._inputs.version_id,
            mark="",
            created_at=rfc3339(taken) if taken else None,
            pinned=self._inputs.pin or None,
            owner=self._request.owner_id,
            unproved=upload.unproved,
            plain_size=self._source.received if upload.plain_sha256 else None,
            plain_sha256=upload.plain_sha256,
        )

    @contextmanager
    def _claimed(
        self, record: ArchiveRecord, occupant: Occupant
    ) -> Iterator[str | None]:
        """Claim the object's name in its manifest for the body, and undo that if it fails.

        Yields:
            The claim; None if there can be no manifest, as the archive is as good without.

        Raises:
            Overtaken: another writer has claimed the name.
        """
        manifest_file = occupant.manifest_file
        if (
            not self._request.manifest
            or not manifest_file.is_readable
            or manifest_file.is_foreign
        ):
            yield None
            return
        store = manifest_store(self._transfers, record.uri)
        claim = secrets.token_hex(8)
        text = self._merged(manifest_file.manifest, record, claim).text
        mark = None
        with suppress(StoreTrouble):
            mark = store.replace(text, manifest_file.mark)
        if mark is None:
            yield None
            return
        try:
            yield claim
        except BaseException:
            with suppress(StoreTrouble, Overtaken):
                _unclaim(store, mark, manifest_file.manifest)
            raise


def _unclaim(store: ObjectStore, mark: Mark, before: Manifest | None) -> None:
    """Put back the manifest from before a claim, or remove the claim if there was none."""
    if before is not None:
        store.replace(before.text, mark)
        return
    seen = store.stat()
    if seen is not None:
        store.remove(seen.mark)
