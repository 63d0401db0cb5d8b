"""The transport keeps the key safe, reads no endless body, and knows whether a failed request may have arrived."""

import gc
import gzip
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import version
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.hosts.download import DownloadBroken, open_download
from pulumi_snapshots.hosts.monitor import Monitor
from pulumi_snapshots.service import client
from pulumi_snapshots.service.client import Answer
from pulumi_snapshots.service.errors import (
    AnswerLost,
    Blocked,
    ClaimTooOld,
    Cooldown,
    NotSent,
    Redirected,
    SquareCloudError,
)
from tests.support.scripted import API, KEY, Service
from tests.support.tls_front import Certificates, tls_front
from tests.support.virtual import virtual
from tests.support.world import START

SUCCESS = {"status": "success", "response": []}


async def result_of(answer: httpx.Response | Exception) -> Answer | SquareCloudError:
    return await Service(answer).send()


# The key


@virtual
async def test_the_key_is_sent_in_its_header_and_nowhere_else_and_each_request_names_the_program() -> (
    None
):
    service = Service(httpx.Response(200, json=SUCCESS), httpx.Response(200))
    await service.send("users/snapshots?scope=databases", method="GET")
    async with open_download("https://snapshots.example/x.zip", http=service.http):
        pass
    request, download = service.requests
    assert str(request.url) == f"{API}/users/snapshots?scope=databases"
    assert request.headers["Authorization"] == KEY
    assert "Authorization" not in download.headers
    assert KEY not in f"{request.url}{service.client!r}{download.url}"
    agents = {each.headers["User-Agent"] for each in service.requests}
    assert agents == {
        f"pulumi-snapshots/{version('pulumi-snapshots')} (Pulumi provider for Square Cloud)"
    }


@pytest.mark.parametrize(
    ("status", "location"),
    [
        *((status, "https://evil.example/") for status in (301, 302, 303, 307, 308)),
        (302, "ftp://x"),
    ],
)
@virtual
async def test_a_redirect_never_gets_the_key_and_is_a_refusal(
    status: int, location: str
) -> None:
    service = Service(
        httpx.Response(status, headers={"Location": location}, json=SUCCESS)
    )
    assert isinstance(await service.send(), Redirected)
    assert [request.url.host for request in service.requests] == ["api.example"]


@pytest.mark.parametrize(
    "location", ["https://h:x", "https://xn--/", "//xn--a", "mailto:a"]
)
@virtual
async def test_a_redirect_to_what_is_no_address_is_a_lost_answer(location: str) -> None:
    service = Service(httpx.Response(302, headers={"Location": location}))
    assert isinstance(await service.send(), AnswerLost)
    with pytest.raises(DownloadBroken):
        async with open_download("https://snapshots.example/x.zip", http=service.http):
            pass
    assert (
        await Monitor(service.http).tell(
            Clock(START), "https://hc.example/5ec2e7", "done", ""
        )
        != ""
    )


@pytest.mark.parametrize(
    "variable", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"]
)
def test_no_proxy_sees_requests_to_a_loopback_address(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(page(SUCCESS)) as proxy, serving(page(SUCCESS)) as service:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        assert isinstance(really(service.port), Answer)
        assert proxy.requests == []
        assert len(service.requests) == 1


# Sizes and time-outs


class Body(httpx.AsyncByteStream):
    """A body of equal pieces, which counts what was pulled from it."""

    def __init__(self, piece: bytes, count: int = 1, pause: float = 0.0) -> None:
        self.piece = piece
        self.count = count
        self.pause = pause
        self.pulled = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.count):
            await anyio.sleep(self.pause)
            self.pulled += len(self.piece)
            yield self.piece

    async def aclose(self) -> None:
        self.closed = True


def test_an_endless_body_is_not_read_forever() -> None:
    body = Body(b" " * 2**20, 100)
    # On asyncio, as in production: trio warns about httpx's generators, which cannot be closed.
    assert isinstance(
        anyio.run(result_of, httpx.Response(200, stream=body)), AnswerLost
    )
    assert body.pulled <= 34 * 2**20
    assert body.closed


@virtual
async def test_a_listing_of_ten_thousand_snapshots_is_read() -> None:
    entry = {
        "name": "d" * 32,
        "key": "k" * 250,
        "url": "u" * 350,
        "version_id": "v" * 36,
    }
    answer = await result_of(
        httpx.Response(200, json={"status": "success", "response": [entry] * 10_000})
    )
    assert isinstance(answer, Answer)
    assert len(answer.response) == 10_000


@virtual
async def test_a_name_that_was_cut_amid_a_character_costs_no_answer() -> None:
    body = r'{"status":"%s","code":"KEEP_CALM","message":"db \ud83d","response":[{"name":"db \ud83d"}]}'
    answer = await result_of(httpx.Response(200, content=body % "success"))
    assert isinstance(answer, Answer)
    assert answer.response == [{"name": "db \ud83d"}]
    assert isinstance(
        await result_of(httpx.Response(429, content=body % "error")), Cooldown
    )


@virtual
async def test_a_body_that_is_too_slow_is_given_up() -> None:
    body = Body(b" ", 10_000, pause=29.0)
    start = anyio.current_time()
    assert isinstance(await result_of(httpx.Response(200, stream=body)), AnswerLost)
    assert anyio.current_time() - start == pytest.approx(90.0)
    assert body.closed


GZIPPED = gzip.compress(json.dumps(SUCCESS).encode(), mtime=0)


@pytest.mark.parametrize(
    ("content", "is_whole"),
    [(GZIPPED, True), (b"no gzip at all", False), (GZIPPED[:-20], False)],
)
def test_a_compressed_answer_is_understood_or_ambiguous(
    content: bytes, *, is_whole: bool
) -> None:
    headers = {"Content-Encoding": "gzip"}
    # asyncio as above
    result = anyio.run(
        result_of, httpx.Response(200, headers=headers, stream=Body(content))
    )
    assert (
        isinstance(result, Answer)
        if is_whole
        else isinstance(result, SquareCloudError) and result.ambiguous
    )


# Whether the request was sent

SENT_OR_NOT: list[tuple[Exception, type[SquareCloudError]]] = [
    (httpx.ConnectError("no route"), NotSent),
    (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"), NotSent),
    (httpx.ConnectTimeout(""), NotSent),
    (httpx.PoolTimeout(""), NotSent),
    (httpx.ProxyError("407 Proxy Authentication Required"), NotSent),
    (httpx.WriteError(""), AnswerLost),
    (httpx.WriteTimeout(""), AnswerLost),
    (httpx.ReadError(""), AnswerLost),
    (httpx.ReadTimeout(""), AnswerLost),
    (
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        AnswerLost,
    ),
    (httpx.DecodingError("bad gzip"), AnswerLost),
    (ssl.SSLError("decryption failed or bad record mac"), AnswerLost),
    (ConnectionResetError("reset"), AnswerLost),
    (TimeoutError(), AnswerLost),
]


@pytest.mark.parametrize(
    ("failure", "kind"),
    SENT_OR_NOT,
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
@virtual
async def test_only_a_request_that_was_never_sent_may_be_sent_again(
    failure: Exception, kind: type[SquareCloudError]
) -> None:
    error = await result_of(failure)
    assert type(error) is kind
    assert error.message, "there is a reason, if only the name of the error"


@virtual
async def test_an_error_that_quotes_the_key_does_not_show_it() -> None:
    error = await result_of(httpx.LocalProtocolError(f"Illegal header value b'{KEY}'"))
    assert isinstance(error, AnswerLost)
    assert KEY not in f"{error}{error!r}{error.message}"


# The service's clock


def date_of(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def ahead(hours: float, status: int = 200, **more: Any) -> httpx.Response:
    """An answer with a `Date` so many hours after now."""
    headers = {
        "Date": date_of(START + timedelta(hours=hours)),
        **more.pop("headers", {}),
    }
    return httpx.Response(status, headers=headers, **(more or {"json": SUCCESS}))


@pytest.mark.parametrize(
    ("answer", "hours"),
    [
        *((ahead(hours), hours) for hours in (-1, 1, 48)),
        (ahead(0, 429, json={"status": "error", "code": "KEEP_CALM"}), 0),
        (ahead(0, stream=Body(json.dumps(SUCCESS).encode(), pause=25)), 0),
        (ahead(-0.4, headers={"Age": "1500"}, json=SUCCESS), None),
        (ahead(3, 502, html="<html>"), None),
        (ahead(3, 200, html="<html>"), None),
        *(
            (httpx.Response(200, headers={"Date": date}, json=SUCCESS), None)
            for date in (
                *(
                    "",
                    "yesterday",
                    "1772366400",
                    "Tue, 10 Mar 99999999999 00:00:00 GMT",
                ),
                *(
                    "Tue, 10 Mar 2026 00:00:00 +99999999999999999999",
                    "Tue, 10 Mar 2026 99:00:00 GMT",
                ),
                "Fri, 31 Dec 9999 23:59:59 GMT",
                "Thu, 10 Mar 2044 12:00:00 GMT",
                "Thu, 01 Jan 1970 00:00:00 GMT",
            )
        ),
    ],
)
@virtual
async def test_the_services_clock_is_that_of_its_own_answers(
    answer: httpx.Response, hours: float | None
) -> None:
    """Not that of a proxy, of a cached page or of nonsense; a body that takes long does not distort it."""
    service = Service(answer)
    await service.send(method="GET")
    assert service.client.service_clock.offset == (
        None if hours is None else pytest.approx(hours * 3600, abs=1)
    )


# Retry-After


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("120", 120.0), (" 7 ", 7.0), ("1.5", 1.5), ("999999999", 3600.0)),
        *(
            (bad, None)
            for bad in (
                None,
                "0",
                "-5",
                "1e400",
                "nan",
                "soon",
                "",
                "Sun, 01 Mar 2026 12:00:00 GMT",
            )
        ),
    ],
)
@virtual
async def test_retry_after_is_honoured_up_to_a_bound(
    text: str | None, seconds: float | None
) -> None:
    headers = {} if text is None else {"Retry-After": text}
    error = await result_of(
        httpx.Response(
            429, headers=headers, json={"status": "error", "code": "RATE_LIMITED"}
        )
    )
    assert isinstance(error, Blocked)
    assert error.retry_after == seconds


# On real sockets


@dataclass
class Server:
    """A server of raw bytes on a loopback port."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    connected: threading.Event = field(default_factory=threading.Event)


def page(body: Any) -> bytes:
    content = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content)


@contextmanager
def serving(answer: bytes | None, *, keeps: bool = False) -> Iterator[Server]:
    """A server that answers every connection with these bytes (None: with nothing), and closes it, unless it `keeps` it."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(listener.getsockname()[1])

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                server.connections += 1
                server.connected.set()
                with suppress(OSError):  # the client may have closed the connection
                    server.requests.append(connection.recv(65536))
                    connection.sendall(answer or b"")
                    while keeps and (request := connection.recv(65536)):
                        server.requests.append(request)
                        connection.sendall(answer or b"")
                    connection.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def really(
    port: int, scheme: str = "http", count: int = 1, host: str = "127.0.0.1"
) -> Answer | SquareCloudError:
    """Send requests over real sockets."""

    async def send() -> Answer | SquareCloudError:
        service = Service(api=f"{scheme}://{host}:{port}/v2")
        for _ in range(count - 1):
            await service.client.send("POST", "x", read_timeout=5)
        return await service.send(read_timeout=5)

    return anyio.run(send)


def test_each_request_has_its_own_connection() -> None:
    with serving(page(SUCCESS), keeps=True) as server:
        assert isinstance(really(server.port, count=3), Answer)
        assert server.connections == 3
        assert KEY.encode() in server.requests[0]


@pytest.mark.parametrize("answer", [None, b"SSH-2.0-OpenSSH_9.6\r\n", page(SUCCESS)])
def test_without_a_connection_and_its_handshake_nothing_was_sent(
    answer: bytes | None,
) -> None:
    with serving(answer) as server:
        assert isinstance(really(server.port, "https"), NotSent)
        assert all(KEY.encode() not in request for request in server.requests)
    assert isinstance(really(server.port), NotSent), "its port is closed"


def test_a_server_whose_certificate_is_not_trusted_gets_no_request(
    tls: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(page(SUCCESS)) as server, tls_front(tls, server.port) as port:
        assert isinstance(really(port, "https", host="localhost"), NotSent), (
            "its authority is not known"
        )
        monkeypatch.setattr(
            client,
            "tls",
            lambda *_, **_more: ssl.create_default_context(cafile=tls.authority),
        )
        assert isinstance(really(port, "https"), NotSent), "it is for another host"
        assert server.requests == []
        assert isinstance(really(port, "https", host="localhost"), Answer)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("scheme", "left"), [("https", False), ("http", True)])
def test_a_request_that_is_cancelled_while_it_connects_has_not_left(
    scheme: str, *, left: bool
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    causes: list[BaseException | None] = []

    async def send() -> None:
        try:
            await Service(
                api=f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/v2"
            ).send()
        except anyio.get_cancelled_exc_class() as cancelled:
            causes.append(cancelled.__cause__)
            raise

    async def run() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(send)
            connection, _ = await anyio.to_thread.run_sync(silent.accept)
            with connection:  # of the request, or of the handshake that nobody answers
                assert await anyio.to_thread.run_sync(connection.recv, 1)
                group.cancel_scope.cancel()

    with silent:
        anyio.run(run)
    gc.collect()  # httpcore leaves the socket of a handshake that is cancelled to the garbage collector
    (cause,) = causes
    assert isinstance(cause, NotSent) is not left


@pytest.mark.parametrize("is_late", [False, True], ids=["in time", "too late"])
def test_a_request_that_is_kept_back_at_the_last_moment_has_not_left(
    *, is_late: bool
) -> None:
    """What is marked as leaving right before the write has a connection by then."""
    connections = list[int]()

    async def leave() -> None:
        await anyio.to_thread.run_sync(server.connected.wait, 5)
        connections.append(server.connections)
        assert not any(server.requests), "a byte of it has left"
        if is_late:
            raise ClaimTooOld("POST /x")

    async def send() -> Answer | SquareCloudError:
        service = Service(api=f"http://127.0.0.1:{server.port}/v2")
        return await service.send(read_timeout=5, leaving=leave)

    with serving(page(SUCCESS)) as server:
        error = anyio.run(send)
        assert connections == [1]
        if not is_late:
            assert [request[:4] for request in server.requests] == [b"POST"]
            return
        assert isinstance(error, ClaimTooOld)
        assert "this machine slept" in str(error)
        assert not any(server.requests), "a byte of it has left"


@pytest.mark.parametrize(
    "answer",
    [
        *(None, page(SUCCESS)[:20], page(SUCCESS)[:-5]),
        *(b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000),
    ],
    ids=["none", "breaks off early", "breaks off late", "no HTTP", "an endless header"],
)
def test_without_a_whole_answer_it_is_in_doubt_what_a_request_did(
    answer: bytes | None,
) -> None:
    with serving(answer) as server:
        assert isinstance(really(server.port), AnswerLost)
        assert len(server.requests) == 1
