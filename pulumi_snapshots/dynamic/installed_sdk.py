"""Find which features the installed SDK offers, in a real provider process without an engine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import grpc
from pulumi.dynamic import CreateResult, ResourceProvider
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from pulumi_snapshots.dynamic.engine_access import Features, features
from pulumi_snapshots.engine.presence import CHANNEL_OPTIONS
from pulumi_snapshots.run.settings import without_key

PATIENCE = 30.0
"""Seconds for a process to start and to answer one call."""
URN = "urn:pulumi:probe::probe::pulumi-python:dynamic/squarecloud:Probe::probe"


class FeatureProbe(ResourceProvider):
    """Creates nothing; its outputs are the features that it finds."""

    serialize_as_secret_always = False

    def create(self, _props: dict[str, Any]) -> CreateResult:
        """Find the features."""
        return CreateResult("probe", asdict(features()))


def probe_features(environment: Mapping[str, str] = os.environ) -> Features:
    """Start the SDK's provider process as the engine does, without the API key, and ask it; takes about a second.

    Raises:
        RuntimeError: the process did not start or answer; the text says how it ended.
    """
    with socket.create_server(("127.0.0.1", 0)) as engine:  # it need not answer
        process = subprocess.Popen(  # noqa: S603  this very interpreter
            [sys.executable, "-u", "-m", "pulumi.dynamic", f"127.0.0.1:{engine.getsockname()[1]}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=without_key(environment),
            start_new_session=True,  # ^C is for its caller
        )
        overdue = threading.Timer(PATIENCE, process.kill)
        overdue.start()
        try:
            return _ask(process)
        finally:
            overdue.cancel()
            process.kill()
            process.communicate()


def _ask(process: subprocess.Popen[str]) -> Features:
    port = process.stdout.readline().strip() if process.stdout else ""
    if not port.isdecimal():
        raise RuntimeError(f"the SDK's provider process did not start: {port or 'it ended without output'}")
    request = provider_pb2.CreateRequest(urn=URN)
    request.properties.update({"__provider": serialize_provider(FeatureProbe())})
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
        try:
            answer = provider_pb2_grpc.ResourceProviderStub(channel).Create(request, timeout=PATIENCE)
        except grpc.RpcError as error:
            raise RuntimeError(f"the SDK's provider process failed: {error}") from None
    return Features(**{name: bool(answer.properties[name]) for name in asdict(Features(*[False] * 5))})
