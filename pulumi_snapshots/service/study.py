"""One request to the snapshot host as it is, for what its answer tells. Never sends the API key."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from pulumi_snapshots.addresses import is_loopback
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.service.download import CONNECT_TIMEOUT, READ_TIMEOUT
from pulumi_snapshots.service.errors import AnswerLost
from pulumi_snapshots.service.signed_url import problem_of_url
from pulumi_snapshots.service.transport import Heard, user_agent

FIRST_BYTES = 1024
"""Bytes that are asked for: a proof of what is served, and nothing of the data is kept."""


async def look_at(method: str, url: str, clock: Clock, *, http: httpx.AsyncBaseTransport | None = None) -> Heard:
    """Send a GET of the first bytes, or a HEAD; redirects are not followed.

    Args:
        method: `GET` or `HEAD`.
        url: a signed URL; it is never shown.
        clock: the time.
        http: the HTTP transport; the network if not given.

    Raises:
        AnswerLost: there is no answer, or the URL must not be requested.
    """
    request = f"{method} of a download URL"
    if problem := problem_of_url(url):
        raise AnswerLost(request, message=f"the URL {problem}")
    headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": user_agent()}
    if method == "GET":
        headers["Range"] = f"bytes=0-{FIRST_BYTES - 1}"
    timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
    trust = not is_loopback(urlsplit(url).hostname or "")
    sent_at = clock.monotonic()
    try:
        async with (
            httpx.AsyncClient(transport=http, timeout=timeout, trust_env=trust) as client,
            client.stream(method, url, headers=headers) as response,
        ):
            first_byte = clock.monotonic() - sent_at
            return Heard(
                method, "snapshot host", sent_at, first_byte, response.status_code, dict(response.headers), None
            )
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        # Its text may hold the URL.
        raise AnswerLost(request, message=type(error).__name__) from None
