"""The progress of a run's snapshots, of each and of all together, without flooding a log."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Literal, Protocol

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors.outcomes import Unresolved
from pulumi_snapshots.errors.text import Text, TimeOfDay, Words

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

    Args:
        clock: the time.
        announce: gets a summary every minute while there are many and `keep_announcing` runs; None without any.
        cuts_rows: whether a terminal may cut the rows, so that `announce` gets each change while there are few: a
            replacement's row begins with what has changed in the program, and little room is left behind that.
    """

    def __init__(self, clock: Clock, announce: Callable[[str], None] | None, *, cuts_rows: bool = False) -> None:
        self.clock = clock
        self._announce = announce
        self._cuts_rows = cuts_rows
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
            if self._phases:
                self._announce_change(self.summary())

    def moves(self, member: Member, phase: Phase | None, text: Words) -> None:
        """Note the phase of a snapshot, None if it has not changed, with what its row says of it."""
        if phase is None or self._phases.get(member) in {None, phase}:  # the member of a restore is not counted
            return
        self._phases[member] = phase
        self._announce_change(str(text) if self._total == 1 else self.summary())

    def _announce_change(self, text: str) -> None:
        if self._announce is not None and self._cuts_rows and self._total < MANY:
            self._announce(text)

    @property
    def _total(self) -> int:
        return len(self._phases) + sum(self._ended.values())

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
            "not listed yet": waiting["listing"],
            "not answered yet": waiting["answer"],
            "queued": waiting["queue"],
        }
        return ", ".join(
            [*(f"{count} {what}" for what, count in counts.items() if count), f"of {self._total} snapshots"]
        )


class Member:
    """One snapshot of a fleet; limits how much its listener gets."""

    def __init__(self, fleet: Fleet, listener: Listener) -> None:
        self._fleet = fleet
        self._listener = listener
        self._shown: float = -math.inf
        self._waits_for = ""
        self._since: TimeOfDay | str = ""

    def waits(  # noqa: PLR0913  each is a fact of its own
        self,
        text: str,
        detail: Words = "",
        *,
        until: datetime | None = None,
        at_most: datetime | None = None,
        why: str = "",
        phase: Phase | None = None,
        since: datetime | None = None,
    ) -> None:
        """Show what the snapshot waits for: at once if that has changed, otherwise every `ROUTINE_EVERY` seconds.

        The state comes first, and times are absolute: a terminal cuts a row at its end, and a row is not redrawn.

        Args:
            text: what it waits for, the state in its first two words; shown with the time since when.
            detail: follows the text and changes while it waits, such as how many are ahead; not shown in a fleet.
            until: when the wait ends.
            at_most: when it is given up, if it is not known when it ends.
            why: why it waits.
            phase: the phase now; None if it has not changed.
            since: when the wait began, if an earlier run began it.
        """
        now, ends = self._fleet.clock.monotonic(), until or at_most
        state = text + why
        if state != self._waits_for:
            self._waits_for, self._since = state, TimeOfDay(since or self._fleet.clock.utc())
        elif now - self._shown < ROUTINE_EVERY:
            return
        self._shown = now
        # In a fleet the text is shown once, without a detail that would soon be out of date.
        detail = "" if self._fleet.is_many else detail
        said = Text(
            "{text}{ends}{detail}{reason} (since {since})",
            text=text,
            ends=Text(f"{' at most' * (until is None)} until {{time}}", time=TimeOfDay(ends)) if ends else "",
            detail=detail,
            reason=f": {why}" if why else "",
            since=self._since,
        )
        self._fleet.moves(self, phase, said)
        self._listener.progress(said)

    def progress(self, text: Words) -> None:
        """Show an event."""
        self._waits_for = ""
        self._listener.progress(text)

    def note(self, text: Words) -> None:
        """Show good news that stay visible after the run."""
        self._listener.note(text)

    def warn(self, text: Words) -> None:
        """Show a warning that stays visible after the run."""
        self._listener.warn(text)


class Listener(Protocol):
    """Shows the progress of an operation, such as a resource's row on the terminal."""

    def progress(self, text: Words) -> None:
        """Show a text, which replaces the previous one."""

    def note(self, text: Words) -> None:
        """Show good news that stay visible after the run."""

    def warn(self, text: Words) -> None:
        """Show a warning that stays visible after the run."""
