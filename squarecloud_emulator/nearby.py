"""The emulator in a thread of the caller's own process.

It is there at once, where another process takes half a second.
"""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from squarecloud_emulator.emulator import Emulator
from squarecloud_emulator.serving import Server

PATIENCE = 30.0
"""Seconds for a start or an end, which take much less."""


@contextmanager
def nearby(*arguments: str) -> Iterator[Emulator]:
    """Serve an emulator with a key of its own, and without automatic snapshots."""
    from squarecloud_emulator.__main__ import opened, parser  # noqa: PLC0415  a command, which loads what it runs

    emulator, listening = opened(parser().parse_args(("--no-automatic", *arguments)))
    emulator.settings = replace(emulator.settings, api_key=secrets.token_hex(32))
    ready = threading.Event()
    server = Server(emulator, ready.set)
    thread = threading.Thread(
        target=server.serve_at,
        args=(listening,),
        name="emulator",
        daemon=True,
    )
    thread.start()
    try:
        if not ready.wait(PATIENCE):
            raise RuntimeError("the emulator does not listen")
        yield emulator
    finally:
        server.end()
        thread.join(PATIENCE)
