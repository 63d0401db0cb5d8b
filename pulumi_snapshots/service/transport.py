"""The HTTP transport to the service's API: key, time-outs, size limits and envelope. No retries and no rate limits."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx

from pulumi_snapshots.addresses import is_loopback
from pulumi_snapshots.clock import Clock, in_utc
from pulumi_snapshots.ledger.service_clock import ServiceClock
from pulumi_snapshots.service.errors import AnswerLost, ClaimTooOld, NotSent, error_for

PROCESSING = frozenset({"SNAPSHOT_PROCESSING", "SNAPSHOT_RESTORE_PROCESSING"})
"""The codes for a request that was accepted and is still running; the service sends them as an error with status 202."""

BODY_LIMIT = 32 * 1024 * 1024
"""The most bytes read of an answer; a listing of 10,000 entries has about 6 MB."""
CONNECT_TIMEOUT = 15.0
WHOLE_ANSWER_EXTRA = 60.0
"""Seconds beyond the read time-out in which the whole answer must arrive, so that a slow body ends too."""
CODE_LIMIT = 100
"""The most characters shown of a code; the longest known code has 29."""
RETRY_AFTER_LIMIT = 3600.0
"""The longest `Retry-After`, in seconds, that is believed: the vendor documents blocks of about 30 minutes."""

_CERTAINLY_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)


_parsed = lru_cache(maxsize=1000)(httpx.URL)
"""The same few addresses are polled again and again."""


@dataclass(frozen=True)
class Answer:
    """A successful answer: status 2xx with a readable envelope.

    Attributes:
        status: HTTP status.
        code: the envelope's code, which a 202 has.
        response: the envelope's `response`.
        sent_at: when the request was sent (monotonic seconds).
    """

    status: int
    code: str | None
    response: Any
    sent_at: float

    @property
    def continues(self) -> bool:
        """Whether what was asked for is still running."""
        return self.status == httpx.codes.ACCEPTED or self.code in PROCESSING


@dataclass(frozen=True)
class Heard:
    """An answer as it came, for those who study the service. Its content may hold secrets.

    Attributes:
        method: HTTP method.
        path: without the query.
        sent_at: when the request was sent (monotonic seconds).
        first_byte: seconds until the answer began.
        status: HTTP status.
        headers: its headers, by their names in lower case.
        content: its body; None if it was too large.
    """

    method: str
    path: str
    sent_at: float
    first_byte: float
    status: int
    headers: Mapping[str, str]
    content: bytes | None


class Transport:
    """Sends requests with the API key; the arguments are those of `Client`, and `service_clock` learns from each answer.

    Attributes:
        on_answer: called with each answer, if set.
    """

    def __init__(
        self,
        api_url: str,
        api_key: str,
        clock: Clock,
        service_clock: ServiceClock,
        *,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.on_answer: Callable[[Heard], None] | None = None
        self._api_key = api_key
        self._clock = clock
        self._service_clock = service_clock
        host = urlsplit(api_url).hostname or ""
        self._api_url = api_url
        self._client = httpx.AsyncClient(
            headers={"Authorization": api_key, "Accept": "application/json", "User-Agent": user_agent()},
            transport=http,
            follow_redirects=False,
            event_hooks={"response": [leave_redirect]},
            # A proxy from the environment would see the key in plain text on the way to a loopback address.
            trust_env=not is_loopback(host),
            # If the server closed a kept connection just as a POST is sent, the client could not know whether the POST arrived.
            # At 30 requests a minute a new connection for each costs nothing. The number of connections has no limit,
            # because a POST stays open for up to 90 s.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    def __repr__(self) -> str:
        return f"Transport({self._api_url!r})"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        read_timeout: float,
        body: Any = None,
        leave_by: datetime | None = None,
    ) -> Answer:
        """Send one request and read its answer; anything but a success is raised as a `SquareCloudError`.

        A cancellation has a `NotSent` as its cause if the request certainly never left.

        Args:
            method: HTTP method.
            path: the path below the API's address, percent-encoded.
            read_timeout: seconds until the first byte, and between any two bytes.
            body: sent as JSON.
            leave_by: until when it may leave, by this machine's clock; later a `ClaimTooOld` is raised, before the connection
                is made, or right before the request is written to it.
        """
        request = f"{method} /{path.partition('?')[0]}"
        sent_at = self._clock.monotonic()
        timeout = httpx.Timeout(read_timeout, connect=min(CONNECT_TIMEOUT, read_timeout))
        events = _Events(self._clock, leave_by, request)
        try:
            events.check()
            with anyio.fail_after(read_timeout + WHOLE_ANSWER_EXTRA):
                async with self._client.stream(
                    method,
                    _parsed(f"{self._api_url}/{path}"),
                    json=body,
                    timeout=timeout,
                    extensions={"trace": events.note} if method == "POST" else None,
                ) as response:
                    received, first_byte = self._clock.utc(), self._clock.monotonic() - sent_at
                    content = await _read_bounded(response)
        except anyio.get_cancelled_exc_class() as cancelled:
            if events.only_connecting:
                raise cancelled from NotSent(request)
            raise
        except _CERTAINLY_NOT_SENT as error:
            raise NotSent(request, message=self._safe(error)) from None
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            if events.only_connecting:  # the time-out of the whole answer, after this process was stopped
                raise NotSent(request, message=self._safe(error)) from None
            # The request may have arrived: all other errors happen while it is written, or while its answer is awaited or
            # read. OSError includes the TimeoutError of the whole answer, and TLS records that break after the handshake.
            raise AnswerLost(request, message=self._safe(error)) from None
        if self.on_answer is not None:
            headers = dict(response.headers)
            path = f"/{path.partition('?')[0]}"
            self.on_answer(Heard(method, path, sent_at, first_byte, response.status_code, headers, content))
        sent = received - timedelta(seconds=first_byte)
        return self._answer(request, response, content, sent_at, sent, received)

    def _answer(  # noqa: PLR0913, PLR0917  an answer has as many parts
        self,
        request: str,
        response: httpx.Response,
        content: bytes | None,
        sent_at: float,
        sent: datetime,
        received: datetime,
    ) -> Answer:
        envelope = _envelope(content)
        code, message = envelope.get("code"), envelope.get("message")
        code = code if isinstance(code, str) and code else None
        date = _http_date(response.headers.get("date"))
        if envelope and date is not None and "age" not in response.headers:
            # Without an envelope the answer may come from a proxy, with the proxy's clock. A page with an age is from a cache,
            # with the time when that got it.
            self._service_clock.observe(date, sent, received)
        accepted = response.status_code == httpx.codes.ACCEPTED or code in PROCESSING
        if envelope and response.is_success and (envelope["status"] == "success" or accepted):
            return Answer(response.status_code, code, envelope.get("response"), sent_at)
        raise error_for(
            request,
            response.status_code,
            code=self._safe(code)[:CODE_LIMIT] if code else None,
            message=self._safe(message) if isinstance(message, str) else "",
            readable=bool(envelope),
            retry_after=_retry_after(response, date or self._service_clock.now()),
            now=received,
        )

    def _safe(self, text: object) -> str:
        """`text` on one line, printable and without the API key."""
        line = " ".join((str(text) or type(text).__name__).replace(self._api_key, "[key]").split())
        return "".join(character for character in line if character.isprintable())


class _Events:
    """The events of a request from httpx's `trace` extension.

    Attributes:
        only_connecting: whether all of it was about the connection, so that the request certainly has not left. Other
            transports than httpx's own tell nothing, which proves nothing.
    """

    def __init__(self, clock: Clock, leave_by: datetime | None, request: str) -> None:
        self._seen: set[bool] = set()
        self._clock, self._leave_by, self._request = clock, leave_by, request

    def check(self) -> None:
        """Raise a `ClaimTooOld` if it must not leave any more."""
        if self._leave_by is not None and self._clock.utc() > self._leave_by:
            raise ClaimTooOld(self._request)

    async def note(self, event: str, _info: object) -> None:
        """Note an event such as `connection.start_tls.started` or `http11.send_request_headers.started`."""
        if event.endswith("send_request_headers.started"):
            self.check()
        self._seen.add(event.startswith("connection."))

    @property
    def only_connecting(self) -> bool:
        return self._seen == {True}


@cache
def user_agent() -> str:
    """The `User-Agent`: this package and its version. A proxy in front of the service may refuse that of a bare HTTP library."""
    try:
        return f"pulumi-snapshots/{version('pulumi-snapshots')} (Pulumi provider for Square Cloud)"
    except PackageNotFoundError:  # run from its files
        return "pulumi-snapshots (Pulumi provider for Square Cloud)"


async def leave_redirect(response: httpx.Response) -> None:
    """Move a redirect's `Location` to the response's extensions: httpx parses the header even if it does not follow it.

    An address that cannot be parsed would end in an error of any kind there, and as if the answer had been lost.
    """
    if response.has_redirect_location:
        response.extensions["location"] = response.headers.pop("location")


async def _read_bounded(response: httpx.Response) -> bytes | None:
    """The body; None if it is larger than any answer of the service."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > BODY_LIMIT:
            return None
    return bytes(content)


def _envelope(content: bytes | None) -> dict[str, Any]:
    """The service's envelope; empty if the body is something else."""
    try:
        body = json.loads(content or b"")
    except (ValueError, RecursionError):
        return {}
    # A tuple, since `status` may be of any type, and a list cannot be looked up in a set.
    return body if isinstance(body, dict) and body.get("status") in ("success", "error") else {}


def _http_date(text: str | None) -> datetime | None:
    """The time of an HTTP date; None if it is not one."""
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return in_utc(date)


def _retry_after(response: httpx.Response, now: datetime) -> float | None:
    """The seconds in `Retry-After`, which is a number of seconds or an HTTP date; None if there are none.

    Zero and a date in the past count as none: to try again at once is never the answer to a refusal.
    """
    text = response.headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        until = _http_date(text)
        seconds = math.nan if until is None else (until - now).total_seconds()
    return min(seconds, RETRY_AFTER_LIMIT) if seconds > 0 and math.isfinite(seconds) else None
