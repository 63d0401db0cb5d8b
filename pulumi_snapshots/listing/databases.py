"""The account's databases and their status. One request serves all callers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pulumi_snapshots.api.client import PATIENT, Client, Patience
from pulumi_snapshots.api.models import Account, AccountDatabase, DatabaseStatus
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.listing.newest import Newest

T = TypeVar("T")


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
        return await self._account.ask(since, self._timed(lambda: self._client.account(patience=patience)))

    async def database(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> AccountDatabase:
        """Get one database, from the account if that was requested at `since` or later."""
        account = self._account.since(since)
        for database in account.databases if account is not None else ():
            if database.id == database_id:
                return database
        return await self._databases[database_id].ask(
            since, self._timed(lambda: self._client.database(database_id, patience=patience))
        )

    async def running(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> bool:
        """Get whether a database is running."""
        status = await self._statuses[database_id].ask(
            since, self._timed(lambda: self._client.database_status(database_id, patience=patience))
        )
        return status.running

    def _timed(self, question: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[tuple[T, float]]]:
        """The question, which now also returns when it was asked."""

        async def ask() -> tuple[T, float]:
            asked_at = self._clock.monotonic()
            return await question(), asked_at

        return ask
