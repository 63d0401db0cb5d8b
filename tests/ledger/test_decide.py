"""The rules of when a request may be sent, as tables: each row is a ledger, an intent, and what the operation has to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pulumi_snapshots.ledger.attempt import (
    ANSWER_WITHIN,
    FOUND_KEPT,
    KEPT,
    NOT_AWAITED,
    Attempt,
    ClaimRefused,
    Intent,
    Kind,
    Proof,
    Refusal,
    Request,
    Role,
    Status,
    decide,
    unresolved,
)
from tests.support.world import DATABASE, OTHER_DATABASE, START

OURS, OTHER = "shop::dev::ours", "shop::dev::other"
RENAMED, OTHER_STACK, OTHER_PROJECT = "shop::dev::renamed", "shop::prod::ours", "bakery::dev::ours"
COMMAND = "squarecloud-snapshots create"
VERSION = "0c2a3f0e-5a0d-4b1c-9f57-6f6a0a4f0001"
SOURCE = f"{DATABASE}/{VERSION}"
HOUR = timedelta(hours=1)


def attempt(kind: Kind = "snapshot", ago: timedelta = HOUR, *, id_: str = "earlier", **changes: Any) -> Attempt:
    """One of ours that was accepted some time ago, and that no call has proved."""
    request = Request(START - ago, changes.pop("answered", "202"), 600.0, id_)
    source = SOURCE if kind == "restore" else None
    made = Attempt(kind, OURS, DATABASE, "v1", request, unresolved(request), source)
    if "result" in changes and "status" not in changes:
        changes = {"status": Status.FOUND, "ended_at": request.posted_at, **changes}
    return replace(made, **changes)


def intent(kind: Kind = "snapshot", **changes: Any) -> Intent:
    source = SOURCE if kind == "restore" else None
    return replace(Intent(kind, OURS, DATABASE, "v1", 600.0, START, source), **changes)


def decided(there: list[Attempt], wanted: Intent) -> tuple[Role | Refusal, str]:
    """What is decided, and the id of the attempt that it is about; no id of a new one."""
    try:
        claim = decide(there, wanted, START)
    except ClaimRefused as refused:
        return refused.why, refused.attempt.id
    assert claim.is_new is (claim.role is Role.NEW)
    return claim.role, "" if claim.is_new else claim.attempt.id


NEW, RESUMED, IN_THE_WAY = (Role.NEW, ""), (Role.RESUMED, "earlier"), (Role.IN_THE_WAY, "earlier")
OVERTAKEN, SAME_NAME, DONE = ((why, "earlier") for why in (Refusal.OVERTAKEN, Refusal.RENAMED, Refusal.DONE))
MINUTE = timedelta(minutes=1)

SNAPSHOTS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[Any, str]]] = {
    # What an earlier run has left of the same resource
    "accepted": ({}, {}, RESUMED),
    "answer lost": ({"answered": "502"}, {}, RESUMED),
    "killed before its answer": ({"answered": NOT_AWAITED}, {}, RESUMED),
    "found, state not saved": ({"result": VERSION}, {}, RESUMED),
    "found, state not saved, weeks ago": ({"result": VERSION, "ago": timedelta(days=29)}, {}, RESUMED),
    "found, state not saved, a month ago": ({"result": VERSION, "ago": KEPT + HOUR}, {}, NEW),
    "pending for a month": ({"ago": KEPT + HOUR}, {}, NEW),
    "found, and a call has proved it": ({"result": VERSION, "proved": True}, {}, NEW),
    "found, and this run has seen it in a state": (
        {"result": VERSION},
        {"carried": frozenset({VERSION})},
        NEW,
    ),
    "pending, and the state has it": ({"proved": True}, {}, IN_THE_WAY),
    "pending, and this run has seen it in a state": ({}, {"carried": frozenset({"earlier"})}, IN_THE_WAY),
    "found for other triggers": ({"result": VERSION, "purpose": "v0"}, {}, NEW),
    "pending for other triggers": ({"purpose": "v0"}, {}, IN_THE_WAY),
    "another one is wanted": ({"result": VERSION}, {"fresh": True}, NEW),
    "another one is wanted while one is pending": ({}, {"fresh": True}, IN_THE_WAY),
    "another one is wanted, as by an unsaved run": ({"result": VERSION, "fresh": True}, {"fresh": True}, NEW),
    "failed": ({"status": Status.FAILED, "result": "SNAPSHOT_FAILED"}, {}, NEW),
    "as old as a guard accepts": ({"result": VERSION}, {"oldest": HOUR}, RESUMED),
    "older than a guard accepts": ({"result": VERSION}, {"oldest": HOUR - MINUTE}, NEW),
    "pending, older than a guard accepts": ({}, {"oldest": HOUR - MINUTE}, IN_THE_WAY),
    # Of others
    "another resource's is pending": ({"owner": OTHER}, {}, IN_THE_WAY),
    "another resource's is pending, and nobody will see its end": (
        {"owner": OTHER},
        {"ignored": frozenset({"earlier"})},
        NEW,
    ),
    "another resource's was found": ({"owner": OTHER, "result": VERSION}, {}, NEW),
    "another resource's was found, and its database is held": (
        {"owner": OTHER, "result": VERSION, "held_until": START + MINUTE},
        {},
        IN_THE_WAY,
    ),
    "another resource's was found, and its database was held": (
        {"owner": OTHER, "result": VERSION, "held_until": START - MINUTE},
        {},
        NEW,
    ),
    "another database's is pending": ({"database_id": OTHER_DATABASE}, {}, NEW),
    "a restore of the database is under way": ({"kind": "restore"}, {}, NEW),
    "of nobody, for nobody": ({"owner": None, "result": VERSION}, {"owner": None}, NEW),
    # Under another name
    "another name in the stack": ({"owner": RENAMED, "result": VERSION}, {}, NEW),
    "another stack": ({"owner": OTHER_STACK, "result": VERSION}, {}, SAME_NAME),
    "another stack, still pending": ({"owner": OTHER_STACK}, {}, SAME_NAME),
    "another stack, and its state has it": ({"owner": OTHER_STACK, "result": VERSION, "proved": True}, {}, NEW),
    "another stack, other triggers": ({"owner": OTHER_STACK, "result": VERSION, "purpose": "v0"}, {}, NEW),
    "another stack, begun by this very run": (
        {"owner": OTHER_STACK, "result": VERSION},
        {"began": START - 2 * HOUR},
        NEW,
    ),
    "another stack, another one is wanted": ({"owner": OTHER_STACK, "result": VERSION}, {"fresh": True}, NEW),
    "another project": ({"owner": OTHER_PROJECT, "result": VERSION}, {}, NEW),
}

RESTORED = "2026-03-01T11:01:00Z"
RESTORES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[Any, str]]] = {
    "accepted": ({}, {}, RESUMED),
    "answer lost": ({"answered": "no answer"}, {}, RESUMED),
    "done, state not saved": ({"result": RESTORED}, {}, RESUMED),
    "done, state not saved, and forced before": ({"result": RESTORED, "fresh": True}, {"fresh": True}, RESUMED),
    "done, another one is wanted": ({"result": RESTORED}, {"fresh": True}, NEW),
    "failed": ({"status": Status.FAILED, "result": "RESTORE_FAILED"}, {}, NEW),
    # An older checkpoint, of which the state knows nothing
    "done, and the state has lost it": ({"result": RESTORED, "proved": True}, {}, DONE),
    "done, and the state has lost it, weeks ago": (
        {"result": RESTORED, "proved": True, "ago": timedelta(days=29)},
        {},
        DONE,
    ),
    "done, and the state has lost it, a month ago": (
        {"result": RESTORED, "proved": True, "ago": KEPT + HOUR},
        {},
        NEW,
    ),
    "done, and another one is wanted": ({"result": RESTORED, "proved": True}, {"fresh": True}, NEW),
    "done, and a state has let it go": ({"result": RESTORED, "proved": True, "let_go": "another run"}, {}, NEW),
    "done, and another process of the run has let it go": (
        {"result": RESTORED, "proved": True, "let_go": "engine"},
        {"run": "engine"},
        RESUMED,
    ),
    "under way, and another process of the run has let it go": (
        {"proved": True, "let_go": "engine"},
        {"run": "engine"},
        RESUMED,
    ),
    "let go, and another one is wanted": (
        {"result": RESTORED, "proved": True, "let_go": "engine", "fresh": True},
        {"run": "engine", "fresh": True},
        NEW,
    ),
    "done, and a call of this run has carried it": (
        {"result": RESTORED, "proved": True},
        {"carried": frozenset({RESTORED})},
        NEW,
    ),
    "done for other triggers": ({"result": RESTORED, "proved": True, "purpose": "v0"}, {}, NEW),
    "done onto another database": ({"result": RESTORED, "proved": True, "database_id": OTHER_DATABASE}, {}, NEW),
    "done by the same command": (
        {"result": RESTORED, "proved": True, "owner": COMMAND},
        {"owner": COMMAND},
        NEW,
    ),
    # Another run has acted since
    "another run of the resource, meanwhile": ({"ago": -MINUTE, "purpose": "v2"}, {}, OVERTAKEN),
    "another run of the resource, meanwhile, done": (
        {"ago": -MINUTE, "purpose": "v2", "result": RESTORED, "proved": True},
        {},
        OVERTAKEN,
    ),
    "another run of the resource, meanwhile, onto another database": (
        {"ago": -MINUTE, "purpose": "v2", "database_id": OTHER_DATABASE},
        {},
        OVERTAKEN,
    ),
    "another run of the resource, in the same second": ({"ago": timedelta(0), "purpose": "v2"}, {}, IN_THE_WAY),
    "another run of the resource, meanwhile, failed": (
        {"ago": -MINUTE, "purpose": "v2", "status": Status.FAILED, "result": "RESTORE_FAILED"},
        {},
        NEW,
    ),
    "another resource, meanwhile": ({"ago": -MINUTE, "owner": OTHER, "purpose": "v2"}, {}, IN_THE_WAY),
    # Of others, and under another name
    "another resource's is under way": ({"owner": OTHER, "purpose": "v2"}, {}, IN_THE_WAY),
    "another resource's has failed": (
        {"owner": OTHER, "status": Status.FAILED, "result": "RESTORE_FAILED"},
        {},
        NEW,
    ),
    "another drill checks what it has restored": (
        {"owner": OTHER, "purpose": "v2", "result": RESTORED, "held_until": START + MINUTE},
        {},
        IN_THE_WAY,
    ),
    "another name": ({"owner": RENAMED, "result": RESTORED}, {}, SAME_NAME),
    "another stack": ({"owner": OTHER_STACK, "result": RESTORED}, {}, SAME_NAME),
    "another stack, still under way": ({"owner": OTHER_STACK}, {}, SAME_NAME),
    "another name, and its state has it": ({"owner": RENAMED, "result": RESTORED, "proved": True}, {}, NEW),
    "another name, another snapshot": (
        {"owner": RENAMED, "result": RESTORED, "source": f"{DATABASE}/other"},
        {},
        NEW,
    ),
    "a snapshot of the database is under way": ({"kind": "snapshot"}, {}, NEW),
}


@pytest.mark.parametrize(("earlier", "wanted", "expected"), SNAPSHOTS.values(), ids=SNAPSHOTS)
def test_a_snapshot_is_paid_for_once(earlier: dict[str, Any], wanted: dict[str, Any], expected: Any) -> None:
    assert decided([attempt(**earlier)], intent(**wanted)) == expected


@pytest.mark.parametrize(("earlier", "wanted", "expected"), RESTORES.values(), ids=RESTORES)
def test_a_restore_acts_once(earlier: dict[str, Any], wanted: dict[str, Any], expected: Any) -> None:
    assert decided([attempt(**{"kind": "restore", **earlier})], intent("restore", **wanted)) == expected


def test_a_restore_of_the_same_name_in_another_account_is_another_one() -> None:
    theirs = attempt("restore", -MINUTE, id_="theirs", database_id=OTHER_DATABASE, account="b", result=RESTORED)
    ours = attempt("restore", account="a", result=RESTORED)
    wanted = intent("restore", account="a")
    assert decided([ours, theirs], wanted) == RESUMED, "restored again, since another account has restored since"
    assert decided([theirs], wanted) == NEW, "refused for what another account does"
    rotated = intent("restore", account="whole key", carried=frozenset())
    assert decided([replace(ours, proved=True)], rotated) == DONE, "restored again after the key was rotated"


@pytest.mark.parametrize("where", [DATABASE, OTHER_DATABASE], ids=["of the database", "of another one"])
@pytest.mark.parametrize("done", [True, False])
def test_an_unsaved_restore_is_not_what_a_later_one_is_followed_by(where: str, *, done: bool) -> None:
    """Its rows are gone, or its program was about something else since: going back to it restores again."""
    changes: dict[str, Any] = {"result": RESTORED} if done else {}
    later = attempt("restore", MINUTE, id_="later", purpose="v2", database_id=where, result=RESTORED, proved=True)
    expected = NEW if done else IN_THE_WAY
    assert decided([attempt("restore", **changes), later], intent("restore")) == expected
    failed = replace(later, status=Status.FAILED)
    assert decided([attempt("restore", **changes), failed], intent("restore")) == RESUMED


def test_a_command_resumes_each_database_for_itself() -> None:
    later = attempt("restore", MINUTE, id_="later", owner=COMMAND, database_id=OTHER_DATABASE)
    assert decided([attempt("restore", owner=COMMAND), later], intent("restore", owner=COMMAND)) == RESUMED


def test_of_two_unsaved_snapshots_the_last_one_is_handed_out() -> None:
    there = [attempt(ago=2 * HOUR, id_="first", result="v1"), attempt(result="v2")]
    assert decided(there, intent()) == RESUMED
    assert decided(there[::-1], intent()) == RESUMED


def test_a_new_one_says_what_it_is_for() -> None:
    wanted = intent("restore", fresh=True, previous=START)
    new = decide([], wanted, START + timedelta(microseconds=1999)).attempt
    assert (new.kind, new.owner, new.database_id, new.purpose, new.source) == ("restore", OURS, DATABASE, "v1", SOURCE)
    assert (new.status, new.request.answered, new.request.timeout, new.request.previous) == (
        Status.SENT,
        NOT_AWAITED,
        600.0,
        START,
    )
    assert new.request.posted_at == START + timedelta(milliseconds=1), "as a state and the ledger can have it"
    assert new.id != decide([], wanted, START).attempt.id
    assert Attempt.from_document(new.to_document()) == new


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"result": VERSION, "proved": True}, FOUND_KEPT),  # so that no other attempt takes its version
        ({"result": VERSION}, KEPT),
        ({}, KEPT),
        ({"proved": True}, KEPT),
        ({"kind": "restore", "result": RESTORED, "proved": True}, KEPT),  # an older checkpoint may be imported
        ({"kind": "restore", "status": Status.FAILED, "result": "CODE", "ended_at": START - HOUR}, FOUND_KEPT),
    ],
)
def test_what_is_kept_how_long(changes: dict[str, Any], kept: timedelta) -> None:
    one = attempt(**changes)
    assert not one.is_past(START - HOUR + kept)
    assert one.is_past(START - HOUR + kept + MINUTE)


def test_the_end_counts_and_not_the_request() -> None:
    one = attempt(ago=3 * HOUR, result=VERSION, proved=True, ended_at=START)
    assert not one.is_past(START + FOUND_KEPT)


@pytest.mark.parametrize(
    ("answered", "status"),
    [
        (NOT_AWAITED, Status.SENT),
        ("202", Status.ACCEPTED),
        ("200", Status.ACCEPTED),
        ("502", Status.LOST),
        ("no answer", Status.LOST),
    ],
)
def test_how_a_request_was_answered_is_its_status(answered: str, status: Status) -> None:
    assert unresolved(Request(START, answered, 1.0, "x")) is status


def test_the_result_of_one_that_may_still_be_answered_is_not_looked_for() -> None:
    sent = attempt(answered=NOT_AWAITED, ago=timedelta(0))
    assert sent.awaits_answer(START + ANSWER_WITHIN - MINUTE)
    assert not sent.awaits_answer(START + ANSWER_WITHIN)
    assert not attempt(ago=timedelta(0)).awaits_answer(START)


PROOFS: dict[str, tuple[Proof, dict[str, Any], bool]] = {
    "its version": (
        Proof("snapshot", DATABASE, VERSION, requested_at="2026-03-01T11:00:00Z"),
        {"result": VERSION},
        True,
    ),
    "its version, which another resource has adopted": (
        Proof("snapshot", DATABASE, VERSION),
        {"result": VERSION},
        False,
    ),
    "another version": (Proof("snapshot", DATABASE, "old"), {"result": VERSION}, False),
    "the same of another database": (Proof("snapshot", OTHER_DATABASE, VERSION), {"result": VERSION}, False),
    "the same of another kind": (Proof("restore", DATABASE, VERSION), {"result": VERSION}, False),
    "nothing yet": (Proof("snapshot", DATABASE), {}, False),
    "its id": (Proof("snapshot", DATABASE, request=Request(START, "202", 1.0, "earlier")), {}, True),
    "another id": (Proof("snapshot", DATABASE, request=Request(START - HOUR, "202", 1.0, "other")), {}, False),
    "a version that another ledger's run has found": (
        Proof("snapshot", DATABASE, VERSION, requested_at="2026-03-01T11:00:00Z"),
        {},
        True,
    ),
    "a version of another request": (
        Proof("snapshot", DATABASE, VERSION, requested_at="2026-03-01T11:00:01Z"),
        {},
        False,
    ),
    "another version of the same second": (
        Proof("snapshot", DATABASE, "old", requested_at="2026-03-01T11:00:00Z"),
        {"result": VERSION},
        False,
    ),
}


@pytest.mark.parametrize(("proof", "changes", "shows"), PROOFS.values(), ids=PROOFS)
def test_what_a_call_carries_proves_that_attempt_and_no_other(
    proof: Proof, changes: dict[str, Any], *, shows: bool
) -> None:
    assert proof.shows(attempt(**changes)) is shows
