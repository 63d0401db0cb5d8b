"""Downloads from the snapshot host: whole or the rest from a byte on, of one version only. Never sends the API key."""

from __future__ import annotations

import html
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx

from pulumi_snapshots.addresses import is_loopback
from pulumi_snapshots.api.errors import SquareCloudError
from pulumi_snapshots.api.signed_url import problem_of_url, version_of
from pulumi_snapshots.clock import in_utc

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable
    from datetime import datetime

__all__ = ["DownloadBroken", "Downloads", "Part", "Served", "UrlRefused", "WrongContent"]

CONNECT_TIMEOUT = 15.0
READ_TIMEOUT = 30.0
"""Seconds between any two pieces of the body."""
WIDE_READ = 1024 * 1024
"""Bytes that are read at once; httpcore asks for 64 KiB, and each read costs the event loop as much as it brings."""
REDIRECTS = 3
"""Followed at most; an S3-compatible host sends one to a bucket's region."""
REFUSAL_LIMIT = 64 * 1024
"""Bytes of a refusal's body that are read."""
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,100})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")


class UrlRefused(SquareCloudError):
    """The host does not accept this URL, or not any more; a fresh one may do."""

    meaning = "the download URL is not valid, or not any more"


class DownloadBroken(SquareCloudError):
    """The host was not reached, failed, or the transfer broke off; the rest may be asked for."""

    meaning = "the download broke off"
    passing = True


class WrongContent(SquareCloudError):
    """The host serves something else than what was asked for."""

    def __init__(self, request: str, what: str, *, status: int | None = None) -> None:
        super().__init__(request, status=status, meaning=what)


@dataclass(frozen=True)
class Served:
    """What a host says of the object that it serves.

    Attributes:
        total: bytes of the whole object; None where it does not say.
        version: `x-amz-version-id`; None where it does not say (whether the real host does is not public).
        etag: a strong entity tag; None where there is none.
        modified: UTC, whole seconds.
    """

    total: int | None
    version: str | None
    etag: str | None
    modified: datetime | None

    def differs_from(self, other: Served) -> str | None:
        """What proves that the two are not the same bytes; None where nothing does."""
        for what, one, two in (
            ("version", self.version, other.version),
            ("size", self.total, other.total),
            ("entity tag", self.etag, other.etag),
        ):
            if one is not None and two is not None and one != two:
                return f"another {what} ({one} instead of {two})"
        return None


class Part:
    """The bytes of an object from one byte on, as an async iterator.

    Attributes:
        served: what the host says of the object.
        request: method and path, for errors.
    """

    def __init__(self, request: str, response: httpx.Response, served: Served, skip: int) -> None:
        self.request = request
        self.served = served
        self._pieces = response.aiter_raw()
        self._skip = skip

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            try:
                piece = await anext(self._pieces)
            except (httpx.HTTPError, httpx.StreamError, OSError) as error:
                raise DownloadBroken(self.request, message=_line(error)) from None
            if self._skip:
                self._skip, piece = max(0, self._skip - len(piece)), piece[self._skip :]
            if piece:
                return piece


class Downloads:
    """Downloads of one object.

    Args:
        http: the HTTP transport below; the network unless a test gives another.
    """

    def __init__(self, *, http: httpx.AsyncBaseTransport | None = None) -> None:
        self._http = http

    @asynccontextmanager
    async def open(self, url: str, *, offset: int = 0, known: Served | None = None) -> AsyncIterator[Part]:
        """GET the object from byte `offset` on; never HEAD, which the signature does not cover.

        Args:
            url: signed; never shown.
            offset: the bytes that are there already.
            known: what was said of the object when those were served; needed with an offset.

        Raises:
            UrlRefused: ask with a fresh URL.
            DownloadBroken: not reached, or a failure that may pass; so does reading from the part.
            WrongContent: it is not the same object, or not in a readable form.
        """
        # Compressed on the way, sizes and ranges would be of something else.
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if known is not None and known.etag is not None:
                headers["If-Range"] = known.etag
        # Of its own: no header, cookie or connection of the API's client can get here.
        async with httpx.AsyncClient(
            transport=self._http,
            timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            trust_env=not is_loopback(urlsplit(url).hostname or ""),
        ) as client:
            _read_wide(client)
            response = await _follow(client, url, headers)
            try:
                yield await _part(response, url, offset, known)
            finally:
                await response.aclose()


async def _follow(client: httpx.AsyncClient, url: str, headers: dict[str, str]) -> httpx.Response:
    """Send it, and follow redirects that stay within the scheme."""
    target = url
    for _ in range(REDIRECTS + 1):
        request = _request(target)
        try:
            response = await client.send(client.build_request("GET", target, headers=headers), stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise DownloadBroken(request, message=_line(error)) from None
        if not response.has_redirect_location:
            return response
        status, location = response.status_code, response.headers["location"]
        await response.aclose()
        target = urljoin(target, location)
        if urlsplit(target).scheme != urlsplit(url).scheme or problem_of_url(target) is not None:
            raise WrongContent(request, "it was redirected to an address that is not followed", status=status)
    raise WrongContent(_request(url), f"it was redirected more than {REDIRECTS} times")


async def _part(response: httpx.Response, url: str, offset: int, known: Served | None) -> Part:
    request, status = _request(url), response.status_code
    if status not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
        raise await _refusal(response, request)
    if response.headers.get("content-encoding", "identity") != "identity":
        raise WrongContent(request, "it was compressed on the way, which nobody asked for", status=status)
    served, start = _served(response), 0
    if status == httpx.codes.PARTIAL_CONTENT:
        found = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if found is None or not offset or int(found[1]) != offset:
            raise WrongContent(request, "the host sent another range than the one asked for", status=status)
        start = offset
    difference = served.differs_from(known) if known is not None else None
    if difference is not None:
        raise WrongContent(request, f"the host now serves {difference}", status=status)
    if offset and known is not None and not _proven_same(served, known, url):
        raise WrongContent(request, "nothing proves that the rest is of the same version", status=status)
    # A host that ignores ranges sends the whole: what is there already is skipped.
    return Part(request, response, served, offset - start)


def _proven_same(served: Served, known: Served, url: str) -> bool:
    pairs = ((served.version, known.version), (served.etag, known.etag))
    return version_of(url) is not None or any(one is not None and one == two for one, two in pairs)


def _served(response: httpx.Response) -> Served:
    headers = response.headers
    etag = headers.get("etag", "")
    if response.status_code == httpx.codes.PARTIAL_CONTENT:
        found = _RANGE.fullmatch(headers.get("content-range", ""))
        total = int(found[3]) if found is not None and found[3] != "*" else None
    else:
        length = headers.get("content-length", "")
        total = int(length) if length.isdecimal() else None
    try:
        modified = in_utc(parsedate_to_datetime(headers.get("last-modified", "")))
    except (ValueError, OverflowError):
        modified = None
    return Served(
        total=total,
        version=headers.get("x-amz-version-id") or None,
        etag=etag if etag.startswith('"') else None,  # a weak one (`W/`) proves no equal bytes
        modified=modified,
    )


async def _refusal(response: httpx.Response, request: str) -> SquareCloudError:
    content = bytearray()
    try:
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > REFUSAL_LIMIT:
                break
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        return DownloadBroken(request, message=_line(error))
    text = content.decode(errors="replace")
    code, message = _CODE.search(text), _MESSAGE.search(text)
    status = response.status_code
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        return WrongContent(request, "the object is shorter than what was received of it", status=status)
    passing = status >= httpx.codes.INTERNAL_SERVER_ERROR or status in {
        httpx.codes.REQUEST_TIMEOUT,
        httpx.codes.TOO_MANY_REQUESTS,
    }
    return (DownloadBroken if passing else UrlRefused)(
        request,
        status=status,
        code=code[1] if code else None,
        message=_line(html.unescape(message[1])) if message else "",
    )


def _read_wide(client: httpx.AsyncClient) -> None:
    """Let a client read more at once; where httpx is built in another way it stays as it is, and only slower."""
    pool = getattr(getattr(client, "_transport", None), "_pool", None)
    backend = getattr(pool, "_network_backend", None)
    if pool is not None and isinstance(backend, httpcore.AsyncNetworkBackend):
        pool._network_backend = _WideBackend(backend)  # noqa: SLF001  there is no public way


class _WideBackend(httpcore.AsyncNetworkBackend):
    """Opens streams that read more at once."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _WideStream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _WideStream(httpcore.AsyncNetworkStream):
    """Reads at least `WIDE_READ` at once, which a parser of HTTP takes as well."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  httpcore's signature
        return await self._stream.read(max(max_bytes, WIDE_READ), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  httpcore's signature
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        return _WideStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _request(url: str) -> str:
    """Method and path; the query opens the data to whoever reads it."""
    return f"GET {urlsplit(url).path or '/'}"


def _line(text: object) -> str:
    line = " ".join((str(text) or type(text).__name__).split())
    return "".join(character for character in line if character.isprintable())
