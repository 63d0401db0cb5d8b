"""The progress of a run's snapshots, without flooding a log."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import Text, TimeOfDay, Words

ROUTINE_EVERY = 10.0
"""Seconds between two texts of one snapshot if its state has not changed, only a detail such as the next poll."""
MANY = 10
"""From this many snapshots on, only changes are shown, since each text is a line in a log."""
SILENT = 60.0
"""Seconds after which one of many is shown again: some CI systems end a job whose log stays silent."""


class Listener(Protocol):
    """Shows the progress of an operation, such as a resource's row on the terminal."""

    def progress(self, text: Words) -> None:
        """Show a text, which replaces the previous one."""

    def note(self, text: Words) -> None:
        """Show good news that stay visible after the run."""

    def warn(self, text: Words) -> None:
        """Show a warning that stays visible after the run."""


class Fleet:
    """All snapshots that a session creates or resumes at the same time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.members, self.shown = list[Member](), -math.inf

    @contextmanager
    def joins(self, listener: Listener) -> Iterator[Member]:
        """Count a snapshot while the body creates or resumes it."""
        self.members.append(member := Member(self, listener))
        try:
            yield member
        finally:
            self.members.remove(member)

    async def never_silent(self) -> None:
        """Show one of many again after each silent minute; runs until it is cancelled."""
        while True:
            await self.clock.sleep(SILENT)
            if len(self.members) >= MANY and self.clock.monotonic() - self.shown >= SILENT:
                self.members[0].show_again()


class Member:
    """One snapshot of a fleet; limits how much its listener gets. `note` and `warn` are the listener's."""

    def __init__(self, fleet: Fleet, listener: Listener) -> None:
        self._fleet, self._listener = fleet, listener
        self.note, self.warn = listener.note, listener.warn
        self._shown: float = -math.inf
        self._waits_for = ""
        self._last: Words = "queued"

    def waits(  # noqa: PLR0913  each is a fact of its own
        self,
        text: str,
        detail: str = "",
        *,
        until: datetime | None = None,
        next_check: datetime | None = None,
        at_most: datetime | None = None,
        why: str = "",
    ) -> None:
        """Show what the snapshot waits for: at once if that has changed, otherwise every `ROUTINE_EVERY` seconds.

        A terminal of 120 columns leaves 34 for it, so the state comes first, in two words, and one time, the first that is
        given. It is absolute, since a row is not redrawn. `detail` and `next_check` change while it waits; a fleet shows neither.
        """
        now, state = self._fleet.clock.monotonic(), text + why
        if state == self._waits_for and now - self._shown < ROUTINE_EVERY:
            return
        if len(self._fleet.members) >= MANY:  # the text is shown once, without what would soon be out of date
            detail, next_check = "", None
        forms = {
            "{text} until {time}{detail}{reason}": until,
            "{text}; next check {time}{detail}{reason}": next_check,
            "{text}{detail}, until {time} at most{reason}": at_most,
        }
        form, time = next((each for each in forms.items() if each[1]), ("{text}{detail}{reason}", None))
        shown = TimeOfDay(time) if time else ""
        self.progress(Text(form, text=text, time=shown, detail=detail, reason=f": {why}" if why else ""))
        self._waits_for, self._shown = state, now

    def progress(self, text: Words) -> None:
        """Show an event."""
        self._waits_for, self._last, self._fleet.shown = "", text, self._fleet.clock.monotonic()
        self._listener.progress(text)

    def show_again(self) -> None:
        """Show the last event as one that still lasts."""
        time = TimeOfDay(self._fleet.clock.utc())
        self._listener.progress(Text("{last}; still waiting at {time}", last=self._last, time=time))


def short_id(id_: str) -> str:
    """An id as a row has room for it: the first 8 characters of each part."""
    return "/".join(part[:8] for part in id_.split("/"))
