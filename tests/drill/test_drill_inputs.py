"""Each kind of check passes only for what it asks for, and a connection to another database than the scratch one is refused."""

import re
from typing import Any

import pytest

from pulumi_snapshots.drill.address import ANOTHER, ServerAddress, own_host
from pulumi_snapshots.drill.check import Check, CheckResult, read_checks
from pulumi_snapshots.drill.record import DrillInputs, DrillRecord
from pulumi_snapshots.properties.checks import UNKNOWN
from tests.support.drilling import CONNECTION, SCRATCH
from tests.support.world import DATABASE

MINE = own_host(SCRATCH)
PRODUCTION = own_host(DATABASE)
ELSEWHERE = CONNECTION.replace(SCRATCH, DATABASE)
TUNNEL = "postgresql://a:b@tunnel.example:6000/shop"
OTHER_PORT = "must be to port 7058 of the scratch database, as the service says"
GOOD: dict[str, Any] = {
    "database_id": DATABASE,
    "version_id": "v1",
    "scratch_database_id": SCRATCH,
    "connection": CONNECTION,
    "checks": [{"query": "select 1", "equals": 1}],
    "overwrite_scratch": True,
}


@pytest.mark.parametrize(
    ("wanted", "found", "passed", "expected", "shown"),
    [
        ({"equals": 5.0}, 5, True, "5", "5"),
        ({"equals": 5}, "5.0", True, "5", "5.0"),
        ({"equals": "5"}, "5.0", False, "'5'", "5.0"),
        ({"equals": "5"}, 5, True, "'5'", "5"),
        ({"equals": "ünïcode"}, "Ã¼nÃ¯code", False, "'ünïcode'", "Ã¼nÃ¯code"),
        ({"equals": True}, 1, True, "true", "1"),
        ({"equals": True}, "1", False, "true", "1"),
        ({"equals": 0}, None, False, "0", None),
        ({"at_least": 1}, 0, False, "at least 1", "0"),
        ({"at_least": 0.5}, "0.6", True, "at least 0.5", "0.6"),
        ({"at_least": 1}, "many", False, "at least 1", "many"),
        ({"at_least": 1}, True, False, "at least 1", "true"),
        (
            {"at_least": 9007199254740993},
            9007199254740992,
            False,
            "at least 9007199254740993",
            "9007199254740992",
        ),
        ({"at_most": 3}, 3.0, True, "at most 3", "3"),
        ({"at_least": 1, "at_most": 3}, 4, False, "at least 1 and at most 3", "4"),
        (
            {"matches": "^2026-"},
            "2025-12-31",
            False,
            "a match of '^2026-'",
            "2025-12-31",
        ),
        ({"matches": "^1.$"}, 12, True, "a match of '^1.$'", "12"),
        ({"matches": "a", "equals": "b"}, "b", False, "'b' and a match of 'a'", "b"),
        ({"matches": ""}, "x" * 300, True, "a match of ''", "x" * 100 + "…"),
    ],
)
def test_a_check_passes_only_for_what_it_asks_for(
    wanted: dict[str, Any],
    found: Any,
    expected: str,
    shown: str | None,
    *,
    passed: bool,
) -> None:
    (check,) = read_checks([{"query": "select  it\nfrom there", **wanted}])
    result = check.judge(found)
    assert result == CheckResult("select it from there", passed, expected, shown)
    if not passed:
        assert result.summary.startswith("'select it from there' ")
        assert result.summary.endswith(
            f" expected {expected} and found {shown or 'nothing'}"
        )


def test_a_drill_without_a_result_has_not_passed() -> None:
    record = DrillRecord(
        DATABASE, "v1", SCRATCH, "2026-03-01T12:00:00Z", "2026-03-01T12:01:00Z"
    )
    assert record.with_results([], ["address"]).passed is False


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        ({"checks": "tables"}, "checks", "must be a list of checks"),
        *(
            (
                {"checks": [{"tables_": given}]},
                "checks",
                f"has check 1, whose tables_ {why}",
            )
            for given, why in (
                (
                    {"at_least": 1.5},
                    "is an object, whose at_least must be a number from 0 to 1",
                ),
                (
                    {"at_least": "all"},
                    "is an object, whose at_least must be a number from 0 to 1",
                ),
                (
                    {"except_": "log"},
                    "is an object, whose except_ must be a list of names of tables",
                ),
                (
                    {"except_": [1]},
                    "is an object, whose except_ must be a list of names of tables",
                ),
                (
                    {"only": ["log"]},
                    "is an object with only, which is none of at_least, except_",
                ),
                (True, "must be an object"),
            )
        ),
        (
            {"checks": [{"tables_": {}, "at_least": 3}]},
            "checks",
            "has check 1, whose tables_ must stand alone",
        ),
        (
            {"checks": [{"tables_": {}, "query": "select 1"}]},
            "checks",
            "has check 1, whose tables_ must stand alone",
        ),
        (
            {"source_connection": CONNECTION.replace("driller", "reader")},
            "source_connection",
            "must be to the snapshot's own database, not to that of connection",
        ),
        (
            {"connection": TUNNEL, "source_connection": TUNNEL},
            "source_connection",
            "must be to the snapshot's own database, not to that of connection",
        ),
        (
            {
                "connection": TUNNEL.replace("tunnel.example", "localhost"),
                "source_connection": TUNNEL.replace("tunnel.example", "127.0.0.1"),
            },
            "source_connection",
            "must be to the snapshot's own database, not to that of connection",
        ),
        (
            {"connection": None, "password": "x", "source_connection": CONNECTION},
            "source_connection",
            "and its host is that of another database",
        ),
        (
            {
                "runtime": "postgres",
                "source_connection": "mysql://a:b@tunnel.example/shop",
            },
            "source_connection",
            "must be to PostgreSQL, as the snapshot is of it, not to MySQL",
        ),
        (
            {"checks": [{"query": "x", "equals": 1}] * 101},
            "checks",
            "must be 100 checks at most, not 101",
        ),
        (
            {"checks": ["select 1"]},
            "checks",
            "has check 1, which must be a Check, or an object with query and equals",
        ),
        (
            {"checks": [{"equals": 1}]},
            "checks",
            "has check 1, whose query is required: what the database is asked",
        ),
        (
            {"checks": [{"query": "select 1"}]},
            "checks",
            "which expects nothing: give one of equals, at_least, at_most,",
        ),
        (
            {"checks": [Check("select 1")]},
            "checks",
            "has check 1, which expects nothing: give one of equals,",
        ),
        (
            {"checks": [{"query": "x", "equal": 1}]},
            "checks",
            "has check 1 with equal, which is none of query, name,",
        ),
        (
            {"checks": [{"query": "x", "equals": [1]}]},
            "checks",
            "whose equals must be a text, a number, or true or",
        ),
        (
            {"checks": [{"query": "x", "at_least": "1"}]},
            "checks",
            "whose at_least must be a number",
        ),
        (
            {"checks": [{"query": "x", "matches": "("}]},
            "checks",
            "whose matches must be a regular expression (missing",
        ),
        (
            {"overwrite_scratch": None},
            "overwrite_scratch",
            "must be true: a drill overwrites everything",
        ),
        (
            {"overwrite_scratch": "true"},
            "overwrite_scratch",
            "must be true, not a text",
        ),
        ({"scratch_database_id": None}, "scratch_database_id", "which only drills use"),
        (
            {"scratch_database_id": DATABASE},
            "scratch_database_id",
            "must be another database than the snapshot's own",
        ),
        (
            {"connection": None},
            "password",
            "is required, or connection: how to connect to the scratch database",
        ),
        (
            {"password": "hush-hush"},
            "password",
            "must not be given beside connection, which holds one",
        ),
        ({"password": " ", "connection": None}, "password", "must not be empty"),
        (
            {"runtime": "redis"},
            "connection",
            "must be to Redis, as the snapshot is of it, not to PostgreSQL",
        ),
        ({"version_id": None}, "version_id", "a Snapshot that is pending has none yet"),
        (
            {"version_id": None, "database_id": None},
            "snapshot",
            "is required: a Snapshot",
        ),
        ({"on_failure": "ignore"}, "on_failure", "must be 'error' or 'warn'"),
        ({"connection": ELSEWHERE}, "connection", ANOTHER),
        (
            {"connection": "AGE-SECRET-KEY-never-shown"},
            "",
            "connection must be a connection string such as",
        ),
    ],
)
def test_a_bad_input_fails_before_anything_is_overwritten(
    change: dict[str, Any], name: str, reason: str
) -> None:
    (problem,) = [
        each
        for each in DrillInputs.problems({**GOOD, **change})
        if each.property == name
    ]
    assert reason in str(problem.reason)
    assert "never-shown" not in f"{problem!r} {problem.with_value()}"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"checks": UNKNOWN},
        {"checks": None},
        {"checks": []},
        {"checks": [{"tables_": {}}]},
        {"checks": [{"tables_": UNKNOWN}]},
        {
            "checks": [
                {"tables_": {"at_least": UNKNOWN, "except_": ["log_*"]}, "name": "rows"}
            ]
        },
        {
            "checks": [
                Check.tables(),
                Check.tables(at_least=0.5, except_=["log"], name="rows"),
            ]
        },
        {"source_connection": ELSEWHERE},
        {
            "source_connection": TUNNEL,
            "connection": TUNNEL.replace("/shop", "/scratch"),
        },
        {"source_connection": UNKNOWN},
        {"checks": [UNKNOWN, {"query": UNKNOWN, "at_least": UNKNOWN}]},
        dict.fromkeys(
            ("connection", "scratch_database_id", "database_id", "version_id"), UNKNOWN
        ),
        {"runtime": "postgres"},
        {"runtime": UNKNOWN},
        {"connection": None, "password": "hush-hush"},
        {"connection": None, "password": UNKNOWN},
        {"checks": [{"query": "x", "equals": 0}]},
        {"checks": [{"query": "x", "equals": 0}] * 100},
        {"checks": [Check("select 1", at_least=1)]},
        {"connection": ELSEWHERE, "scratch_database_id": UNKNOWN},
    ],
)
def test_what_a_preview_may_not_know_yet_is_fine(change: dict[str, Any]) -> None:
    assert DrillInputs.problems({**GOOD, **change}) == []


def test_a_missing_library_fails_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pulumi_snapshots.databases.kinds.find_spec", lambda _: None)
    (problem,) = DrillInputs.problems(GOOD)
    assert problem.property == "connection"
    assert re.match(
        r"needs psycopg, which is not installed: `pip install '.*\[drill-postgresql\]",
        str(problem.reason),
    )
    (problem,) = DrillInputs.problems(
        {**GOOD, "connection": None, "password": "hush-hush", "runtime": "mysql"}
    )
    assert (problem.property, "needs pymysql" in str(problem.reason)) == (
        "password",
        True,
    )


def test_no_text_of_the_inputs_shows_the_connection() -> None:
    inputs = DrillInputs.of(GOOD)
    assert inputs.connection == CONNECTION
    assert (
        "never-shown" not in f"{inputs!r} {vars(inputs)} {inputs.to_outputs().keys()}"
    )


@pytest.mark.parametrize(
    ("dsn", "reason", "own"),
    [
        (CONNECTION, None, True),
        (f"redis://:x@{MINE.upper()}.:7058/0", None, True),
        (f"host={MINE} port=7058 dbname=shop", None, True),
        (f"mongodb://a:b@{MINE}:7058,{PRODUCTION}:7058/shop", ANOTHER, False),
        (f"postgresql://a:b@{MINE}:7058/shop?host={PRODUCTION}", ANOTHER, False),
        (f"dbname=shop host = '{PRODUCTION}' port=7058", ANOTHER, False),
        (f"mongodb+srv://a:b@{PRODUCTION}/shop", ANOTHER, False),
        (f"postgresql://a:b@{MINE}/shop", OTHER_PORT, True),
        (f"postgresql://a:b@{MINE}:7058/shop?port=7059", OTHER_PORT, True),
        (f"host={MINE} hostaddr=10.0.0.1 port=7058", None, False),
        (f"service=shop host={MINE}", None, False),
        (f"mongodb+srv://a:b@{MINE}/shop", None, False),
        ("postgresql://a:b@127.0.0.1:7059/shop", None, False),
        (f"mysql://a:b@{MINE}.example.com:7059/shop", None, False),
        ("dbname=shop", None, False),
    ],
)
def test_an_address_says_which_database_it_leads_to(
    dsn: str, reason: str | None, *, own: bool
) -> None:
    address = ServerAddress.of(dsn)
    assert address.misfit(SCRATCH, 7058) == reason
    assert address.is_own(SCRATCH) is own
