"""Downloads end with whoever reads them, and read a megabyte at once, as far as the installed httpx lets them."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import httpcore
import httpx
import pytest

from pulumi_snapshots.hosts.download import (
    DOWNLOAD_READ_SIZE,
    Served,
    WrongContent,
    open_download,
)
from tests.support.virtual import virtual

BODY = b"data"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


async def whole(url: str, http: httpx.AsyncBaseTransport | None = None) -> bytes:
    async with open_download(url, http=http) as (_, pieces):
        return b"".join([piece async for piece in pieces])


class Endless(httpx.AsyncByteStream):
    """Piece after piece, until it is closed."""

    closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return b"piece"

    async def aclose(self) -> None:
        self.closed = True


@virtual
async def test_a_reader_that_stops_before_the_end_leaves_nothing_open() -> None:
    body = Endless()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
    async with open_download("http://127.0.0.1/x", http=transport) as (_, pieces):
        assert await anext(pieces) == b"piece"
    assert body.closed
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)


@virtual
async def test_the_rest_of_an_object_is_not_joined_to_another_without_a_proof() -> None:
    """Of a URL without a version, if the host shows neither a version nor a tag."""
    head = {"content-range": "bytes 2-3/4"}
    transport = httpx.MockTransport(
        lambda _: httpx.Response(206, headers=head, content=b"ta")
    )
    known = Served(total=4, version=None, etag=None, modified=None)
    asked = open_download("http://127.0.0.1/x", http=transport, offset=2, known=known)
    with pytest.raises(
        WrongContent, match="Nothing proves that the rest is the same version"
    ):
        async with asked:
            pass


class Network(httpcore.AsyncMockBackend):
    """A network on which every host sends `ANSWER`; it records how many bytes each read asks for."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked_for: list[int] = []

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        return Connection(self.asked_for)


class Connection(httpcore.AsyncMockStream):
    def __init__(self, asked_for: list[int]) -> None:
        super().__init__([ANSWER])
        self.asked_for = asked_for

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  httpcore's
        self.asked_for.append(max_bytes)
        return await super().read(max_bytes, timeout)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_downloads_alone_read_a_megabyte_at_once(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network()
    monkeypatch.setattr(
        httpcore,
        "AsyncConnectionPool",
        partial(httpcore.AsyncConnectionPool, network_backend=network),
    )

    async def get() -> bytes:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get("http://127.0.0.1/x")).content

    assert anyio.run(whole, f"{scheme}://127.0.0.1/x") == BODY
    assert set(network.asked_for) == {DOWNLOAD_READ_SIZE}
    network.asked_for.clear()
    assert anyio.run(get) == BODY
    assert max(network.asked_for) < DOWNLOAD_READ_SIZE
