"""A ledger's place as one process sees it: a process that was killed writes nothing more."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

from pulumi_snapshots.ledger.place import Document, Place

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Mortal(Place):
    """A `Place` that ends with its process.

    Attributes:
        killed: whether it has ended.
    """

    def __init__(self, place: Place) -> None:
        self.where = place.where
        self.is_shared = place.is_shared
        self.killed = False
        self._place = place

    async def read(self) -> Document:
        return await self._place.read()

    async def edit(self, change: Callable[[Document], T]) -> T:
        # An edit that was under way at the kill is not made either; it ends, since no cancellation reaches a shielded one.
        return await self._place.edit(lambda document: change(copy.deepcopy(document) if self.killed else document))
