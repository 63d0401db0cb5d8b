"""A proxy on this machine that stands before a real server and fails as a test tells it to."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Failure = Literal["drop", "lose", "silent"] | tuple[int, str] | int | None
"""`drop` closes without forwarding, `lose` forwards and closes without the answer, `silent` answers after the test, a status
with a code refuses, a number closes after so many bytes of the answer's body."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str


@dataclass
class Unreliable:
    url: str = ""  # its address
    fails: Callable[[Request], Failure] = lambda _: None
    requests: list[Request] = field(default_factory=list)  # those that came
    over: threading.Event = field(default_factory=threading.Event)


HOPS = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "date",
    "server",
}
"""Headers of one connection."""


class Forwarder(BaseHTTPRequestHandler):
    """Takes requests for a server at `host`, and can forward them."""

    protocol_version = "HTTP/1.1"
    # an answer's head and body are sent apart, and the body would wait 40 ms
    disable_nagle_algorithm = True
    host: str

    def handle_any(self) -> None:
        raise NotImplementedError

    def forwarded(
        self, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """The server's answer: status, headers, body."""
        behind = http.client.HTTPConnection(self.host, timeout=60)
        try:
            behind.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                # S3's signatures are of the host's name too; others go by it.
                ours = name.lower() == "host" and not self.headers.get(
                    "authorization", ""
                ).startswith("AWS4")
                if name.lower() != "content-length":
                    behind.putheader(name, self.host if ours else value)
            if body is not None:
                behind.putheader("Content-Length", str(len(body)))
            behind.endheaders(body)
            answer = behind.getresponse()
            content = answer.read()
        finally:
            behind.close()
        headers = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in HOPS
        }
        if method == "HEAD":
            headers["Content-Length"] = answer.getheader("content-length") or "0"
        return answer.status, headers, content

    def answer(
        self,
        status: int,
        headers: dict[str, str],
        content: bytes,
        cut: int | None = None,
    ) -> None:
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content[:cut])
        self.close_connection = self.close_connection or cut is not None

    def do_GET(self) -> None:
        self.handle_any()

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815  likewise

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        with suppress(OSError):
            super().handle_one_request()


class _Handler(Forwarder):
    proxy: Unreliable

    def handle_any(self) -> None:
        length = self.headers.get("content-length")
        body = self.rfile.read(int(length)) if length else None
        request = Request(self.command, self.path)
        self.proxy.requests.append(request)
        failure = self.proxy.fails(request)
        if failure == "silent":
            self.proxy.over.wait(60)
        if failure in {"drop", "silent"}:
            self.close_connection = True
        elif isinstance(failure, tuple):
            self.answer(
                failure[0], {}, f"<Error><Code>{failure[1]}</Code></Error>".encode()
            )
        else:
            answer = self.forwarded(self.command, self.path, body)
            if failure == "lose":
                self.close_connection = True
            else:
                self.answer(*answer, cut=failure if isinstance(failure, int) else None)


@contextmanager
def served(handler: type[Forwarder], **facts: Any) -> Iterator[str]:
    """The address of a server with this handler, whose class has these facts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), facts))
    server.daemon_threads = True
    server.block_on_close = False
    # A shutdown waits for the end of a poll; with the usual half a second, tests would mostly wait for that.
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    ).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def unreliable(target: str) -> Iterator[Unreliable]:
    one = Unreliable()
    with served(_Handler, proxy=one, host=urlsplit(target).netloc) as one.url:
        try:
            yield one
        finally:
            one.over.set()
