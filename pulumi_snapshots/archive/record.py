"""What the state, and a run, keep of an archive. It loads no HTTP stack."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from pulumi_snapshots.archive.inputs import ArchiveInputs, Keep
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.properties.catalogue import Bytes, Moment, Record, ResourceSchema, declare
from pulumi_snapshots.storage.encryption import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from pulumi_snapshots.ledger.ledger import Drilled
    from pulumi_snapshots.storage.destination import Destination


OURS = re.compile(r"\d{8}T\d{6}Z-[^/]+\.zip(\.age)?")
"""The names of objects in a folder for each database."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)


def object_in(
    folder: Destination, database_id: str, version_id: str, created: datetime, *, sealed: bool
) -> Destination:
    """The object of a snapshot in a folder: `DATABASE_ID/CREATED_AT-VERSION_ID.zip`, or `.zip.age` if it is encrypted."""
    name = f"{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{quote(version_id, safe='')}.zip{SUFFIX * sealed}"
    return folder.holding(f"{database_id}/{name}")


class StoredObject(Record, sparse=True):
    """One object that this resource has written."""

    uri: str = declare("Its URI.")
    mark: str = declare("Opaque; another object of the same name has another one.")
    created_at: Moment | None = declare(
        "When its snapshot was taken; absent if an earlier version wrote it.", default=None
    )
    pinned: bool = declare("Whether it is kept for good.", default=False)
    drilled: bool = declare("Whether it was kept because a drill has proved it, and nothing newer.", default=False)

    @property
    def taken(self) -> datetime:
        """When its snapshot was taken; long ago if that is not known."""
        return parse_rfc3339(self.created_at) if self.created_at else LONG_AGO


class ArchiveRecord(Record):
    """A snapshot's zip in storage of your own, beyond the 30 days that the service keeps it.

    `pulumi up` streams it there, resumes a transfer that breaks off, and lets the object appear under its name only once
    it is whole and verified. Another version is another object; a new signature of the same version changes nothing.
    """

    uri: str = declare("The object's URI.")
    size: Bytes = declare("Bytes.")
    sha256: str = declare("The object's SHA-256, hexadecimal.")
    plain_size: Bytes | None = declare(
        "Bytes before encryption; absent if it is not encrypted.", default=None, kw_only=True
    )
    plain_sha256: str | None = declare(
        "The SHA-256 before encryption, hexadecimal; absent if it is not encrypted.", default=None, kw_only=True
    )
    created_at: Moment | None = declare("When the snapshot was taken, if known.", default=None, kw_only=True)
    archived_at: Moment = declare("When it was complete, by the machine's clock.")
    database_id: str | None = declare("The database whose snapshot it holds; absent if a URL alone does not show it.")
    version_id: str = declare("The snapshot's version id.")
    mark: str = declare("As in `StoredObject`.", internal=True)
    pinned: bool | None = declare("As in `StoredObject`.", default=None, internal=True, kw_only=True)
    owner: str | None = declare(
        "The name that manifests have for this resource: its first URN, also after a rename.",
        default=None,
        internal=True,
        kw_only=True,
    )
    lost: str | None = declare(
        "Why it must be archived again, as a refresh has found it (`missing`, `altered`); absent while it is there.",
        default=None,
        internal=True,
    )
    earlier: tuple[StoredObject, ...] = declare(
        "This resource's objects before this one, newest first, for `keep_last`.", default=(), internal=True
    )

    @property
    def id(self) -> str:
        """The resource's id."""
        return self.uri

    @property
    def object(self) -> StoredObject:
        """The object itself."""
        return StoredObject(self.uri, self.mark, self.created_at, bool(self.pinned))

    def has_had(self, other: ArchiveRecord) -> bool:
        """Whether the other one's object is among the earlier ones."""
        return (other.uri, other.mark) in {(each.uri, each.mark) for each in self.earlier}


def history(record: ArchiveRecord) -> list[StoredObject]:
    """The objects that a resource has, newest first, but for one that a refresh found lost."""
    return [*([] if record.lost else [record.object]), *record.earlier]


def newest_first(objects: Iterable[StoredObject]) -> list[StoredObject]:
    """Objects by their snapshots' times."""
    return sorted(objects, key=lambda one: one.taken, reverse=True)


_PERIODS: dict[str, Callable[[datetime], object]] = {
    "daily": lambda time: time.date(),
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: time.year,
}


def kept_by(keep: Keep, times: Sequence[datetime]) -> set[int]:
    """The numbers of the objects, taken at these times in any order, that at least one tier keeps, as restic does.

    From the newest on, a tier keeps the first of each period until it has kept its number, or else the oldest object too.
    """
    newest = sorted(range(len(times)), key=lambda number: times[number], reverse=True)
    kept: set[int] = set()
    for name, left in keep.to_outputs().items():
        before: object = None
        for number in newest:
            period = _PERIODS[name](times[number].astimezone(UTC)) if name in _PERIODS else number
            if left and (period != before or number == newest[-1]):
                kept.add(number)
                before, left = period, left - 1  # noqa: PLW2901  counts down
    return kept


def kept_of(objects: Sequence[StoredObject], rule: Keep | None) -> list[StoredObject]:
    """The objects that a rule keeps, of the one just written, which always stays, and those before it."""
    # The time of one may be unknown, and then nothing says that it may go.
    timed = [each for each in objects if each.created_at]
    counted = kept_by(rule, [each.taken for each in timed]) if rule else range(len(timed))
    kept = [timed[number] for number in counted]
    proof = max((each for each in objects if each.drilled), key=lambda each: each.taken, default=None)
    stays = [each for each in objects if not each.created_at or each.pinned or each is proof or each is objects[0]]
    return [each for each in objects if each in kept or each in stays]


class ArchiveMemory:
    """What the archives of a run know of each other: a create does not get what it replaces, nor a delete what replaced it."""

    def __init__(self) -> None:
        self.current: dict[str | None, tuple[ArchiveRecord, bool]] = {}  # by owner, and whether earlier ones count
        self.declared: dict[Hashable, str | None] = {}  # by place, its first owner
        self.proofs: dict[tuple[str | None, str], Drilled] = {}  # by snapshot

    def successor(self, owner: str | None, record: ArchiveRecord) -> tuple[ArchiveRecord | None, bool]:
        """What has replaced an archive, and whether that one counts it; a renamed resource has another owner since."""
        own = self.current.get(owner or "", (None, False))
        current, counts = next((each for each in self.current.values() if each[0].has_had(record)), own)
        return (None, False) if current and current.object == record.object else (current, counts)


ARCHIVE = ResourceSchema("Archive", ArchiveInputs, ArchiveRecord)
