"""Ask a database, empty it, and load a dump into it. The libraries block, so they work in threads."""

from __future__ import annotations

import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import closing, suppress
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from pulumi_snapshots.databases.answers import CheckNotRun, DatabaseUnreachable, Lost, Scalar, Session, said
from pulumi_snapshots.databases.dumps import Dump, Loading, NotLoaded
from pulumi_snapshots.databases.kinds import KINDS, kind_of, without
from pulumi_snapshots.errors import Explained, Next, Step, pip_install
from pulumi_snapshots.late import late

GRACE = 5.0
"""Seconds past the time-out in which a library may find out by itself that it is over."""
LASTING = re.compile(
    r"password|authenticat|access denied|not authorized|pg_hba|certificate|unknown database|no such file|not readable|does not (exist|know)",
    re.IGNORECASE,
)
"""What servers and libraries say in English of a connection that will not work later either."""
PARTLY = "The database may hold a part of it: empty it before you try again, or overwrite it."
ENGINES: dict[str, Callable[[], Any]] = {
    "postgres": lambda: late("databases.postgresql:Postgres"),
    "mysql": lambda: late("databases.mysql:MySQL"),
    "mongo": lambda: late("databases.mongodb:MongoDB"),
    "redis": lambda: late("databases.redis_server:Redis"),
}
"""How to speak to each kind of database; its library is loaded late, since few programs need it."""
T = TypeVar("T")


class Database:
    """A database that is asked over a new connection each time, so that no command changes what the next one finds.

    `timeout` is the seconds that connecting may take, and then each command. Each method may raise `DatabaseUnreachable`.
    """

    def __init__(self, dsn: str, *, timeout: float) -> None:
        self._kind, self._dsn, self._timeout = kind_of(dsn), dsn, timeout

    async def ask(self, command: str) -> Scalar:
        """The one value of SQL, a command of MongoDB in JSON or a command line of Redis; raises `CheckNotRun` if there is none."""
        return await self._answered(lambda session: session.ask(command))

    async def holds(self) -> int:
        """How many tables, collections or keys there are. Raises as `ask` does."""
        return await self._answered(lambda session: session.holds())

    async def age(self) -> float | None:
        """Seconds for which the server has run, None if it does not say."""
        try:
            return await self._answered(lambda session: session.age())
        except CheckNotRun:
            return None

    async def _answered(self, question: Callable[[Session], T]) -> T:
        session: Session | None = None

        def answer() -> T:
            nonlocal session
            with closing(ENGINES[self._kind]()(self._dsn, self._timeout)) as session:
                return question(session)

        try:
            with anyio.fail_after(self._timeout + GRACE):
                return await _in_thread(answer)
        except Exception as error:  # noqa: BLE001  a library's, of any kind
            failed = self._explained(error, is_there=session is not None)
        raise failed  # outside of the handler: a library's error, which may hold the connection string, is not its context

    def _explained(self, error: Exception, *, is_there: bool) -> Explained:
        kind, why = KINDS[self._kind], without(self._dsn, said(error))
        if isinstance(error, ImportError):
            extra = [Next(Step.INSTALL_EXTRA, pip=pip_install(kind.extra))]
            why = f"{kind.library} is missing or does not load ({why})"
            return DatabaseUnreachable(kind.title, why, extra, lasting=True)
        is_late = _is_late(error)
        if not is_there or (isinstance(error, Lost) and not is_late):
            why = f"no answer within {self._timeout:g} s" if is_late else why
            return DatabaseUnreachable(kind.title, why, lasting=LASTING.search(why) is not None)
        return CheckNotRun(f"no result within {self._timeout:g} s" if is_late else why)


def _is_late(error: BaseException | None) -> bool:
    """Whether a time-out is among the causes; PyMySQL keeps the first error in an attribute only."""
    if error is None or isinstance(error, TimeoutError):
        return error is not None
    return _is_late(getattr(error, "original_exception", None) or error.__cause__ or error.__context__)


async def load(dump: Dump, dsn: str, environment: Mapping[str, str], *, overwrite: bool) -> None:
    """Load a dump; with `overwrite` it replaces what the database has of it. Raises `NotLoaded` if that fails."""
    kind = kind_of(dsn)
    whole = "The database is as it was: PostgreSQL loads everything or nothing." if kind == "postgres" else PARTLY
    work = partial(ENGINES[kind]().load, Loading(dump, dsn, environment, overwrite))
    await _told(work, dsn, f"{KINDS[kind].title} did not take the dump", whole)


async def empty(dsn: str) -> None:
    """Remove everything that the database of a connection string holds; raises `NotLoaded` if that fails."""
    kind = kind_of(dsn)

    async def emptied() -> None:
        await anyio.to_thread.run_sync(ENGINES[kind]().empty, dsn, abandon_on_cancel=True)

    await _told(emptied, dsn, f"the {KINDS[kind].title} database could not be emptied")


async def _told(work: Callable[[], Awaitable[None]], dsn: str, what: str, done: str = "") -> None:
    """Do the work; raises `NotLoaded` with the reason if it fails, without a part of the connection string."""
    failed = ""
    try:
        await work()
    except Exception as error:  # noqa: BLE001  a library's, of any kind
        failed = without(dsn, error.happened if isinstance(error, NotLoaded) else error) or type(error).__name__
    if failed:  # outside of the handler: a library's error may hold the connection string
        raise NotLoaded(f"{what}: {failed}", done)


async def _in_thread(call: Callable[[], T]) -> T:
    """Call a function that blocks, in a daemon thread: a library that waits for a server does not keep a process alive."""
    work = Future[T]()

    def run() -> None:
        with suppress(InvalidStateError):  # no caller waits any more
            try:
                work.set_result(call())
            except BaseException as error:  # noqa: BLE001 - `result` raises it again
                work.set_exception(error)

    threading.Thread(target=run, name="drill", daemon=True).start()
    try:
        return await anyio.to_thread.run_sync(work.result, abandon_on_cancel=True)
    finally:
        work.cancel()  # a cancelled wait ends too: its thread is no daemon
