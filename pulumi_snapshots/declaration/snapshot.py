"""The `Snapshot` resource, as programs declare it, whichever way it reaches the engine."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import pulumi

from pulumi_snapshots.declaration import create_timeout, warn_of_plain_key, warn_of_unusual_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["SNAPSHOT_OUTPUTS", "SnapshotDeclaration"]

SNAPSHOT_OUTPUTS = (
    "version_id",
    "name",
    "download_url",
    "download_url_expires_at",
    "size",
    "created_at",
    "expires_at",
    "requested_at",
    "available",
    "attempt",
    "origin",
    "runtime",
)


class SnapshotDeclaration(pulumi.CustomResource):
    """A snapshot of one Square Cloud database: the record of an event, never taken again behind your back.

    `pulumi up` sends one request, waits until the service lists exactly the snapshot that it started, and exposes a
    download URL pinned to it. A replacement takes the new one first; delete forgets, and the service keeps a snapshot
    until its 30 days are over.

    Args:
        resource_name: the resource's name in the program.
        database_id: whose data; a change takes a new snapshot.
        triggers: any values; a change of any takes a new snapshot.
        rotate_after: an `up` later than this after `created_at` takes a new one; at most 30 days, longer than
            `reuse_within`.
        reuse_within: before a request, adopt the newest manual snapshot of this database younger than this.
        timeout: of the whole create, and of each resume anew; 45 minutes unless given. `custom_timeouts` wins.
        opts: as for every resource.

    Durations are strings such as `90s`, `45m`, `1h30m`, `7d`, or numbers of seconds.
    """

    database_id: pulumi.Output[str]
    """The database's id."""
    triggers: pulumi.Output[list[Any] | None]
    """The triggers that it was taken for."""
    version_id: pulumi.Output[str | None]
    """The service's version id, the only thing that identifies a snapshot; None while it is pending."""
    name: pulumi.Output[str | None]
    """The storage object's name; a restore needs it."""
    download_url: pulumi.Output[str | None]
    """Signed, pinned to this version; a secret."""
    download_url_expires_at: pulumi.Output[str | None]
    """RFC 3339, UTC."""
    size: pulumi.Output[int | None]
    """Bytes."""
    created_at: pulumi.Output[str | None]
    """RFC 3339, UTC."""
    expires_at: pulumi.Output[str | None]
    """The end of its 30 days at the service, RFC 3339, UTC."""
    requested_at: pulumi.Output[str | None]
    """When the request was sent, by the service's clock; None where the snapshot was adopted or looked up."""
    available: pulumi.Output[bool]
    """False while it is pending, and once a refresh finds it missing or past its 30 days."""
    attempt: pulumi.Output[dict[str, Any] | None]
    """`posted_at`, `service_clock_offset` (seconds), `answered`, `timeout` (seconds); only while pending."""
    origin: pulumi.Output[str | None]
    """`manual` or `automatic`."""
    runtime: pulumi.Output[str | None]
    """The database's engine, `postgres`, `mongo`, `mysql` or `redis`."""

    def __init__(  # noqa: PLR0913, PLR0917  each is an input of the resource
        self,
        resource_name: str,
        database_id: pulumi.Input[str],
        triggers: pulumi.Input[Sequence[pulumi.Input[Any]]] | None = None,
        rotate_after: pulumi.Input[str | float] | None = None,
        reuse_within: pulumi.Input[str | float] | None = None,
        timeout: pulumi.Input[str | float] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        custom, opts = create_timeout(opts)
        inputs = {
            "database_id": database_id,
            "triggers": triggers,
            "rotate_after": rotate_after,
            "reuse_within": reuse_within,
            "timeout": timeout if custom is None else custom,
        }
        self._register(resource_name, inputs, opts)
        warn_of_unusual_id(database_id, self)
        warn_of_plain_key(self)

    @classmethod
    def get(
        cls,
        resource_name: str,
        id: pulumi.Input[str],  # noqa: A002  as in every Pulumi resource
        opts: pulumi.ResourceOptions | None = None,
    ) -> Self:
        """Look up an existing snapshot.

        Args:
            resource_name: the resource's name in the program.
            id: `DATABASE_ID/VERSION_ID`.
            opts: as for every resource.

        Returns:
            The snapshot, not managed by this stack. One that does not exist fails the run.
        """
        snapshot = cls.__new__(cls)
        by_id = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(id=id))
        snapshot._register(resource_name, dict.fromkeys(("database_id", "triggers")), by_id)  # noqa: SLF001  its own class
        return snapshot

    @abstractmethod
    def _register(self, resource_name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None) -> None:
        """Tell the engine of it: the constructor of a resource."""
