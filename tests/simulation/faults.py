"""What a service, or a proxy before it, may answer in the place of what it should: random runs draw from these."""

from typing import Any

REFUSALS: list[dict[str, Any]] = [
    {"status": 429, "code": "KEEP_CALM"},
    {"status": 429, "code": "RATE_LIMITED"},
    {"status": 500, "code": "INTERNAL"},
    {"status": 409, "code": "DATABASE_NOT_RUNNING"},
    {"status": 401, "code": "ACCESS_DENIED"},
    {"redirect": "https://elsewhere.test/v2"},
    {"no_connect": True},
]
DOUBTS: list[dict[str, Any]] = [
    {"drop": True},
    {"drop": True, "delay": 30.0},
    {"drop": True, "delay": 150.0},
    {"html": 502},
    {"html": 524, "delay": 100.0},
    {"status": 503, "code": "DATABASE_UNAVAILABLE"},
    {"malformed": True},
    {"empty": True},
]
BROKEN: list[dict[str, Any]] = [
    {"truncated": True},
    {"cut_after": 9},
    {"delay": 110.0},
    {"delay": 300.0},
]
"""The service's own answer is broken, or comes after the client has given up."""
NEW_CODES: list[dict[str, Any]] = [
    {"status": status, "code": "SOMETHING_NEW", "when": when, "times": 1}
    for status in (404, 500)
    for when in ("before", "after")
]
"""Of a restore's POST, whose status shows what it has started."""
