"""The kind of monitor that a URL leads to, and the request that sends a message.

The public documentation of each kind has its format. The page of Slack was read on 2026-12-02; the
limits of Discord and Slack were taken from pages of others that quote them:

- Discord, "Execute Webhook": JSON whose `content` has at most 2,000 characters. An empty `parse` in
  `allowed_mentions` mentions no member. (An embed could hold 4,096; plain content needs none.)
  https://discord.com/developers/docs/resources/webhook#execute-webhook
- Slack, "Incoming webhooks" and "Message formatting": JSON with `text`, in which `&`, `<` and `>`
  are HTML entities; so no text can mention anybody. Past 40,000 characters it is cut.
  https://api.slack.com/docs/message-formatting
- ntfy: the text as the body, its title and priority as headers.
  https://docs.ntfy.sh/publish/
- healthchecks, and many others: `URL/start`, `URL`, `URL/fail`.
  https://healthchecks.io/docs/http_api/
"""

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

Event = Literal["started", "done", "failed", "warned"]
"""What can happen to a job; `warned` is about the account."""
TROUBLES = ("failed", "warned")
NTFY_HOST = "ntfy.sh"
SLACK_HOST = "hooks.slack.com"
DISCORD_HOSTS = ("discord.com", "discordapp.com")
DISCORD_PATH = "/api/webhooks/"
CHATS = ("discord", "slack")
PING_PATHS: Mapping[Event, str] = {"started": "/start", "done": "", "failed": "/fail"}
NTFY_PRIORITIES: Mapping[Event, str] = {
    "started": "min",
    "done": "low",
    "warned": "default",
    "failed": "high",
}
LONGEST_MESSAGE = 4000
"""Characters of a message, about as many as ntfy shows."""
LONGEST_CHAT = 1900
"""Characters of a message in a chat, below Discord's limit."""
JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class MonitorMessage:
    """A POST to a monitor. Its URL is a secret."""

    url: str = field(repr=False)
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_of_monitor(url: str) -> str:
    """Return why messages cannot go to a URL, without any part of it; empty if they can.

    Args:
        url: the monitor's URL, which is a secret.
    """
    try:
        parts = urlsplit(_address(url))
        is_address = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
        )
    except ValueError:
        is_address = False
    is_good = is_address and url.isascii() and url.isprintable()
    return "" if is_good else "must be a URL that begins with https:// or http://"


def kind_of_monitor(url: str) -> str:
    """Return what a URL leads to: `discord`, `slack`, `ntfy`, or `ping` for any other.

    Args:
        url: The monitor's URL. `ntfy+https://…` says that a server of the user's own takes the
            messages of ntfy; the same for the other kinds.
    """
    kind, plus, _ = url.partition("+")
    if plus and kind in _MESSAGES:
        return kind
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == NTFY_HOST:
        return "ntfy"
    if host == SLACK_HOST:
        return "slack"
    is_discord = host.removeprefix("ptb.").removeprefix("canary.") in DISCORD_HOSTS
    return "discord" if is_discord and parts.path.startswith(DISCORD_PATH) else "ping"


def message_of(url: str, event: Event, title: str, text: str) -> MonitorMessage | None:
    """Return the message that tells a monitor of an event.

    Args:
        url: The monitor's URL, which is a secret.
        event: The event.
        title: One line.
        text: Further text, of which the monitor gets the beginning; empty repeats the title.

    Returns:
        The message; None if this kind of monitor does not take such events.
    """
    return _MESSAGES[kind_of_monitor(url)](_address(url), event, title, text)


def _address(url: str) -> str:
    """The URL without the prefix that says its kind."""
    kind, plus, address = url.partition("+")
    return address if plus and kind in _MESSAGES else url


def _to_chat(
    write: Callable[[str], dict[str, object]],
    url: str,
    event: Event,
    title: str,
    text: str,
) -> MonitorMessage | None:
    """The message to a chat, which takes troubles only."""
    if event not in TROUBLES:
        return None
    content = write(f"{title}\n{text}".strip()[:LONGEST_CHAT])
    return MonitorMessage(url, json.dumps(content).encode(), JSON_HEADERS)


def _discord(text: str) -> dict[str, object]:
    return {"content": text, "allowed_mentions": {"parse": []}}


def _slack(text: str) -> dict[str, object]:
    return {"text": html.escape(text, quote=False)}


def _ntfy(url: str, event: Event, title: str, text: str) -> MonitorMessage:
    headers = {"Title": title, "Priority": NTFY_PRIORITIES[event]}
    return MonitorMessage(url, _plain(title, text), headers)


def _ping(url: str, event: Event, title: str, text: str) -> MonitorMessage | None:
    if event not in PING_PATHS:
        return None
    parts = urlsplit(url)
    path = parts.path.rstrip("/") + PING_PATHS[event]
    return MonitorMessage(parts._replace(path=path).geturl(), _plain(title, text))


def _plain(title: str, text: str) -> bytes:
    return (text or f"{title}.")[:LONGEST_MESSAGE].encode()


_MESSAGES: Mapping[str, Callable[[str, Event, str, str], MonitorMessage | None]] = {
    "discord": partial(_to_chat, _discord),
    "slack": partial(_to_chat, _slack),
    "ntfy": _ntfy,
    "ping": _ping,
}
