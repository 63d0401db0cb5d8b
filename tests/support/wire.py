"""An httpx transport into an emulator without sockets, with time-outs and broken connections under a virtual clock."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from functools import cache
from typing import Any

import anyio
import httpx
import trio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from squarecloud_emulator import Emulator
from squarecloud_emulator.service.refusals import DroppedConnectionError
from squarecloud_emulator.wire.gateway import CONNECTED, kind_of

_Message = dict[str, Any]
_PIECES_IN_FLIGHT = 8  # as on a socket, the sender of a long body waits for its reader


class EmulatorTransport(httpx.AsyncBaseTransport):
    """Sends requests directly into an emulator's app, under the clock of the event loop.

    The app runs in its own task, so it still handles a request whose client has given up.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._tasks: set[asyncio.Task[None]] = set()
        self.strayed: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        home = _parsed(self._emulator.base_url)
        if (request.url.scheme, request.url.host, request.url.port) != (
            home.scheme,
            home.host,
            home.port,
        ):
            self.strayed.append(request)
            raise httpx.ConnectError(
                f"no such host in this test: {request.url.host}", request=request
            )
        kind, resource_id = kind_of(request.method, request.url.path)
        tell = request.extensions.get("trace", _tells_nobody)
        await tell("connection.connect_tcp.started", {})
        if (
            fault := self._emulator.faults.take(
                kind, request.method, resource_id, at="connect"
            )
        ) is not None:
            await anyio.sleep(fault.delay)
            raise httpx.ConnectError("All connection attempts failed", request=request)
        await tell("http11.send_request_headers.started", {})
        answer, wire = anyio.create_memory_object_stream[_Message](_PIECES_IN_FLIGHT)
        self._spawn(
            _Exchange(request, await request.aread(), answer).run, self._emulator.app
        )
        timeout = request.extensions.get("timeout", {}).get("read")
        body = _Body(request, wire, timeout)
        head = await body.next_message()
        return httpx.Response(
            head["status"], headers=head["headers"], stream=body, request=request
        )

    def _spawn(self, run: Callable[[Any], Awaitable[None]], app: Any) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            trio.lowlevel.spawn_system_task(run, app)
        else:
            task = asyncio.ensure_future(run(app))
            self._tasks.add(task)  # the event loop keeps no reference to it
            task.add_done_callback(self._tasks.discard)


@cache
def _parsed(address: str) -> httpx.URL:
    return httpx.URL(address)


async def _tells_nobody(_event: str, _info: object) -> None:
    pass


class _Exchange:
    def __init__(
        self,
        request: httpx.Request,
        body: bytes,
        answer: MemoryObjectSendStream[_Message],
    ) -> None:
        self._request = request
        self._body: bytes | None = body
        self._answer = answer

    async def run(self, app: Any) -> None:
        url = self._request.url
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self._request.method,
            "headers": [
                (name.lower(), value) for name, value in self._request.headers.raw
            ],
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.split(b"?")[0],
            "query_string": url.query,
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 123),
            "root_path": "",
            "extensions": {CONNECTED: {}},
        }
        try:
            await app(scope, self._receive, self._send)
        except DroppedConnectionError:
            await self._send({"type": "dropped"})
        except Exception as error:  # noqa: BLE001  a bug of the emulator is raised in the client's task
            await self._send({"type": "broken", "error": error})
        finally:
            self._answer.close()

    async def _receive(self) -> _Message:
        if self._body is None:
            await anyio.sleep_forever()
        body = self._body
        self._body = None
        return {"type": "http.request", "body": body, "more_body": False}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        # A full stream, a long body, is the only reason to wait: each wait is another round of the event loop.
        try:
            try:
                self._answer.send_nowait(dict(message))
            except anyio.WouldBlock:
                await self._answer.send(dict(message))
        except anyio.BrokenResourceError:
            return  # the client has closed the connection; the service continues


class _Body(httpx.AsyncByteStream):
    """The client's side of one request: the answer in pieces, each within the read time-out."""

    def __init__(
        self,
        request: httpx.Request,
        wire: MemoryObjectReceiveStream[_Message],
        timeout: float | None,
    ) -> None:
        self._request = request
        self._wire = wire
        self._timeout = timeout
        self._started = False
        self._ended = False

    async def next_message(self) -> _Message:
        message: _Message | None = None
        try:
            try:
                message = self._wire.receive_nowait()
            except anyio.WouldBlock:
                with anyio.move_on_after(self._timeout):
                    message = await self._wire.receive()
        except BaseException:
            self._wire.close()
            raise
        if message is None:
            self._wire.close()
            raise httpx.ReadTimeout("read time-out", request=self._request)
        if message["type"] == "dropped":
            self._wire.close()
            if self._started:
                raise httpx.ReadError(
                    "the connection broke in the middle of the body",
                    request=self._request,
                )
            raise httpx.RemoteProtocolError(
                "Server disconnected without sending a response.", request=self._request
            )
        if message["type"] == "broken":
            self._wire.close()
            raise message["error"]
        self._started = True
        return message

    def __aiter__(self) -> AsyncIterator[bytes]:
        # not a generator: trio warns about unfinished ones, and a reader may stop early
        return self

    async def __anext__(self) -> bytes:
        while not self._ended:
            message = await self.next_message()
            self._ended = not message.get("more_body", False)
            if piece := message.get("body", b""):
                return bytes(piece)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._wire.close()
