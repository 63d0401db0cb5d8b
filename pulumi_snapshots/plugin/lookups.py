"""The plugin's functions, as Python programs call them; results and arguments are those of the top level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.lookup.results import DATABASE, DATABASES, LATEST, SNAPSHOTS
from pulumi_snapshots.program.invokes import later, now

if TYPE_CHECKING:
    import pulumi

    from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo
    from pulumi_snapshots.program import Duration, Origin


def get_snapshots(  # noqa: PLR0913  the arguments of the lookup, and the options
    database_id: str | None = None,
    origin: Origin | None = None,
    newer_than: Duration | None = None,
    older_than: Duration | None = None,
    *,
    with_url: bool | None = None,
    opts: pulumi.InvokeOptions | None = None,
) -> list[SnapshotInfo]:
    """Like `pulumi_snapshots.get_snapshots`, with the same arguments and errors."""
    return now(
        SNAPSHOTS,
        opts,
        database_id=database_id,
        origin=origin,
        newer_than=newer_than,
        older_than=older_than,
        with_url=with_url,
    )


def get_snapshots_output(  # noqa: PLR0913  the arguments of the lookup, and the options
    database_id: pulumi.Input[str] | None = None,
    origin: pulumi.Input[Origin] | None = None,
    newer_than: pulumi.Input[Duration] | None = None,
    older_than: pulumi.Input[Duration] | None = None,
    *,
    with_url: pulumi.Input[bool] | None = None,
    opts: pulumi.InvokeOutputOptions | None = None,
) -> pulumi.Output[list[SnapshotInfo]]:
    """Like `pulumi_snapshots.get_snapshots_output`, with the same arguments and errors."""
    return later(
        SNAPSHOTS,
        opts,
        database_id=database_id,
        origin=origin,
        newer_than=newer_than,
        older_than=older_than,
        with_url=with_url,
    )


def get_latest_snapshot(
    database_id: str,
    origin: Origin | None = None,
    max_age: Duration | None = None,
    *,
    with_url: bool | None = None,
    opts: pulumi.InvokeOptions | None = None,
) -> SnapshotInfo | None:
    """Like `pulumi_snapshots.get_latest_snapshot`, with the same arguments and errors."""
    asked = {"database_id": database_id, "origin": origin, "max_age": max_age, "with_url": with_url}
    return now(LATEST, opts, **asked, optional=True)


def get_latest_snapshot_output(
    database_id: pulumi.Input[str],
    origin: pulumi.Input[Origin] | None = None,
    max_age: pulumi.Input[Duration] | None = None,
    *,
    with_url: pulumi.Input[bool] | None = None,
    opts: pulumi.InvokeOutputOptions | None = None,
) -> pulumi.Output[SnapshotInfo | None]:
    """Like `pulumi_snapshots.get_latest_snapshot_output`, with the same arguments and errors."""
    asked = {"database_id": database_id, "origin": origin, "max_age": max_age, "with_url": with_url}
    return later(LATEST, opts, **asked, optional=True)


def get_database(database_id: str, *, opts: pulumi.InvokeOptions | None = None) -> DatabaseInfo:
    """Like `pulumi_snapshots.get_database`, with the same arguments and errors."""
    return now(DATABASE, opts, database_id=database_id)


def get_database_output(
    database_id: pulumi.Input[str], *, opts: pulumi.InvokeOutputOptions | None = None
) -> pulumi.Output[DatabaseInfo]:
    """Like `pulumi_snapshots.get_database_output`, with the same arguments and errors."""
    return later(DATABASE, opts, database_id=database_id)


def get_databases(*, opts: pulumi.InvokeOptions | None = None) -> list[DatabaseInfo]:
    """Like `pulumi_snapshots.get_databases`, with the same arguments and errors."""
    return now(DATABASES, opts)


def get_databases_output(*, opts: pulumi.InvokeOutputOptions | None = None) -> pulumi.Output[list[DatabaseInfo]]:
    """Like `pulumi_snapshots.get_databases_output`, with the same arguments and errors."""
    return later(DATABASES, opts)
