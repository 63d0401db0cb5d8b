"""Databases come and go as the service's documents say, and each route keeps its own published limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.emulator.visit import DATABASE, visited

if TYPE_CHECKING:
    import httpx

    from tests.emulator.visit import Visit

GOOD: dict[str, Any] = {"name": "scratch", "type": "redis", "version": "8", "memory": 512}


async def sent(at: Visit, request: str, **options: Any) -> httpx.Response:
    method, _, path = request.partition(" ")
    return await at.api.request(method, f"databases{path}", **options)


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", answer.json()["status"])


@pytest.mark.parametrize(
    ("request_", "body", "answer"),
    [
        ("POST ", GOOD, (200, "success")),
        ("POST ", {**GOOD, "type": "mariadb"}, (400, "INVALID_DATABASE_TYPE")),
        ("POST ", {**GOOD, "version": 8}, (400, "INVALID_DATABASE_VERSION")),
        ("POST ", {**GOOD, "name": ""}, (400, "INVALID_NAME")),
        ("POST ", {**GOOD, "name": "x" * 33}, (400, "INVALID_NAME")),
        ("POST ", {**GOOD, "memory": 256}, (400, "INVALID_MEMORY")),
        ("POST ", {**GOOD, "type": "mysql", "memory": 256}, (200, "success")),
        ("POST ", {**GOOD, "memory": "512"}, (400, "INVALID_MEMORY")),
        ("POST ", {**GOOD, "memory": 2000}, (400, "INSUFFICIENT_MEMORY")),
        (f"PATCH /{DATABASE}", {"name": "x"}, (200, "success")),
        (f"PATCH /{DATABASE}", {}, (400, "NO_UPDATE_DATA")),
        (f"PATCH /{DATABASE}", {"ram": True}, (400, "INVALID_MEMORY")),
        (f"POST /{DATABASE}/start", None, (409, "CONTAINER_ALREADY_STARTED")),
        (f"POST /{DATABASE}/credentials/reset", {"reset": "user"}, (400, "INVALID_RESET_TYPE")),
        (f"POST /{'c' * 32}/stop", None, (404, "DATABASE_NOT_FOUND")),
    ],
)
@visited()
async def test_a_request_is_refused_with_the_services_code(
    at: Visit, request_: str, body: dict[str, Any] | None, answer: tuple[int, str]
) -> None:
    known = set(at.emulator.databases)
    assert told(await sent(at, request_, json=body)) == answer
    assert len(at.emulator.databases) - len(known) == (request_ == "POST " and answer[0] == 200)


@visited(plan="free")
async def test_what_a_stopped_or_restored_database_refuses(at: Visit) -> None:
    assert told(await sent(at, "POST ", json=GOOD)) == (403, "UPGRADE_REQUIRED")
    version = at.emulator.add_snapshot(DATABASE).version_id
    assert told(await at.restore(version)) == (200, "success")
    for _ in range(2):  # while it runs, and in the 2 minutes after it
        for request in (f"DELETE /{DATABASE}", f"POST /{DATABASE}/stop", f"POST /{DATABASE}/start"):
            assert told(await sent(at, request)) == (403, "RESTORE_IN_PROGRESS")
        await anyio.sleep(100)
    await anyio.sleep(100)
    assert told(await sent(at, f"POST /{DATABASE}/stop")) == (200, "success")
    await anyio.sleep(3)
    assert told(await sent(at, f"POST /{DATABASE}/stop")) == (409, "CONTAINER_ALREADY_STOPPED")
    for request in (f"GET /{DATABASE}/credentials/certificate", f"POST /{DATABASE}/credentials/reset"):
        assert told(await sent(at, request, json={"reset": "password"})) == (400, "DATABASE_NOT_RUNNING")
    assert told(await sent(at, f"DELETE /{DATABASE}")) == (200, "success")
    assert told(await sent(at, f"GET /{DATABASE}")) == (404, "DATABASE_NOT_FOUND")


@pytest.mark.parametrize(
    ("request_", "most", "seconds"),
    [
        ("GET /status", 15, 60),
        (f"GET /{DATABASE}/metrics", 10, 5),
        (f"GET /{DATABASE}/credentials/certificate", 1, 3),
        (f"POST /{DATABASE}/credentials/reset", 1, 3),
        (f"POST /{DATABASE}/start", 1, 3),
        (f"POST /{DATABASE}/stop", 1, 3),
        (f"PATCH /{DATABASE}", 1, 5),
    ],
)
@visited()
async def test_a_route_has_its_own_limit(at: Visit, request_: str, most: int, seconds: int) -> None:
    body = {"reset": "password", "name": "x"}
    for _ in range(2):
        answers = [told(await sent(at, request_, json=body))[1] for _ in range(most + 1)]
        assert "KEEP_CALM" not in answers[:-1]
        assert answers[-1] == "KEEP_CALM"
        await anyio.sleep(seconds)


@visited(scopes=frozenset({"databases:read"}))
async def test_a_database_needs_its_scopes(at: Visit) -> None:
    for request in ("POST ", f"DELETE /{DATABASE}", f"POST /{DATABASE}/credentials/reset"):
        assert told(await sent(at, request)) == (403, "MISSING_SCOPE")
