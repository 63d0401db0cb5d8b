"""The engine's calls for a Drill that send nothing, in the SDK's own provider process and in the plugin's."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_snapshots.dynamic.drill_provider import DrillProvider
from tests.support.servicer import UNKNOWN, Servicer, kept, urn

NAME = urn("proof", "squarecloud:index:Drill")
PROVIDER = DrillProvider()
SERVICE = ()
DATABASE, SCRATCH = "a14b8d5e1cb7405a851eb4c075506121", "b25c9e6f2dc8516b962fc5d186617232"
CONNECTION = "postgresql://driller:never-shown@scratch.invalid:5432/shop"
CHECKS = [{"query": "select count(*) from orders", "at_least": 1.0, "name": "orders"}]
GOOD: dict[str, Any] = {
    "database_id": DATABASE,
    "version_id": "v1",
    "scratch_database_id": SCRATCH,
    "connection": CONNECTION,
    "checks": CHECKS,
    "overwrite_scratch": True,
}
RESULT = {"check": "orders", "passed": True, "expected": "at least 1", "found": "7"}
GOOD_DRILL = {
    "drilled_at": "2026-03-01T12:01:30Z",
    "database_id": DATABASE,
    "version_id": "v1",
    "restore_seconds": 62.5,
    "results": [RESULT],
}
STATE: dict[str, Any] = {
    **{name: value for name, value in GOOD.items() if name != "connection"},
    "requested_at": "2026-03-01T12:00:00Z",
    "restored_at": "2026-03-01T12:01:30Z",
    "drilled_at": "2026-03-01T12:01:30Z",
    "restore_seconds": 62.5,
    "passed": True,
    "results": [RESULT],
    "last_good": GOOD_DRILL,
}
FAILED = {**STATE, "passed": False, "results": [{**RESULT, "passed": False, "found": "0"}]}
ATTEMPT = {"posted_at": "2026-03-01T12:00:00Z", "id": "5d0c", "answered": "200", "timeout": 900.0}
ENDED = {"restored_at", "drilled_at", "restore_seconds", "passed", "results"}
PENDING = {**{name: value for name, value in STATE.items() if name not in ENDED}, "attempt": ATTEMPT}
ID = f"{SCRATCH}/drill:20260301T120000Z"


@pytest.mark.parametrize(
    ("state", "change", "changes"),
    [
        (STATE, {}, False),
        (STATE, {"timeout": "1h", "connection": "postgresql://elsewhere/shop", "on_failure": "warn"}, False),
        (STATE, {"checks": [{**CHECKS[0], "at_least": 2.0}]}, True),
        (STATE, {"version_id": UNKNOWN, "triggers": UNKNOWN}, False),
        (STATE, {"version_id": "v2"}, True),
        (STATE, {"triggers": ["v2"]}, True),
        (STATE, {"scratch_database_id": "c" * 32}, True),
        (STATE, {"every": "7d"}, True),
        (FAILED, {}, True),
        (FAILED, {"on_failure": "warn"}, False),
        (FAILED, {"on_failure": "warn", "checks": [{**CHECKS[0], "at_least": 0.0}]}, True),
        (PENDING, {}, True),
    ],
)
def test_what_drills_again_is_an_update_and_never_a_replacement(
    idle: Servicer, state: dict[str, Any], change: dict[str, Any], *, changes: bool
) -> None:
    answer = idle.diff(NAME, ID, state, {**GOOD, **change})
    assert (answer.changes, answer.replaces) == (changes, [])


def test_a_refresh_and_a_delete_send_nothing_and_need_no_key(idle: Servicer) -> None:
    answer = idle.read(NAME, ID, STATE, GOOD)
    assert (answer.id, answer.outputs) == (ID, STATE)
    failed = kept(idle.read, NAME, ID, FAILED, GOOD)
    assert (failed.id, failed.outputs) == (ID, FAILED)
    assert "'orders' expected at least 1 and found 0" in failed.reasons[0]
    assert "The last good drill was of snapshot" in failed.reasons[0]
    assert idle.read(NAME, ID, {**FAILED, "on_failure": "warn"}, GOOD).id == ID
    idle.delete(NAME, ID, STATE)
    assert idle.diagnostics(NAME)[-1] == (
        f"forgotten: the drill of {DATABASE}/v1; database {SCRATCH} keeps what it holds"
    )


@pytest.mark.parametrize("state", [PENDING, FAILED], ids=["pending", "failed"])
def test_without_a_key_what_is_unfinished_stays(idle: Servicer, state: dict[str, Any]) -> None:
    held = kept(idle.update, NAME, ID, state, GOOD)
    assert (held.id, held.outputs.get("attempt")) == (ID, state.get("attempt"))
    assert held.outputs["last_good"] == GOOD_DRILL
    assert "no API key is set" in held.reasons[0].replace("No API", "no API")
    assert not {"connection"} & held.outputs.keys()
