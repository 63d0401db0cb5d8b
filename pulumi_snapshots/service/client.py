"""The client: one method per operation of the service. Reads are retried when that is safe; POSTs never are."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import anyio
import httpx
from pydantic import BaseModel, ValidationError

from pulumi_snapshots.service.errors import (
    AnswerLost,
    Blocked,
    NotAllowed,
    ServiceFailed,
    SquareCloudError,
    Unavailable,
    UnreadableAnswer,
    is_new,
)
from pulumi_snapshots.service.limits import ACCOUNT_LISTING, CREDENTIALS, READ, Lane
from pulumi_snapshots.service.models import (
    Account,
    AccountDatabase,
    DatabaseStatus,
    Finished,
    Lenient,
    Listing,
    RestoreStatus,
    read_certificate,
    read_entries,
    read_statuses,
)
from pulumi_snapshots.service.rate_limiter import RateLimiter
from pulumi_snapshots.service.transport import CONNECT_TIMEOUT, READ_TIMEOUT, Answer, Transport, one_line, open_client

T = TypeVar("T")
POST_READ_TIMEOUT = 120.0
"""Seconds. The service takes up to about 90 s to answer a create, and the vendor's own SDK waits 120 s. How long a restore
takes to answer is not public, so it gets the same."""
GET_READ_TIMEOUT = 30.0
GET_PAUSE_LIMIT = 30.0
"""The longest `Retry-After`, in seconds, that a read honours: a refresh must end within 2 minutes."""
ONLINE, DEGRADED = "online", "degraded"
HEALTH_RENEWED = 300.0
"""Seconds after which the service renews what it says of itself."""
HEALTH_WITHIN = 3.0
"""Seconds: an error waits for it."""
HEALTH_LIMIT = 100
"""Characters of the service's own words."""
FIRST_BYTES = 1024
"""Bytes that `look_at` asks for: a proof of what is served, and nothing of the data is kept."""


class Patience(NamedTuple):
    """How patient a read is."""

    back_off: tuple[float, ...]  # seconds between its tries, if failures may pass
    waits_out_block: bool = False  # otherwise it fails at once
    within: float = GET_READ_TIMEOUT  # seconds until the first byte of each answer


PATIENT = Patience((2.0, 4.0), waits_out_block=True)
"""For waiting for a snapshot that has used up one of the day's allowance."""
BRIEF = Patience((2.0, 4.0))
"""For a refresh, which the user can run again."""
ONCE = Patience(())
"""For a read that must not delay a run."""
BRISK = Patience((1.0,), within=5.0)
"""For finding out whether the service answers at all: with its own word on an outage within 15 s."""


class _Health(BaseModel):
    status: str
    message: Lenient[str] = None


class Client(Transport):
    """Typed access to the service with one API key; the `limiter` spaces the requests.

    Every method raises a `SquareCloudError` if there is no answer, or if it is a refusal or unreadable. A database's id must
    be checked already, since it becomes a part of the path.
    """

    def __init__(self, limiter: RateLimiter, *transport: Any, http: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(*transport, http=http)
        self.limiter = limiter
        self._asking_health = anyio.Lock()
        self._asked_health_at, self._health = -math.inf, ("", "")

    async def look_at(self, method: str, url: str) -> Answer | None:
        """Request the first bytes of a download URL by GET, or send a HEAD, to study its host; None without an answer.

        Never sends the API key.
        """
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes=0-{FIRST_BYTES - 1}"} if method == "GET" else {})
        timeout, sent_at = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT), self._clock.monotonic()
        with suppress(httpx.HTTPError, httpx.InvalidURL, OSError):
            client = open_client(url, self._http, headers, timeout=timeout)
            async with client, client.stream(method, url) as response:
                status, got = response.status_code, dict(response.headers)
                return Answer(method, "snapshot host", sent_at, self._clock.monotonic() - sent_at, status, got)
        return None

    async def health(self) -> tuple[str, str]:
        """What the service says of itself: `online`, `degraded` or `unknown`, and that with its message; empty if it does not say.

        Its route needs no key and has no envelope. It is asked once in `HEALTH_RENEWED` for all callers.
        """
        async with self._asking_health:
            if self._clock.monotonic() - self._asked_health_at >= HEALTH_RENEWED:
                self._health = "", ""
                with suppress(httpx.HTTPError, OSError, ValidationError), anyio.fail_after(HEALTH_WITHIN):
                    async with open_client(self.api_url, self._http, {"Accept": "application/json"}) as http:
                        answer = await http.get(f"{self.api_url}/service/status")
                    if answer.status_code == httpx.codes.OK:
                        said = _Health.model_validate_json(answer.content)
                        word, message = (one_line(each or "")[:HEALTH_LIMIT] for each in (said.status, said.message))
                        self._health = word, f"{word}: {message}".removesuffix(": ")
                self._asked_health_at = self._clock.monotonic()
            return self._health

    async def start_snapshot(self, database_id: str, *, leave_by: datetime | None = None) -> Finished | None:
        """Send the POST that takes a snapshot, once, in a slot that the caller has, until `leave_by` (this machine's clock).

        Returns the content of a 200; None for a 202, which carries no id: the service continues in the background.
        """
        answer = await self._post(database_id, "snapshots", None, leave_by)
        if answer.continues:
            return None
        return Finished.model_validate(answer.response if isinstance(answer.response, dict) else {})

    async def restore_snapshot(
        self, database_id: str, *, name: str, version_id: str, leave_by: datetime | None = None
    ) -> bool:
        """Send the POST that restores a listed snapshot, once, as `start_snapshot` does. It overwrites everything in the database.

        Returns whether the service says that it is still running. If not, it may all the same: see `restore_status`.
        """
        body = {"snapshotId": name, "versionId": version_id}
        return (await self._post(database_id, "snapshots/restore", body, leave_by)).continues

    async def restore_status(self, database_id: str, *, patience: Patience = PATIENT) -> RestoreStatus | None:
        """Get how the last restore of a database stands; None if the service has no such route, or not for this key.

        The scope that it needs is not public, and what needs none can be asked with a key for everything only.
        """
        try:
            return await self._get(_path(database_id, "snapshots/restore"), _of(RestoreStatus.model_validate), patience)
        except SquareCloudError as error:
            if isinstance(error, NotAllowed) or (error.status in {404, 405} and is_new(error)):
                return None
            raise

    async def list_snapshots(self, database_id: str, *, patience: Patience = PATIENT) -> Listing:
        """List the snapshots of one database, newest first. The service may answer with a page that is 30 minutes old."""
        return await self._get(_path(database_id, "snapshots"), self._listing, patience, database_id=database_id)

    async def list_account(self, *, patience: Patience = PATIENT) -> Listing:
        """List the snapshots of the whole account. The service caches this listing apart from those of the databases."""
        return await self._get("users/snapshots?scope=databases", self._listing, patience, ACCOUNT_LISTING)

    def _listing(self, answer: Answer) -> Listing:
        return Listing(*read_entries(answer.response), answer.sent_at, self.service_clock.now())

    async def account(self, *, patience: Patience = PATIENT) -> Account:
        """Get the account: its id, plan and databases."""
        return await self._get("users/me", _of(Account.model_validate), patience)

    async def database(self, database_id: str, *, patience: Patience = PATIENT) -> AccountDatabase:
        """Get the configuration of one database."""
        return await self._get(_path(database_id), _of(AccountDatabase.model_validate), patience)

    async def database_status(self, database_id: str, *, patience: Patience = PATIENT) -> DatabaseStatus:
        """Get the current status of one database."""
        return await self._get(_path(database_id, "status"), _of(DatabaseStatus.model_validate), patience)

    async def database_certificate(self, database_id: str, *, patience: Patience = PATIENT) -> bytes:
        """Get the private key and the certificate, as PEM, with which a client may connect to a database that runs."""
        path = _path(database_id, "credentials/certificate")
        return await self._get(path, _of(read_certificate), patience, CREDENTIALS)

    async def database_statuses(self, *, patience: Patience = PATIENT) -> dict[str, bool] | None:
        """Get whether each database of the account is running, by id; None if the service has no such route."""
        try:
            return await self._get("databases/status", _of(read_statuses), patience)
        except SquareCloudError as error:
            # A service without the route takes `status` for the id of a database.
            if error.status in {400, 404, 405}:
                return None
            raise

    async def _post(self, database_id: str, what: str, body: object, leave_by: datetime | None) -> Answer:
        path = _path(database_id, what)
        try:
            return await self.send("POST", path, read_timeout=POST_READ_TIMEOUT, body=body, leave_by=leave_by)
        except ServiceFailed as error:
            await self._note_outage(error)
            raise

    async def _note_outage(self, error: SquareCloudError) -> None:
        """Add the outage that the service itself reports to an error, if it does."""
        word, outage = await self.health()
        if word == DEGRADED:
            error.happened = f"{error.happened}; the service itself reports an outage ({outage})"

    async def _get(
        self,
        path: str,
        read: Callable[[Answer], T],
        patience: Patience,
        lane: Lane = READ,
        database_id: str | None = None,
    ) -> T:
        """Send a read, again if that may help, and `read` its answer."""
        request, pauses = f"GET /{path.partition('?')[0]}", iter(patience.back_off)
        while True:
            try:
                async with self.limiter.slot(request, lane, database_id, waits_out_block=patience.waits_out_block):
                    answer = await self.send("GET", path, read_timeout=patience.within)
                try:
                    return read(answer)
                except ValueError:
                    raise UnreadableAnswer(request, status=answer.status) from None
            except SquareCloudError as error:
                pause = next(pauses, None)
                if pause is None or not error.passing or isinstance(error, Blocked):
                    if isinstance(error, ServiceFailed | Unavailable | UnreadableAnswer | AnswerLost):
                        await self._note_outage(error)
                    raise
                pause = max(pause, min(error.retry_after or 0.0, GET_PAUSE_LIMIT))
            await self._clock.sleep(pause)


def _of(read: Callable[[Any], T]) -> Callable[[Answer], T]:
    return lambda answer: read(answer.response)


def _path(database_id: str, *more: str) -> str:
    return "/".join(("databases", quote(database_id, safe=""), *more))
