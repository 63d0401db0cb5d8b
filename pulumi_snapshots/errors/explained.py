"""The root of all errors that a user reads, as data that each edge words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.errors.text import sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pulumi_snapshots.errors.next_step import Next
    from pulumi_snapshots.errors.text import Words


class Explained(Exception):
    """An error that a user reads. `str()` is what happened and what was done, in Python's names and without next steps.

    Args:
        happened: what happened; sentences, the last one without its full stop.
        done: what was done and what was not; sentences, or empty.
        then: the next steps, the best one first.
    """

    def __init__(self, happened: Words, done: Words = "", then: Iterable[Next] = ()) -> None:
        super().__init__(happened)
        self.happened = happened
        self.done = done
        self.then = tuple(then)

    def worded(self, word: Callable[[object], str]) -> str:
        """What happened and what was done, in sentences; `word` words each text."""
        return " ".join([sentence(word(self.happened)), word(self.done)]).strip()

    def __str__(self) -> str:
        return self.worded(str)
