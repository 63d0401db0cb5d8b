"""Messages to a monitor that a user names, such as healthchecks, ntfy, Discord or Slack.

The monitor's URL is a secret: no result holds any part of it.
"""

import hashlib
import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import httpx

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors.secrets import hide_secrets
from pulumi_snapshots.hosts.monitor_message import (
    Event,
    MonitorMessage,
    message_of,
)
from pulumi_snapshots.service.client import NO_ANSWER, open_client

MESSAGE_TRIES = 3
MESSAGE_SECONDS = 4.0
"""Seconds that one try may take."""
MESSAGE_PAUSE = 1.0
"""Seconds between two tries."""
HEARD = "heard"
"""The folder in the state directory that remembers which troubles were reported."""
HEARD_FOR = timedelta(days=7)
"""After so long, a trouble that has not ended is reported again."""
_WORDS = re.compile(r"\b(?:[0-9a-f]{32}|[A-Za-z_]{2,})\b")
"""Ids of databases, and words without a digit. Numbers, times and versions differ each time."""
_UNITS = frozenset({"day", "days", "min"})


@dataclass
class Monitor:
    """Sends messages, over the network unless `http` is given."""

    http: httpx.AsyncBaseTransport | None = None

    async def tell(
        self, clock: Clock, url: str, event: Event, title: str, text: str = ""
    ) -> str:
        """Send an event to a monitor, if its kind takes such events.

        Args:
            clock: for the pause between two tries.
            url: the monitor's URL, which is a secret.
            event: the event.
            title: one line.
            text: further text, of which the monitor gets the beginning; empty repeats the title.

        Returns:
            Why the monitor did not get the message; empty if it did.
        """
        message = message_of(url, event, title, hide_secrets(text))
        if message is None:
            return ""
        why = ""
        for attempt in range(MESSAGE_TRIES):
            await clock.sleep(MESSAGE_PAUSE if attempt else 0.0)
            why = await self._send(message)
            if not why:
                break
        return why

    async def _send(self, message: MonitorMessage) -> str:
        """Send one message; returns why the monitor did not get it, empty if it did."""
        url = message.url
        try:
            # A redirect is not followed: it would show the secret to another host.
            with anyio.fail_after(MESSAGE_SECONDS):
                async with (
                    open_client(url, self.http) as client,
                    client.stream(
                        "POST", url, headers=message.headers, content=message.body
                    ) as answer,
                ):
                    if answer.is_success:
                        return ""
                    return f"it answered with {answer.status_code}"
        except TimeoutError:
            return "no answer in time"
        except NO_ANSWER as error:
            return f"no answer ({type(error).__name__})"


@dataclass
class TroubleMonitor:
    """Tells one monitor of each trouble once, and of its end.

    A trouble is the same as one before if its job is, and its text apart from numbers, times and
    versions. It ends when the job succeeds, or is reported again after a week. An empty file in the
    state directory remembers it, for all runs of this machine.

    Attributes:
        url: The monitor's URL, which is a secret.
        state_directory: The folder for files of this machine.
    """

    url: str = field(repr=False)
    state_directory: Path
    clock: Clock
    monitor: Monitor = field(default_factory=Monitor)

    async def tell(
        self, event: Event, job: str, title: str, text: str = "", kind: str = ""
    ) -> str:
        """Tell the monitor of a trouble that is new to it, or of the end of a reported trouble.

        Args:
            event: What has happened to the job.
            job: Names the job among all of this user.
            title: One line.
            text: Further text.
            kind: Words that tell one trouble of the job from another; those of the text unless
                given.

        Returns:
            Why the monitor did not get the message; empty if it did, or need not.
        """
        if event == "started":
            return ""
        is_news = self._end(job) if event == "done" else self._is_new(job, kind or text)
        if not is_news:
            return ""
        why = await self.monitor.tell(self.clock, self.url, event, title, text)
        if why and event != "done":
            self._end(job)
        return why

    def _is_new(self, job: str, text: str) -> bool:
        """Remember a trouble; returns whether it was new. Of two runs at once, one gets True."""
        words = [each for each in _WORDS.findall(text) if each not in _UNITS]
        file = self._folder / f"{self._digest(job)}-{self._digest(' '.join(words))}"
        now = self.clock.utc()
        if not self.state_directory.is_absolute():  # nothing can be remembered
            return True
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._forget_old(now)
            file.open("x").close()
            os.utime(file, (now.timestamp(), now.timestamp()))
        except FileExistsError:  # or the folder is a file
            return not file.exists()
        except OSError:  # a message each time is better than no message
            return True
        return True

    def _forget_old(self, now: datetime) -> None:
        for file in self._folder.iterdir():
            if file.stat().st_mtime <= (now - HEARD_FOR).timestamp():
                file.unlink(missing_ok=True)

    def _end(self, job: str) -> bool:
        """Forget the troubles of a job; returns whether there were any."""
        files = [*self._folder.glob(f"{self._digest(job)}-*")]
        try:
            for file in files:
                file.unlink(missing_ok=True)
        except OSError:
            return False
        return bool(files)

    @property
    def _folder(self) -> Path:
        return self.state_directory / HEARD

    def _digest(self, text: str) -> str:
        # The URL is as random as a salt, so no digest shows the arguments of a command.
        return hashlib.sha256(f"{self.url} {text}".encode()).hexdigest()[:32]
