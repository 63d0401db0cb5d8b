"""A plugin that was started by hand, to debug it: engines attach to it, one command after the other or several at a time."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from pulumi_snapshots.dynamic.provider import SnapshotProvider
from tests.support.near_emulator import near_emulator
from tests.support.plugin_servicer import PluginServicer
from tests.support.servicer import PLENTY, CallFailedError, urn
from tools.sandbox import Service

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
NAME = urn("x")
PACE = {**PLENTY, "SQUARECLOUD_FIRST_POLL_AFTER": "0.2s", "SQUARECLOUD_POLL_EVERY": "0.3s"}
OPTIONS = ("--soft-deadline", "0.1", "--cache-seconds", "0", "--requests-per-minute", "10000", "--database", DATABASE)


class Attached(PluginServicer):
    """One provider of one command, on a connection of its own as each of an engine's providers has."""

    port = ""

    def _start_provider(self, exit_: contextlib.ExitStack) -> None:
        self._printed: list[str] = []
        channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", options=[("grpc.use_local_subchannel_pool", 1)])
        exit_.callback(channel.close)
        self._stub = provider_pb2_grpc.ResourceProviderStub(channel)
        self.configure(self.config)

    def configure(self, config: Any) -> None:
        super().configure(config)
        self._call("Attach", plugin_pb2.PluginAttach(address=self.address))


class Lost(Attached):
    """A connection that gRPC has made again."""

    def configure(self, config: Any) -> None:
        del config


@pytest.fixture
def service() -> Iterator[Service]:
    with near_emulator(*OPTIONS) as running:
        yield running


@pytest.fixture
def attach(service: Service, tmp_path: Path) -> Iterator[Callable[..., contextlib.AbstractContextManager[Attached]]]:
    code = "from pulumi_snapshots.plugin.serve import main; main()"
    environment = {**os.environ, **service.environment, **PACE, "XDG_STATE_HOME": str(tmp_path)}
    with subprocess.Popen(  # noqa: S603  this very interpreter
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()

        @contextmanager
        def begun(**config: str) -> Iterator[Attached]:
            one = Attached(SnapshotProvider(), {f"squarecloud:{name}": value for name, value in config.items()})
            one.port = port
            with one:
                yield one

        try:
            yield begun
        finally:
            process.terminate()
            process.communicate(timeout=30)
    assert process.returncode == 0


def slow(service: Service, seconds: float) -> None:
    service.control(f"databases/{DATABASE}", {"next_snapshot_seconds": seconds}, "PATCH")


def test_the_end_of_one_command_ends_no_wait_of_another(attach: Any, service: Service) -> None:
    slow(service, 3)
    with attach() as waiting:
        creating = waiting.start(waiting.create, NAME, {"database_id": DATABASE})
        waiting.wait_for(lambda: any("next check" in text for text in waiting.progress(NAME)), "an accepted create")
        with attach() as other:
            other.cancel()
        assert creating.result(60).outputs["available"]


def test_each_account_of_a_program_keeps_its_own_key(attach: Any) -> None:
    lookup = provider_pb2.InvokeRequest(tok="squarecloud:index:getDatabase")
    lookup.args.update({"databaseId": DATABASE})
    with attach() as own, attach(apiKey="of-another-account") as other:
        with pytest.raises(CallFailedError, match="key"):
            other._call("Invoke", lookup)
        assert own._call("Invoke", lookup)


def test_a_connection_without_a_handshake_gets_no_account(attach: Any) -> None:
    """As after half an hour without a call, when gRPC connects again: the account of another provider must not be used."""
    with attach() as begun:
        lost = Lost(SnapshotProvider())
        lost.port = begun.port
        with lost, pytest.raises(CallFailedError, match="Run the command again"):
            lost._call("GetPluginInfo", empty_pb2.Empty())
