"""Inputs of an archive, and what the state and a run keep of it.

Programs load this module, so it loads no HTTP stack.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import KW_ONLY, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors import Hint, HintKind, Message, not_installed
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import (
    Bytes,
    Duration,
    Inputs,
    Moment,
    Record,
    ResourceSchema,
    Values,
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
from pulumi_snapshots.storage.destination import (
    EXTRA,
    LIBRARY,
    Destination,
)

ARCHIVE_TIMEOUT = 3600.0  # seconds
_HAS_SECRET = re.compile(r"@|[?&]|key|token|secret|password|sig=", re.IGNORECASE)
"""A destination that may hold a secret: no place of an archive needs one."""
TIER_LIMIT = 500
"""Objects that one tier may keep, and that a state may hold, with about 200 bytes each."""
OBJECT_NAME = re.compile(r"\d{8}T\d{6}Z-[^/]+\.zip(\.age)?")
"""The names of objects in a folder for each database."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)
RECOVERY_DOC = (
    "The recovery time that it proves: from the request of the restore until the last check had "
    "passed. Absent if an interrupted run does not know, or if checks ran again later."
)
_count = checks.whole_number(f"from 1 to {TIER_LIMIT}", least=1, most=TIER_LIMIT)


class Keep(Record, sparse=True):
    """How many objects to keep.

    A tier keeps the newest object of each day, week, month or year, for the last N of these. An
    object is kept if one tier keeps it. Days, ISO weeks, months and years are those of UTC.
    """

    last: int | None = declare(
        "How many of the newest objects to keep, whenever they were taken.",
        default=None,
        read=_count,
    )
    daily: int | None = declare(
        "For how many days to keep the newest object of each.",
        default=None,
        read=_count,
    )
    weekly: int | None = declare(
        "For how many weeks to keep the newest object of each.",
        default=None,
        read=_count,
    )
    monthly: int | None = declare(
        "For how many months to keep the newest object of each.",
        default=None,
        read=_count,
    )
    yearly: int | None = declare(
        "For how many years to keep the newest object of each.",
        default=None,
        read=_count,
    )


class Drilled(Record, sparse=True):
    """What a drill has proved: this snapshot was restored, and its checks passed."""

    drilled_at: Moment = declare("When.")
    restore_seconds: float | None = declare(
        "How long the restore took; absent if that is not known.",
        default=None,
    )
    recovery_seconds: float | None = declare(
        RECOVERY_DOC,
        default=None,
    )


def _keep(given: object) -> Keep:
    """Read the tiers that a program gave; raises `Unfit`."""
    tiers = Keep.properties()
    numbers: Values = given if isinstance(given, Mapping) else {}
    if numbers.keys() - tiers.keys():
        numbers = {}
    if all(number is None for number in numbers.values()):
        raise Unfit(f"must be an object with some of {', '.join(tiers)}")
    for name, number in numbers.items():
        problem = tiers[name].problem(number)
        if problem:
            raise Unfit(f"has {problem.property}, which {problem.reason}")
    known_numbers = {
        name: number for name, number in numbers.items() if number is not UNKNOWN
    }
    return Keep.from_outputs(known_numbers)


def _destination(given: object) -> Destination:
    place = Destination.parse(checks.text(given))
    if place.scheme != "file" and find_spec(LIBRARY) is None:
        raise Unfit(not_installed(LIBRARY, EXTRA))
    return place


def _url(given: object) -> str:
    url = checks.text(given)
    reason = problem_of_url(url)
    if reason:
        raise Unfit(reason)
    return url


class ArchiveInputs(Inputs):
    """The inputs of an archive; durations in seconds."""

    destination: Destination = declare(
        "A path of the machine that runs `pulumi`, or a URI of `file://`, `s3://`, `gs://` or "
        "`az://`. With a final `/` it is a folder, in which the object is named "
        "`DATABASE_ID/CREATED_AT-VERSION_ID.zip`.",
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
        "The snapshot's version id.",
        default="",
        read=checks.version_id,
        replaces=True,
    )
    download_url: str | None = declare(
        "Signed and pinned to a version, such as another stack's output; alone it needs no API "
        "key.",
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
        "How many objects of this resource to keep; older ones are removed once a new one is "
        "whole. All unless given.",
        default=None,
        read=_count,
    )
    keep: Keep | None = declare(
        "Which objects of this resource to keep, in tiers, instead of `keep_last`; others are "
        "removed once a new one is whole.",
        default=None,
        read=_keep,
    )
    pin: bool = declare(
        "Whether the object is kept for good, whatever `keep` and `keep_last` say.",
        default=False,
    )
    recipients: list[str] | None = declare(
        "Public keys of age (`age1…`): the object is encrypted for them, and only their private "
        "keys open it. Changed recipients archive again.",
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
        default=ARCHIVE_TIMEOUT,
        read=checks.timeout,
    )

    @classmethod
    def of(cls, values: Values) -> Self:
        """Make inputs of values that have no problem.

        Args:
            values: inputs by their names in Python; a URL alone names its snapshot.

        Returns:
            The inputs. Their `keep` includes `keep_last`.
        """
        database_id, version_id = which_snapshot(values)
        inputs = super().of(values)
        rule = inputs.keep
        if rule is None and inputs.keep_last:
            rule = Keep(last=inputs.keep_last)
        return replace(
            inputs,
            database_id=database_id,
            version_id=version_id or "",
            keep=rule,
        )

    @classmethod
    def problems(cls, values: Values) -> list[Problem]:
        """Return everything that is wrong with the inputs, each alone and in combination.

        Args:
            values: inputs by their names in Python; `UNKNOWN` values are taken to be right.
        """
        problems = [
            hidden_problem(each, values.get(each.property))
            for each in super().problems(values)
        ]
        wrong = {each.property for each in problems}
        if "download_url" in wrong:
            values = {**values, "download_url": UNKNOWN}
        conflicts = _conflicts(values)
        return problems + [each for each in conflicts if each.property not in wrong]


def hidden_problem(problem: Problem, given: Any) -> Problem:
    """Remove a problem's property if an engine would print a secret with it.

    Args:
        problem: what is wrong with an input.
        given: the input's value, which engines print beside the property's name.

    Returns:
        The problem, without its property if the value is a secret.
    """
    is_secret = encryption.PRIVATE in str(given).upper()
    if problem.property == "destination" and _HAS_SECRET.search(str(given)):
        is_secret = True
    if not is_secret:
        return problem
    return Problem("", Message(f"{{{problem.property}}} {{why}}", why=problem.reason))


def which_snapshot(values: Values) -> tuple[Any, Any]:
    """Return the snapshot that the inputs name.

    Args:
        values: inputs by their names in Python.

    Returns:
        The database and the version, each `UNKNOWN` if a preview does not know it, None if absent.
    """
    database_id = values.get("database_id")
    version_id = values.get("version_id")
    url = values.get("download_url")
    if isinstance(url, str):
        return database_id or database_of(url), version_id or version_of(url)
    return database_id or url, version_id or url


def _conflicts(values: Values) -> Iterator[Problem]:
    """Find what is wrong with inputs beside each other.

    Args:
        values: inputs by their names in Python; `UNKNOWN` ones are taken to be right.

    Yields:
        One problem for each rule that the inputs break together.
    """
    if values.get("keep") is not None and values.get("keep_last") is not None:
        yield Problem(
            "keep",
            Message("cannot be given beside {keep_last}, which is its tier `last`"),
        )
    if values.get("recipients") and _names_a_plain_zip(values.get("destination")):
        reason = (
            f"must end in {encryption.AGE_SUFFIX}, or in / for a folder: "
            "what is encrypted is no zip"
        )
        yield Problem("destination", reason)
    if values.get("download_url") is None:
        yield from _missing_ids(values.get("database_id"), values.get("version_id"))
    else:
        yield from _unfit_url(values["download_url"], values.get("version_id"))


def _names_a_plain_zip(destination: object) -> bool:
    """Tell whether a destination is known, is no folder, and lacks the suffix of age."""
    name = destination.rpartition("/")[2] if isinstance(destination, str) else ""
    return bool(name) and not name.endswith(encryption.AGE_SUFFIX)


def _missing_ids(database_id: object, version_id: object) -> Iterator[Problem]:
    """Find what is missing of a snapshot that no download URL names."""
    if database_id is None and version_id is None:
        required = (
            "is required: a Snapshot, or {database_id} and {version_id}, or "
            "{download_url} alone"
        )
        yield Problem("snapshot", Message(required))
    elif database_id is None:
        yield Problem(
            "database_id",
            "is required: the id of the database whose snapshot it is",
        )
    elif version_id is None:
        reason = "is required: which snapshot (a Snapshot that is pending has none yet)"
        yield Problem("version_id", reason)


def _unfit_url(url: object, version_id: object) -> Iterator[Problem]:
    """Find out whether a download URL serves one version only, the one that is asked for."""
    if url is UNKNOWN:
        return
    pinned = version_of(url) if isinstance(url, str) else None
    if pinned is None and version_id is None:
        reason = (
            "is not pinned: it holds no versionId, so it would archive whatever is newest. "
            "{then} Or give {version_id} too"
        )
        yield Problem("download_url", Message(reason, then=Hint(HintKind.RENEW_URL)))
    elif isinstance(version_id, str) and pinned not in {
        None,
        version_id,
    }:
        reason = "is pinned to version {pinned}, but {version_id} is another one"
        yield Problem("download_url", Message(reason, pinned=shown(pinned)))


# What is kept of an archive ----------------------------------------------------------------------


def object_in(
    folder: Destination,
    database_id: str,
    version_id: str,
    created: datetime,
    *,
    sealed: bool,
) -> Destination:
    """Name the object of a snapshot in a folder: `DATABASE_ID/CREATED_AT-VERSION_ID.zip`.

    Args:
        folder: where the objects of all databases are.
        database_id: the database.
        version_id: the snapshot's version id.
        created: when the snapshot was taken.
        sealed: whether the object is encrypted, so that its name ends in `.zip.age`.

    Returns:
        The place of the object.
    """
    suffix = encryption.AGE_SUFFIX if sealed else ""
    name = f"{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{quote(version_id, safe='')}.zip{suffix}"
    return folder.holding(f"{database_id}/{name}")


class StoredObject(Record, sparse=True):
    """One object that a resource has written."""

    uri: str = declare("Its URI.")
    mark: str = declare("Opaque; another object of the same name has another one.")
    created_at: Moment | None = declare(
        "When its snapshot was taken, if known.", default=None
    )
    pinned: bool = declare("Whether it is kept for good.", default=False)
    drilled: bool = declare(
        "Whether it was kept because a drill has proved it, and nothing newer.",
        default=False,
    )
    unproved: bool = declare("Whether its zip could not be checked.", default=False)

    @property
    def taken(self) -> datetime:
        """When the snapshot of the object was taken; long ago if that is not known."""
        return parse_rfc3339(self.created_at) if self.created_at else LONG_AGO


class ArchiveRecord(Record):
    """A snapshot's zip in storage of your own, which outlives the account's plan.

    `pulumi up` streams it there, resumes a transfer that breaks off, and lets the object appear
    under its name only once it is whole and verified. Another version is another object; a new
    signature of the same version changes nothing.
    """

    uri: str = declare("The object's URI.")
    size: Bytes = declare("Bytes.")
    sha256: str = declare("The object's SHA-256, hexadecimal.")
    _: KW_ONLY
    plain_size: Bytes | None = declare(
        "Bytes before encryption; absent if it is not encrypted.",
        default=None,
    )
    plain_sha256: str | None = declare(
        "The SHA-256 before encryption, hexadecimal; absent if it is not encrypted.",
        default=None,
    )
    created_at: Moment | None = declare(
        "When the snapshot was taken, if known.",
        default=None,
    )
    archived_at: Moment = declare("When it was complete, by the machine's clock.")
    database_id: str | None = declare(
        "The database whose snapshot it holds; absent if a URL alone does not show it."
    )
    version_id: str = declare("The snapshot's version id.")
    unproved: str | None = declare(
        "Why the content of the zip is not proved, such as `it is empty`; absent if every member "
        "was checked.",
        default=None,
    )
    mark: str = declare("As in `StoredObject`.", internal=True)
    pinned: bool | None = declare(
        "As in `StoredObject`.",
        default=None,
        internal=True,
    )
    owner: str | None = declare(
        "The random id of this resource in manifests; absent from an import to the next update.",
        default=None,
        internal=True,
    )
    lost: str | None = declare(
        "`missing` or `altered`, if a refresh found that.",
        default=None,
        internal=True,
    )
    earlier: tuple[StoredObject, ...] = declare(
        "Its objects before, newest first.",
        default=(),
        internal=True,
    )

    @property
    def id(self) -> str:
        """The resource's id."""
        return self.uri

    @property
    def object(self) -> StoredObject:
        """The present object."""
        return StoredObject(
            self.uri,
            self.mark,
            self.created_at,
            pinned=bool(self.pinned),
            unproved=self.unproved is not None,
        )

    @property
    def all_objects(self) -> list[StoredObject]:
        """The resource's objects, newest first, without one that a refresh found lost."""
        present = [] if self.lost else [self.object]
        return [*present, *self.earlier]

    def has_had(self, other: ArchiveRecord) -> bool:
        """Tell whether another record's object is among the earlier objects of this one.

        Args:
            other: the record whose object is looked for.
        """
        return any(
            (each.uri, each.mark) == (other.uri, other.mark) for each in self.earlier
        )


class ArchiveSuccessor(NamedTuple):
    """An archive that this run has made or compared for a resource.

    Attributes:
        record: the archive.
        counts: whether a rule of the resource counts its earlier objects.
    """

    record: ArchiveRecord
    counts: bool


class ArchiveMemory:
    """The archives that one run has seen or made.

    An engine does not tell a create which resource it replaces, or a delete which resource has
    replaced it.

    Attributes:
        current: by URN, the archive that a comparison has seen or a create has made.
        declared: by place, the URN of the first resource that archives to it.
        looked_up: by URN, the archive of a lookup or an import.
    """

    def __init__(self) -> None:
        self.current: dict[str | None, ArchiveSuccessor] = {}
        self.declared: dict[Hashable, str | None] = {}
        self.looked_up: dict[str | None, ArchiveRecord] = {}

    def previous(self, urn: str | None) -> ArchiveRecord | None:
        """Return the archive that a resource had before its create; None if none was compared.

        Args:
            urn: the resource's URN; None if it is unknown.
        """
        current = self.current.get(urn) if urn else None
        return current.record if current else None

    def successor(
        self, urn: str | None, record: ArchiveRecord
    ) -> ArchiveSuccessor | None:
        """Find the archive that has replaced another one.

        Args:
            urn: the URN of the deleted resource. A resource that was renamed has another URN now.
            record: the archive in its state.

        Returns:
            The archive that counts this one among its earlier ones, or else the archive of the same
            URN; None if nothing has replaced it.
        """
        candidate = next(
            (each for each in self.current.values() if each.record.has_had(record)),
            self.current.get(urn) if urn else None,
        )
        is_itself = candidate is not None and candidate.record.object == record.object
        is_same_owner = candidate is not None and candidate.record.owner == record.owner
        return None if is_itself and is_same_owner else candidate


ARCHIVE = ResourceSchema(
    "Archive", ArchiveInputs, ArchiveRecord, scopes=("snapshots:read",)
)
