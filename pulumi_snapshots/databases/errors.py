"""How asking a database can fail. No text ever holds the connection string, or a password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.errors import Explained, Next, Step

if TYPE_CHECKING:
    from collections.abc import Iterable


class DatabaseUnreachable(Explained):
    """A database could not be connected to, or the connection broke. That proves nothing about its data.

    Args:
        title: of the kind of database.
        why: in a few words.
        then: next steps of its own, the best one first.
        lasting: whether it will be the same a little later, as with a wrong password.
    """

    def __init__(
        self, title: str, why: str, then: Iterable[Next] = (Next(Step.CHECK_CONNECTION),), *, lasting: bool = False
    ) -> None:
        super().__init__(
            f"The {title} database of the connection cannot be reached: {why}", "No check has asked it anything.", then
        )
        self.why = why
        self.lasting = lasting


class CheckNotRun(Explained):
    """A check's command gave no value to compare: the server refused it, or its result is not one value.

    Attributes:
        why: in a few words, such as `relation "orders" does not exist`.
    """

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The check's command gave no value: {why}", "Nothing was compared.", [Next(Step.CORRECT_CHECK)]
        )
        self.why = why
