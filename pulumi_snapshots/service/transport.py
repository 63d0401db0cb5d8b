"""The HTTP transport to the service's API: key, time-outs, size limits and envelope. No retries and no rate limits."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal
from urllib.parse import urlsplit

import anyio
import httpx
from pydantic import BaseModel

from pulumi_snapshots.clock import Clock, ServiceClock, in_utc
from pulumi_snapshots.properties.checks import LOOPBACK
from pulumi_snapshots.service.errors import AnswerLost, ClaimTooOld, NotSent, error_for
from pulumi_snapshots.service.models import Lenient

PROCESSING = frozenset({"SNAPSHOT_PROCESSING", "SNAPSHOT_RESTORE_PROCESSING"})
"""The codes for a request that was accepted and is still running; the service sends them as an error with status 202."""
BODY_LIMIT = 32 * 1024 * 1024
"""The most bytes read of an answer; a listing of 10,000 entries has about 6 MB."""
CONNECT_TIMEOUT = 15.0
READ_TIMEOUT = 30.0
"""Seconds of a download between two pieces of its body."""
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


@cache
def user_agent() -> str:
    """The `User-Agent`: this package and its version. A proxy in front of the service may refuse that of a bare HTTP library."""
    named = ""
    with suppress(PackageNotFoundError):  # run from its files
        named = f"/{version('pulumi-snapshots')}"
    return f"pulumi-snapshots{named} (Pulumi provider for Square Cloud)"


def open_client(
    url: str, http: httpx.AsyncBaseTransport | None, headers: Mapping[str, str] | None = None, **settings: Any
) -> httpx.AsyncClient:
    """Make a client for an address, which follows no redirect and shares nothing with other clients."""
    return httpx.AsyncClient(
        transport=http,
        headers={"Accept": "*/*", "User-Agent": user_agent(), **(headers or {})},
        # A proxy from the environment would see all in plain text on the way to a loopback address.
        trust_env=urlsplit(url).hostname not in LOOPBACK,
        event_hooks={"response": [_leave_redirect]},
        **settings,
    )


async def _leave_redirect(response: httpx.Response) -> None:
    """Move a redirect's `Location` to the response's extensions: httpx parses the header even if it does not follow it.

    An address that cannot be parsed would end in an error of any kind there, and as if the answer had been lost.
    """
    if response.has_redirect_location:
        response.extensions["location"] = response.headers.pop("location")


def one_line(text: object) -> str:
    """A text on one printable line; of an error without a text its name."""
    line = " ".join((str(text) or (type(text).__name__ if isinstance(text, Exception) else "")).split())
    return "".join(character for character in line if character.isprintable())


def http_date(text: str | None) -> datetime | None:
    """The time of an HTTP date; None if it is not one."""
    try:
        return in_utc(parsedate_to_datetime(text or ""))
    except (ValueError, OverflowError):
        return None


@dataclass
class Answer:
    """An answer of the service."""

    method: str
    path: str  # without the query
    sent_at: float  # when the request was sent, monotonic seconds
    first_byte: float  # seconds until the answer began
    status: int
    headers: Mapping[str, str]  # by their names in lower case
    content: bytes | None = None  # may hold secrets; None if it was too large
    response: Any = None  # that of the envelope, if the answer is a success
    continues: bool = False  # whether what was asked for is still running


class _Envelope(BaseModel):
    status: Literal["success", "error"]
    code: Lenient[str] = None
    message: Lenient[str] = None
    response: Any = None


class Transport:
    """Sends requests with the bare API key to the API's address, over the network unless `http` is given.

    `on_answer` is called with each answer as it came, for those who study the service; the `service_clock` learns from each.
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
        self.on_answer: Callable[[Answer], None] = lambda _: None
        self.api_url, self._api_key, self._http = api_url, api_key, http
        self.service_clock, self._clock = service_clock, clock
        # If the server closed a kept connection just as a POST is sent, the client could not know whether the POST arrived.
        # At 30 requests a minute a new connection for each costs nothing. The number of connections has no limit,
        # because a POST stays open for up to 90 s.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        headers = {"Authorization": api_key, "Accept": "application/json"}
        self._client = open_client(api_url, http, headers, limits=limits)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(
        self, method: str, path: str, *, read_timeout: float, body: Any = None, leave_by: datetime | None = None
    ) -> Answer:
        """Send one request, with a percent-encoded path and a body as JSON; anything but a success is raised as a `SquareCloudError`.

        A cancellation has a `NotSent` as its cause if the request certainly never left. `read_timeout` counts seconds until the
        first byte, and between any two bytes. After `leave_by`, by this machine's clock, a `ClaimTooOld` is raised, before the
        connection is made, or right before the request is written to it.
        """
        bare, sent_at = f"/{path.partition('?')[0]}", self._clock.monotonic()
        request = f"{method} {bare}"
        # Whether each event of httpx was about the connection: if all were, the request certainly has not left. Other
        # transports than httpx's own tell nothing, which proves nothing.
        events: set[bool] = set()

        def check() -> None:
            if leave_by is not None and self._clock.utc() > leave_by:
                raise ClaimTooOld(request)

        async def note(event: str, _info: object) -> None:
            if event.endswith("send_request_headers.started"):
                check()
            events.add(event.startswith("connection."))

        try:
            check()
            with anyio.fail_after(read_timeout + WHOLE_ANSWER_EXTRA):
                async with self._client.stream(
                    method,
                    f"{self.api_url}/{path}",
                    json=body,
                    timeout=httpx.Timeout(read_timeout, connect=min(CONNECT_TIMEOUT, read_timeout)),
                    extensions={"trace": note} if method == "POST" else None,
                ) as response:
                    received, first_byte = self._clock.utc(), self._clock.monotonic() - sent_at
                    content = await _read_bounded(response)
        except anyio.get_cancelled_exc_class() as cancelled:
            if events == {True}:
                raise cancelled from NotSent(request)
            raise
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            # Beside the errors that certainly come before it leaves, the request may have arrived: they happen while it is
            # written, or while its answer is awaited or read. OSError includes the TimeoutError of the whole answer, also
            # after this process was stopped while it connected, and TLS records that break after the handshake.
            left = events != {True} and not isinstance(error, _CERTAINLY_NOT_SENT)
            raise (AnswerLost if left else NotSent)(request, message=self._safe(error)) from None
        answer = Answer(method, bare, sent_at, first_byte, response.status_code, dict(response.headers), content)
        self.on_answer(answer)
        return self._understood(answer, received)

    def _understood(self, answer: Answer, received: datetime) -> Answer:
        """The answer, which came at `received`, or its error."""
        headers, date, envelope = answer.headers, http_date(answer.headers.get("date")), None
        with suppress(ValueError, RecursionError):  # pydantic's own parser takes no text that was cut amid a character
            envelope = _Envelope.model_validate(json.loads(answer.content or b""))
        code = envelope.code if envelope else None
        if envelope and date is not None and "age" not in headers:
            # Without an envelope the answer may come from a proxy, with the proxy's clock. A page with an age is from a cache,
            # with the time when that got it.
            self.service_clock.observe(date, received - timedelta(seconds=answer.first_byte), received)
        answer.continues = answer.status == httpx.codes.ACCEPTED or code in PROCESSING
        if envelope and httpx.codes.is_success(answer.status) and (envelope.status == "success" or answer.continues):
            answer.response = envelope.response
            return answer
        raise error_for(
            f"{answer.method} {answer.path}",
            answer.status,
            code=self._safe(code)[:CODE_LIMIT] if code else None,
            message=self._safe(envelope.message) if envelope and envelope.message else "",
            readable=envelope is not None,
            retry_after=_retry_after(headers.get("retry-after", ""), date or self.service_clock.now()),
            now=received,
        )

    def _safe(self, text: object) -> str:
        """`text` on one line and without the API key."""
        return one_line(text).replace(self._api_key, "[key]")


async def _read_bounded(response: httpx.Response) -> bytes | None:
    """The body; None if it is larger than any answer of the service."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > BODY_LIMIT:
            return None
    return bytes(content)


def _retry_after(text: str, now: datetime) -> float | None:
    """The seconds in `Retry-After`, which is a number of seconds or an HTTP date; None if there are none.

    Zero and a date in the past count as none: to try again at once is never the answer to a refusal.
    """
    try:
        seconds = float(text)
    except ValueError:
        until = http_date(text)
        seconds = math.nan if until is None else (until - now).total_seconds()
    return min(seconds, RETRY_AFTER_LIMIT) if seconds > 0 and math.isfinite(seconds) else None
