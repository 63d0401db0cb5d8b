"""Messages to a monitor that a user names, such as healthchecks or ntfy.

The monitor's URL is a secret: no result holds any part of it.
"""

import html
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import httpx

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.service.client import NO_ANSWER, open_client

NTFY_HOST = "ntfy.sh"
NTFY = "ntfy+"
"""`ntfy+https://…` says that a server takes messages at the URL itself, as `ntfy.sh` does."""
MONITOR_PATHS = {"started": "/start", "done": "", "failed": "/fail"}
"""How healthchecks, and many others, hear how a job goes."""
PRIORITIES = {"started": "min", "done": "low", "failed": "high"}
"""Of ntfy's messages."""
MESSAGE_TRIES = 3
MESSAGE_SECONDS = 4.0
"""Seconds that one try may take."""
MESSAGE_PAUSE = 1.0
"""Seconds between two tries."""
LONGEST_MESSAGE = 4000
"""Characters of a message, about as many as ntfy shows."""
DISCORD_HOSTS = ("discord.com", "discordapp.com")
DISCORD_PATH = "/api/webhooks/"
SLACK_HOST = "hooks.slack.com"
LONGEST_CHAT = 1900
"""Characters of a message in a chat: Discord refuses more than 2,000."""


def problem_of_monitor(url: str) -> str:
    """Return why messages cannot go to a URL, without any part of it; empty if they can.

    Args:
        url: the monitor's URL, which is a secret.
    """
    try:
        parts = urlsplit(url.removeprefix(NTFY))
        is_address = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
        )
    except ValueError:
        is_address = False
    is_good = is_address and url.isascii() and url.isprintable()
    return "" if is_good else "must be a URL that begins with https:// or http://"


def chat_message(url: str, title: str, text: str) -> bytes | None:
    """Return the body of a message to a chat; None if the URL is not a chat's.

    Args:
        url: A webhook of Discord or Slack, or another URL.
        title: One line.
        text: further text, of which the chat gets the beginning. The message mentions no member.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"{title}\n{text}".strip()[:LONGEST_CHAT]
    is_discord = host.removeprefix("ptb.").removeprefix("canary.") in DISCORD_HOSTS
    if is_discord and parts.path.startswith(DISCORD_PATH):
        return json.dumps(
            {"content": shown, "allowed_mentions": {"parse": []}}
        ).encode()
    if host == SLACK_HOST:
        return json.dumps({"text": html.escape(shown, quote=False)}).encode()
    return None


@dataclass
class Monitor:
    """Sends messages, over the network unless `http` is given."""

    http: httpx.AsyncBaseTransport | None = None

    async def tell(
        self,
        clock: Clock,
        url: str,
        event: str,
        title: str,
        text: str = "",
    ) -> str:
        """Tell a monitor about a job; a chat only hears of failures.

        Args:
            clock: for the pause between two tries.
            url: the monitor's URL, which is a secret.
            event: `started`, `done` or `failed`.
            title: one line.
            text: further text, of which the monitor gets the beginning; empty repeats the title.

        Returns:
            Why the monitor did not get the message; empty if it did.
        """
        plain = url.removeprefix(NTFY)
        parts = urlsplit(plain)
        headers: dict[str, str] = {}
        chat = chat_message(url, title, text)
        if chat is not None and event != "failed":
            return ""
        if chat is not None:
            headers = {"Content-Type": "application/json"}
        elif url.startswith(NTFY) or parts.hostname == NTFY_HOST:
            headers = {"Title": title, "Priority": PRIORITIES[event]}
        else:
            plain = parts._replace(
                path=parts.path.rstrip("/") + MONITOR_PATHS[event]
            ).geturl()
        body = chat or (text or f"{title}.")[:LONGEST_MESSAGE].encode()
        why = ""
        for attempt in range(MESSAGE_TRIES):
            await clock.sleep(MESSAGE_PAUSE if attempt else 0.0)
            why = await self._send(plain, headers, body)
            if not why:
                break
        return why

    async def _send(self, url: str, headers: dict[str, str], body: bytes) -> str:
        """Send one message; returns why the monitor did not get it, empty if it did."""
        try:
            # A redirect is not followed: it would show the secret to another host.
            with anyio.fail_after(MESSAGE_SECONDS):
                async with (
                    open_client(url, self.http) as client,
                    client.stream("POST", url, headers=headers, content=body) as answer,
                ):
                    return (
                        ""
                        if answer.is_success
                        else f"it answered with {answer.status_code}"
                    )
        except TimeoutError:
            return "no answer in time"
        except NO_ANSWER as error:
            return f"no answer ({type(error).__name__})"
