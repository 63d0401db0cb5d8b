"""The client: one method per operation of the service. Reads are retried when that is safe; POSTs never are."""

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
from pulumi_snapshots.api.rate_limiter import ACCOUNT_LISTING, CREATE, READ, RESTORE, Lane, RateLimiter
from pulumi_snapshots.api.service_clock import ServiceClock
from pulumi_snapshots.api.transport import PROCESSING, Answer, Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from pulumi_snapshots.api.models import Model
    from pulumi_snapshots.api.rate_limiter import OnWait
    from pulumi_snapshots.clock import Clock

__all__ = ["BRIEF", "ONCE", "PATIENT", "Client", "Patience"]

POST_READ_TIMEOUT = 120.0
"""Seconds. The service takes up to about 90 s to answer a create, and the vendor's own SDK waits 120 s. How long a restore
takes to answer is not public, so it gets the same."""
GET_READ_TIMEOUT = 30.0
GET_BACK_OFF = (2.0, 4.0)
"""Seconds between the tries of a read."""
GET_PAUSE_LIMIT = 30.0
"""The longest `Retry-After`, in seconds, that a read honours: a refresh must end within 2 minutes."""


@dataclass(frozen=True)
class Patience:
    """How patient a read is.

    Attributes:
        tries: how often it is sent at most, if failures may pass.
        waits_out_block: whether it waits for the end of a block; otherwise it fails at once.
    """

    tries: int
    waits_out_block: bool


PATIENT = Patience(tries=3, waits_out_block=True)
"""For waiting for a snapshot that has used up one of the day's allowance."""
BRIEF = Patience(tries=3, waits_out_block=False)
"""For a refresh, which the user can run again."""
ONCE = Patience(tries=1, waits_out_block=False)
"""For a read that must not delay a run."""


class Client:
    """Typed access to the service with one API key.

    Args:
        api_url: the API's address.
        api_key: the bare key.
        limiter: spaces the requests.
        clock: the time.
        http: the HTTP transport; the network if not given.
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
        on_wait: OnWait | None = None,
    ) -> Finished | Accepted:
        """Send the POST that takes a snapshot, once.

        Args:
            database_id: a checked id.
            on_send: called right before the request is sent; from then on the service may have acted on it.
            on_wait: called while the request waits for a slot.

        Returns:
            `Finished` for a 200, `Accepted` for a 202.

        Raises:
            SquareCloudError: the snapshot was not started, or may have been if the error is `ambiguous`.
        """
        path = f"databases/{quote(database_id, safe='')}/snapshots"
        async with self._limiter.slot(f"POST /{path}", CREATE, database_id, on_wait=on_wait) as sending:
            await on_send()
            await sending()
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
        on_wait: OnWait | None = None,
    ) -> None:
        """Send the POST that restores a snapshot, once. The restore overwrites everything in the database.

        Args:
            database_id: a checked id of the database to overwrite.
            name: the name of the storage object, from a listing.
            version_id: the version, from a listing.
            on_send: called right before the request is sent; from then on the service may have acted on it.
            on_wait: called while the request waits for a slot.

        Raises:
            SquareCloudError: the restore was not started, or may have been if the error is `ambiguous`.
        """
        path = f"databases/{quote(database_id, safe='')}/snapshots/restore"
        body = {"snapshotId": name, "versionId": version_id}
        async with self._limiter.slot(f"POST /{path}", RESTORE, database_id, on_wait=on_wait) as sending:
            await on_send()
            await sending()
            await self._transport.send("POST", path, read_timeout=POST_READ_TIMEOUT, body=body)

    async def list_snapshots(self, database_id: str, *, patience: Patience = PATIENT) -> Listing:
        """List the snapshots of one database, newest first. The service may answer with a page that is 30 minutes old.

        Args:
            database_id: a checked id.
            patience: how often the request is sent, and whether it waits out a block.

        Raises:
            SquareCloudError: there is no listing.
        """
        path = f"databases/{quote(database_id, safe='')}/snapshots"
        return self._listing(f"GET /{path}", await self._get(path, READ, database_id, patience=patience))

    async def list_account(self, *, patience: Patience = PATIENT) -> Listing:
        """List the snapshots of the whole account. The service caches this listing apart from those of the databases.

        Args:
            patience: how often the request is sent, and whether it waits out a block.

        Raises:
            UpgradeRequired: the plan does not include this listing.
            SquareCloudError: there is no listing.
        """
        path = "users/snapshots?scope=databases"
        return self._listing("GET /users/snapshots", await self._get(path, ACCOUNT_LISTING, None, patience=patience))

    async def account(self, *, patience: Patience = PATIENT) -> Account:
        """Get the account: its id, plan and databases.

        Args:
            patience: how often the request is sent, and whether it waits out a block.

        Raises:
            SquareCloudError: there is no answer, or it is unreadable.
        """
        return await self._get_model("users/me", Account, None, patience)

    async def database(self, database_id: str, *, patience: Patience = PATIENT) -> AccountDatabase:
        """Get the configuration of one database.

        Args:
            database_id: a checked id.
            patience: how often the request is sent, and whether it waits out a block.

        Raises:
            SquareCloudError: there is no answer, or it is unreadable.
        """
        return await self._get_model(f"databases/{quote(database_id, safe='')}", AccountDatabase, database_id, patience)

    async def database_status(self, database_id: str, *, patience: Patience = PATIENT) -> DatabaseStatus:
        """Get the current status of one database.

        Args:
            database_id: a checked id.
            patience: how often the request is sent, and whether it waits out a block.

        Raises:
            SquareCloudError: there is no answer, or it is unreadable.
        """
        path = f"databases/{quote(database_id, safe='')}/status"
        return await self._get_model(path, DatabaseStatus, database_id, patience)

    async def _get_model(self, path: str, model: type[Model], database_id: str | None, patience: Patience) -> Model:
        answer = await self._get(path, READ, database_id, patience=patience)
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
