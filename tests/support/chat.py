"""A channel on this machine that takes the messages of a webhook, as Discord's do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.unreliable import Forwarder, served

SECRET = "5ec2e7-token"


@dataclass
class Channel:
    url: str = ""
    """Its webhook, as a user gives it."""
    status: int = 204
    """What it answers."""
    tried: int = 0
    """The messages that came."""
    texts: list[str] = field(default_factory=list)
    """Those that it took."""


class _Webhook(Forwarder):
    channel: Channel

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told: dict[str, Any] = json.loads(body)
        assert self.headers["Authorization"] is None
        assert told["allowed_mentions"] == {"parse": []}
        self.channel.tried += 1
        if self.channel.status < 300:
            self.channel.texts.append(told["content"])
        self.answer(self.channel.status, {}, b"")


@contextmanager
def channel() -> Iterator[Channel]:
    one = Channel()
    with served(_Webhook, channel=one) as address:
        one.url = f"discord+{address}/api/webhooks/1/{SECRET}"
        yield one
