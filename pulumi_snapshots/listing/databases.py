"""The newest answer to one question, shared by all callers: of the account's databases and their status."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.service.client import PATIENT, Client, Patience
from pulumi_snapshots.service.models import Account, AccountDatabase, DatabaseStatus

T = TypeVar("T")


class Newest(Generic[T]):
    """Keeps the newest answer. A caller that comes while the question is under way waits for its answer.

    Attributes:
        answer: the answer; None until there is one.
        asked_at: when it was requested (monotonic seconds); minus infinity until there is one.
    """

    def __init__(self) -> None:
        self.answer: T | None = None
        self.asked_at = -math.inf
        self._lock = anyio.Lock()

    async def ask(self, since: float, question: Callable[[], Awaitable[tuple[T, float]]]) -> T:
        """Get an answer that was requested at `since` or later, if need be by `question`, which also returns when it asked."""
        async with self._lock:
            if self.answer is None or self.asked_at < since:
                self.answer, self.asked_at = await question()
            return self.answer


class Databases:
    """Gets the account, its databases and their status for a whole process.

    `since` is in monotonic seconds: an answer that was requested then or later is used again, without a request. All methods
    raise a `SquareCloudError` if there is no answer, or if it is unreadable.

    Args:
        client: sends the requests.
        clock: the time.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._account: Newest[Account] = Newest()
        self._databases: dict[str, Newest[AccountDatabase]] = defaultdict(Newest)
        self._statuses: dict[str, Newest[DatabaseStatus]] = defaultdict(Newest)

    async def account(self, since: float, *, patience: Patience = PATIENT) -> Account:
        """Get the account, with all its databases."""
        return await self._account.ask(since, lambda: self._timed(self._client.account(patience=patience)))

    async def database(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> AccountDatabase:
        """Get one database, from the account if that was requested at `since` or later."""
        if self._account.answer is not None and self._account.asked_at >= since:
            for database in self._account.answer.databases:
                if database.id == database_id:
                    return database
        newest, client = self._databases[database_id], self._client
        return await newest.ask(since, lambda: self._timed(client.database(database_id, patience=patience)))

    async def status(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> DatabaseStatus:
        """Get whether a database is running, and since when."""
        newest, client = self._statuses[database_id], self._client
        return await newest.ask(since, lambda: self._timed(client.database_status(database_id, patience=patience)))

    async def running(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> bool:
        """Get whether a database is running."""
        return (await self.status(database_id, since, patience=patience)).running

    async def _timed(self, answer: Awaitable[T]) -> tuple[T, float]:
        """The answer, and when it was requested."""
        asked_at = self._clock.monotonic()
        return await answer, asked_at
