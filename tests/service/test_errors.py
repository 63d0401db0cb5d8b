"""The text and the reaction for every answer that the service or a proxy may give."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import Next, Step
from pulumi_snapshots.ledger.service_clock import ServiceClock
from pulumi_snapshots.service import errors
from pulumi_snapshots.service.errors import SquareCloudError, error_for
from pulumi_snapshots.service.transport import Transport
from tests.support.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "sq-" + "k3y" * 30
PATH = "databases/a14b8d5e1cb7405a851eb4c075506121/snapshots"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HTML = "<html><head><title>502 Bad Gateway</title></head></html>"


def answered(answer: httpx.Response | Callable[[httpx.Request], httpx.Response], method: str = "POST") -> Any:
    """What a transport makes of an answer: its result, or the error."""

    async def send() -> Any:
        clock = Clock()
        handler = answer if callable(answer) else lambda _request: answer
        transport = Transport(
            "https://api.example/v2", KEY, clock, ServiceClock(clock), http=httpx.MockTransport(handler)
        )
        try:
            return await transport.send(method, PATH, read_timeout=30)
        except SquareCloudError as error:
            return error
        finally:
            await transport.close()

    return run_virtual(send)


def error_of(answer: httpx.Response) -> SquareCloudError:
    error = answered(answer)
    assert isinstance(error, SquareCloudError)
    return error


def refusal(status: int, code: str | None, **more: Any) -> httpx.Response:
    body = {"status": "error", **({"code": code} if code else {}), **more}
    return httpx.Response(status, json=body)


@dataclass(frozen=True)
class Case:
    """An answer and what it means; `body` is the code of an envelope, or a body that is none."""

    status: int
    body: str | bytes | None
    name: str
    says: str
    ambiguous: bool = False
    passing: bool = False


def plain(status: int, code: str | None, name: str, says: str, **more: bool) -> Case:
    return Case(status, code, name, says, **more)


def doubtful(status: int, code: str | bytes | None, name: str, says: str) -> Case:
    return Case(status, code, name, says, ambiguous=True, passing=True)


CASES = [
    plain(401, "ACCESS_DENIED", "KeyRefused", "SQUARECLOUD_API_KEY"),
    plain(401, "INVALID_ACCESS_TOKEN", "KeyRefused", "pulumi config set --secret squarecloud:apiKey"),
    plain(401, "SOMETHING_NEW", "KeyRefused", "unknown, revoked or expired"),
    plain(401, None, "KeyRefused", "nothing more is sent"),
    Case(401, b"<html>", "KeyRefused", "Set a valid key"),
    plain(403, "MISSING_SCOPE", "NotAllowed", "snapshots:write"),
    plain(403, "RESOURCE_NOT_ALLOWED", "NotAllowed", "may use this database"),
    plain(403, "PERMISSION_DENIED", "NotAllowed", "not allowed"),
    plain(403, "SOMETHING_NEW", "NotAllowed", "not allowed"),
    Case(403, b"<!DOCTYPE html><title>Just a moment...</title>", "ProxyRefused", "not the reason"),
    Case(403, b"error code: 1020", "ProxyRefused", "Run it from another network"),
    plain(403, "RESTORE_IN_PROGRESS", "RestoreRunning", "hint: Run it again after"),
    plain(409, "RESTORE_IN_PROGRESS", "RestoreRunning", "less than about 2 minutes ago."),
    plain(409, "SNAPSHOT_IN_PROGRESS", "SnapshotRunning", "is being taken."),
    plain(
        404, "SNAPSHOT_CORRUPT", "RestoreFailed", "The snapshot is damaged. What the database holds now is not known."
    ),
    plain(500, "RESTORE_INTERRUPTED", "RestoreFailed", "node restarted before it was over"),
    plain(404, "CONTAINER_NOT_FOUND", "RequestRefused", "does not find the database's container"),
    plain(409, "CLUSTER_MAINTENANCE_TRY_LATER", "RequestRefused", "hint: Run it again after"),
    plain(404, "DATABASE_NOT_FOUND", "DatabaseMissing", "Check database_id"),
    plain(404, "SNAPSHOT_FAILED", "SnapshotFailed", "running and healthy"),
    plain(500, "SNAPSHOT_FAILED", "SnapshotFailed", "could not capture"),
    plain(200, "SNAPSHOT_FAILED", "SnapshotFailed", "could not capture"),
    plain(404, "SOMETHING_NEW", "RequestRefused", "service's support can say more"),
    plain(404, "SNAPSHOT_NOT_FOUND", "RequestRefused", "Check the version id"),
    plain(404, "SNAPSHOT_RESTORE_FAILED", "RestoreFailed", "could not restore"),
    plain(400, "SNAPSHOT_DATABASE_MISMATCH", "RequestRefused", "database of the same engine"),
    plain(400, "INVALID_VERSION_ID", "RequestRefused", "INVALID_VERSION_ID"),
    plain(400, "DATABASE_NOT_RUNNING", "RequestRefused", "Start the database"),
    plain(200, "SOMETHING_NEW", "RequestRefused", "200 SOMETHING_NEW"),
    plain(429, "KEEP_CALM", "Cooldown", "Run it again after", passing=True),
    plain(429, "DAILY_SNAPSHOTS_LIMIT_REACHED", "QuotaUsedUp", "A slot frees 24 hours after"),
    plain(429, "RATE_LIMITED", "Blocked", "Run it again after", passing=True),
    plain(429, "RATE_LIMIT", "Blocked", "squarecloud:requestsForOthers", passing=True),
    plain(429, "RATE_LIMIT_EXCEEDED", "Blocked", "too many requests", passing=True),
    plain(429, "SOMETHING_NEW", "Blocked", "Run it again after", passing=True),
    Case(429, b"slow down", "Blocked", "Run it again after", passing=True),
    plain(402, "UPGRADE_REQUIRED", "UpgradeRequired", "larger plan"),
    plain(402, "SOMETHING_NEW", "UpgradeRequired", "larger plan"),
    plain(403, "UPGRADE_REQUIRED", "UpgradeRequired", "larger plan"),
    plain(500, "SOMETHING_NEW", "ServiceFailed", "support", passing=True),
    plain(500, None, "ServiceFailed", "Run it again later", passing=True),
    plain(501, "NOT_IMPLEMENTED", "ServiceFailed", "support", passing=True),
    *(
        doubtful(status, body, "Unavailable", "Run it again later")
        for status in (408, 499, 502, 503, 504, *range(520, 531))
        for body in (HTML.encode(), "SOMETHING_NEW", None)
    ),
    doubtful(
        503, "DATABASE_UNAVAILABLE", "Unavailable", "The service's own database is unavailable at the moment, not yours"
    ),
    doubtful(500, "DATABASE_UNAVAILABLE", "Unavailable", "The service's own database"),
    *(
        doubtful(status, code, "Unavailable", "Run it again later")
        for status in (200, 400, 403, 404, 409, 429, 500, 503)
        for code in (
            *("CLUSTER_TIMEOUT", "CLUSTER_UNAVAILABLE", "REQUEST_ABORTED", "EMPTY_RESPONSE", "VALIDATION_TIMEOUT"),
        )
    ),
    doubtful(404, "CLUSTER_TIMEOUT", "Unavailable", "The database's cluster did not answer in time"),
    doubtful(200, b"<html>", "UnreadableAnswer", "squarecloud:apiUrl"),
    doubtful(200, b"", "UnreadableAnswer", "could not be read"),
    doubtful(200, b'{"status": "success", "resp', "UnreadableAnswer", "could not be read"),
    doubtful(200, b'["success"]', "UnreadableAnswer", "could not be read"),
    doubtful(200, b'{"status": ["success"]}', "UnreadableAnswer", "could not be read"),
    doubtful(200, b'{"status": {}}', "UnreadableAnswer", "could not be read"),
    doubtful(200, b'{"status": "ok"}', "UnreadableAnswer", "could not be read"),
    doubtful(200, b"\xff\xfe\x00", "UnreadableAnswer", "could not be read"),
    doubtful(200, b"[" * 100_000, "UnreadableAnswer", "could not be read"),
    doubtful(202, b"<html>", "UnreadableAnswer", "could not be read"),
    doubtful(204, b"", "UnreadableAnswer", "could not be read"),
    doubtful(500, b"<html>", "UnreadableAnswer", "could not be read"),
    doubtful(501, b"", "UnreadableAnswer", "could not be read"),
    Case(301, b"", "Redirected", "never followed"),
    Case(302, HTML.encode(), "Redirected", "squarecloud:apiUrl"),
    Case(307, "SOMETHING_NEW", "Redirected", "never followed"),
    Case(404, b"<html>", "RequestRefused", "404"),
    Case(413, b"", "RequestRefused", "413"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.status}-{case.body!r:.30}")
def test_each_answer_has_its_reaction_and_says_what_to_do(case: Case) -> None:
    body = case.body
    answer = httpx.Response(case.status, content=body) if isinstance(body, bytes) else refusal(case.status, body)
    error = error_of(answer)
    assert type(error).__name__ == case.name
    assert (error.ambiguous, error.passing) == (case.ambiguous, case.passing)
    assert error.status == case.status
    text = PYTHON.told(error)
    assert case.says in text.replace("\n", " ")
    happened, exchange, *steps = text.splitlines()
    assert happened.endswith("."), "the meaning comes first"
    assert re.fullmatch(rf"({error.done} )?\[POST /{PATH}: {case.status}( [A-Z_]+)?\]", exchange)
    assert steps, "there is no next step"
    assert all(step.startswith("hint: ") and step.endswith(".") for step in steps)
    if isinstance(body, str):
        assert body in text, "the service's code is what a user can search for"
        assert error.code == body


def every_error() -> list[type[SquareCloudError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SquareCloudError)]


@pytest.mark.parametrize("kind", [kind for kind in every_error() if kind is not SquareCloudError])
def test_every_error_says_what_was_asked_and_what_to_do(kind: type[SquareCloudError]) -> None:
    text = PYTHON.told(kind("GET /users/me"))
    assert re.search(r"\[GET /users/me: (no answer|not sent)\]\nhint: ", text)
    assert text.endswith(".")


def test_a_key_that_the_service_repeats_is_not_shown() -> None:
    error = error_of(refusal(401, f"BAD_{KEY}", message=f"the key {KEY} is bad"))
    assert KEY not in f"{error}{error!r}{error.message}{error.code}{error.args}"
    assert "[key]" in str(error)


def test_a_long_message_is_shortened() -> None:
    error = error_of(refusal(400, "X" * 10_000, message="words " * 10_000))
    assert len(str(error)) < 800


def test_a_key_is_not_shown_in_part() -> None:
    error = error_of(refusal(400, "BAD", message="x" * 150 + KEY))
    assert KEY[:10] not in str(error)


def test_a_message_cannot_move_the_cursor_or_begin_a_line() -> None:
    error = error_of(refusal(400, "BAD", message="one\r\ntwo\x1b[2J\x07 \u202ethree"))
    assert '("one two[2J three")' in str(error)


@pytest.mark.parametrize("message", [None, 7, ["x"], {"a": 1}])
def test_a_message_that_is_no_text_is_left_out(message: object) -> None:
    assert error_of(refusal(400, "BAD", message=message)).message == ""


@pytest.mark.parametrize("code", [7, ["KEEP_CALM"], {}, ""])
def test_a_code_that_is_no_text_is_left_out(code: object) -> None:
    error = error_of(httpx.Response(400, content=json.dumps({"status": "error", "code": code})))
    assert error.code is None


@pytest.mark.parametrize(
    ("retry_after", "until"),
    [(None, "12:30:00"), (0.0, "12:00:00"), (61.0, "12:01:01")],
)
def test_a_block_says_how_long_it_lasts(retry_after: float | None, until: str) -> None:
    error = error_for("GET /users/me", 429, code="RATE_LIMITED", readable=True, retry_after=retry_after, now=NOON)
    assert f"Run it again after {until} UTC." in PYTHON.told(error)


def test_a_request_that_is_kept_back_says_that_it_was_not_sent() -> None:
    blocked = error_for("GET /a", 429, code="RATE_LIMITED", message="stop", readable=True)
    text = PYTHON.told(blocked.kept_back("POST /b", retry_after=600, now=NOON))
    assert "\n[POST /b: not sent, since another request was answered with 429 RATE_LIMITED]\n" in text
    assert "after 12:10:00 UTC" in text


def test_a_request_that_is_kept_back_explains_the_quota() -> None:
    error = error_for("POST /a", 429, code="DAILY_SNAPSHOTS_LIMIT_REACHED", readable=True)
    assert "A slot frees 24 hours after the oldest of them" in PYTHON.told(error)
    error.happened, error.then = "the plan has 2048 MB", (Next(Step.USE_LARGER_PLAN),)
    told = PYTHON.told(error.kept_back("POST /b"))
    assert re.fullmatch(r"The plan has 2048 MB\.\n\[POST /b: not sent, .*\]\nhint: A larger plan allows more\.", told)
