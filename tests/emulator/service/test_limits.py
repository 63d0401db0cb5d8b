"""What the service refuses: cooldowns, quota, rate limit, keys, scopes, ids."""

from typing import Any

import pytest

from squarecloud_emulator import Fault
from squarecloud_emulator.service.settings import TEST_API_KEY
from tests.emulator.visit import DATABASE, Visit, told, visit, visited
from tests.support.virtual import virtual

HOUR = 3600
STATUS = "GET /snapshots/restore"
RULES: dict[str, tuple[dict[str, Any], str]] = {
    "a POST within the user's or the database's cooldown, which a refused one does not start again": (
        {"snapshot_seconds": 1},  # it is answered then
        (
            "create: 200; create other: 429 KEEP_CALM 1r/5s; started: 1; +4; create other: 200; +173.9; create: 1r/180s; "
            "+0.1; create: 200"
        ),
    ),
    "a cooldown that counts refused POSTs": (
        {"refusals_start_cooldown": True},
        "stop_database; create: 400 DATABASE_NOT_RUNNING; start_database; create: 429 KEEP_CALM",
    ),
    "cooldowns of restores": (
        {"restore_tail_seconds": 0.0},
        "again: 200; again other: 429 1r/60s; +60; again other: 200; +59.9; again: 429 KEEP_CALM; +0.1; again: 200",
    ),
    "POSTs for a while after a restore": (
        {"restore_seconds": 10.0},
        "again: 200; +129; create: 403 RESTORE_IN_PROGRESS; again: 409 RESTORE_IN_PROGRESS; +1; create: 200; again: 200",
    ),
    "a restore that fails at once, only once": (
        {},
        "fail_next_restore; again: 404 SNAPSHOT_RESTORE_FAILED; again: 200",
    ),
    "a quota that follows from the plan, of any 24 hours": (
        {"plan_memory_mb": 1024, "snapshot_seconds": 0},
        (
            f"{f'create: 200; +{HOUR}; ' * 8}create: 429 DAILY_SNAPSHOTS_LIMIT_REACHED 8r/24h; +{16 * HOUR - 1}; create: 429; "
            "+1; create: 200; +180; create: 429"
        ),
    ),
    "failures that spend the quota": (
        {"failures_spend_quota": True, "plan_memory_mb": 256},
        f"{'fail_next_snapshot; create: 404; +180; ' * 2}create: 429",
    ),
    "failures that do not": (
        {"failures_spend_quota": False, "plan_memory_mb": 256},
        f"{'fail_next_snapshot; create: 404; +180; ' * 2}create: 200",
    ),
    "a snapshot while one runs": (
        {"snapshot_seconds": 300.0},
        "create: 202 SNAPSHOT_PROCESSING; spent: 1; +150; create: 409 SNAPSHOT_IN_PROGRESS; spent: 1; +60; create: 202; spent: 2",
    ),
    "a POST that joins a running snapshot": (
        {"snapshot_seconds": 250, "posts_join_running": True},
        "create: 202; +90; create: 200 success; started: 1; +300; versions: 1; spent: 1",
    ),
    "a snapshot that fails, soon or late, and is never listed": (
        {},
        (
            f"fail_next_snapshot; create: 404 SNAPSHOT_FAILED; fail_next_snapshot slow; +180; create slow: 202; +{HOUR}; "
            "versions slow: 0; create: 200"
        ),
    ),
    "more requests than a minute may have": (
        {"requests_per_minute": 3, "retry_after_header": True},
        f"{'me: 200; ' * 3}create: 429 RATE_LIMITED retry-after:1800; started: 0; +1799; me: 429 RATE_LIMITED; +1; me: 200",
    ),
    "a long restore that is answered with its outcome, at the soft deadline": (
        {"restore_holds": True, "restore_seconds": 200.0},
        f'again: 202 SNAPSHOT_RESTORE_PROCESSING; +109; {STATUS}: "running"; +2; {STATUS}: "success"',
    ),
    "a restore that leaves the database up": (
        {"restore_stops_database": False},
        f'again: 200; {STATUS}: "running"; GET /status: "running":true',
    ),
    "a service without the route of restores": (
        {"restore_status_route": "404"},
        f"{STATUS}: 404 ROUTE_NOT_FOUND",
    ),
    "a service that refuses that route": (
        {"restore_status_route": "405"},
        f"{STATUS}: 405 METHOD_NOT_ALLOWED",
    ),
    "a key that may not read snapshots": (
        {"scopes": frozenset({"snapshots:write"})},
        f"{STATUS}: 403 MISSING_SCOPE",
    ),
    "a listing that is kept, which lacks a new snapshot for half an hour": (
        {"cache_world": "kept"},
        (
            "versions: 0; versions other: 0; create: 200; create other: 200; drop_cache other; versions other: 1; +1739; "
            "versions: 0; +1; versions: 1"
        ),
    ),
    "no more requests than any 60 seconds may have": (
        {"requests_per_minute": 2},
        f"{'; +30; '.join(['me: 200'] * 6)}; me: 429 retry-after:None",
    ),
    "wrong keys, which also block the right one": (
        {"wrong_keys_before_block": 2},
        f"{'wrong: 401; ' * 2}wrong: 429; me: 429 RATE_LIMITED; +1800; me: 200",
    ),
    "what a stopped or restored database refuses": (
        {},
        (
            f"again: 200; {'DELETE: 403; POST /stop: 403; POST /start: 403 RESTORE_IN_PROGRESS; +100; ' * 2}+100; POST /stop: 200; "
            "+3; POST /stop: 409 CONTAINER_ALREADY_STOPPED; GET /credentials/certificate: 400 DATABASE_NOT_RUNNING; "
            "POST /credentials/reset: 400 DATABASE_NOT_RUNNING; DELETE: 200; GET: 404 DATABASE_NOT_FOUND"
        ),
    ),
}
"""What is counted and refused: the service's settings, and a story for `Visit.plays`."""


@pytest.mark.parametrize(("service", "story"), RULES.values(), ids=RULES)
@virtual
async def test_the_service_counts_and_refuses_by_its_rules(
    service: dict[str, Any], story: str
) -> None:
    async with visit(**service) as at:
        at.emulator.add_database("other")
        at.emulator.add_database("slow", snapshot_seconds=200)
        await at.plays(story)


@visited(requests_per_minute=2)
async def test_delayed_request_counts_from_its_arrival(at: Visit) -> None:
    at.emulator.add_fault(Fault(kind="me", delay=50, times=1))
    # the first one at 50 s
    await at.plays("me: 200; +11; me: 200; me: 200; me: 429 RATE_LIMITED")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "x" * 64}, {"Authorization": f"Bearer {TEST_API_KEY}"}],
)
@visited()
async def test_wrong_key_is_refused_and_never_journaled(
    at: Visit, headers: dict[str, str]
) -> None:
    assert (
        told(await at.files.get(f"{at.emulator.api_url}/users/me", headers=headers))
        == "401 ACCESS_DENIED"
    )
    assert at.last.key == ("wrong" if headers else "none")
    assert len(TEST_API_KEY) == 64, "as long as a real one"
    assert TEST_API_KEY not in f"{at.emulator.journal!r} {at.emulator.settings!r}"


SCOPE_OF = {
    ("GET", f"databases/{DATABASE}/snapshots"): "snapshots:read",
    ("GET", "users/snapshots"): "snapshots:read",
    ("POST", f"databases/{DATABASE}/snapshots"): "snapshots:write",
    ("POST", f"databases/{DATABASE}/snapshots/restore"): "snapshots:write",
    ("GET", f"databases/{DATABASE}"): "databases:read",
    ("GET", f"databases/{DATABASE}/status"): "databases:read",
    ("GET", "databases/status"): "databases:read",
    ("GET", "users/me"): "account:read",
    ("POST", "databases"): "databases:write",
    ("POST", f"databases/{DATABASE}/credentials/reset"): "databases:credentials",
    ("DELETE", f"databases/{DATABASE}"): "databases:write",
}


@pytest.mark.parametrize(
    "scopes",
    [None, *(frozenset({one}) for one in sorted(set(SCOPE_OF.values()))), frozenset()],
)
@virtual
async def test_key_does_only_what_its_scopes_allow(
    scopes: frozenset[str] | None,
) -> None:
    async with visit(scopes=scopes) as at:
        for (method, path), scope in SCOPE_OF.items():
            answer = await at.api.request(method, path, json={})
            assert (told(answer) == "403 MISSING_SCOPE") is (
                scopes is not None and scope not in scopes
            )


@visited(resources=frozenset({DATABASE}))
async def test_key_sees_only_its_own_resources(at: Visit) -> None:
    at.emulator.add_database("other")
    at.added("other")
    assert told(await at.listing("other")) == "403 RESOURCE_NOT_ALLOWED"
    assert told(await at.listing()) == "200 success"
    assert (await at.everything()).json()["response"] == []
    assert [
        one["id"]
        for one in (await at.api.get("users/me")).json()["response"]["databases"]
    ] == [DATABASE]


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("POST databases/0000/snapshots", "404 DATABASE_NOT_FOUND"),
        ("GET databases/0000/snapshots", "404 DATABASE_NOT_FOUND"),
        ("GET databases/0000/status", "404 DATABASE_NOT_FOUND"),
        ("POST databases/a%20b/snapshots", "400 INVALID_ID"),
        ("GET nothing/here", "404 ROUTE_NOT_FOUND"),
        (f"DELETE databases/{DATABASE}/snapshots", "405 METHOD_NOT_ALLOWED"),
        ("GET users/snapshots?scope=everything", "400 INVALID_SCOPE"),
    ],
)
@visited()
async def test_wrong_path_is_refused_with_the_services_code(
    at: Visit, request_: str, answer: str
) -> None:
    assert told(await at.api.request(*request_.split())) == answer
