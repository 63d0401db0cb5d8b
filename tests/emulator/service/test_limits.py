"""What the service refuses: cooldowns, quota, rate limit, keys, scopes, ids."""

from __future__ import annotations

import pytest

from squarecloud_emulator import Fault
from squarecloud_emulator.service.settings import TEST_API_KEY
from tests.emulator.visit import DATABASE, Visit, told, visit, visited
from tests.support.virtual import virtual


async def me(at: Visit) -> str:
    return told(await at.api.get("users/me"))


@visited(snapshot_seconds=1)
async def test_post_within_the_users_or_databases_cooldown_is_refused(at: Visit) -> None:
    at.emulator.add_database("other")
    assert told(await at.create()) == "200 success"  # at 1 s
    refused = await at.create("other")
    assert told(refused) == "429 KEEP_CALM"
    assert refused.json()["message"].endswith("Please wait a minute before trying again. 1r/5s")
    assert not at.last.accepted
    await at.clock.sleep(4)  # a refused POST has not restarted the cooldown
    assert told(await at.create("other")) == "200 success"
    await at.clock.sleep(173.9)
    assert (await at.create()).json()["message"].endswith("1r/180s")
    await at.clock.sleep(0.1)
    assert told(await at.create()) == "200 success"


@visited(refusals_start_cooldown=True)
async def test_cooldown_that_counts_refused_posts_can_be_chosen(at: Visit) -> None:
    at.emulator.stop_database(DATABASE)
    assert told(await at.create()) == "400 DATABASE_NOT_RUNNING"
    at.emulator.start_database(DATABASE)
    assert told(await at.create()) == "429 KEEP_CALM"


@visited(restore_tail_seconds=0.0)
async def test_restores_have_their_own_cooldowns(at: Visit) -> None:
    at.emulator.add_database("other")
    mine, others = at.added(), at.added("other")
    assert told(await at.restore(mine)) == "200 success"
    assert (await at.restore(others, name="other", to="other")).json()["message"].endswith("1r/60s")
    await at.clock.sleep(60)
    assert told(await at.restore(others, name="other", to="other")) == "200 success"
    await at.clock.sleep(59.9)
    assert told(await at.restore(mine)) == "429 KEEP_CALM"
    await at.clock.sleep(0.1)
    assert told(await at.restore(mine)) == "200 success"


@visited(plan_memory_mb=1024, snapshot_seconds=0)
async def test_quota_follows_from_the_plan_and_counts_any_24_hours(at: Visit) -> None:
    for _ in range(8):
        assert told(await at.create()) == "200 success"
        await at.clock.sleep(3600)
    refused = await at.create()
    assert (told(refused), refused.json()["message"][-6:]) == ("429 DAILY_SNAPSHOTS_LIMIT_REACHED", "8r/24h")
    await at.clock.sleep(16 * 3600 - 1)
    assert (await at.create()).status_code == 429
    await at.clock.sleep(1)  # the first one is 24 hours old
    assert (await at.create()).status_code == 200
    await at.clock.sleep(180)
    assert (await at.create()).status_code == 429


@visited(requests_per_minute=3, retry_after_header=True)
async def test_exceeding_the_rate_limit_blocks_for_half_an_hour(at: Visit) -> None:
    assert [await me(at) for _ in range(3)] == ["200 success"] * 3
    blocked = await at.create()
    assert (told(blocked), blocked.headers["retry-after"]) == ("429 RATE_LIMITED", "1800")
    assert not at.last.accepted
    await at.clock.sleep(1799)
    assert await me(at) == "429 RATE_LIMITED"
    await at.clock.sleep(1)
    assert await me(at) == "200 success"


@visited(requests_per_minute=2)
async def test_rate_limit_counts_any_60_seconds(at: Visit) -> None:
    for _ in range(6):
        assert await me(at) == "200 success"
        await at.clock.sleep(30)
    assert "retry-after" not in (await at.api.get("users/me")).headers


@visited(requests_per_minute=2)
async def test_delayed_request_counts_from_its_arrival(at: Visit) -> None:
    at.emulator.add_fault(Fault(kind="me", delay=50, times=1))
    assert await me(at) == "200 success"  # at 50 s
    await at.clock.sleep(11)
    assert [await me(at) for _ in range(3)] == ["200 success", "200 success", "429 RATE_LIMITED"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "x" * 64}, {"Authorization": f"Bearer {TEST_API_KEY}"}])
@visited()
async def test_wrong_key_is_refused_and_never_journaled(at: Visit, headers: dict[str, str]) -> None:
    assert told(await at.files.get(f"{at.emulator.api_url}/users/me", headers=headers)) == "401 ACCESS_DENIED"
    assert at.last.key == ("wrong" if headers else "none")
    assert len(TEST_API_KEY) == 64, "as long as a real one"
    assert TEST_API_KEY not in f"{at.emulator.journal!r} {at.emulator.settings!r}"


@visited(wrong_keys_before_block=2)
async def test_repeated_wrong_keys_also_block_the_right_key(at: Visit) -> None:
    wrong = {"Authorization": "wrong"}
    assert [(await at.api.get("users/me", headers=wrong)).status_code for _ in range(3)] == [401, 401, 429]
    assert await me(at) == "429 RATE_LIMITED"
    await at.clock.sleep(1800)
    assert await me(at) == "200 success"


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


@pytest.mark.parametrize("scopes", [None, *(frozenset({one}) for one in sorted(set(SCOPE_OF.values()))), frozenset()])
@virtual
async def test_key_does_only_what_its_scopes_allow(scopes: frozenset[str] | None) -> None:
    async with visit(scopes=scopes) as at:
        for (method, path), scope in SCOPE_OF.items():
            answer = await at.api.request(method, path, json={})
            assert (told(answer) == "403 MISSING_SCOPE") is (scopes is not None and scope not in scopes)


@visited(resources=frozenset({DATABASE}))
async def test_key_sees_only_its_own_resources(at: Visit) -> None:
    at.emulator.add_database("other")
    at.added("other")
    assert told(await at.listing("other")) == "403 RESOURCE_NOT_ALLOWED"
    assert told(await at.listing()) == "200 success"
    assert (await at.everything()).json()["response"] == []
    assert [one["id"] for one in (await at.api.get("users/me")).json()["response"]["databases"]] == [DATABASE]


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
async def test_wrong_path_is_refused_with_the_services_code(at: Visit, request_: str, answer: str) -> None:
    assert told(await at.api.request(*request_.split())) == answer
