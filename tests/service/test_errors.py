"""The text and the reaction for every answer that the service or a proxy may give."""

import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx
import pytest

from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import Hint, HintKind
from pulumi_snapshots.service import errors
from pulumi_snapshots.service.errors import SquareCloudError, error_for, is_new
from tests.support.scripted import KEY, Service
from tests.support.virtual import run_virtual

PATH = "databases/a14b8d5e1cb7405a851eb4c075506121/snapshots"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HTML = "<html><head><title>502 Bad Gateway</title></head></html>"


def error_of(answer: httpx.Response) -> SquareCloudError:
    """What a client makes of an answer."""
    error = run_virtual(lambda: Service(answer).send(PATH))
    assert isinstance(error, SquareCloudError)
    return error


def refusal(status: int, code: str | None, **more: Any) -> httpx.Response:
    body = {"status": "error", **({"code": code} if code else {}), **more}
    return httpx.Response(status, json=body)


class Case(NamedTuple):
    """An answer and what it means; `body` is the code of an envelope, or a body that is none."""

    status: int
    body: str | bytes | None
    name: str
    says: str
    ambiguous: bool = False
    passing: bool = False


def doubtful(status: int, code: str | bytes | None, name: str, says: str) -> Case:
    return Case(status, code, name, says, ambiguous=True, passing=True)


UNREADABLE = [
    *(
        (200, body)
        for body in (
            b"",
            b'{"status": "success", "resp',
            b'["success"]',
            b'{"status": ["success"]}',
        )
    ),
    *(
        (200, body)
        for body in (
            b'{"status": {}}',
            b'{"status": "ok"}',
            b"\xff\xfe\x00",
            b"[" * 100_000,
        )
    ),
    *((202, b"<html>"), (204, b""), (500, b"<html>"), (501, b"")),
]
CASES = [
    Case(401, "ACCESS_DENIED", "KeyRefused", "SQUARECLOUD_API_KEY"),
    Case(
        401,
        "INVALID_ACCESS_TOKEN",
        "KeyRefused",
        "pulumi config set --secret squarecloud:apiKey",
    ),
    Case(401, "SOMETHING_NEW", "KeyRefused", "unknown, revoked or expired"),
    Case(401, None, "KeyRefused", "nothing more is sent"),
    Case(401, b"<html>", "KeyRefused", "Set a valid key"),
    Case(403, "MISSING_SCOPE", "NotAllowed", "snapshots:write"),
    Case(403, "RESOURCE_NOT_ALLOWED", "NotAllowed", "may use this database"),
    Case(403, "PERMISSION_DENIED", "NotAllowed", "not allowed"),
    Case(403, "SOMETHING_NEW", "NotAllowed", "not allowed"),
    Case(
        403,
        b"<!DOCTYPE html><title>Just a moment...</title>",
        "ProxyRefused",
        "not the reason",
    ),
    Case(403, b"error code: 1020", "ProxyRefused", "Run it from another network"),
    Case(403, b"<html>", "ProxyRefused", "some countries are blocked"),
    Case(403, "RESTORE_IN_PROGRESS", "RestoreRunning", "hint: Run it again after"),
    Case(
        409, "RESTORE_IN_PROGRESS", "RestoreRunning", "less than about 2 minutes ago."
    ),
    Case(409, "SNAPSHOT_IN_PROGRESS", "SnapshotRunning", "is being taken."),
    Case(
        404,
        "SNAPSHOT_CORRUPT",
        "RestoreFailed",
        "The snapshot is damaged. What the database holds now is not known.",
    ),
    Case(
        500, "RESTORE_INTERRUPTED", "RestoreFailed", "node restarted before it was over"
    ),
    Case(
        404,
        "CONTAINER_NOT_FOUND",
        "RequestRefused",
        "database's container was not found",
    ),
    Case(
        409,
        "CLUSTER_MAINTENANCE_TRY_LATER",
        "RequestRefused",
        "hint: Run it again later",
    ),
    Case(
        409,
        "CONTAINER_INSUFFICIENT_DISK_SPACE",
        "NoDiskSpace",
        "has no disk space left",
    ),
    Case(
        409,
        "CONTAINER_TEMPORARILY_SUSPENDED",
        "DatabaseSuspended",
        "is suspended for a time",
    ),
    Case(
        409,
        "CONTAINER_NETWORK_CONFLICT",
        "NetworkConflict",
        "conflicts with another network",
    ),
    Case(409, "ACTION_FAILED", "ActionFailed", "could not carry out the action"),
    Case(404, "DATABASE_NOT_FOUND", "DatabaseMissing", "Check database_id"),
    Case(404, "SNAPSHOT_FAILED", "SnapshotFailed", "running and healthy"),
    Case(500, "SNAPSHOT_FAILED", "SnapshotFailed", "could not capture"),
    Case(200, "SNAPSHOT_FAILED", "SnapshotFailed", "could not capture"),
    Case(404, "SOMETHING_NEW", "RequestRefused", "service's support can say more"),
    Case(404, "SNAPSHOT_NOT_FOUND", "RequestRefused", "Check the version id"),
    Case(404, "SNAPSHOT_RESTORE_FAILED", "RestoreFailed", "could not restore"),
    Case(
        400,
        "SNAPSHOT_DATABASE_MISMATCH",
        "RequestRefused",
        "database of the same engine",
    ),
    Case(400, "INVALID_VERSION_ID", "RequestRefused", "INVALID_VERSION_ID"),
    Case(400, "DATABASE_NOT_RUNNING", "RequestRefused", "database is not running"),
    Case(200, "SOMETHING_NEW", "RequestRefused", "200 SOMETHING_NEW"),
    Case(429, "KEEP_CALM", "Cooldown", "Run it again after", passing=True),
    Case(
        429,
        "DAILY_SNAPSHOTS_LIMIT_REACHED",
        "QuotaUsedUp",
        "A slot frees 24 hours after",
    ),
    Case(429, "RATE_LIMITED", "Blocked", "Run it again after", passing=True),
    Case(429, "RATE_LIMIT", "Blocked", "squarecloud:requestsForOthers", passing=True),
    Case(429, "RATE_LIMIT_EXCEEDED", "Blocked", "too many requests", passing=True),
    Case(429, "SOMETHING_NEW", "Throttled", "Run it again after", passing=True),
    Case(429, None, "Throttled", "no code says why", passing=True),
    Case(429, b"slow down", "Throttled", "Run it again after", passing=True),
    Case(402, "UPGRADE_REQUIRED", "UpgradeRequired", "larger plan"),
    Case(402, "SOMETHING_NEW", "UpgradeRequired", "larger plan"),
    Case(403, "UPGRADE_REQUIRED", "UpgradeRequired", "larger plan"),
    Case(500, "SOMETHING_NEW", "ServiceFailed", "support", passing=True),
    Case(500, None, "ServiceFailed", "Run it again later", passing=True),
    Case(501, "NOT_IMPLEMENTED", "ServiceFailed", "support", passing=True),
    *(
        doubtful(status, body, "Unavailable", "Run it again later")
        for status in (408, 499, 502, 503, 504, *range(520, 531))
        for body in (HTML.encode(), "SOMETHING_NEW", None)
    ),
    doubtful(
        503,
        "DATABASE_UNAVAILABLE",
        "Unavailable",
        "The service's own database is unavailable at the moment, not yours",
    ),
    doubtful(500, "DATABASE_UNAVAILABLE", "Unavailable", "The service's own database"),
    *(
        doubtful(status, code, "Unavailable", "Run it again later")
        for status in (200, 400, 403, 404, 409, 429, 500, 503)
        for code in (
            *(
                "CLUSTER_TIMEOUT",
                "CLUSTER_UNAVAILABLE",
                "REQUEST_ABORTED",
                "EMPTY_RESPONSE",
                "VALIDATION_TIMEOUT",
            ),
        )
    ),
    doubtful(
        404,
        "CLUSTER_TIMEOUT",
        "Unavailable",
        "The database's cluster did not answer in time",
    ),
    doubtful(200, b"<html>", "UnreadableAnswer", "squarecloud:apiUrl"),
    *(
        doubtful(status, body, "UnreadableAnswer", "could not be read")
        for status, body in UNREADABLE
    ),
    Case(301, b"", "Redirected", "never followed"),
    Case(302, HTML.encode(), "Redirected", "squarecloud:apiUrl"),
    Case(307, "SOMETHING_NEW", "Redirected", "never followed"),
    Case(404, b"<html>", "RequestRefused", "404"),
    Case(413, b"", "RequestRefused", "413"),
]


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.status}-{case.body!r:.30}"
)
def test_each_answer_has_its_reaction_and_says_what_to_do(case: Case) -> None:
    body = case.body
    answer = (
        httpx.Response(case.status, content=body)
        if isinstance(body, bytes)
        else refusal(case.status, body)
    )
    error = error_of(answer)
    assert type(error).__name__ == case.name
    assert (error.ambiguous, error.passing) == (case.ambiguous, case.passing)
    assert error.status == case.status
    text = PYTHON.error_text(error)
    assert case.says in text.replace("\n", " ")
    happened, exchange, *steps = text.splitlines()
    assert happened.endswith("."), "the meaning comes first"
    assert re.fullmatch(
        rf"({error.done} )?\[POST /{PATH}: {case.status}( [A-Z_]+)?\]", exchange
    )
    assert steps, "there is no next step"
    assert all(step.startswith("hint: ") and step.endswith(".") for step in steps)
    if isinstance(body, str):
        assert body in text, "the service's code is what a user can search for"
        assert error.code == body


def every_error() -> list[type[SquareCloudError]]:
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, SquareCloudError)
    ]


@pytest.mark.parametrize(
    "kind", [kind for kind in every_error() if kind is not SquareCloudError]
)
def test_every_error_says_what_was_asked_and_what_to_do(
    kind: type[SquareCloudError],
) -> None:
    text = PYTHON.error_text(kind("GET /users/me"))
    assert re.search(r"\[GET /users/me: (no answer|not sent)\]\nhint: ", text)
    assert text.endswith(".")


def test_a_key_that_the_service_repeats_is_not_shown() -> None:
    error = error_of(refusal(401, f"BAD_{KEY}", message=f"the key {KEY} is bad"))
    assert KEY not in f"{error}{error!r}{error.message}{error.code}{error.args}"
    assert "[key]" in str(error)
    error = error_of(refusal(400, "BAD", message="x" * 150 + KEY))
    assert KEY[:10] not in str(error), "not even a part of it"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        *((bad, "") for bad in (None, "", 7, ["x"], {"a": 1})),
        ("one\r\ntwo\x1b[2J\x07 \u202ethree", "one two[2J three"),
        ("words " * 10_000, ("words " * 40)[:200]),
    ],
    ids=lambda it: f"{it!r:.20}",
)
def test_a_message_is_shown_as_one_short_line(message: object, shown: str) -> None:
    error = error_of(refusal(400, "X" * 10_000, message=message))
    assert error.message == shown
    assert len(str(error)) < 800


@pytest.mark.parametrize("code", [7, ["KEEP_CALM"], {}, ""])
def test_a_code_that_is_no_text_is_left_out(code: object) -> None:
    assert (
        error_of(httpx.Response(400, json={"status": "error", "code": code})).code
        is None
    )


@pytest.mark.parametrize(
    ("retry_after", "until"),
    [(None, "12:30:00"), (0.0, "12:00:00"), (61.0, "12:01:01")],
)
def test_a_block_says_how_long_it_lasts(retry_after: float | None, until: str) -> None:
    error = error_for(
        "GET /users/me",
        429,
        code="RATE_LIMITED",
        readable=True,
        retry_after=retry_after,
        now=NOON,
    )
    assert f"Run it again after {until} UTC." in PYTHON.error_text(error)


def test_a_request_that_is_kept_back_says_that_it_was_not_sent() -> None:
    blocked = error_for(
        "GET /a", 429, code="RATE_LIMITED", message="stop", readable=True
    )
    text = PYTHON.error_text(blocked.kept_back("POST /b"))
    assert (
        "\n[POST /b: not sent, since another request was answered with 429 RATE_LIMITED]\n"
        in text
    )


def test_a_request_that_is_kept_back_explains_the_quota() -> None:
    error = error_for(
        "POST /a", 429, code="DAILY_SNAPSHOTS_LIMIT_REACHED", readable=True
    )
    assert "A slot frees 24 hours after the oldest of them" in PYTHON.error_text(error)
    error.happened = "the plan has 2048 MB"
    error.then = (Hint(HintKind.USE_LARGER_PLAN),)
    told = PYTHON.error_text(error.kept_back("POST /b"))
    assert re.fullmatch(
        r"The plan has 2048 MB\.\n\[POST /b: not sent, .*\]\nhint: A larger plan allows more\.",
        told,
    )


def test_an_error_has_a_text_without_docstrings_too() -> None:
    class DiskFull(SquareCloudError):
        __doc__ = None

    assert str(DiskFull("GET /x", status=500)) == "Disk full. [GET /x: 500]"


def test_a_failed_action_says_nothing_of_what_was_carried_out() -> None:
    """So a restore stays pending, as after a code that this package does not know."""
    assert is_new(error_for("POST /x", 409, code="ACTION_FAILED", readable=True))
    assert not is_new(
        error_for("POST /x", 409, code="CONTAINER_NETWORK_CONFLICT", readable=True)
    )
