"""What every store of archives does. It blocks: call it in a worker thread.

An object appears under its name whole or not at all. Credentials come from each store's own environment.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pulumi_snapshots.errors import Explained

READ_SIZE = 1024 * 1024
Buffer = Any
"""Bytes, or what libraries have in their place; `collections.abc.Buffer` is newer than the oldest Python here."""
Mark = Any
"""What a conditional write compares: it differs whenever the content does."""


class StoreTrouble(Explained):
    """A store failed. That proves nothing about the object, but for a `status` from 400 to 499, which is a refusal."""

    status = 0

    @property
    def forbidden(self) -> bool:
        """Whether the key lacks the right."""
        return self.status in {401, 403}


class Overtaken(Exception):
    """An object was not written, since somebody else has written it meanwhile."""


@dataclass(frozen=True)
class Held:
    """An object and its content, whole."""

    content: bytes
    mark: Mark


@dataclass(frozen=True)
class Seen:
    """An object that exists: its bytes, and what changes whenever it is written, as states keep it."""

    size: int
    mark: str


class Store(ABC):
    """The place of one object; `where` is for errors. Every method raises `StoreTrouble` if the store fails."""

    def __init__(self, where: object) -> None:
        self.where = where

    @abstractmethod
    def write(self, blocks: Iterator[Buffer], size: int | None = None) -> Seen | None:
        """Let it appear once the blocks end, in place of what was there; if they or the store fail, nothing of it is left.

        `size` is the bytes of all, if known. None is returned if the key may not read the object.
        """

    @abstractmethod
    def stat(self) -> Seen | None:
        """The object; None only if it certainly does not exist."""

    @abstractmethod
    def load(self, most: int | None = None) -> Held | None:
        """The object with its content, which is empty if it has more than `most` bytes; None if there is no object."""

    @abstractmethod
    def replace(self, content: bytes, mark: Mark | None) -> Mark:
        """Write the object if it still has this mark, or does not exist without one; raises `Overtaken` if it has another.

        After a `StoreTrouble` it may have been written all the same.
        """

    @abstractmethod
    def listing(self) -> dict[str, int]:
        """The URIs of the objects below this place, or of the one that it is, with their bytes."""

    @abstractmethod
    def _pieces(self, size: int) -> Iterator[Buffer]: ...

    @abstractmethod
    def _remove(self) -> None: ...

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


def sha256_of(blocks: Iterable[Buffer]) -> str:
    """The SHA-256 of blocks, such as those of an object."""
    hasher = sha256()
    for block in blocks:
        hasher.update(block)
    return hasher.hexdigest()


@contextmanager
def trouble(where: object) -> Iterator[None]:
    """Raise `StoreTrouble` for every error of the body."""
    try:
        yield
    except (StoreTrouble, Overtaken):
        raise
    except Exception as error:  # each library has errors of its own
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:300] or type(error).__name__
        raise StoreTrouble(f"{where}: {reason}") from error
