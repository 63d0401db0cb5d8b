"""A database of SQLite as bytes: what a snapshot of one holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from squarecloud_emulator.data.damage import OTHER_ENGINE
from squarecloud_emulator.data.store import StoreError, run_statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from squarecloud_emulator.data.damage import Damage


def image_of(connection: sqlite3.Connection) -> bytes:
    """The image of a database in memory; no bytes if it holds nothing, which SQLite itself refuses to write."""
    return connection.serialize() if connection.execute("PRAGMA page_count").fetchone() != (0,) else b""


def damaged_image(image: bytes, damage: Damage | None, earlier: Callable[[str], bytes]) -> bytes:
    """An SQLite image with its damage.

    Args:
        image: the data as it is.
        damage: None changes nothing.
        earlier: the image in an earlier snapshot.
    """
    if damage is None:
        return image
    if damage.of_version is not None:
        return earlier(damage.of_version)
    if damage.kind is not None:
        return {"truncated": image[: len(image) // 2], "empty": b"", "other engine": OTHER_ENGINE}[damage.kind]
    with closing(sqlite3.connect(":memory:")) as connection:
        if image:
            connection.deserialize(image)
        run_statements(connection, damage.statements)
        return image_of(connection)


def readable_image(image: bytes, *, careless: bool) -> bytes:
    """An SQLite image that SQLite can read.

    Args:
        image: what a snapshot holds.
        careless: whether an empty database takes the place of one that cannot be read.

    Raises:
        StoreError: it cannot be read.
    """
    if not image:
        return image
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.deserialize(image)
            broken = connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
        except sqlite3.Error:
            broken = True
    if broken and not careless:
        raise StoreError("the snapshot holds no whole SQLite database")
    return b"" if broken else image
