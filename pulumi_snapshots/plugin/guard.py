"""The guard whose snapshot is taken by the plugin, which the program's hooks ask for it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pulumi
from pulumi.runtime import invoke_async

from pulumi_snapshots.declaration.guard import GuardDeclaration
from pulumi_snapshots.guard.inputs import TAKE
from pulumi_snapshots.plugin.lookups import answer_of, arguments_of, text_of, token_of
from pulumi_snapshots.snapshot.record import SnapshotRecord

if TYPE_CHECKING:
    from pulumi_snapshots.declaration.guard import HookRow
    from pulumi_snapshots.guard.inputs import GuardInputs


class Guard(GuardDeclaration):
    """Like `pulumi_snapshots.Guard`, with the same arguments and errors."""

    def _hook(self, change: str) -> pulumi.ResourceHook:
        if change == "delete":
            _start()
        return super()._hook(change)

    async def _taken(self, inputs: GuardInputs, change: str, row: HookRow) -> SnapshotRecord:
        arguments = {
            "database_id": inputs.database_id,
            "reuse_within": inputs.reuse_within,
            "timeout": inputs.timeout,
            "name": self._name,
            "change": change,
            "urn": row.urn,
        }
        token = token_of(TAKE)
        try:
            taken = answer_of(TAKE, await invoke_async(token, arguments_of(arguments)))
        except Exception as error:  # noqa: BLE001  the SDK raises nothing else
            raise pulumi.RunError(text_of(error, token)) from None
        return SnapshotRecord(taken.database_id, taken.version_id, created_at=taken.created_at, available=True)


def _start() -> None:
    """Have the engine start the plugin while the program runs.

    Deletes come after that. The engine then starts no provider, and what asks for one waits for ever.
    """

    async def ask() -> None:
        with suppress(Exception):  # without a database it is refused, and sends nothing
            await invoke_async(token_of(TAKE), {})

    pulumi.Output.all(ask())  # the program does not end before it
