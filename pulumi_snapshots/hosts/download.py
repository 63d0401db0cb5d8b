"""Downloads from the snapshot host, which resume with the same version or not at all. Never sends the API key."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
from httpcore import AsyncNetworkStream

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.properties.checks import problem_of_url, version_of
from pulumi_snapshots.service.client import (
    CONNECT_TIMEOUT,
    NO_ANSWER,
    Answer,
    http_date,
    one_line,
    open_client,
)
from pulumi_snapshots.service.errors import ProxyRefused, SquareCloudError

READ_TIMEOUT = 30.0
"""Seconds between two pieces of a body."""
FIRST_BYTES = 1024
"""Bytes that `look_at` asks for: a proof of what is served, and nothing of the data is kept."""
READ_SIZE = 1024 * 1024
"""Bytes per read. httpcore asks for 64 KiB, and for the event loop each read costs about as much as copying its bytes."""
REDIRECTS = 3
"""The most redirects followed; an S3-compatible host sends one to the bucket's region."""
REFUSAL_LIMIT = 64 * 1024
"""The most bytes read of a refusal's body."""
_SIZE = re.compile("[0-9]{1,18}")  # Python refuses to read numbers of thousands of digits
_RANGE = re.compile(f"bytes ({_SIZE.pattern})-({_SIZE.pattern})/({_SIZE.pattern}|\\*)")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,100})</Code>")
_HTML = re.compile(r"<(?:!doctype )?html\b", re.IGNORECASE)
"""A web page; the refusals of a store are XML."""
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")


class UrlRefused(SquareCloudError):
    """The download URL is invalid or has expired."""


class DownloadBroken(SquareCloudError):
    """The download broke off."""

    passing = True


class WrongContent(SquareCloudError):
    """The host now serves a different object."""


@dataclass(frozen=True)
class Served:
    """The headers that describe the served object; None for each that the host does not send."""

    total: int | None  # bytes of the whole object
    version: str | None  # `x-amz-version-id`; whether the real host sends it is not public
    etag: str | None  # if it is a strong one
    modified: datetime | None  # in whole seconds

    def differs_from(self, other: Served) -> str | None:
        """The proof that both are not the same bytes, as text; None if there is no proof."""
        for what, name in (("version", "version"), ("size", "total"), ("entity tag", "etag")):
            one, two = getattr(self, name), getattr(other, name)
            if None not in {one, two} and one != two:
                return f"another {what} ({one} instead of {two})"
        return None


async def look_at(
    method: str, url: str, clock: Clock, http: httpx.AsyncBaseTransport | None
) -> Answer | None:
    """Request the first bytes of a download URL by GET, or send a HEAD, to study its host; None without an answer."""
    headers = {"Accept-Encoding": "identity"} | (
        {"Range": f"bytes=0-{FIRST_BYTES - 1}"} if method == "GET" else {}
    )
    timeout, sent_at = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT), clock.monotonic()
    with suppress(*NO_ANSWER):
        async with (
            open_client(url, http, headers, timeout=timeout) as client,
            client.stream(method, url) as response,
        ):
            status, got = response.status_code, dict(response.headers)
            return Answer(
                method, "snapshot host", sent_at, clock.monotonic() - sent_at, status, got
            )
    return None


@asynccontextmanager
async def open_download(
    url: str,
    *,
    http: httpx.AsyncBaseTransport | None = None,
    offset: int = 0,
    known: Served | None = None,
) -> AsyncIterator[tuple[Served, AsyncGenerator[bytes, None]]]:
    """Send the GET for an object, from byte `offset` on, and yield how it is described and its pieces as they arrive.

    HEAD is never sent: a signature of this kind covers the method. `url` is signed, and never shown. `known` is what it must not
    differ from; with an `offset`, as the bytes before it were served. Reading the pieces raises `DownloadBroken` too.
    """
    headers = {
        "Accept-Encoding": "identity"
    }  # with compression, sizes and ranges would count compressed bytes
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if known is not None and known.etag is not None:
            headers["If-Range"] = known.etag
    # A client of its own, so that no header, cookie or connection of the API's client is used here.
    timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
    async with (
        open_client(url, http, headers, timeout=timeout) as client,
        aclosing(await _follow(client, url)) as response,
    ):
        served, skip = await _checked(response, url, offset, known)
        async with aclosing(
            _pieces(response, _request_text(url), skip)
        ) as pieces:  # a reader may stop early
            yield served, pieces


async def _follow(client: httpx.AsyncClient, url: str) -> httpx.Response:
    """Send the GET, and follow redirects that keep the scheme."""
    target = url
    for _ in range(REDIRECTS + 1):
        request = _request_text(target)
        try:
            sent = client.build_request("GET", target, extensions={"trace": _read_wide})
        except (httpx.InvalidURL, ValueError):  # the latter from a host that is no domain name
            raise UrlRefused(request) from None
        with _breaking(request):
            response = await client.send(sent, stream=True)
        if not response.has_redirect_location:
            return response
        await response.aclose()
        try:
            target = urljoin(target, response.headers["location"])
        except ValueError:
            target = ""
        if problem_of_url(target) is not None or urlsplit(target).scheme != urlsplit(url).scheme:
            what = "the host redirects to an address that is not allowed"
            raise WrongContent(request, meaning=what, status=response.status_code)
    raise WrongContent(
        _request_text(url), meaning=f"the host redirects more than {REDIRECTS} times"
    )


@contextmanager
def _breaking(request: str) -> Iterator[None]:
    """Raise a `DownloadBroken` if the network fails."""
    try:
        yield
    except NO_ANSWER as error:
        raise DownloadBroken(request, message=one_line(error)) from None


async def _read_wide(_event: str, info: Mapping[str, Any]) -> None:
    """Let a connection read `READ_SIZE` at once. httpx's `trace` extension passes each new one; there is no setting for it."""
    stream = info.get("return_value")
    if isinstance(stream, AsyncNetworkStream):
        read = stream.read
        stream.read = lambda max_bytes, timeout=None: read(max(max_bytes, READ_SIZE), timeout)  # type: ignore[method-assign]


async def _checked(
    response: httpx.Response, url: str, offset: int, known: Served | None
) -> tuple[Served, int]:
    """How the object is described, if it is what was asked for, and how many of its bytes are to be skipped."""
    request, status, headers = _request_text(url), response.status_code, response.headers
    found = None
    if status == httpx.codes.PARTIAL_CONTENT:
        found = _RANGE.fullmatch(headers.get("content-range", ""))
        total = found[3] if found else ""
    elif status == httpx.codes.OK:
        total = headers.get("content-length", "")
    else:
        raise await _refusal(response, request)
    etag = headers.get("etag", "")
    served = Served(
        total=int(total) if _SIZE.fullmatch(total) else None,
        version=headers.get("x-amz-version-id") or None,
        etag=etag if etag.startswith('"') else None,  # a weak one (`W/`) does not prove equal bytes
        modified=http_date(headers.get("last-modified")),
    )
    wrong = ""
    if headers.get("content-encoding", "identity") != "identity":
        wrong = "the answer is compressed although no compression was requested"
    elif status == httpx.codes.PARTIAL_CONTENT and (
        found is None or not offset or int(found[1]) != offset
    ):
        wrong = "the host sent another range than requested"
    elif known is not None and (difference := served.differs_from(known)) is not None:
        wrong = f"the host now serves a different object: {difference}"
    elif offset and known is not None and version_of(url) is None:
        pairs = ((served.version, known.version), (served.etag, known.etag))
        if not any(one is not None and one == two for one, two in pairs):
            wrong = "nothing proves that the rest is the same version"
    if wrong:
        raise WrongContent(request, meaning=wrong, status=status)
    # A host that ignores ranges sends the whole object; the bytes received already are skipped.
    return served, 0 if found else offset


async def _pieces(response: httpx.Response, request: str, skip: int) -> AsyncGenerator[bytes, None]:
    with _breaking(request):
        async for piece in response.aiter_raw():
            rest, skip = piece[skip:], max(0, skip - len(piece))
            if rest:
                yield rest


async def _refusal(response: httpx.Response, request: str) -> SquareCloudError:
    """The error of an answer that is no part of an object."""
    content, status, codes = bytearray(), response.status_code, httpx.codes
    with _breaking(request):
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > REFUSAL_LIMIT:
                break
    text = content.decode(errors="replace")
    code, message = _CODE.search(text), _MESSAGE.search(text)
    if status == codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        return WrongContent(
            request, meaning="the object is shorter than the part that was received", status=status
        )
    if status == codes.FORBIDDEN and code is None and _HTML.search(text):
        return ProxyRefused(request, status=status)
    passing = status >= codes.INTERNAL_SERVER_ERROR or status in {
        codes.REQUEST_TIMEOUT,
        codes.TOO_MANY_REQUESTS,
    }
    return (DownloadBroken if passing else UrlRefused)(
        request,
        status=status,
        code=code[1] if code else None,
        message=one_line(html.unescape(message[1])) if message else "",
    )


def _request_text(url: str) -> str:
    """Method and path. The query is left out, since it gives access to the data."""
    return f"GET {urlsplit(url).path or '/'}"
