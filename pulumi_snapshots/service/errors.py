"""What can go wrong between a client and the service: one class per reaction of the caller, and each code's meaning."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple, Self

from pulumi_snapshots.clock import system_utc
from pulumi_snapshots.errors import Explained, Next, Step, TimeOfDay
from pulumi_snapshots.properties.checks import is_usual_database_id
from pulumi_snapshots.service.limits import ACCOUNT_LISTING_BLOCK, BUDGET_WINDOW

QUOTE_LIMIT = 200
"""Characters of the service's own message that an error repeats."""
ACCOUNT_LISTING_REQUEST = "GET /users/snapshots"
"""A 429 of this request blocks this kind of request alone."""
QUOTA_UNKNOWN = 3600.0
"""Seconds that a quota counts as used up if nothing shows when a slot frees. One may free at any time, and a refused POST starts
nothing."""
# The scopes of an API key that requests need, as the OpenAPI document names them (`x-scope`).
ACCOUNT_READ = "account:read"
DATABASES_READ = "databases:read"
DATABASES_CREDENTIALS = "databases:credentials"
SNAPSHOTS_READ = "snapshots:read"
SNAPSHOTS_WRITE = "snapshots:write"


def scope_of(request: str) -> str:
    """The scope that a request needs; `request` is method and path, as in an error's text."""
    method, _, path = request.partition(" ")
    parts = path.strip("/").split("/")
    if method == "POST":
        return SNAPSHOTS_WRITE
    if parts[2:3] == ["credentials"]:
        return DATABASES_CREDENTIALS
    if parts[2:3] == ["snapshots"] or parts == ["users", "snapshots"]:
        return SNAPSHOTS_READ
    return ACCOUNT_READ if parts == ["users", "me"] else DATABASES_READ


class SquareCloudError(Explained):
    """A request that failed.

    Attributes:
        status: HTTP status of the answer; None without an answer.
        code: the service's code; None if the answer held none.
        message: the service's own words, shortened; empty if there were none.
        request: method and path, without host or query.
        retry_after: seconds that the service asked to wait; None if it did not.
        unsent: whether this request was kept back because of the answer to another.
    """

    meaning: ClassVar[str] = "the service refused it"
    effect: ClassVar[str] = ""
    """What was done, if that is more than nothing."""
    unanswered: ClassVar[str] = "no answer"
    """What the exchange shows in place of an answer."""
    wait: ClassVar[float] = 0.0
    """Seconds after which the same request may succeed, if the service does not say; 0 if no time helps."""
    steps: ClassVar[tuple[Step | Next, ...]] = ()
    ambiguous: ClassVar[bool] = False
    """Whether a request that changes something may still have been carried out."""
    passing: ClassVar[bool] = False
    """Whether the same request may succeed a little later."""

    def __init__(  # noqa: PLR0913  an answer has this many parts
        self,
        request: str,
        *,
        status: int | None = None,
        code: str | None = None,
        message: str = "",
        retry_after: float | None = None,
        meaning: str = "",
        unsent: bool = False,
        now: datetime | None = None,
    ) -> None:
        self.request, self.status, self.code, self.message = request, status, code, message[:QUOTE_LIMIT]
        self.retry_after, self.unsent = retry_after, unsent
        known = _KNOWN.get(code or "", _Known(SquareCloudError))
        steps, wait = known.steps or self.steps, known.wait or self.wait
        then = [each if isinstance(each, Next) else Next(each) for each in steps]
        if wait:
            until = (now or system_utc()) + timedelta(seconds=wait if retry_after is None else retry_after)
            then.insert(0, Next(Step.RUN_AGAIN_AFTER, time=TimeOfDay(until)))
        super().__init__(meaning or known.meaning.format(scope=scope_of(request)) or self.meaning, self.effect, then)
        answer = " ".join(str(part) for part in (status, code) if part is not None) or self.unanswered
        quoted = f' ("{self.message}")' if self.message else ""
        because = "not sent, since another request was answered with " if unsent else ""
        self.exchange = f"{request}: {because}{answer}{quoted}"

    def kept_back(self, request: str, *, retry_after: float | None = None, now: datetime | None = None) -> Self:
        """The error of `request`, which is not sent because an earlier one was answered with this one."""
        error = type(self)(request, status=self.status, code=self.code, retry_after=retry_after, unsent=True, now=now)
        if retry_after is None:
            error.happened, error.then = self.happened, self.then
        return error


class KeyRefused(SquareCloudError):
    """The API key is unknown, revoked or expired; asking again would block the address."""

    meaning = "the API key is unknown, revoked or expired, so nothing more is sent with it"
    steps = (Step.SET_KEY,)


class NotAllowed(SquareCloudError):
    """The key is valid, but not for this request (scope, resource or permission)."""

    meaning = "the API key is not allowed to do this"
    steps = (Step.USE_SCOPES, Step.USE_KEY_OF_DATABASE)


class ProxyRefused(SquareCloudError):
    """A proxy in front of the service refused the request: a 403 that is not the service's own."""

    meaning = (
        "a proxy in front of the service refused the request: it wants a captcha solved, blocks this country or network, or takes "
        "this client for a robot. The API key and its scopes are not the reason"
    )
    steps = (Step.CHANGE_NETWORK, Step.ASK_SUPPORT)


class DatabaseMissing(SquareCloudError):
    """No such database in this account."""

    meaning = "this account has no such database"
    steps = (Step.CHECK_DATABASE_ID,)

    def __init__(self, request: str, **answer: Any) -> None:
        super().__init__(request, **answer)
        named = re.search(r"/databases/([^/?]+)", request)
        if named and not is_usual_database_id(named[1]):  # the service's examples have other ids, so it is asked first
            self.happened = f"{named[1]!r} is no database id: an id has 32 hexadecimal digits"
            self.then = (Next(Step.SHOW_DATABASES),)


class SnapshotFailed(SquareCloudError):
    """The service tried and could not capture the snapshot."""

    meaning = "the service could not capture the snapshot"
    steps = (Step.CHECK_HEALTH, Step.RUN_AGAIN)


class RestoreFailed(SquareCloudError):
    """The service tried and could not restore the snapshot; what the database holds now is not known."""

    meaning = "the service could not restore the snapshot"
    effect = "What the database holds now is not known."
    steps = (Step.RESTORES_NEXT, Step.CHECK_DATA, Step.CHECK_HEALTH)

    @classmethod
    def reported(cls, restore: str, database_id: str, code: str, step: str | None = None) -> Self:
        """The error of a restore that was accepted and then failed, as the service's status says.

        Args:
            restore: which restore; a clause without its verb.
            database_id: the database whose snapshot it was.
            code: the service's code.
            step: what the service was doing; None if it did not say.
        """
        known = _KNOWN.get(code)
        alike = (known.reaction if known else cls)("POST", code=code)
        error = cls("status of the restore", code=code, meaning=f"{restore} failed: {alike.happened}")
        if step and step != "interrupted":
            error.exchange += f" in step {step}"
        again = (Next(Step.RESTORES_NEXT), Next(Step.CHECK_DATA))
        if code == "SNAPSHOT_CORRUPT":  # to restore it again would be no advice
            again = (Next(Step.RESTORE_ANOTHER, database=database_id), Next(Step.CHECK_DATA))
            alike.then = ()
        error.then = tuple(dict.fromkeys((*again, *(alike.then if known else (Next(Step.ASK_SUPPORT),)))))
        return error


class Cooldown(SquareCloudError):
    """A short cooldown; the request was not accepted."""

    meaning = (
        "a short cooldown is running (1 snapshot per 5 s per account and per 180 s per database, "
        "1 restore per 60 s per account and per 120 s per database)"
    )
    wait = 180.0
    passing = True


class QuotaUsedUp(SquareCloudError):
    """The plan's daily snapshots are used up; account-wide.

    Attributes:
        frees: when a slot frees, as far as that is known.
    """

    frees: datetime | None = None

    meaning = "the plan's daily allowance of snapshots is used up ((plan RAM in MB / 256) x 2 in any 24 hours, for the whole account)"
    steps = (Next(Step.WAIT_FOR_SLOT, when="24 hours after the oldest of them"), Step.USE_LARGER_PLAN)

    def lasts(self, seconds: float, now: datetime) -> bool:
        """Whether it is still used up, some seconds after this was answered, at this time of the service."""
        return seconds < QUOTA_UNKNOWN if self.frees is None else now < self.frees


class Blocked(SquareCloudError):
    """The account-wide request budget was passed: no client may send until the block is over."""

    meaning = "the account sent too many requests and is blocked"
    wait = 1800.0
    steps = (Step.LEAVE_MORE_TO_OTHERS,)
    passing = True


class ListingBlocked(Blocked):
    """The account's listing was requested too often; the service refuses this listing alone for a while."""

    meaning = "the account's listing was requested too often and is blocked, while other requests continue"
    wait = 300.0
    steps = (Step.GIVE_DATABASE,)
    passing = False


class RestoreRunning(SquareCloudError):
    """A restore of this database is under way, or ended a moment ago; the request was not accepted."""

    meaning = "a restore of this database is under way, or ended less than about 2 minutes ago"
    wait = 180.0


class SnapshotRunning(SquareCloudError):
    """A snapshot of this database is being taken, by anyone; the request was not accepted."""

    meaning = "another snapshot of this database is being taken"
    wait = 180.0


class UpgradeRequired(SquareCloudError):
    """The account's plan does not include the request."""

    meaning = "the account's plan does not include this"
    steps = (Step.USE_LARGER_PLAN,)


class RequestRefused(SquareCloudError):
    """Any other refusal, such as one with a code that is new; see `is_new`."""

    meaning = "the service refused the request"
    steps = (Step.ASK_SUPPORT,)


class ServiceFailed(SquareCloudError):
    """The service failed and said so, mostly with a code that is new; a poll may succeed later. See `is_new`."""

    meaning = "the service failed to carry it out"
    steps = (Step.RUN_AGAIN_LATER, Step.ASK_SUPPORT)
    passing = True


class Unavailable(SquareCloudError):
    """The service or a proxy before it is down; a request that changes something may have been carried out."""

    meaning = "the service is not available"
    steps = (Step.RUN_AGAIN_LATER,)
    ambiguous = True
    passing = True


class UnreadableAnswer(SquareCloudError):
    """An answer came, but not one that can be read; a request that changes something may have been carried out."""

    meaning = "the answer could not be read"
    steps = (Step.RUN_AGAIN_LATER, Step.CHECK_ADDRESS)
    ambiguous = True
    passing = True


class AnswerLost(SquareCloudError):
    """The request was sent, but no answer came back; it may have been carried out."""

    meaning = "the request was sent, but its answer was lost"
    steps = (Step.RUN_AGAIN_LATER,)
    ambiguous = True
    passing = True


class NotSent(SquareCloudError):
    """The request certainly never left this machine."""

    meaning = "the service could not be reached, so nothing was sent"
    unanswered = "not sent"
    steps: ClassVar[tuple[Step | Next, ...]] = (Step.CHECK_ADDRESS, Step.RUN_AGAIN)
    passing = True


class ClaimTooOld(NotSent):
    """The request was kept back, since so much time has passed since it was claimed that others may have sent one."""

    meaning = (
        "the request was not sent: this machine slept, or the ledger was slow, between writing it down and sending it"
    )
    steps = (Step.RUN_AGAIN,)


class Outage(SquareCloudError):
    """Not sent: the service failed for the requests before this one, and no listing request succeeded since."""

    meaning = "the service is returning errors: requests for other snapshots failed, and no listing request has succeeded for 2 minutes"
    unanswered = "not sent"
    steps = (Step.RUN_AGAIN_LATER,)


class Redirected(SquareCloudError):
    """A redirect; never followed, because the API key must not reach another host."""

    meaning = "the request was redirected, which is never followed with the API key"
    steps = (Step.SET_ADDRESS,)


class _Known(NamedTuple):
    """What a code of the service means; the meaning may hold `{scope}`, the scope that the request needs."""

    reaction: type[SquareCloudError]
    meaning: str = ""
    steps: tuple[Step | Next, ...] = ()
    wait: float = 0.0


def _refused(meaning: str, *steps: Step, wait: float = 0.0) -> _Known:
    return _Known(RequestRefused, meaning, steps, wait)


_KNOWN = {
    "ACCESS_DENIED": _Known(KeyRefused),
    "INVALID_ACCESS_TOKEN": _Known(KeyRefused),
    "MISSING_SCOPE": _Known(NotAllowed, "the API key lacks the scope {scope}", (Step.USE_KEY_WITH_SCOPE,)),
    "RESOURCE_NOT_ALLOWED": _Known(
        NotAllowed, "the API key is limited to other resources", (Step.USE_KEY_OF_DATABASE,)
    ),
    "PERMISSION_DENIED": _Known(NotAllowed),
    "DATABASE_NOT_FOUND": _Known(DatabaseMissing),
    "SNAPSHOT_FAILED": _Known(SnapshotFailed),
    "SNAPSHOT_IN_PROGRESS": _Known(SnapshotRunning),
    "KEEP_CALM": _Known(Cooldown),
    "DAILY_SNAPSHOTS_LIMIT_REACHED": _Known(QuotaUsedUp),
    "RATE_LIMITED": _Known(Blocked),
    "RATE_LIMIT": _Known(Blocked),
    "RATE_LIMIT_EXCEEDED": _Known(Blocked),
    "RESTORE_IN_PROGRESS": _Known(RestoreRunning),
    "UPGRADE_REQUIRED": _Known(UpgradeRequired),
    "DATABASE_UNAVAILABLE": _Known(Unavailable, "the service's own database is unavailable at the moment, not yours"),
    # None of these says what was carried out until then, whatever its status.
    "CLUSTER_TIMEOUT": _Known(Unavailable, "the database's cluster did not answer in time"),
    "CLUSTER_UNAVAILABLE": _Known(Unavailable, "the database's cluster is not available"),
    "REQUEST_ABORTED": _Known(Unavailable, "the service gave up on the request"),
    "EMPTY_RESPONSE": _Known(Unavailable, "the database's cluster answered with nothing"),
    "VALIDATION_TIMEOUT": _Known(Unavailable, "the service's check of the request took too long"),
    "SNAPSHOT_RESTORE_FAILED": _Known(RestoreFailed),
    "SNAPSHOT_CORRUPT": _Known(
        RestoreFailed, "the snapshot is damaged", (Next(Step.RESTORE_ANOTHER, database="DATABASE"),)
    ),
    "RESTORE_INTERRUPTED": _Known(
        RestoreFailed, "the service's node restarted before it was over", (Step.RESTORES_NEXT, Step.CHECK_DATA)
    ),
    "DATABASE_NOT_RUNNING": _refused("the database is not running", Step.START_DATABASE, Step.RUN_AGAIN),
    "SNAPSHOT_NOT_FOUND": _refused("the service has no such snapshot", Step.CHECK_VERSION_ID),
    "CONTAINER_NOT_FOUND": _refused(
        "the service does not find the database's container", Step.CHECK_HEALTH, Step.ASK_SUPPORT
    ),
    "CLUSTER_MAINTENANCE_TRY_LATER": _refused("the database's cluster is under maintenance", wait=600.0),
    "SNAPSHOT_DATABASE_MISMATCH": _refused("the snapshot is of another database engine", Step.USE_SAME_ENGINE),
    "INVALID_SNAPSHOT_ID": _refused("the service does not accept this snapshot name", Step.USE_LISTED_NAME),
    "INVALID_VERSION_ID": _refused(
        "the service does not accept this version id (it has 24 to 96 characters)", Step.CHECK_VERSION_ID
    ),
}


def is_known(code: str | None) -> bool:
    """Whether a code's meaning is known."""
    return code in _KNOWN


def is_new(error: SquareCloudError) -> bool:
    """Whether an answer fails a request without saying by a known code what was carried out until then."""
    return isinstance(error, RequestRefused | ServiceFailed) and not is_known(error.code)


_SURELY_UNAVAILABLE = frozenset({408, 499, 502, 503, 504, *range(520, 531)})
"""408 and 499 are sent by proxies that gave up on a request that may well have got through; of 520 to 530 a proxy could not reach
or understand the service."""
_BY_STATUS: dict[int, type[SquareCloudError]] = {401: KeyRefused, 402: UpgradeRequired, 403: NotAllowed, 429: Blocked}
"""An unknown 429 may come from a proxy's own limit: the careful reaction is to send nothing for a while."""


def error_for(  # noqa: PLR0913  an answer has this many parts
    request: str,
    status: int,
    *,
    code: str | None,
    message: str = "",
    readable: bool,
    retry_after: float | None = None,
    now: datetime | None = None,
) -> SquareCloudError:
    """The error that an answer of the service is, see `SquareCloudError`; `readable` if its body was the service's envelope."""
    known = _KNOWN.get(code or "")
    is_client_error = 400 <= status < 500  # noqa: PLR2004  a refusal, even from a proxy
    reaction: type[SquareCloudError]
    if status in _SURELY_UNAVAILABLE:
        # Whatever the body says: these can be sent after a request was carried out.
        reaction = Unavailable
    elif 300 <= status < 400:  # noqa: PLR2004  the redirects
        reaction = Redirected
    elif not readable and not is_client_error:
        reaction = UnreadableAnswer
    elif known is not None:
        reaction = known.reaction
    elif status == 403 and not readable:  # noqa: PLR2004  the service's own refusals have its envelope
        reaction = ProxyRefused
    else:
        reaction = _BY_STATUS.get(status, ServiceFailed if status >= 500 else RequestRefused)  # noqa: PLR2004  a server's failure
    if reaction is Blocked and request == ACCOUNT_LISTING_REQUEST:
        reaction = ListingBlocked
        retry_after = ACCOUNT_LISTING_BLOCK if retry_after is None else max(retry_after, BUDGET_WINDOW)
    return reaction(request, status=status, code=code, message=message, retry_after=retry_after, now=now)
