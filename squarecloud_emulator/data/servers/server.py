"""A database server as `ServerStore` uses it, and what such servers share."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from squarecloud_emulator.data.store import Rows, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO

__all__ = ["MARK", "DataServer", "Programs", "holds_password"]

MARK = "squarecloud-emulator"
"""How the mark of a database begins that an emulator has made. The emulator touches no other."""
LAST_LINES = 5
"""Of a failed program, to show."""


class DataServer(ABC):
    """A server that was checked and can be used. Each method raises `StoreError` if the server refuses.

    Args:
        kept: Whether the databases outlive the emulator.

    Attributes:
        title: the engine's name.
        member: the file of a dump in a snapshot's zip.
        longest_id: the most characters of an id, if it is the name of a database.
        errors: what the engine's library raises.
    """

    title: ClassVar[str]
    member: ClassVar[str]
    longest_id: ClassVar[int]
    errors: ClassVar[type[Exception]]

    def __init__(self, *, kept: bool) -> None:
        self._mark = f"{MARK}, kept" if kept else f"{MARK}, {socket.gethostname()} {os.getpid()}"
        self._connections: set[Any] = set()
        self._connecting = threading.Lock()

    @abstractmethod
    def create(self, database_id: str) -> None:
        """Create an empty database.

        Raises:
            ValueError: The id does not fit, or another program has a database of this name.
        """

    @abstractmethod
    def drop(self, database_id: str) -> None:
        """Drop a database."""

    @abstractmethod
    def claim(self, database_id: str) -> None:
        """Take over a database that an earlier run has created.

        Raises:
            ValueError: It does not exist.
        """

    @abstractmethod
    def execute(self, database_id: str, statements: Sequence[str]) -> list[Rows]:
        """Run commands; return the rows of each."""

    @abstractmethod
    def dump(self, database_id: str, into: Path) -> None:
        """Write a database to a file."""

    @abstractmethod
    def restore(self, database_id: str, dump: Path, *, careless: bool) -> None:
        """Replace a database by a dump. If that fails, the database holds what it held before.

        Args:
            database_id: The database.
            dump: The file.
            careless: Whether to take as much of a broken dump as can be read, and to raise nothing.
        """

    @abstractmethod
    def alter(self, database_id: str, dump: Path, statements: Sequence[str]) -> None:
        """Run commands on the data in a dump; without any, make it the dump of an empty database.

        Args:
            database_id: The database that it is of, which stays as it is.
            dump: The file, which is replaced.
            statements: The commands.
        """

    @abstractmethod
    def stop(self) -> None:
        """Let work that is running end soon, with an error."""

    def close(self) -> None:  # noqa: B027 - most have a connection for each piece of work
        """End the connection, once no more work comes."""

    # For the engines.

    @contextmanager
    def _using(self, connection: Any) -> Iterator[None]:
        """List a connection, so that `stop` can end what it runs."""
        with self._connecting:
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._connecting:
                self._connections.discard(connection)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except self.errors as error:
            raise StoreError(f"{what}: {self._said(error)}") from error

    def _said(self, error: Exception) -> str:
        """The server's own words in an error."""
        return str(error)

    def _check_length(self, database_id: str) -> None:
        """Raise ValueError if an id is too long for a name."""
        if len(database_id) > self.longest_id:
            raise ValueError(
                f"the id of a database at {self.title} has at most {self.longest_id} characters: {database_id}"
            )

    def _check_owner(self, name: str, mark: str) -> None:
        """Check that a database that exists was left by a killed emulator, so that it may be dropped.

        Raises:
            ValueError: It is another program's, or of an emulator that runs or keeps it.
        """
        left = re.fullmatch(rf"{MARK}, (\S+) (\d+)", mark)
        if left is None or left[1] != socket.gethostname() or _is_running(int(left[2])):
            whose = "another emulator's" if mark.startswith(MARK) else "not the emulator's"
            raise ValueError(
                f"the {self.title} server has a database {name} already, and it is {whose}; take another id, or drop it"
            )


class Programs:
    """The programs of an engine that dump and restore, as child processes that can be ended."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        careless: bool = False,
    ) -> None:
        """Run a program to its end.

        Args:
            command: The program and its arguments, which any user of the machine can read.
            environment: Added to this process's.
            stdin: A file; nothing unless given.
            stdout: A file; nothing unless given.
            careless: Whether its exit code does not matter.

        Raises:
            StoreError: It failed, or the emulator stops.
        """
        with self._lock:
            self._check()
            process = subprocess.Popen(  # noqa: S603 - a fixed program, no shell
                command,
                env={**os.environ, "LC_ALL": "C", **environment},
                stdin=stdin or subprocess.DEVNULL,
                stdout=stdout or subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            self._running.add(process)
        _, errors = process.communicate()
        with self._lock:
            self._running.discard(process)
        if process.returncode:
            self._check()
            if not careless:
                last = errors.decode(errors="replace").strip().splitlines()[-LAST_LINES:]
                raise StoreError(f"{command[0]} failed: {' / '.join(last)}")

    def _check(self) -> None:
        if self._stopped:
            raise StoreError("the emulator stops")

    def stop(self) -> None:
        """End the programs that are running, and start none any more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def holds_password(dsn: str) -> bool:
    """Whether a URL, or keywords as libpq takes them, may have a password in it."""
    login = dsn.partition("://")[2].rpartition("@")[0]
    return ":" in login or re.search(r"\bpassword\s*=", dsn) is not None


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
