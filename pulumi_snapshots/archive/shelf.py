"""Archives after their transfer: listed and verified by their manifests, refreshed, imported.

Nothing here needs the account.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from pulumi_snapshots.archive.manifest import (
    LARGEST_MANIFEST,
    MANIFEST_SUFFIX,
    Manifest,
    manifest_at,
)
from pulumi_snapshots.archive.record import (
    OURS,
    ArchiveRecord,
    StoredObject,
)
from pulumi_snapshots.archive.retention import archives_newest_first
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.clock import REFRESH_PATIENCE
from pulumi_snapshots.errors import Hint, HintKind, Message, ProviderError
from pulumi_snapshots.errors.secrets import shown_file
from pulumi_snapshots.run.memory import Listener
from pulumi_snapshots.storage.destination import (
    Destination,
    name_of,
    place_text,
)
from pulumi_snapshots.storage.store import StoreTrouble

NO_MANIFEST = "has no manifest, so nothing says what it must be"
LISTING_OWNED = 120.0
"""Seconds for listing the archives of one resource."""


@dataclass(frozen=True)
class Shelved:
    """One archive, or what remains of one.

    Attributes:
        uri: the object's.
        manifest: None if there is none, or it cannot be read.
        problem: what is wrong with the object; None if it is as its manifest says.
        size: bytes of the object; None if it is missing.
        mark: the object's mark, if it was requested.
    """

    uri: str
    manifest: Manifest | None
    problem: str | None = None
    size: int | None = None
    mark: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether only its manifest is left."""
        return self.size is None

    @property
    def is_good(self) -> bool:
        """Whether the object is as its manifest says, and its content was proved."""
        return self.doubt is None

    @property
    def doubt(self) -> str | None:
        """What is wrong with it, or why its content is not proved; None for a good archive."""
        if self.problem:
            return self.problem
        if self.manifest is None:
            return NO_MANIFEST
        unproved = self.manifest.unproved
        return f"is not proved: {unproved}" if unproved else None


async def shelved(
    transfers: Transfers, place: Destination, *, deep: bool = False
) -> list[Shelved]:
    """List and verify archives, including objects without a manifest.

    Args:
        transfers: the means by which this process archives.
        place: a folder and the folders below it, or one object.
        deep: whether every byte is compared, not only sizes.

    Returns:
        The archives, sorted by name.

    Raises:
        StoreTrouble: the archives could not be listed.
    """
    sizes = await transfers.reading(transfers.store(place).listing)
    if (
        not place.folder and place.uri in sizes
    ):  # of one object, the listing is only that
        sizes.setdefault(place.uri + MANIFEST_SUFFIX, 0)
    archives = await _by_manifests(transfers, sizes)
    for uri in sizes.keys() - archives.keys():
        is_named = uri == place.uri and not uri.endswith(MANIFEST_SUFFIX)
        if is_named or OURS.fullmatch(name_of(uri)):
            archives[uri] = Shelved(uri, None, NO_MANIFEST, sizes[uri])
    verified = []
    for _, each in sorted(archives.items()):
        problem = each.problem or await _problem(transfers, each, deep=deep)
        verified.append(replace(each, problem=problem))
    return verified


async def _by_manifests(
    transfers: Transfers, sizes: Mapping[str, int]
) -> dict[str, Shelved]:
    """Read all manifests of a listing; returns the archives that they describe, by URI."""
    archives: dict[str, Shelved] = {}

    def read(uri: str) -> None:
        size = sizes.get(uri)
        try:
            manifest = manifest_at(transfers, uri)
        except StoreTrouble as trouble:
            problem = f"its manifest cannot be read: {trouble.happened}"
            archives[uri] = Shelved(uri, None, problem, size)
            return
        if manifest is not None:  # else it is somebody else's file, or has vanished
            archives[uri] = Shelved(uri, manifest, size=size)

    described = (
        uri.removesuffix(MANIFEST_SUFFIX)
        for uri, size in sizes.items()
        if uri.endswith(MANIFEST_SUFFIX) and size <= LARGEST_MANIFEST
    )
    await transfers.reading_each(read, described)
    return archives


async def _problem(transfers: Transfers, one: Shelved, *, deep: bool) -> str | None:
    """Say what is wrong with an object; None if it is as its manifest says."""
    manifest = one.manifest
    if one.size is None:
        return "is missing"
    if manifest is None:
        return None
    if one.size != manifest.size:
        return f"has {one.size} bytes, not {manifest.size}"
    return await _change(transfers, one.uri, manifest) if deep else None


async def _change(transfers: Transfers, uri: str, manifest: Manifest) -> str | None:
    """Read an object, and say how it differs from its manifest; None if it does not."""
    try:
        digest = await transfers.digest(transfers.at(uri))
    except StoreTrouble as trouble:
        return f"cannot be read: {trouble.happened}"
    if digest != manifest.sha256:
        return f"was changed: its SHA-256 is {digest}, not {manifest.sha256}"
    return None


async def find_archive(transfers: Transfers, place: Destination) -> Shelved:
    """Find one archive and its manifest, without verifying it.

    Args:
        transfers: the means by which this process archives.
        place: the object's place.

    Returns:
        The archive.

    Raises:
        StoreTrouble: the object is not there, or its manifest cannot be read.
    """
    seen = await transfers.reading(transfers.store(place).stat)
    if seen is None:
        raise StoreTrouble(f"{shown_file(place_text(place.uri))} does not exist")
    manifest = await transfers.reading(manifest_at, transfers, place.uri)
    return Shelved(place.uri, manifest, size=seen.size, mark=seen.mark)


# One resource's archives ------------------------------------------------------------------------


async def owned_objects(
    transfers: Transfers, record: ArchiveRecord, listener: Listener
) -> list[StoredObject]:
    """Return a resource's archives other than its present object, as their manifests show them.

    Args:
        transfers: the means by which this process archives.
        record: the archive in the state.
        listener: hears if the archives cannot be listed.

    Returns:
        The archives that are as their manifests say, newest first; none if they cannot be listed.
    """
    folder = Destination.parse(f"{record.uri.rpartition('/')[0]}/")
    objects: list[StoredObject] = []
    try:
        with transfers.within(LISTING_OWNED):
            for each in await shelved(transfers, folder):
                if each.problem is None and _owns(record, each.manifest):
                    objects += await _stored(transfers, each, record)
    except StoreTrouble as trouble:
        text = "earlier archives in {folder} are not counted: {why}."
        listener.warn(
            Message(
                text,
                folder=place_text(folder.uri),
                why=trouble.happened,
            )
        )
        return []
    return archives_newest_first(objects)


def _owns(record: ArchiveRecord, manifest: Manifest | None) -> bool:
    """Tell whether a manifest names the resource of a record as an owner."""
    return manifest is not None and any(
        each.id == record.owner for each in manifest.owners
    )


async def _stored(
    transfers: Transfers, one: Shelved, record: ArchiveRecord
) -> list[StoredObject]:
    """Make what a state holds of an archive that was listed; nothing if it is gone since."""
    manifest = one.manifest
    seen = await transfers.reading(transfers.at(one.uri).stat)
    if manifest is None or seen is None:
        return []
    return [manifest.record(one.uri, seen.mark, record.owner).object]


async def imported(
    transfers: Transfers, uri: str
) -> tuple[ArchiveRecord, list[str] | None]:
    """Make the record of an existing archive, for a resource that is not an owner yet.

    Args:
        transfers: the means by which this process archives.
        uri: the object's URI.

    Returns:
        The record, and the public keys for which the object is encrypted; None without encryption.

    Raises:
        ProviderError: there is no such archive, or the object is not as its manifest says.
    """
    try:
        place = Destination.parse(uri)
    except ValueError as error:
        raise ProviderError(
            f"The id of an Archive is its URI, and it {error}"
        ) from None
    one = await find_archive(transfers, place)
    problem = await _problem(transfers, one, deep=False)
    if one.manifest is None or problem:
        happened = f"{place_text(place.uri)} {problem or NO_MANIFEST}"
        raise ProviderError(happened, then=[HintKind.DECLARE_ARCHIVE])
    return one.manifest.record(place.uri, one.mark, None), one.manifest.recipients


async def check_archived(
    transfers: Transfers, record: ArchiveRecord, listener: Listener
) -> ArchiveRecord:
    """Refresh the record of an archive.

    Args:
        transfers: the means by which this process archives.
        record: the archive in the state.
        listener: hears of an object that is missing, altered, or could not be checked.

    Returns:
        The record. It is `lost` if its object is certainly missing or altered, and lacks earlier
        objects that are certainly gone. It is unchanged if nothing could be checked.
    """
    name = place_text(record.uri)
    store = transfers.at(record.uri)
    try:
        with transfers.within(REFRESH_PATIENCE):
            record = await _without_gone(transfers, record, listener)
            seen = await transfers.reading(store.stat)
            if seen is not None and seen.mark != record.mark:
                listener.progress("the archive was changed or copied since; reading it")
                digest = await transfers.digest(store)
                is_same = digest == record.sha256
            else:
                is_same = seen is not None
    except StoreTrouble as trouble:
        unchecked = f"the archive {name} was not checked and stays as it was"
        listener.warn(f"{unchecked}: {trouble.happened}.")
        return record
    if seen is not None and is_same:
        return replace(record, mark=seen.mark, lost=None)
    lost = "altered" if seen else "missing"
    warning = "the archive {uri} is {lost}. {then}"
    listener.warn(
        Message(
            warning,
            uri=name,
            lost=lost,
            then=Hint(HintKind.ARCHIVE_AGAIN),
        )
    )
    return replace(record, lost=lost)


async def _without_gone(
    transfers: Transfers, record: ArchiveRecord, listener: Listener
) -> ArchiveRecord:
    """Forget earlier objects that are certainly gone, and say so."""
    gone: list[StoredObject] = []

    def examine(one: StoredObject) -> None:
        with suppress(StoreTrouble):
            if transfers.at(one.uri).stat() is None:
                gone.append(one)

    await transfers.reading_each(examine, record.earlier)
    if gone:
        names = ", ".join(sorted(place_text(each.uri) for each in gone))
        what = (
            "1 earlier archive is"
            if len(gone) == 1
            else f"{len(gone)} earlier archives are"
        )
        listener.warn(f"{what} gone: {names}.")
    return replace(
        record,
        earlier=tuple(each for each in record.earlier if each not in gone),
    )
