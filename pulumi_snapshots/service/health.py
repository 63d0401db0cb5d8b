"""What the service says of itself: `GET /service/status`, which needs no key and has no envelope."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from urllib.parse import urlsplit

import anyio
import httpx

from pulumi_snapshots.addresses import is_loopback
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.service.transport import user_agent

ONLINE, DEGRADED = "online", "degraded"
RENEWED_EVERY = 300.0
"""Seconds after which the service renews it."""
ANSWER_WITHIN = 3.0
"""Seconds: an error waits for it."""
MESSAGE_LIMIT = 100
"""Characters of the service's own words."""


class Health:
    """Asks once in `RENEWED_EVERY` for all callers.

    Args:
        api_url: the API's address.
        clock: the time.
        http: the HTTP transport; the network if not given.
    """

    def __init__(self, api_url: str, clock: Clock, *, http: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = f"{api_url}/service/status"
        self._trusts = not is_loopback(urlsplit(api_url).hostname or "")
        self._clock, self._http = clock, http
        self._asking = anyio.Lock()
        self._asked_at, self._said = -math.inf, ("", "")

    async def said(self) -> tuple[str, str]:
        """Its word, `online`, `degraded` or `unknown`, and its message; both are empty if it does not say."""
        async with self._asking:
            if self._clock.monotonic() - self._asked_at >= RENEWED_EVERY:
                self._said = "", ""
                with suppress(httpx.HTTPError, OSError, ValueError, RecursionError), anyio.fail_after(ANSWER_WITHIN):
                    self._said = await self._ask()
                self._asked_at = self._clock.monotonic()
            return self._said

    async def outage(self) -> str:
        """The words that it has for an outage of its own; empty if it reports none."""
        word, message = await self.said()
        return f"{word}: {message}".removesuffix(": ") if word == DEGRADED else ""

    async def _ask(self) -> tuple[str, str]:
        headers = {"Accept": "application/json", "User-Agent": user_agent()}
        async with httpx.AsyncClient(transport=self._http, trust_env=self._trusts) as client:
            answer = await client.get(self._url, headers=headers)
        content = json.loads(answer.content) if answer.status_code == httpx.codes.OK else None
        content = content if isinstance(content, dict) else {}
        word, message = (_text(content.get(name)) for name in ("status", "message"))
        return word, message


def _text(value: object) -> str:
    """A short text on one line."""
    line = " ".join(value.split())[:MESSAGE_LIMIT] if isinstance(value, str) else ""
    return "".join(each for each in line if each.isprintable())
