"""The `Restore` resource, as programs declare it, whichever way it reaches the engine."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import pulumi

from pulumi_snapshots.declaration import create_timeout, restore_source, warn_of_plain_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pulumi_snapshots.declaration.snapshot import SnapshotDeclaration
    from pulumi_snapshots.lookup.results import SnapshotInfo

__all__ = ["RESTORE_OUTPUTS", "RestoreDeclaration"]

RESTORE_OUTPUTS = ("database_id", "version_id", "target_database_id", "requested_at", "restored_at", "attempt")


class RestoreDeclaration(pulumi.CustomResource):
    """Puts a snapshot back into a database, over everything that the database holds; once, when it is created.

    `pulumi up` sends one request and waits until the database was seen down and runs again. Afterwards only other
    `triggers`, or another target, restore again. A changed snapshot alone restores nothing and warns; neither does a
    refresh, nor the end of the snapshot's 30 days, nor deleting the resource.

    Args:
        resource_name: the resource's name in the program.
        snapshot: the Snapshot to put back, or what a lookup has found; instead of it `database_id` and `version_id`.
        overwrite: must be True, else the preview fails: what the database holds is lost, unless a snapshot has it.
        database_id: whose snapshot it is.
        version_id: which one.
        target_database_id: whose data is overwritten; the snapshot's own database unless given. Of the same engine.
        triggers: any values; a change of any restores again.
        timeout: of the whole restore, and of each resume anew; 15 minutes unless given. `custom_timeouts` wins.
        opts: as for every resource.

    Raises:
        pulumi.RunError: which snapshot to put back is not given, or given twice.
    """

    database_id: pulumi.Output[str]
    """Whose snapshot was put back."""
    version_id: pulumi.Output[str]
    """Which one."""
    target_database_id: pulumi.Output[str]
    """Whose data was overwritten."""
    requested_at: pulumi.Output[str]
    """When the request was sent, RFC 3339, UTC, by the service's clock."""
    restored_at: pulumi.Output[str | None]
    """When the database was seen running again, RFC 3339, UTC, by the service's clock; None until then."""
    attempt: pulumi.Output[dict[str, Any] | None]
    """`posted_at`, `service_clock_offset` (seconds), `answered`, `timeout` (seconds), `seen_down`; only until then."""
    triggers: pulumi.Output[list[Any] | None]
    """The triggers that it was restored for."""

    def __init__(  # noqa: PLR0913  each is an input of the resource
        self,
        resource_name: str,
        snapshot: SnapshotDeclaration | SnapshotInfo | pulumi.Output[SnapshotInfo | None] | None = None,
        *,
        overwrite: pulumi.Input[bool] | None = None,
        database_id: pulumi.Input[str] | None = None,
        version_id: pulumi.Input[str] | None = None,
        target_database_id: pulumi.Input[str] | None = None,
        triggers: pulumi.Input[Sequence[pulumi.Input[Any]]] | None = None,
        timeout: pulumi.Input[str | float] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        source = restore_source(resource_name, snapshot, database_id, version_id)
        custom, opts = create_timeout(opts)
        inputs = {
            **source,
            "target_database_id": target_database_id,
            "overwrite": overwrite,
            "triggers": triggers,
            "timeout": timeout if custom is None else custom,
        }
        self._register(resource_name, inputs, opts)
        warn_of_plain_key(self)

    @abstractmethod
    def _register(self, resource_name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None) -> None:
        """Tell the engine of it: the constructor of a resource."""
