"""The store that keeps databases of type postgres at a PostgreSQL server, and the rest in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from squarecloud_emulator.data.server_store import ServerStore
from squarecloud_emulator.data.servers.postgres_server import PostgresServer

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PostgresStore"]


class PostgresStore(ServerStore):
    """Real databases at a server; the zip of a snapshot holds pg_dump's custom format.

    Args:
        dsn: The server's address, as libpq takes it.
        folder: See `ServerStore`.

    Raises:
        ValueError: The server cannot be used, or lacks a database that the folder notes.
    """

    def __init__(self, dsn: str, folder: Path | None = None) -> None:
        super().__init__({"postgres": lambda kept: PostgresServer(dsn, kept=kept)}, folder)
