"""The objects of a bucket that machines share, through the library for buckets; each call blocks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol

from pulumi_snapshots.stores.buckets import Buckets, BucketStore, Held, Mark
from pulumi_snapshots.stores.destination import Destination

CLIENT: dict[str, Any] = {
    "allow_http": True,  # for an endpoint that says so; the stores' own addresses have https
    "connect_timeout": timedelta(seconds=5),
    "timeout": timedelta(seconds=10),
}
"""Objects are a few kB, and requests wait for them."""
RETRIES: dict[str, Any] = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(seconds=0.25), "max_backoff": timedelta(seconds=2), "base": 2},
}


class Objects(Protocol):
    """A folder of objects with conditional writes. Each method raises `StoreTrouble` if the store fails."""

    where: str

    def load(self, name: str) -> Held | None:
        """An object with its content; None if there is none."""

    def replace(self, name: str, content: bytes, mark: Mark | None) -> Mark:
        """Write an object if it still has this mark, or does not exist; raises `Overtaken` if it has another mark."""

    def overwrite(self, name: str, content: bytes) -> Mark:
        """Write an object, whatever is there."""


class BucketObjects:
    """Objects below a prefix of a bucket.

    Args:
        place: bucket and prefix.
    """

    def __init__(self, place: Destination) -> None:
        self.where = place.uri
        self._place = place
        self._buckets = Buckets(CLIENT, RETRIES)

    def load(self, name: str) -> Held | None:
        """An object with its content; None if there is none, or no such bucket."""
        return self._object(name).load()

    def replace(self, name: str, content: bytes, mark: Mark | None) -> Mark:
        """Write an object if it still has this mark, or does not exist; raises `Overtaken` if it has another mark."""
        return self._object(name).replace(content, mark)

    def overwrite(self, name: str, content: bytes) -> Mark:
        """Write an object, whatever is there."""
        return self._object(name).overwrite(content)

    def _object(self, name: str) -> BucketStore:
        place = self._place
        return BucketStore(self._buckets, Destination(place.scheme, f"{place.path.removesuffix('/')}/{name}"))
