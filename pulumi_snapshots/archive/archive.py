"""Archives one snapshot: streams it to durable storage in one pass, whole or not at all."""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.archive.manifest import Manifest, look_at, manifest_of, merged, note, note_pin
from pulumi_snapshots.archive.record import (
    ARCHIVE,
    ArchiveInputs,
    ArchiveMemory,
    ArchiveRecord,
    history,
    object_in,
)
from pulumi_snapshots.archive.shelf import check_archived, imported, own_objects, prune, remove
from pulumi_snapshots.archive.source import NoUrl, Source, bytes_text
from pulumi_snapshots.archive.transfers import Store, Transfers
from pulumi_snapshots.archive.zip_check import check_zip
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors import Explained, Step, Text
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.run.calls import EngineCall, Resource
from pulumi_snapshots.run.memory import Listener
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.record import SnapshotInputs
from pulumi_snapshots.storage.destination import Destination, place_text
from pulumi_snapshots.storage.encryption import encrypt
from pulumi_snapshots.storage.flow import Flow
from pulumi_snapshots.storage.store import Buffer, Held, Overtaken, Seen, StoreTrouble

T = TypeVar("T")
CLAIM_LIVES = 120.0
"""Seconds after which the writer of a claim is taken to be dead: the request that lets an object appear takes less."""
TRIES = 3  # transfers of one archive while other writers put their own object under its name
SILENCE = 120.0
"""Seconds without progress of an upload after which the store is asked whether it still answers: the library cannot tell a
slow upload from a silent store."""


class NotArchived(Explained):
    """It was not archived; what was under its name is unchanged."""


async def archive(  # noqa: PLR0913  each is a fact of its own
    session: Session | None,
    transfers: Transfers,
    inputs: ArchiveInputs,
    listener: Listener,
    *,
    owner: str | None = None,
    previous: ArchiveRecord | None = None,
    manifest: bool = True,
) -> ArchiveRecord:
    """Stream a snapshot to its destination; raises `NotArchived`, and what was there before still is.

    `session` is None without a key; `owner` is the URN of the resource, or the command, whose archive it is; `previous` is what
    the resource has archived before.
    """
    owner = (previous.owner if previous else None) or owner
    place = inputs.destination
    folder = place.file if place.folder else place.file.parent
    is_new_folder = place.scheme == "file" and not folder.exists()
    is_mount = is_new_folder and not folder.parent.exists()
    tries, record = TRIES, None
    while record is None:
        job = _Job(session, transfers, inputs, listener, owner, manifest, place)
        try:
            record = await job.run()
        except Overtaken:  # what another writer has put there is looked at
            if not (tries := tries - 1):
                job.left = "Another writer's object is there."
                raise job.failed(Explained("others write it at the same time")) from None
        except Explained as trouble:
            # every run would fail
            is_lost = previous and previous.lost and previous.version_id == inputs.version_id
            back = [Step.PUT_ARCHIVE_BACK] if is_lost and isinstance(trouble, NoUrl) else []
            raise job.failed(trouble, back) from trouble
    if is_new_folder:  # stays under Diagnostics if it may be a mount that is missing or mistyped
        say = listener.note if is_mount else listener.progress
        say(f"{folder} did not exist and was created")
    listener.progress(
        Text("{archived} {size} to {uri}", size=bytes_text(record.size), uri=place_text(record.uri))
    )
    if previous:
        before = history(previous)
    else:  # a state that was lost is no reason to keep everything for ever
        before = (
            await own_objects(transfers, record, listener) if place.folder and inputs.keep else []
        )
    return await prune(transfers, record, before, inputs, listener)


@dataclass
class _Job:
    """One transfer to `place`, which is a folder until its name is known; `left` says what is left there if it fails."""

    session: Session | None
    transfers: Transfers
    inputs: ArchiveInputs
    listener: Listener
    owner: str | None
    manifest: bool
    place: Destination
    left: str = "Nothing of it is left there, and what was there is untouched."
    held: Held | None = None  # the manifest that was found, and what it says
    found: Manifest | None = None
    # that of an object which is there already, and is the same archive
    shared: Manifest | None = None
    may_claim: bool = False
    claim: str | None = None

    def __post_init__(self) -> None:
        self.source = Source(self.session, self.inputs, self.transfers, self.listener)

    def failed(self, trouble: Explained, more: Sequence[Step] = ()) -> NotArchived:
        """The error that a user reads."""
        which = "/".join(filter(None, (self.inputs.database_id, self.inputs.version_id)))
        what = "Snapshot {which} was not {archived} to {uri}: {why}"
        told = Text(what, which=which, uri=place_text(self.place.uri), why=trouble.happened)
        return NotArchived(told, self.left, [*trouble.then, *more])

    async def run(self) -> ArchiveRecord:
        """Archive it in time, and write its manifest; raises `Explained`, or `Overtaken` if somebody else's object is there."""
        record = await self._in_time()
        if self.manifest:

            def describe(found: Manifest | None) -> Manifest:
                # No writer has claimed its name, and no owner has removed what is shared.
                gone = self.shared and (found is None or found.sha256 != self.shared.sha256)
                if gone or (found.claim if found else None) != self.claim:
                    raise Overtaken(record.uri)
                return merged(found, record, self.inputs, None)

            lost = f"{place_text(record.uri)} is archived, but its manifest was not written"
            await note(self.transfers, record.uri, describe, self.listener, lost)
        return record

    async def _in_time(self) -> ArchiveRecord:
        with self.transfers.until(math.inf) as scope:

            async def in_slot(step: Callable[[], Awaitable[T]]) -> T:
                async with self.transfers.slots:
                    # Lookups and the transfers ahead have time-outs of their own.
                    scope.deadline = self.transfers.clock.monotonic() + self.inputs.timeout
                    result = await step()
                    scope.deadline = math.inf
                    return result

            try:
                # What is there already needs neither the service nor its host.
                is_named = not self.place.folder or self.source.known.modified is not None
                if is_named and (there := await in_slot(self._there)) is not None:
                    return there
                await self.source.locate()  # which may wait for half an hour, so it holds no slot
                return await in_slot(self._transferred)
            except StoreTrouble as trouble:
                if not scope.cancel_called:
                    raise
                self.source.broke_off = trouble.happened
        so_far, broke_off = self.source.so_far, self.source.broke_off
        if self.transfers.stopping:
            raise Explained(f"it was interrupted at {so_far}")
        last = f" (it broke off last: {broke_off})" if broke_off else ""
        raise Explained(
            f"it was not whole after {spoken(self.inputs.timeout)} (timeout): {so_far}{last}"
        )

    # What is there ------------------------------------------------------------------------------------------------------

    async def _there(self) -> ArchiveRecord | None:
        """The same archive, if it is there and whole; raises `Explained` if the object is another one, which stays."""
        if self.place.folder:  # in which the object is named after the snapshot
            database_id, created = self.inputs.database_id, self.source.known.modified
            if (
                database_id is None
                or SnapshotInputs.problems({"database_id": database_id})
                or created is None
            ):
                missing = "time" if created is None else "database"
                raise Explained(
                    f"its {missing} is not known, so it cannot be named", then=[Step.NAME_OBJECT]
                )
            sealed = bool(self.inputs.recipients)
            self.place = object_in(
                self.place, database_id, self.inputs.version_id, created, sealed=sealed
            )
        clock, store = self.transfers.clock, self.transfers.store(self.place)
        began = clock.monotonic()
        while (
            found := await self.transfers.reading(self._same)
        ) is not None and found.claim is not None:
            if clock.monotonic() - began > CLAIM_LIVES:  # its writer was killed
                break
            self.listener.progress("another run is writing it; waiting")
            await clock.sleep(1.0)
        if (
            found is None
            or (seen := await self.transfers.reading(store.stat)) is None
            or seen.size != found.size
        ):
            return None
        self.listener.progress("the archive is there already; verifying it")
        if await self.transfers.digest(store) != found.sha256:
            return None
        self.claim, self.shared = found.claim, found
        return replace(
            found.record(self.place.uri, seen.mark, self.owner), pinned=self.inputs.pin or None
        )

    def _same(self) -> Manifest | None:
        """The manifest of the same archive under this name; None if there is none, or one that may be replaced."""
        self.held, self.found, may_read = look_at(self.transfers, self.place.uri)
        found, inputs, is_others_file = (
            self.found,
            self.inputs,
            self.held is not None and self.found is None,
        )
        self.may_claim = self.manifest and may_read and not is_others_file
        if found is None:
            return None
        same_database = (
            None in {found.database_id, inputs.database_id}
            or found.database_id == inputs.database_id
        )
        same_version = same_database and found.version_id == inputs.version_id
        if same_version and set(found.recipients or ()) == set(inputs.recipients or ()):
            return found if self.manifest else None
        others, pinned = found.without(self.owner), not same_version and found.pinned_by(self.owner)
        if same_database and not others and not pinned:
            return None
        what = (
            "it is there for other {recipients}"
            if same_version
            else "another archive has this name"
        )
        whose = (
            "; {pin} keeps it for good" if pinned else "; it is that of {others}" if others else ""
        )
        text = f"{what}{whose}. Give {{destination}} another name"
        raise Explained(Text(text, others=found.others_text(self.owner)))

    # The transfer -------------------------------------------------------------------------------------------------------

    async def _transferred(self) -> ArchiveRecord:
        async with aclosing(self.source.blocks()) as blocks:
            await anext(blocks)  # the host has described the snapshot
            if self.place.folder and (there := await self._there()) is not None:
                return there
            upload = Upload(self.transfers.store(self.place), self.inputs.recipients or ())
            try:
                async for block in blocks:
                    await self.transfers.blocking(upload.push, block)
                record = await self.transfers.blocking(
                    self._commit, upload, rfc3339(self.transfers.clock.utc())
                )
            except BaseException:
                with anyio.CancelScope(shield=True):
                    try:
                        await self.transfers.blocking(upload.discard)
                    except StoreTrouble as trouble:
                        part = f"an unfinished part may be left ({trouble.happened})"
                        self.left = f"What was there is untouched, but {part}."
                raise
        if upload.passed_over:
            text = "of the zip's members were not checked: nothing here reads such ones."
            self.listener.warn(f"{upload.passed_over} {text}")
        return record

    def _commit(self, upload: Upload, now: str) -> ArchiveRecord:
        """Claim its name in its manifest, which only one writer can, and let it appear; raises `Overtaken` for the others."""
        upload.end()
        record = ArchiveRecord(
            uri=self.place.uri,
            size=upload.size,
            sha256=upload.sha256,
            archived_at=now,
            database_id=self.inputs.database_id,
            version_id=self.inputs.version_id,
            mark="",
            created_at=rfc3339(taken) if (taken := self.source.known.modified) else None,
            pinned=self.inputs.pin or None,
            owner=self.owner,
            plain_size=self.source.received if upload.plain_sha256 else None,
            plain_sha256=upload.plain_sha256,
        )
        store, claim, mark = manifest_of(self.transfers, record.uri), secrets.token_hex(8), None
        if self.may_claim:
            text = merged(self.found, record, self.inputs, claim).text
            with suppress(StoreTrouble):  # the archive is as good without a manifest
                mark = store.replace(text, self.held.mark if self.held else None)
                self.claim = claim
        try:
            return replace(record, mark=upload.appear())
        except BaseException:
            with suppress(StoreTrouble, Overtaken):
                if mark is not None and self.found is not None:
                    store.replace(self.found.text, mark)
                elif mark is not None and (seen := store.stat()) is not None:
                    store.remove(seen.mark)
            raise


class Upload:
    """An object that does not exist yet, and how many of the zip's members were `passed_over`, unchecked. Each method blocks."""

    sha256 = ""  # these two are known at the end
    plain_sha256: str | None = None

    def __init__(self, store: Store, keys: Sequence[str]) -> None:
        self.size = self.passed_over = 0
        self._store, self._written_hash, self._plain_hash = store, sha256(), sha256()
        # Each in a thread of its own; unpacking takes longer than all the rest.
        self._checked = Flow(check_zip)
        self._written = Flow(store.write, SILENCE, self._ask)
        self._sealed = Flow(lambda blocks: encrypt(blocks, keys, self._take)) if keys else None

    def push(self, block: Buffer) -> None:
        """Take the next block of the zip; raises `BrokenZip`, or `StoreTrouble`."""
        self._checked.push(block)
        if self._sealed:
            self._plain_hash.update(block)
            self._sealed.push(block)
        else:
            self._take(block)

    def _take(self, block: Buffer) -> None:
        self._written.push(block)
        self._written_hash.update(block)
        self.size += len(block)

    def end(self) -> None:
        """Take it that the zip was whole; raises `BrokenZip`, or `StoreTrouble`. The object does not appear yet."""
        self.passed_over = self._checked.finish()
        if self._sealed:
            self._sealed.finish()
            self.plain_sha256 = self._plain_hash.hexdigest()
        self.sha256 = self._written_hash.hexdigest()

    def appear(self) -> str:
        """Let the object appear; returns its mark, empty for a key that only writes. Raises `StoreTrouble` or `Overtaken`."""
        try:
            seen = self._written.finish()
        except StoreTrouble as trouble:
            if trouble.status or (seen := self._found()) is None:
                raise
        if seen is not None and seen.size != self.size:
            raise Overtaken(
                f"{self._store.where}: {self.size} bytes were written, but {seen.size} are there"
            )
        return seen.mark if seen else ""

    def _found(self) -> Seen | None:
        """The object, if only the answer was lost. Another writer's object may be as large, so the bytes prove it."""
        with suppress(StoreTrouble):
            if (seen := self._store.stat()) and seen.size == self.size:
                hasher = sha256()
                for piece in self._store.read():
                    hasher.update(piece)
                return seen if hasher.hexdigest() == self.sha256 else None
        return None

    def _ask(self) -> None:
        """Raise `StoreTrouble` if the store does not answer; a refusal is an answer too."""
        try:
            self._store.stat()
        except StoreTrouble as silence:
            if not silence.status:
                raise

    def discard(self) -> None:
        """Leave nothing of it; raises `StoreTrouble` if a part may be left."""
        for flow in (self._checked, self._sealed):
            with suppress(
                Exception
            ):  # it was raised before, or has nothing to do with what is left
                if flow is not None:
                    flow.stop()
        self._written.stop()


# The engine's calls ------------------------------------------------------------------------------------------------------


class ArchiveCalls:
    """Create, read, update and delete."""

    async def create(self, call: EngineCall, values: Mapping[str, Any]) -> Resource:
        """Archive it."""
        previous, _ = call.shared.of(ArchiveMemory).current.get(call.owner or "", (None, False))
        record = await _archive(call, values, previous)
        return Resource(record.id, ARCHIVE.state(record, values))

    async def read(self, call: EngineCall, id_: str, state: Mapping[str, Any]) -> Resource:
        """Check whether the object exists as it was written; import one by its URI and manifest."""
        if "mark" not in state:
            record, keys = await imported(call.shared.of(Transfers), id_, call.owner, call.listener)
            values = {"destination": record.uri, "recipients": keys, "pin": record.pinned}
            return Resource(
                record.id,
                ARCHIVE.state(record, {name: each for name, each in values.items() if each}),
            )
        record = await check_archived(
            call.shared.of(Transfers), ArchiveRecord.from_outputs(state), call.listener
        )
        return Resource(id_, ARCHIVE.state(record, state))

    async def update(
        self, call: EngineCall, _id: str, state: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Resource:
        """Archive again what a refresh found lost; otherwise only keep the new inputs."""
        record, pin = ArchiveRecord.from_outputs(state), bool(values.get("pin"))
        if record.lost is not None:
            record = await _archive(call, values, record)
        elif bool(record.pinned) != pin:
            await note_pin(call.shared.of(Transfers), record, call.listener, pin=pin)
        record = replace(record, pinned=pin or None)
        return Resource(record.id, ARCHIVE.state(record, values))

    async def delete(self, call: EngineCall, _id: str, state: Mapping[str, Any]) -> None:
        """Keep the object or remove it, as `delete_object` says."""
        record = ArchiveRecord.from_outputs(state)
        known = call.shared.of(ArchiveMemory).successor(call.owner, record)
        delete = bool(state.get("delete_object"))
        await remove(call.shared.of(Transfers), record, call.listener, *known, delete_object=delete)


async def _archive(
    call: EngineCall, values: Mapping[str, Any], previous: ArchiveRecord | None
) -> ArchiveRecord:
    inputs, settings, memory = (
        ArchiveInputs.of(values),
        call.settings(),
        call.shared.of(ArchiveMemory),
    )
    # Without a key, a URL is enough.
    session = None if settings.api_key is None else call.shared.session(settings)
    to = call.shared.of(Transfers)
    record = await archive(session, to, inputs, call.listener, owner=call.owner, previous=previous)
    memory.current[call.owner] = record, inputs.keep is not None
    return record
