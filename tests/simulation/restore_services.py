"""Services and their faults, as the schedules of restores and of drills draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from squarecloud_emulator import Fault

if TYPE_CHECKING:
    from squarecloud_emulator import Emulator, JournalEntry

MINUTE, HOUR = 60.0, 3600.0
APART = 130.0
"""Seconds between our POST and a later restore of somebody else: closer together, the service does not tell them apart."""

SERVICE = st.fixed_dictionaries(
    {
        "restore_seconds": st.sampled_from([0.0, 5.0, 45.0, 60.0, 200.0, 1500.0]),
        "restore_holds": st.booleans(),
        "restore_queue_seconds": st.sampled_from([0.0, 0.0, 0.0, 100.0, 400.0]),
        "restore_stops_database": st.booleans(),
        "restore_tail_seconds": st.sampled_from([0.0, 120.0, 120.0, 200.0]),
        "restore_status_route": st.sampled_from(["there", "there", "there", "404", "405"]),
        "refusals_start_cooldown": st.booleans(),
        "clock_offset_seconds": st.sampled_from([0.0, 0.7, -20.0, HOUR, -HOUR]),
    }
)
REFUSALS: list[dict[str, Any]] = [
    {"status": 429, "code": "KEEP_CALM"},
    {"status": 409, "code": "RESTORE_IN_PROGRESS"},
    {"status": 404, "code": "SNAPSHOT_RESTORE_FAILED"},
    {"status": 429, "code": "RATE_LIMITED"},
    {"no_connect": True},
]
DOUBTS: list[dict[str, Any]] = [
    {"drop": True},
    {"drop": True, "delay": 150.0},
    {"html": 502},
    {"status": 503, "code": "DATABASE_UNAVAILABLE"},
    {"malformed": True},
]
NEW_CODES: list[dict[str, Any]] = [{"status": status, "code": "SOMETHING_NEW"} for status in (404, 500)]
POST_FAULTS = st.one_of(
    st.none(),
    st.sampled_from([{**fault, "times": times} for fault in REFUSALS for times in (1, 3)]),
    st.sampled_from([{**fault, "when": when} for fault in DOUBTS + NEW_CODES for when in ("before", "after")]),
    st.sampled_from([{"truncated": True}, {"delay": 20.0}, {"delay": 300.0}]),
)
STATUS_FAULTS = st.one_of(
    st.none(),
    st.sampled_from(
        [{**fault, "times": times, "skip": skip} for fault in DOUBTS for times in (1, 6) for skip in (0, 2)]
    ),
    st.sampled_from([{"status": 401, "code": "ACCESS_DENIED", "skip": 1}, {"delay": 40.0, "times": 3}]),
    # A proxy that says for a moment that there is no such route.
    st.sampled_from([{"html": 404, "skip": skip} for skip in (0, 1, 3)]),
)
QUICK: dict[str, Any] = {
    "restore_seconds": 0.0,
    "restore_holds": False,
    "restore_queue_seconds": 0.0,
    "restore_stops_database": True,
    "restore_tail_seconds": 0.0,
    "restore_status_route": "there",
    "refusals_start_cooldown": False,
    "clock_offset_seconds": 0.0,
}
"""A service without surprises, to begin an example with."""


def plant(emulator: Emulator, post: dict[str, Any] | None, status: dict[str, Any] | None) -> None:
    """Set the fault of the next restore's POST, and that of the database's status and of the restore's."""
    for kind, fault in (("restore", post), ("status", status), ("restore status", status)):
        if fault is not None:
            emulator.add_fault(Fault(kind=kind, **fault))


def may_have_been_carried_out(post: JournalEntry) -> bool:
    """Whether a POST may have started a restore: its answer was not a refusal."""
    known = post.code is not None and post.code != "SOMETHING_NEW"
    return not (post.answered_at is not None and known and 400 <= (post.status or 0) < 500)
