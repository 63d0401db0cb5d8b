"""What the snapshots of a run are doing, each and all together: told often enough to follow, rarely enough for a log."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol

from pulumi_snapshots.errors.outcomes import Unresolved
from pulumi_snapshots.errors.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pulumi_snapshots.clock import Clock
    from pulumi_snapshots.errors.text import Words


__all__ = ["Fleet", "Listener", "Member", "Phase"]

Phase = Literal["turn", "answer", "listing"]
"""What a snapshot waits for."""

ROUTINE_EVERY = 10.0
"""Seconds between two texts of one snapshot that tell no change, such as when the next look is."""
MANY = 10
"""From so many on they are a fleet, and changes alone are told: in a log each text is a line."""
SUMMARY_EVERY = 60.0
"""Seconds; also where nothing happens, as in a block: a log that stays silent looks dead, and some CI systems end it."""


class Fleet:
    """All snapshots of a session.

    Args:
        clock: the time.
        announce: told a summary of all every minute while there are many, where `keep_announcing` runs.
    """

    def __init__(self, clock: Clock, announce: Callable[[str], None] | None) -> None:
        self._clock = clock
        self._announce = announce
        self._phases: dict[Member, Phase] = {}
        self._ended = {"there": 0, "kept as pending": 0, "failed": 0}

    @contextmanager
    def joins(self, listener: Listener) -> Iterator[Member]:
        """One more snapshot, from its create or resume to its end."""
        member = Member(self, listener)
        self._phases[member] = "turn"
        end = "failed"
        try:
            yield member
            end = "there"
        except Unresolved:
            end = "kept as pending"
            raise
        finally:
            del self._phases[member]
            self._ended[end] += 1

    def moves(self, member: Member, phase: Phase | None) -> None:
        """It waits for something else now, or still for the same (None)."""
        if phase is not None and member in self._phases:  # a restore tells how it goes, and is no snapshot of the fleet
            self._phases[member] = phase

    @property
    def is_many(self) -> bool:
        """Whether so many are under way that a line of each in a log would be a flood."""
        return len(self._phases) >= MANY

    def time_of_day(self) -> str:
        """The time in UTC, to the second."""
        return f"{self._clock.utc():%H:%M:%S}"

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.monotonic()

    async def keep_announcing(self) -> None:
        """Announce every minute how many are where, while there are many; ends only by being cancelled."""
        while self._announce is not None:
            await self._clock.sleep(SUMMARY_EVERY)
            if self.is_many:
                self._announce(self.summary())

    def summary(self) -> str:
        """How many are where."""
        waiting = list(self._phases.values())
        counts = {
            **self._ended,
            "waiting for the listing": waiting.count("listing"),
            "waiting for the answer": waiting.count("answer"),
            "queued": waiting.count("turn"),
        }
        total = len(waiting) + sum(self._ended.values())
        return f"{total} snapshots: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count)


class Member:
    """One snapshot of the fleet; passes on to its listener what is worth it."""

    def __init__(self, fleet: Fleet, listener: Listener) -> None:
        self._fleet = fleet
        self._listener = listener
        self._told: float = -math.inf
        self._waits_for: Words = ""
        self._since = ""

    def waits(self, text: Words, detail: str = "", *, phase: Phase | None = None) -> None:
        """What it waits for; told where that is something else than before, else now and then.

        Args:
            text: what for; shown with the time since when.
            detail: what changes meanwhile, such as how many are before it; not shown in a fleet, where nobody renews it.
            phase: where it is now; None where that has not changed.
        """
        self._fleet.moves(self, phase)
        now = self._fleet.now()
        if text != self._waits_for:
            self._waits_for, self._since = text, self._fleet.time_of_day()
        elif now - self._told < ROUTINE_EVERY:
            return
        self._told = now
        # The same text again is no line of a log, so that a fleet's rows tell changes only.
        rest = f"; {detail}" if detail and not self._fleet.is_many else ""
        self._listener.progress(Text("{text} (since {since} UTC){rest}", text=text, since=self._since, rest=rest))

    def progress(self, text: Words) -> None:
        """Something has happened."""
        self._waits_for = ""
        self._listener.progress(text)

    def warn(self, text: Words) -> None:
        """Something that the user should know afterwards."""
        self._listener.warn(text)

    def will_keep(self, *, pending: bool) -> bool:
        """Whether the end reaches the state."""
        return self._listener.will_keep(pending=pending)


class Listener(Protocol):
    """Who hears how an operation goes: a resource's row on the terminal."""

    def progress(self, text: Words) -> None:
        """What goes on now; replaces what was said before."""

    def warn(self, text: Words) -> None:
        """Something that the user should know afterwards."""

    def will_keep(self, *, pending: bool) -> bool:
        """Whether the end of the operation reaches the state.

        False where nobody listens any more, or where what is pending cannot be kept.
        """
