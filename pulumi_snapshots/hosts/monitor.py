"""Messages to a monitor that a user names, such as healthchecks or ntfy. Its URL is a secret: no result holds any part of it."""

from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import httpx

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.service.client import NO_ANSWER, open_client

NTFY_HOST, NTFY = "ntfy.sh", "ntfy+"
"""Where messages go to the URL itself; `ntfy+https://…` says that of any other server."""
PATHS = {"started": "/start", "done": "", "failed": "/fail"}
"""How healthchecks, and many others, hear how a job goes."""
PRIORITIES = {"started": "min", "done": "low", "failed": "high"}
"""Of ntfy's messages."""
TRIES, ANSWER_WITHIN, PAUSE = 3, 4.0, 1.0
"""How often a message is sent at most, and seconds for each try and between two."""
LONGEST = 4000
"""Characters of a message, about as many as ntfy shows."""


def problem_of_monitor(url: str) -> str:
    """Why messages cannot go to a URL; empty if they can. It never holds any of it."""
    try:
        parts = urlsplit(url.removeprefix(NTFY))
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    return (
        ""
        if good and url.isascii() and url.isprintable()
        else "must be a URL that begins with https:// or http://"
    )


@dataclass
class Monitor:
    """Sends messages, over the network unless `http` is given."""

    http: httpx.AsyncBaseTransport | None = None

    async def tell(self, clock: Clock, url: str, event: str, title: str, text: str = "") -> str:
        """Tell that a job is `started`, `done` or `failed`; returns why that could not be done, empty if it was."""
        plain, headers, why = url.removeprefix(NTFY), dict[str, str](), ""
        parts = urlsplit(plain)
        if url.startswith(NTFY) or parts.hostname == NTFY_HOST:
            headers = {"Title": title, "Priority": PRIORITIES[event]}
        else:
            plain = parts._replace(path=parts.path.rstrip("/") + PATHS[event]).geturl()
        body = (text or f"{title}.")[:LONGEST].encode()
        for attempt in range(TRIES):
            await clock.sleep(PAUSE if attempt else 0.0)
            try:
                # A redirect is not followed: it would show the secret to another host.
                with anyio.fail_after(ANSWER_WITHIN):
                    client = open_client(plain, self.http)
                    async with (
                        client,
                        client.stream("POST", plain, headers=headers, content=body) as answer,
                    ):
                        why = "" if answer.is_success else f"it answered with {answer.status_code}"
            except NO_ANSWER as error:
                why = (
                    "no answer in time"
                    if isinstance(error, TimeoutError)
                    else f"no answer ({type(error).__name__})"
                )
            if not why:
                break
        return why
