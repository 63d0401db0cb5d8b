"""Starts the event loop of a provider process, in a thread of its own."""

import threading
from concurrent.futures import Future

import anyio
from anyio.from_thread import BlockingPortal


def start() -> BlockingPortal:
    """Start an event loop.

    Returns:
        The way in from other threads.
    """
    started = Future[BlockingPortal]()

    async def serve() -> None:
        async with BlockingPortal() as portal:
            started.set_result(portal)
            await portal.sleep_until_stopped()

    # A daemon, so that the process ends when the engine wants it to.
    threading.Thread(
        target=anyio.run, args=(serve,), name="snapshots", daemon=True
    ).start()
    return started.result()
