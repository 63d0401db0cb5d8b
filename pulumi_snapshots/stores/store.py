"""What every store of archives does. It blocks: call it in a worker thread.

An object appears under its name whole or not at all. Credentials come from each store's own environment.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pulumi_snapshots.errors.explained import Explained

READ_SIZE = 1024 * 1024
Buffer = Any
"""Bytes, or what libraries have in their place; `collections.abc.Buffer` is newer than the oldest Python here."""


class StoreTrouble(Explained):
    """A store failed. That proves nothing about the object."""


@dataclass(frozen=True)
class Seen:
    """An object that exists.

    Attributes:
        size: bytes.
        mark: changes whenever the object is written.
    """

    size: int
    mark: str


class Draft(ABC):
    """An object that does not exist yet. Every method raises `StoreTrouble` if the store fails."""

    @abstractmethod
    def write(self, data: bytes | bytearray) -> None:
        """Append to it."""

    @abstractmethod
    def commit(self) -> Seen:
        """Let it appear under its name, in place of what was there."""

    @abstractmethod
    def discard(self) -> None:
        """Leave nothing of it."""


class Store(ABC):
    """The place of one object. Every method raises `StoreTrouble` if the store fails.

    Args:
        where: its path or URI, for errors.
    """

    def __init__(self, where: object) -> None:
        self.where = where

    @abstractmethod
    def begin(self, size: int | None) -> Draft:
        """Begin to write the object, of this many bytes if that is known."""

    @abstractmethod
    def stat(self) -> Seen | None:
        """The object; None only if it certainly does not exist."""

    def read(self) -> Iterator[Buffer]:
        """The bytes of one object, in pieces: an object that is replaced meanwhile is an error, not a mixture."""
        before, pieces = self.stat(), 0
        if before is None:
            raise StoreTrouble(f"{self.where} does not exist")
        with trouble(self.where):
            for piece in self._pieces(before.size):
                pieces += 1
                yield piece
        if pieces > 1 and self.stat() != before:
            raise StoreTrouble(f"{self.where} was replaced while it was read")

    def holds(self, mark: str) -> bool:
        """Whether the object still has this mark."""
        seen = self.stat()
        return seen is not None and seen.mark == mark

    def remove(self, mark: str) -> bool:
        """Remove the object if it still has this mark; returns whether it had."""
        if not self.holds(mark):
            return False
        with trouble(self.where):
            self._remove()
        return True

    @abstractmethod
    def listing(self) -> dict[str, int]:
        """The URIs of the objects below this place, or of the one that it is, with their bytes."""

    @abstractmethod
    def _pieces(self, size: int) -> Iterator[Buffer]: ...

    @abstractmethod
    def _remove(self) -> None: ...


@contextmanager
def trouble(where: object) -> Iterator[None]:
    """Raise `StoreTrouble` for every error of the body."""
    try:
        yield
    except StoreTrouble:
        raise
    except Exception as error:  # each library has errors of its own
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:300] or type(error).__name__
        if isinstance(error, FileNotFoundError) and "://" in str(where):
            reason = f"the bucket does not exist ({reason})"
        raise StoreTrouble(f"{where}: {reason}") from error
