"""The guard whose snapshot is taken by the plugin, which the program's hooks ask for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc
import pulumi
from pulumi.runtime import invoke_async
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.settings import get_monitor

from pulumi_snapshots.guard.inputs import TAKE
from pulumi_snapshots.late import late
from pulumi_snapshots.program.guard import GuardDeclaration
from pulumi_snapshots.program.invokes import arguments_of, text_of, token_of

if TYPE_CHECKING:
    from pulumi_snapshots.guard.inputs import GuardInputs
    from pulumi_snapshots.lookup.results import SnapshotInfo
    from pulumi_snapshots.program.guard import HookRow


class Guard(GuardDeclaration):
    """Like `pulumi_snapshots.Guard`, with the same arguments and errors."""

    async def _until_ready(self) -> None:
        """Have the engine start the plugin before it makes a guarded change, too.

        It needs a free worker for that, and those may all have changes that wait for the plugin. After the program's end, when
        deletes come, it starts none.
        """
        with suppress(Exception):  # without a database it is refused, and sends nothing
            await invoke_async(token_of(TAKE), {})
        await super()._until_ready()

    async def _taken(self, inputs: GuardInputs, change: str, row: HookRow) -> None:
        await self._ask(inputs, change, row)

    async def _noted(self, inputs: GuardInputs, change: str, row: HookRow) -> None:
        await self._ask(inputs, change, row, after=True)

    def _newest(self, database_id: str) -> SnapshotInfo | None:
        newest: SnapshotInfo | None = late("plugin.lookups:get_latest_snapshot")(database_id, "manual")
        return newest

    async def _ask(self, inputs: GuardInputs, change: str, row: HookRow, **more: Any) -> None:
        arguments = {
            "database_id": inputs.database_id,
            "reuse_within": inputs.reuse_within,
            "timeout": inputs.timeout,
            "fallback": inputs.fallback,
            "name": self._name,
            "stack": self._stack,
            "change": change,
            "urn": row.urn,
            **more,
        }
        token = token_of(TAKE)
        request = resource_pb2.ResourceInvokeRequest(tok=token)
        request.args.update(arguments_of(arguments))
        monitor, loop = get_monitor(), asyncio.get_running_loop()
        answered = asyncio.Event()
        # The SDK's own way needs a thread of the program's executor.
        call: Any = monitor.Invoke.future(request)  # type: ignore[union-attr]  # a program has one
        call.add_done_callback(lambda _: loop.call_soon_threadsafe(answered.set))
        await answered.wait()
        try:
            failures = [f"{each.reason} ({each.property})" for each in call.result().failures]
        except grpc.RpcError as error:
            failures = [text_of(Exception(error.details()), token)]
        if failures:
            raise pulumi.RunError("; ".join(failures))
