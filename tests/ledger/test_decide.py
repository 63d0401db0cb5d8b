"""The rules of when a request may be sent, as tables: each row is a ledger, an intent, and what the operation has to do."""

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
    Request,
    Status,
    decide,
)
from tests.support.world import DATABASE, OTHER_DATABASE, START

OURS, OTHER = "shop::dev::ours", "shop::dev::other"
RENAMED, OTHER_STACK, OTHER_PROJECT = "shop::dev::renamed", "shop::prod::ours", "bakery::dev::ours"
COMMAND = "squarecloud-snapshots create"
VERSION = "0c2a3f0e-5a0d-4b1c-9f57-6f6a0a4f0001"
SOURCE = f"{DATABASE}/{VERSION}"
HOUR = timedelta(hours=1)


def attempt(
    kind: Kind = "snapshot", ago: timedelta = HOUR, *, id_: str = "earlier", **changes: Any
) -> Attempt:
    """One of ours that was accepted some time ago, and that no call has proved."""
    request = Request(START - ago, changes.pop("answered", "202"), 600.0, id_)
    source = SOURCE if kind == "restore" else None
    made = Attempt(kind, OURS, DATABASE, "v1", request, request.status, source)
    if "result" in changes and "status" not in changes:
        changes = {"status": Status.FOUND, "ended_at": request.posted_at, **changes}
    return replace(made, **changes)


def intent(kind: Kind = "snapshot", **changes: Any) -> Intent:
    source = SOURCE if kind == "restore" else None
    return replace(Intent(kind, OURS, DATABASE, "v1", 600.0, source), **changes)


def decided(there: list[Attempt], wanted: Intent) -> tuple[str, str]:
    """What is decided, and the id of the attempt that it is about; no id of a new one."""
    try:
        claim = decide(there, wanted, START)
    except ClaimRefused as refused:
        return refused.why, refused.attempt.id
    return claim.role, "" if claim.role == "new" else claim.attempt.id


NEW, RESUMED, IN_THE_WAY = ("new", ""), ("resumed", "earlier"), ("in the way", "earlier")
OVERTAKEN, SAME_NAME, DONE = ((why, "earlier") for why in ("overtaken", "renamed", "done"))
MINUTE = timedelta(minutes=1)
SINCE = {"earlier": frozenset[str]()}
Row = tuple[tuple[Any, str], dict[str, Any], dict[str, Any]]


def row(expected: tuple[Any, str], wanted: dict[str, Any] | None = None, **earlier: Any) -> Row:
    """What is decided, what is wanted differently, and how the attempt differs that there is."""
    return expected, wanted or {}, earlier


SNAPSHOTS = {
    # What an earlier run has left of the same resource
    "accepted": row(RESUMED),
    "answer lost": row(RESUMED, answered="502"),
    "killed before its answer": row(RESUMED, answered=NOT_AWAITED),
    "found, state not saved": row(RESUMED, result=VERSION),
    "found, state not saved, weeks ago": row(RESUMED, result=VERSION, ago=timedelta(days=29)),
    "found, state not saved, a month ago": row(NEW, result=VERSION, ago=KEPT + HOUR),
    "pending for a month": row(NEW, ago=KEPT + HOUR),
    "found, and a call has proved it": row(NEW, result=VERSION, proved=True),
    "found, and this run has seen it in a state": row(
        NEW, {"carried": frozenset({VERSION})}, result=VERSION
    ),
    "pending, and the state has it": row(IN_THE_WAY, proved=True),
    "pending, and this run has seen it in a state": row(
        IN_THE_WAY, {"carried": frozenset({"earlier"})}
    ),
    "found for other triggers": row(NEW, result=VERSION, purpose="v0"),
    "pending for other triggers": row(IN_THE_WAY, purpose="v0"),
    "another one is wanted": row(NEW, {"fresh": True}, result=VERSION),
    "another one is wanted while one is pending": row(IN_THE_WAY, {"fresh": True}),
    "another one is wanted, as by an unsaved run": row(
        NEW, {"fresh": True}, result=VERSION, fresh=True
    ),
    "failed": row(NEW, status=Status.FAILED, result="SNAPSHOT_FAILED"),
    "as old as a guard accepts": row(RESUMED, {"oldest": HOUR}, result=VERSION),
    "older than a guard accepts": row(NEW, {"oldest": HOUR - MINUTE}, result=VERSION),
    "pending, older than a guard accepts": row(IN_THE_WAY, {"oldest": HOUR - MINUTE}),
    # Of others
    "another resource's is pending": row(IN_THE_WAY, owner=OTHER),
    "another resource's is pending, and nobody will see its end": row(
        NEW, {"ignored": frozenset({"earlier"})}, owner=OTHER
    ),
    "another resource's was found": row(NEW, owner=OTHER, result=VERSION),
    "another resource's was found, and its database is held": row(
        IN_THE_WAY, owner=OTHER, result=VERSION, held_until=START + MINUTE
    ),
    "another resource's was found, and its database was held": row(
        NEW, owner=OTHER, result=VERSION, held_until=START - MINUTE
    ),
    "another database's is pending": row(NEW, database_id=OTHER_DATABASE),
    "a restore of the database is under way": row(NEW, kind="restore"),
    "of nobody, for nobody": row(NEW, {"owner": None}, owner=None, result=VERSION),
    # Under another name
    "another name in the stack": row(NEW, owner=RENAMED, result=VERSION),
    "another stack": row(SAME_NAME, owner=OTHER_STACK, result=VERSION),
    "another stack, still pending": row(SAME_NAME, owner=OTHER_STACK),
    "another stack, and its state has it": row(NEW, owner=OTHER_STACK, result=VERSION, proved=True),
    "another stack, other triggers": row(NEW, owner=OTHER_STACK, result=VERSION, purpose="v0"),
    "another stack, in the same moment": row(SAME_NAME, owner=OTHER_STACK, ago=timedelta(0)),
    "another stack, since this run began": row(NEW, SINCE, owner=OTHER_STACK, result=VERSION),
    "another stack, another one is wanted": row(
        NEW, {"fresh": True}, owner=OTHER_STACK, result=VERSION
    ),
    "another project": row(NEW, owner=OTHER_PROJECT, result=VERSION),
}

RESTORED = "2026-03-01T11:01:00Z"
RESTORES = {
    "accepted": row(RESUMED),
    "answer lost": row(RESUMED, answered="no answer"),
    "done, state not saved": row(RESUMED, result=RESTORED),
    "done, state not saved, and forced before": row(
        RESUMED, {"fresh": True}, result=RESTORED, fresh=True
    ),
    "a command's, another one is wanted again": row(
        IN_THE_WAY, {"owner": COMMAND, "fresh": True}, owner=COMMAND, fresh=True
    ),
    "done, another one is wanted": row(NEW, {"fresh": True}, result=RESTORED),
    "failed": row(NEW, status=Status.FAILED, result="RESTORE_FAILED"),
    # An older checkpoint, of which the state knows nothing
    "done, and the state has lost it": row(DONE, result=RESTORED, proved=True),
    "done, and the state has lost it, weeks ago": row(
        DONE, result=RESTORED, proved=True, ago=timedelta(days=29)
    ),
    "done, and the state has lost it, a month ago": row(
        NEW, result=RESTORED, proved=True, ago=KEPT + HOUR
    ),
    "done, and another one is wanted": row(NEW, {"fresh": True}, result=RESTORED, proved=True),
    "done, and a state has let it go": row(NEW, result=RESTORED, proved=True, let_go="another run"),
    "done, and another process of the run has let it go": row(
        RESUMED, {"run": "engine"}, result=RESTORED, proved=True, let_go="engine"
    ),
    "under way, and another process of the run has let it go": row(
        RESUMED, {"run": "engine"}, proved=True, let_go="engine"
    ),
    "let go, and another one is wanted": row(
        NEW,
        {"run": "engine", "fresh": True},
        result=RESTORED,
        proved=True,
        let_go="engine",
        fresh=True,
    ),
    "done, and a call of this run has carried it": row(
        NEW, {"carried": frozenset({RESTORED})}, result=RESTORED, proved=True
    ),
    "done for other triggers": row(NEW, result=RESTORED, proved=True, purpose="v0"),
    "done onto another database": row(
        NEW, result=RESTORED, proved=True, database_id=OTHER_DATABASE
    ),
    "done by the same command": row(
        NEW, {"owner": COMMAND}, result=RESTORED, proved=True, owner=COMMAND
    ),
    # Another run has acted since
    "another run of the resource, meanwhile": row(OVERTAKEN, SINCE, purpose="v2"),
    "another run of the resource, meanwhile, done": row(
        OVERTAKEN, SINCE, purpose="v2", result=RESTORED, proved=True
    ),
    "another run of the resource, meanwhile, onto another database": row(
        OVERTAKEN, SINCE, purpose="v2", database_id=OTHER_DATABASE
    ),
    "another run of the resource, in the same moment, but before": row(
        IN_THE_WAY, ago=timedelta(0), purpose="v2"
    ),
    "another run of the resource, meanwhile, failed": row(
        NEW, SINCE, purpose="v2", status=Status.FAILED, result="RESTORE_FAILED"
    ),
    "another resource, meanwhile": row(IN_THE_WAY, SINCE, owner=OTHER, purpose="v2"),
    # Of others, and under another name
    "another resource's is under way": row(IN_THE_WAY, owner=OTHER, purpose="v2"),
    "another resource's has failed": row(
        NEW, owner=OTHER, status=Status.FAILED, result="RESTORE_FAILED"
    ),
    "another drill checks what it has restored": row(
        IN_THE_WAY, owner=OTHER, purpose="v2", result=RESTORED, held_until=START + MINUTE
    ),
    "another name": row(SAME_NAME, owner=RENAMED, result=RESTORED),
    "another stack": row(SAME_NAME, owner=OTHER_STACK, result=RESTORED),
    "another stack, still under way": row(SAME_NAME, owner=OTHER_STACK),
    "another name, a month ago": row(NEW, owner=RENAMED, result=RESTORED, ago=KEPT + HOUR),
    "another name, and its state has it": row(NEW, owner=RENAMED, result=RESTORED, proved=True),
    "another name, another snapshot": row(
        NEW, owner=RENAMED, result=RESTORED, source=f"{DATABASE}/other"
    ),
    "a snapshot of the database is under way": row(NEW, kind="snapshot"),
}


@pytest.mark.parametrize(("expected", "wanted", "earlier"), SNAPSHOTS.values(), ids=SNAPSHOTS)
def test_a_snapshot_is_paid_for_once(
    expected: Any, wanted: dict[str, Any], earlier: dict[str, Any]
) -> None:
    assert decided([attempt(**earlier)], intent(**wanted)) == expected


@pytest.mark.parametrize(("expected", "wanted", "earlier"), RESTORES.values(), ids=RESTORES)
def test_a_restore_acts_once(
    expected: Any, wanted: dict[str, Any], earlier: dict[str, Any]
) -> None:
    assert (
        decided([attempt(**{"kind": "restore", **earlier})], intent("restore", **wanted))
        == expected
    )


LATER = attempt("restore", MINUTE, id_="later", purpose="v2", result=RESTORED, proved=True)
ELSEWHERE = replace(LATER, database_id=OTHER_DATABASE)
OF_RESTORE, DONE_UNSAVED = attempt("restore"), attempt("restore", result=RESTORED)
THEIRS = attempt(
    "restore", -MINUTE, id_="theirs", database_id=OTHER_DATABASE, account="b", result=RESTORED
)
OF_A = replace(DONE_UNSAVED, account="a")
TWO = [attempt(ago=2 * HOUR, id_="first", result="v1"), attempt(result="v2")]
SEVERAL: dict[str, tuple[list[Attempt], Intent, tuple[Any, str]]] = {
    "another account has restored since by this name": (
        [OF_A, THEIRS],
        intent("restore", account="a"),
        RESUMED,
    ),
    "another account alone has restored by this name": (
        [THEIRS],
        intent("restore", account="a"),
        NEW,
    ),
    "the key was rotated since": (
        [replace(OF_A, proved=True)],
        intent("restore", account="whole key"),
        DONE,
    ),
    # Its rows are gone, or its program was about something else since: going back to it restores again.
    **{
        f"unsaved, and a later one was done {where}": (there, intent("restore"), expected)
        for where, there, expected in (
            ("onto the database", [DONE_UNSAVED, LATER], NEW),
            ("onto another", [DONE_UNSAVED, ELSEWHERE], NEW),
            ("onto the database while it is under way", [OF_RESTORE, LATER], IN_THE_WAY),
            ("onto another while it is under way", [OF_RESTORE, ELSEWHERE], IN_THE_WAY),
        )
    },
    **{
        f"{what}, and a later one has failed": (
            [one, replace(LATER, status=Status.FAILED)],
            intent("restore"),
            RESUMED,
        )
        for what, one in (("unsaved", DONE_UNSAVED), ("under way", OF_RESTORE))
    },
    "a command has begun another one since onto another database": (
        [
            replace(OF_RESTORE, owner=COMMAND),
            replace(OF_RESTORE, owner=COMMAND, database_id=OTHER_DATABASE, request=LATER.request),
        ],
        intent("restore", owner=COMMAND),
        RESUMED,
    ),
    "two unsaved snapshots": (TWO, intent(), RESUMED),
    "two unsaved snapshots, in another order": (TWO[::-1], intent(), RESUMED),
}


@pytest.mark.parametrize(("there", "wanted", "expected"), SEVERAL.values(), ids=SEVERAL)
def test_the_right_one_of_several_decides(
    there: list[Attempt], wanted: Intent, expected: Any
) -> None:
    assert decided(there, wanted) == expected


def test_a_new_one_says_what_it_is_for() -> None:
    wanted = intent("restore", fresh=True, previous=START)
    new = decide([], wanted, START + timedelta(microseconds=1999)).attempt
    sent = Request(
        START + timedelta(milliseconds=1), NOT_AWAITED, 600.0, new.request.id, previous=START
    )
    assert new == Attempt("restore", OURS, DATABASE, "v1", sent, Status.SENT, SOURCE, fresh=True), (
        "as a state and the ledger have it"
    )
    assert new.id != decide([], wanted, START).attempt.id
    assert Attempt.from_outputs(new.to_outputs()) == new


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        (
            {"result": VERSION, "proved": True},
            FOUND_KEPT,
        ),  # so that no other attempt takes its version
        (
            {"result": VERSION, "proved": True, "ago": 3 * HOUR, "ended_at": START - HOUR},
            FOUND_KEPT,
        ),
        ({"result": VERSION}, KEPT),
        ({}, KEPT),
        ({"proved": True}, KEPT),
        (
            {"kind": "restore", "result": RESTORED, "proved": True},
            KEPT,
        ),  # an older checkpoint may be imported
        (
            {
                "kind": "restore",
                "status": Status.FAILED,
                "result": "CODE",
                "ended_at": START - HOUR,
            },
            FOUND_KEPT,
        ),
    ],
)
def test_what_is_kept_how_long(changes: dict[str, Any], kept: timedelta) -> None:
    one = attempt(**changes)
    assert not one.is_past(START - HOUR + kept)
    assert one.is_past(START - HOUR + kept + MINUTE)


def test_how_a_request_was_answered_is_its_status() -> None:
    lost, accepted = ("502", "no answer"), ("202", "200")
    expected = {
        NOT_AWAITED: Status.SENT,
        **dict.fromkeys(accepted, Status.ACCEPTED),
        **dict.fromkeys(lost, Status.LOST),
    }
    assert {
        answered: Request(START, answered, 1.0, "x").status for answered in expected
    } == expected
    sent = attempt(answered=NOT_AWAITED, ago=timedelta(0))
    assert sent.awaits_answer(START + ANSWER_WITHIN - MINUTE), "its result is not looked for"
    assert not sent.awaits_answer(START + ANSWER_WITHIN)
    assert not attempt(ago=timedelta(0)).awaits_answer(START)


AT, FOUND = "2026-03-01T11:00:00Z", {"result": VERSION}
OTHER_REQUEST = Request(START - HOUR, "202", 1.0, "other")
PROOFS: dict[str, tuple[Proof, dict[str, Any], bool]] = {
    "its version": (Proof("snapshot", DATABASE, VERSION, requested_at=AT), FOUND, True),
    "its version, which another resource has adopted": (
        Proof("snapshot", DATABASE, VERSION),
        FOUND,
        False,
    ),
    "another version": (Proof("snapshot", DATABASE, "old"), FOUND, False),
    "the same of another database": (Proof("snapshot", OTHER_DATABASE, VERSION), FOUND, False),
    "the same of another kind": (Proof("restore", DATABASE, VERSION), FOUND, False),
    "nothing yet": (Proof("snapshot", DATABASE), {}, False),
    "its id": (
        Proof("snapshot", DATABASE, request=Request(START, "202", 1.0, "earlier")),
        {},
        True,
    ),
    "another id": (Proof("snapshot", DATABASE, request=OTHER_REQUEST), {}, False),
    "one that another ledger's run has found": (
        Proof("snapshot", DATABASE, VERSION, requested_at=AT),
        {},
        True,
    ),
    "of another request": (
        Proof("snapshot", DATABASE, VERSION, requested_at="2026-03-01T11:00:01Z"),
        {},
        False,
    ),
    "another of the same second": (
        Proof("snapshot", DATABASE, "old", requested_at=AT),
        FOUND,
        False,
    ),
}


@pytest.mark.parametrize(("proof", "changes", "shows"), PROOFS.values(), ids=PROOFS)
def test_what_a_call_carries_proves_that_attempt_and_no_other(
    proof: Proof, changes: dict[str, Any], *, shows: bool
) -> None:
    assert proof.shows(attempt(**changes)) is shows
