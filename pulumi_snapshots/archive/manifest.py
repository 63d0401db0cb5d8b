"""The manifest beside an archived object: what it is and whose, for runs that ask, and for people who have nothing else left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from pulumi_snapshots.archive.record import ArchiveInputs, ArchiveRecord, Drilled
from pulumi_snapshots.archive.transfers import Store, Transfers
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.properties.catalogue import Moment, Record, declare
from pulumi_snapshots.run.memory import Listener
from pulumi_snapshots.storage.destination import name_of, place_text
from pulumi_snapshots.storage.store import Held, Overtaken, StoreTrouble

SUFFIX = ".json"
FORMAT = "pulumi-snapshots archive"
"""The format by which a manifest names its kind: another `.json` is somebody else's."""
LARGEST = 100_000  # bytes of a manifest; what is larger is none
TRIES = 20  # writes of a manifest that others write at the same time


class Owner(Record):
    """One whose archive an object is."""

    name: str = declare("The URN of its resource, or the name of its command.")
    pin: bool = declare("Whether it is kept for good.", default=False)


class Manifest(Record):
    """The content of a manifest."""

    object: str = declare("The object's name, in the manifest's own folder.")
    version_id: str = declare("The snapshot's version id.")
    database_id: str | None = declare("The database's id.", default=None)
    created_at: Moment | None = declare("When the snapshot was taken.", default=None)
    archived_at: Moment = declare("When the object was whole.", kw_only=True)
    size: int = declare("Bytes of the object.", kw_only=True)
    sha256: str = declare("The object's SHA-256.", kw_only=True)
    plain_size: int | None = declare("Bytes before encryption.", default=None, kw_only=True)
    plain_sha256: str | None = declare("The SHA-256 before encryption.", default=None, kw_only=True)
    recipients: list[str] | None = declare(
        "Public keys that it is encrypted for.", default=None, kw_only=True
    )
    owners: tuple[Owner, ...] = declare(
        "All whose archive it is: it is removed with the last one.", default=()
    )
    tool: str = declare("The tool that wrote it.", kw_only=True)
    drill: Drilled | None = declare(
        "The last drill that it has passed.", default=None, kw_only=True
    )
    claim: str | None = declare(
        "The writer that is just about to let the object appear.", default=None, kw_only=True
    )

    @classmethod
    def of(cls, record: ArchiveRecord, recipients: Sequence[str] | None) -> Manifest:
        """The manifest of an object."""
        said = {
            name: getattr(record, name) for name in cls.properties() if name in record.properties()
        }
        tool = f"pulumi-snapshots {version('pulumi-snapshots')}"
        return cls(
            **said,
            object=name_of(record.uri),
            recipients=list(recipients) if recipients else None,
            tool=tool,
        )

    @classmethod
    def parse(cls, content: bytes, uri: str) -> Manifest | None:
        """The manifest of an object; None if this is somebody else's file. Raises `StoreTrouble` for a damaged one."""
        try:
            said: Any = json.loads(content)
            if said["format"] != FORMAT or said["object"] != name_of(uri):
                return None
        except (ValueError, LookupError, TypeError):
            return None
        try:
            found = cls.from_outputs(said)
            for moment in (
                found.created_at,
                found.archived_at,
                found.drill and found.drill.drilled_at,
            ):
                parse_rfc3339(moment or "2026-01-01")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise StoreTrouble(
                f"{place_text(uri + SUFFIX)} is a damaged manifest ({error})"
            ) from error
        return found

    @property
    def snapshot(self) -> tuple[str | None, str]:
        """Its database and version."""
        return self.database_id, self.version_id

    @property
    def text(self) -> bytes:
        """The manifest as it is written."""
        return (json.dumps({"format": FORMAT, **self.to_outputs()}, indent=2) + "\n").encode()

    def without(self, owner: str | None) -> tuple[Owner, ...]:
        """The other owners."""
        return tuple(each for each in self.owners if each.name != owner)

    def others_text(self, owner: str | None) -> str:
        """The other owners, for a message."""
        return ", ".join(each.name.replace("urn:pulumi:", "") for each in self.without(owner))

    def record(self, uri: str, mark: str, owner: str | None) -> ArchiveRecord:
        """What the state of this owner's resource has of the object."""
        pinned = (owner and self.pinned_by(owner)) or None
        facts = {**self.to_outputs(), "uri": uri, "mark": mark, "owner": owner, "pinned": pinned}
        return ArchiveRecord.from_outputs(facts)

    def pinned_by(self, owner: str | None = None) -> bool:
        """Whether this owner, or any if none is named, keeps it for good."""
        return any(each.pin for each in self.owners if owner in {None, each.name})


Edit = Callable[[Manifest | None], Manifest | None]
"""Changes the manifest that is there, if there is one; None leaves it."""


def manifest_of(transfers: Transfers, uri: str) -> Store:
    """The place of an object's manifest."""
    return transfers.at(uri + SUFFIX)


def look_at(transfers: Transfers, uri: str) -> tuple[Held | None, Manifest | None, bool]:
    """What is in the place of an object's manifest, the manifest if it is one, and whether the key may read there."""
    try:
        held = manifest_of(transfers, uri).load(LARGEST)
    except StoreTrouble as trouble:
        if not trouble.forbidden:
            raise
        return None, None, False
    return held, Manifest.parse(held.content, uri) if held else None, True


def manifest_at(transfers: Transfers, uri: str) -> Manifest | None:
    """The manifest of an object; None if there is none. Raises `StoreTrouble`."""
    held = manifest_of(transfers, uri).load(LARGEST)
    return Manifest.parse(held.content, uri) if held else None


def edit_manifest(transfers: Transfers, uri: str, edit: Edit) -> Manifest | None:
    """Change the manifest of an object, again if another writer was faster. Raises `StoreTrouble`."""
    store = manifest_of(transfers, uri)
    for _ in range(TRIES):
        held, found, may_read = look_at(transfers, uri)
        if held is not None and found is None:
            raise StoreTrouble(f"{store.where} is another file, and stays as it is")
        wanted = edit(found)
        if wanted is None or wanted == found:
            return found
        with suppress(Overtaken):
            if may_read:
                store.replace(wanted.text, held.mark if held else None)
            else:
                store.write(iter([wanted.text]))
            return wanted
    raise StoreTrouble(f"{store.where}: others write it all the time")


def merged(
    found: Manifest | None, record: ArchiveRecord, inputs: ArchiveInputs, claim: str | None
) -> Manifest:
    """The manifest of an archive, with the other owners and the drill that the one found has for the same snapshot."""
    about = Manifest.of(record, inputs.recipients)
    if found is not None and found.version_id == record.version_id:
        about = replace(about, owners=found.without(record.owner), drill=found.drill)
    return replace(about, owners=(*about.owners, *_mine(record, pin=inputs.pin)), claim=claim)


def _mine(record: ArchiveRecord, *, pin: bool) -> tuple[Owner, ...]:
    return (Owner(record.owner, pin),) if record.owner else ()


async def note(
    transfers: Transfers, uri: str, edit: Edit, listener: Listener, lost: str
) -> Manifest | None:
    """Change the manifest of an object; a failure only warns, beginning with `lost`, as the archive is as good without."""
    try:
        return await transfers.blocking(edit_manifest, transfers, uri, edit)
    except StoreTrouble as trouble:
        listener.warn(f"{lost}: {trouble.happened}.")
        return None


async def note_pin(
    transfers: Transfers, record: ArchiveRecord, listener: Listener, *, pin: bool
) -> None:
    """Note in an object's manifest whether its owner keeps it for good."""

    def edit(found: Manifest | None) -> Manifest | None:
        return found and replace(
            found, owners=(*found.without(record.owner), *_mine(record, pin=pin))
        )

    lost = f"the pin was not noted in the manifest of {place_text(record.uri)}"
    await note(transfers, record.uri, edit, listener, lost)


async def note_drill(
    transfers: Transfers,
    uris: Iterable[str],
    snapshot: tuple[str | None, str],
    drilled: Drilled,
    listener: Listener,
) -> int:
    """Note in the manifests of objects that a drill has proved this database and version; returns how many say so now."""

    def edit(
        found: Manifest | None,
    ) -> Manifest | None:  # another archive may have taken the object's name meanwhile
        return found and (replace(found, drill=drilled) if found.snapshot == snapshot else None)

    lost = "the drill was not noted in the manifest of"
    noted = [
        await note(transfers, uri, edit, listener, f"{lost} {place_text(uri)}") for uri in uris
    ]
    return sum(each is not None and each.drill == drilled for each in noted)
