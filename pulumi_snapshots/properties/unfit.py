"""A value that cannot be used, and how much of it an error repeats. It loads no HTTP stack."""

from __future__ import annotations

from dataclasses import dataclass

from pulumi_snapshots.errors import Text, Words

SHOWN_LIMIT = 100
"""Characters of a bad value that an error repeats."""


class Unfit(ValueError):
    """A value that cannot be used; see `Problem`."""

    def __init__(self, reason: Words, given: object = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.given = given


@dataclass(frozen=True)
class Problem:
    """A bad input, by its name in Python."""

    property: str
    reason: Words
    """What would be right, as "must be …", without the value: an engine prints that itself, or hides it."""
    given: object = None
    """The value, for edges that repeat it; None if no edge may."""

    @classmethod
    def of(cls, name: str, error: ValueError) -> Problem:
        """The problem of a property whose value was refused."""
        return cls(name, error.reason, error.given) if isinstance(error, Unfit) else cls(name, str(error))

    def told(self) -> Words:
        """The reason and the value."""
        return self.reason if self.given is None else Text("{it}, not {given}", it=self.reason, given=shown(self.given))


def shown(value: object) -> str:
    """A bad value as an error repeats it: what a user typed, up to 100 characters."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "that number"
    return text if len(text) <= SHOWN_LIMIT else f"{text[:SHOWN_LIMIT]}…"
