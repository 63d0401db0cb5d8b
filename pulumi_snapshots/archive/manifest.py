"""The manifest beside an archived object, which says what the object is and who owns it.

Runs read the manifest, and so do people who have lost everything else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from importlib.metadata import version
from typing import Any

from pulumi_snapshots.archive.record import ArchiveRecord, Drilled
from pulumi_snapshots.archive.transfers import ObjectStore, Transfers
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.properties.catalogue import (
    Moment,
    Record,
    declare,
)
from pulumi_snapshots.run.memory import Listener
from pulumi_snapshots.storage.destination import name_of, place_text
from pulumi_snapshots.storage.store import (
    Mark,
    Overtaken,
    StoredContent,
    StoreTrouble,
)

MANIFEST_SUFFIX = ".json"
MANIFEST_FORMAT = "pulumi-snapshots archive"
"""The value of `format` in a manifest; a `.json` file without this value is somebody else's."""
LARGEST_MANIFEST = 100_000
"""Bytes; a larger file is no manifest."""
MANIFEST_TRIES = 20
"""Writes of a manifest that others write at the same time."""


class Owner(Record):
    """A resource, or a command, whose archive an object is."""

    id: str = declare(
        "The resource's random id, as its state has it; the name of the command."
    )
    name: str = declare(
        "For people: the URN of the resource, or the name of the command."
    )
    pin: bool = declare("Whether the owner keeps the object for good.", default=False)
    until: Moment | None = declare(
        "The end of an import's hold: the importer's next update makes it an owner for good.",
        default=None,
    )


class Manifest(Record):
    """The content of a manifest."""

    object: str = declare("The object's name, in the manifest's own folder.")
    version_id: str = declare("The snapshot's version id.")
    database_id: str | None = declare("The database's id.", default=None)
    created_at: Moment | None = declare("When the snapshot was taken.", default=None)
    _: KW_ONLY
    archived_at: Moment = declare("When the object was whole.")
    size: int = declare("Bytes of the object.")
    sha256: str = declare("The object's SHA-256.")
    plain_size: int | None = declare("Bytes before encryption.", default=None)
    plain_sha256: str | None = declare("The SHA-256 before encryption.", default=None)
    unproved: str | None = declare(
        "Why the zip's content is not proved.",
        default=None,
    )
    recipients: list[str] | None = declare(
        "Public keys that the object is encrypted for.",
        default=None,
    )
    owners: tuple[Owner, ...] = declare(
        "All whose archive the object is: it is removed with the last one.",
        default=(),
    )
    tool: str = declare("The tool that wrote it.")
    drill: Drilled | None = declare(
        "The last drill that the object has passed.",
        default=None,
    )
    claim: str | None = declare(
        "The run that is just about to let the object appear, or to remove it.",
        default=None,
    )

    @classmethod
    def of(cls, record: ArchiveRecord, recipients: Sequence[str] | None) -> Manifest:
        """Make the manifest of an object, without owners.

        Args:
            record: what was written.
            recipients: public keys of age; None or empty if the object is not encrypted.

        Returns:
            The manifest.
        """
        facts = {
            name: getattr(record, name)
            for name in cls.properties()
            if name in record.properties()
        }
        return cls(
            **facts,
            object=name_of(record.uri),
            recipients=list(recipients) if recipients else None,
            tool=f"pulumi-snapshots {version('pulumi-snapshots')}",
        )

    @classmethod
    def parse(cls, content: bytes, uri: str, now: datetime) -> Manifest | None:
        """Read the content of a file beside an object, without holds that are over.

        Args:
            content: the file's bytes.
            uri: the object's.
            now: the time in UTC.

        Returns:
            The manifest; None if this is somebody else's file.

        Raises:
            StoreTrouble: the file is a damaged manifest.
        """
        try:
            facts: Any = json.loads(content)
            if facts["format"] != MANIFEST_FORMAT or facts["object"] != name_of(uri):
                return None
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
        try:
            manifest = cls.from_outputs(facts)
            for moment in manifest.moments():
                parse_rfc3339(moment)
            owners = [
                each
                for each in manifest.owners
                if each.until is None or parse_rfc3339(each.until) > now
            ]
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            name = place_text(uri + MANIFEST_SUFFIX)
            raise StoreTrouble(f"{name} is a damaged manifest ({error})") from error
        return replace(manifest, owners=tuple(owners))

    def moments(self) -> list[str]:
        """Return all times in the manifest, as they are written."""
        drilled = self.drill.drilled_at if self.drill else None
        return [
            each
            for each in (self.created_at, self.archived_at, drilled)
            if each is not None
        ]

    @property
    def snapshot(self) -> tuple[str | None, str]:
        """The database, None if it is not known, and the version."""
        return self.database_id, self.version_id

    @property
    def text(self) -> bytes:
        """The manifest as it is written."""
        return (
            json.dumps({"format": MANIFEST_FORMAT, **self.to_outputs()}, indent=2)
            + "\n"
        ).encode()

    def without(self, owner_id: str | None) -> tuple[Owner, ...]:
        """Return all owners but one.

        Args:
            owner_id: the owner to leave out; None leaves out none.
        """
        return tuple(each for each in self.owners if each.id != owner_id)

    def with_owner(self, owner: Owner) -> Manifest:
        """Add an owner, in place of its entry or its hold as an importer.

        Args:
            owner: the owner.

        Returns:
            The new manifest.
        """
        others = [
            each
            for each in self.without(owner.id)
            if each.until is None or each.name != owner.name
        ]
        return replace(self, owners=(*others, owner))

    def others_text(self, owner_id: str | None) -> str:
        """Name the other owners, for a message.

        An owner with an equal name may be a stack of the same name on another backend, or this
        resource before its state was lost: the text says so.

        Args:
            owner_id: the owner to leave out; None names all.

        Returns:
            The names, as the end of a sentence.
        """
        own_names = {each.name for each in self.owners if each.id == owner_id}
        texts = []
        for each in self.without(owner_id):
            text = each.name.replace("urn:pulumi:", "")
            if each.name in own_names:
                text = f"{text} (of another backend, or before its state was lost)"
            texts.append(text)
        return ", ".join(texts)

    def record(self, uri: str, mark: str, owner_id: str | None) -> ArchiveRecord:
        """Make the record that a state keeps of the object.

        Args:
            uri: the object's URI.
            mark: the object's mark, as the store has it now.
            owner_id: the resource's id as an owner; None if it is not an owner yet.

        Returns:
            The record.
        """
        is_pinned = owner_id is not None and self.pinned_by(owner_id)
        facts = {
            **self.to_outputs(),
            "uri": uri,
            "mark": mark,
            "owner": owner_id,
            "pinned": is_pinned or None,
        }
        return ArchiveRecord.from_outputs(facts)

    def pinned_by(self, owner_id: str | None = None) -> bool:
        """Tell whether an owner keeps the object for good.

        Args:
            owner_id: the owner; None asks about any owner.
        """
        return any(each.pin for each in self.owners if owner_id in {None, each.id})


@dataclass(frozen=True)
class ManifestFile:
    """What is stored in the place of an object's manifest.

    Attributes:
        content: the file that is there; None if there is none, or it cannot be read.
        manifest: the manifest in the file; None if the file is no manifest.
        is_readable: whether the key may read the file.
    """

    content: StoredContent | None
    manifest: Manifest | None
    is_readable: bool = True

    @property
    def mark(self) -> Mark | None:
        """The mark of the file; None if there is none, or it cannot be read."""
        return self.content.mark if self.content else None

    @property
    def is_foreign(self) -> bool:
        """Whether somebody else's file is in the manifest's place."""
        return self.content is not None and self.manifest is None


Edit = Callable[[Manifest | None], Manifest | None]
"""Changes the manifest that is there, if there is one; None leaves it."""


def manifest_store(transfers: Transfers, uri: str) -> ObjectStore:
    """Return the store of an object's manifest.

    Args:
        transfers: the means by which this process archives.
        uri: the object's URI.
    """
    return transfers.at(uri + MANIFEST_SUFFIX)


def read_manifest_file(transfers: Transfers, uri: str) -> ManifestFile:
    """Read what is in the place of an object's manifest; blocks.

    Args:
        transfers: the means by which this process archives.
        uri: the object's URI.

    Returns:
        The manifest, or the other file in its place.

    Raises:
        StoreTrouble: the store failed. A key without the right to read is no failure.
    """
    try:
        stored = manifest_store(transfers, uri).load(LARGEST_MANIFEST)
    except StoreTrouble as trouble:
        if not trouble.forbidden:
            raise
        return ManifestFile(None, None, is_readable=False)
    return ManifestFile(stored, _manifest_in(stored, transfers, uri))


def manifest_at(transfers: Transfers, uri: str) -> Manifest | None:
    """Read the manifest of an object; blocks.

    Args:
        transfers: the means by which this process archives.
        uri: the object's URI.

    Returns:
        The manifest; None if there is none.

    Raises:
        StoreTrouble: the store failed, refused to read, or the manifest is damaged.
    """
    stored = manifest_store(transfers, uri).load(LARGEST_MANIFEST)
    return _manifest_in(stored, transfers, uri)


def _manifest_in(
    stored: StoredContent | None, transfers: Transfers, uri: str
) -> Manifest | None:
    """Read the manifest in a file as it is now; None if there is no file, or no manifest."""
    if stored is None:
        return None
    return Manifest.parse(stored.content, uri, transfers.clock.utc())


def edit_manifest(transfers: Transfers, uri: str, edit: Edit) -> Manifest | None:
    """Change the manifest of an object, again if another writer was faster; blocks.

    Args:
        transfers: the means by which this process archives.
        uri: the object's URI.
        edit: takes the present manifest, None if there is none, and returns the new one.

    Returns:
        The manifest after the edit; None if there is none.

    Raises:
        StoreTrouble: the manifest was not changed.
    """
    store = manifest_store(transfers, uri)
    for _ in range(MANIFEST_TRIES):
        manifest_file = read_manifest_file(transfers, uri)
        if manifest_file.is_foreign:
            raise StoreTrouble(f"{store.where} is another file, and stays as it is")
        wanted = edit(manifest_file.manifest)
        if wanted is None or wanted == manifest_file.manifest:
            return manifest_file.manifest
        with suppress(Overtaken):
            if manifest_file.is_readable:
                store.replace(wanted.text, manifest_file.mark)
            else:
                store.write(iter([wanted.text]))
            return wanted
    raise StoreTrouble(f"{store.where}: other programs write it all the time")


def merged(
    present: Manifest | None,
    record: ArchiveRecord,
    recipients: Sequence[str] | None,
    owner: Owner | None,
    claim: str | None,
) -> Manifest:
    """Make the manifest of an archive in place of the manifest that was found.

    Args:
        present: the earlier manifest. Its other owners and its drill stay if it is of the same
            snapshot.
        record: the archive that was written.
        recipients: public keys of age; None or empty if the object is not encrypted.
        owner: an additional owner; None adds no owner.
        claim: the run that is about to let the object appear; None once the object exists.

    Returns:
        The new manifest.
    """
    made = replace(Manifest.of(record, recipients), claim=claim)
    if present is not None and present.version_id == record.version_id:
        made = replace(
            made,
            owners=present.without(record.owner),
            drill=present.drill,
        )
    return made.with_owner(owner) if owner else made


async def note_in_manifest(
    transfers: Transfers,
    uri: str,
    edit: Edit,
    listener: Listener,
    warning: str,
) -> Manifest | None:
    """Change the manifest of an object. A failure only warns, because the archive itself is good.

    Args:
        transfers: the means by which this process archives.
        uri: the object's URI.
        edit: the change.
        listener: shows the warning.
        warning: what is missing after a failure, as the beginning of a sentence.

    Returns:
        The manifest after the change; None if there is none, or if it was not changed.
    """
    try:
        return await transfers.blocking(edit_manifest, transfers, uri, edit)
    except StoreTrouble as trouble:
        listener.warn(f"{warning}: {trouble.happened}.")
        return None


async def enter_owner(
    transfers: Transfers,
    record: ArchiveRecord,
    owner: Owner,
    listener: Listener,
) -> Manifest | None:
    """Enter an owner into an object's manifest, or change whether that owner keeps it for good.

    Args:
        transfers: the means by which this process archives.
        record: the object in the owner's state. Another object under the same name is left alone.
        owner: the owner.
        listener: shows a failure.

    Returns:
        The manifest after the change; None if there is none, or if it was not changed.
    """

    def enter(manifest: Manifest | None) -> Manifest | None:
        if manifest is None or manifest.version_id != record.version_id:
            return None
        return manifest.with_owner(owner)

    name = place_text(record.uri)
    warning = f"the manifest of {name} does not name this resource as it should"
    return await note_in_manifest(transfers, record.uri, enter, listener, warning)


async def note_drill(
    transfers: Transfers,
    uris: Iterable[str],
    snapshot: tuple[str | None, str],
    drilled: Drilled,
    listener: Listener,
) -> int:
    """Note in the manifests of objects that a drill has proved their snapshot.

    Args:
        transfers: the means by which this process archives.
        uris: the objects.
        snapshot: database and version. An object that another archive has replaced is left alone.
        drilled: the drill's result.
        listener: shows each failure.

    Returns:
        How many manifests name the drill now.
    """

    def edit(manifest: Manifest | None) -> Manifest | None:
        if manifest is None or manifest.snapshot != snapshot:
            return None
        return replace(manifest, drill=drilled)

    count = 0
    for uri in uris:
        warning = f"the drill was not noted in the manifest of {place_text(uri)}"
        manifest = await note_in_manifest(transfers, uri, edit, listener, warning)
        count += manifest is not None and manifest.drill == drilled
    return count
