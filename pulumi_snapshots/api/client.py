"""The service's verbs. Each passes the limiter; looks are tried again where that is safe, what starts something never."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import ValidationError

from pulumi_snapshots.api.errors import Blocked, SquareCloudError, UnreadableAnswer
from pulumi_snapshots.api.models import (
    Accepted,
    Account,
    AccountDatabase,
    DatabaseStatus,
    Finished,
    Listing,
    read_entries,
)
from pulumi_snapshots.api.rate_limiter import ACCOUNT_LISTING, CREATE, LOOK, RESTORE, Lane, RateLimiter
from pulumi_snapshots.api.service_clock import ServiceClock
from pulumi_snapshots.api.transport import PROCESSING, Answer, Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from pulumi_snapshots.api.models import Model
    from pulumi_snapshots.api.rate_limiter import Tell
    from pulumi_snapshots.clock import Clock

__all__ = ["BRIEF", "ONCE", "PATIENT", "Client", "Patience"]

POST_READ_TIMEOUT = 120.0
"""Seconds: the service holds a create for up to about 90 s before its first byte; the vendor's own SDK waits 120.
How long it holds a restore is not public, so as long."""
GET_READ_TIMEOUT = 30.0
GET_BACK_OFF = (2.0, 4.0)
"""Seconds between the tries of a GET."""
GET_PAUSE_LIMIT = 30.0
"""Seconds between two tries, however long the service asks to wait: a refresh ends within 2 minutes."""


@dataclass(frozen=True)
class Patience:
    """How long a look may take.

    Attributes:
        tries: how often it is sent at most, on a failure that may pass.
        waits_out_block: whether it waits for the end of a block or fails at once.
    """

    tries: int
    waits_out_block: bool


PATIENT = Patience(tries=3, waits_out_block=True)
"""For who waits for a snapshot that was paid for."""
BRIEF = Patience(tries=3, waits_out_block=False)
"""For a refresh, which can be run again."""
ONCE = Patience(tries=1, waits_out_block=False)
"""For a read that must not hold up a run."""


class Client:
    """Typed access to the service with one API key.

    Args:
        api_url: the API's address.
        api_key: the bare key.
        limiter: spaces the requests.
        clock: the time.
        http: the HTTP transport below; the network unless a test gives another.
    """

    def __init__(
        self,
        api_url: str,
        api_key: str,
        limiter: RateLimiter,
        clock: Clock,
        *,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.service_clock = ServiceClock(clock)
        self._limiter = limiter
        self._clock = clock
        self._transport = Transport(api_url, api_key, clock, self.service_clock, http=http)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def start_snapshot(
        self,
        database_id: str,
        *,
        on_send: Callable[[], Awaitable[None]],
        tell: Tell | None = None,
    ) -> Finished | Accepted:
        """POST a snapshot of `database_id`, once.

        Args:
            database_id: a checked id.
            on_send: called when the request is about to leave; from then on it may have been carried out.
            tell: told what it waits for, and what of that changes meanwhile.

        Returns:
            `Finished` for a 200, `Accepted` for a 202.

        Raises:
            SquareCloudError: `ambiguous` tells whether the snapshot may be under way all the same.
        """
        path = f"databases/{quote(database_id, safe='')}/snapshots"
        async with self._limiter.slot(f"POST /{path}", CREATE, database_id, tell=tell) as leaves:
            await on_send()
            await leaves()
            answer = await self._transport.send("POST", path, read_timeout=POST_READ_TIMEOUT)
            if answer.status == 202 or answer.code == PROCESSING:  # noqa: PLR2004  accepted
                return Accepted()
            return Finished.model_validate(answer.response if isinstance(answer.response, dict) else {})

    async def restore_snapshot(
        self,
        database_id: str,
        *,
        name: str,
        version_id: str,
        on_send: Callable[[], Awaitable[None]],
        tell: Tell | None = None,
    ) -> None:
        """POST a restore onto `database_id`, once; it overwrites what the database holds.

        Args:
            database_id: a checked id; whose data is overwritten.
            name: the storage object's, as a listing gives it.
            version_id: as a listing gives it.
            on_send: called when the request is about to leave; from then on it may have been carried out.
            tell: told what it waits for, and what of that changes meanwhile.

        Raises:
            SquareCloudError: `ambiguous` tells whether the restore may be under way all the same.
        """
        path = f"databases/{quote(database_id, safe='')}/snapshots/restore"
        body = {"snapshotId": name, "versionId": version_id}
        async with self._limiter.slot(f"POST /{path}", RESTORE, database_id, tell=tell) as leaves:
            await on_send()
            await leaves()
            await self._transport.send("POST", path, read_timeout=POST_READ_TIMEOUT, body=body)

    async def list_snapshots(self, database_id: str, *, patience: Patience = PATIENT) -> Listing:
        """The listing of one database, newest first; the service may serve a page up to 30 minutes old.

        Args:
            database_id: a checked id.
            patience: how long it may take.

        Raises:
            SquareCloudError: no listing.
        """
        path = f"databases/{quote(database_id, safe='')}/snapshots"
        return self._listing(f"GET /{path}", await self._get(path, LOOK, database_id, patience=patience))

    async def list_account(self, *, patience: Patience = PATIENT) -> Listing:
        """The listing of the whole account; cached by the service apart from the databases' own listings.

        Raises:
            UpgradeRequired: the plan does not include it.
            SquareCloudError: no listing.
        """
        path = "users/snapshots?scope=databases"
        return self._listing("GET /users/snapshots", await self._get(path, ACCOUNT_LISTING, None, patience=patience))

    async def account(self, *, patience: Patience = PATIENT) -> Account:
        """The account: its id, plan and databases.

        Raises:
            SquareCloudError: no answer, or none that can be read.
        """
        return await self._get_model("users/me", Account, None, patience)

    async def database(self, database_id: str, *, patience: Patience = PATIENT) -> AccountDatabase:
        """One database of the account, as it is configured.

        Args:
            database_id: a checked id.
            patience: how long it may take.

        Raises:
            SquareCloudError: no answer, or none that can be read.
        """
        return await self._get_model(f"databases/{quote(database_id, safe='')}", AccountDatabase, database_id, patience)

    async def database_status(self, database_id: str, *, patience: Patience = PATIENT) -> DatabaseStatus:
        """How one database is at the moment.

        Args:
            database_id: a checked id.
            patience: how long it may take.

        Raises:
            SquareCloudError: no answer, or none that can be read.
        """
        path = f"databases/{quote(database_id, safe='')}/status"
        return await self._get_model(path, DatabaseStatus, database_id, patience)

    async def _get_model(self, path: str, model: type[Model], database_id: str | None, patience: Patience) -> Model:
        answer = await self._get(path, LOOK, database_id, patience=patience)
        try:
            return model.model_validate(answer.response)
        except ValidationError:
            raise UnreadableAnswer(f"GET /{path}", status=answer.status) from None

    async def _get(self, path: str, lane: Lane, database_id: str | None, *, patience: Patience) -> Answer:
        request = f"GET /{path.partition('?')[0]}"
        for pause in (*GET_BACK_OFF[: patience.tries - 1], None):
            try:
                async with self._limiter.slot(request, lane, database_id, waits_out_block=patience.waits_out_block):
                    return await self._transport.send("GET", path, read_timeout=GET_READ_TIMEOUT)
            except SquareCloudError as error:
                if pause is None or not error.passing or isinstance(error, Blocked):
                    raise
                asked_for = min(error.retry_after or 0.0, GET_PAUSE_LIMIT)
            await self._clock.sleep(max(pause, asked_for))
        raise AssertionError  # the last try returns or raises

    def _listing(self, request: str, answer: Answer) -> Listing:
        if not isinstance(answer.response, list):
            raise UnreadableAnswer(request, status=answer.status)
        entries, unreadable = read_entries(answer.response)
        return Listing(entries, unreadable, answer.sent_at, self.service_clock.now())
