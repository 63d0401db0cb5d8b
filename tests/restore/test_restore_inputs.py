"""A restore's inputs: what is refused before any request, and what counts as a change."""

from collections.abc import Mapping
from typing import Any

import pytest

from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import Message
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.restore.record import RestoreInputs, RestoreRecord
from tests.support.world import DATABASE, OTHER_DATABASE, START

GOOD: dict[str, Any] = {"database_id": DATABASE, "version_id": "v1", "overwrite": True}
RECORD = RestoreRecord(
    DATABASE, "v1", DATABASE, "2026-03-01T12:00:00Z", "2026-03-01T12:01:30Z"
)


def problems(**values: Any) -> dict[str, str]:
    return {
        problem.property: PYTHON.text(problem.with_value())
        for problem in RestoreInputs.problems({**GOOD, **values})
    }


def test_good_inputs_have_no_problem() -> None:
    assert problems() == {}
    assert (
        problems(target_database_id=OTHER_DATABASE, triggers=["v2"], timeout="20m")
        == {}
    )
    assert (
        problems(
            **dict.fromkeys(GOOD, UNKNOWN),
            target_database_id=UNKNOWN,
            triggers=UNKNOWN,
            timeout=UNKNOWN,
        )
        == {}
    )


@pytest.mark.parametrize("overwrite", [None, False, 1, 1.0, "true", "yes", [], {}])
def test_only_overwrite_true_lets_it_destroy_data(overwrite: object) -> None:
    says = problems(overwrite=overwrite)["overwrite"]
    assert "a restore overwrites everything" in says
    assert ("not a text (read it from the config as a boolean)" in says) is isinstance(
        overwrite, str
    )


@pytest.mark.parametrize(
    ("values", "name", "words"),
    [
        (
            {"database_id": None, "version_id": None},
            "snapshot",
            "a Snapshot, or database_id and version_id",
        ),
        ({"version_id": None}, "version_id", "a Snapshot that is pending has none yet"),
        ({"version_id": "a b"}, "version_id", "must be a snapshot's version id"),
        (
            {"version_id": "latest"},
            "version_id",
            "must be a snapshot's version id, as get_latest_snapshot finds it",
        ),
        ({"version_id": 7}, "version_id", "must be a snapshot's version id"),
        (
            {"database_id": None},
            "database_id",
            "the id of the database to restore a snapshot of",
        ),
        ({"database_id": "a/b"}, "database_id", "must be a bare id"),
        ({"target_database_id": ".."}, "target_database_id", "must be a bare id"),
        (
            {"target_database_id": ""},
            "target_database_id",
            "it is the id of the database to restore onto",
        ),
        ({"triggers": "v2"}, "triggers", "must be a list, not str"),
        ({"name": ["x"]}, "name", "must be a string, not list"),
        ({"runtime": 5.0}, "runtime", "must be a string, not float"),
        ({"timeout": "0s"}, "timeout", "longer than zero"),
        ({"timeout": "8d"}, "timeout", "at most 7d"),
        ({"timeout": "soon"}, "timeout", "must be a duration"),
    ],
)
def test_a_bad_input_is_reported_on_its_property(
    values: Mapping[str, Any], name: str, words: str
) -> None:
    found = problems(**values)
    assert set(found) == {name}
    assert words in found[name]


def test_the_target_is_the_snapshot_s_database_unless_given() -> None:
    assert RestoreInputs.of(GOOD).target == DATABASE
    assert RestoreInputs.of(GOOD).timeout == 900
    assert (
        RestoreInputs.of({**GOOD, "target_database_id": OTHER_DATABASE}).target
        == OTHER_DATABASE
    )


# Changes -------------------------------------------------------------------------------------------------------------

UNKNOWN_IDS = {"database_id": UNKNOWN, "version_id": UNKNOWN}
ONTO = {"database_id": OTHER_DATABASE, "target_database_id": DATABASE}
NOTHING: list[dict[str, Any]] = [
    *(
        {},
        {"timeout": "1h"},
        {"version_id": UNKNOWN},
        {"triggers": UNKNOWN},
        {"target_database_id": UNKNOWN},
    ),
    *(
        {"name": "another name"},
        {"runtime": "redis"},
        {"target_database_id": DATABASE},
        {"triggers": []},
    ),
]
CHANGES: list[tuple[dict[str, Any], str, str | None, bool]] = [
    # A change, what restores again because of it, the unknown values that a preview names, and whether it warns.
    *((each, "", None, False) for each in NOTHING),
    # A Snapshot that is about to be replaced has unknown ids, and beside a target that is given they decide nothing.
    (UNKNOWN_IDS, "", "{database_id}", False),
    (
        {"target_database_id": UNKNOWN, "triggers": UNKNOWN},
        "",
        "{triggers} and {target_database_id}",
        False,
    ),
    ({**UNKNOWN_IDS, "target_database_id": DATABASE}, "", "", False),
    # A changed snapshot alone restores nothing.
    ({"version_id": "v2"}, "", None, True),
    ({"version_id": "v2", **ONTO}, "", None, True),
    ({"version_id": UNKNOWN, **ONTO}, "", None, True),
    ({"triggers": ["v2"]}, "triggers", None, False),
    ({"triggers": ["v2"], "version_id": "v2"}, "triggers", None, False),
    ({"triggers": [UNKNOWN]}, "triggers", None, False),
    ({"target_database_id": OTHER_DATABASE}, "target_database_id", None, False),
    ({"database_id": OTHER_DATABASE}, "database_id", None, False),
]


@pytest.mark.parametrize(("change", "replaces", "unknown", "warns"), CHANGES)
def test_only_triggers_or_another_target_restore_again(
    change: Mapping[str, Any], replaces: str, unknown: str | None, *, warns: bool
) -> None:
    found = RestoreRules().changes(RECORD, GOOD, {**GOOD, **change}, START)
    assert (found.replaces, found.updates) == ((replaces,) if replaces else (), ())
    assert (
        str(found.warning).startswith(
            "the snapshot changed; set triggers to restore again."
        )
        is warns
    )
    assert warns or not found.warning
    if unknown is not None:
        decided = f"decided in the update, since a preview does not know {PYTHON.text(Message(unknown))}"
        assert PYTHON.text(found.reason) == (decided if unknown else "")


def test_a_pending_one_is_resumed_whatever_snapshot_the_program_names() -> None:
    attempt = Request(START, "200", 900.0, "a1")
    pending = RestoreRecord(
        DATABASE, "v1", DATABASE, "2026-03-01T12:00:00Z", attempt=attempt
    )
    assert RestoreRules().changes(pending, GOOD, GOOD, START).updates == ("attempt",)
    found = RestoreRules().changes(pending, GOOD, {**GOOD, "version_id": "v2"}, START)
    assert found.updates == ("attempt",)
    assert found.warning
    assert (
        RestoreRules().changes(pending, GOOD, {**GOOD, "triggers": [1]}, START).replaces
    )


def test_a_preview_says_that_what_is_resumed_has_failed() -> None:
    attempt = Request(START, "200", 900.0, "a1", outcome="SNAPSHOT_CORRUPT")
    failed = RestoreRecord(
        DATABASE, "v1", DATABASE, "2026-03-01T12:00:00Z", attempt=attempt
    )
    found = RestoreRules().changes(failed, GOOD, GOOD, START)
    assert found.updates == ("attempt",)
    assert "failed with SNAPSHOT_CORRUPT" in PYTHON.text(found.reason)


@pytest.mark.parametrize(
    "attempt", [None, Request(START, "200", 900.0, "a1", previous=START)]
)
def test_the_state_gives_a_record_back_as_it_was(attempt: Request | None) -> None:
    record = RestoreRecord(
        DATABASE, "v1", OTHER_DATABASE, "2026-03-01T12:00:00Z", attempt=attempt
    )
    kept = {
        name: value for name, value in record.to_outputs().items() if value is not None
    }
    assert RestoreRecord.from_outputs(kept) == record
