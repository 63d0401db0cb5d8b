"""The interface of a store of databases' data and snapshots' zips, and what stores share."""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from squarecloud_emulator.data.damage import Damage

CHUNK = 64 * 1024  # bytes read at a time
Rows = list[list[Any]]
NO_OTHER_FILE = "ATTACH is refused: a database holds its own data only, no other file"
T = TypeVar("T")


class StoreError(Exception):
    """The store cannot do this now.

    A file is gone, or another program keeps the database locked.
    """


class Store(Protocol):
    """Databases' data, by database id, and snapshots' zips, by version id.

    Methods that may take long return a future. Work on one database is done in the order of the
    calls.
    """

    def takes_time(self, database_id: str) -> bool:
        """Whether work on this database continues in a thread, and so takes real seconds."""

    def create(self, database_id: str, engine: str) -> Future[None]:
        """Create an empty database, unless it exists.

        Args:
            database_id: Its id.
            engine: mongo, mysql, redis or postgres.
        """

    def remove(self, database_id: str) -> None:
        """Drop a database's data; its snapshots stay."""

    def capture(
        self,
        database_id: str,
        version_id: str,
        size: int | None,
        damage: Damage | None = None,
    ) -> Future[int]:
        """Write the data as it is now into a zip, padded to `size` bytes if given.

        The future is the zip's size.

        With a damage, the zip holds something else than the database.

        The future raises: ValueError: The zip is larger than `size`. StoreError: The data cannot
        be read.
        """

    def discard(self, version_id: str) -> None:
        """Delete a zip."""

    def restore(
        self,
        database_id: str,
        version_id: str,
        *,
        careless: bool = False,
    ) -> Future[None]:
        """Replace a database's data by that of a zip; if careless, by as much of it as can be read.

        The future raises:
            StoreError: The zip cannot be read, or the data cannot be written.
        """

    def read(self, version_id: str, start: int, stop: int) -> Iterator[bytes]:
        """A zip's bytes from `start` up to, not including, `stop`."""

    def execute(
        self, database_id: str, statements: Sequence[str]
    ) -> Future[list[Rows]]:
        """Run SQL statements in one transaction; the future is the rows of each.

        The future raises:
            sqlite3.Error: A statement is wrong, in SQLite.
            StoreError: A statement is wrong, at a server.
        """

    def close(self) -> None:
        """End the work that is still running."""


def at_once(call: Callable[..., T], *arguments: Any) -> Future[T]:
    """Call a function now and return its result as a future."""
    future = Future[T]()
    try:
        future.set_result(call(*arguments))
    except Exception as error:  # noqa: BLE001 - `Future.result` raises it again
        future.set_exception(error)
    return future


async def finished(work: Future[Any]) -> None:
    """Wait until a store's work is done or has failed.

    If it is done already, return before any other task runs.
    """
    if not work.done():
        await anyio.to_thread.run_sync(wait, [work], abandon_on_cancel=True)


async def outcome(work: Future[T]) -> T:
    """Wait for a store's work, and return its result."""
    await finished(work)
    return work.result()


def run_statements(
    connection: sqlite3.Connection, statements: Sequence[str]
) -> list[Rows]:
    """Run SQL statements in one transaction.

    Args:
        connection: One that is closed afterwards: it can attach no other file any more.
        statements: The statements.

    Returns:
        The rows of each.

    Raises:
        StoreError: A statement reaches for another file, by ATTACH or VACUUM INTO.
        sqlite3.Error: A statement is wrong.
    """
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    try:
        with connection:
            return [
                [list(row) for row in connection.execute(each)] for each in statements
            ]
    except sqlite3.OperationalError as error:
        if "attached databases" in str(error):
            raise StoreError(NO_OTHER_FILE) from None
        raise


def nothing() -> None:
    """Do nothing, for a call whose work is done already."""
