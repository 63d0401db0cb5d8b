"""The store of databases at a PostgreSQL server; those of other types are in a folder."""

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
from squarecloud_emulator.data.postgres_server import MEMBER, PostgresServer
from squarecloud_emulator.data.snapshot_zip import unpack
from squarecloud_emulator.data.store import Rows, StoreError, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from squarecloud_emulator.data.damage import Damage

ENGINE = "postgres"

_LOG = logging.getLogger("squarecloud_emulator")
T = TypeVar("T")


class PostgresStore:
    """Real databases at a server; the zip of a snapshot holds pg_dump's custom format.

    The work at the server runs in threads, one for each database, so that each database's work
    keeps its order.

    Args:
        dsn: The server's address, as libpq takes it.
        folder: Keeps the zips, the SQLite files of other engines, and a note of each database at
            the server. None: a
            temporary folder, which is removed at the end together with the databases.

    Raises:
        ValueError: The server cannot be used, or lacks a database that the folder notes.

    """

    def __init__(self, dsn: str, folder: Path | None = None) -> None:
        self._server = PostgresServer(dsn, kept=folder is not None)
        self._temporary = (
            None if folder else Path(tempfile.mkdtemp(prefix="squarecloud-emulator-"))
        )
        try:
            self._folder = FolderStore(
                folder or self._temporary or Path(), has_server=True
            )
            self._ours = self._folder.at_server()  # the databases at the server
            for database_id in sorted(self._ours):
                self._server.claim(database_id)
        except BaseException:
            if self._temporary is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)
            raise
        self._queues: dict[str, ThreadPoolExecutor] = {}
        self._leaving: set[str] = set()  # databases that are still to be dropped
        self._wanted: set[str] = set()  # versions whose zip is still to be written
        self._lock = threading.Lock()

    def takes_time(self, database_id: str) -> bool:
        """Each database at a server does."""
        return database_id in self._ours

    def create(self, database_id: str, engine: str) -> Future[None]:
        """Create an empty database, unless it exists."""
        if engine != ENGINE:
            return self._folder.create(database_id, engine)
        if database_id in self._ours:
            return self._queued(database_id, nothing)
        return self._queued(database_id, self._create, database_id)

    def remove(self, database_id: str) -> None:
        """Drop a database's data once its earlier work is done; its snapshots stay."""
        if database_id not in self._ours:
            self._folder.remove(database_id)
            return
        self._ours.discard(database_id)
        self._leaving.add(database_id)
        self._queued(database_id, self._remove, database_id).add_done_callback(
            _log_failure
        )

    def capture(
        self,
        database_id: str,
        version_id: str,
        size: int | None,
        damage: Damage | None = None,
    ) -> Future[int]:
        """Zip the data as it is when the work begins; other programs may be writing meanwhile."""
        if database_id not in self._ours:
            return self._folder.capture(database_id, version_id, size, damage)
        self._wanted.add(version_id)
        return self._queued(
            database_id, self._capture, database_id, version_id, size, damage
        )

    def discard(self, version_id: str) -> None:
        """Delete a zip, also one that is still being written."""
        with self._lock:
            self._wanted.discard(version_id)
            self._folder.discard(version_id)

    def restore(
        self,
        database_id: str,
        version_id: str,
        *,
        careless: bool = False,
    ) -> Future[None]:
        """Replace a database's data by that of a zip; connections to the database may be cut."""
        if database_id not in self._ours:
            return self._folder.restore(database_id, version_id, careless=careless)
        return self._queued(
            database_id, self._restore, database_id, version_id, careless
        )

    def read(self, version_id: str, start: int, stop: int) -> Iterator[bytes]:
        """A zip's bytes."""
        return self._folder.read(version_id, start, stop)

    def execute(
        self, database_id: str, statements: Sequence[str]
    ) -> Future[list[Rows]]:
        """Run commands of the database's engine, in one transaction if it has them."""
        if database_id not in self._ours:
            return self._folder.execute(database_id, statements)
        return self._queued(database_id, self._server.execute, database_id, statements)

    def close(self) -> None:
        """End the work that is running; without a folder of the user's, drop everything."""
        self._server.stop()
        for queue in self._queues.values():
            queue.shutdown(cancel_futures=True)
        self._queues.clear()
        for database_id in {
            *self._leaving,
            *(self._ours if self._temporary is not None else ()),
        }:
            try:
                self._remove(database_id)
            except StoreError as error:
                _LOG.warning("%s", error)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _queued(
        self,
        database_id: str,
        call: Callable[..., T],
        *arguments: object,
    ) -> Future[T]:
        queue = self._queues.get(database_id)
        if queue is None:
            queue = self._queues[database_id] = ThreadPoolExecutor(
                1, thread_name_prefix=f"database {database_id}"
            )
        return queue.submit(call, *arguments)

    def _create(self, database_id: str) -> None:
        self._server.create(database_id)
        self._folder.note_at_server(database_id)
        self._ours.add(database_id)

    def _remove(self, database_id: str) -> None:
        self._server.drop(database_id)
        self._folder.remove(database_id)
        self._leaving.discard(database_id)

    def _capture(
        self,
        database_id: str,
        version_id: str,
        size: int | None,
        damage: Damage | None,
    ) -> int:
        with self._dump_file(version_id) as dump:
            if damage is None or damage.of_version is None:
                self._server.dump(database_id, dump)
            if damage is not None:
                self._damage(database_id, dump, damage)
            try:
                size_of_zip = self._folder.write_zip(
                    version_id, (MEMBER, dump), database_id, size
                )
            except OSError as error:
                raise StoreError(
                    f"cannot keep the snapshot of {database_id}: {error}"
                ) from error
        with self._lock:
            if version_id not in self._wanted:
                self._folder.discard(version_id)
            self._wanted.discard(version_id)
        return size_of_zip

    def _damage(self, database_id: str, dump: Path, damage: Damage) -> None:
        if damage.of_version is not None:
            self._unpack(database_id, damage.of_version, dump)
        elif damage.kind == "truncated":
            cut(dump)
        elif damage.kind == "other engine":
            dump.write_bytes(OTHER_ENGINE)
        else:
            self._server.alter(database_id, dump, damage.statements)

    def _restore(self, database_id: str, version_id: str, careless: bool) -> None:  # noqa: FBT001 - a queue has no keywords
        with self._dump_file(version_id) as dump:
            self._unpack(database_id, version_id, dump)
            self._server.restore(database_id, dump, careless=careless)

    def _unpack(self, database_id: str, version_id: str, into: Path) -> None:
        try:
            with self._folder.open_zip(version_id) as source:
                unpack(source, MEMBER, into)
        except (OSError, BadZipFile) as error:
            raise StoreError(f"cannot restore {database_id}: {error}") from error
        except KeyError:
            raise StoreError(
                f"cannot restore {database_id}: the snapshot holds no dump of PostgreSQL"
            ) from None

    @contextlib.contextmanager
    def _dump_file(self, version_id: str) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile(
            dir=self._folder.workplace,
            prefix=quote(version_id, safe=""),
            suffix=".dump.part",
        ) as file:
            yield Path(file.name)


def _log_failure(work: Future[None]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        _LOG.warning("%s", error)
