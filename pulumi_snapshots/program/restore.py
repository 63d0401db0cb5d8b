"""The `Restore` resource, as programs declare it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi

from pulumi_snapshots.program import Declared
from pulumi_snapshots.restore.record import RESTORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_snapshots.lookup.results import SnapshotInfo
    from pulumi_snapshots.program.snapshot import Snapshot


class Restore(Declared):
    """A snapshot that is restored into a database, over everything that it holds.

    Once, when it is created.
    """

    schema = RESTORE

    database_id: pulumi.Output[str]
    version_id: pulumi.Output[str]
    target_database_id: pulumi.Output[str]
    triggers: pulumi.Output[list[Any] | None]
    requested_at: pulumi.Output[str]
    restored_at: pulumi.Output[str]
    attempt: pulumi.Output[dict[str, Any] | None]
    keep_current: pulumi.Output[bool | None]
    previous: pulumi.Output[str | None]

    def __init__(  # noqa: PLR0913  each is an input of the resource
        self,
        resource_name: str,
        snapshot: Snapshot
        | SnapshotInfo
        | pulumi.Output[SnapshotInfo | None]
        | None = None,
        *,
        overwrite: pulumi.Input[bool] | None = None,
        database_id: pulumi.Input[str] | None = None,
        version_id: pulumi.Input[str] | None = None,
        target_database_id: pulumi.Input[str] | None = None,
        triggers: pulumi.Input[Sequence[pulumi.Input[Any]]] | None = None,
        timeout: pulumi.Input[str | float] | None = None,
        keep_current: pulumi.Input[bool] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        self._declare(locals())
