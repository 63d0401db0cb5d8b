"""How an edge words what it shows: its spelling of names, its words for the next steps, and the paragraph of an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next
from pulumi_snapshots.errors.pages import with_address
from pulumi_snapshots.errors.text import Text, sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pulumi_snapshots.errors.next_step import Step

__all__ = ["Wording"]


class Wording:
    """The words of one edge.

    Args:
        spell: the name of a property or a setting, as this edge's users write it.
        steps: templates of the next steps; a step without one is worded as `Step` itself has it.
    """

    def __init__(self, spell: Callable[[str], str], steps: Mapping[Step, str]) -> None:
        self.spell = spell
        self._steps = steps

    def about(self, **facts: str | None) -> Wording:
        """The same words with other spellings, or with facts that next steps name as if they were properties; None adds none."""
        return Wording(lambda name: facts.get(name) or self.spell(name), self._steps)

    def text(self, words: object) -> str:
        """A text as it is shown; so is a next step, an error, or a tuple of them."""
        if isinstance(words, Next):
            words = words.text(self._steps.get(words.step))
        if isinstance(words, Text):
            return words.worded(self.spell, self.text)
        if isinstance(words, tuple):
            return " ".join(map(self.text, words))
        return words.worded(self.text) if isinstance(words, Explained) else str(words)

    def told(self, error: Exception, then: Iterable[Next] | None = None) -> str:
        """What a user reads of an error: what happened, what was done, the next steps.

        Args:
            error: an `Explained`; of any other error what happened is its text.
            then: next steps in place of the error's own.
        """
        if isinstance(error, Explained):
            return self.text((error, *(error.then if then is None else then)))
        return sentence(str(error))

    def paragraph(self, error: Exception, then: Iterable[Next] | None = None) -> str:
        """All that a user reads of an error: what it tells, see `told`, and where its page is."""
        return with_address(self.told(error, then), error)
