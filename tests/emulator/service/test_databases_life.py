"""Databases come and go as the service's documents say, and each route keeps its own published limit."""

from typing import Any

import pytest

from tests.emulator.visit import DATABASE, Visit, told, visited

GOOD: dict[str, Any] = {
    "name": "scratch",
    "type": "redis",
    "version": "8",
    "memory": 512,
}


async def sent(at: Visit, request: str, body: dict[str, Any] | None = None) -> str:
    method, _, path = request.partition(" ")
    return told(await at.api.request(method, f"databases{path}", json=body))


@pytest.mark.parametrize(
    ("request_", "body", "answer"),
    [
        ("POST ", GOOD, "200 success"),
        ("POST ", {**GOOD, "type": "mariadb"}, "400 INVALID_DATABASE_TYPE"),
        ("POST ", {**GOOD, "version": 8}, "400 INVALID_DATABASE_VERSION"),
        ("POST ", {**GOOD, "name": ""}, "400 INVALID_NAME"),
        ("POST ", {**GOOD, "name": "x" * 33}, "400 INVALID_NAME"),
        ("POST ", {**GOOD, "memory": 256}, "400 INVALID_MEMORY"),
        ("POST ", {**GOOD, "type": "mysql", "memory": 256}, "200 success"),
        ("POST ", {**GOOD, "memory": "512"}, "400 INVALID_MEMORY"),
        ("POST ", {**GOOD, "memory": 2000}, "400 INSUFFICIENT_MEMORY"),
        (f"PATCH /{DATABASE}", {"name": "x"}, "200 success"),
        (f"PATCH /{DATABASE}", {}, "400 NO_UPDATE_DATA"),
        (f"PATCH /{DATABASE}", {"ram": True}, "400 INVALID_MEMORY"),
        (f"POST /{DATABASE}/start", None, "409 CONTAINER_ALREADY_STARTED"),
        (
            f"POST /{DATABASE}/credentials/reset",
            {"reset": "user"},
            "400 INVALID_RESET_TYPE",
        ),
        (f"POST /{'c' * 32}/stop", None, "404 DATABASE_NOT_FOUND"),
    ],
)
@visited()
async def test_a_request_is_refused_with_the_services_code(
    at: Visit, request_: str, body: dict[str, Any] | None, answer: str
) -> None:
    known = set(at.emulator.databases)
    assert await sent(at, request_, body) == answer
    assert len(at.emulator.databases) - len(known) == (
        request_ == "POST " and answer == "200 success"
    )


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
async def test_a_route_has_its_own_limit(
    at: Visit, request_: str, most: int, seconds: int
) -> None:
    for _ in range(2):
        answers = [
            await sent(at, request_, {"reset": "password", "name": "x"})
            for _ in range(most + 1)
        ]
        assert [answer == "429 KEEP_CALM" for answer in answers] == [False] * most + [
            True
        ]
        await at.clock.sleep(seconds)
