"""Downloads read a megabyte at once, as far as the installed httpx lets them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import httpcore
import httpx
import pytest

from pulumi_snapshots.service.download import READ_SIZE, open_download

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

BODY = b"data"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Network(httpcore.AsyncNetworkBackend):
    """A network on which every host sends `ANSWER`; it records how many bytes each read asks for."""

    def __init__(self) -> None:
        self.asked_for: list[int] = []

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002  any host
        port: int,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002, ASYNC109  httpcore's signature
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        return Connection(self)


class Connection(httpcore.AsyncNetworkStream):
    def __init__(self, network: Network) -> None:
        self.network = network
        self.answer = ANSWER

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109  httpcore's
        self.network.asked_for.append(max_bytes)
        answer, self.answer = self.answer, b""
        return answer

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  httpcore's
        pass

    async def aclose(self) -> None:
        pass

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,  # noqa: ARG002
        server_hostname: str | None = None,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002, ASYNC109  httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        return self

    def get_extra_info(self, info: str) -> None:
        pass


@pytest.fixture(name="network")
def _network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    pool = partial(httpcore.AsyncConnectionPool, network_backend=network)
    monkeypatch.setattr(httpcore, "AsyncConnectionPool", pool)
    return network


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_downloads_read_a_megabyte_at_once(network: Network, scheme: str) -> None:
    async def download() -> bytes:
        async with open_download(f"{scheme}://127.0.0.1/x") as part:
            return b"".join([piece async for piece in part.pieces])

    assert anyio.run(download) == BODY
    assert network.asked_for
    assert min(network.asked_for) == READ_SIZE


def test_other_clients_keep_their_reads(network: Network) -> None:
    async def get() -> bytes:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get("http://127.0.0.1/x")).content

    assert anyio.run(get) == BODY
    assert max(network.asked_for) < READ_SIZE


@pytest.mark.parametrize("connection", [None, "another kind of connection"])
def test_an_httpx_that_traces_differently_still_downloads(connection: object) -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        await request.extensions["trace"]("connected", {"return_value": connection})
        await request.extensions["trace"]("started", {})
        return httpx.Response(200, stream=httpx.ByteStream(BODY))

    async def download() -> bytes:
        async with open_download("http://127.0.0.1/x", http=httpx.MockTransport(handle)) as part:
            return b"".join([piece async for piece in part.pieces])

    assert anyio.run(download) == BODY
