"""Open a database, and ask it. The libraries block, so they work in threads."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio

from pulumi_snapshots.databases.errors import CheckNotRun, DatabaseUnreachable
from pulumi_snapshots.databases.hiding import Hidden
from pulumi_snapshots.databases.kinds import KINDS, kind_of
from pulumi_snapshots.databases.scalars import NotOneValue, Scalar
from pulumi_snapshots.databases.session import Denied, Lost, Refused, Session
from pulumi_snapshots.errors import Explained, Next, Step, pip_install
from pulumi_snapshots.late import late

CLOSING_SECONDS = 5.0
"""How long a cancelled run waits for its connection to end."""
GRACE = 5.0
"""Seconds past the time-out in which a library may find out by itself that it is over."""
SESSIONS: dict[str, Callable[[], Callable[[str, float], Session]]] = {
    "postgres": lambda: late("databases.postgresql:Postgres"),
    "mysql": lambda: late("databases.mysql:MySQL"),
    "mongo": lambda: late("databases.mongodb:MongoDB"),
    "redis": lambda: late("databases.redis_server:Redis"),
}
"""How a connection is made, by the kind of database; its library is loaded late, since few programs need it."""
T = TypeVar("T")


class Database:
    """An open connection. Its commands are run one at a time; after one that broke it, the next one connects again."""

    def __init__(self, dsn: str, timeout: float) -> None:
        self._kind = kind_of(dsn)
        self._dsn, self._timeout, self._hidden = dsn, timeout, Hidden(dsn)
        self._session: Session | None = None
        self._closed = False
        self._lock = threading.Lock()  # held while a thread uses the connection

    async def ask(self, command: str) -> Scalar:
        """The one value that a command results in.

        Args:
            command: SQL; for MongoDB a command as JSON; for Redis a command line.

        Raises:
            CheckNotRun: the server refuses the command, it took too long, or its result is not one value.
            DatabaseUnreachable: the connection broke.
        """
        return await self._asked(lambda session: session.ask(command))

    async def holds(self) -> int:
        """How many tables, collections or keys there are. Raises as `ask` does."""
        return await self._asked(lambda session: session.holds())

    async def age(self) -> float | None:
        """Seconds for which the server has run; None if it does not say.

        Raises:
            DatabaseUnreachable: the connection broke.
        """
        try:
            return await self._asked(lambda session: session.age())
        except CheckNotRun:
            return None

    async def connect(self) -> None:
        """Connect; raises `DatabaseUnreachable`."""
        await self._asked(lambda _: None)

    async def close(self) -> None:
        """End the connection, once no thread uses it; one that is still being made ends by itself."""
        self._closed = True
        if (session := self._session) is not None:
            with anyio.move_on_after(CLOSING_SECONDS, shield=True):
                await _in_thread(lambda: self._locked(session.close))

    async def _asked(self, question: Callable[[Session], T]) -> T:
        try:
            with anyio.fail_after(self._timeout + GRACE):
                return await _in_thread(lambda: self._locked(lambda: question(self._connected())))
        except anyio.get_cancelled_exc_class():
            self._interrupt()
            raise
        except Exception as error:  # noqa: BLE001  a library's, of any kind
            failed = self._explained(error)
        raise failed  # outside of the handler: a library's error, which may hold the connection string, is not its context

    def _locked(self, call: Callable[[], T]) -> T:
        with self._lock:
            return call()

    def _connected(self) -> Session:
        if self._session is None or not self._session.is_open:
            try:
                self._session = SESSIONS[self._kind]()(self._dsn, self._timeout)
            except (Lost, ImportError):
                raise
            except Exception as error:
                raise Denied(f"{type(error).__name__}: {error}") from error
        if self._closed:
            self._session.close()  # no run waits for it any more
        return self._session

    def _interrupt(self) -> None:
        if self._session is not None:
            self._session.interrupt()

    def _explained(self, error: Exception) -> Explained:
        kind, said = KINDS[self._kind], self._hidden.text(error)
        if isinstance(error, Lost):
            return DatabaseUnreachable(kind.title, said, lasting=isinstance(error, Denied))
        if isinstance(error, ImportError):
            extra = [Next(Step.INSTALL_EXTRA, pip=pip_install(kind.extra))]
            why = f"{kind.library} is missing or does not load ({said})"
            return DatabaseUnreachable(kind.title, why, extra, lasting=True)
        if isinstance(error, TimeoutError):
            self._interrupt()
            if self._session is None:
                return DatabaseUnreachable(kind.title, f"no answer within {self._timeout:g} s")
            return CheckNotRun(f"no result within {self._timeout:g} s")
        known = isinstance(error, NotOneValue | Refused)
        return CheckNotRun(said if known else self._hidden.text(f"{type(error).__name__}: {error}"))


@asynccontextmanager
async def open_database(dsn: str, *, timeout: float) -> AsyncIterator[Database]:  # noqa: ASYNC109 - libraries need it too
    """Connect to a database for as long as the block runs.

    Args:
        dsn: its connection string, whose own parameters say how TLS is used.
        timeout: seconds that connecting may take, and then each command.

    Raises:
        Unfit: it is no connection string.
        DatabaseUnreachable: the server cannot be reached or refuses the login, or its library is missing.
    """
    database = Database(dsn, timeout)
    try:
        await database.connect()
        yield database
    finally:
        await database.close()


async def _in_thread(call: Callable[[], T]) -> T:
    """Call a function that blocks, in a daemon thread: a library that waits for a server does not keep a process alive."""
    work, ended = Future[T](), threading.Event()

    def run() -> None:
        try:
            work.set_result(call())
        except BaseException as error:  # noqa: BLE001 - `result` raises it again
            work.set_exception(error)
        ended.set()

    threading.Thread(target=run, name="drill", daemon=True).start()
    try:
        await anyio.to_thread.run_sync(ended.wait, abandon_on_cancel=True)
    finally:
        ended.set()  # a cancelled wait ends too: its thread is no daemon
    return work.result()
