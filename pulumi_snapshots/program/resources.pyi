"""The resources and lookups, as type checkers see them: `make generated` writes this file."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import pulumi

from pulumi_snapshots.archive.record import Keep
from pulumi_snapshots.drill.check import Check
from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo

__all__ = [
    "Archive",
    "Drill",
    "Restore",
    "Snapshot",
    "get_database",
    "get_database_output",
    "get_databases",
    "get_databases_output",
    "get_download_url",
    "get_download_url_output",
    "get_latest_snapshot",
    "get_latest_snapshot_output",
    "get_snapshots",
    "get_snapshots_output",
]

class Snapshot(pulumi.CustomResource):
    """A snapshot of one Square Cloud database, never taken again behind your back.

    `pulumi up` sends one request, waits until the service lists exactly the snapshot that it
    started, and exposes a download URL pinned to it. A replacement takes the new one first; delete
    forgets, and the service keeps a snapshot until its 30 days are over. The id is
    `DATABASE_ID/VERSION_ID`, and `DATABASE_ID/latest` imports the newest one.

    Args:
        resource_name: the resource's name in the program.
        database_id: the database to take a snapshot of. Another database takes a new snapshot.
        triggers: any values, such as a release. Changed values take a new snapshot.
        rotate_after: the age from which on an update takes a new snapshot; at most 30 days. A
            string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        reuse_within: before a request, look for manual snapshots of this database that are younger
            than this, and use the newest one in place of a new snapshot, unless the database was
            restored since. At most 30 days. A string such as `90s`, `45m`, `1h30m`, `7d`, or a
            number of seconds.
        timeout: how long the create may take, and each later run that resumes it. The resource's
            custom timeout for creates wins. 45m unless given. A string such as `90s`, `45m`,
            `1h30m`, `7d`, or a number of seconds.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.

    Attributes:
        database_id: the database whose snapshot it is.
        triggers: any values, such as a release. Changed values take a new snapshot.
        version_id: the service's version id, which together with the database's id identifies the
            snapshot. Absent while it is pending.
        name: the storage object's name, the same for all snapshots of a database; a restore needs
            it.
        download_url: signed, and pinned to this version. A secret.
        download_url_expires_at: until when the URL works; a refresh renews it in its last 7 days.
            RFC 3339, UTC.
        size: bytes.
        created_at: when the snapshot was taken, by the service's clock; the time of the request
            until it is listed. RFC 3339, UTC.
        expires_at: when its 30 days at the service end, if the plan lasts until then. RFC 3339,
            UTC.
        available: false while the snapshot is pending, and once it is missing or past its 30 days
            at the service.
        origin: `manual` or `automatic`; absent if the service does not say.
        runtime: the database's engine, `postgres`, `mongo`, `mysql` or `redis`; absent if the
            service does not say.
        requested_at: when the request was sent, by the service's clock; absent if an existing
            snapshot was used or looked up. RFC 3339, UTC.
        attempt: the request, only while the snapshot is pending.
    """

    database_id: pulumi.Output[str]
    triggers: pulumi.Output[list[Any] | None]
    version_id: pulumi.Output[str]
    name: pulumi.Output[str | None]
    download_url: pulumi.Output[str | None]
    download_url_expires_at: pulumi.Output[str | None]
    size: pulumi.Output[int | None]
    created_at: pulumi.Output[str | None]
    expires_at: pulumi.Output[str | None]
    available: pulumi.Output[bool]
    origin: pulumi.Output[str | None]
    runtime: pulumi.Output[str | None]
    requested_at: pulumi.Output[str | None]
    attempt: pulumi.Output[dict[str, Any] | None]
    def __init__(
        self,
        resource_name: str,
        database_id: pulumi.Input[str],
        triggers: pulumi.Input[Sequence[pulumi.Input[Any]]] | None = None,
        rotate_after: pulumi.Input[str | float] | None = None,
        reuse_within: pulumi.Input[str | float] | None = None,
        timeout: pulumi.Input[str | float] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None: ...
    @classmethod
    def get(
        cls,
        resource_name: str,
        id: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> Self:
        """Look up an existing resource by its id, without managing it.

        The run fails if it does not exist.

        Args:
            resource_name: the name in this program.
            id: the id, such as `DATABASE_ID/VERSION_ID` of a snapshot.
            opts: options of the resource; None for the usual ones.

        Returns:
            The resource.
        """

class Restore(pulumi.CustomResource):
    """A snapshot that is restored into a database, once, over everything that it holds.

    `pulumi up` sends one request and waits until the service says that it succeeded, and the
    database runs. Afterwards only other triggers, or another target, restore again. A changed
    snapshot alone restores nothing and warns; neither does a refresh, nor the end of the snapshot's
    30 days, nor deleting the resource.

    Args:
        resource_name: the resource's name in the program.
        snapshot: a Snapshot, or the result of a lookup; or give the inputs that name the snapshot.
            `pulumi.RunError` if neither is given, or both.
        database_id: the database whose snapshot is restored.
        version_id: the snapshot's version id.
        target_database_id: the database to overwrite, of the same engine; the snapshot's own unless
            given. Another database restores again.
        overwrite: must be true, else the preview fails: everything that the database holds is
            overwritten.
        triggers: any values. Changed values restore again.
        timeout: how long the restore may take, and each later run that resumes it. The resource's
            custom timeout for creates wins. 15m unless given. A string such as `90s`, `45m`,
            `1h30m`, `7d`, or a number of seconds.
        keep_current: whether to take a snapshot of what the database holds first, to undo the
            restore. If it cannot be taken, nothing is restored. `timeout` counts from then on.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.

    Attributes:
        database_id: the database whose snapshot was restored.
        version_id: the snapshot's version id.
        target_database_id: the database that was overwritten.
        triggers: any values. Changed values restore again.
        keep_current: whether to take a snapshot of what the database holds first, to undo the
            restore. If it cannot be taken, nothing is restored. `timeout` counts from then on.
        requested_at: when the request was sent, by the service's clock. RFC 3339, UTC.
        restored_at: when the database was seen running again, by the service's clock; absent until
            then. RFC 3339, UTC.
        attempt: the request, until the database was seen running again.
        previous: with `keep_current`, the snapshot of what the database held before, as
            DATABASE_ID/VERSION_ID: restoring it undoes the restore.
    """

    database_id: pulumi.Output[str]
    version_id: pulumi.Output[str]
    target_database_id: pulumi.Output[str]
    triggers: pulumi.Output[list[Any] | None]
    keep_current: pulumi.Output[bool | None]
    requested_at: pulumi.Output[str]
    restored_at: pulumi.Output[str]
    attempt: pulumi.Output[dict[str, Any] | None]
    previous: pulumi.Output[str | None]
    def __init__(
        self,
        resource_name: str,
        snapshot: Snapshot
        | SnapshotInfo
        | pulumi.Output[SnapshotInfo | None]
        | None = None,
        *,
        database_id: pulumi.Input[str] | None = None,
        version_id: pulumi.Input[str] | None = None,
        target_database_id: pulumi.Input[str] | None = None,
        overwrite: pulumi.Input[bool] | None = None,
        triggers: pulumi.Input[Sequence[pulumi.Input[Any]]] | None = None,
        timeout: pulumi.Input[str | float] | None = None,
        keep_current: pulumi.Input[bool] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None: ...

class Archive(pulumi.CustomResource):
    """A snapshot's zip in storage of your own, which outlives the account's plan.

    `pulumi up` streams it there, resumes a transfer that breaks off, and lets the object appear
    under its name only once it is whole and verified. Another version is another object; a new
    signature of the same version changes nothing.

    Args:
        resource_name: the resource's name in the program.
        snapshot: a Snapshot, or the result of a lookup; or give the inputs that name the snapshot.
            `pulumi.RunError` if neither is given, or both.
        destination: a path of the machine that runs `pulumi`, or a URI of `file://`, `s3://`,
            `gs://` or `az://`. With a final `/` it is a folder, in which the object is named
            `DATABASE_ID/CREATED_AT-VERSION_ID.zip`.
        database_id: the database whose snapshot it is.
        version_id: the snapshot's version id.
        download_url: signed and pinned to a version, such as another stack's output; alone it needs
            no API key. A secret.
        keep_last: how many objects of this resource to keep; older ones are removed once a new one
            is whole. All unless given.
        keep: which objects of this resource to keep, in tiers, instead of `keep_last`; others are
            removed once a new one is whole.
        pin: whether the object is kept for good, whatever `keep` and `keep_last` say.
        recipients: public keys of age (`age1…`): the object is encrypted for them, and only their
            private keys open it. Changed recipients archive again.
        delete_object: whether deleting or replacing the resource deletes its object; it is kept
            unless given.
        timeout: how long the transfer may take. The resource's custom timeout for creates wins. 1h
            unless given. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.

    Attributes:
        database_id: the database whose snapshot it holds; absent if a URL alone does not show it.
        version_id: the snapshot's version id.
        size: bytes.
        uri: the object's URI.
        sha256: the object's SHA-256, hexadecimal.
        plain_size: bytes before encryption; absent if it is not encrypted.
        plain_sha256: the SHA-256 before encryption, hexadecimal; absent if it is not encrypted.
        created_at: when the snapshot was taken, if known. RFC 3339, UTC.
        archived_at: when it was complete, by the machine's clock. RFC 3339, UTC.
        unproved: why the content of the zip is not proved, such as `it is empty`; absent if every
            member was checked.
    """

    database_id: pulumi.Output[str | None]
    version_id: pulumi.Output[str]
    size: pulumi.Output[int]
    uri: pulumi.Output[str]
    sha256: pulumi.Output[str]
    plain_size: pulumi.Output[int | None]
    plain_sha256: pulumi.Output[str | None]
    created_at: pulumi.Output[str | None]
    archived_at: pulumi.Output[str]
    unproved: pulumi.Output[str | None]
    def __init__(
        self,
        resource_name: str,
        snapshot: Snapshot
        | SnapshotInfo
        | pulumi.Output[SnapshotInfo | None]
        | None = None,
        *,
        destination: pulumi.Input[str],
        database_id: pulumi.Input[str] | None = None,
        version_id: pulumi.Input[str] | None = None,
        download_url: pulumi.Input[str] | None = None,
        keep_last: pulumi.Input[int] | None = None,
        keep: pulumi.Input[Keep | Mapping[str, pulumi.Input[int]]] | None = None,
        pin: pulumi.Input[bool] | None = None,
        recipients: pulumi.Input[Sequence[pulumi.Input[str]]] | None = None,
        delete_object: pulumi.Input[bool] | None = None,
        timeout: pulumi.Input[str | float] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None: ...

class Drill(pulumi.CustomResource):
    """Proof that a snapshot restores: it is restored onto a scratch database, and checks ask it.

    `pulumi up` sends one restore, waits until the service says that it succeeded, connects to the
    scratch database, and
    runs the checks. One that fails fails the update. Afterwards only another snapshot, other
    triggers, another scratch
    database or `every` drill again. Nothing that the program uses is written to but the scratch
    database.

    Args:
        resource_name: the resource's name in the program.
        snapshot: a Snapshot, or the result of a lookup; or give the inputs that name the snapshot.
            `pulumi.RunError` if neither is given, or both.
        database_id: the database whose snapshot is drilled.
        version_id: the snapshot's version id. Another version is drilled.
        scratch_database_id: the database that is overwritten: yours, of the same engine, and for
            drills only.
        checks: the queries to the restored database, and what each must return; without any, the
            rows of each table are counted, as by `Check.tables()`. Changed checks run at once if
            the scratch database still holds the restore, otherwise with the next drill.
        overwrite_scratch: must be true, else the preview fails: everything that the scratch
            database holds is overwritten.
        password: the password of the scratch database, as the service shows it: host, port, user
            and client certificate follow from its id. To connect otherwise, or as another user,
            give `connection`. A secret.
        connection: how to connect to the scratch database, in place of `password`, such as
            `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; its own parameters choose TLS. A
            secret.
        source_connection: a read-only connection to the snapshot's own database. Until a drill has
            passed, the restored tables are compared with the tables there. Nothing is written
            there. A secret.
        every: the time after the last drill from which on an update drills again, even if nothing
            else has changed. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        triggers: any values. Changed values drill again.
        on_failure: what a drill that fails does: `error` fails the update, `warn` only warns. error
            unless given.
        timeout: how long the restore and the checks may take, and each later run that resumes them.
            The resource's custom timeout for creates wins. 30m unless given. A string such as
            `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.

    Attributes:
        database_id: the database whose snapshot was drilled.
        version_id: the snapshot's version id.
        scratch_database_id: the database that was overwritten.
        triggers: any values. Changed values drill again.
        requested_at: when the restore was requested, by the service's clock. RFC 3339, UTC.
        restored_at: when the scratch database was seen running again, by the service's clock;
            absent until then. RFC 3339, UTC.
        drilled_at: the time of the restore that was checked; absent until the checks were run. RFC
            3339, UTC.
        restore_seconds: how long the restore took, as a real recovery would. Absent until then, and
            if an interrupted run does not know.
        recovery_seconds: the recovery time that it proves: from the request of the restore until
            the last check had passed. Absent if an interrupted run does not know, or if checks ran
            again later.
        passed: whether all checks passed; absent until they were run.
        results: what each check found; absent until then, and empty if none could be run.
        failure: the code with which the restore failed, or why the scratch database could not be
            reached; absent otherwise.
        proved_by: what shows that the checks asked the scratch database: `address`, if the host and
            port are the service's own, and `restart`, if the server has started since the restore
            was requested. Absent until the checks were run, and empty if nothing shows it.
        last_good: the last drill that has passed, this one or an earlier one; absent if none has.
        attempt: the request, only until its end is known.
    """

    database_id: pulumi.Output[str]
    version_id: pulumi.Output[str]
    scratch_database_id: pulumi.Output[str]
    triggers: pulumi.Output[list[Any] | None]
    requested_at: pulumi.Output[str]
    restored_at: pulumi.Output[str | None]
    drilled_at: pulumi.Output[str | None]
    restore_seconds: pulumi.Output[float | None]
    recovery_seconds: pulumi.Output[float | None]
    passed: pulumi.Output[bool]
    results: pulumi.Output[list[dict[str, Any]]]
    failure: pulumi.Output[str | None]
    proved_by: pulumi.Output[list[str] | None]
    last_good: pulumi.Output[dict[str, Any] | None]
    attempt: pulumi.Output[dict[str, Any] | None]
    def __init__(
        self,
        resource_name: str,
        snapshot: Snapshot
        | SnapshotInfo
        | pulumi.Output[SnapshotInfo | None]
        | None = None,
        *,
        database_id: pulumi.Input[str] | None = None,
        version_id: pulumi.Input[str] | None = None,
        scratch_database_id: pulumi.Input[str],
        checks: pulumi.Input[Sequence[pulumi.Input[Check | Mapping[str, Any]]]]
        | None = None,
        overwrite_scratch: pulumi.Input[bool] | None = None,
        password: pulumi.Input[str] | None = None,
        connection: pulumi.Input[str] | None = None,
        source_connection: pulumi.Input[str] | None = None,
        every: pulumi.Input[str | float] | None = None,
        triggers: pulumi.Input[Sequence[pulumi.Input[Any]]] | None = None,
        on_failure: pulumi.Input[Literal["error", "warn"]] | None = None,
        timeout: pulumi.Input[str | float] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None: ...

class Provider(pulumi.ProviderResource):
    """An account: its own key, requests and address.

    The arguments win over the stack's config and the environment.

    Args:
        resource_name: the resource's name in the program.
        api_key: the bare API key. Better in the environment, which no state stores. A secret.
        api_url: the API's address; `https` only, except to a loopback address.
            https://api.squarecloud.app/v2 unless given.
        snapshots_url: the snapshot host, for listings whose entries carry no URL of their own.
            https://snapshots.squarecloud.app unless given.
        requests_per_minute: the requests that the account's plan allows in a minute. 30 unless
            given.
        requests_for_others: how many of these requests are left to others: the dashboard's API,
            scripts, other machines with the same key. A tenth unless given.
        state_dir: the folder of this machine in which the provider writes its requests down: an
            absolute path. The user's state directory unless given.
        shared_state: the place in which all machines of the account write their requests down:
            `s3://BUCKET/PREFIX`, `gs://`, `az://`, or a folder that they share; `backend` is the
            bucket or folder in which Pulumi keeps the states. Without it each machine knows only
            its own runs.
        first_poll_after: how long after a 202 the listing is polled for the first time; may be 0.
            2m unless given. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        poll_every: how long after a poll the next one follows, for one snapshot; several snapshots
            share their polls. 30s unless given. A string such as `90s`, `45m`, `1h30m`, `7d`, or a
            number of seconds.
        listing_cache: whether a new snapshot ends the 30 minutes for which the service may serve
            the same page of a listing: `ended-by-snapshot`, `kept` or `unknown`. The command
            `probe` finds out. unknown unless given.
        guard: `off` lets guarded changes happen without a snapshot, each with a warning and an
            entry in the guard's history. on unless given.
        notify: the URL of a monitor that hears once of each trouble: a webhook of Discord or Slack,
            a topic of ntfy, or a check of healthchecks. The URL is a secret. A secret.
        block_wait: how long the account counts as blocked after a `RATE_LIMITED`, if the service
            sends no `Retry-After`. 30m unless given. A string such as `90s`, `45m`, `1h30m`, `7d`,
            or a number of seconds.
        restore_settle: how long an accepted restore is watched if neither the service nor the
            database says when it is over; may be 0. 1m unless given. A string such as `90s`, `45m`,
            `1h30m`, `7d`, or a number of seconds.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.
    """
    def __init__(
        self,
        resource_name: str,
        *,
        api_key: pulumi.Input[str] | None = None,
        api_url: pulumi.Input[str] | None = None,
        snapshots_url: pulumi.Input[str] | None = None,
        requests_per_minute: pulumi.Input[int] | None = None,
        requests_for_others: pulumi.Input[int] | None = None,
        state_dir: pulumi.Input[str] | None = None,
        shared_state: pulumi.Input[str] | None = None,
        first_poll_after: pulumi.Input[str] | None = None,
        poll_every: pulumi.Input[str] | None = None,
        listing_cache: pulumi.Input[str] | None = None,
        guard: pulumi.Input[str] | None = None,
        notify: pulumi.Input[str] | None = None,
        block_wait: pulumi.Input[str] | None = None,
        restore_settle: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None: ...

def get_snapshots(
    database_id: str | None = None,
    origin: Literal["manual", "automatic"] | None = None,
    newer_than: str | float | None = None,
    older_than: str | float | None = None,
    *,
    with_url: bool | None = None,
    opts: pulumi.InvokeOptions | None = None,
) -> list[SnapshotInfo]:
    """List the snapshots that the service has, newest first; in previews, too.

    `LookupFailed` is raised if an argument cannot be used, there is no such database, or the
        service gives no complete answer.

    Args:
        database_id: the database whose snapshots to list; all of the account unless given.
        origin: `manual` or `automatic`; any unless given.
        newer_than: only snapshots taken at most this long ago, by the service's clock; at most 30
            days. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        older_than: only snapshots taken longer ago than this, by the service's clock; at most 30
            days. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        with_url: whether the result has the download URL too. As an output, the whole result is
            then a secret: `get_download_url` returns the URL alone.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.
    """

def get_latest_snapshot(
    database_id: str,
    origin: Literal["manual", "automatic"] | None = None,
    max_age: str | float | None = None,
    *,
    with_url: bool | None = None,
    opts: pulumi.InvokeOptions | None = None,
) -> SnapshotInfo | None:
    """Find the newest available snapshot of a database, no matter who took it, or None.

    In previews, too.

    `LookupFailed` is raised if an argument cannot be used, there is no such database, or the
        service gives no complete answer.

    Args:
        database_id: the database whose snapshot.
        origin: `manual` or `automatic`; any unless given.
        max_age: only a snapshot taken at most this long ago, by the service's clock; at most 30
            days. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        with_url: whether the result has the download URL too. As an output, the whole result is
            then a secret: `get_download_url` returns the URL alone.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.
    """

def get_download_url(
    database_id: str,
    version_id: str,
    *,
    opts: pulumi.InvokeOptions | None = None,
) -> str:
    """Look up the download URL of a snapshot, in plain text.

    Anyone with it can read the data.

    `LookupFailed` is raised if an argument cannot be used, there is no such database, or the
        service gives no complete answer.

    Args:
        database_id: the snapshot's database.
        version_id: the snapshot's version.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.
    """

def get_database(
    database_id: str,
    *,
    opts: pulumi.InvokeOptions | None = None,
) -> DatabaseInfo:
    """Look up a database of the account, and whether it runs; in previews, too.

    `LookupFailed` is raised if an argument cannot be used, there is no such database, or the
        service gives no complete answer.

    Args:
        database_id: the database.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.
    """

def get_databases(
    *,
    opts: pulumi.InvokeOptions | None = None,
) -> list[DatabaseInfo]:
    """List the databases of the account, and whether each runs (one request for each).

    In previews, too.

    `LookupFailed` is raised if an argument cannot be used, there is no such database, or the
        service gives no complete answer.

    Args:
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.
    """

def get_snapshots_output(
    database_id: pulumi.Input[str] | None = None,
    origin: pulumi.Input[Literal["manual", "automatic"]] | None = None,
    newer_than: pulumi.Input[str | float] | None = None,
    older_than: pulumi.Input[str | float] | None = None,
    *,
    with_url: pulumi.Input[bool] | None = None,
    opts: pulumi.InvokeOutputOptions | None = None,
) -> pulumi.Output[list[SnapshotInfo]]:
    """`get_snapshots` for arguments that are outputs.

    What holds a download URL is a secret.

    `LookupFailed` is raised if an argument cannot be used, there is no such database, or the
        service gives no complete answer.

    Args:
        database_id: the database whose snapshots to list; all of the account unless given.
        origin: `manual` or `automatic`; any unless given.
        newer_than: only snapshots taken at most this long ago, by the service's clock; at most 30
            days. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        older_than: only snapshots taken longer ago than this, by the service's clock; at most 30
            days. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        with_url: whether the result has the download URL too. As an output, the whole result is
            then a secret: `get_download_url` returns the URL alone.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.
    """

def get_latest_snapshot_output(
    database_id: pulumi.Input[str],
    origin: pulumi.Input[Literal["manual", "automatic"]] | None = None,
    max_age: pulumi.Input[str | float] | None = None,
    *,
    with_url: pulumi.Input[bool] | None = None,
    opts: pulumi.InvokeOutputOptions | None = None,
) -> pulumi.Output[SnapshotInfo | None]:
    """`get_latest_snapshot` for arguments that are outputs.

    What holds a download URL is a secret.

    `LookupFailed` is raised if an argument cannot be used, there is no such database, or the
        service gives no complete answer.

    Args:
        database_id: the database whose snapshot.
        origin: `manual` or `automatic`; any unless given.
        max_age: only a snapshot taken at most this long ago, by the service's clock; at most 30
            days. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        with_url: whether the result has the download URL too. As an output, the whole result is
            then a secret: `get_download_url` returns the URL alone.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.
    """

def get_download_url_output(
    database_id: pulumi.Input[str],
    version_id: pulumi.Input[str],
    *,
    opts: pulumi.InvokeOutputOptions | None = None,
) -> pulumi.Output[str]:
    """`get_download_url` for arguments that are outputs.

    What holds a download URL is a secret.

    `LookupFailed` is raised if an argument cannot be used, there is no such database, or the
        service gives no complete answer.

    Args:
        database_id: the snapshot's database.
        version_id: the snapshot's version.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.
    """

def get_database_output(
    database_id: pulumi.Input[str],
    *,
    opts: pulumi.InvokeOutputOptions | None = None,
) -> pulumi.Output[DatabaseInfo]:
    """`get_database` for arguments that are outputs.

    What holds a download URL is a secret.

    `LookupFailed` is raised if an argument cannot be used, there is no such database, or the
        service gives no complete answer.

    Args:
        database_id: the database.
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.
    """

def get_databases_output(
    *,
    opts: pulumi.InvokeOutputOptions | None = None,
) -> pulumi.Output[list[DatabaseInfo]]:
    """`get_databases` for arguments that are outputs.

    What holds a download URL is a secret.

    `LookupFailed` is raised if an argument cannot be used, there is no such database, or the
        service gives no complete answer.

    Args:
        opts: as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.
    """
