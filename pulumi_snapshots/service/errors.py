"""What can go wrong between a client and the service: one class per reaction of the caller, and each code's meaning."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple, Self

from pulumi_snapshots.clock import TimeSpan, system_utc
from pulumi_snapshots.errors import Answered, Explained, Next, Step, Text, Words
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


class SquareCloudError(Explained):
    """The service refused `request`, which is method and path, without host or query.

    `status` and `code` are those of the answer, if there was one and it held them; `message` are the service's own words,
    shortened; `retry_after` the seconds that it asked to wait; `unsent` says that this request was kept back because of the
    answer to another.
    """

    meaning: ClassVar[str]
    effect: ClassVar[str] = ""  # what was done, if that is more than nothing
    unanswered: ClassVar[str] = "no answer"  # what the exchange shows in place of an answer
    # seconds after which it may succeed, if the service does not say; 0 if no time helps
    wait: ClassVar[float] = 0.0
    is_block: ClassVar[bool] = False  # whether that holds up requests of all kinds
    steps: ClassVar[tuple[Step | Next, ...]] = ()
    # whether a request that changes something may still have been carried out
    ambiguous: ClassVar[bool] = False
    passing: ClassVar[bool] = False  # whether the same request may succeed a little later
    # Within which times of the service the request was sent, as the `Date` of the answer shows.
    sent_within: TimeSpan | None = None

    def __init_subclass__(cls, codes: tuple[str, ...] = (), **attributes: Any) -> None:
        named = re.sub(
            "(?<=[a-z])(?=[A-Z])", " ", cls.__name__
        ).lower()  # `python -OO` drops docstrings
        first = (cls.__doc__ or named).partition("\n")[0].rstrip(".")
        for name, value in {"meaning": first[:1].lower() + first[1:], **attributes}.items():
            setattr(cls, name, value)
        _KNOWN.update(dict.fromkeys(codes, _Known(cls)))

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
        then: Sequence[Step | Next] = (),
    ) -> None:
        self.request, self.status, self.code, self.message = (
            request,
            status,
            code,
            message[:QUOTE_LIMIT],
        )
        self.retry_after, self.unsent = retry_after, unsent
        known = _KNOWN.get(code or "", _Known(type(self)))
        then = then or known.steps or self.steps
        scope = next(each for begins, each in _SCOPES.items() if re.match(begins, request))
        explanation: Words = meaning or known.meaning.format(scope=scope) or self.meaning
        if self.wait:
            seconds = self.wait if retry_after is None else retry_after
            until = (now or system_utc()) + timedelta(seconds=seconds)
            then = Next(Step.RUN_AGAIN_AFTER, time=until), *then
            if self.is_block:
                explanation = Text("{it} until {until}", it=explanation, until=until)
        super().__init__(explanation, self.effect, then)
        self.args = (request,)  # `copy` makes an error of these, and then gives it the attributes
        self.describe(explanation)
        answer = self.answer or self.unanswered
        quoted = f' ("{self.message}")' if self.message else ""
        because = "not sent, since another request was answered with " if unsent else ""
        self.exchange = f"{request}: {because}{answer}{quoted}"

    @property
    def answer(self) -> str:
        """The answer's status and code, such as `404 DATABASE_NOT_FOUND`; empty if there was no answer."""
        return " ".join(str(part) for part in (self.status, self.code) if part is not None)

    def describe(self, explanation: Words) -> None:
        """Say what the answer means in other words.

        Args:
            explanation: A clause without the answer's status and code, which follow it in every text.
        """
        self.explanation = explanation
        self.happened = Answered(explanation, self.answer) if self.answer else explanation

    def kept_back(self, request: str) -> Self:
        """The error of `request`, which is not sent because an earlier one was answered with this one."""
        error = type(self)(request, status=self.status, code=self.code, unsent=True)
        error.happened, error.then = self.happened, self.then
        return error


class _Known(NamedTuple):
    """What a code of the service means; the meaning may hold `{scope}`, the scope that the request needs."""

    kind: type[SquareCloudError]
    meaning: str = ""
    steps: tuple[Step | Next, ...] = ()


_KNOWN = dict[str, _Known]()
BLOCK_CODE = "RATE_LIMITED"
"""What the service calls a block; runs tell each other that there is one, and not with which code."""


# The first line of each docstring is what the error says; those with `codes` are what these codes of the service mean.
class KeyRefused(
    SquareCloudError, steps=(Step.SET_KEY,), codes=("ACCESS_DENIED", "INVALID_ACCESS_TOKEN")
):
    """The API key is unknown, revoked or expired, so nothing more is sent with it."""


class NotAllowed(
    SquareCloudError,
    steps=(Step.USE_SCOPES, Step.USE_KEY_OF_DATABASE),
    codes=("PERMISSION_DENIED",),
):
    """The API key is not allowed to do this."""


class ProxyRefused(SquareCloudError, steps=(Step.CHANGE_NETWORK, Step.ASK_SUPPORT)):
    """A proxy in front of the service refused the request: it wants a captcha solved, blocks this country or network, or takes this client for a robot. The API key and its scopes are not the reason."""


class DatabaseMissing(
    SquareCloudError,
    steps=(Step.CHECK_DATABASE_ID, Step.SHOW_DATABASES),
    codes=("DATABASE_NOT_FOUND",),
):
    """This account has no such database."""


class SnapshotFailed(
    SquareCloudError, steps=(Step.CHECK_HEALTH, Step.RUN_AGAIN), codes=("SNAPSHOT_FAILED",)
):
    """The service could not capture the snapshot."""


class RestoreFailed(
    SquareCloudError,
    effect="What the database holds now is not known.",
    steps=(Step.RESTORES_NEXT, Step.CHECK_DATA, Step.CHECK_HEALTH),
    codes=("SNAPSHOT_RESTORE_FAILED",),
):
    """The service could not restore the snapshot."""

    @classmethod
    def reported(cls, restore: str, database_id: str, code: str, step: str | None = None) -> Self:
        """The error of a `restore`, a clause without its verb, of a database's snapshot: it was accepted and then failed."""
        known = _KNOWN.get(code, _Known(cls, steps=(Step.ASK_SUPPORT,)))
        steps: list[Step | Next] = [
            Step.RESTORES_NEXT,
            Step.CHECK_DATA,
            *(known.steps or known.kind.steps),
        ]
        if code == "SNAPSHOT_CORRUPT":  # to restore it again would be no advice
            steps = [Next(Step.RESTORE_ANOTHER, database=database_id), Step.CHECK_DATA]
        meaning = f"{restore} failed: {known.meaning or known.kind.meaning}"
        error = cls(
            "status of the restore", code=code, meaning=meaning, then=[*dict.fromkeys(steps)]
        )
        error.exchange += f" in step {step}" if step and step != "interrupted" else ""
        return error


class Cooldown(SquareCloudError, wait=180.0, passing=True, codes=("KEEP_CALM",)):
    """A short cooldown is running (1 snapshot per 5 s per account and per 180 s per database, 1 restore per 60 s per account and per 120 s per database)."""


class QuotaUsedUp(
    SquareCloudError,
    steps=(
        Next(Step.WAIT_FOR_SLOT, when="24 hours after the oldest of them"),
        Step.USE_LARGER_PLAN,
    ),
    codes=("DAILY_SNAPSHOTS_LIMIT_REACHED",),
):
    """The plan's daily allowance of snapshots is used up: 2 for each 256 MB of its RAM in any 24 hours, for the whole account."""

    frees: datetime | None = None  # when a slot frees, as far as that is known


class Blocked(
    SquareCloudError,
    wait=1800.0,
    is_block=True,
    steps=(Step.LEAVE_MORE_TO_OTHERS,),
    passing=True,
    codes=(BLOCK_CODE, "RATE_LIMIT", "RATE_LIMIT_EXCEEDED"),
):
    """The account sent too many requests and is blocked."""


class ListingBlocked(
    Blocked, wait=ACCOUNT_LISTING_BLOCK, steps=(Step.GIVE_DATABASE,), passing=False
):
    """Other requests continue, but the account's listing was requested too often and is blocked."""


class RestoreRunning(SquareCloudError, wait=180.0, codes=("RESTORE_IN_PROGRESS",)):
    """A restore of this database is under way, or ended less than about 2 minutes ago."""


class SnapshotRunning(SquareCloudError, wait=180.0, codes=("SNAPSHOT_IN_PROGRESS",)):
    """Another snapshot of this database is being taken."""


class UpgradeRequired(SquareCloudError, steps=(Step.USE_LARGER_PLAN,), codes=("UPGRADE_REQUIRED",)):
    """The account's plan does not include this."""


class RequestRefused(SquareCloudError, steps=(Step.ASK_SUPPORT,), codes=("INVALID_SNAPSHOT_ID",)):
    """The service refused the request."""


class ServiceFailed(SquareCloudError, steps=(Step.RUN_AGAIN_LATER, Step.ASK_SUPPORT), passing=True):
    """The service failed to carry it out."""


class Unavailable(SquareCloudError, steps=(Step.RUN_AGAIN_LATER,), ambiguous=True, passing=True):
    """The service is not available."""


class UnreadableAnswer(
    SquareCloudError, steps=(Step.RUN_AGAIN_LATER, Step.CHECK_ADDRESS), ambiguous=True, passing=True
):
    """The answer could not be read."""


class AnswerLost(SquareCloudError, steps=(Step.RUN_AGAIN_LATER,), ambiguous=True, passing=True):
    """The request was sent, but its answer was lost."""


class NotSent(
    SquareCloudError,
    unanswered="not sent",
    steps=(Step.CHECK_ADDRESS, Step.RUN_AGAIN),
    passing=True,
):
    """The service could not be reached, so nothing was sent."""


class ClaimTooOld(NotSent, steps=(Step.RUN_AGAIN,)):
    """The request was not sent: this machine slept, or the ledger was slow, between writing it down and sending it."""


class Outage(SquareCloudError, unanswered="not sent", steps=(Step.RUN_AGAIN_LATER,)):
    """The service is returning errors: requests for other snapshots failed, and no listing request has succeeded for 2 minutes."""


class Redirected(SquareCloudError, steps=(Step.CHECK_ADDRESS,)):
    """The request was redirected, which is never followed with the API key."""


_MEANINGS: dict[str, tuple[Any, ...]] = {
    "MISSING_SCOPE": (NotAllowed, "the API key lacks the scope {scope}", Step.USE_SCOPES),
    "RESOURCE_NOT_ALLOWED": (
        NotAllowed,
        "the API key is limited to other resources",
        Step.USE_KEY_OF_DATABASE,
    ),
    # None of these says what was carried out until then, whatever its status.
    "DATABASE_UNAVAILABLE": (
        Unavailable,
        "the service's own database is unavailable at the moment, not yours",
    ),
    "CLUSTER_TIMEOUT": (Unavailable, "the database's cluster did not answer in time"),
    "CLUSTER_UNAVAILABLE": (Unavailable, "the database's cluster is not available"),
    "REQUEST_ABORTED": (Unavailable, "the service gave up on the request"),
    "EMPTY_RESPONSE": (Unavailable, "the database's cluster answered with nothing"),
    "VALIDATION_TIMEOUT": (Unavailable, "the service's check of the request took too long"),
    "SNAPSHOT_CORRUPT": (
        RestoreFailed,
        "the snapshot is damaged",
        Next(Step.RESTORE_ANOTHER, database="DATABASE"),
    ),
    "RESTORE_INTERRUPTED": (RestoreFailed, "the service's node restarted before it was over"),
    "DATABASE_NOT_RUNNING": (
        RequestRefused,
        "the database is not running",
        Step.CHECK_HEALTH,
        Step.RUN_AGAIN,
    ),
    "SNAPSHOT_NOT_FOUND": (
        RequestRefused,
        "the service has no such snapshot",
        Step.CHECK_VERSION_ID,
    ),
    "CONTAINER_NOT_FOUND": (
        RequestRefused,
        "the database's container was not found",
        Step.CHECK_HEALTH,
    ),
    "CLUSTER_MAINTENANCE_TRY_LATER": (
        RequestRefused,
        "the cluster is under maintenance",
        Step.RUN_AGAIN_LATER,
    ),
    "SNAPSHOT_DATABASE_MISMATCH": (
        RequestRefused,
        "the snapshot is of another database engine",
        Step.USE_SAME_ENGINE,
    ),
    "INVALID_VERSION_ID": (
        RequestRefused,
        "the service does not accept this version id",
        Step.CHECK_VERSION_ID,
    ),
}
_KNOWN |= {
    code: _Known(kind, meaning, tuple(steps)) for code, (kind, meaning, *steps) in _MEANINGS.items()
}


def is_new(error: SquareCloudError) -> bool:
    """Whether an answer fails a request without saying by a known code what was carried out until then."""
    return isinstance(error, RequestRefused | ServiceFailed) and error.code not in _KNOWN


_SURELY_UNAVAILABLE = frozenset({408, 499, 502, 503, 504, *range(520, 531)})
"""408 and 499 are sent by proxies that gave up on a request that may well have got through; of 520 to 530 a proxy could not reach
or understand the service."""
_BY_STATUS: dict[int, type[SquareCloudError]] = {
    401: KeyRefused,
    402: UpgradeRequired,
    403: NotAllowed,
    429: Blocked,
}
"""An unknown 429 may come from a proxy's own limit: the careful reaction is to send nothing for a while."""


def error_for(
    request: str, status: int, *, code: str | None, readable: bool, **answer: Any
) -> SquareCloudError:
    """The error that an answer of the service is, see `SquareCloudError`; `readable` if its body was the service's envelope."""
    family, known = status // 100, _KNOWN.get(code or "")
    kind = _BY_STATUS.get(status, ServiceFailed if family == 5 else RequestRefused)  # noqa: PLR2004  a server's failure
    if (
        status in _SURELY_UNAVAILABLE
    ):  # whatever the body says: these can be sent after a request was carried out
        kind = Unavailable
    elif family == 3:  # noqa: PLR2004  the redirects
        kind = Redirected
    elif not readable and family != 4:  # noqa: PLR2004  the refusals, even from a proxy
        kind = UnreadableAnswer
    elif known is not None:
        kind = known.kind
    elif status == 403 and not readable:  # noqa: PLR2004  the service's own refusals have its envelope
        kind = ProxyRefused
    if (
        kind is Blocked and request == "GET /users/snapshots"
    ):  # a 429 blocks this kind of request alone
        kind = ListingBlocked
        answer["retry_after"] = max(
            answer.get("retry_after") or ACCOUNT_LISTING_BLOCK, BUDGET_WINDOW
        )
    return kind(request, status=status, code=code, **answer)
