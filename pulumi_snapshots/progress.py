"""The progress of a run's snapshots, of each and of all together, without flooding a log."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors.outcomes import Unresolved
from pulumi_snapshots.errors.text import Text, Words

Phase = Literal["queue", "answer", "listing"]
"""What a snapshot waits for: the rate limiter's queue, the answer to its POST, or the listing."""

ROUTINE_EVERY = 10.0
"""Seconds between two texts of one snapshot if its state has not changed, only a detail such as the next poll."""
MANY = 10
"""From this many snapshots on, only changes are shown, since each text is a line in a log."""
SUMMARY_EVERY = 60.0
"""Seconds between two summaries, even if nothing changes: some CI systems end a job whose log stays silent."""


class Fleet:
    """All snapshots of a session; `announce` gets a summary every minute while there are many and `keep_announcing` runs."""

    def __init__(self, clock: Clock, announce: Callable[[str], None] | None) -> None:
        self.clock = clock
        self._announce = announce
        self._phases: dict[Member, Phase] = {}
        self._ended = {"done": 0, "kept as pending": 0, "failed": 0}

    @contextmanager
    def joins(self, listener: Listener) -> Iterator[Member]:
        """Count a snapshot while the body creates or resumes it."""
        member = Member(self, listener)
        self._phases[member] = "queue"
        end = "failed"
        try:
            yield member
            end = "done"
        except Unresolved:
            end = "kept as pending"
            raise
        finally:
            del self._phases[member]
            self._ended[end] += 1

    def moves(self, member: Member, phase: Phase | None) -> None:
        """Note the phase of a snapshot; None if it has not changed."""
        if phase is not None and member in self._phases:  # the member of a restore is not counted
            self._phases[member] = phase

    @property
    def is_many(self) -> bool:
        """Whether there are so many snapshots that only changes are shown."""
        return len(self._phases) >= MANY

    async def keep_announcing(self) -> None:
        """Announce a summary every minute while there are many snapshots; runs until it is cancelled."""
        while self._announce is not None:
            await self.clock.sleep(SUMMARY_EVERY)
            if self.is_many:
                self._announce(self.summary())

    def summary(self) -> str:
        """The number of snapshots in each phase."""
        waiting = Counter(self._phases.values())
        counts = {
            **self._ended,
            "waiting for the listing": waiting["listing"],
            "waiting for the answer": waiting["answer"],
            "queued": waiting["queue"],
        }
        total = sum(counts.values())
        return f"{total} snapshots: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count)


class Member:
    """One snapshot of a fleet; limits how much its listener gets."""

    def __init__(self, fleet: Fleet, listener: Listener) -> None:
        self._fleet = fleet
        self._listener = listener
        self._shown: float = -math.inf
        self._waits_for: Words = ""
        self._since = ""

    def waits(self, text: Words, detail: str = "", *, phase: Phase | None = None) -> None:
        """Show what the snapshot waits for: at once if that has changed, otherwise every `ROUTINE_EVERY` seconds.

        Args:
            text: what it waits for; shown with the time since when.
            detail: a detail that changes while it waits, such as how many are ahead; not shown in a fleet.
            phase: the phase now; None if it has not changed.
        """
        self._fleet.moves(self, phase)
        now = self._fleet.clock.monotonic()
        if text != self._waits_for:
            self._waits_for, self._since = text, f"{self._fleet.clock.utc():%H:%M:%S}"
        elif now - self._shown < ROUTINE_EVERY:
            return
        self._shown = now
        # In a fleet the text is shown once, without a detail that would soon be out of date.
        rest = f"; {detail}" if detail and not self._fleet.is_many else ""
        self._listener.progress(Text("{text} (since {since} UTC){rest}", text=text, since=self._since, rest=rest))

    def progress(self, text: Words) -> None:
        """Show an event."""
        self._waits_for = ""
        self._listener.progress(text)

    def warn(self, text: Words) -> None:
        """Show a warning that stays visible after the run."""
        self._listener.warn(text)

    def will_keep(self, *, pending: bool) -> bool:
        """Whether the state will keep the result."""
        return self._listener.will_keep(pending=pending)

    @property
    def is_asked_again(self) -> bool:
        """Whether later calls show what the state has kept."""
        return self._listener.is_asked_again


class Listener(Protocol):
    """Shows the progress of an operation, such as a resource's row on the terminal.

    Attributes:
        is_asked_again: whether later calls show what the state has kept; else the end of the operation is all there is.
    """

    is_asked_again: bool

    def progress(self, text: Words) -> None:
        """Show a text, which replaces the previous one."""

    def warn(self, text: Words) -> None:
        """Show a warning that stays visible after the run."""

    def will_keep(self, *, pending: bool) -> bool:
        """Whether the state will keep the result; not if the engine has gone, or cannot keep one that is pending."""
