"""What an archive takes, and what the state and a run keep of it. Programs load it, so it loads no HTTP stack."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, Self
from urllib.parse import quote

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors import Next, Step, Text, not_installed
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import (
    Bytes,
    Duration,
    Inputs,
    Moment,
    Record,
    ResourceSchema,
    declare,
)
from pulumi_snapshots.properties.checks import (
    UNKNOWN,
    Problem,
    Unfit,
    database_of,
    problem_of_url,
    shown,
    version_of,
)
from pulumi_snapshots.storage import encryption
from pulumi_snapshots.storage.destination import EXTRA, LIBRARY, Destination

DEFAULT_TIMEOUT = 3600.0  # seconds
_HAS_SECRET = re.compile(r"@|[?&]|key|token|secret|password|sig=", re.IGNORECASE)
"""A destination that may hold a secret: no place of an archive needs one."""
TIER_LIMIT = 500  # objects that one tier may keep: each stands in the state with about 200 bytes
count = checks.whole_number(f"from 1 to {TIER_LIMIT}", least=1, most=TIER_LIMIT)
# the names of objects in a folder for each database
OURS = re.compile(r"\d{8}T\d{6}Z-[^/]+\.zip(\.age)?")
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Keep(Record, sparse=True):
    """How many objects to keep: the newest one of each day, week, month or year, for the last N of these that have one.

    An object is kept if one tier keeps it. Days, ISO weeks, months and years are those of UTC.
    """

    last: int | None = declare(
        "The newest ones, whenever they were taken.", default=None, read=count
    )
    daily: int | None = declare(
        "The number of days to keep one for each.", default=None, read=count
    )
    weekly: int | None = declare(
        "The number of weeks to keep one for each.", default=None, read=count
    )
    monthly: int | None = declare(
        "The number of months to keep one for each.", default=None, read=count
    )
    yearly: int | None = declare(
        "The number of years to keep one for each.", default=None, read=count
    )


class Drilled(Record):
    """What a drill has proved: this snapshot was restored, and its checks passed."""

    drilled_at: Moment = declare("When.")
    restore_seconds: float | None = declare(
        "How long the restore took; absent if that is not known.", default=None
    )


def _keep(given: object) -> Keep:
    """What a program gave; raises Unfit."""
    tiers = Keep.properties()
    known = given if isinstance(given, Mapping) and not given.keys() - tiers.keys() else {}
    if all(number is None for number in known.values()):
        raise Unfit(f"must be an object with some of {', '.join(tiers)}")
    if problem := next(
        filter(None, (tiers[name].problem(number) for name, number in known.items())), None
    ):
        raise Unfit(f"has {problem.property}, which {problem.reason}")
    return Keep.from_outputs(
        {name: number for name, number in known.items() if number is not UNKNOWN}
    )


def _destination(given: object) -> Destination:
    found = Destination.parse(checks.text(given))
    if found.scheme != "file" and find_spec(LIBRARY) is None:
        raise Unfit(not_installed(LIBRARY, EXTRA))
    return found


def _url(given: object) -> str:
    if reason := problem_of_url(url := checks.text(given)):
        raise Unfit(reason)
    return url


class ArchiveInputs(Inputs):
    """The inputs of an archive; durations in seconds."""

    destination: Destination = declare(
        "A path of the machine that runs `pulumi`, or a URI of `file://`, `s3://`, `gs://` or `az://`. With a final `/` it "
        "is a folder, in which the object is named `DATABASE_ID/CREATED_AT-VERSION_ID.zip`.",
        read=_destination,
        needed="a path, or a URI of file://, s3://, gs:// or az://",
        replaces=True,
    )
    database_id: str | None = declare(
        "The database whose snapshot it is.",
        default=None,
        read=checks.database_id("archive a snapshot of"),
        replaces=True,
    )
    version_id: str = declare(
        "The snapshot's version id.", default="", read=checks.version_id, replaces=True
    )
    download_url: str | None = declare(
        "Signed and pinned to a version, such as another stack's output; alone it needs no API key.",
        default=None,
        secret=True,
        kept=False,
        read=_url,
    )
    size: Bytes | None = declare(
        "The snapshot's bytes, as a Snapshot or a lookup gives them.",
        default=None,
        read=checks.whole_number("of bytes", least=0),
    )
    created_at: Moment | None = declare(
        "When the snapshot was taken, for the name of an object in a folder.",
        default=None,
        kept=False,
        read=checks.moment,
    )
    keep_last: int | None = declare(
        "How many objects of this resource to keep; older ones are removed once a new one is whole. All unless given.",
        default=None,
        read=count,
    )
    keep: Keep | None = declare(
        "Which objects of this resource to keep, in tiers, instead of `keep_last`; others are removed once a new one is "
        "whole.",
        default=None,
        read=_keep,
    )
    pin: bool = declare(
        "Whether the object is kept for good, whatever `keep` and `keep_last` say.", default=False
    )
    recipients: list[str] | None = declare(
        "Public keys of age (`age1…`): the object is encrypted for them, and only their private keys open it. Changed "
        "recipients archive again.",
        default=None,
        read=encryption.recipients,
        replaces=True,
    )
    delete_object: bool = declare(
        "Whether deleting or replacing the resource deletes its object; it is kept unless given.",
        default=False,
    )
    timeout: Duration = declare(
        "How long the transfer may take. The resource's custom timeout for creates wins.",
        default=DEFAULT_TIMEOUT,
        read=checks.timeout,
    )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From values that have no problem; a URL alone is enough to know its snapshot, and `keep` has what `keep_last` says."""
        (database_id, version_id), found = which_snapshot(values), super().of(values)
        rule = found.keep or (Keep(last=found.keep_last) if found.keep_last else None)
        return replace(found, database_id=database_id, version_id=version_id or "", keep=rule)

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> list[Problem]:
        """Everything that is wrong with these values; those that are `UNKNOWN` are taken to be right."""
        found = [
            hidden_problem(each, values.get(each.property)) for each in super().problems(values)
        ]
        wrong = {one.property for one in found}
        fit = {**values, "download_url": UNKNOWN} if "download_url" in wrong else values
        return [*found, *(each for each in _conflicts(fit) if each.property not in wrong)]


def hidden_problem(problem: Problem, given: Any) -> Problem:
    """The problem without its property if an engine would print a secret with it."""
    unsafe = encryption.PRIVATE in str(given).upper()
    if unsafe or (problem.property == "destination" and _HAS_SECRET.search(str(given))):
        return Problem("", Text(f"{{{problem.property}}} {{why}}", why=problem.reason))
    return problem


def which_snapshot(values: Mapping[str, Any]) -> tuple[Any, Any]:
    """The database and version that the inputs name, each `UNKNOWN` if a preview does not know it, None if absent."""
    database_id, version_id, url = (
        values.get(name) for name in ("database_id", "version_id", "download_url")
    )
    if isinstance(url, str):
        return database_id or database_of(url), version_id or version_of(url)
    return database_id or url, version_id or url


def _conflicts(values: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with inputs beside each other."""
    database_id, version_id, url = (
        values.get(name) for name in ("database_id", "version_id", "download_url")
    )
    if values.get("keep") is not None and values.get("keep_last") is not None:
        yield Problem("keep", Text("cannot be given beside {keep_last}, which is its tier `last`"))
    destination = values.get("destination")
    name = destination.rpartition("/")[2] if isinstance(destination, str) else ""
    if name and values.get("recipients") and not name.endswith(encryption.SUFFIX):
        reason = (
            f"must end in {encryption.SUFFIX}, or in / for a folder: what is encrypted is no zip"
        )
        yield Problem("destination", reason)
    pinned = version_of(url) if isinstance(url, str) else None
    if database_id is None and version_id is None and url is None:
        required = (
            "is required: a Snapshot, or {database_id} and {version_id}, or {download_url} alone"
        )
        yield Problem("snapshot", Text(required))
    elif url is None:
        if database_id is None:
            yield Problem("database_id", "is required: the id of the database whose snapshot it is")
        if version_id is None:
            yield Problem(
                "version_id",
                "is required: which snapshot (a Snapshot that is pending has none yet)",
            )
    elif url is not UNKNOWN and pinned is None and version_id is None:
        reason = "is not pinned: it holds no versionId, so it would archive whatever is newest. {then} Or give {version_id} too"
        yield Problem("download_url", Text(reason, then=Next(Step.RENEW_URL)))
    elif isinstance(version_id, str) and pinned not in {None, version_id}:
        reason = "is pinned to version {pinned}, but {version_id} is another one"
        yield Problem("download_url", Text(reason, pinned=shown(pinned)))


# What is kept of it ----------------------------------------------------------------------------------------------------


def object_in(
    folder: Destination, database_id: str, version_id: str, created: datetime, *, sealed: bool
) -> Destination:
    """The object of a snapshot in a folder: `DATABASE_ID/CREATED_AT-VERSION_ID.zip`, or `.zip.age` if it is encrypted."""
    name = f"{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{quote(version_id, safe='')}.zip{encryption.SUFFIX * sealed}"
    return folder.holding(f"{database_id}/{name}")


class StoredObject(Record, sparse=True):
    """One object that this resource has written."""

    uri: str = declare("Its URI.")
    mark: str = declare("Opaque; another object of the same name has another one.")
    created_at: Moment | None = declare("When its snapshot was taken, if known.", default=None)
    pinned: bool = declare("Whether it is kept for good.", default=False)
    drilled: bool = declare(
        "Whether it was kept because a drill has proved it, and nothing newer.", default=False
    )

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
        "The SHA-256 before encryption, hexadecimal; absent if it is not encrypted.",
        default=None,
        kw_only=True,
    )
    created_at: Moment | None = declare(
        "When the snapshot was taken, if known.", default=None, kw_only=True
    )
    archived_at: Moment = declare("When it was complete, by the machine's clock.")
    database_id: str | None = declare(
        "The database whose snapshot it holds; absent if a URL alone does not show it."
    )
    version_id: str = declare("The snapshot's version id.")
    mark: str = declare("As in `StoredObject`.", internal=True)
    pinned: bool | None = declare(
        "As in `StoredObject`.", default=None, internal=True, kw_only=True
    )
    owner: str | None = declare(
        "Its name in manifests: the first URN.", default=None, internal=True, kw_only=True
    )
    lost: str | None = declare(
        "`missing` or `altered`, if a refresh found that.", default=None, internal=True
    )
    earlier: tuple[StoredObject, ...] = declare(
        "Its objects before, newest first.", default=(), internal=True
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
    kept = (
        timed
        if rule is None
        else [timed[number] for number in kept_by(rule, [each.taken for each in timed])]
    )
    proof = max(
        (each for each in objects if each.drilled), key=lambda each: each.taken, default=None
    )
    stays = [
        each
        for each in objects
        if not each.created_at or each.pinned or each is proof or each is objects[0]
    ]
    return [each for each in objects if each in kept or each in stays]


class ArchiveMemory:
    """What the archives of a run know of each other: a create does not get what it replaces, nor a delete what replaced it."""

    def __init__(self) -> None:
        self.current: dict[
            str | None, tuple[ArchiveRecord, bool]
        ] = {}  # by owner, and whether earlier ones count
        self.declared: dict[Hashable, str | None] = {}  # by place, its first owner

    def successor(
        self, owner: str | None, record: ArchiveRecord
    ) -> tuple[ArchiveRecord | None, bool]:
        """What has replaced an archive, and whether that one counts it; a renamed resource has another owner since."""
        own = self.current.get(owner or "", (None, False))
        current, counts = next(
            (each for each in self.current.values() if each[0].has_had(record)), own
        )
        return (None, False) if current and current.object == record.object else (current, counts)


ARCHIVE = ResourceSchema("Archive", ArchiveInputs, ArchiveRecord)
