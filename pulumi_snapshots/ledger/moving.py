"""Shared state that was turned on late takes along what this machine's own ledger holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, TypeVar

from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.place import ATTEMPTS, QUOTA_USED_UP, Document, Place

T = TypeVar("T")

BOOK = {"guards": "noted_at", "roll-backs": "asked_at"}
"""The document's keys for what guards have noted, oldest first, and each entry's key for its
time."""
MOVED = "moved"
"""The key of a machine's own document for what a shared document has taken along: its place `to`,
the ids of the `attempts`, and a digest of the `book`."""


def bare(place: Place) -> Place:
    """Return the shared place itself, without what it takes along from this machine.

    Args:
        place: Any place.

    Returns:
        The shared place of a `Successor`; any other place as it is.
    """
    return place.shared if isinstance(place, Successor) else place


class Successor(Place):
    """A shared place that takes along what this machine's own ledger holds.

    A run that was killed before shared state was turned on has left its requests in the machine's
    own ledger. A process reads the own ledger once, before its first use of the shared place. Reads
    show both documents as one. The first edit enters what the shared document lacks, and notes in
    the own ledger what was moved. The moved entries stay in the own ledger too, for stacks that do
    not share yet.

    Args:
        shared: The shared place.
        own: The place of the machine's own ledger of the same service.
    """

    is_shared = True

    def __init__(self, shared: Place, own: Place) -> None:
        self.where = shared.where
        self.shared = shared
        self._own = own
        # what is still to be taken along; None if not known yet
        self._left: Document | None = None

    async def read(self) -> Document:
        """Read the shared document, with what the own document holds beside it."""
        left = await self._look()
        document = await self.shared.read()
        enter(document, left)
        return document

    async def edit(self, change: Callable[[Document], T]) -> T:
        """Change the shared document; the first edit takes along what the own document holds."""
        left = await self._look()

        def change_all(document: Document) -> T:
            enter(document, left)
            return change(document)

        result = await self.shared.edit(change_all)
        if left:
            # Without the note, the next process takes the same along again, which changes nothing.
            with suppress(LedgerUnavailable):
                await self._own.edit(
                    lambda document: note_moved(document, left, self.where)
                )
            self._left = {}
        return result

    async def _look(self) -> Document:
        """Read the own ledger once, and return what no shared place has taken along yet."""
        if self._left is None:
            self._left = left_in(await self._own.read(), self.where)
        return self._left


def left_in(own: Document, where: str) -> Document:
    """Return the parts of a machine's own document that a shared place lacks.

    Args:
        own: The own document.
        where: The shared place, as `Place.where` names it.

    Returns:
        A document of these parts; empty if the shared place lacks nothing.
    """
    moved = _moved_to(where, own)
    book = _book_of(own)
    attempts = own.get(ATTEMPTS, {})
    left: Document = {
        ATTEMPTS: {
            id_: each for id_, each in attempts.items() if id_ not in moved[ATTEMPTS]
        }
    }
    if moved["book"] != _digest(book):
        left |= book
    return {key: value for key, value in left.items() if value}


def enter(document: Document, left: Document) -> None:
    """Enter into a shared document what it lacks; entries that it has stay as they are.

    Args:
        document: The shared document, which is changed in place.
        left: A result of `left_in`.
    """
    attempts = left.get(ATTEMPTS)
    if attempts:
        document[ATTEMPTS] = {**attempts, **document.get(ATTEMPTS, {})}
    for key, time in BOOK.items():
        entries = document.get(key, [])
        known = [_identity(each, time) for each in entries]
        added = [
            each for each in left.get(key, ()) if _identity(each, time) not in known
        ]
        if added:
            document[key] = sorted([*entries, *added], key=lambda each: str(each[time]))
    if QUOTA_USED_UP in left:
        document[QUOTA_USED_UP] = max(
            left[QUOTA_USED_UP], document.get(QUOTA_USED_UP, "")
        )


def note_moved(own: Document, left: Document, where: str) -> None:
    """Note in a machine's own document that a shared place has taken along parts of it.

    Args:
        own: The own document, which is changed in place.
        left: The parts, as `left_in` returned them.
        where: The shared place.
    """
    known = _moved_to(where, own)[ATTEMPTS]
    # What the own ledger has forgotten need not be noted any longer.
    ids = {*known, *left.get(ATTEMPTS, {})} & own.get(ATTEMPTS, {}).keys()
    own[MOVED] = {"to": where, ATTEMPTS: sorted(ids), "book": _digest(_book_of(own))}


def _moved_to(where: str, own: Document) -> dict[str, Any]:
    """Return what an own document notes as moved to a place."""
    moved: dict[str, Any] = own.get(MOVED, {})
    return moved if moved.get("to") == where else {ATTEMPTS: [], "book": ""}


def _book_of(own: Document) -> Document:
    return {key: own[key] for key in (*BOOK, QUOTA_USED_UP) if own.get(key)}


def _identity(entry: dict[str, Any], time: str) -> tuple[Any, ...]:
    """Return what tells an entry of the guards' book from others, whatever has changed in it."""
    return (
        entry.get("guard"),
        entry.get("value"),
        entry.get("snapshot"),
        entry.get(time),
    )


def _digest(book: Document) -> str:
    return sha256(json.dumps(book, sort_keys=True).encode()).hexdigest()[:16]
