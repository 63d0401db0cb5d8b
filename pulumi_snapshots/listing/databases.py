"""The account's databases and their status, each requested once for all callers."""

from __future__ import annotations

from functools import partial

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.listing.newest import Newest
from pulumi_snapshots.service.client import PATIENT, Client, Patience
from pulumi_snapshots.service.models import Account, AccountDatabase, DatabaseStatus

ACCOUNT = "GET /users/me"


class Databases:
    """Gets the account, its databases and their status for a whole process.

    `since` is in monotonic seconds: an answer that was requested then or later is used again, without a request. All methods
    raise a `SquareCloudError` if there is no answer, or if it is unreadable.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._newest = Newest(clock)

    async def account(self, since: float, *, patience: Patience = PATIENT) -> Account:
        """Get the account, with all its databases."""
        return await self._newest.get(ACCOUNT, since, self._client.account, patience)

    async def database(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> AccountDatabase:
        """Get one database, from the account if that was requested at `since` or later."""
        account: Account | None = self._newest.known(ACCOUNT, since)
        for database in account.databases if account else ():
            if database.id == database_id:
                return database
        request, ask = f"GET /databases/{database_id}", partial(self._client.database, database_id)
        return await self._newest.get(request, since, ask, patience)

    async def status(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> DatabaseStatus:
        """Get whether a database is running, and since when."""
        request, ask = f"GET /databases/{database_id}/status", partial(self._client.database_status, database_id)
        return await self._newest.get(request, since, ask, patience)
