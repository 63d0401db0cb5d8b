"""Archives after their transfer: listed and verified by their manifests, refreshed, removed. Without the account."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pulumi_snapshots.archive.manifest import (
    LARGEST,
    SUFFIX,
    Manifest,
    edit_manifest,
    manifest_at,
    manifest_of,
)
from pulumi_snapshots.archive.record import (
    OURS,
    TIER_LIMIT,
    ArchiveInputs,
    ArchiveRecord,
    Keep,
    StoredObject,
    kept_of,
    newest_first,
)
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.clock import REFRESH_PATIENCE
from pulumi_snapshots.errors import Explained, Next, Step, Text, Words
from pulumi_snapshots.run.memory import Listener
from pulumi_snapshots.storage.destination import Destination, name_of, place_text
from pulumi_snapshots.storage.encryption import SUFFIX as SEALED
from pulumi_snapshots.storage.store import StoreTrouble

NO_MANIFEST = "has no manifest, so nothing says what it must be"
PRUNING = 120.0  # seconds for removing older objects; the next archive removes those that are left
PINNED = Text("{pin} keeps it for good")


@dataclass(frozen=True)
class Shelved:
    """One archive, or what is left of one: its manifest, if one can be read, what is wrong with it, and the object if it is there."""

    uri: str
    manifest: Manifest | None
    problem: str = ""
    size: int | None = None
    mark: str = ""

    @property
    def sealed(self) -> bool:
        """Whether it is encrypted."""
        return self.uri.endswith(SEALED) or bool(self.manifest and self.manifest.recipients)


async def shelved(transfers: Transfers, place: Destination, *, deep: bool = False) -> list[Shelved]:
    """The archives below a folder, or one object, by name, also without a manifest; `deep` compares every byte, not only sizes."""
    sizes = await transfers.reading(transfers.store(place).listing)
    if not place.folder and place.uri in sizes:  # of one object, the listing is only that
        sizes.setdefault(place.uri + SUFFIX, 0)
    found: dict[str, Shelved] = {}

    def by_manifest(uri: str) -> None:
        try:
            if (
                about := manifest_at(transfers, uri)
            ) is not None:  # else it is somebody else's file, or has vanished
                found[uri] = Shelved(uri, about, size=sizes.get(uri))
        except StoreTrouble as trouble:
            found[uri] = Shelved(
                uri, None, f"its manifest cannot be read: {trouble.happened}", sizes.get(uri)
            )

    named = (
        uri.removesuffix(SUFFIX)
        for uri, size in sizes.items()
        if uri.endswith(SUFFIX) and size <= LARGEST
    )
    await transfers.reading_each(by_manifest, named)
    for uri in sizes.keys() - found.keys():
        if OURS.fullmatch(name_of(uri)) or (uri == place.uri and not uri.endswith(SUFFIX)):
            found[uri] = Shelved(uri, None, NO_MANIFEST, sizes[uri])
    return [
        replace(each, problem=each.problem or await _problem(transfers, each, deep=deep))
        for _, each in sorted(found.items())
    ]


async def _problem(transfers: Transfers, one: Shelved, *, deep: bool) -> str:
    """What is wrong with an object; empty if it is as its manifest says."""
    manifest = one.manifest
    if one.size is None:
        return "is missing"
    if manifest is None or one.size != manifest.size:
        return f"has {one.size} bytes, not {manifest.size}" if manifest else ""
    try:
        digest = await transfers.digest(transfers.at(one.uri)) if deep else manifest.sha256
    except StoreTrouble as trouble:
        return f"cannot be read: {trouble.happened}"
    return (
        ""
        if digest == manifest.sha256
        else f"was changed: its SHA-256 is {digest}, not {manifest.sha256}"
    )


# For a resource whose state knows nothing ---------------------------------------------------------------------------------


async def own_objects(
    transfers: Transfers, record: ArchiveRecord, listener: Listener
) -> list[StoredObject]:
    """The good archives of a record's resource and database beside it, newest first, as their manifests say."""
    folder = Destination.parse(f"{record.uri.rpartition('/')[0]}/")
    found: list[StoredObject] = []
    try:
        with transfers.within(PRUNING):
            for each in await shelved(transfers, folder):
                about = each.manifest
                if (
                    about is None
                    or each.problem
                    or each.uri == record.uri
                    or about.database_id != record.database_id
                ):
                    continue
                mine = any(owner.name == record.owner for owner in about.owners)
                if (
                    mine
                    and (seen := await transfers.reading(transfers.at(each.uri).stat)) is not None
                ):
                    found.append(
                        StoredObject(
                            each.uri, seen.mark, about.created_at, about.pinned_by(record.owner)
                        )
                    )
    except StoreTrouble as trouble:
        text = "earlier archives in {folder} are not counted: {why}."
        listener.warn(Text(text, folder=place_text(folder.uri), why=trouble.happened))
        return []
    return newest_first(found)


async def imported(
    transfers: Transfers, uri: str, owner: str | None, listener: Listener
) -> tuple[ArchiveRecord, list[str] | None]:
    """The record of an archive that is there, with this resource's others beside it, and its recipients; raises `Explained`."""
    try:
        place = Destination.parse(uri)
    except ValueError as error:
        raise Explained(f"The id of an Archive is its URI, and it {error}") from None
    one = await find(transfers, place)
    problem = await _problem(transfers, one, deep=False)
    if (about := one.manifest) is None or problem:
        raise Explained(
            f"{place_text(place.uri)} {problem or NO_MANIFEST}", then=[Step.DECLARE_ARCHIVE]
        )
    record = about.record(place.uri, one.mark, owner)
    return replace(
        record, earlier=tuple(await own_objects(transfers, record, listener))
    ), about.recipients


# Forgetting ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """The decision about one archive: whether it goes, and why not if no tier says so, or because it `failed` to go."""

    archive: Shelved
    goes: bool
    why: Words = ""
    failed: bool = False


async def forget(
    transfers: Transfers, place: Destination, keep: Keep, owner: str, *, dry_run: bool = False
) -> list[Verdict]:
    """Remove an owner's archives that a rule does not keep, by database, or only say which; a damaged one takes no place, and stays."""
    found, stored = (
        await shelved(transfers, place),
        defaultdict[str | None, list[StoredObject]](list),
    )
    for each in found:
        if (about := each.manifest) is not None and not each.problem:
            one = StoredObject(
                each.uri, "", about.created_at, about.pinned_by(), about.drill is not None
            )
            stored[about.database_id].append(one)
    kept = {one.uri for every in stored.values() for one in kept_of(newest_first(every), keep)}
    return [
        Verdict(each, goes=False, why=each.problem)
        if each.problem or each.uri in kept
        else await _forgotten(transfers, each, owner, dry_run=dry_run)
        for each in found
    ]


async def _forgotten(transfers: Transfers, one: Shelved, owner: str, *, dry_run: bool) -> Verdict:
    """Remove an archive, if it is this owner's and still as it was found."""
    owners = one.manifest.owners if one.manifest else ()
    others = ", ".join(each.name for each in owners if each.name != owner) or (
        "" if owners else "unknown"
    )
    if others or dry_run:
        return Verdict(one, goes=not others, why=f"its owner is {others}" if others else "")
    try:
        seen = await transfers.reading(transfers.at(one.uri).stat)
        if await transfers.reading(manifest_at, transfers, one.uri) != one.manifest:
            return Verdict(one, goes=False, why="it was changed since it was listed")
        removed, why = await transfers.blocking(
            release, transfers, one.uri, seen.mark if seen else "", owner
        )
    except StoreTrouble as trouble:
        return Verdict(
            one, goes=False, why=Text("was not removed: {why}", why=trouble.happened), failed=True
        )
    return Verdict(one, goes=removed, why=why)


# One resource's own ----------------------------------------------------------------------------------------------------


class NotRemoved(Explained):
    """The object that was to be deleted may still exist."""


async def check_archived(
    transfers: Transfers, record: ArchiveRecord, listener: Listener
) -> ArchiveRecord:
    """Refresh a record: `lost` if its object is certainly missing or altered, unchanged if that could not be checked."""
    name, store = place_text(record.uri), transfers.at(record.uri)
    try:
        with transfers.within(REFRESH_PATIENCE):
            record = await _without_gone(transfers, record, listener)
            seen = await transfers.reading(store.stat)
            if seen is not None and seen.mark != record.mark:
                listener.progress("the archive was changed or copied since; reading it")
            if seen is not None and (
                seen.mark == record.mark or await transfers.digest(store) == record.sha256
            ):
                return replace(record, mark=seen.mark, lost=None)
    except StoreTrouble as trouble:
        listener.warn(
            f"the archive {name} was not checked and stays as it was: {trouble.happened}."
        )
        return record
    lost = "altered" if seen else "missing"
    listener.warn(
        Text(
            "the archive {uri} is {lost}. {then}",
            uri=name,
            lost=lost,
            then=Next(Step.ARCHIVE_AGAIN),
        )
    )
    return replace(record, lost=lost)


async def _without_gone(
    transfers: Transfers, record: ArchiveRecord, listener: Listener
) -> ArchiveRecord:
    """Forget earlier objects that are certainly gone, and say so: nothing counts on them any more."""
    gone: list[StoredObject] = []

    def look(one: StoredObject) -> None:
        with suppress(StoreTrouble):
            if transfers.at(one.uri).stat() is None:
                gone.append(one)

    await transfers.reading_each(look, record.earlier)
    if gone:
        names = ", ".join(sorted(place_text(each.uri) for each in gone))
        listener.warn(
            f"{len(gone)} earlier archive{'s are' if len(gone) > 1 else ' is'} gone: {names}."
        )
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
    rule = f"the last {inputs.keep_last}" if inputs.keep_last else "keep"
    with transfers.until(PRUNING):
        for each in await _surplus(transfers, record.object, left, inputs.keep, listener):
            name = place_text(each.uri)
            try:
                removed, why = await transfers.blocking(
                    release, transfers, each.uri, each.mark, record.owner
                )
            except StoreTrouble as trouble:
                listener.warn(f"{name} is beyond {rule} but was not removed: {trouble.happened}.")
                continue
            left.remove(each)
            # Both stay under Diagnostics: nothing else deletes data.
            if why:
                listener.note(
                    Text("kept {uri}, which is beyond {rule}: {why}", uri=name, rule=rule, why=why)
                )
            if removed:
                listener.note(f"removed {name}: beyond {rule}")
    return replace(record, earlier=tuple(left)[:TIER_LIMIT])


async def _surplus(
    transfers: Transfers,
    new: StoredObject,
    left: list[StoredObject],
    rule: Keep | None,
    listener: Listener,
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
                removed, kept = await transfers.blocking(
                    release, transfers, record.uri, record.mark, record.owner
                )
            if kept:
                listener.note(Text("kept: {uri}: {why}", uri=name, why=kept))
            elif removed:
                listener.note(f"deleted {name}")
            elif await transfers.blocking(transfers.at(record.uri).stat) is not None:
                listener.warn(
                    f"{name} was kept: this resource did not write it, or it was changed since."
                )
    except StoreTrouble as trouble:
        happened = f"The archive {name} was not deleted: {trouble.happened}"
        raise NotRemoved(happened, then=(*trouble.then, Step.KEEP_OBJECT)) from trouble


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


# Reading one ------------------------------------------------------------------------------------------------------------


async def find(transfers: Transfers, place: Destination) -> Shelved:
    """An archive and its manifest; raises `StoreTrouble` if it is not there."""
    seen = await transfers.reading(transfers.store(place).stat)
    if seen is None:
        raise StoreTrouble(f"{place_text(place.uri)} does not exist")
    about = await transfers.reading(manifest_at, transfers, place.uri)
    return Shelved(place.uri, about, size=seen.size, mark=seen.mark)
