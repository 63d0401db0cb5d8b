"""A plugin that was started by hand, to debug it: engines attach to it, one command after the other or several at a time."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

from pulumi_snapshots.engine.messages import Callbacks, Engine
from pulumi_snapshots.plugin.protocol.server import Attached
from pulumi_snapshots.plugin.protocol.servicer import Plugin
from pulumi_snapshots.run.calls import Shared
from tests.support.plugin_inside import Plugged, _Context, inside, plugged, values
from tests.support.servicer import CallFailedError, secret, urn

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"


@asynccontextmanager
async def attached() -> AsyncIterator[Callable[[str], Plugged]]:
    """What connects to it, as each provider of each command does; by a name."""
    async with plugged(snapshot_seconds=400) as first:
        first.emulator.add_database(DATABASE)
        served = Attached(lambda: first.again().plugin)
        yield lambda peer: replace(first, plugin=served, peer=peer)


@inside
async def test_the_end_of_one_command_ends_no_wait_of_another() -> None:
    async with attached() as connection:
        waiting = connection("one")
        other = connection("other")
        await waiting.ready()
        await other.ready()
        creating = asyncio.ensure_future(
            waiting.ask(
                "Create",
                urn=urn("x"),
                properties={"databaseId": DATABASE, "timeout": "1h"},
            )
        )
        await asyncio.sleep(100)
        assert waiting.kinds.count("create") == 1
        await other.call("Cancel", empty_pb2.Empty())
        assert values((await creating).properties)["available"]


@inside
async def test_each_account_of_a_program_keeps_its_own_key() -> None:
    lookup = {"tok": "squarecloud:index:getDatabase", "args": {"databaseId": DATABASE}}
    async with attached() as connection:
        own = connection("one")
        other = connection("other")
        await own.ready()
        await other.ready({"apiKey": secret("of-another-account")})
        assert "key" in await other.refused("Invoke", **lookup)
        assert await own.ask("Invoke", **lookup)


@inside
async def test_a_connection_without_a_handshake_gets_no_account() -> None:
    """As after half an hour without a call, when gRPC connects again: the account of another provider must not be used."""
    async with attached() as connection:
        await connection("one").ready()
        for method in ("GetPluginInfo", "List"):
            with pytest.raises(CallFailedError, match="Run the command again"):
                await connection("again").call(method, empty_pb2.Empty())


def attached_for_real() -> Attached:
    """As `serve` makes it, with threads and channels of its own for each connection."""
    return Attached(lambda: Plugin(Engine(), Shared(), Callbacks("")))


async def command_at(
    served: Attached, peer: str, engine: str, *, is_killed: bool = False
) -> None:
    """What an engine calls in a command; a killed one sends no Cancel."""
    calls = [
        ("Handshake", provider_pb2.ProviderHandshakeRequest(engine_address=engine)),
        ("Check", provider_pb2.CheckRequest(urn=urn("x"))),
    ]
    if not is_killed:
        calls += [("Cancel", empty_pb2.Empty()), ("Cancel", empty_pb2.Empty())]
    for method, request in calls:
        await getattr(served, method)(request, _Context(peer))


@pytest.mark.parametrize("is_killed", [False, True], ids=["ended", "killed"])
def test_the_end_of_a_command_frees_its_threads(*, is_killed: bool) -> None:
    async def commands(engine: str) -> list[int]:
        served = attached_for_real()
        counts = []
        for number in range(20):
            peer = f"127.0.0.1:{1000 + number}"
            await command_at(served, peer, engine, is_killed=is_killed)
            counts.append(threading.active_count())
        served.stop()
        return counts

    with socket.create_server(("127.0.0.1", 0)) as listening:
        lives = f"127.0.0.1:{listening.getsockname()[1]}"
        counts = asyncio.run(commands("127.0.0.1:1" if is_killed else lives))
    # The event loop's own threads, of which there are few, ask whether an engine still runs.
    assert counts[-1] <= counts[1] + 8, counts


class Slow:
    """A plugin whose create lasts until it is told to end."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.closed = False

    async def Handshake(self, _request: Any, _context: Any) -> None:  # noqa: N802
        pass

    async def Cancel(self, _request: Any, _context: Any) -> None:  # noqa: N802
        pass

    async def Create(self, _request: Any, _context: Any) -> bool:  # noqa: N802
        await self.may_end.wait()
        return self.closed

    async def close(self) -> None:
        self.closed = True


def test_a_call_under_way_keeps_what_it_uses() -> None:
    async def calls() -> tuple[bool, bool]:
        plugin = Slow()
        served: Any = Attached(lambda: plugin)  # type: ignore[arg-type, return-value]
        context = _Context("127.0.0.1:1000")
        await served.Handshake(None, context)
        creating = asyncio.ensure_future(served.Create(None, context))
        await asyncio.sleep(0)
        await served.Cancel(None, context)
        plugin.may_end.set()
        return await creating, plugin.closed

    assert asyncio.run(calls()) == (False, True)


@inside
async def test_a_command_that_was_interrupted_still_ends_its_calls() -> None:
    async with attached() as connection:
        waiting = connection("one")
        await waiting.ready()
        creating = asyncio.ensure_future(
            waiting.ask(
                "Create",
                urn=urn("x"),
                properties={"databaseId": DATABASE, "timeout": "1h"},
            )
        )
        await asyncio.sleep(100)
        await waiting.call("Cancel", empty_pb2.Empty())
        with pytest.raises(CallFailedError) as caught:
            await creating
        assert caught.value.kept is not None
        await waiting.call("Cancel", empty_pb2.Empty())
