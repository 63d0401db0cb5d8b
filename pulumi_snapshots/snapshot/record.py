"""A snapshot: its inputs, and what the state keeps of it. Loads no HTTP stack."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from pulumi_snapshots.clock import parse_rfc3339, rfc3339, to_the_second
from pulumi_snapshots.errors import Message
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import (
    Bytes,
    Choices,
    Duration,
    Inputs,
    Moment,
    Record,
    ResourceSchema,
    Values,
    declare,
    declare_database,
)
from pulumi_snapshots.properties.checks import (
    DATABASE_TYPES,
    RETENTION,
    Problem,
    expiry_of,
    shown,
    spoken,
    version_of,
)
from pulumi_snapshots.run.memory import PENDING, RunMemory, id_at

if TYPE_CHECKING:
    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.service.models import ListedSnapshot


DEFAULT_TIMEOUT = 45 * 60.0
"""Seconds: up to 30 minutes of a stale listing, the soft deadline, and the snapshot itself."""
PURPOSE = "take a snapshot of"
ORIGIN = Choices(
    "Origin",
    {
        "manual": "Taken because somebody asked for it.",
        "automatic": "The service's daily snapshot.",
    },
)
DATABASE_ENGINE = Choices(
    "DatabaseEngine", {name: f"{title}." for name, title in DATABASE_TYPES.items()}
)
NAMED_BY = ("database_id", "version_id")
"""The properties that say which snapshot another resource is about."""


class SnapshotInputs(Inputs):
    """The inputs of a snapshot; durations in seconds."""

    database_id: str = declare_database(
        "The database to take a snapshot of. Another database takes a new snapshot.",
        PURPOSE,
        replaces=True,
    )
    triggers: list[Any] | None = declare(
        "Any values, such as a release. Changed values take a new snapshot.",
        default=None,
        read=checks.triggers,
        replaces=True,
        shown=True,
    )
    timeout: Duration = declare(
        "How long the create may take, and each later run that resumes it. The "
        "resource's custom timeout for "
        "creates wins.",
        default=DEFAULT_TIMEOUT,
        read=checks.timeout,
    )
    reuse_within: Duration = declare(
        "Before a request, look for manual snapshots of this database that are "
        "younger than this, and use the newest one in place of a new snapshot, "
        "unless the database was restored since. At most 30 days.",
        default=0.0,
        read=checks.duration(most=RETENTION, may_be_zero=True),
    )
    rotate_after: Duration | None = declare(
        "The age from which on an update takes a new snapshot; at most 30 days.",
        default=None,
        read=checks.duration(most=RETENTION),
    )

    @classmethod
    def problems(cls, values: Values) -> list[Problem]:
        """All problems of these values, also of the two ages together."""
        found = super().problems(values)
        known = cls.known(values, "rotate_after", "reuse_within")
        if not found and 0 < known.get("rotate_after", 0.0) <= known.get(
            "reuse_within", 0.0
        ):
            reason = Message(
                "must be longer than {reuse_within}, else a rotation would adopt what it should "
                "renew"
            )
            found.append(Problem("rotate_after", reason))
        return found


def takes_snapshot(schema: ResourceSchema) -> bool:
    """Return whether a resource is about a snapshot, which a Snapshot of the program can name.

    Args:
        schema: the resource's definition.
    """
    return schema.inputs.properties().keys() >= set(NAMED_BY)


def short_id(id_: str) -> str:
    """Shorten an id to what a row has room for.

    Args:
        id_: An id, such as DATABASE_ID/VERSION_ID.

    Returns:
        The first 8 characters of each part between slashes.
    """
    return "/".join(part[:8] for part in id_.split("/"))


def split_id(resource_id: str) -> tuple[str, str]:
    """Split the id of a snapshot.

    Args:
        resource_id: `DATABASE_ID/VERSION_ID`, or `DATABASE_ID/latest`.

    Returns:
        The database's id, and the version's id or `latest`.

    Raises:
        ValueError: It is neither; the text says so for a user.
    """
    database_id, _, version_id = resource_id.partition("/")
    try:
        if version_id != checks.LATEST:
            version_id = checks.version_id(version_id)
        return checks.database_id()(database_id), version_id
    except ValueError:
        shape = "DATABASE_ID/VERSION_ID, or DATABASE_ID/latest for the newest"
        raise ValueError(
            f"the id of a snapshot is {shape}, not {shown(resource_id)}"
        ) from None


class ListedProperties(Record):
    """What the service says of a snapshot that it lists."""

    database_id: str = declare("The database whose snapshot it is.")
    version_id: str | None = declare(
        "The service's version id, which together with the database's id "
        "identifies the snapshot. Absent while it is pending.",
        default=None,
        settled=True,
    )
    name: str | None = declare(
        "The storage object's name, the same for all snapshots of a database; a restore needs it.",
        default=None,
    )
    download_url: str | None = declare(
        "Signed, and pinned to this version.", default=None, secret=True
    )
    download_url_expires_at: Moment | None = declare(
        "Until when the URL works; a refresh renews it in its last 7 days.",
        default=None,
    )
    size: Bytes | None = declare("Bytes.", default=None)
    created_at: Moment | None = declare(
        "When the snapshot was taken, by the service's clock; the time of the "
        "request until it is listed.",
        default=None,
    )
    expires_at: Moment | None = declare(
        "When its 30 days at the service end, if the plan lasts until then.",
        default=None,
    )
    available: bool = declare(
        "False while the snapshot is pending, and once it is missing or past its "
        "30 days at the service.",
        default=False,
    )
    origin: str | None = declare(
        "`manual` or `automatic`; absent if the service does not say.",
        default=None,
        choices=ORIGIN,
    )
    runtime: str | None = declare(
        "The database's engine, `postgres`, `mongo`, `mysql` or `redis`; absent if the service "
        "does not say.",
        default=None,
        choices=DATABASE_ENGINE,
    )


class SnapshotRecord(ListedProperties):
    """A snapshot of one Square Cloud database, never taken again behind your back.

    `pulumi up` sends one request, waits until the service lists exactly the snapshot that it
    started, and exposes a download URL pinned to it. A replacement takes the new one first; delete
    forgets, and the service keeps a snapshot until its 30 days are over. The id is
    `DATABASE_ID/VERSION_ID`, and `DATABASE_ID/latest` imports the newest one.
    """

    requested_at: Moment | None = declare(
        "When the request was sent, by the service's clock; absent if an "
        "existing snapshot was used or looked up.",
        default=None,
    )
    attempt: Request | None = declare(
        "The request, only while the snapshot is pending.", default=None
    )

    def created(self, at: datetime | None) -> Self:
        """Return the record with its time of creation, and the end of its 30 days.

        Args:
            at: When it was taken, by the service's clock; None if that is not known.

        Returns:
            A new record; this one if the time is not known.
        """
        if at is None:
            return self
        return replace(
            self,
            created_at=rfc3339(at),
            expires_at=rfc3339(at + timedelta(seconds=checks.RETENTION)),
        )

    @property
    def described(self) -> dict[str, Any]:
        """What the service said of the snapshot when it listed it, without its URL."""
        hidden = {"available", "download_url", "download_url_expires_at"}
        listed = ListedProperties.properties().keys() - hidden
        return {
            name: value
            for name, value in self.to_outputs().items()
            if name in listed and value is not None
        }

    def expired(self, now: datetime) -> bool:
        """Tell whether its 30 days at the service are over.

        Args:
            now: The service's time.

        Returns:
            False if their end is not known.
        """
        return self.expires_at is not None and now >= parse_rfc3339(self.expires_at)

    def remember_in(self, memory: RunMemory) -> None:
        """Tell the run's memory of a snapshot that the state has.

        Args:
            memory: The run's memory. A snapshot that is still pending has nothing to remember.
        """
        if self.version_id is None:
            return
        memory.note_in_state({self.id})
        memory.remember_request(self.id, self.requested_at)
        if self.available and self.expires_at is not None:
            memory.kept_until[self.id] = parse_rfc3339(self.expires_at)

    @property
    def id(self) -> str:
        """`DATABASE_ID/VERSION_ID`; while pending an id that names the time of the POST."""
        if self.version_id is not None:
            return f"{self.database_id}/{self.version_id}"
        requested_at = self.requested_at
        if requested_at is None:
            never = datetime.min.replace(tzinfo=UTC)
            posted_at = self.attempt.posted_at if self.attempt else never
            requested_at = to_the_second(posted_at)
        return id_at(self.database_id, PENDING, requested_at)

    @property
    def pending(self) -> bool:
        """Whether its version is not known yet."""
        return self.version_id is None


SNAPSHOT = ResourceSchema(
    "Snapshot",
    SnapshotInputs,
    SnapshotRecord,
    is_found_by_id=True,
    positional=("database_id", "triggers", "rotate_after", "reuse_within", "timeout"),
    scopes=("snapshots:read", "snapshots:write"),
    scopes_for_more=("account:read",),
)


def is_pinned(url: str | None, version_id: str) -> bool:
    """Tell whether a URL serves exactly one version, whichever is newest.

    Args:
        url: The download URL; None is not pinned.
        version_id: The version.

    Returns:
        True if the URL names this version.
    """
    return version_of(url or "") == version_id


def taken_text(record: SnapshotRecord, now: datetime) -> str:
    """Name a snapshot with its age.

    Args:
        record: The snapshot.
        now: The service's time.

    Returns:
        `DATABASE_ID/VERSION_ID, taken 12 min ago`; only the id if its time is not known.
    """
    if record.created_at is None:
        return record.id
    return (
        f"{record.id}, taken "
        f"{spoken((now - parse_rfc3339(record.created_at)).total_seconds())} ago"
    )


async def describe(
    session: Session,
    database_id: str,
    entry: ListedSnapshot,
    *,
    base_url: str | None = None,
    requested: datetime | None = None,
) -> SnapshotRecord:
    """Make the record of a listed snapshot.

    Args:
        session: The session of the process.
        database_id: Its database.
        entry: Its entry.
        base_url: The URL of another snapshot of that database, or of itself, whose address serves
            if the entry has none; None if none is known.
        requested: When it was requested, by the service's clock; None if no run has requested it.

    Returns:
        The record; available unless its 30 days are over.

    Raises:
        SquareCloudError: An old entry without any URL needs the account's id, and the service does
            not give it.
    """
    url = await _url_of(session, entry, base_url)
    expiry = expiry_of(url or "")
    record = SnapshotRecord(
        database_id,
        entry.version,
        entry.name or None,
        url,
        rfc3339(expiry) if expiry else None,
        entry.size,
        origin=entry.origin,
        runtime=entry.runtime,
        requested_at=to_the_second(requested) if requested else None,
    ).created(entry.modified or requested)
    return replace(record, available=not record.expired(session.service_clock.now()))


async def _url_of(
    session: Session, entry: ListedSnapshot, base_url: str | None
) -> str | None:
    """The URL of an entry, as pinned as it can be.

    An old entry has the signature in `key`, and lacks only the address before it.
    """
    if not entry.key or entry.version is None or is_pinned(entry.url, entry.version):
        return entry.url
    address = (entry.url or base_url or "").partition("?")[0]
    address = address or await _address_of(session, entry.name)
    return f"{address}?{entry.key.removeprefix('?')}"


async def _address_of(session: Session, name: str) -> str:
    """The address of a storage object, which has the account's id in it."""
    account = await session.listings.account(since=-math.inf)
    folder = f"{session.settings.snapshots_url}/databases/{quote(account.id, safe='')}"
    return f"{folder}/{quote(name, safe='')}.zip"
