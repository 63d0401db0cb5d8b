"""Downloads from the snapshot host, which resume with the same version or not at all.

The API key is never sent.
"""

from __future__ import annotations

import html
import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Iterator,
    Mapping,
)
from contextlib import (
    aclosing,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
from httpcore import AsyncNetworkStream

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.properties.checks import (
    problem_of_url,
    version_of,
)
from pulumi_snapshots.service.client import (
    CONNECT_TIMEOUT,
    NO_ANSWER,
    Answer,
    http_date,
    one_line,
    open_client,
)
from pulumi_snapshots.service.errors import (
    ProxyRefused,
    SquareCloudError,
)

READ_TIMEOUT = 30.0
"""Seconds between two pieces of a body."""
FIRST_BYTES = 1024
"""Bytes that `look_at` asks for, which prove what is served. No data is kept."""
DOWNLOAD_READ_SIZE = 1024 * 1024
"""Bytes per read. httpcore asks for 64 KiB.

For the event loop each read costs about as much as copying its bytes.
"""
REDIRECTS = 3
"""The most redirects followed; an S3-compatible host sends one to the bucket's region."""
REFUSAL_LIMIT = 64 * 1024
"""The most bytes read of a refusal's body."""
PASSING_STATUSES = {
    httpx.codes.REQUEST_TIMEOUT,
    httpx.codes.TOO_MANY_REQUESTS,
}
"""Refusals after which a later request may succeed, as after all errors of the host itself."""
# Python refuses to read numbers of thousands of digits
_SIZE = re.compile("[0-9]{1,18}")
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
    """The headers that describe a served object; None for each that the host does not send.

    Attributes:
        total: bytes of the whole object.
        version: of `x-amz-version-id`; whether the real host sends it is not public.
        etag: a strong entity tag.
        modified: in whole seconds.
    """

    total: int | None
    version: str | None
    etag: str | None
    modified: datetime | None

    def differs_from(self, other: Served) -> str | None:
        """Say what proves that two objects differ; None if there is no proof.

        Args:
            other: the other object.

        Returns:
            The proof, as a clause.
        """
        facts = (
            ("version", self.version, other.version),
            ("size", self.total, other.total),
            ("entity tag", self.etag, other.etag),
        )
        for name, mine, theirs in facts:
            if None not in {mine, theirs} and mine != theirs:
                return f"another {name} ({mine} instead of {theirs})"
        return None


async def look_at(
    method: str,
    url: str,
    clock: Clock,
    http: httpx.AsyncBaseTransport | None,
) -> Answer | None:
    """Send one request to the host of a download URL, to learn about the host.

    Args:
        method: GET, which asks for the first bytes, or HEAD.
        url: the signed URL, which is never shown.
        clock: measures how long the answer takes.
        http: the transport; None for the network.

    Returns:
        The answer; None if there is none.
    """
    headers = {"Accept-Encoding": "identity"}
    if method == "GET":
        headers["Range"] = f"bytes=0-{FIRST_BYTES - 1}"
    timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
    sent_at = clock.monotonic()
    with suppress(*NO_ANSWER):
        async with (
            open_client(url, http, headers, timeout=timeout) as client,
            client.stream(method, url) as response,
        ):
            return Answer(
                method,
                "snapshot host",
                sent_at,
                clock.monotonic() - sent_at,
                response.status_code,
                dict(response.headers),
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
    """Send the GET for an object. HEAD is never sent: the signature of the URL covers the method.

    Args:
        url: signed, and never shown.
        http: the transport; None for the network.
        offset: the first byte that is wanted.
        known: what the object must not differ from, as the bytes before `offset` were served; None
            if nothing is known.

    Yields:
        The description of the object, and its pieces as they arrive. Reading them raises
        `DownloadBroken` too.

    Raises:
        UrlRefused: the host refuses the URL.
        DownloadBroken: the network or the host failed.
        WrongContent: the host serves another object.
    """
    # With compression, sizes and ranges would count the compressed bytes.
    headers = {"Accept-Encoding": "identity"}
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
        # A reader may stop early.
        async with aclosing(_pieces(response, _request_text(url), skip)) as pieces:
            yield served, pieces


async def _follow(client: httpx.AsyncClient, url: str) -> httpx.Response:
    """Send the GET, and follow redirects that keep the scheme."""
    target = url
    for _ in range(REDIRECTS + 1):
        request = _request_text(target)
        try:
            sent = client.build_request("GET", target, extensions={"trace": _read_wide})
        # ValueError: the host is no domain name.
        except (httpx.InvalidURL, ValueError):
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
        if (
            problem_of_url(target) is not None
            or urlsplit(target).scheme != urlsplit(url).scheme
        ):
            problem = "the host redirects to an address that is not allowed"
            raise WrongContent(request, meaning=problem, status=response.status_code)
    problem = f"the host redirects more than {REDIRECTS} times"
    raise WrongContent(_request_text(url), meaning=problem)


@contextmanager
def _breaking(request: str) -> Iterator[None]:
    """Raise a `DownloadBroken` if the network fails."""
    try:
        yield
    except NO_ANSWER as error:
        raise DownloadBroken(request, message=one_line(error)) from None


async def _read_wide(_event: str, info: Mapping[str, Any]) -> None:
    """Let a connection read `DOWNLOAD_READ_SIZE` at once, for which httpx has no setting.

    The `trace` extension of httpx passes each new connection.
    """
    stream = info.get("return_value")
    if isinstance(stream, AsyncNetworkStream):
        read_some = stream.read

        async def read_more(max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  the name that httpcore passes
            return await read_some(max(max_bytes, DOWNLOAD_READ_SIZE), timeout)

        stream.read = read_more  # type: ignore[method-assign]  # the only way


async def _checked(
    response: httpx.Response,
    url: str,
    offset: int,
    known: Served | None,
) -> tuple[Served, int]:
    """Check that an answer is what was asked for.

    Args:
        response: the answer, whose body is not read yet.
        url: the URL that was asked for.
        offset: the first byte that was asked for.
        known: what is known of the object; None for the first request.

    Returns:
        The description of the object, and how many bytes of the body are to be skipped.

    Raises:
        UrlRefused: the host refuses the URL.
        DownloadBroken: the host is not able to answer.
        WrongContent: the answer is another object, or another part of it.
    """
    request = _request_text(url)
    status = response.status_code
    if status not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
        raise await _refusal(response, request)
    part = _RANGE.fullmatch(response.headers.get("content-range", ""))
    is_part = status == httpx.codes.PARTIAL_CONTENT
    served = _served(response, part if is_part else None)
    problem = _wrong_encoding(response)
    if problem is None and is_part:
        problem = _wrong_range(part, offset)
    if problem is None and known is not None:
        problem = _wrong_object(served, known, url, is_rest=offset > 0)
    if problem is not None:
        raise WrongContent(request, meaning=problem, status=status)
    # A host that ignores ranges sends the whole object; the bytes received already are skipped.
    return served, 0 if is_part else offset


def _served(response: httpx.Response, part: re.Match[str] | None) -> Served:
    """Describe the object that an answer serves, or of which it serves a part."""
    headers = response.headers
    if response.status_code == httpx.codes.OK:
        total = headers.get("content-length", "")
    else:
        total = part[3] if part else ""
    etag = headers.get("etag", "")
    is_strong = etag.startswith('"')  # a weak tag (`W/`) does not prove equal bytes
    return Served(
        total=int(total) if _SIZE.fullmatch(total) else None,
        version=headers.get("x-amz-version-id") or None,
        etag=etag if is_strong else None,
        modified=http_date(headers.get("last-modified")),
    )


def _wrong_encoding(response: httpx.Response) -> str | None:
    """Say that an answer is compressed; None if it is not."""
    if response.headers.get("content-encoding", "identity") == "identity":
        return None
    return "the answer is compressed although no compression was requested"


def _wrong_range(part: re.Match[str] | None, offset: int) -> str | None:
    """Say that a part does not begin at the byte that was asked for; None if the part does."""
    if offset and part is not None and int(part[1]) == offset:
        return None
    return "the host sent another range than requested"


def _wrong_object(
    served: Served, known: Served, url: str, *, is_rest: bool
) -> str | None:
    """Say that another object is served, or may be; None if the object is the known one.

    The rest of an object needs a proof: a URL that names its version, or an equal version or tag.
    """
    difference = served.differs_from(known)
    if difference is not None:
        return f"the host now serves a different object: {difference}"
    if not is_rest or version_of(url) is not None:
        return None
    if served.version is not None and served.version == known.version:
        return None
    if served.etag is not None and served.etag == known.etag:
        return None
    return "nothing proves that the rest is the same version"


async def _pieces(
    response: httpx.Response, request: str, skip: int
) -> AsyncGenerator[bytes, None]:
    with _breaking(request):
        async for piece in response.aiter_raw():
            rest = piece[skip:]
            skip = max(0, skip - len(piece))
            if rest:
                yield rest


async def _refusal(response: httpx.Response, request: str) -> SquareCloudError:
    """Make the error of an answer that is no part of an object."""
    status = response.status_code
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        meaning = "the object is shorter than the part that was received"
        return WrongContent(request, meaning=meaning, status=status)
    text = await _refusal_text(response, request)
    code = _CODE.search(text)
    message = _MESSAGE.search(text)
    if status == httpx.codes.FORBIDDEN and code is None and _HTML.search(text):
        return ProxyRefused(request, status=status)
    is_passing = (
        status >= httpx.codes.INTERNAL_SERVER_ERROR or status in PASSING_STATUSES
    )
    kind = DownloadBroken if is_passing else UrlRefused
    return kind(
        request,
        status=status,
        code=code[1] if code else None,
        message=one_line(html.unescape(message[1])) if message else "",
    )


async def _refusal_text(response: httpx.Response, request: str) -> str:
    """Read the body of a refusal, as far as it may be read."""
    content = bytearray()
    with _breaking(request):
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > REFUSAL_LIMIT:
                break
    return content.decode(errors="replace")


def _request_text(url: str) -> str:
    """Method and path. The query is left out, since it gives access to the data."""
    return f"GET {urlsplit(url).path or '/'}"
