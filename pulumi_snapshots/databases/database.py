"""Ask a database for one value; no error has the connection string."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing, suppress
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.databases.kinds import (
    ENGINE_KINDS,
    BlockingConnection,
    Scalar,
    is_late,
    kind_of,
    without,
)
from pulumi_snapshots.databases.tables import Counting, TableCount, count_tables
from pulumi_snapshots.errors import Hint, HintKind, ProviderError, pip_install
from pulumi_snapshots.late import late

LIBRARY_GRACE = 5.0
"""Seconds past the time-out in which a library may find out by itself that it is over."""
COUNTING_SHARE = 0.9
"""The part of the time-out in which tables are counted; the rest is for connecting."""
LASTING = re.compile(
    r"password|authenticat|access denied|not authorized|pg_hba|certificate|unknown database"
    r"|no such file|not readable|does not (exist|know)",
    re.IGNORECASE,
)
"""What servers and libraries say in English of a connection that will not work later either."""
ENGINES: dict[str, Callable[[], Any]] = {
    "postgres": lambda: late("databases.postgresql:Postgres"),
    "mysql": lambda: late("databases.mysql:MySQL"),
    "mongo": lambda: late("databases.mongodb:MongoDB"),
    "redis": lambda: late("databases.redis_server:Redis"),
}
"""How to speak to each kind of database; its library is loaded late, since few programs need it."""
T = TypeVar("T")
NOISE = re.compile(
    r"\A(?:connection failed: )?connection to server at .* failed: (?:FATAL: +)?"
    r"| \(configured timeouts[\s\S]*|, Timeout: [\s\S]*|, full error: [\s\S]*"
)
"""What PostgreSQL's library says before the useful part, and MongoDB's after it."""


class DatabaseUnreachable(ProviderError):
    """There is no connection. That proves nothing about the data.

    Attributes:
        why: The reason.
        lasting: Whether the reason will not go away by itself, as with a wrong password.
    """

    def __init__(
        self,
        title: str,
        why: str,
        then: Iterable[HintKind | Hint] = (HintKind.CHECK_CONNECTION,),
        *,
        lasting: bool = False,
    ) -> None:
        happened = f"The {title} database of the connection cannot be reached: {why}"
        super().__init__(
            happened,
            "No check has asked it anything.",
            then,
        )
        self.why = why
        self.lasting = lasting


class CheckNotRun(ProviderError):
    """A check's command gave no value to compare.

    Attributes:
        why: The reason, such as `relation "orders" does not exist`.
    """

    def __init__(self, why: str) -> None:
        happened = f"The check's command gave no value: {why}"
        super().__init__(
            happened,
            "Nothing was compared.",
            [HintKind.CORRECT_CHECK],
        )
        self.why = why


def library_message(error: BaseException) -> str:
    """Return what a library's error says, without codes and other arguments."""
    if isinstance(error, UnicodeDecodeError):
        return "its result is not text in UTF-8"
    if not error.args:
        return type(error).__name__
    return NOISE.sub("", str(error.args[-1]))


class Database:
    """A database that is asked over a new connection each time.

    So no command changes what the next one finds.
    """

    def __init__(
        self,
        dsn: str,
        *,
        timeout: float,
    ) -> None:
        """Prepare to ask.

        `timeout` is the seconds that connecting may take, and then each command.
        """
        self._kind = kind_of(dsn)
        self._dsn = dsn
        self._timeout = timeout

    async def ask(self, command: str) -> Scalar:
        """Ask for one value.

        Args:
            command: SQL, a command of MongoDB in JSON, or a command line of Redis.

        Returns:
            The value.

        Raises:
            CheckNotRun: There is none.
            DatabaseUnreachable: There is no connection.
        """
        return await self._answered(lambda session: session.ask(command))

    async def age(self) -> float | None:
        """Return the seconds for which the server has run, None if it does not say.

        Raises `DatabaseUnreachable`.
        """
        with suppress(
            CheckNotRun,
            TypeError,
            ValueError,
        ):
            seconds: Any = await self._answered(lambda session: session.age())
            return float(seconds)
        return None

    async def count(
        self, is_left_out: Callable[[str], bool], *, refuse_writes: bool
    ) -> list[TableCount]:
        """Count the rows of each table, over one connection.

        Connecting may take the whole time-out; the counting ends within 90 % of the time-out.

        Args:
            is_left_out: Whether a table of this name is not counted.
            refuse_writes: Whether it fails if something else writes to the database meanwhile.

        Returns:
            The tables, the smallest first; see `TableCount` for tables that could not be counted.

        Raises:
            CheckNotRun: The tables cannot be listed, or are too many, or something wrote to them.
            DatabaseUnreachable: There is no connection.
        """
        how = Counting(is_left_out, self._reason, refuse_writes)
        seconds = self._timeout * COUNTING_SHARE
        return await self._answered(lambda session: count_tables(session, how, seconds))

    def _reason(self, error: Exception) -> str:
        """Return what a library's error says, without any part of the connection string."""
        return without(self._dsn, library_message(error))

    async def _answered(self, question: Callable[[BlockingConnection], T]) -> T:
        is_there = False

        def answer() -> T:
            nonlocal is_there
            with closing(ENGINES[self._kind]()(self._dsn, self._timeout)) as session:
                try:
                    is_there = True
                    return question(session)
                except Exception as error:
                    is_there = is_late(error) or not session.is_lost(error)
                    raise

        try:
            with anyio.fail_after(self._timeout + LIBRARY_GRACE):
                return await _in_thread(answer)
        except Exception as error:  # noqa: BLE001  a library's, of any kind
            failed = self._explained(error, is_there=is_there)
        # Outside of the handler, so that the library's error, which may hold the connection string,
        # is not its context.
        raise failed

    def _explained(
        self,
        error: Exception,
        *,
        is_there: bool,
    ) -> ProviderError:
        """Make the error for users of a library's error; `is_there` if there was a connection."""
        kind = ENGINE_KINDS[self._kind]
        why = self._reason(error)
        if isinstance(error, ImportError):
            extra = [Hint(HintKind.INSTALL_EXTRA, pip=pip_install(kind.extra))]
            why = f"{kind.library} is missing or does not load ({why})"
            return DatabaseUnreachable(
                kind.title,
                why,
                extra,
                lasting=True,
            )
        if is_late(error):
            what = "result" if is_there else "answer"
            why = f"no {what} within {self._timeout:g} s"
        if is_there:
            return CheckNotRun(why)
        return DatabaseUnreachable(
            kind.title,
            why,
            lasting=bool(LASTING.search(why)),
        )


async def _in_thread(call: Callable[[], T]) -> T:
    """Call a function that blocks, in a daemon thread.

    So a library that waits for a server does not keep the process alive.
    """
    work = Future[T]()
    work.set_running_or_notify_cancel()

    def run() -> None:
        try:
            work.set_result(call())
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            work.set_exception(error)

    threading.Thread(
        target=run,
        name="drill",
        daemon=True,
    ).start()
    return await asyncio.wrap_future(work)
