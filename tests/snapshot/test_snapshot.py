"""A snapshot as other tests know it, and its id."""

from typing import Any

import pytest

from pulumi_snapshots.snapshot.record import split_id
from tests.support.example import Example
from tests.support.world import DATABASE

GOOD = {"database_id": DATABASE, "triggers": ["1", {"a": [2]}]}


async def _uses(at: Any) -> None:
    ending = await at.w.create(forced=True)
    if ending.error is not None:
        raise ending.error


EXAMPLE = Example(
    good=GOOD,
    state={
        "database_id": DATABASE,
        "triggers": ["1", {"a": [2.0]}],
        "version_id": "v1",
        "name": DATABASE,
        "download_url": "https://snapshots.test/x?versionId=v1",
        "size": 306.0,
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-31T00:00:00Z",
        "available": True,
        "origin": "manual",
    },
    id=f"{DATABASE}/v1",
    pending={
        **GOOD,
        "available": False,
        "requested_at": "2026-01-01T00:00:00Z",
        "attempt": {
            "posted_at": "2026-01-01T00:00:00Z",
            "id": "5d0c",
            "answered": "202",
            "timeout": 2700.0,
        },
    },
    pending_id=f"{DATABASE}/pending:20260101T000000Z",
    uses=_uses,
    recorded="""\
snapshot = provider.Snapshot(
    "before-release",
    "{database}",
    triggers=[config.get("release"), {{"hotfix": True}}],
    timeout="10m",
    reuse_within="1h",
    rotate_after="20d",
)
""",
)


def test_an_id_names_a_database_and_a_version() -> None:
    assert split_id(EXAMPLE.id) == (DATABASE, "v1")
    for wrong in ("v1", DATABASE, f"{DATABASE}/", f"{DATABASE}/v 1"):
        with pytest.raises(ValueError, match="DATABASE_ID/VERSION_ID"):
            split_id(wrong)
