"""Ask a database for one value; no error has the connection string."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing, suppress
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.databases.kinds import KINDS, Scalar, Session, kind_of, without
from pulumi_snapshots.errors import Explained, Next, Step, pip_install
from pulumi_snapshots.late import late

GRACE = 5.0  # seconds past the time-out in which a library may find out by itself that it is over
# What servers and libraries say in English of a connection that will not work later either.
LASTING = re.compile(
    r"password|authenticat|access denied|not authorized|pg_hba|certificate|unknown database|no such file|not readable|does not (exist|know)",
    re.IGNORECASE,
)
ENGINES: dict[str, Callable[[], Any]] = {
    "postgres": lambda: late("databases.postgresql:Postgres"),
    "mysql": lambda: late("databases.mysql:MySQL"),
    "mongo": lambda: late("databases.mongodb:MongoDB"),
    "redis": lambda: late("databases.redis_server:Redis"),
}
"""How to speak to each kind of database; its library is loaded late, since few programs need it."""
T = TypeVar("T")
# What PostgreSQL's library says before the useful part, and MongoDB's after it.
NOISE = re.compile(
    r"\A(?:connection failed: )?connection to server at .* failed: (?:FATAL: +)?"
    r"| \(configured timeouts[\s\S]*|, Timeout: [\s\S]*|, full error: [\s\S]*"
)


class DatabaseUnreachable(Explained):
    """No connection, and `why`, which is `lasting` as with a wrong password. That proves nothing about the data."""

    def __init__(
        self,
        title: str,
        why: str,
        then: Iterable[Step | Next] = (Step.CHECK_CONNECTION,),
        *,
        lasting: bool = False,
    ) -> None:
        happened = f"The {title} database of the connection cannot be reached: {why}"
        super().__init__(happened, "No check has asked it anything.", then)
        self.why, self.lasting = why, lasting


class CheckNotRun(Explained):
    """A check's command gave no value to compare, and `why`, such as `relation "orders" does not exist`."""

    def __init__(self, why: str) -> None:
        happened = f"The check's command gave no value: {why}"
        super().__init__(happened, "Nothing was compared.", [Step.CORRECT_CHECK])
        self.why = why


def said(error: BaseException) -> str:
    """What a library's error says, without codes and what its other arguments are."""
    if isinstance(error, UnicodeDecodeError):
        return "its result is not text in UTF-8"
    return NOISE.sub("", str(error.args[-1])) if error.args else type(error).__name__


class Database:
    """A database that is asked over a new connection each time, so that no command changes what the next one finds.

    `timeout` is the seconds that connecting may take, and then each command. Each method may raise `DatabaseUnreachable`.
    """

    def __init__(self, dsn: str, *, timeout: float) -> None:
        self._kind, self._dsn, self._timeout = kind_of(dsn), dsn, timeout

    async def ask(self, command: str) -> Scalar:
        """The one value of SQL, a command of MongoDB in JSON or a command line of Redis; raises `CheckNotRun` if there is none."""
        return await self._answered(lambda session: session.ask(command))

    async def age(self) -> float | None:
        """Seconds for which the server has run, None if it does not say."""
        with suppress(CheckNotRun, TypeError, ValueError):
            seconds: Any = await self._answered(lambda session: session.age())
            return float(seconds)
        return None

    async def _answered(self, question: Callable[[Session], T]) -> T:
        is_there = False

        def answer() -> T:
            nonlocal is_there
            with closing(ENGINES[self._kind]()(self._dsn, self._timeout)) as session:
                try:
                    is_there = True
                    return question(session)
                except Exception as error:
                    is_there = _is_late(error) or not session.is_lost(error)
                    raise

        try:
            with anyio.fail_after(self._timeout + GRACE):
                return await _in_thread(answer)
        except Exception as error:  # noqa: BLE001  a library's, of any kind
            failed = self._explained(error, is_there=is_there)
        raise failed  # outside of the handler: a library's error, which may hold the connection string, is not its context

    def _explained(self, error: Exception, *, is_there: bool) -> Explained:
        kind, why, is_late = KINDS[self._kind], without(self._dsn, said(error)), _is_late(error)
        if isinstance(error, ImportError):
            extra = [Next(Step.INSTALL_EXTRA, pip=pip_install(kind.extra))]
            why = f"{kind.library} is missing or does not load ({why})"
            return DatabaseUnreachable(kind.title, why, extra, lasting=True)
        if is_late:
            why = f"no {'result' if is_there else 'answer'} within {self._timeout:g} s"
        return (
            CheckNotRun(why)
            if is_there
            else DatabaseUnreachable(kind.title, why, lasting=bool(LASTING.search(why)))
        )


def _is_late(error: BaseException | None) -> bool:
    """Whether a time-out is among the causes; PyMySQL keeps the first error in an attribute only, and PostgreSQL has a code."""
    if error is None or isinstance(error, TimeoutError):
        return error is not None
    cause = getattr(error, "original_exception", None) or error.__cause__ or error.__context__
    return getattr(error, "sqlstate", None) == "57014" or _is_late(cause)


async def _in_thread(call: Callable[[], T]) -> T:
    """Call a function that blocks, in a daemon thread: a library that waits for a server does not keep a process alive."""
    work = Future[T]()
    work.set_running_or_notify_cancel()

    def run() -> None:
        try:
            work.set_result(call())
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            work.set_exception(error)

    threading.Thread(target=run, name="drill", daemon=True).start()
    return await asyncio.wrap_future(work)
