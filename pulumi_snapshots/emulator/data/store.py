"""Where the databases' data and the snapshots' archives are kept: the protocol, and the store in memory."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["CHUNK", "Rows", "Store", "StoreError", "at_once", "nothing", "outcome", "run_statements"]

CHUNK = 64 * 1024  # bytes read at a time
Rows = list[list[Any]]
T = TypeVar("T")


class StoreError(Exception):
    """The store cannot do it now: a file is gone, or another program keeps the database locked."""


class Store(Protocol):
    """Data of databases, by database id, and archives of snapshots, by version id.

    What may take long is returned as a future. One database's work is done in the order in which it was asked for.
    """

    def takes_time(self, database_id: str) -> bool:
        """Whether work on this database goes on in a thread when its future is returned: real seconds pass."""

    def create(self, database_id: str, engine: str) -> Future[None]:
        """Begin an empty database, unless it is there already.

        Args:
            database_id: Its id.
            engine: mongo, mysql, redis or postgres; what an application runs on.
        """

    def remove(self, database_id: str) -> None:
        """Drop a database's data; its snapshots stay."""

    def capture(self, database_id: str, version_id: str, size: int | None) -> Future[int]:
        """Archive the data as it is now, padded to `size` bytes if given; the future is the archive's size.

        The future raises:
            ValueError: The archive is larger than `size`.
            StoreError: The data cannot be read.
        """

    def discard(self, version_id: str) -> None:
        """Drop an archive."""

    def restore(self, database_id: str, version_id: str) -> Future[None]:
        """Put an archive's data into a database, in place of what it holds.

        The future raises:
            StoreError: The archive cannot be read, or the data not be written.
        """

    def read(self, version_id: str, start: int, stop: int) -> Iterator[bytes]:
        """The archive's bytes from `start` up to, not including, `stop`."""

    def execute(self, database_id: str, statements: Sequence[str]) -> Future[list[Rows]]:
        """Run SQL statements in one transaction; the future is the rows of each.

        The future raises:
            sqlite3.Error: A statement is wrong.
            StoreError: A statement is wrong, at a server.
        """

    def close(self) -> None:
        """End what is under way."""


def at_once(call: Callable[..., T], *arguments: Any) -> Future[T]:
    """Work that is done when its future is returned."""
    future = Future[T]()
    try:
        future.set_result(call(*arguments))
    except Exception as error:  # noqa: BLE001 - raised again by whoever asks for the result
        future.set_exception(error)
    return future


async def outcome(work: Future[T]) -> T:
    """Await a store's work; what is done already is returned before any other task runs."""
    if not work.done():
        await anyio.to_thread.run_sync(wait, [work], abandon_on_cancel=True)
    return work.result()


def run_statements(connection: sqlite3.Connection, statements: Sequence[str]) -> list[Rows]:
    """Run SQL statements in one transaction; return the rows of each."""
    with connection:
        return [[list(row) for row in connection.execute(statement)] for statement in statements]


def nothing() -> None:
    """Work that is done already, for `at_once` and for threads."""
