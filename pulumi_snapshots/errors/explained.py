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

    Attributes:
        exchange: the request that shows what happened and its answer, for those who look closer; empty without any.
    """

    exchange = ""

    def __init__(self, happened: Words, done: Words = "", then: Iterable[Next] = ()) -> None:
        super().__init__(happened)
        self.happened = happened
        self.done = done
        self.then = tuple(then)

    def worded(self, word: Callable[[object], str]) -> str:
        """What happened and what was done, in sentences, as another error's text holds it; `word` words each text."""
        return " ".join([sentence(word(self.happened)), word(self.done)]).strip()

    @property
    def evidence(self) -> str:
        """The exchange in brackets, of this error or of its first cause that has one; it stands last, whatever wraps it."""
        error: BaseException | None = self
        while isinstance(error, Explained):
            if error.exchange:
                return f"[{error.exchange}]"
            error = error.__cause__
        return ""

    def __str__(self) -> str:
        return f"{self.worded(str)} {self.evidence}".rstrip()
