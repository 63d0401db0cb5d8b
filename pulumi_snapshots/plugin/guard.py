"""The guard whose hooks run in the plugin's process, as those of its component do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pulumi

from pulumi_snapshots.late import late
from pulumi_snapshots.program.guard import GuardDeclaration
from pulumi_snapshots.program.lookups import arguments_of
from pulumi_snapshots.run.settings import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.lookup.results import SnapshotInfo


class Guard(GuardDeclaration):
    """Like `pulumi_snapshots.Guard`, with the same arguments and errors."""

    def _made(self, names: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], pulumi.ResourceHook]:
        # What is guarded is picked here.
        inputs = arguments_of({"database_id": self._database_id, **self._given, "only": []})
        component = pulumi.ComponentResource(f"{PACKAGE}:index:Guard", self._name, inputs, remote=True)
        registered: Any = asyncio.ensure_future(component.urn.future())
        return {each: _hook(name, registered) for each, name in names.items()}

    def _newest(self, database_id: str) -> SnapshotInfo | None:
        newest: SnapshotInfo | None = late("plugin.lookups:get_latest_snapshot")(database_id, "manual")
        return newest


def _hook(name: str, registered: Any) -> pulumi.ResourceHook:
    """A hook that the plugin has registered once its guard is there; resources wait for that."""
    hook = object.__new__(pulumi.ResourceHook)
    hook.name, hook._registered = name, registered
    return hook
