"""The guard whose hooks run in the plugin's process, as those of its component do."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pulumi

from pulumi_snapshots.guard.coverage import GUARD_TYPE
from pulumi_snapshots.guard.inputs import HookKey
from pulumi_snapshots.program.guard import GuardDeclaration
from pulumi_snapshots.properties.catalogue import in_camel


class Guard(GuardDeclaration):
    """Like `pulumi_snapshots.Guard`, with the same arguments and errors."""

    _lookup = "program.lookups:get_latest_snapshot"

    def _make_hooks(self, names: Mapping[HookKey, str]) -> dict[HookKey, Any]:
        given = {
            "database_id": self._database_id,
            **self._given,
            "only": asyncio.ensure_future(self._chosen_patterns()),
        }
        inputs = {
            in_camel(name): value for name, value in given.items() if value is not None
        }
        component = pulumi.ComponentResource(
            GUARD_TYPE, self._name, inputs, remote=True
        )
        registered: Any = asyncio.ensure_future(component.urn.future())
        # The plugin has registered the hooks once its guard is there; resources wait for that.
        hooks: dict[HookKey, Any] = {}
        for (when, change), name in names.items():
            kind = pulumi.ErrorHook if when == "on" else pulumi.ResourceHook
            hook: Any = object.__new__(kind)
            hook.name = name
            hook._registered = registered  # noqa: SLF001  resources wait for it
            hooks[when, change] = hook
        return hooks

    async def _chosen_patterns(self) -> list[str]:
        """What the program guards, for the state; the program gives the hooks, not the plugin."""
        return sorted(self._chosen)

    @property
    def _leaves_none_if_off(self) -> bool:
        return self._settings.guard == "off"
