"""A drill that counts tables: what it compares, what fails it, and that nothing uncounted passes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
import pytest

from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.databases.tables import TableCount
from pulumi_snapshots.drill.check import Check, CheckResult
from pulumi_snapshots.drill.last import last_drills, note_last_drill, rows_before
from pulumi_snapshots.drill.record import DRILL, DrillRecord, GoodDrill
from pulumi_snapshots.drill.tables import (
    RowsBefore,
    TableRows,
    Tables,
    largest_differences,
    problems_of,
    totals_of,
)
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.properties.state_check import problem_of_state
from tests.support.drilling import SCRATCH, SOURCE, DrillScene, drill_scene
from tests.support.memory import Memory
from tests.support.virtual import staged
from tests.support.world import DATABASE

LAST = RowsBefore({"orders": 1000, "customers": 10}, "the last good drill")
COUNTED: dict[str, Any] = {"checks": [{"tables_": {}}]}


def counts(**rows: int | str) -> list[TableCount]:
    """Rows of tables; a text is why there are none."""
    return [
        TableCount(name, None, problem=found)
        if isinstance(found, str)
        else TableCount(name, found)
        for name, found in rows.items()
    ]


def leave_one_row(at: DrillScene) -> None:
    """Take a snapshot of one row, which drills are of from now on."""
    emulator = at.at.here.emulator
    emulator.execute(DATABASE, "DELETE FROM rows", "INSERT INTO rows VALUES ('then')")
    at.at.stored = emulator.add_snapshot(DATABASE)


@pytest.mark.parametrize(
    ("tables", "rows", "problems"),
    [
        (Tables(), {"orders": 1000, "customers": 10}, []),
        (Tables(), {"orders": 900, "customers": 9}, []),
        (Tables(), {"orders": 899, "customers": 9}, ["orders has 899 of 1,000 rows"]),
        (Tables(), {"orders": 10_000, "customers": 10, "new": 0}, []),
        (Tables(), {"orders": 1000}, ["customers is gone"]),
        (Tables(0.5), {"orders": 500, "customers": 4}, ["customers has 4 of 10 rows"]),
        (Tables(0), {"orders": 1, "customers": 0}, []),
        (Tables(0), {"orders": 0, "customers": 0}, ["no table has a row"]),
        (Tables(except_=["cust*"]), {"orders": 1000}, []),
        (Tables(except_=["Cust*"]), {"orders": 1000}, ["customers is gone"]),
        (Tables(except_=["customer?"]), {"orders": 1000}, ["customers is gone"]),
        (Tables(except_=["[a-c]*"]), {"orders": 1000}, ["customers is gone"]),
        (
            Tables(),
            {"orders": "permission denied", "customers": 10},
            ["orders cannot be counted: permission denied"],
        ),
        (Tables(), {}, ["no table has a row", "customers is gone", "orders is gone"]),
    ],
)
def test_each_table_needs_its_share_of_the_rows_of_before(
    tables: Tables, rows: Mapping[str, int | str], problems: list[str]
) -> None:
    assert problems_of(tables.compare(counts(**rows), LAST)) == problems


@pytest.mark.parametrize(
    ("before", "rows", "problems"),
    [
        ({"db0/a:*": 60, "db0/b:*": 40}, {"db0": 95}, []),
        ({"db0/a:*": 60, "db0/b:*": 40}, {"db0": 50}, ["db0 has 50 of 100 rows"]),
        ({"db0": 100}, {"db0/a:*": 60, "db0/b:*": 40}, []),
        ({"db0": 100, "db1": 1}, {"db0/a:*": 60, "db1": 1}, ["db0 has 60 of 100 rows"]),
        # A collection of MongoDB can have any name.
        ({"db0/a": 60, "shop/a": 1}, {"db0/a": 60, "shop": 60}, ["shop/a is gone"]),
    ],
)
def test_a_logical_database_of_redis_that_is_counted_as_a_whole_is_compared_as_such(
    before: Mapping[str, int], rows: Mapping[str, int], problems: list[str]
) -> None:
    found = Tables().compare(counts(**rows), RowsBefore(before, ""))
    assert problems_of(found) == problems


def test_a_whole_logical_database_hides_no_loss_behind_keys_that_are_left_out() -> None:
    before = RowsBefore({"db0/order:*": 100}, "")
    found = Tables(except_=["db0/session:*"]).compare(counts(db0=5000), before)
    assert problems_of(found) == ["db0/order:* is gone"]


def test_without_rows_of_before_one_row_must_be_there() -> None:
    for rows, problems in (
        ({"orders": 0, "log": 1}, []),
        ({"orders": 0}, ["no table has a row"]),
        ({}, ["no table has a row"]),
        ({"orders": 5, "log": "broken"}, ["log cannot be counted: broken"]),
    ):
        assert problems_of(Tables().compare(counts(**rows), None)) == problems


def test_a_table_that_has_become_a_view_is_not_taken_for_one_that_is_there() -> None:
    found = Tables().compare(
        [TableCount("orders", None), TableCount("customers", 10)], LAST
    )
    assert problems_of(found) == ["orders is a view, and had 1,000 rows"]


def test_an_estimate_is_said_to_be_one() -> None:
    about = TableCount("orders", 500, is_estimate=True)
    found = Tables().compare([about, TableCount("customers", 10)], LAST)
    assert problems_of(found) == ["orders has about 500 of 1,000 rows"]
    passed = Tables(0.4).compare([about, TableCount("customers", 10)], LAST)
    assert totals_of(passed) == "tables: 2 (1 estimated), rows: 510"


def test_a_result_says_how_many_tables_were_compared_with_nothing() -> None:
    rows = {"orders": 1000, "customers": 10, "log": 5}
    compared = Tables().compare(counts(**rows), LAST)
    assert totals_of(compared) == "tables: 3 (1 new), rows: 1,015"
    first = Tables().compare(counts(**rows), None)
    assert totals_of(first) == "tables: 3, rows: 1,015"


def test_a_result_names_three_problems_in_one_line_each_and_counts_the_rest() -> None:
    many = {f"t{number}": "no" for number in range(5)} | {"a\nb": "no"}
    result = Check.tables(name="rows").judge_tables(Tables(), counts(**many), None)
    assert result.summary == (
        "'rows' expected at least one row and found: no table has a row; a\\nb cannot be counted: no; "
        "t0 cannot be counted: no; 4 more"
    )
    assert result.passed is False


def test_the_largest_differences_are_those_of_most_rows() -> None:
    tables = [
        TableRows("same", rows=5, before=5),
        TableRows("few", rows=1, before=2),
        TableRows("gone", rows=0, before=40, problem="is gone"),
        TableRows("grown", rows=1000, before=100),
        TableRows("less", rows=900, before=1000),
        TableRows("new", rows=10**6),
        TableRows("broken", before=10**6, problem="cannot be counted: no"),
    ]
    assert largest_differences(tables) == (
        "grown 100 → 1,000 (+900 %), less 1,000 → 900 (-10 %), gone 40 → 0 (-100 %)"
    )
    assert largest_differences(tables[:1]) == "none"
    assert (
        largest_differences([tables[5]])
        == "not known, since nothing was counted before"
    )


def test_a_result_comes_back_from_the_state_as_it_was() -> None:
    result = Check.tables().judge_tables(
        Tables(), counts(orders=1000, log=3, bad="no"), LAST
    )
    assert CheckResult.from_outputs(result.to_outputs()) == result
    assert (
        result.expected
        == "at least 90 % of the rows of each table of the last good drill"
    )


@staged(drill_scene)
async def test_without_checks_a_drill_counts_tables_and_compares_with_the_last_good_one(
    at: DrillScene,
) -> None:
    first = await at.passes(checks=None)
    (result,) = first["results"]
    assert result == {
        "check": "tables",
        "passed": True,
        "expected": "at least one row",
        "found": "tables: 1, rows: 1",
        "tables": [{"table": "rows", "rows": 1}],
    }
    assert problem_of_state(DRILL, first) is None
    assert at.stack.row.notes[-1].endswith(
        "and its check passed; largest differences: not known, since nothing was counted before"
    )
    at.at.here.emulator.execute(DATABASE, *["INSERT INTO rows VALUES ('then')"] * 9)
    at.at.stored = at.at.here.emulator.add_snapshot(DATABASE)
    grown = await at.passes(checks=None, restores=2)
    assert at.stack.row.notes[-1].endswith("largest differences: rows 1 → 10 (+900 %)")
    last = f"of version {first['version_id']} at {first['drilled_at']}"
    assert grown["results"][0]["expected"] == (
        f"at least 90 % of the rows of each table of the last good drill, {last}"
    )
    leave_one_row(at)
    kept = await at.fails("and found: rows has 1 of 10 rows.", checks=None, restores=3)
    assert kept["last_good"] == grown["last_good"], "what the next one is compared with"
    at.at.here.emulator.execute(DATABASE, "ALTER TABLE rows RENAME TO lines")
    at.at.stored = at.at.here.emulator.add_snapshot(DATABASE)
    await at.fails("and found: rows is gone.", checks=None, restores=4)
    left_out = [{"tables_": {"except_": ["rows"]}}]
    await at.passes(checks=left_out, restores=4)


@staged(drill_scene)
async def test_a_table_that_only_the_second_check_counts_is_compared_with_before_too(
    at: DrillScene,
) -> None:
    strict = {"tables_": {"at_least": 1, "except_": ["rows"]}}
    checks = [strict, {"tables_": {}}]
    emulator = at.at.here.emulator
    emulator.execute(
        DATABASE,
        "CREATE TABLE other (n)",
        "INSERT INTO other VALUES (1)",
        *["INSERT INTO rows VALUES ('then')"] * 9,
    )
    at.at.stored = emulator.add_snapshot(DATABASE)
    await at.passes(checks=checks)
    leave_one_row(at)
    await at.fails("and found: rows has 1 of 10 rows.", checks=checks, restores=2)


@staged(drill_scene)
async def test_the_first_drill_is_compared_with_the_source_if_it_has_a_connection(
    at: DrillScene,
) -> None:
    at.at.here.emulator.execute(DATABASE, *["INSERT INTO rows VALUES ('later')"] * 9)
    grew = "the source, which may have grown since the snapshot was taken"
    kept = await at.fails(
        f"of each table of {grew} and found: rows has 1 of 10 rows",
        **COUNTED,
        source_connection=SOURCE,
    )
    assert "never-shown" not in f"{kept} {at.told}"
    at.at.stored = at.at.here.emulator.add_snapshot(DATABASE)
    passed = await at.passes(**COUNTED, source_connection=SOURCE)
    assert passed["results"][0]["tables"] == [
        {"table": "rows", "rows": 10, "before": 10}
    ]
    at.databases.asked.clear()
    await at.passes(**COUNTED, source_connection=SOURCE, triggers=["again"])
    assert at.databases.asked == ["count"], "the last good drill is there"


@staged(drill_scene)
async def test_a_source_that_cannot_be_counted_is_no_reason_to_pass(
    at: DrillScene,
) -> None:
    at.databases.uncountable = {"rows": "permission denied for table rows"}
    why = "rows cannot be counted at the source: permission denied for table rows"
    await at.fails(f"could not be run: {why}", **COUNTED, source_connection=SOURCE)
    at.databases.uncountable = {}
    at.at.here.emulator.execute(
        DATABASE, "ALTER TABLE rows RENAME TO lines", "DELETE FROM lines"
    )
    nothing = "could not be run: the source has no row to compare with"
    await at.fails(nothing, **COUNTED, source_connection=SOURCE)
    at.databases.written = "too many tables"
    await at.fails(
        "could not be run: the source could not be counted: too many tables",
        **COUNTED,
        source_connection=SOURCE,
    )


@staged(drill_scene)
async def test_rows_that_something_else_wrote_and_tables_without_rights_are_no_proof(
    at: DrillScene,
) -> None:
    at.databases.written = (
        "something else wrote to the database while its tables were counted"
    )
    await at.fails(f"could not be run: {at.databases.written}", **COUNTED)
    at.databases.written = ""
    at.databases.uncountable = {"rows": "permission denied for table rows"}
    kept = await at.fails(
        "rows cannot be counted: permission denied for table rows", **COUNTED
    )
    assert kept["results"][0]["tables"] == [
        {
            "table": "rows",
            "problem": "cannot be counted: permission denied for table rows",
        }
    ]
    at.databases.uncountable = {}
    await at.passes(**COUNTED, restores=1)


@staged(drill_scene)
async def test_checks_that_run_again_on_the_same_restore_are_not_compared_with_themselves(
    at: DrillScene,
) -> None:
    at.at.here.emulator.execute(DATABASE, *["INSERT INTO rows VALUES ('then')"] * 9)
    at.at.stored = at.at.here.emulator.add_snapshot(DATABASE)
    await at.passes(**COUNTED)
    leave_one_row(at)
    await at.passes(checks=[{"tables_": {"at_least": 0.1}}], restores=2)
    await at.fails(
        "rows has 1 of 10 rows", checks=[{"tables_": {"at_least": 0.5}}], restores=2
    )


@staged(drill_scene)
async def test_the_ledger_remembers_rows_for_runs_without_a_state(
    at: DrillScene,
) -> None:
    ledger = at.stack.machine.session().ledger
    rows = {"rows": 10, "lost": 3}
    result = Check.tables().judge_tables(Tables(), counts(**rows), None)
    good = GoodDrill("2026-02-01T12:00:00Z", DATABASE, "v0", results=[result])
    await note_last_drill(ledger, DATABASE, Drilled(good.drilled_at), good)
    # A later drill without a count keeps the rows.
    await note_last_drill(ledger, DATABASE, Drilled("2026-02-02T12:00:00Z"))
    assert (await last_drills(ledger))[DATABASE] == Drilled("2026-02-02T12:00:00Z")
    last = "the last good drill, of version v0 at 2026-02-01T12:00:00Z"
    await at.fails(f"{last} and found: lost is gone; rows has 1 of 10 rows", **COUNTED)


@staged(drill_scene)
async def test_a_last_drill_that_is_later_than_this_one_is_said_to_be(
    at: DrillScene,
) -> None:
    ledger = at.stack.machine.session().ledger
    result = Check.tables().judge_tables(Tables(), counts(rows=1), None)
    good = GoodDrill("2031-02-01T12:00:00Z", DATABASE, "v0", results=[result])
    await note_last_drill(ledger, DATABASE, Drilled(good.drilled_at), good)
    passed = await at.passes(**COUNTED)
    said = "at 2031-02-01T12:00:00Z (which is later than this drill: another has passed since, or a clock was wrong)"
    assert passed["results"][0]["expected"].endswith(said)


@staged(drill_scene)
async def test_the_later_drill_of_the_state_and_the_ledger_is_what_counts(
    at: DrillScene,
) -> None:
    first = await at.passes(**COUNTED)
    await anyio.sleep(600)
    await notes_rows(at, "2026-03-01T12:05:00Z", rows=1000)  # by another stack
    at.at.stored = at.at.here.emulator.add_snapshot(DATABASE)
    kept = await at.fails(
        "version v9 at 2026-03-01T12:05:00Z and found: rows has 1 of 1,000 rows",
        **COUNTED,
    )
    assert kept["last_good"] == first["last_good"]
    # A drill that has passed later by a wrong clock does not hide the one before it.
    await notes_rows(at, "2031-03-01T12:05:00Z", rows=1)
    at.at.here.emulator.execute(DATABASE, *["INSERT INTO rows VALUES ('then')"] * 9)
    at.at.stored = at.at.here.emulator.add_snapshot(DATABASE)
    grown = await at.passes(**COUNTED)
    assert grown["results"][0]["tables"][0]["before"] == 1
    assert f"at {first['drilled_at']}" in grown["results"][0]["expected"]


async def notes_rows(at: DrillScene, time: str, **rows: int) -> None:
    """Let another run's drill have counted these rows."""
    ledger = at.stack.machine.session().ledger
    result = Check.tables().judge_tables(Tables(), counts(**rows), None)
    good = GoodDrill(time, DATABASE, "v9", results=[result])
    await note_last_drill(ledger, DATABASE, Drilled(time), good)


@staged(drill_scene)
async def test_a_ledger_that_cannot_be_read_by_the_checks_is_no_reason_to_pass(
    at: DrillScene,
) -> None:
    await notes_rows(at, "2026-02-01T12:00:00Z", rows=1000)
    place = at.stack.machine.memory
    at.databases.meanwhile = lambda: setattr(place, "refuses_reads", "the disk is full")
    await at.fails(
        "could not be run: the last good drill is not known",
        "the disk is full",
        **COUNTED,
    )
    place.refuses_reads = ""
    await at.fails("rows has 1 of 1,000 rows", **COUNTED, restores=1)


@staged(drill_scene)
async def test_the_same_restore_is_compared_with_the_same_rows_after_its_state_was_lost(
    at: DrillScene,
) -> None:
    await notes_rows(at, "2026-02-01T12:00:00Z", rows=10)
    emulator = at.at.here.emulator
    emulator.execute(DATABASE, *["INSERT INTO rows VALUES ('then')"] * 9)
    at.at.stored = emulator.add_snapshot(DATABASE)
    await at.up(**COUNTED, saves=False)
    emulator.execute(SCRATCH, "DELETE FROM rows WHERE rowid > 1")  # by somebody else
    await at.fails("rows has 1 of 10 rows", **COUNTED, restores=1)


@staged(drill_scene)
async def test_a_drill_of_another_database_is_no_measure(at: DrillScene) -> None:
    ledger = at.stack.machine.session().ledger
    result = Check.tables().judge_tables(Tables(), counts(other=100), None)
    good = GoodDrill("2026-02-01T12:00:00Z", "another", "v0", results=[result])
    await note_last_drill(ledger, "another", Drilled(good.drilled_at), good)
    passed = await at.passes(**COUNTED)
    assert passed["results"][0]["expected"] == "at least one row"
    record = DrillRecord(
        DATABASE, "v1", SCRATCH, "2026-03-01T12:00:00Z", "2026-03-01T12:01:00Z"
    )
    nothing = Ledger(
        Memory(at.at.here.clock, is_shared=False), at.session.service_clock
    )
    assert await rows_before(nothing, good, record) is None
    own = replace(good, database_id=DATABASE)
    assert (await rows_before(nothing, own, record) or LAST).rows == {"other": 100}
