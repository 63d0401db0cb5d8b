"""The progress of a run's snapshots, of each and of all together, without flooding a log."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Literal, Protocol

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import Text, TimeOfDay, Unresolved, Words

Phase = Literal["queue", "answer", "listing"]
"""What a snapshot waits for: the rate limiter's queue, the answer to its POST, or the listing."""

ROUTINE_EVERY = 10.0
"""Seconds between two texts of one snapshot if its state has not changed, only a detail such as the next poll."""
MANY = 10
"""From this many snapshots on, only changes are shown, since each text is a line in a log."""
SUMMARY_EVERY = 60.0
"""Seconds between two summaries, even if nothing changes: some CI systems end a job whose log stays silent."""


class Fleet:
    """All snapshots of a session.

    `announce` gets a summary every minute while there are many and `keep_announcing` runs, and one of their end.
    """

    def __init__(self, clock: Clock, announce: Callable[[str], None] | None) -> None:
        self.clock = clock
        self._announce = announce
        self.phases: dict[Member, Phase] = {}
        self._ended = {"done": 0, "kept as pending": 0, "failed": 0}
        self._announced = False

    @contextmanager
    def joins(self, listener: Listener) -> Iterator[Member]:
        """Count a snapshot while the body creates or resumes it."""
        member, end = Member(self, listener), "failed"
        self.phases[member] = "queue"
        try:
            yield member
            end = "done"
        except Unresolved:
            end = "kept as pending"
            raise
        finally:
            del self.phases[member]
            self._ended[end] += 1
            if self._announced and self._announce is not None and not self.phases:
                self._announce(self.summary())  # otherwise an old one would stay

    @property
    def is_many(self) -> bool:
        """Whether there are so many snapshots that only changes are shown."""
        return len(self.phases) >= MANY

    async def keep_announcing(self) -> None:
        """Announce a summary every minute while there are many snapshots; runs until it is cancelled."""
        while self._announce is not None:
            await self.clock.sleep(SUMMARY_EVERY)
            if self.is_many:
                self._announced = True
                self._announce(self.summary())

    def summary(self) -> str:
        """The number of snapshots in each phase; without times, which would be old before the next one."""
        waiting = Counter(self.phases.values())
        counts = {
            **self._ended,
            "not listed yet": waiting["listing"],
            "not answered yet": waiting["answer"],
            "queued": waiting["queue"],
        }
        total = sum(counts.values())
        return ", ".join([*(f"{count} {what}" for what, count in counts.items() if count), f"of {total} snapshots"])


class Member:
    """One snapshot of a fleet; limits how much its listener gets. `note` and `warn` are the listener's."""

    def __init__(self, fleet: Fleet, listener: Listener) -> None:
        self._fleet, self._listener = fleet, listener
        self.note, self.warn = listener.note, listener.warn
        self._shown: float = -math.inf
        self._waits_for = ""

    def waits(  # noqa: PLR0913  each is a fact of its own
        self,
        text: str,
        detail: str = "",
        *,
        until: datetime | None = None,
        next_check: datetime | None = None,
        at_most: datetime | None = None,
        why: str = "",
        phase: Phase | None = None,
    ) -> None:
        """Show what the snapshot waits for: at once if that has changed, otherwise every `ROUTINE_EVERY` seconds.

        A terminal of 120 columns leaves 34 for it, so the state comes first, in two words, and one time, the first that is
        given. It is absolute, since a row is not redrawn. `detail` and `next_check` change while it waits; a fleet shows neither.
        """
        now, state = self._fleet.clock.monotonic(), text + why
        if state == self._waits_for and now - self._shown < ROUTINE_EVERY:
            return
        if self._fleet.is_many:  # the text is shown once, without what would soon be out of date
            detail, next_check = "", None
        forms = {
            "{text} until {time}{detail}{reason}": until,
            "{text}; next check {time}{detail}{reason}": next_check,
            "{text}{detail}, until {time} at most{reason}": at_most,
        }
        form, time = next((each for each in forms.items() if each[1]), ("{text}{detail}{reason}", None))
        shown = TimeOfDay(time) if time else ""
        self.progress(Text(form, text=text, time=shown, detail=detail, reason=f": {why}" if why else ""), phase)
        self._waits_for, self._shown = state, now

    def progress(self, text: Words, phase: Phase | None = None) -> None:
        """Show an event, and note the phase; None if that has not changed."""
        self._waits_for = ""
        if phase is not None and self in self._fleet.phases:  # the member of a restore is not counted
            self._fleet.phases[self] = phase
        self._listener.progress(text)


def short_id(id_: str) -> str:
    """An id as a row has room for it: the first 8 characters of each part."""
    return "/".join(part[:8] for part in id_.split("/"))


class Listener(Protocol):
    """Shows the progress of an operation, such as a resource's row on the terminal."""

    def progress(self, text: Words) -> None:
        """Show a text, which replaces the previous one."""

    def note(self, text: Words) -> None:
        """Show good news that stay visible after the run."""

    def warn(self, text: Words) -> None:
        """Show a warning that stays visible after the run."""
