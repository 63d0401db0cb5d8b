"""Ask a database for one value; no error has the connection string."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.databases.connection import BlockingConnection, Scalar, is_late
from pulumi_snapshots.databases.kinds import ENGINES, kind_of, shown_message
from pulumi_snapshots.databases.tables import TableCount, count_tables
from pulumi_snapshots.errors import Hint, HintKind, ProviderError, pip_install
from pulumi_snapshots.late import late

LIBRARY_GRACE = 5.0
"""Seconds past the time-out in which a library may notice by itself that time ran out."""
COUNTING_SHARE = 0.9
"""The part of the time-out in which tables are counted; the rest is for connecting."""
LASTING = re.compile(
    r"password|authenticat|access denied|not authorized|pg_hba|certificate|unknown database"
    r"|no such file|not readable|does not (exist|know)",
    re.IGNORECASE,
)
"""Words of servers and libraries about a connection that will not work later either."""
DRIVERS: dict[str, Callable[[], Any]] = {
    "postgres": lambda: late("databases.postgresql:Postgres"),
    "mysql": lambda: late("databases.mysql:MySQL"),
    "mongo": lambda: late("databases.mongodb:MongoDB"),
    "redis": lambda: late("databases.redis_server:Redis"),
}
"""The class of each engine's connections, loaded late, since few programs need its library."""
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
        super().__init__(happened, "No check was sent to it.", then)
        self.why = why
        self.lasting = lasting


class CheckNotRun(ProviderError):
    """A check's command gave no value to compare.

    Attributes:
        why: The reason, such as `relation "orders" does not exist`.
    """

    def __init__(self, why: str) -> None:
        happened = f"The check returned no value: {why}"
        super().__init__(happened, "Nothing was compared.", [HintKind.CORRECT_CHECK])
        self.why = why


def library_message(error: BaseException) -> str:
    """Return the text of a library's error, without codes and other arguments."""
    if isinstance(error, UnicodeDecodeError):
        return "its result is not text in UTF-8"
    if not error.args:
        return type(error).__name__
    return NOISE.sub("", str(error.args[-1]))


class Database:
    """A database, over a new connection for each question: no command affects the next one.

    Args:
        dsn: A connection string that `kind_of` takes.
        timeout: The seconds that connecting may take, and then each command.
    """

    def __init__(self, dsn: str, *, timeout: float) -> None:
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
        with suppress(CheckNotRun, TypeError, ValueError):
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
        count = partial(
            count_tables,
            seconds=self._timeout * COUNTING_SHARE,
            is_left_out=is_left_out,
            explain=self._reason,
            refuse_writes=refuse_writes,
        )
        return await self._answered(count)

    def _reason(self, error: Exception) -> str:
        """Return the text of a library's error, without any part of the connection string."""
        return shown_message(self._dsn, library_message(error))

    async def _answered(self, question: Callable[[BlockingConnection], T]) -> T:
        """Ask a question over a connection of its own; raises an error for users."""
        is_connected = False

        def answer() -> T:
            nonlocal is_connected
            with closing(DRIVERS[self._kind]()(self._dsn, self._timeout)) as session:
                try:
                    is_connected = True
                    return question(session)
                except Exception as error:
                    is_connected = is_late(error) or not session.is_lost(error)
                    raise

        try:
            with anyio.fail_after(self._timeout + LIBRARY_GRACE):
                return await _in_thread(answer)
        except Exception as error:  # noqa: BLE001  a library's, of any kind
            failed = self._explained(error, is_connected=is_connected)
        # Outside of the handler, so that the library's error, which may hold the connection string,
        # is not its context.
        raise failed

    def _explained(
        self,
        error: Exception,
        *,
        is_connected: bool,
    ) -> ProviderError:
        """Make the error for users of a library's error."""
        engine = ENGINES[self._kind]
        reason = self._reason(error)
        if isinstance(error, ImportError):
            extra = [Hint(HintKind.INSTALL_EXTRA, pip=pip_install(engine.extra))]
            reason = f"{engine.library} is missing or does not load ({reason})"
            return DatabaseUnreachable(engine.title, reason, extra, lasting=True)
        if is_late(error):
            what = "result" if is_connected else "answer"
            reason = f"no {what} within {self._timeout:g} s"
        if is_connected:
            return CheckNotRun(reason)
        lasting = bool(LASTING.search(reason))
        return DatabaseUnreachable(engine.title, reason, lasting=lasting)


async def _in_thread(call: Callable[[], T]) -> T:
    """Call a function that blocks, in a daemon thread, which does not keep the process alive."""
    work = Future[T]()
    work.set_running_or_notify_cancel()

    def run() -> None:
        try:
            work.set_result(call())
        except BaseException as error:  # noqa: BLE001  the caller gets the error
            work.set_exception(error)

    threading.Thread(target=run, name="drill", daemon=True).start()
    return await asyncio.wrap_future(work)
