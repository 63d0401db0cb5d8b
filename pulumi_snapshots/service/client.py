"""The typed async client: one method per operation of the service.

Reads are retried when that is safe; POSTs never are.
"""

import json
import math
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache, partial
from importlib.metadata import version
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import anyio
import httpx
from pydantic import BaseModel, TypeAdapter

from pulumi_snapshots.clock import TimeSpan, in_utc
from pulumi_snapshots.errors import Message
from pulumi_snapshots.errors.debug import trace_request
from pulumi_snapshots.properties.checks import LOOPBACK
from pulumi_snapshots.service.errors import (
    AnswerLost,
    Blocked,
    NotAllowed,
    NotSent,
    ServiceFailed,
    SquareCloudError,
    Unavailable,
    UnreadableAnswer,
    error_for,
    is_new,
)
from pulumi_snapshots.service.limits import ACCOUNT_LANE, CREDENTIALS, READ, Lane
from pulumi_snapshots.service.models import (
    STATUSES,
    Account,
    AccountDatabase,
    DatabaseStatus,
    Finished,
    Lenient,
    Listing,
    RestoreStatus,
    read_certificate,
    read_entries,
)
from pulumi_snapshots.service.rate_limiter import RateLimiter

T = TypeVar("T")
CONNECT_TIMEOUT = 15.0  # seconds
POST_READ_TIMEOUT = 120.0
"""Seconds until the first byte of an answer to a POST, and between any two. The service takes up to
about 90 s to answer a create, and the vendor's own SDK waits 120 s; how long a restore takes to
answer is not public."""
GET_READ_TIMEOUT = 30.0  # the same of a read
WHOLE_ANSWER_EXTRA = 60.0
"""Seconds beyond the read time-out in which the whole answer must arrive, so that a slow body ends
too."""
RETRY_AFTER_LIMIT = 3600.0
"""Seconds of `Retry-After` that are believed: the vendor documents blocks of about 30 minutes."""
BODY_LIMIT = 32 * 2**20
"""The most bytes read of an answer; a listing of 10,000 entries has about 6 MB."""
NO_ANSWER = httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, ValueError
"""Raised if no answer can be read; the last by the address of a redirect, which httpx parses
although it does not follow it."""
_CERTAINLY_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
)
GET_PAUSE_LIMIT = 30.0
"""Seconds of a `Retry-After` that a read honours: a refresh must end within 2 minutes."""
CODE_LIMIT = 100
"""The most characters that errors show of a code, and of the service's health. The longest known
code has 29."""
ONLINE = "online"
DEGRADED = "degraded"
HEALTH_RENEWED = 300.0  # seconds after which the service renews its health
HEALTH_WITHIN = 3.0  # seconds that an error waits for the service's health
LONGEST_POST = CONNECT_TIMEOUT + POST_READ_TIMEOUT + WHOLE_ANSWER_EXTRA + HEALTH_WITHIN
"""Seconds after which a POST of a living process has its answer, or has lost it for good."""
Leaving = Callable[[], Awaitable[None]]
"""Called when everything is ready for a request to leave.

An error that it raises keeps the request back.
"""
CERTIFICATES = "SSL_CERT_FILE", "SSL_CERT_DIR"
"""The variables that name other certificates than httpx's own."""


class Patience(NamedTuple):
    """The patience of a read."""

    back_off: tuple[float, ...]  # seconds between its tries, if failures may pass
    waits_out_block: bool = False  # otherwise it fails at once
    within: float = GET_READ_TIMEOUT  # seconds until the first byte of each answer
    enters_later: bool = False  # see `RateLimiter.slot`


# for a snapshot that counts against the daily quota
PATIENT = Patience((2.0, 4.0), waits_out_block=True)
BRIEF = Patience((2.0, 4.0))  # for what the user can run again
REFRESH = BRIEF._replace(enters_later=True)
ONCE = Patience(())  # for a read that must not delay a run


@cache
def _user_agent() -> str:
    """Return this package and its version, read once.

    A proxy in front of the service may refuse the name of a bare HTTP library.
    """
    return f"pulumi-snapshots/{version('pulumi-snapshots')} (Pulumi provider for Square Cloud)"


@cache
def tls(*_named: str | None, trust_env: bool) -> ssl.SSLContext:
    """Return the certificates that are trusted, read once.

    Reading them takes longer than anything else that a client does, and blocks everything else.

    Args:
        _named: The values of the variables for certificates: other values read other certificates.
        trust_env: Whether the environment can name certificates.
    """
    return httpx.create_ssl_context(trust_env=trust_env)


def open_client(
    url: str,
    http: httpx.AsyncBaseTransport | None,
    headers: Mapping[str, str] | None = None,
    **settings: Any,
) -> httpx.AsyncClient:
    """Make a client for an address.

    The client follows no redirect. Clients share nothing but the trusted certificates.

    Args:
        url: The address below which the client sends requests.
        http: The transport; None for the network.
        headers: Headers of each request; None for no further values.
        **settings: Other arguments of `httpx.AsyncClient`.

    Returns:
        The client, which the caller closes.
    """
    # A proxy from the environment would see all in plain text on the way to a loopback address.
    trust_env = urlsplit(url).hostname not in LOOPBACK
    named = map(os.environ.get, CERTIFICATES) if trust_env else ()
    return httpx.AsyncClient(
        transport=http,
        headers={"Accept": "*/*", "User-Agent": _user_agent(), **(headers or {})},
        trust_env=trust_env,
        verify=tls(*named, trust_env=trust_env) if http is None else True,
        **settings,
    )


async def read_whole(response: httpx.Response) -> bytes:
    """Read the body of an answer.

    Args:
        response: The answer.

    Returns:
        The body.

    Raises:
        httpx.ReadError: The body is larger than any answer of the service, so the answer counts as
            lost.
    """
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > BODY_LIMIT:
            raise httpx.ReadError(f"the answer has more than {BODY_LIMIT // 2**20} MiB")
    return bytes(content)


def one_line(text: object) -> str:
    """Return a text on one printable line; the name of an error without a text.

    Args:
        text: The text, or an error.
    """
    words = str(text)
    if not words and isinstance(text, Exception):
        words = type(text).__name__
    line = " ".join(words.split())
    return "".join(character for character in line if character.isprintable())


def http_date(text: str | None) -> datetime | None:
    """Return the time of an HTTP date; None if the text is no date.

    Args:
        text: The header; None without it.
    """
    try:
        return in_utc(parsedate_to_datetime(text or ""))
    except (ValueError, OverflowError):
        return None


@dataclass
class Answer:
    """An answer of the service."""

    method: str
    path: str  # without the query
    sent_at: float  # when the request was sent, monotonic seconds
    first_byte: float  # seconds until the answer began
    status: int
    headers: Mapping[str, str]  # by their names in lower case
    content: bytes = b""  # may hold secrets
    response: Any = None  # the envelope's response, if the answer is a success
    continues: bool = False  # whether what was asked for is still running
    sent_within: TimeSpan | None = None  # see `PostAnswer`


@dataclass(frozen=True)
class PostAnswer:
    """The answer to a POST that the service accepted.

    Attributes:
        continues: Whether the service says that what was started is still running, as a 202 does.
        finished: What a 200 says of a snapshot; None for a 202, which carries no id, and for a
            restore.
        sent_within: Within which times of the service the POST was sent, as the `Date` of this very
            answer shows; None if it has none. See `clock.corrected_time`. Every `SquareCloudError`
            has the same attribute.
    """

    continues: bool
    finished: Finished | None
    sent_within: TimeSpan | None


PROCESSING = frozenset({"SNAPSHOT_PROCESSING", "SNAPSHOT_RESTORE_PROCESSING"})
"""The codes of a 202 that is sent as an error."""
OUT_OF_ORDER = ServiceFailed, Unavailable, UnreadableAnswer, AnswerLost
"""The errors that an outage of the service explains."""


class _Envelope(BaseModel):
    status: Literal["success", "error"]
    code: Lenient[str] = None
    message: Lenient[str] = None
    response: Any = None


class _HttpEvents:
    """The events that httpx reports of one request, which show whether the request has left.

    Args:
        leaving: Called right before the request is written; None for nothing.
    """

    def __init__(self, leaving: Leaving | None) -> None:
        self._leaving = leaving
        self._names: list[str] = []

    async def note(self, name: str, _info: object) -> None:
        """Note an event, as the extension `trace` of httpx reports it.

        Args:
            name: The event, such as `connection.connect_tcp.started`.
        """
        if self._leaving and name.endswith("send_request_headers.started"):
            await self._leaving()
        self._names.append(name)

    @property
    def prove_not_sent(self) -> bool:
        """Whether all events were about the connection; without any, nothing is proved."""
        names = self._names
        return bool(names) and all(name.startswith("connection.") for name in names)


class Client:
    """Typed access to the service with one API key.

    Every method raises a `SquareCloudError` if there is no answer, or if it is a refusal or
    unreadable. A database's id must be checked already, since it becomes a part of the path.

    Args:
        limiter: Spaces the requests.
        api_url: The service's address.
        api_key: The key, which only this address gets.
        http: Carries the requests; None for the network.

    Attributes:
        on_answer: Called with each answer, unchanged; None for nothing.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        api_url: str,
        api_key: str,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.on_answer: Callable[[Answer], None] | None = None
        self.limiter = limiter
        self.api_url = api_url
        self.http = http
        self._api_key = api_key
        self.service_clock = limiter.ledger.clock
        self._clock = limiter.clock
        # If the server closed a kept connection just as a POST is sent, the client could not know
        # whether the POST arrived. At 30 requests a minute a new connection for each costs nothing.
        # The number of connections has no limit, because a POST stays open for up to 90 s.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        headers = {"Authorization": api_key, "Accept": "application/json"}
        self._client = open_client(api_url, http, headers, limits=limits)
        self._asking_health = anyio.Lock()
        self._asked_health_at = -math.inf
        self._health = "", ""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def health(self) -> tuple[str, str]:
        """Return the service's health by its own word, asked at most every 5 minutes.

        Returns:
            `online`, `degraded` or `unknown`, and the same word with the service's message; both
            are empty if the service does not answer.
        """
        async with self._asking_health:
            if self._clock.monotonic() - self._asked_health_at >= HEALTH_RENEWED:
                self._health = await self._ask_health()
                self._asked_health_at = self._clock.monotonic()
            return self._health

    async def _ask_health(self) -> tuple[str, str]:
        """Ask the service for its health, by a route that needs no key and has no envelope."""
        with suppress(*NO_ANSWER), anyio.fail_after(HEALTH_WITHIN):
            http = open_client(self.api_url, self.http, {"Accept": "application/json"})
            async with (
                http,
                http.stream("GET", f"{self.api_url}/service/status") as answer,
            ):
                content = await read_whole(answer)
            if answer.status_code == httpx.codes.OK:
                health = TypeAdapter(dict[str, Any]).validate_json(content)
                word = one_line(health.get("status") or "")[:CODE_LIMIT]
                message = one_line(health.get("message") or "")[:CODE_LIMIT]
                return word, f"{word}: {message}".removesuffix(": ")
        return "", ""

    async def start_snapshot(
        self,
        database_id: str,
        *,
        leaving: Leaving | None = None,
    ) -> PostAnswer:
        """Send the POST that takes a snapshot, once, in a slot that the caller has.

        Args:
            database_id: The database.
            leaving: Called right before the request is sent; None for nothing.

        Returns:
            The answer.

        Raises:
            Exception: The error of `leaving`; nothing was sent then.
            SquareCloudError: See the class; `sent_within` is that of the answer, if there was one.
        """
        answer = await self._post(database_id, "snapshots", None, leaving)
        finished = None
        if not answer.continues:
            content = answer.response if isinstance(answer.response, dict) else {}
            finished = Finished.model_validate(content)
        return PostAnswer(answer.continues, finished, answer.sent_within)

    async def restore_snapshot(
        self,
        database_id: str,
        *,
        name: str,
        version_id: str,
        leaving: Leaving | None = None,
    ) -> PostAnswer:
        """Send the POST that restores a listed snapshot, once, as `start_snapshot` does.

        The restore overwrites everything in the database. An answer that does not say that the
        restore is still running proves nothing: see `restore_status`.

        Args:
            database_id: The database that is overwritten.
            name: The name of the snapshot's storage object.
            version_id: The snapshot's version.
            leaving: See `start_snapshot`.

        Returns:
            The answer.
        """
        body = {"snapshotId": name, "versionId": version_id}
        answer = await self._post(database_id, "snapshots/restore", body, leaving)
        return PostAnswer(answer.continues, None, answer.sent_within)

    async def restore_status(
        self,
        database_id: str,
        *,
        patience: Patience = PATIENT,
        lane: Lane = READ,
    ) -> RestoreStatus | None:
        """Get the status of the last restore of a database.

        Args:
            database_id: The database.
            patience: How long the request is repeated.
            lane: Its limits.

        Returns:
            The status; None if the service has no such route, or not for this key. The scope for
            the route is not public, and a route without a scope needs a key for everything.
        """
        path = _path(database_id, "snapshots/restore")
        read = _from_response(RestoreStatus.model_validate)
        try:
            return await self._get(path, read, patience, lane)
        except SquareCloudError as error:
            if isinstance(error, NotAllowed) or (
                error.status in {404, 405} and is_new(error)
            ):
                return None
            raise

    async def list_snapshots(
        self, database_id: str, *, patience: Patience = PATIENT
    ) -> Listing:
        """List the snapshots of one database, newest first, by a page that can be 30 minutes old.

        Args:
            database_id: The database.
            patience: How long the request is repeated.

        Returns:
            The listing.
        """
        path = _path(database_id, "snapshots")
        return await self._get(path, partial(self._listing, is_own=True), patience)

    async def list_account(self, *, patience: Patience = PATIENT) -> Listing:
        """List the snapshots of the whole account, whose pages are cached separately.

        Args:
            patience: How long the request is repeated.

        Returns:
            The listing.
        """
        read = partial(self._listing, is_own=False)
        path = "users/snapshots?scope=databases"
        return await self._get(path, read, patience, ACCOUNT_LANE)

    def _listing(self, answer: Answer, *, is_own: bool) -> Listing:
        return Listing(
            *read_entries(answer.response),
            answer.sent_at,
            self.service_clock.now(),
            is_own,
        )

    async def account(self, *, patience: Patience = PATIENT) -> Account:
        """Get the account: its id, plan and databases.

        Args:
            patience: How long the request is repeated.

        Returns:
            The account.
        """
        read = _from_response(Account.model_validate)
        return await self._get("users/me", read, patience)

    async def database(
        self, database_id: str, *, patience: Patience = PATIENT
    ) -> AccountDatabase:
        """Get the configuration of one database.

        Args:
            database_id: The database.
            patience: How long the request is repeated.

        Returns:
            The configuration.
        """
        read = _from_response(AccountDatabase.model_validate)
        return await self._get(_path(database_id), read, patience)

    async def database_status(
        self, database_id: str, *, patience: Patience = PATIENT
    ) -> DatabaseStatus:
        """Get the current status of one database.

        Args:
            database_id: The database.
            patience: How long the request is repeated.

        Returns:
            The status.
        """
        read = _from_response(DatabaseStatus.model_validate)
        return await self._get(_path(database_id, "status"), read, patience)

    async def database_certificate(
        self, database_id: str, *, patience: Patience = PATIENT
    ) -> bytes:
        """Get the private key and the certificate, as PEM, for connections to a database.

        Args:
            database_id: The database.
            patience: How long the request is repeated.

        Returns:
            The PEM, with private key and certificate.
        """
        path = _path(database_id, "credentials/certificate")
        read = _from_response(read_certificate)
        return await self._get(path, read, patience, CREDENTIALS)

    async def database_statuses(
        self, *, patience: Patience = PATIENT
    ) -> dict[str, bool] | None:
        """Get whether each database of the account is running.

        Args:
            patience: How long the request is repeated.

        Returns:
            Whether each database is running, by its id; None if the service has no such route.
        """
        try:
            read = _from_response(STATUSES.validate_python)
            statuses = await self._get("databases/status", read, patience)
        except SquareCloudError as error:
            # A service without the route takes `status` for the id of a database.
            if error.status in {400, 404, 405}:
                return None
            raise
        return {each.id: each.running for each in statuses}

    async def _post(
        self,
        database_id: str,
        route: str,
        body: object,
        leaving: Leaving | None,
    ) -> Answer:
        """Send a POST, once."""
        path = _path(database_id, route)
        try:
            return await self.send(
                "POST", path, POST_READ_TIMEOUT, body=body, leaving=leaving
            )
        except ServiceFailed as error:
            await self._note_outage(error)
            raise

    async def _note_outage(self, error: SquareCloudError) -> None:
        """Add an outage that the service itself reports to an error."""
        word, outage = await self.health()
        if word == DEGRADED:
            error.describe(
                Message(
                    "{explanation}; the service itself reports an outage ({outage})",
                    explanation=error.explanation,
                    outage=outage,
                )
            )

    async def _get(
        self,
        path: str,
        read: Callable[[Answer], T],
        patience: Patience,
        lane: Lane = READ,
    ) -> T:
        """Send a read, again if that may help, and `read` its answer."""
        request = f"GET /{path.partition('?')[0]}"
        for back_off in (*patience.back_off, None):
            try:
                return await self._get_once(request, path, read, patience, lane)
            except SquareCloudError as error:
                if back_off is None or not error.passing or isinstance(error, Blocked):
                    if isinstance(error, OUT_OF_ORDER):
                        await self._note_outage(error)
                    raise
                asked = min(error.retry_after or 0.0, GET_PAUSE_LIMIT)
            await self._clock.sleep(max(back_off, asked))
        raise AssertionError  # the last try returns or raises

    async def _get_once(
        self,
        request: str,
        path: str,
        read: Callable[[Answer], T],
        patience: Patience,
        lane: Lane,
    ) -> T:
        """Send a read once, and `read` its answer."""
        slot = self.limiter.slot(
            request,
            lane,
            waits_out_block=patience.waits_out_block,
            enters_later=patience.enters_later,
        )
        async with slot:
            answer = await self.send("GET", path, patience.within)
        try:
            return read(answer)
        except ValueError:
            raise UnreadableAnswer(request, status=answer.status) from None

    async def send(
        self,
        method: str,
        path: str,
        read_timeout: float,
        *,
        body: Any = None,
        leaving: Leaving | None = None,
    ) -> Answer:
        """Send one request.

        Args:
            method: `GET` or `POST`.
            path: Percent-encoded, below the API's address, with its query.
            read_timeout: Seconds until the first byte, and between any two bytes.
            body: Sent as JSON.
            leaving: Called once the connection is made, right before the request is written;
                None for nothing. What it raises keeps the request back.

        Returns:
            The answer, which is a success.

        Raises:
            SquareCloudError: The answer is not a success, or there is none. A cancellation has a
                `NotSent` as its cause if the request was certainly not sent.
        """
        bare = f"/{path.partition('?')[0]}"
        request = f"{method} {bare}"
        sent_at = self._clock.monotonic()
        sent = self._clock.utc()  # this clock counts while the machine sleeps
        events = _HttpEvents(leaving)
        timeout = httpx.Timeout(
            read_timeout, connect=min(CONNECT_TIMEOUT, read_timeout)
        )
        try:
            with anyio.fail_after(read_timeout + WHOLE_ANSWER_EXTRA):
                async with self._client.stream(
                    method,
                    f"{self.api_url}/{path}",
                    json=body,
                    timeout=timeout,
                    extensions={"trace": events.note} if method == "POST" else None,
                ) as response:
                    received = self._clock.utc()
                    first_byte = self._clock.monotonic() - sent_at
                    content = await read_whole(response)
        except anyio.get_cancelled_exc_class() as cancelled:
            if events.prove_not_sent:
                raise cancelled from NotSent(request)
            raise
        except NO_ANSWER as error:
            # After any other error the request may have arrived: errors also happen while it is
            # written, or while its answer is awaited or read. OSError includes the TimeoutError
            # of the whole answer, also after this process was stopped while it connected, and TLS
            # records that break after the handshake.
            is_unsent = events.prove_not_sent or isinstance(error, _CERTAINLY_NOT_SENT)
            kind = NotSent if is_unsent else AnswerLost
            trace_request(request, kind.unanswered, self._clock.monotonic() - sent_at)
            raise kind(request, message=self._safe(error)) from None
        headers = dict(response.headers)
        answer = Answer(
            method,
            bare,
            sent_at,
            first_byte,
            response.status_code,
            headers,
            content,
        )
        trace_request(request, answer.status, self._clock.monotonic() - sent_at)
        if self.on_answer is not None:
            self.on_answer(answer)
        return self._accepted(answer, sent, received)

    def _accepted(self, answer: Answer, sent: datetime, received: datetime) -> Answer:
        """Return an answer that is a success, or raise its error.

        Both times are by this machine's clock.

        Where a 202 is handled: here the answer `continues`. `Operation.send` enters that in the
        ledger, and `SnapshotOperation` and `RestoreOperation` wait for the end.
        """
        envelope: _Envelope | None = None
        # pydantic's own parser refuses a text that was cut within a character.
        with suppress(ValueError, RecursionError):
            envelope = _Envelope.model_validate(json.loads(answer.content))
        code = envelope.code if envelope else None
        if envelope:
            # Without an envelope the answer may come from a proxy, with the proxy's clock.
            answer.sent_within = self._observe_time(answer, sent, received)
        answer.continues = answer.status == httpx.codes.ACCEPTED or code in PROCESSING
        is_content = answer.continues or (
            envelope is not None and envelope.status == "success"
        )
        if envelope and httpx.codes.is_success(answer.status) and is_content:
            answer.response = envelope.response
            return answer
        raise self._error_of(answer, envelope, received)

    def _error_of(
        self,
        answer: Answer,
        envelope: _Envelope | None,
        received: datetime,
    ) -> SquareCloudError:
        """The error that an answer is; its envelope is None if it cannot be read."""
        code = envelope.code if envelope else None
        message = envelope.message if envelope else None
        error = error_for(
            f"{answer.method} {answer.path}",
            answer.status,
            code=self._safe(code)[:CODE_LIMIT] if code else None,
            message=self._safe(message) if message else "",
            readable=envelope is not None,
            retry_after=_retry_after(answer.headers.get("retry-after", "")),
            now=received,
        )
        error.sent_within = answer.sent_within
        return error

    def _observe_time(
        self, answer: Answer, sent: datetime, received: datetime
    ) -> TimeSpan | None:
        """Learn the service's time from an answer; return when its request was sent."""
        date = http_date(answer.headers.get("date"))
        # An answer with an age is from a cache, with the time when the cache got it.
        if "age" in answer.headers:
            date = None
        return self.service_clock.observe(date, sent, received)

    def _safe(self, text: object) -> str:
        """`text` on one line and without the API key."""
        return one_line(text).replace(self._api_key, "[key]")


def _retry_after(text: str) -> float | None:
    """Return the seconds in `Retry-After`.

    Returns:
        None without a header, or if it says zero: a refused request is never sent again at once.
    """
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(seconds, RETRY_AFTER_LIMIT) if 0 < seconds < math.inf else None


def _from_response(read: Callable[[Any], T]) -> Callable[[Answer], T]:
    """Read the envelope's response in place of the whole answer."""
    return lambda answer: read(answer.response)


def _path(database_id: str, *more: str) -> str:
    return "/".join(("databases", quote(database_id, safe=""), *more))
