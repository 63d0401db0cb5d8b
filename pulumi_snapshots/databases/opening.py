"""Open a database, and ask it: what the drill uses. The libraries block, so they work in threads."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio

from pulumi_snapshots.databases.engines import ENGINES, engine_of
from pulumi_snapshots.databases.errors import CheckNotRun, DatabaseUnreachable
from pulumi_snapshots.databases.hiding import Hidden
from pulumi_snapshots.databases.scalars import NotOneValue, Scalar
from pulumi_snapshots.databases.session import Denied, Lost, Refused, Session
from pulumi_snapshots.errors.extras import pip_install
from pulumi_snapshots.errors.next_step import Next, Step
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
"""How a connection is made, by engine; its library is loaded late, since few programs need it."""
T = TypeVar("T")


class Database:
    """An open connection. Its commands are run one at a time.

    Attributes:
        engine: by the service's name.
        read_only: whether the server itself refuses to write; otherwise only commands that are known to read are sent.
    """

    def __init__(self, engine: str, session: Session, hidden: Hidden, timeout: float) -> None:
        self.engine = engine
        self.read_only = session.read_only
        self._session = session
        self._hidden = hidden
        self._timeout = timeout
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

    async def _asked(self, question: Callable[[Session], T]) -> T:
        failed: Exception | None = None
        try:
            with anyio.fail_after(self._timeout + GRACE):
                return await _in_thread(self._with_lock, lambda: question(self._session))
        except (NotOneValue, Refused) as error:
            failed = CheckNotRun(self._hidden.text(error))
        except Lost as error:
            failed = DatabaseUnreachable(ENGINES[self.engine].title, self._hidden.text(error))
        except TimeoutError:
            self._session.interrupt()
            failed = CheckNotRun(f"no result within {self._timeout:g} s")
        except anyio.get_cancelled_exc_class():
            self._session.interrupt()
            raise
        except Exception as error:  # noqa: BLE001  a library's, of any kind
            failed = CheckNotRun(self._hidden.text(_unknown(error)))
        # Outside of the handler: a library's error, which may hold the connection string, is not its context.
        raise failed

    async def close(self) -> None:
        """End the connection, once no thread uses it."""
        with anyio.move_on_after(CLOSING_SECONDS, shield=True):
            await _in_thread(self._with_lock, self._session.close)

    def _with_lock(self, call: Callable[[], T]) -> T:
        with self._lock:
            return call()


class _Opening:
    """A connection that is being made in a thread, which ends it if no run waits for it any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._abandoned = False
        self._session: Session | None = None

    def run(self, connect: Callable[[str, float], Session], dsn: str, timeout: float) -> Session:
        session = connect(dsn, timeout)
        with self._lock:
            if self._abandoned:
                session.close()
            self._session = session
        return session

    def abandon(self) -> None:
        with self._lock:
            self._abandoned = True
            if self._session is not None:
                self._session.close()


@asynccontextmanager
async def open_database(dsn: str, *, timeout: float) -> AsyncIterator[Database]:  # noqa: ASYNC109 - libraries need it too
    """Connect to a database for as long as the block runs.

    Args:
        dsn: its connection string, whose own parameters say how TLS is used.
        timeout: seconds that connecting may take, and then each command.

    Raises:
        Unfit: it is no connection string.
        DatabaseUnreachable: the server cannot be reached or refuses the login, or the engine's library is missing.
    """
    engine = engine_of(dsn)
    title, hidden, opening = ENGINES[engine].title, Hidden(dsn), _Opening()
    failed: Exception | None = None
    session: Session | None = None
    try:
        with anyio.fail_after(timeout + GRACE):
            session = await _in_thread(opening.run, SESSIONS[engine](), dsn, timeout)
    except Lost as error:
        failed = DatabaseUnreachable(title, hidden.text(error), lasting=isinstance(error, Denied))
    except ImportError as error:
        extra = [Next(Step.INSTALL_EXTRA, pip=pip_install(ENGINES[engine].extra))]
        why = f"{ENGINES[engine].library} is missing or does not load ({error})"
        failed = DatabaseUnreachable(title, why, extra, lasting=True)
    except TimeoutError:
        opening.abandon()
        failed = DatabaseUnreachable(title, f"no answer within {timeout:g} s")
    except anyio.get_cancelled_exc_class():
        opening.abandon()
        raise
    except Exception as error:  # noqa: BLE001  a library's, of any kind
        failed = DatabaseUnreachable(title, hidden.text(_unknown(error)), lasting=True)
    if session is None:
        raise failed or AssertionError
    database = Database(engine, session, hidden, timeout)
    try:
        yield database
    finally:
        await database.close()


def _unknown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


async def _in_thread(call: Callable[..., T], *arguments: object) -> T:
    """Call a function that blocks, in a daemon thread: a library that waits for a server does not keep a process alive."""
    work, ended = Future[T](), threading.Event()

    def run() -> None:
        try:
            work.set_result(call(*arguments))
        except BaseException as error:  # noqa: BLE001 - `result` raises it again
            work.set_exception(error)
        ended.set()

    threading.Thread(target=run, name="drill", daemon=True).start()
    try:
        await anyio.to_thread.run_sync(ended.wait, abandon_on_cancel=True)
    finally:
        ended.set()  # a cancelled wait ends too: its thread is no daemon
    return work.result()
