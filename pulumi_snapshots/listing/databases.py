"""What the account's databases are and whether they run: each is asked for once, for everybody who wants to know."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from pulumi_snapshots.api.client import PATIENT, Client, Patience

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pulumi_snapshots.api.models import Account, AccountDatabase, DatabaseStatus
    from pulumi_snapshots.clock import Clock

__all__ = ["Databases"]

T = TypeVar("T")


class _Shared(Generic[T]):
    """The newest answer to one question, and the lock that makes others wait for one under way."""

    def __init__(self) -> None:
        self._lock = anyio.Lock()
        self._answer: T | None = None
        self._asked_at = -math.inf

    def answered(self, since: float) -> T | None:
        """The answer, if it was asked for at `since` (monotonic) or later."""
        return self._answer if self._asked_at >= since else None

    async def ask(self, clock: Clock, since: float, question: Callable[[], Awaitable[T]]) -> T:
        """The answer, asked for now unless there is one."""
        async with self._lock:
            answer = self.answered(since)
            if answer is None:
                asked_at = clock.monotonic()
                answer = self._answer = await question()
                self._asked_at = asked_at
            return answer


class Databases:
    """Asks for a whole process. `since` is monotonic: what was asked for then or later is answered without a request.

    Args:
        client: asks the service.
        clock: the time.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._account: _Shared[Account] = _Shared()
        self._databases: dict[str, _Shared[AccountDatabase]] = defaultdict(_Shared)
        self._statuses: dict[str, _Shared[DatabaseStatus]] = defaultdict(_Shared)

    async def account(self, since: float, *, patience: Patience = PATIENT) -> Account:
        """The account, with all its databases.

        Raises:
            SquareCloudError: no answer, or none that can be read.
        """
        return await self._account.ask(self._clock, since, lambda: self._client.account(patience=patience))

    async def database(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> AccountDatabase:
        """One database; where the account was asked for, from that.

        Raises:
            SquareCloudError: no answer, or none that can be read.
        """
        account = self._account.answered(since)
        for database in account.databases if account is not None else ():
            if database.id == database_id:
                return database
        return await self._databases[database_id].ask(
            self._clock, since, lambda: self._client.database(database_id, patience=patience)
        )

    async def running(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> bool:
        """Whether a database runs.

        Raises:
            SquareCloudError: no answer, or none that can be read.
        """
        status = await self._statuses[database_id].ask(
            self._clock, since, lambda: self._client.database_status(database_id, patience=patience)
        )
        return status.running
