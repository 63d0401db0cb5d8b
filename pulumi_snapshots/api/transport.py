"""HTTP to the service's API and nowhere else: the key, time-outs, bounded bodies, the envelope. No retries, no pacing."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import httpx

from pulumi_snapshots.addresses import is_loopback
from pulumi_snapshots.api.errors import AnswerLost, NotSent, error_for
from pulumi_snapshots.clock import in_utc

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_snapshots.api.service_clock import ServiceClock
    from pulumi_snapshots.clock import Clock

__all__ = ["PROCESSING", "Answer", "Transport"]

PROCESSING = "SNAPSHOT_PROCESSING"
"""The code of a request that was accepted and goes on; sent as an error, with status 202."""

BODY_LIMIT = 32 * 1024 * 1024
"""Bytes of an answer that are read at most; a listing of 10,000 entries has about 6 MB."""
CONNECT_TIMEOUT = 15.0
WHOLE_ANSWER_EXTRA = 60.0
"""Seconds beyond the read time-out in which the whole answer must be there: a body may not drip for ever."""
CODE_LIMIT = 100
"""Characters of a code that are repeated; the longest known one has 29."""
RETRY_AFTER_LIMIT = 3600.0
"""Seconds: the vendor speaks of blocks of about 30 minutes, so a longer `Retry-After` is not believed."""

_CERTAINLY_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)


@dataclass(frozen=True)
class Answer:
    """A success: status 2xx with a readable envelope that tells of one.

    Attributes:
        status: HTTP status.
        code: the envelope's code (a 202 has one).
        response: the envelope's `response`.
        sent_at: monotonic seconds when the request was sent.
    """

    status: int
    code: str | None
    response: Any
    sent_at: float


class Transport:
    """Sends one request at a time to the API, with the key.

    Args:
        api_url: the API's address, without a trailing slash.
        api_key: the bare key.
        clock: the time.
        service_clock: learns from each answer's `Date`.
        http: the transport below; httpx's own unless a test gives another.
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
        self._api_key = api_key
        self._clock = clock
        self._service_clock = service_clock
        host = urlsplit(api_url).hostname or ""
        self._client = httpx.AsyncClient(
            base_url=api_url + "/",
            headers={"Authorization": api_key, "Accept": "application/json"},
            transport=http,
            follow_redirects=False,
            # A proxy of the environment would get the key in plain text on the way to a loopback address.
            trust_env=not is_loopback(host),
            # A kept connection that the server closes at the same moment would leave a POST in doubt. At 30 requests
            # a minute a new connection for each costs nothing. No limit: a POST stays open for 90 s.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    def __repr__(self) -> str:
        return f"Transport({str(self._client.base_url)!r})"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, method: str, path: str, *, read_timeout: float, body: Any = None) -> Answer:
        """Send one request and read its answer.

        Args:
            method: HTTP method.
            path: below the API's address, percent-encoded by the caller.
            read_timeout: seconds until the first byte, and between any two.
            body: sent as JSON.

        Raises:
            SquareCloudError: anything but a success.
        """
        request = f"{method} /{path.partition('?')[0]}"
        sent_at = self._clock.monotonic()
        timeout = httpx.Timeout(read_timeout, connect=CONNECT_TIMEOUT)
        try:
            with anyio.fail_after(read_timeout + WHOLE_ANSWER_EXTRA):
                async with self._client.stream(method, path, json=body, timeout=timeout) as response:
                    received = self._clock.utc()
                    content = await _read_bounded(response)
        except _CERTAINLY_NOT_SENT as error:
            raise NotSent(request, message=self._safe(error)) from None
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            # Everything else happened with the request under way: writing it, waiting for or reading the answer.
            # OSError: TimeoutError of the whole answer, and TLS records that break later than the handshake.
            raise AnswerLost(request, message=self._safe(error)) from None
        return self._answer(request, response, content, sent_at, received)

    def _answer(
        self, request: str, response: httpx.Response, content: bytes | None, sent_at: float, received: datetime
    ) -> Answer:
        envelope = _envelope(content)
        code = envelope.get("code") if envelope else None
        code = code if isinstance(code, str) and code else None
        date = _moment(response.headers.get("date"))
        if envelope is not None and date is not None:
            # Only here: a proxy's error page shows the proxy's clock.
            self._service_clock.observe(date, received)
        if (
            envelope is not None
            and response.is_success
            and (envelope["status"] == "success" or response.status_code == httpx.codes.ACCEPTED or code == PROCESSING)
        ):
            return Answer(response.status_code, code, envelope.get("response"), sent_at)
        message = envelope.get("message") if envelope else None
        raise error_for(
            request,
            response.status_code,
            code=self._safe(code)[:CODE_LIMIT] if code else None,
            message=self._safe(message) if isinstance(message, str) else "",
            readable=envelope is not None,
            retry_after=_retry_after(response, date or self._service_clock.now()),
        )

    def _safe(self, text: object) -> str:
        """`text` on one line, printable and without the key, whoever put it there."""
        line = " ".join((str(text) or type(text).__name__).replace(self._api_key, "[key]").split())
        return "".join(character for character in line if character.isprintable())


async def _read_bounded(response: httpx.Response) -> bytes | None:
    """The body; None where it is larger than any answer of the service."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > BODY_LIMIT:
            return None
    return bytes(content)


def _envelope(content: bytes | None) -> dict[str, Any] | None:
    """The service's envelope, or None where the body is something else."""
    try:
        body = json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
    # A tuple: `status` may be anything, and a list cannot be looked up in a set.
    return body if isinstance(body, dict) and body.get("status") in ("success", "error") else None


def _moment(text: str | None) -> datetime | None:
    """The moment that an HTTP date names."""
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return in_utc(date)


def _retry_after(response: httpx.Response, now: datetime) -> float | None:
    """Seconds from `Retry-After`, which is a number of them or an HTTP date."""
    text = response.headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        until = _moment(text)
        seconds = math.nan if until is None else max(0.0, (until - now).total_seconds())
    return min(seconds, RETRY_AFTER_LIMIT) if seconds >= 0 and math.isfinite(seconds) else None
