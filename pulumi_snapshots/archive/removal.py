"""Removes archived objects, by rules and with their resources, but never another owner's object."""

import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pulumi_snapshots.archive.listed import (
    ListedArchive,
    list_archives,
    owned_objects,
)
from pulumi_snapshots.archive.manifest import (
    Manifest,
    edit_manifest,
    manifest_at,
    manifest_store,
    note_in_manifest,
)
from pulumi_snapshots.archive.record import (
    TIER_LIMIT,
    ArchiveInputs,
    ArchiveRecord,
    ArchiveSuccessor,
    Keep,
    StoredObject,
)
from pulumi_snapshots.archive.retention import archives_newest_first, kept_of
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.clock import REFRESH_PATIENCE
from pulumi_snapshots.errors import AnyMessage, HintKind, Message, ProviderError
from pulumi_snapshots.run.memory import Listener
from pulumi_snapshots.storage.destination import (
    Destination,
    place_text,
)
from pulumi_snapshots.storage.store import StoreTrouble

PRUNING = 120.0
"""Seconds for removing older objects; the next archive removes those that are left."""
PINNED = Message("{pin} keeps it for good")
REPLACED = "the archive that replaced this one holds or counts it"


# One object -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Release:
    """The result of an owner's release of an object.

    Attributes:
        removed: whether the object was removed.
        kept_for: why the object was kept for other owners or by a pin; None for any other reason.
    """

    removed: bool
    kept_for: AnyMessage | None = None


def release(transfers: Transfers, uri: str, mark: str, owner_id: str | None) -> Release:
    """Remove an object and its manifest, unless another owner or a pin keeps them; blocks.

    The manifest is claimed before the object is removed, so that no other owner enters in between,
    and is removed last. After a failure halfway, the next removal finds both and finishes.

    Args:
        transfers: the means by which this process archives.
        uri: the object's URI.
        mark: the object's mark from when its owner wrote it. An object that was changed since then
            stays.
        owner_id: the owner that releases the object; None for a resource that is not an owner yet.

    Returns:
        Whether the object was removed, and if not, why.

    Raises:
        StoreTrouble: the object or its manifest may still be there.
    """
    manifest = manifest_at(transfers, uri)
    kept_for = _kept_for(manifest, owner_id)
    if kept_for is not None:
        edit_manifest(transfers, uri, lambda now: _left_by(now, owner_id))
        return Release(removed=False, kept_for=kept_for)
    store = transfers.at(uri)
    seen = store.stat()
    if seen is not None and seen.mark != mark:
        return Release(removed=False)
    if manifest is None:
        return Release(store.remove(mark))
    claim = secrets.token_hex(8)
    claimed = edit_manifest(
        transfers, uri, lambda now: _claimed_by(now, owner_id, claim)
    )
    # Another owner may have entered meanwhile.
    if claimed is None or claimed.claim != claim:
        return release(transfers, uri, mark, owner_id)
    removed = store.remove(mark)
    _remove_claimed(transfers, uri, claim)
    return Release(removed)


def _kept_for(manifest: Manifest | None, owner_id: str | None) -> AnyMessage | None:
    """Say for whom an object stays: other owners, or this one's pin; None if it may go."""
    if manifest is None:
        return None
    other_owners = manifest.others_text(owner_id)
    if other_owners:
        return Message("it is an archive of {others}", others=other_owners)
    is_pinned = owner_id is not None and manifest.pinned_by(owner_id)
    return PINNED if is_pinned else None


def _left_by(manifest: Manifest | None, owner_id: str | None) -> Manifest | None:
    """Take an owner out of a manifest, if there are others."""
    if manifest is None or not manifest.without(owner_id):
        return None
    return replace(manifest, owners=manifest.without(owner_id))


def _claimed_by(
    manifest: Manifest | None, owner_id: str | None, claim: str
) -> Manifest | None:
    """Claim a manifest for a removal, unless another owner has it."""
    if manifest is None or manifest.without(owner_id):
        return None
    return replace(manifest, claim=claim)


def _remove_claimed(transfers: Transfers, uri: str, claim: str) -> None:
    """Remove a manifest if it still has this claim."""
    store = manifest_store(transfers, uri)
    seen = store.stat()  # before it is read: a later write changes the mark
    manifest = manifest_at(transfers, uri)
    if seen is None or manifest is None or manifest.claim != claim:
        return
    try:
        store.remove(seen.mark)
    except StoreTrouble as trouble:
        raise StoreTrouble(
            f"only its manifest is left: {trouble.happened}"
        ) from trouble


# The rule of a resource -------------------------------------------------------------------------


async def objects_before(
    transfers: Transfers,
    previous: ArchiveRecord | None,
    inputs: ArchiveInputs,
    listener: Listener,
) -> list[StoredObject]:
    """Return the objects that a resource had before a new one, newest first.

    Args:
        transfers: the means by which this process archives.
        previous: the archive in the state; None for the first archive.
        inputs: with the rule, if there is one.
        listener: shows a warning if manifests cannot be read.

    Returns:
        The objects in the state. If the state's list is full and there is a rule, also those of the
        resource that manifests beside the last object show.
    """
    if previous is None:
        return []
    in_state = previous.all_objects
    if inputs.keep is None or len(previous.earlier) < TIER_LIMIT:
        return in_state
    uris = {each.uri for each in in_state}
    owned = await owned_objects(transfers, previous, listener)
    return in_state + [each for each in owned if each.uri not in uris]


async def prune(
    transfers: Transfers,
    record: ArchiveRecord,
    before: Sequence[StoredObject],
    inputs: ArchiveInputs,
    listener: Listener,
) -> ArchiveRecord:
    """Remove the objects of a resource that its rule does not keep, if they are unchanged.

    Args:
        transfers: the means by which this process archives.
        record: the archive that was just written.
        before: the resource's objects from before, newest first.
        inputs: the inputs, with the rule; nothing is removed without a rule.
        listener: shows each object that is removed, or that stays although the rule does not keep
            it.

    Returns:
        The record, with the remaining objects as its earlier ones.
    """
    remaining = [each for each in before if each.uri != record.uri]
    rule = f"the last {inputs.keep_last}" if inputs.keep_last else "keep"
    with transfers.until(PRUNING):
        for each in await _surplus(
            transfers, record.object, remaining, inputs.keep, listener
        ):
            name = place_text(each.uri)
            try:
                ended = await transfers.blocking(
                    release,
                    transfers,
                    each.uri,
                    each.mark,
                    record.owner,
                )
            except StoreTrouble as trouble:
                listener.warn(
                    f"{name} is beyond {rule} but was not removed: {trouble.happened}."
                )
                continue
            remaining.remove(each)
            # Both lines stay under Diagnostics: nothing else deletes data.
            if ended.kept_for:
                text = "kept {uri}, which is beyond {rule}: {why}"
                listener.note(Message(text, uri=name, rule=rule, why=ended.kept_for))
            if ended.removed:
                listener.note(f"removed {name}: beyond {rule}")
    return replace(record, earlier=tuple(remaining)[:TIER_LIMIT])


async def _surplus(
    transfers: Transfers,
    new: StoredObject,
    left: list[StoredObject],
    rule: Keep | None,
    listener: Listener,
) -> list[StoredObject]:
    """List the objects that a rule does not keep.

    Those that passed a drill are marked in `left`.
    """
    if len(kept_of([new, *left], rule)) > len(left):
        return []
    good = [new]
    doubts: list[StoreTrouble] = []

    def examine(number: int) -> None:
        stored = left[number]
        try:
            manifest = manifest_at(transfers, stored.uri)
            is_drilled = manifest is not None and manifest.drill is not None
            left[number] = replace(stored, drilled=is_drilled)
            # An object that is gone or was changed takes no place in a tier.
            if transfers.at(stored.uri).holds(stored.mark):
                good.append(left[number])
        except StoreTrouble as trouble:
            doubts.append(trouble)

    await transfers.reading_each(examine, range(len(left)))
    if doubts:
        listener.warn(f"no earlier archive was removed: {doubts[0].happened}.")
        return []
    kept = kept_of(good, rule)
    return [each for each in left if each not in kept]


# The end of a resource --------------------------------------------------------------------------


class NotRemoved(ProviderError):
    """The object that was to be deleted may still exist."""


async def end_archive(
    transfers: Transfers,
    record: ArchiveRecord,
    listener: Listener,
    successor: ArchiveSuccessor | None = None,
    *,
    delete_object: bool,
) -> None:
    """Keep or remove the object of a resource that is deleted or replaced.

    Args:
        transfers: the means by which this process archives.
        record: the archive in its state.
        listener: shows whether the object stays.
        successor: the archive that has replaced it; None if the resource is deleted.
        delete_object: whether the object is to be removed.

    Raises:
        NotRemoved: the object may still be there.
    """
    if successor is not None and successor.record.uri == record.uri:
        await _hand_over(transfers, record, successor.record, listener)
    _say_uncounted(record, listener, successor)
    if not delete_object:
        _say_kept(record, listener, successor)
        return
    name = place_text(record.uri)
    kept_for = _why_kept(record, successor)
    try:
        with transfers.within(REFRESH_PATIENCE):
            removed = False
            if kept_for is None:
                ended = await transfers.blocking(
                    release,
                    transfers,
                    record.uri,
                    record.mark,
                    record.owner,
                )
                removed = ended.removed
                kept_for = ended.kept_for
            if kept_for is not None:
                listener.note(Message("kept: {uri}: {why}", uri=name, why=kept_for))
            elif removed:
                listener.note(f"deleted {name}")
            elif await transfers.blocking(transfers.at(record.uri).stat) is not None:
                changed = "this resource did not write it, or it was changed since"
                listener.warn(f"{name} was kept: {changed}.")
    except StoreTrouble as trouble:
        happened = f"The archive {name} was not deleted: {trouble.happened}"
        raise NotRemoved(
            happened, then=(*trouble.then, HintKind.KEEP_OBJECT)
        ) from trouble


def _why_kept(
    record: ArchiveRecord, successor: ArchiveSuccessor | None
) -> AnyMessage | None:
    """Say why an object stays although it is to be removed; None if nothing keeps it."""
    if successor is not None:
        is_same_object = successor.record.uri == record.uri
        is_counted = successor.counts and successor.record.has_had(record)
        if is_same_object or is_counted:
            return REPLACED
    return PINNED if record.pinned else None


def _say_kept(
    record: ArchiveRecord,
    listener: Listener,
    successor: ArchiveSuccessor | None,
) -> None:
    """Say that an object stays, unless it may have been removed or overwritten since."""
    is_known = successor is None or successor.record.has_had(record)
    if record.lost is None and is_known:
        listener.note(f"kept: {place_text(record.uri)}")


def _say_uncounted(
    record: ArchiveRecord,
    listener: Listener,
    successor: ArchiveSuccessor | None,
) -> None:
    """Say that earlier objects stay which no state holds any more."""
    is_held = successor is not None and successor.record.owner == record.owner
    count = len(record.earlier)
    if count and not is_held:
        archives = "1 earlier archive" if count == 1 else f"{count} earlier archives"
        listener.note(
            f"kept: {archives} of this resource, which no rule counts any more"
        )


async def _hand_over(
    transfers: Transfers,
    record: ArchiveRecord,
    successor: ArchiveRecord,
    listener: Listener,
) -> None:
    """Leave an object to the resource that has replaced this one, if that is another owner.

    After a forced replacement it is another owner, since no create knows what it replaces.
    """
    if successor.owner == record.owner:
        return
    warning = f"the manifest of {place_text(record.uri)} still names the former owner"
    await note_in_manifest(
        transfers,
        record.uri,
        lambda now: _left_by(now, record.owner),
        listener,
        warning,
    )


# What the command line has archived -------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """The decision of `forget_archives` about one archive.

    Attributes:
        archive: the archive.
        goes: whether the archive was removed, or would be removed.
        why: why the archive stays although no tier keeps it; None if there is no such reason.
        failed: whether the removal failed, so that the archive may still exist.
    """

    archive: ListedArchive
    goes: bool
    why: AnyMessage | None = None
    failed: bool = False


async def forget_archives(
    transfers: Transfers,
    place: Destination,
    keep: Keep,
    owner_id: str,
    *,
    dry_run: bool = False,
) -> list[Verdict]:
    """Remove the archives of an owner that a rule does not keep, counted for each database.

    An archive that differs from its manifest fills no slot of a tier, and stays. An archive of an
    unknown database stays too, since nothing shows which other archives it is counted with.

    Args:
        transfers: the means by which this process archives.
        place: a folder, or one archive.
        keep: the tiers.
        owner_id: the owner whose archives can be removed.
        dry_run: whether only to decide.

    Returns:
        A verdict on each archive at the place, by name.

    Raises:
        StoreTrouble: the archives could not be listed.
    """
    archives = await list_archives(transfers, place)
    kept = _kept_of_databases(archives, keep)
    return [
        await _forgotten(transfers, each, kept, owner_id, dry_run=dry_run)
        for each in archives
    ]


def _kept_of_databases(archives: Iterable[ListedArchive], keep: Keep) -> set[str]:
    """Apply a rule to the archives of each database; returns the URIs of those that it keeps."""
    by_database = defaultdict[str, list[StoredObject]](list)
    for each in archives:
        manifest = each.manifest
        if manifest is None or manifest.database_id is None or each.problem:
            continue
        stored = StoredObject(
            each.uri,
            "",
            manifest.created_at,
            pinned=manifest.pinned_by(),
            drilled=manifest.drill is not None,
            unproved=manifest.unproved is not None,
        )
        by_database[manifest.database_id].append(stored)
    return {
        each.uri
        for objects in by_database.values()
        for each in kept_of(archives_newest_first(objects), keep)
    }


async def _forgotten(
    transfers: Transfers,
    archive: ListedArchive,
    kept: set[str],
    owner_id: str,
    *,
    dry_run: bool,
) -> Verdict:
    """Remove an archive that no tier keeps, if it is this owner's and still as it was found."""
    manifest = archive.manifest
    if manifest is None or archive.uri in kept:
        return Verdict(archive, goes=False, why=archive.problem)
    reason = _why_not_forgotten(archive, manifest, owner_id)
    if reason is not None or dry_run:
        return Verdict(archive, goes=reason is None, why=reason)
    return await _released(transfers, archive, owner_id)


def _why_not_forgotten(
    archive: ListedArchive, manifest: Manifest, owner_id: str
) -> str | None:
    """Say why an archive stays that no tier keeps; None if it may go."""
    if archive.problem and not archive.is_missing:
        return archive.problem
    if manifest.database_id is None and not archive.is_missing:
        return "its database is not known"
    other_owners = manifest.others_text(owner_id) if manifest.owners else "unknown"
    if other_owners:
        return archive.problem or f"its owner is {other_owners}"
    return None


async def _released(
    transfers: Transfers, archive: ListedArchive, owner_id: str
) -> Verdict:
    """Remove an archive that was listed, unless it was changed since."""
    try:
        seen = await transfers.reading(transfers.at(archive.uri).stat)
        manifest = await transfers.reading(manifest_at, transfers, archive.uri)
        if manifest != archive.manifest:
            reason = "it was changed since it was listed"
            return Verdict(archive, goes=False, why=reason)
        mark = seen.mark if seen else ""
        ended = await transfers.blocking(
            release, transfers, archive.uri, mark, owner_id
        )
    except StoreTrouble as trouble:
        failure = Message("was not removed: {why}", why=trouble.happened)
        return Verdict(archive, goes=False, why=failure, failed=True)
    goes = ended.removed or archive.is_missing
    return Verdict(archive, goes=goes, why=ended.kept_for)
