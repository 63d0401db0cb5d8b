"""A Drill of an archive: real dumps into a real PostgreSQL, by each way to the engine, without the service and without a key."""

import json
from pathlib import Path
from typing import Any

import pytest

from pulumi_snapshots.drill.record import DrillInputs, own_host
from tests.dynamic.conftest import DATABASE, NAMES, OTHER
from tests.support.real_data import fresh, sql_at
from tests.support.servicer import CallFailedError, Servicer, kept, urn
from tests.support.shelved import IDENTITY, dumped, manifest_of, shelve, zipped
from tools.servers import Server as Postgres

KIND, NAME = "Drill", NAMES["Drill"]
ROWS = "select count(*) from orders"
LEFT = "select count(*) from left_over"


@pytest.fixture
def given(server: Postgres, tmp_path: Path) -> dict[str, Any]:
    """Inputs of an archive in plain SQL, which loads into an empty database only; the scratch database is not empty."""
    sql_at(fresh(server, "source"), "create table orders as select generate_series(1, 7) as id")
    scratch = fresh(server, "scratch")
    sql_at(
        scratch,
        "create table orders (id int)",
        "create schema more create table left_over (id int)",
    )
    archive = shelve(tmp_path, zipped(x=dumped(server, "source")), database_id=DATABASE)
    checks = [{"query": ROWS, "equals": 7.0}]
    return {
        "archive": str(archive),
        "connection": scratch,
        "checks": checks,
        "overwrite_scratch": True,
    }


def test_an_archive_is_loaded_into_an_emptied_database_checked_and_noted(
    idle: Servicer, given: dict[str, Any], tmp_path: Path
) -> None:
    assert not idle.check(NAME, given).failures
    made = idle.create(NAME, given)
    assert made.id.startswith(f"{DATABASE}/v1/drill:20")
    assert made.outputs["archive"] == (tmp_path / "a.zip").as_uri()
    assert made.outputs["proved_by"] == ["load"]
    assert made.outputs["results"] == [
        {"check": ROWS, "passed": True, "expected": "7", "found": "7"}
    ]
    assert made.outputs["last_good"]["version_id"] == "v1"
    assert "drill passed: archived snapshot" in " ".join(idle.diagnostics(NAME))
    assert given["connection"] not in json.dumps(made.outputs)
    with pytest.raises(
        Exception, match="left_over"
    ):  # a check must not pass by what was there before
        sql_at(given["connection"], LEFT)
    noted = manifest_of(tmp_path / "a.zip").drill
    assert noted is not None
    assert noted.drilled_at == made.outputs["drilled_at"]
    for change, changes in (
        ({}, False),
        (
            {
                "archive": (tmp_path / "a.zip").as_uri(),
                "identity_file": "k",
                "database_id": DATABASE,
            },
            False,
        ),
        ({"every": "1d"}, False),
        ({"archive": str(tmp_path / "b.zip")}, True),
        ({"version_id": "v2"}, True),
        (
            {
                "archive": None,
                "database_id": DATABASE,
                "version_id": "v1",
                "scratch_database_id": OTHER,
            },
            True,
        ),
    ):
        assert idle.diff(NAME, made.id, made.outputs, {**given, **change}).changes is changes, (
            change
        )
    # Once more, onto what it has left there itself.
    again = idle.update(NAME, made.id, made.outputs, {**given, "triggers": ["again"]})
    assert (again.id, again.outputs["passed"]) == (made.id, True)
    idle.delete(NAME, made.id, made.outputs)
    assert idle.diagnostics(NAME)[-1].endswith("the scratch database keeps what it holds")


def test_an_archive_that_fails_says_why_keeps_the_last_good_drill_and_is_drilled_again(
    idle: Servicer, given: dict[str, Any], server: Postgres, tmp_path: Path
) -> None:
    good = idle.create(NAME, given)
    wrong = {**given, "checks": [{"query": ROWS, "at_least": 8.0}], "triggers": [2.0]}
    held = kept(idle.update, NAME, good.id, good.outputs, wrong)
    assert "expected at least 8 and found 7" in held.reasons[0]
    assert "was restored from" in held.reasons[0]
    assert held.outputs["last_good"] == good.outputs["last_good"]
    assert idle.diff(NAME, held.id, held.outputs, wrong).changes
    assert (
        idle.update(NAME, held.id, held.outputs, {**given, "triggers": [2.0]}).outputs["passed"]
        is True
    )
    # A dump that is cut short, and one of another engine.
    for content, why in (
        (
            dumped(server, "source", "--format=custom")[:700],
            "PostgreSQL did not take the dump: pg_restore",
        ),
        (b"REDIS0011", "a dump of Redis, and the connection is to PostgreSQL"),
    ):
        shelve(tmp_path, zipped(x=content), database_id=DATABASE)
        held = kept(idle.create, NAME, given)
        assert "failed: it could not be restored (" in held.reasons[0]
        assert why in held.reasons[0]
        assert held.outputs["passed"] is False
    with pytest.raises(CallFailedError, match="cannot be reached"):  # before the archive is read
        idle.create(
            NAME, {**given, "connection": "postgresql://someone:hush-hush@127.0.0.1:1/scratch"}
        )
    warned = idle.create(NAME, {**given, "on_failure": "warn"})
    assert (warned.outputs["passed"], "the last drill" in idle.diagnostics(NAME)[-1]) == (
        False,
        True,
    )


def test_two_drills_of_one_database_do_not_check_each_others_data(
    idle: Servicer, given: dict[str, Any]
) -> None:
    both = [
        idle.start(idle.create, urn(name, "squarecloud:index:Drill"), given)
        for name in ("one", "other")
    ]
    assert [each.result().outputs["passed"] for each in both] == [True, True]


def test_an_encrypted_archive_opens_with_the_key_of_a_file(
    idle: Servicer, given: dict[str, Any], server: Postgres, tmp_path: Path
) -> None:
    archive = shelve(
        tmp_path, zipped(x=dumped(server, "source")), sealed=True, database_id=DATABASE
    )
    key = tmp_path / "key.txt"
    key.write_text(str(IDENTITY))
    sealed = {**given, "archive": str(archive)}
    with pytest.raises(CallFailedError, match=r"is encrypted, and identity_?[fF]ile is not given"):
        idle.create(NAME, sealed)
    made = idle.create(NAME, {**sealed, "identity_file": str(key)})
    assert made.outputs["passed"] is True
    assert str(IDENTITY) not in json.dumps(made.outputs)


@pytest.mark.parametrize(
    ("change", "property_", "reason"),
    [
        (
            {"connection": None},
            "connection",
            "is required: how to connect to the database that the archive is loaded",
        ),
        ({"scratch_database_id": OTHER}, "scratch_database_id", "cannot be given beside archive"),
        (
            {"connection": f"postgresql://u:p@{own_host(DATABASE)}/x", "database_id": DATABASE},
            "connection",
            "another",
        ),
        ({"archive": "backups/"}, "archive", "must be one archive, not a folder"),
        ({"archive": "s3://key:never-shown@bucket/x"}, "archive", "must be s3://BUCKET/NAME"),
        (
            {"identity_file": "AGE-SECRET-KEY-never-shown"},
            "identity_file",
            "must be the path of the private key's file, not the key",
        ),
        (
            {"overwrite_scratch": None},
            "overwrite_scratch",
            "must be true: a drill overwrites everything",
        ),
    ],
)
def test_wrong_inputs_fail_in_the_preview(
    idle: Servicer, change: dict[str, Any], property_: str, reason: str
) -> None:
    connection = "postgresql://u:p@h/d"
    good = {"archive": "a.zip", "connection": connection, "checks": [{"query": "x", "equals": 1.0}]}
    ((name, told),) = idle.check(NAME, {**good, "overwrite_scratch": True, **change}).failures
    assert (name, reason in told) == (property_, True), told
    assert "never-shown" not in told
    # The engine prints the value of a property that a failure names.
    values = {**good, "overwrite_scratch": True, **change}
    assert not [
        each
        for each in DrillInputs.problems(values)
        if "never-shown" in str(values.get(each.property))
    ]


def test_what_must_not_be_overwritten_or_is_not_what_was_meant_is_left_alone(
    idle: Servicer, given: dict[str, Any], tmp_path: Path
) -> None:
    own = f"postgresql://u:p@{own_host(DATABASE)}/x"
    for change, why in (
        ({"connection": own}, "leads to the archive's own database: a drill overwrites everything"),
        ({"version_id": "v2"}, f"is an archive of snapshot {DATABASE}/v1, not of {DATABASE}/v2"),
        ({"archive": str(tmp_path / "none.zip")}, "does not exist"),
        ({"timeout": 0.001}, "did not come to its end: it took longer than"),
    ):
        with pytest.raises(CallFailedError, match=why):
            idle.create(NAME, {**given, **change})
    (tmp_path / "a.zip.json").unlink()
    with pytest.raises(
        CallFailedError, match="has no manifest, so nothing says which snapshot it holds"
    ):
        idle.create(NAME, given)
    assert sql_at(given["connection"], "select count(*) from more.left_over") == [(0,)]
