"""The `Drill` resource, as programs declare it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pulumi

from pulumi_snapshots.drill.check import Check
from pulumi_snapshots.drill.record import DRILL
from pulumi_snapshots.program import Declared, naming_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pulumi_snapshots.lookup.results import SnapshotInfo
    from pulumi_snapshots.program.snapshot import Snapshot

OnFailure = Literal["error", "warn"]

# As for a resource, an error about its arguments names the class.
Check.__init__ = naming_class("Check", Check.__init__)  # type: ignore[method-assign]


class Drill(Declared):
    """Proof that a snapshot restores: it is restored onto a scratch database, and checks ask it."""

    schema = DRILL

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
    proved_by: pulumi.Output[list[Any] | None]
    last_good: pulumi.Output[dict[str, Any] | None]
    attempt: pulumi.Output[dict[str, Any] | None]

    def __init__(  # noqa: PLR0913  each is an input of the resource
        self,
        resource_name: str,
        snapshot: Snapshot
        | SnapshotInfo
        | pulumi.Output[SnapshotInfo | None]
        | None = None,
        *,
        scratch_database_id: pulumi.Input[str],
        checks: pulumi.Input[Sequence[pulumi.Input[Check | Mapping[str, Any]]]]
        | None = None,
        overwrite_scratch: pulumi.Input[bool] | None = None,
        password: pulumi.Input[str] | None = None,
        connection: pulumi.Input[str] | None = None,
        source_connection: pulumi.Input[str] | None = None,
        database_id: pulumi.Input[str] | None = None,
        version_id: pulumi.Input[str] | None = None,
        every: pulumi.Input[str | float] | None = None,
        triggers: pulumi.Input[Sequence[pulumi.Input[Any]]] | None = None,
        on_failure: pulumi.Input[OnFailure] | None = None,
        timeout: pulumi.Input[str | float] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        self._declare(locals())
