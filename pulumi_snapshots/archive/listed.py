"""Archives in a store: listed and verified by their manifests, refreshed, imported.

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
    OBJECT_NAME,
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
class ListedArchive:
    """One archive, or the object or the manifest that is left of one.

    Attributes:
        uri: the object's URI.
        manifest: the manifest; None if there is none, or it cannot be read.
        problem: what is wrong with the object; None if it is as its manifest says.
        size: bytes of the object; None if it is missing.
    """

    uri: str
    manifest: Manifest | None
    problem: str | None = None
    size: int | None = None

    @property
    def is_missing(self) -> bool:
        """Whether only the manifest is left."""
        return self.size is None

    @property
    def is_good(self) -> bool:
        """Whether the object is as its manifest says, and its content was proved."""
        return self.doubt is None

    @property
    def doubt(self) -> str | None:
        """What is wrong with the archive, or why its content is not proved; None if it is good."""
        if self.problem:
            return self.problem
        if self.manifest is None:
            return NO_MANIFEST
        unproved = self.manifest.unproved
        return f"is not proved: {unproved}" if unproved else None


async def list_archives(
    transfers: Transfers, place: Destination, *, deep: bool = False
) -> list[ListedArchive]:
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
    ):  # the listing of an object lacks its manifest
        sizes.setdefault(place.uri + MANIFEST_SUFFIX, 0)
    archives = await _by_manifests(transfers, sizes)
    for uri in sizes.keys() - archives.keys():
        is_named = uri == place.uri and not uri.endswith(MANIFEST_SUFFIX)
        if is_named or OBJECT_NAME.fullmatch(name_of(uri)):
            archives[uri] = ListedArchive(uri, None, NO_MANIFEST, sizes[uri])
    verified = []
    for _, each in sorted(archives.items()):
        problem = each.problem or await _problem(transfers, each, deep=deep)
        verified.append(replace(each, problem=problem))
    return verified


async def _by_manifests(
    transfers: Transfers, sizes: Mapping[str, int]
) -> dict[str, ListedArchive]:
    """Read all manifests of a listing; returns the archives that they describe, by URI."""
    archives: dict[str, ListedArchive] = {}

    def read(uri: str) -> None:
        size = sizes.get(uri)
        try:
            manifest = manifest_at(transfers, uri)
        except StoreTrouble as trouble:
            problem = f"its manifest cannot be read: {trouble.happened}"
            archives[uri] = ListedArchive(uri, None, problem, size)
            return
        if manifest is not None:  # None: the file is somebody else's, or has vanished
            archives[uri] = ListedArchive(uri, manifest, size=size)

    described = (
        uri.removesuffix(MANIFEST_SUFFIX)
        for uri, size in sizes.items()
        if uri.endswith(MANIFEST_SUFFIX) and size <= LARGEST_MANIFEST
    )
    await transfers.reading_each(read, described)
    return archives


async def _problem(
    transfers: Transfers, archive: ListedArchive, *, deep: bool
) -> str | None:
    """Say what is wrong with an object; None if it is as its manifest says."""
    manifest = archive.manifest
    if archive.size is None:
        return "is missing"
    if manifest is None:
        return None
    if archive.size != manifest.size:
        return f"has {archive.size} bytes, not {manifest.size}"
    return await _change(transfers, archive.uri, manifest) if deep else None


async def _change(transfers: Transfers, uri: str, manifest: Manifest) -> str | None:
    """Read an object, and say how it differs from its manifest; None if it does not."""
    try:
        digest = await transfers.digest(transfers.at(uri))
    except StoreTrouble as trouble:
        return f"cannot be read: {trouble.happened}"
    if digest != manifest.sha256:
        return f"was changed: its SHA-256 is {digest}, not {manifest.sha256}"
    return None


# One resource's archives ------------------------------------------------------------------------


async def owned_objects(
    transfers: Transfers, record: ArchiveRecord, listener: Listener
) -> list[StoredObject]:
    """Return a resource's archives other than its present object, as their manifests show them.

    Args:
        transfers: the means by which this process archives.
        record: the archive in the state.
        listener: shows a warning if the archives cannot be listed.

    Returns:
        The archives that are as their manifests say, newest first; none if they cannot be listed.
    """
    folder = Destination.parse(f"{record.uri.rpartition('/')[0]}/")
    objects: list[StoredObject] = []
    try:
        with transfers.within(LISTING_OWNED):
            for each in await list_archives(transfers, folder):
                objects += await _owned_object(transfers, each, record)
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


async def _owned_object(
    transfers: Transfers, archive: ListedArchive, record: ArchiveRecord
) -> list[StoredObject]:
    """The object of a good archive as a state keeps it; none if another resource owns it."""
    manifest = archive.manifest
    if manifest is None or archive.problem is not None:
        return []
    if all(each.id != record.owner for each in manifest.owners):
        return []
    stat = await transfers.reading(transfers.at(archive.uri).stat)
    if stat is None:  # removed since it was listed
        return []
    return [manifest.record(archive.uri, stat.mark, record.owner).object]


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
    stat = await transfers.reading(transfers.store(place).stat)
    if stat is None:
        raise StoreTrouble(f"{shown_file(place_text(place.uri))} does not exist")
    manifest = await transfers.reading(manifest_at, transfers, place.uri)
    archive = ListedArchive(place.uri, manifest, size=stat.size)
    problem = await _problem(transfers, archive, deep=False)
    if manifest is None or problem:
        happened = f"{place_text(place.uri)} {problem or NO_MANIFEST}"
        raise ProviderError(happened, then=[HintKind.DECLARE_ARCHIVE])
    return manifest.record(place.uri, stat.mark, None), manifest.recipients


async def check_archived(
    transfers: Transfers, record: ArchiveRecord, listener: Listener
) -> ArchiveRecord:
    """Refresh the record of an archive.

    Args:
        transfers: the means by which this process archives.
        record: the archive in the state.
        listener: shows if an object is missing, altered, or could not be checked.

    Returns:
        The record, without earlier objects that are certainly gone. It is `lost` if its object is
        certainly missing or altered, and unchanged if nothing could be checked.
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

    def examine(earlier: StoredObject) -> None:
        with suppress(StoreTrouble):
            if transfers.at(earlier.uri).stat() is None:
                gone.append(earlier)

    await transfers.reading_each(examine, record.earlier)
    if gone:
        names = ", ".join(sorted(place_text(each.uri) for each in gone))
        which = f"{len(gone)} earlier archives are"
        if len(gone) == 1:
            which = "1 earlier archive is"
        listener.warn(f"{which} gone: {names}.")
    return replace(
        record,
        earlier=tuple(each for each in record.earlier if each not in gone),
    )
