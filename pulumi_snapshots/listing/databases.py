"""The account's databases and their status, each requested once for all callers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.service.client import PATIENT, Client, Patience
from pulumi_snapshots.service.models import Account, AccountDatabase, DatabaseStatus

T = TypeVar("T")


class Databases:
    """Gets the account, its databases and their status for a whole process.

    `since` is in monotonic seconds: an answer that was requested then or later is used again, without a request. All methods
    raise a `SquareCloudError` if there is no answer, or if it is unreadable.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._answers: dict[str, tuple[Any, float]] = {}
        self._asking: dict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def account(self, since: float, *, patience: Patience = PATIENT) -> Account:
        """Get the account, with all its databases."""
        return await self._newest("account", since, lambda: self._client.account(patience=patience))

    async def database(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> AccountDatabase:
        """Get one database, from the account if that was requested at `since` or later."""
        account, asked_at = self._answers.get("account", (None, since))
        for database in account.databases if account and asked_at >= since else ():
            if database.id == database_id:
                found: AccountDatabase = database
                return found
        client, what = self._client, f"database {database_id}"
        return await self._newest(what, since, lambda: client.database(database_id, patience=patience))

    async def status(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> DatabaseStatus:
        """Get whether a database is running, and since when."""
        client, what = self._client, f"status {database_id}"
        return await self._newest(what, since, lambda: client.database_status(database_id, patience=patience))

    async def running(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> bool:
        """Get whether a database is running."""
        return (await self.status(database_id, since, patience=patience)).running

    async def _newest(self, what: str, since: float, question: Callable[[], Awaitable[T]]) -> T:
        """The newest answer; a caller that comes while the question is under way waits for its answer."""
        async with self._asking[what]:
            known = self._answers.get(what)
            if known is None or known[1] < since:
                asked_at = self._clock.monotonic()
                known = self._answers[what] = await question(), asked_at
        answer: T = known[0]
        return answer
