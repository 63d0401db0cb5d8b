"""Open a database, and ask it. The libraries block, so they work in threads."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio

from pulumi_snapshots.databases.answers import CheckNotRun, DatabaseUnreachable, Lost, Scalar, Session, said
from pulumi_snapshots.databases.hiding import Hidden
from pulumi_snapshots.databases.kinds import KINDS, kind_of
from pulumi_snapshots.errors import Explained, Next, Step, pip_install
from pulumi_snapshots.late import late

CLOSING_SECONDS = 5.0
"""How long a run waits for the end of its connection."""
GRACE = 5.0
"""Seconds past the time-out in which a library may find out by itself that it is over."""
LASTING = re.compile(
    r"password|authenticat|access denied|not authorized|pg_hba|certificate|unknown database|no such file|not readable|does not (exist|know)",
    re.IGNORECASE,
)
"""What servers and libraries say in English of a connection that will not work later either."""
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
        return await self.asked(lambda session: session.ask(command))

    async def holds(self) -> int:
        """How many tables, collections or keys there are. Raises as `ask` does."""
        return await self.asked(lambda session: session.holds())

    async def age(self) -> float | None:
        """Seconds for which the server has run, None if it does not say; raises `DatabaseUnreachable`."""
        try:
            return await self.asked(lambda session: session.age())
        except CheckNotRun:
            return None

    async def close(self) -> None:
        """End the connection; one that a thread still makes or uses ends after that."""
        self._closed = True
        if self._session is not None and not self._lock.locked():
            with anyio.move_on_after(CLOSING_SECONDS, shield=True):
                await _in_thread(self._session.close)

    async def asked(self, question: Callable[[Session], T]) -> T:
        """What a question to the connection gives, which is made if there is none. Raises as `ask` does."""
        try:
            with anyio.fail_after(self._timeout + GRACE):
                return await _in_thread(lambda: self._answer(question))
        except Exception as error:  # noqa: BLE001  a library's, of any kind
            failed = self._explained(error)
        raise failed  # outside of the handler: a library's error, which may hold the connection string, is not its context

    def _answer(self, question: Callable[[Session], T]) -> T:
        with self._lock:
            if self._session is None or not self._session.is_open:
                self._session = None
                self._session = SESSIONS[self._kind]()(self._dsn, self._timeout)
            try:
                return question(self._session)
            finally:
                if self._closed:  # no run waits for it any more
                    self._session.close()

    def _explained(self, error: Exception) -> Explained:
        kind, why = KINDS[self._kind], self._hidden.text(said(error))
        if isinstance(error, ImportError):
            extra = [Next(Step.INSTALL_EXTRA, pip=pip_install(kind.extra))]
            why = f"{kind.library} is missing or does not load ({why})"
            return DatabaseUnreachable(kind.title, why, extra, lasting=True)
        is_late = any(isinstance(each, TimeoutError) for each in _causes(error))
        if self._session is None or (isinstance(error, Lost) and not is_late):
            why = f"no answer within {self._timeout:g} s" if is_late else why
            return DatabaseUnreachable(kind.title, why, lasting=LASTING.search(why) is not None)
        return CheckNotRun(f"no result within {self._timeout:g} s" if is_late else why)


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None:
        found.append(error)
        # PyMySQL keeps the first error in an attribute only.
        error = getattr(error, "original_exception", None) or error.__cause__ or error.__context__
    return found


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
        await database.asked(lambda _: None)
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
