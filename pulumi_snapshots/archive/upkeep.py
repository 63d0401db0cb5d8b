"""Archived objects after their transfer: a refresh checks one; `keep_last` and a delete remove this resource's own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256

import anyio

from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.archive.manifest import Manifest, edit_manifest, is_drilled, manifest_at, manifest_of
from pulumi_snapshots.archive.record import ArchiveRecord, StoredObject, kept_of
from pulumi_snapshots.archive.retention import TIER_LIMIT
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.text import Text, Words
from pulumi_snapshots.progress import Listener
from pulumi_snapshots.stopping import REFRESH_PATIENCE
from pulumi_snapshots.storage.destination import Destination, place_text
from pulumi_snapshots.storage.store import Seen, Store, StoreTrouble

PRUNING = 120.0
"""Seconds for removing older objects; the next archive removes those that are left."""


class NotRemoved(Explained):
    """The object that was to be deleted may still exist."""


async def check_archived(transfers: Transfers, record: ArchiveRecord, listener: Listener) -> ArchiveRecord:
    """Refresh what the state knows of an object.

    Returns:
        The record; `lost` if the object is certainly missing or altered, unchanged if that could not be checked.
    """
    store = _store(transfers, record.uri)
    why: Words
    try:
        with transfers.until(REFRESH_PATIENCE):
            seen = await transfers.reading(store.stat)
            record = await _without_gone(transfers, record, listener)
            if seen is not None and await _same(transfers, store, seen, record, listener):
                return replace(record, mark=seen.mark, lost=None)
            lost = "missing" if seen is None else "altered"
            again = Next(Step.ARCHIVE_AGAIN)
            listener.warn(
                Text("the archive {uri} is {lost}. {then}", uri=place_text(record.uri), lost=lost, then=again)
            )
            return replace(record, lost=lost)
        why = "it was interrupted" if transfers.stopping else "the store did not answer in time"
    except StoreTrouble as trouble:
        why = trouble.happened
    listener.warn(f"the archive {place_text(record.uri)} was not checked and stays as it was: {why}.")
    return record


async def _without_gone(transfers: Transfers, record: ArchiveRecord, listener: Listener) -> ArchiveRecord:
    """Forget earlier objects that are certainly gone, and say so: nothing counts on them any more."""
    gone: list[StoredObject] = []

    async def look(one: StoredObject) -> None:
        with suppress(StoreTrouble):
            if await transfers.reading(_store(transfers, one.uri).stat) is None:
                gone.append(one)

    async with anyio.create_task_group() as group:
        for each in record.earlier:
            group.start_soon(look, each)
    if gone:
        names = ", ".join(sorted(place_text(each.uri) for each in gone))
        listener.warn(f"{len(gone)} earlier archives of this resource are gone: {names}.")
    return replace(record, earlier=tuple(each for each in record.earlier if each not in gone))


async def _same(transfers: Transfers, store: Store, seen: Seen, record: ArchiveRecord, listener: Listener) -> bool:
    """Whether the object has the bytes that were archived; they are read if it was written or copied back since."""
    if seen.mark == record.mark or seen.size != record.size:
        return seen.size == record.size
    listener.progress("the archive was changed or copied since; reading it")
    return await digest_of(transfers, store) == record.sha256


async def digest_of(transfers: Transfers, store: Store) -> str:
    """The SHA-256 of an object. It can be cancelled between two pieces."""
    hasher, pieces = sha256(), store.read()
    while piece := await transfers.reading(next, pieces, b""):
        hasher.update(piece)
    return hasher.hexdigest()


async def prune(
    transfers: Transfers,
    record: ArchiveRecord,
    before: Sequence[StoredObject],
    inputs: ArchiveInputs,
    listener: Listener,
) -> ArchiveRecord:
    """Give a new record the objects of its resource from before, and remove what `keep` and `keep_last` do not keep.

    It removes only objects that this resource has written, that are unchanged since and no one else's too, and never the
    last one that a drill has proved.
    """
    # A newer one may be drilled since: the manifests decide.
    earlier = [replace(each, drilled=False) for each in before if each.uri != record.uri]
    rule = "keep" if inputs.keep else f"the last {inputs.keep_last}"
    left = list(earlier)
    with transfers.until(PRUNING):
        for each in await _surplus(transfers, [record.object, *earlier], inputs):
            try:
                if await _is_last_proof(transfers, each, [record.object, *left]):
                    left[left.index(each)] = replace(each, drilled=True)
                    listener.progress(f"kept {each.uri}: a drill has proved it, and nothing newer")
                    continue
                removed, why = await transfers.blocking(release, transfers, each.uri, each.mark, record.owner)
            except StoreTrouble as trouble:
                listener.warn(f"{place_text(each.uri)} is beyond {rule} but was not removed: {trouble.happened}.")
                continue
            left.remove(each)
            if why:
                listener.note(
                    Text("kept {uri}, which is beyond {rule}: {why}", uri=place_text(each.uri), rule=rule, why=why)
                )
            if removed:
                # It stays under Diagnostics: nothing else deletes data.
                listener.note(f"removed {place_text(each.uri)}: beyond {rule}")
    return replace(record, earlier=tuple(left)[:TIER_LIMIT])


async def _surplus(transfers: Transfers, objects: list[StoredObject], inputs: ArchiveInputs) -> list[StoredObject]:
    """The objects that are not to be kept. One that is missing or was changed is no archive, and takes no place."""
    good = objects
    while True:
        kept = kept_of(good, inputs.rule)
        surplus = [each for each in good if each not in kept]
        if not surplus:
            return []
        bad = [
            each for each in kept[1:] if not await transfers.blocking(_holds, _store(transfers, each.uri), each.mark)
        ]
        if not bad:
            return surplus
        good = [each for each in good if each not in bad]


async def _is_last_proof(transfers: Transfers, one: StoredObject, others: list[StoredObject]) -> bool:
    """Whether a drill has proved this object, and none that holds a newer snapshot; raises `StoreTrouble` when in doubt."""
    if not await transfers.blocking(is_drilled, transfers, one.uri):
        return False
    for each in others:
        if each.taken > one.taken and await transfers.blocking(is_drilled, transfers, each.uri):
            return False
    return True


def _holds(store: Store, mark: str) -> bool:
    """Whether it is there unchanged; a store that does not say it proves nothing."""
    try:
        return store.holds(mark)
    except StoreTrouble:
        return True


async def remove(  # noqa: PLR0913  what decides about an object
    transfers: Transfers,
    record: ArchiveRecord,
    listener: Listener,
    *,
    delete_object: bool,
    counted: bool = False,
    successor: ArchiveRecord | None = None,
) -> None:
    """Keep or remove the object of a resource that is deleted or has been replaced.

    Args:
        transfers: of the process.
        record: of the resource.
        listener: hears the result.
        delete_object: whether the object is to be removed.
        counted: whether the successor counts its earlier objects, which are kept then.
        successor: the record that replaced this one, if known.

    Raises:
        NotRemoved: it may still exist.
    """
    among = successor is not None and record.object in successor.earlier
    if not delete_object:
        # What was replaced may have been removed or overwritten since.
        if record.lost is None and (successor is None or among):
            listener.note(f"kept: {place_text(record.uri)}")
        return
    if successor is not None and (successor.uri == record.uri or (counted and among)):
        listener.note(f"kept: {place_text(record.uri)}, which the archive that replaced this one holds or counts")
        return
    if record.pinned:
        listener.note(Text("kept: {uri}, since {pin} keeps it for good", uri=place_text(record.uri)))
        return
    store = _store(transfers, record.uri)
    try:
        with transfers.until(REFRESH_PATIENCE):
            removed, why = await transfers.blocking(release, transfers, record.uri, record.mark, record.owner)
            if removed:
                listener.note(f"deleted {place_text(record.uri)}")
            elif why:
                listener.note(Text("kept: {uri}: {why}", uri=place_text(record.uri), why=why))
            elif await transfers.blocking(store.stat) is not None:
                listener.warn(
                    f"{place_text(record.uri)} was kept: this resource did not write it, or it was changed since."
                )
            return
    except StoreTrouble as trouble:
        then = [*trouble.then, Next(Step.KEEP_OBJECT)]
        raise NotRemoved(
            f"The archive {place_text(record.uri)} was not deleted: {trouble.happened}", then=then
        ) from trouble
    raise NotRemoved(
        f"The archive {place_text(record.uri)} was not deleted: it was interrupted, or the store did not answer"
    )


def release(transfers: Transfers, uri: str, mark: str, owner: str | None) -> tuple[bool, Words]:
    """Remove an object that has this mark, and its manifest, unless that says that others or a pin keep it.

    The manifest goes first: one that stays behind would say for ever that its object is missing.

    Returns:
        Whether it was removed, and why it is kept; nothing if there is no such object.
    """
    store, manifest = _store(transfers, uri), manifest_of(transfers, uri)
    seen = manifest.stat()  # before it is read: an owner who enters later changes it
    found = manifest_at(transfers, uri)
    if found is not None and found.without(owner):
        edit_manifest(transfers, uri, lambda now: now and replace(now, owners=now.without(owner)))
        return False, Text("it is an archive of {others}", others=others_text(found, owner))
    if not store.holds(mark):
        return False, ""
    if found is not None and found.pinned_by(owner):
        return False, Text("{pin} keeps it for good")
    if found is not None and not (seen and manifest.remove(seen.mark)):
        return release(transfers, uri, mark, owner)
    return store.remove(mark), ""


def others_text(found: Manifest, owner: str | None) -> str:
    """The other owners of an object, for a message."""
    return ", ".join(each.name.replace("urn:pulumi:", "") for each in found.without(owner))


def _store(transfers: Transfers, uri: str) -> Store:
    return transfers.store(Destination.parse(uri))
