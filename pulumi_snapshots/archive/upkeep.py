"""Archived objects after their transfer: a refresh checks one; `keep` and a delete remove this resource's own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from pulumi_snapshots.archive.inputs import TIER_LIMIT, ArchiveInputs, Keep
from pulumi_snapshots.archive.manifest import edit_manifest, manifest_at, manifest_of
from pulumi_snapshots.archive.record import ArchiveRecord, StoredObject, kept_of
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.clock import REFRESH_PATIENCE
from pulumi_snapshots.errors import Explained, Next, Step, Text, Words
from pulumi_snapshots.progress import Listener
from pulumi_snapshots.storage.destination import place_text
from pulumi_snapshots.storage.store import StoreTrouble

PRUNING = 120.0
"""Seconds for removing older objects; the next archive removes those that are left."""
PINNED = Text("{pin} keeps it for good")


class NotRemoved(Explained):
    """The object that was to be deleted may still exist."""


async def check_archived(transfers: Transfers, record: ArchiveRecord, listener: Listener) -> ArchiveRecord:
    """Refresh a record: `lost` if its object is certainly missing or altered, unchanged if that could not be checked."""
    name, store = place_text(record.uri), transfers.at(record.uri)
    try:
        with transfers.within(REFRESH_PATIENCE):
            record = await _without_gone(transfers, record, listener)
            seen = await transfers.reading(store.stat)
            if seen is not None and seen.mark != record.mark:
                listener.progress("the archive was changed or copied since; reading it")
            if seen is not None and (seen.mark == record.mark or await transfers.digest(store) == record.sha256):
                return replace(record, mark=seen.mark, lost=None)
    except StoreTrouble as trouble:
        listener.warn(f"the archive {name} was not checked and stays as it was: {trouble.happened}.")
        return record
    lost = "altered" if seen else "missing"
    listener.warn(Text("the archive {uri} is {lost}. {then}", uri=name, lost=lost, then=Next(Step.ARCHIVE_AGAIN)))
    return replace(record, lost=lost)


async def _without_gone(transfers: Transfers, record: ArchiveRecord, listener: Listener) -> ArchiveRecord:
    """Forget earlier objects that are certainly gone, and say so: nothing counts on them any more."""
    gone: list[StoredObject] = []

    def look(one: StoredObject) -> None:
        with suppress(StoreTrouble):
            if transfers.at(one.uri).stat() is None:
                gone.append(one)

    await transfers.reading_each(look, record.earlier)
    if gone:
        names = ", ".join(sorted(place_text(each.uri) for each in gone))
        listener.warn(f"{len(gone)} earlier archive{'s are' if len(gone) > 1 else ' is'} gone: {names}.")
    return replace(record, earlier=tuple(each for each in record.earlier if each not in gone))


async def prune(
    transfers: Transfers,
    record: ArchiveRecord,
    before: Sequence[StoredObject],
    inputs: ArchiveInputs,
    listener: Listener,
) -> ArchiveRecord:
    """Give a new record the objects of its resource from before, and remove those, unchanged since, that its rule does not keep."""
    left = [each for each in before if each.uri != record.uri]
    rule = "keep" if inputs.keep else f"the last {inputs.keep_last}"
    with transfers.until(PRUNING):
        for each in await _surplus(transfers, record.object, left, inputs.rule, listener):
            name = place_text(each.uri)
            try:
                removed, why = await transfers.blocking(release, transfers, each.uri, each.mark, record.owner)
            except StoreTrouble as trouble:
                listener.warn(f"{name} is beyond {rule} but was not removed: {trouble.happened}.")
                continue
            left.remove(each)
            # Both stay under Diagnostics: nothing else deletes data.
            if why:
                listener.note(Text("kept {uri}, which is beyond {rule}: {why}", uri=name, rule=rule, why=why))
            if removed:
                listener.note(f"removed {name}: beyond {rule}")
    return replace(record, earlier=tuple(left)[:TIER_LIMIT])


async def _surplus(
    transfers: Transfers, new: StoredObject, left: list[StoredObject], rule: Keep | None, listener: Listener
) -> list[StoredObject]:
    """The objects that a rule does not keep; those that a drill has proved are marked so in `left`."""
    if len(kept_of([new, *left], rule)) > len(left):
        return []
    good, doubts = [new], list[StoreTrouble]()

    def look(number: int) -> None:
        one = left[number]
        try:
            about = manifest_at(transfers, one.uri)
            left[number] = replace(one, drilled=about is not None and about.drill is not None)
            if transfers.at(one.uri).holds(one.mark):  # else it takes no place
                good.append(left[number])
        except StoreTrouble as trouble:
            doubts.append(trouble)

    await transfers.reading_each(look, range(len(left)))
    if doubts:
        listener.warn(f"no earlier archive was removed: {doubts[0].happened}.")
        return []
    kept = kept_of(good, rule)
    return [each for each in left if each not in kept]


async def remove(  # noqa: PLR0913  what decides about an object
    transfers: Transfers,
    record: ArchiveRecord,
    listener: Listener,
    successor: ArchiveRecord | None = None,
    counted: bool = False,  # noqa: FBT001, FBT002
    *,
    delete_object: bool,
) -> None:
    """Keep or remove the object of a resource that is deleted, or replaced by `successor`, which may count it; raises `NotRemoved`."""
    name, removed = place_text(record.uri), False
    kept: Words = PINNED if record.pinned else ""
    among = successor is not None and successor.has_had(record)
    if not delete_object:
        # What was replaced may have been removed or overwritten since.
        if record.lost is None and (successor is None or among):
            listener.note(f"kept: {name}")
        return
    if successor is not None and (successor.uri == record.uri or (counted and among)):
        kept = "the archive that replaced this one holds or counts it"
    try:
        with transfers.within(REFRESH_PATIENCE):
            if not kept:
                removed, kept = await transfers.blocking(release, transfers, record.uri, record.mark, record.owner)
            if kept:
                listener.note(Text("kept: {uri}: {why}", uri=name, why=kept))
            elif removed:
                listener.note(f"deleted {name}")
            elif await transfers.blocking(transfers.at(record.uri).stat) is not None:
                listener.warn(f"{name} was kept: this resource did not write it, or it was changed since.")
    except StoreTrouble as trouble:
        then = [*trouble.then, Next(Step.KEEP_OBJECT)]
        raise NotRemoved(f"The archive {name} was not deleted: {trouble.happened}", then=then) from trouble


def release(transfers: Transfers, uri: str, mark: str, owner: str | None) -> tuple[bool, Words]:
    """Remove an object that has this mark, and its manifest, unless that says that others or a pin keep it: whether, and why not."""
    store, manifest = transfers.at(uri), manifest_of(transfers, uri)
    seen = manifest.stat()  # before it is read: an owner who enters later changes it
    found = manifest_at(transfers, uri)
    if found is not None and found.without(owner):
        edit_manifest(transfers, uri, lambda now: now and replace(now, owners=now.without(owner)))
        return False, Text("it is an archive of {others}", others=found.others_text(owner))
    if not store.holds(mark):
        return False, ""
    if found is not None and found.pinned_by(owner):
        return False, PINNED
    # One that stayed behind would say for ever that its object is missing.
    if found is not None and not (seen and manifest.remove(seen.mark)):
        return release(transfers, uri, mark, owner)
    return store.remove(mark), ""
