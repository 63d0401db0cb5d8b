"""The guard whose hooks run in the plugin's process, as those of its component do."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pulumi

from pulumi_snapshots.late import late
from pulumi_snapshots.program.guard import GuardDeclaration
from pulumi_snapshots.properties.catalogue import in_camel
from pulumi_snapshots.run.settings import PACKAGE


class Guard(GuardDeclaration):
    """Like `pulumi_snapshots.Guard`, with the same arguments and errors."""

    def _made(
        self, names: Mapping[tuple[str, str], str]
    ) -> dict[tuple[str, str], pulumi.ResourceHook]:
        given = {
            "database_id": self._database_id,
            **self._given,
            "only": [],
        }  # what is guarded is picked here
        inputs = {in_camel(name): value for name, value in given.items() if value is not None}
        component = pulumi.ComponentResource(
            f"{PACKAGE}:index:Guard", self._name, inputs, remote=True
        )
        registered: Any = asyncio.ensure_future(component.urn.future())
        # The plugin has registered the hooks once its guard is there; resources wait for that.
        hooks = {each: object.__new__(pulumi.ResourceHook) for each in names}
        for each, hook in hooks.items():
            hook.name, hook._registered = names[each], registered  # noqa: SLF001
        return hooks

    def _newest(self, database_id: str) -> Any:
        return late("program.lookups:get_latest_snapshot")(database_id, "manual")
