"""The errors between a client and the service.

There is one class for each reaction of the caller. Each code has a meaning.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple, Self

from pulumi_snapshots.clock import TimeSpan, system_utc
from pulumi_snapshots.errors import (
    AnsweredMessage,
    AnyMessage,
    Hint,
    HintKind,
    Message,
    ProviderError,
)
from pulumi_snapshots.service.limits import ACCOUNT_LISTING_BLOCK, BUDGET_WINDOW

QUOTE_LIMIT = 200  # characters of the service's own message that an error repeats
# The scopes of an API key that requests need, as the OpenAPI document names them (`x-scope`).
ACCOUNT_READ = "account:read"
DATABASES_READ = "databases:read"
SNAPSHOTS_READ = "snapshots:read"
SNAPSHOTS_WRITE = "snapshots:write"


_SCOPES = {
    "POST ": SNAPSHOTS_WRITE,
    "GET /databases/[^/]+/credentials": "databases:credentials",
    "GET /(databases/[^/]+|users)/snapshots": SNAPSHOTS_READ,
    "GET /users/me": ACCOUNT_READ,
    "": DATABASES_READ,
}
"""The scope that a request needs, by how its method and path begin."""


class SquareCloudError(ProviderError):
    """The service refused a request, or did not answer.

    Attributes:
        request: Method and path, without host or query.
        status: The answer's status; None without an answer.
        code: The service's code in the answer; None without a code.
        message: The service's own words, shortened.
        retry_after: The seconds that the service asked to wait; None if it did not ask.
        unsent: Whether the request was kept back because of the answer to another one.
    """

    meaning: ClassVar[str]
    effect: ClassVar[str] = ""  # what was done; empty for nothing
    # what the exchange shows in place of an answer
    unanswered: ClassVar[str] = "no answer"
    # seconds after which the request may succeed, if the service does not say; 0 if no time helps
    wait: ClassVar[float] = 0.0
    is_block: ClassVar[bool] = False  # whether requests of all kinds wait as long
    steps: ClassVar[tuple[HintKind | Hint, ...]] = ()
    # whether a request that changes something may still have been carried out
    ambiguous: ClassVar[bool] = False
    # whether the same request may succeed a little later
    passing: ClassVar[bool] = False
    # Within which times of the service the request was sent, as the `Date` of the answer shows.
    sent_within: TimeSpan | None = None

    def __init_subclass__(cls, codes: tuple[str, ...] = (), **attributes: Any) -> None:
        """Declare a kind of refusal.

        Args:
            codes: The service's codes that mean this error.
            attributes: Those of the class. Its `meaning` is the docstring's first line unless
                given.

        """
        # `python -OO` drops docstrings.
        named = re.sub("(?<=[a-z])(?=[A-Z])", " ", cls.__name__).lower()
        first = (cls.__doc__ or named).partition("\n")[0].rstrip(".")
        cls.meaning = first[:1].lower() + first[1:]
        for name, value in attributes.items():
            setattr(cls, name, value)
        KNOWN_CODES.update(dict.fromkeys(codes, _CodeMeaning(cls)))

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
        then: Sequence[HintKind | Hint] = (),
    ) -> None:
        """Explain a refusal.

        Args:
            request: Method and path, without host or query.
            status: The answer's status; None without an answer.
            code: The service's code in the answer.
            message: The service's own words, of which 200 characters are repeated.
            retry_after: Seconds that the service asked to wait.
            meaning: What the error means, a clause; that of the code or the class unless given.
            unsent: Whether the request was kept back because of the answer to another one.
            now: The time from which seconds are counted, UTC; this machine's unless given.
            then: The next steps; those of the code or the class unless given.
        """
        self.request = request
        self.status = status
        self.code = code
        self.message = message[:QUOTE_LIMIT]
        self.retry_after = retry_after
        self.unsent = unsent
        code_meaning = _code_meaning(code, type(self))
        explanation: AnyMessage = meaning or code_meaning.meaning_for(request)
        explanation = explanation or self.meaning
        steps = tuple(then) or code_meaning.steps or self.steps
        until = self._over_at(now or system_utc())
        if until is not None:
            steps = (Hint(HintKind.RUN_AGAIN_AFTER, time=until), *steps)
            if self.is_block:
                template = "{explanation} until {until}"
                explanation = Message(template, explanation=explanation, until=until)
        super().__init__(explanation, self.effect, steps)
        # `copy` calls the class with these, and then copies the attributes.
        self.args = (request,)
        self.describe(explanation)
        self.exchange = self._exchange()

    def _over_at(self, now: datetime) -> datetime | None:
        """When the request may succeed, if time helps."""
        if not self.wait:
            return None
        return now + timedelta(
            seconds=self.wait if self.retry_after is None else self.retry_after
        )

    def _exchange(self) -> str:
        """The request and its answer on one line."""
        because = ""
        if self.unsent:
            because = "not sent, since another request was answered with "
        quoted = f' ("{self.message}")' if self.message else ""
        return f"{self.request}: {because}{self.answer or self.unanswered}{quoted}"

    @property
    def answer(self) -> str:
        """The answer's status and code, such as `404 DATABASE_NOT_FOUND`.

        Empty if there was no answer.
        """
        return " ".join(
            str(part) for part in (self.status, self.code) if part is not None
        )

    def describe(self, explanation: AnyMessage) -> None:
        """Say what the answer means in other words.

        Args:
            explanation: A clause without the answer's status and code, which follow it in every
                text.

        """
        self.explanation = explanation
        self.happened = (
            AnsweredMessage(explanation, self.answer) if self.answer else explanation
        )

    def kept_back(self, request: str) -> Self:
        """Return the error of a later request that is not sent because of this answer.

        Args:
            request: Method and path.
        """
        error = type(self)(request, status=self.status, code=self.code, unsent=True)
        error.happened = self.happened
        error.then = self.then
        return error


class _CodeMeaning(NamedTuple):
    """What a code of the service means.

    The meaning may hold `{scope}`, the scope that the request needs.
    """

    kind: type[SquareCloudError]
    meaning: str = ""
    steps: tuple[HintKind | Hint, ...] = ()

    def meaning_for(self, request: str) -> str:
        """Return the meaning for a request, its method and path; empty if there is none."""
        scope = next(
            each for begins, each in _SCOPES.items() if re.match(begins, request)
        )
        return self.meaning.format(scope=scope)


KNOWN_CODES = dict[str, _CodeMeaning]()
"""What each code of the service means."""
NO_ROUTE = "ROUTE_NOT_FOUND"
"""The code of an answer to an unknown path; a service without one route can have others."""
BLOCK_CODE = "RATE_LIMITED"
"""What the service calls a block; runs tell each other of a block, but not its code."""


# The first line of each docstring is the text of the error. `codes` are the service's codes that
# mean the error.
class KeyRefused(
    SquareCloudError,
    steps=(HintKind.SET_KEY,),
    codes=("ACCESS_DENIED", "INVALID_ACCESS_TOKEN"),
):
    """The API key is unknown, revoked or expired, so nothing more is sent with it."""


class NotAllowed(
    SquareCloudError,
    steps=(HintKind.USE_SCOPES, HintKind.USE_KEY_OF_DATABASE),
    codes=("PERMISSION_DENIED",),
):
    """The API key is not allowed to do this."""


class ProxyRefused(
    SquareCloudError,
    meaning=(
        "a proxy in front of the service refused the request: some countries are blocked, some "
        "countries and networks get a captcha, and clients that seem to be bots are refused. The "
        "API key and its scopes are not the reason"
    ),
    steps=(HintKind.CHANGE_NETWORK, HintKind.ASK_SUPPORT),
):
    """The answer is a web page with the status 403, which the service itself never sends."""


class DatabaseMissing(
    SquareCloudError,
    steps=(HintKind.CHECK_DATABASE_ID, HintKind.SHOW_DATABASES),
    codes=("DATABASE_NOT_FOUND",),
):
    """This account has no such database."""


class SnapshotFailed(
    SquareCloudError,
    steps=(HintKind.CHECK_HEALTH, HintKind.RUN_AGAIN),
    codes=("SNAPSHOT_FAILED",),
):
    """The service could not capture the snapshot."""


class RestoreFailed(
    SquareCloudError,
    effect="What the database holds now is not known.",
    steps=(HintKind.RESTORES_NEXT, HintKind.CHECK_DATA, HintKind.CHECK_HEALTH),
    codes=("SNAPSHOT_RESTORE_FAILED",),
):
    """The service could not restore the snapshot."""

    @classmethod
    def reported(
        cls,
        restore: str,
        database_id: str,
        code: str,
        step: str | None = None,
    ) -> Self:
        """Make the error of a restore that was accepted and then failed.

        Args:
            restore: The restore, a clause without its verb.
            database_id: The database of the snapshot.
            code: Why the restore failed, in the service's words.
            step: What the service was doing then; None if the service does not say.

        Returns:
            The error.
        """
        unknown = _CodeMeaning(cls, steps=(HintKind.ASK_SUPPORT,))
        code_meaning = KNOWN_CODES.get(code, unknown)
        steps: list[HintKind | Hint] = [
            HintKind.RESTORE_BY_TRIGGERS,
            HintKind.CHECK_DATA,
            *(code_meaning.steps or code_meaning.kind.steps),
        ]
        # Restoring a corrupt snapshot again would be no advice.
        if code == "SNAPSHOT_CORRUPT":
            steps = [
                Hint(HintKind.RESTORE_ANOTHER, database=database_id),
                HintKind.CHECK_DATA,
            ]
        error = cls(
            "status of the restore",
            code=code,
            meaning=f"{restore} failed: {code_meaning.meaning or code_meaning.kind.meaning}",
            then=[*dict.fromkeys(steps)],
        )
        if step and step != "interrupted":
            error.exchange += f" in step {step}"
        return error


class Cooldown(
    SquareCloudError,
    meaning=(
        "a short cooldown is running (1 snapshot per 5 s per account and per 180 s per database, "
        "1 restore per 60 s per account and per 120 s per database)"
    ),
    wait=180.0,
    passing=True,
    is_later=True,
    codes=("KEEP_CALM",),
):
    """The service had a request of this account or database a moment ago."""


class Throttled(
    Cooldown,
    meaning=(
        "too many requests were sent in a moment, to the service or to a proxy; no code says why"
    ),
    wait=60.0,
):
    """A 429 without a known code, which may be of a proxy's own limit.

    Who retries a 429: `Operation.try_again` lets a POST be sent again after a cooldown, and
    `Client._get` sends a GET again. A block is not retried: `RateLimiter` keeps requests back.
    """


class QuotaUsedUp(
    SquareCloudError,
    steps=(
        Hint(HintKind.WAIT_FOR_SLOT, when="24 hours after the oldest of them"),
        HintKind.USE_LARGER_PLAN,
    ),
    meaning=(
        "the plan's daily quota of snapshots is used up: 2 for each 256 MB of its RAM in any "
        "24 hours, for the whole account"
    ),
    is_later=True,
    codes=("DAILY_SNAPSHOTS_LIMIT_REACHED",),
):
    """The account has used its quota."""

    frees: datetime | None = None  # when a slot frees, as far as that is known


class Blocked(
    SquareCloudError,
    wait=1800.0,
    is_block=True,
    steps=(HintKind.LEAVE_MORE_TO_OTHERS,),
    passing=True,
    is_later=True,
    codes=(BLOCK_CODE, "RATE_LIMIT", "RATE_LIMIT_EXCEEDED"),
):
    """The account sent too many requests and is blocked."""


class ListingBlocked(
    Blocked,
    wait=ACCOUNT_LISTING_BLOCK,
    steps=(HintKind.GIVE_DATABASE,),
    passing=False,
    is_later=False,
):
    """Other requests continue, but the account's listing was requested too often and is blocked."""


class RestoreRunning(
    SquareCloudError, wait=180.0, is_later=True, codes=("RESTORE_IN_PROGRESS",)
):
    """A restore of this database is under way, or ended less than about 2 minutes ago."""


class SnapshotRunning(
    SquareCloudError, wait=180.0, is_later=True, codes=("SNAPSHOT_IN_PROGRESS",)
):
    """Another snapshot of this database is being taken."""


class UpgradeRequired(
    SquareCloudError, steps=(HintKind.USE_LARGER_PLAN,), codes=("UPGRADE_REQUIRED",)
):
    """The account's plan does not include this."""


class NoDiskSpace(
    SquareCloudError,
    steps=(HintKind.RUN_AGAIN_LATER, HintKind.ASK_SUPPORT),
    codes=("CONTAINER_INSUFFICIENT_DISK_SPACE",),
):
    """The database's cluster has no disk space left."""


class DatabaseSuspended(
    SquareCloudError,
    steps=(HintKind.CHECK_PLAN, HintKind.RUN_AGAIN_LATER, HintKind.ASK_SUPPORT),
    codes=("CONTAINER_TEMPORARILY_SUSPENDED",),
):
    """The database is suspended for a time."""


class NetworkConflict(
    SquareCloudError,
    steps=(HintKind.RUN_AGAIN_LATER, HintKind.ASK_SUPPORT),
    codes=("CONTAINER_NETWORK_CONFLICT",),
):
    """The database's network conflicts with another network of its cluster."""


class ActionFailed(
    SquareCloudError,
    steps=(HintKind.CHECK_HEALTH, HintKind.RUN_AGAIN_LATER, HintKind.ASK_SUPPORT),
    codes=("ACTION_FAILED",),
):
    """The service could not carry out the action."""


class RequestRefused(
    SquareCloudError, steps=(HintKind.ASK_SUPPORT,), codes=("INVALID_SNAPSHOT_ID",)
):
    """The service refused the request."""


class ServiceFailed(
    SquareCloudError,
    steps=(HintKind.RUN_AGAIN_LATER, HintKind.ASK_SUPPORT),
    passing=True,
):
    """The service failed to carry it out."""


class Unavailable(
    SquareCloudError, steps=(HintKind.RUN_AGAIN_LATER,), ambiguous=True, passing=True
):
    """The service is not available."""


class UnreadableAnswer(
    SquareCloudError,
    steps=(HintKind.RUN_AGAIN_LATER, HintKind.CHECK_ADDRESS),
    ambiguous=True,
    passing=True,
):
    """The answer could not be read."""


class AnswerLost(
    SquareCloudError, steps=(HintKind.RUN_AGAIN_LATER,), ambiguous=True, passing=True
):
    """The request was sent, but its answer was lost."""


class NotSent(
    SquareCloudError,
    unanswered="not sent",
    steps=(HintKind.CHECK_ADDRESS, HintKind.RUN_AGAIN),
    passing=True,
):
    """The service could not be reached, so nothing was sent."""


class ClaimTooOld(
    NotSent,
    meaning=(
        "the request was not sent: this machine slept, or the ledger was slow, between writing it "
        "down and sending it"
    ),
    steps=(HintKind.RUN_AGAIN,),
):
    """The request must not leave any more."""


class Outage(
    SquareCloudError,
    meaning=(
        "the service is returning errors: requests for other snapshots failed, and no listing "
        "request has succeeded for 2 minutes"
    ),
    unanswered="not sent",
    steps=(HintKind.RUN_AGAIN_LATER,),
):
    """The request is kept back while the service is returning errors."""


class Redirected(SquareCloudError, steps=(HintKind.CHECK_ADDRESS,)):
    """The request was redirected, which is never followed with the API key."""


KNOWN_CODES |= {
    "MISSING_SCOPE": _CodeMeaning(
        NotAllowed, "the API key lacks the scope {scope}", (HintKind.USE_SCOPES,)
    ),
    "RESOURCE_NOT_ALLOWED": _CodeMeaning(
        NotAllowed,
        "the API key is limited to other resources",
        (HintKind.USE_KEY_OF_DATABASE,),
    ),
    # None of these says what was carried out until then, whatever its status.
    "DATABASE_UNAVAILABLE": _CodeMeaning(
        Unavailable,
        "the service's own database is unavailable at the moment, not yours",
    ),
    "CLUSTER_TIMEOUT": _CodeMeaning(
        Unavailable, "the database's cluster did not answer in time"
    ),
    "CLUSTER_UNAVAILABLE": _CodeMeaning(
        Unavailable, "the database's cluster is not available"
    ),
    "REQUEST_ABORTED": _CodeMeaning(Unavailable, "the service gave up on the request"),
    "EMPTY_RESPONSE": _CodeMeaning(
        Unavailable, "the database's cluster answered with nothing"
    ),
    "VALIDATION_TIMEOUT": _CodeMeaning(
        Unavailable, "the service's check of the request took too long"
    ),
    "SNAPSHOT_CORRUPT": _CodeMeaning(
        RestoreFailed,
        "the snapshot is damaged",
        (Hint(HintKind.RESTORE_ANOTHER, database="DATABASE"),),
    ),
    "RESTORE_INTERRUPTED": _CodeMeaning(
        RestoreFailed, "the service's node restarted before it was over"
    ),
    "DATABASE_NOT_RUNNING": _CodeMeaning(
        RequestRefused,
        "the database is not running",
        (HintKind.CHECK_HEALTH, HintKind.RUN_AGAIN),
    ),
    "SNAPSHOT_NOT_FOUND": _CodeMeaning(
        RequestRefused, "the service has no such snapshot", (HintKind.CHECK_VERSION_ID,)
    ),
    "CONTAINER_NOT_FOUND": _CodeMeaning(
        RequestRefused,
        "the database's container was not found",
        (HintKind.CHECK_HEALTH,),
    ),
    "CLUSTER_MAINTENANCE_TRY_LATER": _CodeMeaning(
        RequestRefused, "the cluster is under maintenance", (HintKind.RUN_AGAIN_LATER,)
    ),
    "SNAPSHOT_DATABASE_MISMATCH": _CodeMeaning(
        RequestRefused,
        "the snapshot is of another database engine",
        (HintKind.USE_SAME_ENGINE,),
    ),
    "INVALID_VERSION_ID": _CodeMeaning(
        RequestRefused,
        "the service does not accept this version id",
        (HintKind.CHECK_VERSION_ID,),
    ),
}


_NO_ROUTE = _CodeMeaning(
    RequestRefused, "the service has nothing at this address", (HintKind.CHECK_PATH,)
)


def _code_meaning(code: str | None, kind: type[SquareCloudError]) -> _CodeMeaning:
    """Return what a code means, or else what an error of this kind means without one."""
    if code == NO_ROUTE:
        return _NO_ROUTE
    return KNOWN_CODES.get(code or "", _CodeMeaning(kind))


def is_new(error: SquareCloudError) -> bool:
    """Tell whether an answer fails a request and leaves open what was carried out until then.

    Args:
        error: The answer, whose code is not known to fail a request.
    """
    if isinstance(error, ActionFailed):
        return True
    return (
        isinstance(error, RequestRefused | ServiceFailed)
        and error.code not in KNOWN_CODES
    )


_SURELY_UNAVAILABLE = frozenset({408, 499, 502, 503, 504, *range(520, 531)})
"""Statuses that can be sent after a request was carried out.

408 and 499 are sent by proxies that gave up on a request that may well have got through; of 520 to
530 a proxy could not reach or understand the service.
"""
_BY_STATUS: dict[int, type[SquareCloudError]] = {
    401: KeyRefused,
    402: UpgradeRequired,
    403: NotAllowed,
    429: Throttled,
}
"""What a status means without a known code.

A 429 may come from a proxy's own limit, so only the codes of a block stop other requests.
"""
_REDIRECT = 3
_REFUSAL = 4
_FAILURE = 5
"""The hundreds of a status."""
_FORBIDDEN = 403


def error_for(
    request: str,
    status: int,
    *,
    code: str | None,
    readable: bool,
    **answer: Any,
) -> SquareCloudError:
    """Return the error for an answer of the service.

    Args:
        request: Method and path, without host or query.
        status: The answer's status.
        code: Its code; None if there is none.
        readable: Whether its body was the service's envelope.
        answer: What else `SquareCloudError` takes.
    """
    kind = _kind_of(status, code, readable=readable)
    if kind is Blocked and request == "GET /users/snapshots":
        kind = ListingBlocked  # this 429 blocks this kind of request alone
        asked = answer.get("retry_after") or ACCOUNT_LISTING_BLOCK
        answer["retry_after"] = max(asked, BUDGET_WINDOW)
    return kind(request, status=status, code=code, **answer)


def _kind_of(
    status: int,
    code: str | None,
    *,
    readable: bool,
) -> type[SquareCloudError]:
    hundreds = status // 100
    meaning = KNOWN_CODES.get(code or "")
    if status in _SURELY_UNAVAILABLE:  # whatever the body says
        return Unavailable
    if hundreds == _REDIRECT:
        return Redirected
    if not readable and hundreds != _REFUSAL:  # a refusal can come from a proxy
        return UnreadableAnswer
    if meaning is not None:
        return meaning.kind
    if (
        status == _FORBIDDEN and not readable
    ):  # the service's own refusals have its envelope
        return ProxyRefused
    return _BY_STATUS.get(
        status, ServiceFailed if hundreds == _FAILURE else RequestRefused
    )
