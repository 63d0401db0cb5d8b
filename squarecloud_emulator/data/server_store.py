"""The store that keeps the databases of some engines at real servers, and the rest in a folder."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote
from zipfile import BadZipFile

from squarecloud_emulator.data.damage import OTHER_ENGINE, cut
from squarecloud_emulator.data.folder_store import FolderStore
from squarecloud_emulator.data.snapshot_zip import unpack
from squarecloud_emulator.data.store import Rows, StoreError, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from squarecloud_emulator.data.damage import Damage
    from squarecloud_emulator.data.servers.server import DataServer

__all__ = ["ServerStore"]

_LOG = logging.getLogger("squarecloud_emulator")
T = TypeVar("T")


class ServerStore:
    """Real databases at servers; the zip of a snapshot holds a dump as the engine's own programs make it.

    The work at a server runs in threads, one for each database, so that each database's work keeps its order.

    Args:
        connect: By engine, connects to its server. The argument says whether the databases outlive the emulator.
        folder: Keeps the zips, the SQLite files of other engines, and a note of each database at a server. None: a
            temporary folder, which is removed at the end together with the databases.

    Raises:
        ValueError: A server cannot be used, or lacks a database that the folder notes.
    """

    def __init__(self, connect: Mapping[str, Callable[[bool], DataServer]], folder: Path | None = None) -> None:
        self._temporary = None if folder else Path(tempfile.mkdtemp(prefix="squarecloud-emulator-"))
        self._servers: dict[str, DataServer] = {}
        try:
            for engine, connected in connect.items():
                self._servers[engine] = connected(folder is not None)
            self._folder = FolderStore(folder or self._temporary or Path(), servers=set(self._servers))
            self._ours = self._folder.at_servers()  # the engine of each database at a server
            for database_id, engine in sorted(self._ours.items()):
                self._servers[engine].claim(database_id)
        except BaseException:
            self._close_servers()
            if self._temporary is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)
            raise
        self._queues: dict[str, ThreadPoolExecutor] = {}
        self._leaving: dict[str, str] = {}  # databases that are still to be dropped, and their engines
        self._wanted: set[str] = set()  # versions whose zip is still to be written
        self._lock = threading.Lock()

    def takes_time(self, database_id: str) -> bool:
        """Each database at a server does."""
        return database_id in self._ours

    def create(self, database_id: str, engine: str) -> Future[None]:
        """Create an empty database, unless it exists."""
        if engine not in self._servers:
            return self._folder.create(database_id, engine)
        if database_id in self._ours:
            return self._queued(database_id, nothing)
        return self._queued(database_id, self._create, database_id, engine)

    def remove(self, database_id: str) -> None:
        """Drop a database's data once its earlier work is done; its snapshots stay."""
        if database_id not in self._ours:
            self._folder.remove(database_id)
            return
        self._leaving[database_id] = self._ours.pop(database_id)
        self._queued(database_id, self._remove, database_id).add_done_callback(_log_failure)

    def capture(self, database_id: str, version_id: str, size: int | None, damage: Damage | None = None) -> Future[int]:
        """Zip the data as it is when the work begins; other programs may be writing meanwhile."""
        if database_id not in self._ours:
            return self._folder.capture(database_id, version_id, size, damage)
        self._wanted.add(version_id)
        return self._queued(database_id, self._capture, database_id, version_id, size, damage)

    def discard(self, version_id: str) -> None:
        """Delete a zip, also one that is still being written."""
        with self._lock:
            self._wanted.discard(version_id)
            self._folder.discard(version_id)

    def restore(self, database_id: str, version_id: str, *, careless: bool = False) -> Future[None]:
        """Replace a database's data by that of a zip; connections to the database may be cut."""
        if database_id not in self._ours:
            return self._folder.restore(database_id, version_id, careless=careless)
        return self._queued(database_id, self._restore, database_id, version_id, careless)

    def read(self, version_id: str, start: int, stop: int) -> Iterator[bytes]:
        """A zip's bytes."""
        return self._folder.read(version_id, start, stop)

    def execute(self, database_id: str, statements: Sequence[str]) -> Future[list[Rows]]:
        """Run commands of the database's engine, in one transaction if it has them."""
        if database_id not in self._ours:
            return self._folder.execute(database_id, statements)
        return self._queued(database_id, self._server(database_id).execute, database_id, statements)

    def close(self) -> None:
        """End the work that is running; without a folder of the user's, drop everything."""
        for server in self._servers.values():
            server.stop()
        for queue in self._queues.values():
            queue.shutdown(cancel_futures=True)
        self._queues.clear()
        for database_id in {*self._leaving, *(self._ours if self._temporary is not None else ())}:
            try:
                self._remove(database_id)
            except StoreError as error:
                _LOG.warning("%s", error)
        self._close_servers()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _close_servers(self) -> None:
        for server in self._servers.values():
            server.close()

    def _server(self, database_id: str) -> DataServer:
        return self._servers[self._leaving.get(database_id) or self._ours[database_id]]

    def _queued(self, database_id: str, call: Callable[..., T], *arguments: object) -> Future[T]:
        queue = self._queues.get(database_id)
        if queue is None:
            queue = self._queues[database_id] = ThreadPoolExecutor(1, thread_name_prefix=f"database {database_id}")
        return queue.submit(call, *arguments)

    def _create(self, database_id: str, engine: str) -> None:
        self._servers[engine].create(database_id)
        self._folder.note_at_server(database_id, engine)
        self._ours[database_id] = engine

    def _remove(self, database_id: str) -> None:
        self._server(database_id).drop(database_id)
        self._folder.remove(database_id)
        self._leaving.pop(database_id, None)

    def _capture(self, database_id: str, version_id: str, size: int | None, damage: Damage | None) -> int:
        server = self._server(database_id)
        with self._dump_file(version_id) as dump:
            if damage is None or damage.of_version is None:
                server.dump(database_id, dump)
            if damage is not None:
                self._damage(server, database_id, dump, damage)
            try:
                size_of_zip = self._folder.write_zip(version_id, (server.member, dump), database_id, size)
            except OSError as error:
                raise StoreError(f"cannot keep the snapshot of {database_id}: {error}") from error
        with self._lock:
            if version_id not in self._wanted:
                self._folder.discard(version_id)
            self._wanted.discard(version_id)
        return size_of_zip

    def _damage(self, server: DataServer, database_id: str, dump: Path, damage: Damage) -> None:
        if damage.of_version is not None:
            self._unpack(server, database_id, damage.of_version, dump)
        elif damage.kind == "truncated":
            cut(dump)
        elif damage.kind == "other engine":
            dump.write_bytes(OTHER_ENGINE)
        else:
            server.alter(database_id, dump, damage.statements)

    def _restore(self, database_id: str, version_id: str, careless: bool) -> None:  # noqa: FBT001 - a queue has no keywords
        server = self._server(database_id)
        with self._dump_file(version_id) as dump:
            self._unpack(server, database_id, version_id, dump)
            server.restore(database_id, dump, careless=careless)

    def _unpack(self, server: DataServer, database_id: str, version_id: str, into: Path) -> None:
        try:
            with self._folder.open_zip(version_id) as source:
                unpack(source, server.member, into)
        except (OSError, BadZipFile) as error:
            raise StoreError(f"cannot restore {database_id}: {error}") from error
        except KeyError:
            raise StoreError(f"cannot restore {database_id}: the snapshot holds no dump of {server.title}") from None

    @contextlib.contextmanager
    def _dump_file(self, version_id: str) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile(
            dir=self._folder.workplace, prefix=quote(version_id, safe=""), suffix=".dump.part"
        ) as file:
            yield Path(file.name)


def _log_failure(work: Future[None]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        _LOG.warning("%s", error)
