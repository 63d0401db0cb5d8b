"""Serves the engine that has started this process, and ends with it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial

import anyio
import anyio.to_thread
import grpc
from anyio.abc import TaskGroup
from pulumi.runtime.proto import callback_pb2_grpc, provider_pb2_grpc

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.engine.process import WATCH_EVERY, address_in, run_in
from pulumi_snapshots.plugin.protocol.attached import Attached
from pulumi_snapshots.plugin.protocol.engine import Callbacks, Engine
from pulumi_snapshots.plugin.protocol.servicer import Plugin
from pulumi_snapshots.run.shared import Shared

MESSAGE_LIMIT = 400 * 1024 * 1024
"""Bytes of one message: the engine's own limit."""
GRACE = 30.0
"""Seconds that calls under way have to answer once this process was asked to end; their waits end at once."""
BY_HAND = (
    "This is Pulumi's plugin for Square Cloud; `pulumi` starts it by itself. To debug it, run the program with "
    "PULUMI_DEBUG_PROVIDERS=squarecloud:{}"
)


def main() -> None:
    """Serve until the engine ends this process: its address is the last argument."""
    anyio.run(_serve, address_in(sys.argv))


async def _serve(address: str | None) -> None:
    options = [("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.max_send_message_length", MESSAGE_LIMIT)]
    server = grpc.aio.server(options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    callbacks = Callbacks(f"127.0.0.1:{port}")
    async with anyio.create_task_group() as background:
        engine, start = Engine(address), partial(_plugin, background, callbacks)
        served = Attached(lambda: start(Engine())) if address is None else start(engine)
        callback_pb2_grpc.add_CallbacksServicer_to_server(callbacks, server)
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(served, server)
        await server.start()
        asked_to_end = asyncio.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, asked_to_end.set)
        if address is None:
            print(BY_HAND.format(port), file=sys.stderr)  # noqa: T201  for users who started it themselves
        else:
            background.start_soon(_end_with, engine)
        print(port, flush=True)  # noqa: T201  what the engine waits for
        await asked_to_end.wait()
        served.stop()
        await server.stop(GRACE)
        background.cancel_scope.cancel()


def _plugin(background: TaskGroup, callbacks: Callbacks, engine: Engine) -> Plugin:
    shared = Shared(lambda text: engine.say(text, ephemeral=True), run=run_in(sys.argv))
    shared.background = background
    return Plugin(engine, shared, callbacks)


async def _end_with(engine: Engine) -> None:
    """End this process as soon as its engine was killed.

    It ends at once, not as at ^C: an answer that the engine never gets must not be recorded as delivered.
    """
    clock = Clock()
    # In a thread: an engine that is stopped answers late, and nothing else must wait for that.
    while await anyio.to_thread.run_sync(engine.is_alive) or await anyio.to_thread.run_sync(engine.is_alive):
        await clock.sleep(WATCH_EVERY)
    os._exit(1)
