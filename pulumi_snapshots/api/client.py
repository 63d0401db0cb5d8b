"""The service's verbs. Each passes the gate; looks are tried again where that is safe, what starts something never."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import ValidationError

from pulumi_snapshots.api.errors import Blocked, SquareCloudError, UnreadableAnswer
from pulumi_snapshots.api.gate import ACCOUNT_LOOK, CREATE, LOOK, Gate, Lane
from pulumi_snapshots.api.models import Accepted, Account, Finished, Listing, read_entries
from pulumi_snapshots.api.service_clock import ServiceClock
from pulumi_snapshots.api.transport import PROCESSING, Answer, Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from pulumi_snapshots.clock import Clock

__all__ = ["BRIEF", "ONCE", "PATIENT", "Client", "Patience"]

CREATE_READ_TIMEOUT = 120.0
"""Seconds: the service holds a create for up to about 90 s before its first byte; the vendor's own SDK waits 120."""
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
        gate: spaces the requests.
        clock: the time.
        http: the HTTP transport below; the network unless a test gives another.
    """

    def __init__(
        self,
        api_url: str,
        api_key: str,
        gate: Gate,
        clock: Clock,
        *,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.service_clock = ServiceClock(clock)
        self._gate = gate
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
        tell: Callable[[str], None] | None = None,
    ) -> Finished | Accepted:
        """POST a snapshot of `database_id`, once.

        Args:
            database_id: a checked id.
            on_send: called when the request is about to leave; from then on it may have been carried out.
            tell: told what it waits for.

        Returns:
            `Finished` for a 200, `Accepted` for a 202.

        Raises:
            SquareCloudError: `ambiguous` tells whether the snapshot may be under way all the same.
        """
        path = f"databases/{quote(database_id, safe='')}/snapshots"
        async with self._gate.passage(f"POST /{path}", CREATE, database_id, tell=tell) as leaves:
            await on_send()
            leaves()
            answer = await self._transport.send("POST", path, read_timeout=CREATE_READ_TIMEOUT)
            if answer.status == 202 or answer.code == PROCESSING:  # noqa: PLR2004  accepted
                return Accepted()
            return Finished.model_validate(answer.response if isinstance(answer.response, dict) else {})

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
        return self._listing("GET /users/snapshots", await self._get(path, ACCOUNT_LOOK, None, patience=patience))

    async def account(self, *, patience: Patience = PATIENT) -> Account:
        """The account: its id, plan and databases.

        Raises:
            SquareCloudError: no answer, or none that can be read.
        """
        answer = await self._get("users/me", LOOK, None, patience=patience)
        try:
            return Account.model_validate(answer.response)
        except ValidationError:
            raise UnreadableAnswer("GET /users/me", status=answer.status) from None

    async def _get(self, path: str, lane: Lane, database_id: str | None, *, patience: Patience) -> Answer:
        request = f"GET /{path.partition('?')[0]}"
        for pause in (*GET_BACK_OFF[: patience.tries - 1], None):
            try:
                async with self._gate.passage(request, lane, database_id, waits_out_block=patience.waits_out_block):
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
