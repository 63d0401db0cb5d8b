"""How an edge words what it shows: names, next steps and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.clock import time_text
from pulumi_snapshots.errors import Explained, Next, Step, Text, TimeOfDay, sentence
from pulumi_snapshots.errors.pages import with_pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime


class Wording:
    """The words of one edge.

    Args:
        spell: spells the name of a property or a setting as this edge's users write it.
        steps: templates of next steps; a step without one has the words of `Step` itself.
        time: words a time of day; in UTC unless given.
    """

    def __init__(
        self, spell: Callable[[str], str], steps: Mapping[Step, str], time: Callable[[datetime], str] = time_text
    ) -> None:
        self.spell = spell
        self._steps = steps
        self._time = time

    def about(self, **facts: str | None) -> Wording:
        """The same words, with facts that next steps name as if they were properties; None adds none."""
        return Wording(lambda name: facts.get(name) or self.spell(name), self._steps, self._time)

    def in_zone(self, time: Callable[[datetime], str]) -> Wording:
        """The same words, with times of day as `time` words them."""
        return Wording(self.spell, self._steps, time)

    def text(self, words: object) -> str:
        """A text, a next step, an error, or a tuple of these, as it is shown."""
        if isinstance(words, Next):
            words = Text(self._steps.get(words.step, words.template), **words.values)
        if isinstance(words, Text):
            return words.worded(self.spell, self.text)
        if isinstance(words, TimeOfDay):
            return self._time(words.moment)
        if isinstance(words, tuple):
            return " ".join(map(self.text, words))
        return words.worded(self.text) if isinstance(words, Explained) else str(words)

    def told(self, error: Exception, then: Iterable[Next] | None = None) -> str:
        """What happened, what was done, and the next steps: `then`, or else the error's own; a line for each."""
        if not isinstance(error, Explained):
            return sentence(str(error))
        steps = [f"hint: {self.text(step)}" for step in (error.then if then is None else then)]
        done = f"{self.text(error.done)} {error.evidence}".strip()
        return "\n".join(filter(None, [sentence(self.text(error.happened)), done, *steps]))

    def report(self, error: Exception, then: Iterable[Next] | None = None) -> str:
        """All that a user reads of an error: see `told`, then the command that explains it."""
        return with_pointer(self.told(error, then), error)
