"""The `Restore` resource, as programs declare it, whichever provider makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi

from pulumi_snapshots.program import Declared
from pulumi_snapshots.restore.record import RESTORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_snapshots.lookup.results import SnapshotInfo
    from pulumi_snapshots.program.snapshot import SnapshotDeclaration


class RestoreDeclaration(Declared):
    """A snapshot put back into a database, over everything that the database holds; once, when it is created.

    `pulumi up` sends one request and waits until the service says that it succeeded, and the database runs. Afterwards
    only other triggers, or another target, restore again. A changed snapshot alone restores nothing and warns; neither
    does a refresh, nor the end of the snapshot's 30 days, nor deleting the resource.

    Args:
        resource_name: the resource's name in the program.
        snapshot: the Snapshot to put back, or what a lookup has found; instead of it `database_id` and `version_id`.
        overwrite: must be true, else the preview fails: everything that the database holds is overwritten.
        database_id: the database whose snapshot is put back.
        version_id: the snapshot's version id.
        target_database_id: the database to overwrite, of the same engine; the snapshot's own unless given. Another one
            restores again.
        triggers: any values. A change of any restores again.
        timeout: how long the restore may take, and each resume again. The resource's custom timeout for creates wins.
            15m unless given. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        opts: as for every resource.

    Raises:
        pulumi.RunError: which snapshot to put back is not given, or given twice.
    """

    schema = RESTORE

    database_id: pulumi.Output[str]
    version_id: pulumi.Output[str]
    target_database_id: pulumi.Output[str]
    triggers: pulumi.Output[list[Any] | None]
    requested_at: pulumi.Output[str]
    restored_at: pulumi.Output[str]
    attempt: pulumi.Output[dict[str, Any] | None]

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
        self._declare(locals())
