"""The table of decisions: each row is what the ledger has, what is wanted, and what happens."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pulumi_snapshots.ledger.attempt import (
    FOUND_KEPT,
    KEPT,
    LATEST_OF_LOST,
    LEAVES_WITHIN,
    LONGEST_WAIT,
    NOT_ANSWERED,
    SAVED,
    SECOND,
    Attempt,
    Kind,
    Request,
    Status,
    request_name,
)
from pulumi_snapshots.ledger.decision import (
    RENAMED_WITHIN,
    UNSAVED_LASTS,
    Claim,
    ClaimRefused,
    Wish,
    decide,
    left_by_earlier_run,
)
from pulumi_snapshots.run.memory import StateRequest
from tests.support.world import DATABASE, OTHER_DATABASE, START

OURS = "shop::dev::ours"
OTHER = "shop::dev::other"
OTHER_STACK = "shop::prod::ours"
DRILL = "shop::dev::Drill::weekly"
GUARD = f"guard:{DATABASE}"
COMMAND = "squarecloud-snapshots create"
RESTORING = "squarecloud-snapshots restore"
VERSION = "0c2a3f0e-5a0d-4b1c-9f57-6f6a0a4f0001"
RESTORED = "2026-03-01T11:01:00Z"
SOURCE = f"{DATABASE}/{VERSION}"
TIMEOUT = timedelta(minutes=20)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

NEW = ("new", "")
RESUMED = ("resumed", "earlier")
WAITS = ("in the way", "earlier")
ROLLED_BACK = ("rolled back", "earlier")
RENAMED = ("renamed", "earlier")
OVERTAKEN = ("overtaken", "earlier")
UNKNOWN = ("unknown", "earlier")

FOUND: dict[str, Any] = {"status": Status.FOUND, "result": VERSION}
FAILED: dict[str, Any] = {"status": Status.FAILED, "result": "SNAPSHOT_CORRUPT"}
CLAIMED: dict[str, Any] = {"answered": NOT_ANSWERED, "status": Status.CLAIMED}
SEEN = {"seen": frozenset({"earlier"})}
FORCED = {"forced": True}
SINCE = {"began_with": frozenset[str]()}
BEFORE = {"began_with": frozenset({"earlier"})}


def attempt(  # noqa: PLR0913  what there is of one
    kind: Kind = "snapshot",
    ago: timedelta = MINUTE,
    *,
    id_: str = "earlier",
    answered: str = "202",
    timeout: timedelta = TIMEOUT,
    outcome: str | None = None,
    **changes: Any,
) -> Attempt:
    """One of ours that was accepted some time ago, and that no call has shown to be saved."""
    posted_at = START - ago
    request = Request(
        posted_at, answered, timeout.total_seconds(), id_, outcome=outcome
    )
    source = SOURCE if kind == "restore" else None
    made = Attempt(kind, OURS, DATABASE, "v1", request, request.status, source)
    made = replace(made, **changes)
    if made.is_over:
        made = replace(made, ended_at=made.ended_at or posted_at)
    if made.status is Status.CLAIMED:
        made = replace(made, due=posted_at + LEAVES_WITHIN)
    return made


def wish(kind: Kind = "snapshot", **changes: Any) -> Wish:
    source = SOURCE if kind == "restore" else None
    wanted = Wish(
        kind, OURS, DATABASE, "v1", TIMEOUT.total_seconds(), source, id="ours"
    )
    return replace(wanted, **changes)


def decided(there: Sequence[Attempt], wanted: Wish) -> tuple[str, str]:
    """What is decided, and the id of the attempt that it is about; no id of a new one."""
    try:
        claim = decide(there, wanted, START)
    except ClaimRefused as refused:
        return refused.why, refused.attempt.id
    return claim.role, "" if claim.role == "new" else claim.attempt.id


Row = tuple[tuple[str, str], dict[str, Any], dict[str, Any]]


def row(
    expected: tuple[str, str], wanted: dict[str, Any] | None = None, **earlier: Any
) -> Row:
    """What is decided, what is wanted differently, and how the attempt differs that there is."""
    return expected, wanted or {}, earlier


SNAPSHOTS: dict[str, Row] = {
    # A Snapshot resource: what the run before has left, for a day
    "unsaved, accepted": row(RESUMED),
    "unsaved, answer lost": row(RESUMED, answered="502"),
    "unsaved, not answered": row(RESUMED, answered=NOT_ANSWERED),
    "unsaved, found": row(RESUMED, **FOUND),
    "unsaved, one day old": row(RESUMED, ago=UNSAVED_LASTS, **FOUND),
    "unsaved, older than a day": row(NEW, ago=UNSAVED_LASTS + SECOND, **FOUND),
    "unsaved, accepted, older than a day": row(NEW, ago=UNSAVED_LASTS + SECOND),
    "found, a state has it": row(NEW, in_state=SAVED, **FOUND),
    "found, this process has seen it in a state": row(NEW, SEEN, **FOUND),
    "accepted, a state has it": row(WAITS, in_state=SAVED),
    "accepted, this process has seen it in a state": row(WAITS, SEEN),
    "found, other triggers": row(NEW, purpose="v0", **FOUND),
    "accepted, other triggers": row(WAITS, purpose="v0"),
    "found, triggers under another id": row(
        RESUMED, {"also_purposes": frozenset({"v0"})}, purpose="v0", **FOUND
    ),
    "found, another one is wanted": row(NEW, FORCED, **FOUND),
    "found, forced before, another one is wanted": row(
        NEW, FORCED, forced=True, **FOUND
    ),
    "accepted, another one is wanted": row(WAITS, FORCED),
    "found, known to be over": row(NEW, {"void": frozenset({"earlier"})}, **FOUND),
    # A claim
    "its own claim": row(RESUMED, ago=timedelta(0), **CLAIMED),
    "its own claim, void": row(NEW, ago=LEAVES_WITHIN + 2 * SECOND, **CLAIMED),
    "another's claim": row(WAITS, ago=LEAVES_WITHIN - SECOND, owner=OTHER, **CLAIMED),
    "another's claim, void": row(
        NEW, ago=LEAVES_WITHIN + 2 * SECOND, owner=OTHER, **CLAIMED
    ),
    "another's claim, its time to leave is over": row(
        NEW, ago=LEAVES_WITHIN, owner=OTHER, **CLAIMED
    ),
    # A command and a Guard
    "a command resumes nothing": row(WAITS, {"owner": COMMAND}, owner=COMMAND),
    "a command resumes nothing that was found": row(
        NEW, {"owner": COMMAND}, owner=COMMAND, **FOUND
    ),
    "a command reuses an open one": row(
        RESUMED, {"owner": COMMAND, "reuses": HOUR}, owner=OTHER
    ),
    "a command reuses an open one as old as it asks": row(
        RESUMED, {"owner": COMMAND, "reuses": HOUR}, ago=HOUR
    ),
    "a command reuses no open one older than it asks": row(
        NEW, {"owner": COMMAND, "reuses": HOUR}, ago=HOUR + SECOND
    ),
    "a command adopts what is done, elsewhere": row(
        NEW, {"owner": COMMAND, "reuses": HOUR}, owner=OTHER, **FOUND
    ),
    "a guard waits for an open one of anybody": row(
        WAITS, {"owner": GUARD, "reuses": HOUR}
    ),
    "a guard waits for another guard's": row(
        WAITS, {"owner": GUARD, "reuses": HOUR}, owner=GUARD
    ),
    "a guard that reuses nothing waits": row(WAITS, {"owner": GUARD}, owner=GUARD),
    "a guard uses none of another database": row(
        NEW, {"owner": GUARD, "reuses": HOUR}, database_id=OTHER_DATABASE
    ),
    "a guard uses no restore": row(
        NEW, {"owner": GUARD, "reuses": HOUR}, kind="restore"
    ),
    "a Snapshot with reuse_within waits": row(WAITS, {"reuses": HOUR}, owner=OTHER),
    # Another's open request is waited for, as long as its end may be seen
    "another's, accepted": row(WAITS, owner=OTHER),
    "another's, accepted, 1 s before 45 min": row(
        WAITS, ago=LONGEST_WAIT - SECOND, owner=OTHER
    ),
    "another's, accepted, 45 min": row(NEW, ago=LONGEST_WAIT, owner=OTHER),
    "another's, answer lost, 1 s before 15 min": row(
        WAITS, ago=LATEST_OF_LOST - SECOND, owner=OTHER, answered="502"
    ),
    "another's, answer lost, 15 min": row(
        NEW, ago=LATEST_OF_LOST, owner=OTHER, answered="502"
    ),
    "another's, not answered, 15 min": row(
        NEW, ago=LATEST_OF_LOST, owner=OTHER, answered=NOT_ANSWERED
    ),
    "another stack's with equal triggers": row(WAITS, owner=OTHER_STACK),
    "another stack's with equal triggers, found": row(NEW, owner=OTHER_STACK, **FOUND),
    "another's, nobody will see its end": row(
        NEW, {"void": frozenset({"earlier"})}, owner=OTHER
    ),
    "another's, found": row(NEW, owner=OTHER, **FOUND),
    "another's, of another database": row(NEW, owner=OTHER, database_id=OTHER_DATABASE),
    "a restore of the database": row(NEW, owner=OTHER, kind="restore"),
    "of nobody, for nobody": row(NEW, {"owner": None}, owner=None, **FOUND),
}

RESTORES: dict[str, Row] = {
    # A Restore resource: what the run before has sent counts as it ended, and is not sent again
    "unsaved, accepted": row(RESUMED),
    "unsaved, answer lost": row(RESUMED, answered="no answer"),
    "unsaved, done": row(RESUMED, **FOUND),
    "unsaved, done, 30 days old": row(RESUMED, ago=KEPT, **FOUND),
    "unsaved, done, older than 30 days": row(NEW, ago=KEPT + SECOND, **FOUND),
    "unsaved, unknown, 30 days old": row(RESUMED, ago=KEPT, answered="502"),
    "failed": row(RESUMED, **FAILED),
    "failed, a state has it": row(RESUMED, in_state=SAVED, **FAILED),
    "failed, this process has seen it in a state": row(NEW, SEEN, **FAILED),
    "failed, other triggers": row(NEW, purpose="v0", **FAILED),
    "failed, another one is wanted": row(NEW, FORCED, **FAILED),
    "done, other triggers": row(NEW, purpose="v0", in_state=SAVED, **FOUND),
    "done, another one is wanted": row(NEW, FORCED, **FOUND),
    "done, a state has it, another one is wanted": row(
        NEW, FORCED, in_state=SAVED, **FOUND
    ),
    "unsaved, forced, another one is wanted": row(
        RESUMED, FORCED, forced=True, **FOUND
    ),
    "forced, a state has it, another one is wanted": row(
        NEW, FORCED, forced=True, in_state=SAVED, **FOUND
    ),
    # What a state has dropped
    "done, its state has dropped it in another run": row(
        NEW, {"run": "engine"}, in_state="another", **FOUND
    ),
    "done, its state has dropped it in this run": row(
        RESUMED, {"run": "engine"}, in_state="engine", **FOUND
    ),
    "accepted, its state has dropped it in this run": row(
        RESUMED, {"run": "engine"}, in_state="engine"
    ),
    "dropped in this run, another one is wanted": row(
        NEW,
        {"run": "engine", **FORCED},
        in_state="engine",
        forced=True,
        **FOUND,
    ),
    # An old state
    "done, the state lacks it": row(ROLLED_BACK, in_state=SAVED, **FOUND),
    "done, the state lacks it, 30 days": row(
        ROLLED_BACK, in_state=SAVED, ago=KEPT, **FOUND
    ),
    "done, the state lacks it, longer": row(
        NEW, in_state=SAVED, ago=KEPT + SECOND, **FOUND
    ),
    "done, this process has seen it in a state": row(
        NEW, SEEN, in_state=SAVED, **FOUND
    ),
    "done onto another database": row(
        NEW, in_state=SAVED, database_id=OTHER_DATABASE, **FOUND
    ),
    # Another name
    "another name of the stack": row(RENAMED, owner=OTHER, **FOUND),
    "another name, one day": row(RENAMED, owner=OTHER, ago=RENAMED_WITHIN, **FOUND),
    "another name, older than a day": row(
        NEW, owner=OTHER, ago=RENAMED_WITHIN + SECOND, **FOUND
    ),
    "another name, its state has it": row(
        RENAMED, owner=OTHER, in_state=SAVED, **FOUND
    ),
    "another name, its state has dropped it": row(
        NEW, owner=OTHER, in_state="run", **FOUND
    ),
    "another name, failed": row(NEW, owner=OTHER, **FAILED),
    "another name, other triggers": row(NEW, owner=OTHER, purpose="v0", **FOUND),
    "another name, another snapshot": row(
        NEW, owner=OTHER, source=f"{DATABASE}/x", **FOUND
    ),
    "another name, another one is wanted": row(NEW, FORCED, owner=OTHER, **FOUND),
    "another stack": row(NEW, owner=OTHER_STACK, **FOUND),
    "a drill of that name": row(NEW, owner=DRILL, **FOUND),
    # Another run of the same resource
    "entered since the operation began": row(OVERTAKEN, SINCE, purpose="v2"),
    "entered since, and done": row(
        OVERTAKEN, SINCE, purpose="v2", in_state=SAVED, **FOUND
    ),
    "entered since, onto another database": row(
        OVERTAKEN, SINCE, purpose="v2", database_id=OTHER_DATABASE
    ),
    "there when the operation began": row(WAITS, BEFORE, purpose="v2"),
    "another resource's, entered since": row(WAITS, SINCE, owner=OTHER, purpose="v2"),
    # A drill
    "a drill, unsaved, done": row(RESUMED, {"owner": DRILL}, owner=DRILL, **FOUND),
    "a drill, failed, dropped in this run": row(
        NEW,
        {"owner": DRILL, "run": "engine"},
        owner=DRILL,
        in_state="engine",
        **FAILED,
    ),
    "a drill, failed": row(NEW, {"owner": DRILL}, owner=DRILL, **FAILED),
    "a drill, the state lacks it": row(
        NEW, {"owner": DRILL}, owner=DRILL, in_state=SAVED, **FOUND
    ),
    "a drill under another name": row(
        NEW, {"owner": DRILL}, owner="shop::dev::Drill::monthly", **FOUND
    ),
    "a drill, after a Restore of the same snapshot onto its database": row(
        NEW, {"owner": DRILL}, **FOUND
    ),
    "another drill checks what it has restored": row(
        WAITS, owner=DRILL, purpose="v2", held_until=START + SECOND, **FOUND
    ),
    "another drill has checked it": row(
        NEW, owner=DRILL, purpose="v2", held_until=START, **FOUND
    ),
    # A command
    "the same command, open": row(RESUMED, {"owner": RESTORING}, owner=RESTORING),
    "the same command, open, its time-out": row(
        RESUMED, {"owner": RESTORING}, owner=RESTORING, ago=TIMEOUT
    ),
    "the same command, open, older": row(
        UNKNOWN, {"owner": RESTORING}, owner=RESTORING, ago=TIMEOUT + SECOND
    ),
    "the same command, open, older, with a longer time-out": row(
        RESUMED, {"owner": RESTORING, "timeout": 3600.0}, owner=RESTORING, ago=HOUR
    ),
    "the same command, open, older, with a time-out that is not long enough": row(
        UNKNOWN,
        {"owner": RESTORING, "timeout": 3600.0},
        owner=RESTORING,
        ago=HOUR + SECOND,
    ),
    "the same command, open, with a shorter time-out": row(
        RESUMED, {"owner": RESTORING, "timeout": 60.0}, owner=RESTORING, ago=TIMEOUT
    ),
    "the same command, open, older, --new": row(
        NEW, {"owner": RESTORING, **FORCED}, owner=RESTORING, ago=TIMEOUT + SECOND
    ),
    "the same command, done": row(NEW, {"owner": RESTORING}, owner=RESTORING, **FOUND),
    "the same command, done when it was typed": row(
        NEW, {"owner": RESTORING, **BEFORE}, owner=RESTORING, **FOUND
    ),
    "the same command, done meanwhile": row(
        RESUMED, {"owner": RESTORING, **SINCE}, owner=RESTORING, **FOUND
    ),
    "the same command, its outcome known": row(
        RESUMED, {"owner": RESTORING, **BEFORE}, owner=RESTORING, outcome="success"
    ),
    "the same command, its outcome known, older": row(
        NEW,
        {"owner": RESTORING, **BEFORE},
        owner=RESTORING,
        outcome="success",
        ago=TIMEOUT + SECOND,
    ),
    "the same command, its outcome known, older, with a longer time-out": row(
        NEW,
        {"owner": RESTORING, "timeout": 3600.0, **BEFORE},
        owner=RESTORING,
        outcome="success",
        ago=TIMEOUT + SECOND,
    ),
    "a command, another snapshot, open": row(
        WAITS, {"owner": RESTORING, "source": f"{DATABASE}/x"}, owner=RESTORING
    ),
    "a command, another snapshot, older": row(
        NEW,
        {"owner": RESTORING, "source": f"{DATABASE}/x"},
        owner=RESTORING,
        ago=TIMEOUT,
    ),
    "a command, onto another database": row(
        NEW, {"owner": RESTORING, "database_id": OTHER_DATABASE}, owner=RESTORING
    ),
    "a command, a resource's, open": row(WAITS, {"owner": RESTORING}),
    "a command, another snapshot, begun meanwhile": row(
        WAITS,
        {"owner": RESTORING, "source": f"{DATABASE}/x", **SINCE},
        owner=RESTORING,
    ),
    "a command with --new, begun meanwhile": row(
        WAITS, {"owner": RESTORING, **FORCED, **SINCE}, owner=RESTORING
    ),
    # Another's is waited for, as long as it may take
    "another's, open": row(WAITS, owner=OTHER, purpose="v2"),
    "another's, 1 s before its time-out": row(
        WAITS, owner=OTHER, purpose="v2", ago=TIMEOUT - SECOND
    ),
    "another's, its time-out": row(NEW, owner=OTHER, purpose="v2", ago=TIMEOUT),
    "another's with a long time-out, 1 s before 45 min": row(
        WAITS, owner=OTHER, purpose="v2", ago=LONGEST_WAIT - SECOND, timeout=2 * HOUR
    ),
    "another's with a long time-out, 45 min": row(
        NEW, owner=OTHER, purpose="v2", ago=LONGEST_WAIT, timeout=2 * HOUR
    ),
    "another's, its outcome known": row(
        NEW, owner=OTHER, purpose="v2", outcome="success"
    ),
    "another's, failed": row(NEW, owner=OTHER, purpose="v2", **FAILED),
    "another's claim, void": row(
        NEW, owner=OTHER, purpose="v2", ago=2 * LEAVES_WITHIN, **CLAIMED
    ),
    "another's, nobody will see its end": row(
        NEW, {"void": frozenset({"earlier"})}, owner=OTHER, purpose="v2"
    ),
    "a snapshot of the database": row(NEW, kind="snapshot"),
}


@pytest.mark.parametrize(
    ("expected", "wanted", "earlier"), SNAPSHOTS.values(), ids=SNAPSHOTS
)
def test_a_snapshot_is_paid_for_once(
    expected: Any, wanted: dict[str, Any], earlier: dict[str, Any]
) -> None:
    assert decided([attempt(**earlier)], wish(**wanted)) == expected


@pytest.mark.parametrize(
    ("expected", "wanted", "earlier"), RESTORES.values(), ids=RESTORES
)
def test_a_restore_acts_once(
    expected: Any, wanted: dict[str, Any], earlier: dict[str, Any]
) -> None:
    there = [attempt(**{"kind": "restore", **earlier})]
    assert decided(there, wish("restore", **wanted)) == expected


# Several attempts --------------------------------------------------------------------------------

DONE = attempt("restore", HOUR, **FOUND)
UNDER_WAY = attempt("restore", 10 * MINUTE)
LATER = attempt("restore", id_="later", purpose="v2", in_state=SAVED, **FOUND)
ELSEWHERE = replace(LATER, database_id=OTHER_DATABASE)
LATER_SEEN = {"seen": frozenset({"later"})}
OF_A = replace(DONE, account="a")
THEIRS = replace(LATER, request=replace(LATER.request, id="theirs"), account="b")
THEIRS = replace(THEIRS, database_id=OTHER_DATABASE)
TWO = [attempt(ago=HOUR, id_="first", **FOUND), attempt(**FOUND)]
BY_COMMAND = replace(UNDER_WAY, owner=RESTORING)
SEVERAL: dict[str, tuple[list[Attempt], Wish, tuple[str, str]]] = {
    "done, a later one that the state has: back to the first": (
        [DONE, LATER],
        wish("restore", **LATER_SEEN),
        NEW,
    ),
    "done, a later one that the state lacks": (
        [DONE, LATER],
        wish("restore"),
        ROLLED_BACK,
    ),
    "done, a later one elsewhere that the state lacks": (
        [DONE, ELSEWHERE],
        wish("restore"),
        ROLLED_BACK,
    ),
    "done, a later one that the state lacks, other triggers": (
        [DONE, LATER],
        wish("restore", purpose="v3"),
        NEW,
    ),
    "done, a later one that the state lacks, another one is wanted": (
        [DONE, LATER],
        wish("restore", **FORCED),
        NEW,
    ),
    "done, and dropped with a later one": (
        [DONE, replace(LATER, in_state="another")],
        wish("restore"),
        NEW,
    ),
    "under way, a later one that the state has": (
        [UNDER_WAY, LATER],
        wish("restore", **LATER_SEEN),
        WAITS,
    ),
    "another account has restored since by this name": (
        [OF_A, THEIRS],
        wish("restore", account="a"),
        RESUMED,
    ),
    "another account alone has restored by this name": (
        [THEIRS],
        wish("restore", account="a"),
        NEW,
    ),
    "a command has begun another one since onto another database": (
        [BY_COMMAND, replace(ELSEWHERE, owner=RESTORING)],
        wish("restore", owner=RESTORING),
        RESUMED,
    ),
    # Another name, whose state was set back to before two restores
    "another name's, dropped for its newest one": (
        [replace(DONE, owner=OTHER, in_state="run"), replace(LATER, owner=OTHER)],
        wish("restore"),
        RENAMED,
    ),
    "another name's, dropped for its newest one of more than a day ago": (
        [
            replace(DONE, owner=OTHER, in_state="run"),
            attempt(
                "restore",
                RENAMED_WITHIN + SECOND,
                id_="later",
                purpose="v2",
                owner=OTHER,
                **FOUND,
            ),
        ],
        wish("restore"),
        NEW,
    ),
    "another name's of more than a day ago, dropped for one of today": (
        [
            attempt(
                "restore",
                RENAMED_WITHIN + SECOND,
                owner=OTHER,
                in_state="run",
                **FOUND,
            ),
            replace(LATER, owner=OTHER),
        ],
        wish("restore"),
        RENAMED,
    ),
    "another name's, removed after two": (
        [
            replace(DONE, owner=OTHER, in_state="run"),
            replace(LATER, owner=OTHER, in_state="run"),
        ],
        wish("restore"),
        NEW,
    ),
    "another name's, dropped, beside a newer snapshot of the same name": (
        [
            replace(DONE, owner=OTHER, in_state="run"),
            attempt(id_="later", owner=OTHER, ago=SECOND, **FOUND),
        ],
        wish("restore"),
        NEW,
    ),
    "another name's, not dropped, before its newest one": (
        [replace(DONE, owner=OTHER), replace(LATER, owner=OTHER, in_state="run")],
        wish("restore"),
        RENAMED,
    ),
    "two unsaved snapshots": (TWO, wish(), RESUMED),
    "two unsaved snapshots, in another order": (TWO[::-1], wish(), RESUMED),
    "another's is open beside an unsaved one": (
        [attempt(ago=HOUR, **FOUND), attempt(id_="theirs", owner=OTHER)],
        wish(),
        RESUMED,
    ),
}


@pytest.mark.parametrize(("there", "wanted", "expected"), SEVERAL.values(), ids=SEVERAL)
def test_the_right_one_of_several_decides(
    there: list[Attempt], wanted: Wish, expected: Any
) -> None:
    assert decided(there, wanted) == expected


def test_a_rolled_back_state_is_shown_of_the_restore_that_it_would_repeat() -> None:
    with pytest.raises(ClaimRefused) as refused:
        decide([DONE, LATER], wish("restore"), START)
    assert refused.value.attempt == DONE


@pytest.mark.parametrize("first", [DONE, LATER], ids=["the first", "the later"])
def test_what_needs_no_request_is_found_before_any_request(first: Attempt) -> None:
    wanted = wish("restore", purpose=first.purpose)
    unsaved = replace(first, in_state=None)
    assert left_by_earlier_run([unsaved], wanted, START) == unsaved
    assert left_by_earlier_run([unsaved], replace(wanted, forced=True), START) is None
    assert left_by_earlier_run([], wanted, START) is None


def test_any_name_by_which_a_state_has_it_shows_that() -> None:
    found = attempt(**FOUND)
    name = request_name("snapshot", DATABASE, found.request.requested)
    assert found.names == {"earlier", name}
    for shown in found.names:
        assert wish(seen=frozenset({shown})).has_seen(found)
    others = {
        request_name("restore", DATABASE, found.request.requested),
        request_name("snapshot", OTHER_DATABASE, found.request.requested),
        request_name("snapshot", DATABASE, found.request.requested + SECOND),
    }
    assert not wish(seen=frozenset(others)).has_seen(found)
    # The state has a corrected time that could not be entered into the ledger.
    late = StateRequest("snapshot", DATABASE, "2026-03-01T12:00:00Z", found.request)
    assert wish(seen=late.names).has_seen(found)


# A new attempt, and how long an old one is kept ---------------------------------------------------


def test_a_new_one_says_what_it_is_for_and_may_leave_for_a_moment() -> None:
    wanted = wish("restore", forced=True, previous=START, account="a")
    now = START + timedelta(microseconds=1999)
    posted_at = START + timedelta(milliseconds=1)  # as a state and the ledger have it
    request = Request(
        posted_at, NOT_ANSWERED, TIMEOUT.total_seconds(), "ours", previous=START
    )
    expected = Attempt(
        "restore",
        OURS,
        DATABASE,
        "v1",
        request,
        Status.CLAIMED,
        SOURCE,
        due=posted_at + LEAVES_WITHIN,
        forced=True,
        account="a",
    )
    claim = decide([], wanted, now)
    assert claim == Claim(expected, "new")
    assert Attempt.from_outputs(expected.to_outputs()) == expected


KEPT_FOR: dict[str, tuple[dict[str, Any], timedelta]] = {
    "found, saved: its version must not be taken for another's": (
        {"in_state": SAVED, **FOUND},
        FOUND_KEPT,
    ),
    "found, saved, only an hour ago": (
        {"in_state": SAVED, "ended_at": START, "ago": 3 * HOUR, **FOUND},
        FOUND_KEPT,
    ),
    "found by a command": ({"owner": COMMAND, **FOUND}, FOUND_KEPT),
    "found by a guard": ({"owner": GUARD, **FOUND}, FOUND_KEPT),
    "found, unsaved": (FOUND, KEPT),
    "open": ({}, KEPT),
    "open, saved": ({"in_state": SAVED}, KEPT),
    "restored, saved: an older checkpoint may be imported": (
        {"kind": "restore", "in_state": SAVED, **FOUND},
        KEPT,
    ),
    "failed": ({"kind": "restore", **FAILED}, KEPT),
}


@pytest.mark.parametrize(("changes", "kept"), KEPT_FOR.values(), ids=KEPT_FOR)
def test_what_is_kept_how_long(changes: dict[str, Any], kept: timedelta) -> None:
    one = attempt(**{"ago": timedelta(0), **changes})
    assert not one.is_past(START + kept)
    assert one.is_past(START + kept + SECOND)


def test_how_a_request_was_answered_is_its_status() -> None:
    accepted = dict.fromkeys(("202", "200"), Status.ACCEPTED)
    lost = dict.fromkeys(("502", "no answer"), Status.LOST)
    expected = {NOT_ANSWERED: Status.SENT, **accepted, **lost}
    found = {
        answered: Request(START, answered, 1.0, "x").status for answered in expected
    }
    assert found == expected


def test_a_claim_is_void_once_its_time_to_leave_is_over() -> None:
    claim = attempt(ago=timedelta(0), **CLAIMED)
    two_know_the_time_to_a_second = START + LEAVES_WITHIN + SECOND
    for now in (START + LEAVES_WITHIN, two_know_the_time_to_a_second):
        assert not claim.is_void(now)
        assert claim.is_owner_at_work(now), "nobody takes it for sent"
    assert claim.is_void(START + LEAVES_WITHIN + 2 * SECOND)
    assert not claim.is_owner_at_work(START + LEAVES_WITHIN + 2 * SECOND)


def test_a_run_awaits_the_answer_of_what_it_has_sent_until_it_is_due() -> None:
    sent = attempt(ago=timedelta(0), answered=NOT_ANSWERED, due=START + MINUTE)
    assert sent.is_owner_at_work(START + MINUTE - SECOND), (
        "its result is not looked for"
    )
    assert not sent.is_owner_at_work(START + MINUTE)
    assert not sent.is_void(START + DAY), "it may have been accepted"
    assert not attempt(due=START + MINUTE).is_owner_at_work(START)
