"""What changed inputs, or time, mean for a snapshot that exists: a table."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.snapshot.difference import SnapshotRules
from pulumi_snapshots.snapshot.record import SnapshotRecord

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BASE = {"database_id": "a", "triggers": ["1"]}
difference = SnapshotRules().changes
COMPLETE = SnapshotRecord(
    "a", version_id="v", created_at=rfc3339(NOW - timedelta(days=2)), available=True
)
PENDING = SnapshotRecord(
    "a", attempt=Request(NOW - timedelta(days=2), "202", 2700.0, "a1")
)


@pytest.mark.parametrize(
    ("record", "new", "replaces", "resumes"),
    [
        pytest.param(COMPLETE, {}, (), False, id="nothing changed"),
        pytest.param(
            COMPLETE,
            {"database_id": "b"},
            ("database_id",),
            False,
            id="another database",
        ),
        pytest.param(
            COMPLETE, {"database_id": UNKNOWN}, (), False, id="a database not known yet"
        ),
        pytest.param(
            COMPLETE, {"triggers": ["2"]}, ("triggers",), False, id="another trigger"
        ),
        pytest.param(
            COMPLETE,
            {"triggers": ["1", "2"]},
            ("triggers",),
            False,
            id="one trigger more",
        ),
        pytest.param(
            COMPLETE, {"triggers": []}, ("triggers",), False, id="no trigger any more"
        ),
        pytest.param(
            COMPLETE, {"triggers": [UNKNOWN]}, (), False, id="a trigger not known yet"
        ),
        pytest.param(
            COMPLETE, {"triggers": UNKNOWN}, (), False, id="triggers not known yet"
        ),
        pytest.param(
            COMPLETE,
            {"triggers": [UNKNOWN, "2"]},
            ("triggers",),
            False,
            id="one more, and one not known",
        ),
        pytest.param(
            COMPLETE,
            {"timeout": "9h", "reuse_within": "1h"},
            (),
            False,
            id="only how to wait changed",
        ),
        pytest.param(COMPLETE, {"rotate_after": "3d"}, (), False, id="not old enough"),
        pytest.param(
            COMPLETE, {"rotate_after": "2d"}, (), False, id="exactly as old as allowed"
        ),
        pytest.param(
            COMPLETE, {"rotate_after": "47h59m"}, ("created_at",), False, id="too old"
        ),
        pytest.param(
            COMPLETE, {"rotate_after": UNKNOWN}, (), False, id="an age not known yet"
        ),
        pytest.param(PENDING, {}, (), True, id="pending: go on"),
        pytest.param(
            PENDING, {"rotate_after": "1h"}, (), True, id="pending: has no age"
        ),
        pytest.param(
            PENDING,
            {"triggers": ["2"]},
            ("triggers",),
            False,
            id="pending, and another trigger",
        ),
        pytest.param(
            PENDING,
            {"database_id": "b"},
            ("database_id",),
            False,
            id="pending, and another database",
        ),
    ],
)
def test_only_what_should_takes_a_new_snapshot(
    record: SnapshotRecord,
    new: dict[str, Any],
    replaces: tuple[str, ...],
    *,
    resumes: bool,
) -> None:
    found = difference(record, BASE, BASE | new, NOW)
    assert (found.replaces, found.updates, found.warning) == (
        replaces,
        ("attempt",) if resumes else (),
        "",
    )


@pytest.mark.parametrize(
    ("old", "new", "replaces"),
    [
        (["1", {"a": ["2", 3.0]}], ["1", {"a": [UNKNOWN, 3.0]}], False),
        (["1", {"a": ["2", 3.0]}], [UNKNOWN, {"a": ["2", 4.0]}], True),
        (["1", {"a": ["2", 3.0]}], ["1", UNKNOWN], False),
        ([{"a": 1}], [{"b": UNKNOWN}], True),
        ([["1"]], [["1", UNKNOWN]], True),
        (["1"], [[UNKNOWN]], True),
    ],
)
def test_what_is_known_of_triggers_decides(
    old: list[Any], new: list[Any], *, replaces: bool
) -> None:
    found = difference(
        COMPLETE, BASE | {"triggers": old}, BASE | {"triggers": new}, NOW
    )
    assert bool(found.replaces) is replaces
    decided_later = "decided in the update, since a preview does not know {triggers}"
    assert replaces or str(found.reason) == decided_later.format(triggers="triggers")


def test_no_triggers_and_an_empty_list_are_the_same() -> None:
    assert (
        difference(
            COMPLETE, {"database_id": "a"}, {"database_id": "a", "triggers": []}, NOW
        ).replaces
        == ()
    )


@pytest.mark.parametrize(
    ("created", "words"),
    [(None, "not known"), (NOW + timedelta(hours=1), "in the future")],
)
def test_a_snapshot_of_unknown_age_warns_and_is_not_rotated(
    created: datetime | None, words: str
) -> None:
    record = SnapshotRecord(
        "a", version_id="v", created_at=rfc3339(created) if created else None
    )
    found = difference(record, BASE, BASE | {"rotate_after": "1h"}, NOW)
    assert found.replaces == ()
    assert words in str(found.warning)
    assert "a/v" in str(found.warning)
