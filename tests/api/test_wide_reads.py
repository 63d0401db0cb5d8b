"""Downloads read a megabyte at once, which depends on private parts of the installed httpx."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import httpcore
import httpx
import pytest

from pulumi_snapshots.api.download import Downloads
from pulumi_snapshots.api.wide_reads import READ_SIZE, read_wide

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
        async with Downloads().open(f"{scheme}://127.0.0.1/x") as part:
            return b"".join([piece async for piece in part])

    assert anyio.run(download) == BODY
    assert network.asked_for
    assert min(network.asked_for) == READ_SIZE


def test_other_clients_keep_their_reads(network: Network) -> None:
    async def get() -> bytes:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get("http://127.0.0.1/x")).content

    assert anyio.run(get) == BODY
    assert max(network.asked_for) < READ_SIZE


class OtherPool:
    """The connection pool of an httpx that is built differently."""

    def __init__(self, backend: object) -> None:
        self._network_backend = backend


@pytest.mark.parametrize("pool", [None, OtherPool(None), OtherPool("another kind of backend")])
def test_an_httpx_that_is_built_differently_is_left_alone(pool: OtherPool | None) -> None:
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=BODY)))
    if pool is not None:
        client._transport._pool = pool  # type: ignore[attr-defined]  # its own, if it had one
    before = dict(vars(pool)) if pool is not None else None
    read_wide(client)
    assert (dict(vars(pool)) if pool is not None else None) == before

    async def get() -> bytes:
        async with client:
            return (await client.get("http://127.0.0.1/x")).content

    assert anyio.run(get) == BODY
