"""The service in a thread of the test's own process: there at once, where another process takes half a second to start."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi_snapshots.emulator.__main__ import opened, parser
from pulumi_snapshots.emulator.serving import Server
from tools.sandbox import STOP_SECONDS, Service, new_key

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def near_emulator(*arguments: str) -> Iterator[Service]:
    """A service with these options of the emulator's command, with a key of its own, and without automatic snapshots."""
    emulator, listening = opened(parser().parse_args(("--no-automatic", *arguments)))
    emulator.settings = replace(emulator.settings, api_key=new_key())
    ready = threading.Event()
    server = Server(emulator, ready.set)
    thread = threading.Thread(target=server.serve_at, args=(listening,), name="emulator", daemon=True)
    thread.start()
    try:
        assert ready.wait(STOP_SECONDS), "the emulator does not listen"
        yield Service(emulator.base_url, emulator.api_url, emulator.snapshots_url, emulator.settings.api_key)
    finally:
        server.end()
        thread.join(STOP_SECONDS)
        assert not thread.is_alive(), "the emulator does not end"
