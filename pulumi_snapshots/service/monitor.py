"""Messages to a monitor that a user names, such as healthchecks or ntfy. Its URL is a secret: no result holds any part of it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import httpx

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.service.transport import open_client

NTFY_HOST, NTFY = "ntfy.sh", "ntfy+"
"""Where messages go to the URL itself; `ntfy+https://…` says that of any other server."""
PATHS = {"started": "/start", "done": "", "failed": "/fail"}
"""How healthchecks, and many others, hear how a job goes."""
PRIORITIES = {"started": "min", "done": "low", "failed": "high"}
"""Of ntfy's messages."""
TRIES = 3
ANSWER_WITHIN = 4.0
"""Seconds for each try."""
PAUSE = 1.0
"""Seconds between two tries."""
LONGEST = 4000
"""Characters of a message, about as many as ntfy shows."""


def problem_of_monitor(url: str) -> str:
    """Why messages cannot go to a URL; empty if they can. It never holds any of it."""
    try:
        parts = urlsplit(url.removeprefix(NTFY))
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    return "" if good and url.isascii() and url.isprintable() else "must be a URL that begins with https:// or http://"


@dataclass
class Monitor:
    """Sends messages.

    Attributes:
        http: the HTTP transport; the network if not given.
    """

    http: httpx.AsyncBaseTransport | None = None

    async def tell(self, clock: Clock, url: str, event: str, title: str, text: str = "") -> str:
        """Tell that a job is `started`, `done` or `failed`; returns why that could not be done, empty if it was."""
        why = ""
        for attempt in range(TRIES):
            await clock.sleep(PAUSE if attempt else 0.0)
            try:
                with anyio.fail_after(ANSWER_WITHIN):
                    why = await self._sent(url, event, title, text)
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                why = "no answer in time" if isinstance(error, TimeoutError) else f"no answer ({type(error).__name__})"
            if not why:
                break
        return why

    async def _sent(self, url: str, event: str, title: str, text: str) -> str:
        plain = url.removeprefix(NTFY)
        parts = urlsplit(plain)
        headers = {}
        if url.startswith(NTFY) or parts.hostname == NTFY_HOST:
            headers = {"Title": title, "Priority": PRIORITIES[event]}
        else:
            plain = parts._replace(path=parts.path.rstrip("/") + PATHS[event]).geturl()
        body = (text or f"{title}.")[:LONGEST].encode()
        # A redirect is not followed: it would show the secret to another host.
        async with open_client(plain, self.http) as client:
            answer = await client.post(plain, headers=headers, content=body)
        return "" if answer.is_success else f"it answered with {answer.status_code}"
