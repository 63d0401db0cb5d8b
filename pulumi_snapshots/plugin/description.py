"""The one description of resources, functions and settings: names, types and meanings, from which the schema is made.

Field names are Python's; the alias of each is its name in every other language and in the state.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

__all__ = [
    "Archive",
    "ArchiveInputs",
    "Attempt",
    "Database",
    "DatabaseQuery",
    "FoundSnapshot",
    "LatestQuery",
    "NoQuery",
    "Restore",
    "RestoreInputs",
    "Settings",
    "Snapshot",
    "SnapshotInputs",
    "SnapshotsQuery",
]

Duration: TypeAlias = str | float
DURATION = "A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds."
DATABASE_ID = "The database's id."
ORIGIN = "`manual` or `automatic`"
RUNTIME = "The database's engine: `postgres`, `mongo`, `mysql` or `redis`."
RFC_3339 = "RFC 3339, UTC."


class _Described(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


# Resources -----------------------------------------------------------------------------------------------------------


class Attempt(_Described):
    """A request whose end was not seen yet."""

    posted_at: str = Field(description=f"When it was sent, by the machine's clock. {RFC_3339}")
    service_clock_offset: float | None = Field(None, description="Seconds that the service's clock was ahead then.")
    answered: str = Field(description="`202`, `200`, or how the answer was lost.")
    timeout: float = Field(description="Seconds that the create was to wait.")
    missing_since: str | None = Field(
        None, description=f"When a listing proved that it failed, by the service's clock. {RFC_3339}"
    )
    down_before: bool | None = Field(
        None, description="Of a restore: whether its database was not seen running since before the request."
    )
    seen_down: bool | None = Field(None, description="Of a restore: whether its database was seen down because of it.")


class SnapshotInputs(_Described):
    """The inputs of a snapshot."""

    database_id: str = Field(description="Whose data; a change takes a new snapshot.")
    triggers: list[Any] | None = Field(None, description="Any values; a change of any takes a new snapshot.")
    rotate_after: Duration | None = Field(
        None,
        description=f"An `up` later than this after its creation takes a new one; at most 30 days. {DURATION}",
    )
    reuse_within: Duration | None = Field(
        None,
        description=f"Before a request, adopt the newest manual snapshot of this database younger than this. {DURATION}",
    )
    timeout: Duration | None = Field(
        None,
        description=f"Of the whole create, and of each resume anew; 45 minutes unless given. `customTimeouts` wins. {DURATION}",
    )


class Snapshot(SnapshotInputs):
    """A snapshot of one Square Cloud database: the record of an event, never taken again behind your back.

    `pulumi up` sends one request, waits until the service lists exactly the snapshot that it started, and exposes a
    download URL pinned to it. A replacement takes the new one first; delete forgets, and the service keeps a snapshot until
    its 30 days are over. The id is `DATABASE_ID/VERSION_ID`, and `DATABASE_ID/latest` imports the newest one.
    """

    version_id: str | None = Field(
        None,
        description="The service's version id, the only thing that identifies a snapshot; absent while it is pending.",
    )
    name: str | None = Field(None, description="The storage object's name; a restore needs it.")
    download_url: str | None = Field(None, description="Signed, pinned to this version; a secret.")
    download_url_expires_at: str | None = Field(None, description=RFC_3339)
    size: int | None = Field(None, description="Bytes.")
    created_at: str | None = Field(None, description=RFC_3339)
    expires_at: str | None = Field(None, description=f"The end of its 30 days at the service. {RFC_3339}")
    requested_at: str | None = Field(
        None,
        description="When the request was sent, by the service's clock; absent where the snapshot was adopted or imported. "
        + RFC_3339,
    )
    available: bool = Field(
        description="False while it is pending, and once a refresh finds it missing or past its 30 days."
    )
    attempt: Attempt | None = Field(None, description="Only while it is pending.")
    origin: str | None = Field(None, description=f"{ORIGIN}.")
    runtime: str | None = Field(None, description=RUNTIME)


class _RestoreWishes(_Described):
    overwrite: bool = Field(description="Must be true: everything that the database holds is overwritten.")
    triggers: list[Any] | None = Field(None, description="Any values; a change of any restores again.")
    timeout: Duration | None = Field(
        None,
        description="Of the whole restore, and of each resume anew; 15 minutes unless given. `customTimeouts` wins. "
        + DURATION,
    )


class RestoreInputs(_RestoreWishes):
    """The inputs of a restore."""

    database_id: str = Field(description="Whose snapshot is put back.")
    version_id: str = Field(description="Which one.")
    target_database_id: str | None = Field(
        None,
        description="Whose data is overwritten; the snapshot's own database unless given. A change restores again.",
    )
    name: str | None = Field(
        None, description="The snapshot's storage object, as its resource tells it; looked up unless given."
    )
    runtime: str | None = Field(
        None, description="The snapshot's engine, as its resource tells it: it must fit the database."
    )


class Restore(_RestoreWishes):
    """A snapshot put back into a database, once: it overwrites live data.

    Only other triggers or another target restore again. A changed snapshot alone changes nothing and warns. Refresh and
    delete send nothing.
    """

    database_id: str = Field(description="Whose snapshot was put back.")
    version_id: str = Field(description="Which one.")
    target_database_id: str = Field(description="Whose data was overwritten.")
    requested_at: str = Field(description=f"When the request was sent, by the service's clock. {RFC_3339}")
    restored_at: str | None = Field(
        None, description=f"When the database was seen running again; absent while that is not known. {RFC_3339}"
    )
    attempt: Attempt | None = Field(None, description="The request, only until then.")


class _Destination(_Described):
    destination: str = Field(
        description="A path of the machine that runs `pulumi`, or a URI of `file://`, `s3://`, `gs://` or `az://`. One that "
        "ends in `/` is a folder, in which the object is named `DATABASE_ID/CREATED_AT-VERSION_ID.zip`."
    )
    keep_last: int | None = Field(
        None,
        description="So many objects of this resource are kept; older ones are removed once a new one is whole. All unless "
        "given.",
    )
    delete_object: bool | None = Field(
        None, description="Whether deleting the resource deletes its object; it is kept unless given."
    )
    timeout: Duration | None = Field(
        None, description=f"Of the whole transfer; an hour unless given. `customTimeouts` wins. {DURATION}"
    )


class ArchiveInputs(_Destination):
    """The inputs of an archive."""

    database_id: str | None = Field(None, description="Whose snapshot it is.")
    version_id: str | None = Field(None, description="Which one.")
    download_url: str | None = Field(
        None,
        description="Signed and pinned to a version, such as another stack's output; alone it needs no API key. A secret.",
    )
    size: int | None = Field(None, description="Bytes of the snapshot, as its resource or a function tells them.")
    created_at: str | None = Field(
        None, description=f"When the snapshot was taken, for the name of an object in a folder. {RFC_3339}"
    )


class Archive(_Destination):
    """A snapshot's zip in storage of your own, beyond the 30 days that the service keeps it.

    `pulumi up` streams it there, resumes a transfer that breaks off, and lets the object appear under its name only once it
    is whole and verified. Another version is another object; a new signature of the same version changes nothing.
    """

    uri: str = Field(description="Where the object is, always a URI.")
    size: int = Field(description="Bytes.")
    sha256: str = Field(description="Of the object, hexadecimal.")
    archived_at: str = Field(description=f"When it was whole, by the machine's clock. {RFC_3339}")
    database_id: str | None = Field(
        None, description="Whose snapshot it holds; absent where a URL alone does not tell."
    )
    version_id: str = Field(description="Which one.")


# Functions -----------------------------------------------------------------------------------------------------------


class FoundSnapshot(_Described):
    """A snapshot that the service lists."""

    id: str = Field(description="`DATABASE_ID/VERSION_ID`, to import it by.")
    database_id: str = Field(description=DATABASE_ID)
    version_id: str = Field(description="The service's version id.")
    name: str | None = Field(None, description="The storage object's name; a restore needs it.")
    download_url: str | None = Field(None, description="Signed, pinned to this version; a secret.")
    download_url_expires_at: str | None = Field(None, description=RFC_3339)
    size: int | None = Field(None, description="Bytes.")
    created_at: str | None = Field(None, description=RFC_3339)
    expires_at: str | None = Field(None, description=f"The end of its 30 days at the service. {RFC_3339}")
    available: bool = Field(description="False where its 30 days are over, and an old page still lists it.")
    origin: str | None = Field(None, description=f"{ORIGIN}; absent where the service does not say.")
    runtime: str | None = Field(None, description=RUNTIME)


class Database(_Described):
    """A database of the account."""

    id: str = Field(description="What `databaseId` is everywhere else.")
    name: str = Field(description="As its owner calls it; not unique.")
    type: str = Field(description="Its engine: `postgres`, `mongo`, `mysql` or `redis`.")
    ram: int | None = Field(None, description="MB.")
    cluster: str | None = Field(None, description="Where it runs.")
    running: bool = Field(description="Whether it ran when it was asked for.")


class SnapshotsQuery(_Described):
    """The snapshots that the service lists, newest first."""

    database_id: str | None = Field(None, description="Whose; all of the account unless given.")
    origin: str | None = Field(None, description=f"{ORIGIN}; any unless given.")
    newer_than: Duration | None = Field(
        None,
        description=f"Only those taken within so long before now, by the service's clock; at most 30 days. {DURATION}",
    )
    older_than: Duration | None = Field(
        None, description=f"Only those taken longer ago than that, by the service's clock; at most 30 days. {DURATION}"
    )


class LatestQuery(_Described):
    """The newest available snapshot of a database, whoever took it; absent where there is none."""

    database_id: str = Field(description="Whose.")
    origin: str | None = Field(None, description=f"{ORIGIN}; any unless given.")
    max_age: Duration | None = Field(
        None,
        description=f"Only one taken within so long before now, by the service's clock; at most 30 days. {DURATION}",
    )


class DatabaseQuery(_Described):
    """A database of the account, and whether it runs."""

    database_id: str = Field(description="Which.")


class NoQuery(_Described):
    """All databases of the account, and whether each runs."""


class FoundSnapshots(_Described):
    """What getSnapshots brings."""

    snapshots: list[FoundSnapshot] = Field(description="Newest first.")


class LatestSnapshot(_Described):
    """What getLatestSnapshot brings."""

    snapshot: FoundSnapshot | None = Field(None, description="Absent where there is none.")


class Databases(_Described):
    """What getDatabases brings."""

    databases: list[Database] = Field(description="All of the account.")


# Settings ------------------------------------------------------------------------------------------------------------


class Settings(_Described):
    """The provider's settings; each may also stand in the environment, which they beat."""

    api_key: str | None = Field(
        None,
        description="The bare API key; a secret. Better in the environment, SQUARECLOUD_API_KEY, which no state stores.",
    )
    api_url: str | None = Field(None, description="The API's address; `https` only, except to a loopback address.")
    snapshots_url: str | None = Field(
        None, description="The snapshot host, for listings whose entries carry no URL of their own."
    )
    requests_per_minute: int | None = Field(
        None, description="The account's budget, as its plan has it; 30 unless given."
    )
    requests_for_others: int | None = Field(
        None, description="How many of these are left to others; a tenth unless given."
    )
    first_look_after: str | None = Field(
        None, description="From an answer 202 to the first look at a listing; `2m` unless given."
    )
    look_every: str | None = Field(None, description="Between looks for one snapshot; `30s` unless given.")
    block_wait: str | None = Field(
        None, description="How long a block lasts where the service does not say; `30m` unless given."
    )
    restore_settle: str | None = Field(
        None,
        description="How long a restored database must be seen running where it was never seen down; `60s` unless given.",
    )
