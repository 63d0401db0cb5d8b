"""The engine that the plugin serves: whether it still runs, and the messages to it."""

from __future__ import annotations

import os

import grpc
from pulumi.runtime.proto import engine_pb2_grpc

from pulumi_snapshots.engine.messages import Messages
from pulumi_snapshots.engine.presence import CHANNEL_OPTIONS, listens


class Engine(Messages):
    """Gets the messages of one plugin.

    Args:
        address: the engine's; None if it is not known yet.

    Attributes:
        is_quiet: whether it gets warnings only: `pulumi do` prints everything else into its answer, which programs read.
    """

    def __init__(self, address: str | None = None) -> None:
        super().__init__(
            lambda: engine_pb2_grpc.EngineStub(grpc.insecure_channel(self._address, options=CHANNEL_OPTIONS))
        )
        self.is_quiet = False
        self._parent = os.getppid()
        self._address = address

    def is_at(self, address: str) -> None:
        """Take the address from a handshake, unless one is known."""
        self._address = self._address or address

    def is_alive(self) -> bool:
        """Whether it still runs: it listens, and this process is its child until it ends. Blocks while the engine is stopped."""
        return os.getppid() == self._parent and (self._address is None or listens(self._address))

    def say(self, text: str, urn: str = "", *, warning: bool = False, ephemeral: bool = False) -> None:
        """Queue one message."""
        if self._address is not None and (warning or not self.is_quiet):
            super().say(text, urn, warning=warning, ephemeral=ephemeral)
