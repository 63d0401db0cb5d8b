"""The command `drill` in virtual time: its exit code, what it prints, and that cron never restores twice."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.cli.test_notify import DISCORD, Monitors, chat_texts
from tests.cli.typed import Desk, Ended
from tests.support.drilling import CONNECTION, ELSEWHERE, SCRATCH, SOURCE, FakeDatabases
from tests.support.virtual import staged
from tests.support.world import DATABASE, world

ROWS = "select count(*) from rows where state = 'then' >= 1"
HOUR = 3600.0
DAY = 24 * HOUR


@dataclass
class DrillDesk(Desk):
    """A desk whose drills ask what the emulator holds."""

    async def drills(
        self, which: str = DATABASE, *more: str, checks: tuple[str, ...] = (ROWS,)
    ) -> Ended:
        asked = [word for check in checks for word in ("--check", check)]
        where = (
            "--scratch",
            SCRATCH,
            "--connection-env",
            "SCRATCH_URL",
            "--overwrite-scratch",
        )
        return await self.types("drill", which, *where, *asked, *more)


@asynccontextmanager
async def desk(tmp_path: Path, **service: Any) -> AsyncIterator[DrillDesk]:
    async with world(databases=(DATABASE, SCRATCH), **service) as w:
        w.emulator.execute(
            DATABASE, "CREATE TABLE rows (state)", "INSERT INTO rows VALUES ('then')"
        )
        w.emulator.add_snapshot(DATABASE)
        with FakeDatabases(w.emulator).instead():
            yield DrillDesk(w, tmp_path / "state", {"SCRATCH_URL": CONNECTION})


@staged(desk)
async def test_a_drill_ends_with_0_and_says_what_it_found_and_its_age_is_known(
    at: DrillDesk, tmp_path: Path
) -> None:
    archives = f"{tmp_path}/archives/"
    version = at.w.newest().version_id
    await at.types("archive", f"{DATABASE}/{version}", archives)
    checks = (ROWS, "select 'a >= b' =~ ^a")
    ended = (await at.drills(DATABASE, "--archives", archives, checks=checks)).done
    assert ended.out.splitlines()[0] == f"drilled   {DATABASE}/{version}"
    said = (
        f"onto      {SCRATCH}",
        "took      1 min",
        "proof     address, restart",
        "ok  select 'a >= b'",
    )
    assert [each for each in said if each not in ended.out] == []
    assert "drill passed: snapshot" in ended.err
    assert "never-shown" not in ended.out + ended.err
    _is_recorded_without_a_secret(tmp_path)
    listed = (await at.types("archives", archives)).done.out
    assert "DRILL PASSED" in listed
    assert re.search(r"2026-03-01 12:0\d.* +2026-03-01 12:0\d", listed)

    await anyio.sleep(2 * DAY)
    at.w.emulator.add_snapshot(DATABASE)
    await _status_knows_an_age_of_two_days(at)
    await _status_knows_an_age_of_two_days(at, "--archives", archives)


def _is_recorded_without_a_secret(folder: Path) -> None:
    """The manifest beside the archive says when it was drilled, and how long the restore took."""
    (manifest,) = (folder / "archives").rglob("*.json")
    proof = json.loads(manifest.read_text())["drill"]
    assert proof["drilled_at"].startswith("2026-03-01T12:0")
    assert proof["restore_seconds"] == pytest.approx(60, abs=2)
    written = [path.read_text() for path in folder.rglob("*.json")]
    assert "never-shown" not in "".join(written)


async def _status_knows_an_age_of_two_days(at: DrillDesk, *where: str) -> None:
    """From the archives, or without them."""
    seen = (await at.types("status", DATABASE, *where)).done
    assert "DRILL" in seen.out
    assert "2 days" in seen.out
    (await at.types("status", DATABASE, "--max-drill-age", "1d", *where)).failed(
        "the last drill that passed is 2 days"
    )


@staged(desk)
async def test_a_drill_says_that_no_archive_is_of_its_snapshot(
    at: DrillDesk, tmp_path: Path
) -> None:
    archived = f"{DATABASE}/{at.w.newest().version_id}"
    await at.types("archive", archived, f"{tmp_path}/archives/")
    at.w.emulator.add_snapshot(DATABASE)
    drilled = f"{DATABASE}/{at.w.newest().version_id}"
    ended = (await at.drills(drilled, "--archives", f"{tmp_path}/archives/")).done
    assert (
        f"has no archive of snapshot {drilled}, so no manifest notes the drill"
        in ended.err
    )


@staged(desk)
async def test_a_check_that_fails_ends_with_1_and_json_has_expected_and_found(
    at: DrillDesk, tmp_path: Path
) -> None:
    whole = f"{DATABASE}/{at.w.newest().version_id}"
    options = ("--archives", f"{tmp_path}/a b/", "--timeout", "40m")
    ended = (
        await at.drills(
            DATABASE, "--json", *options, checks=("select 3 <= 2", "select 1 == 1")
        )
    ).failed("failed: 'select 3' expected at most 2 and found 3.")
    again = (
        f"hint: `squarecloud-snapshots drill {whole} --scratch {SCRATCH} --connection-env SCRATCH_URL --overwrite-scratch "
        f"--check 'select 3 <= 2' --check 'select 1 == 1' --json --archives '{tmp_path}/a b/' --timeout 40m` drills the snapshot again"
    )
    assert again in ended.err
    assert ended.json["id"] == whole
    assert ended.json["passed"] is False
    assert [each["passed"] for each in ended.json["results"]] == [False, True]
    assert "connection" not in ended.json
    seen = await at.types("status", DATABASE, "--max-drill-age", "1d")
    assert "no drill" in seen.err, "one that failed is no proof"
    # For cron each run is a drill of its own.
    assert (await at.drills()).code == 0
    assert len(at.w.requests("restore")) == 2


@staged(desk)
async def test_a_chat_hears_once_which_check_has_failed_and_again_after_a_good_drill(
    at: DrillDesk,
) -> None:
    at.monitors = Monitors()
    at.environment["SQUARECLOUD_NOTIFY"] = DISCORD
    told = []
    for state in ("lost", "lost", "then", "lost"):
        at.w.emulator.execute(DATABASE, f"UPDATE rows SET state = '{state}'")  # noqa: S608
        await anyio.sleep(HOUR)
        at.w.emulator.add_snapshot(DATABASE)
        ended = await at.drills()
        assert ended.code == (state == "lost"), ended.err
        told.append(len(at.monitors.told))
    assert told == [1, 1, 1, 2]
    text, _ = chat_texts(at.monitors, DISCORD)
    assert text.startswith("squarecloud-snapshots drill: failed\n")
    assert "'then'\" expected at least 1 and found 0." in text
    assert "never-shown" not in text


CHECKS = {
    "select '01234' == 01234": 0,
    "select '1234' == 01234": 1,
    "select 1234.5 == 1234.50": 0,
    "select -2e3 == -2000": 0,
    "select 1 == true": 0,
    "select 'nan' == nan": 0,
}


@pytest.mark.parametrize("check", CHECKS)
@staged(desk)
async def test_a_value_is_compared_as_it_is_written(at: DrillDesk, check: str) -> None:
    assert (await at.drills(checks=(check,))).code == CHECKS[check]


@staged(desk)
async def test_the_beginning_of_an_id_is_completed_before_the_address_is_judged(
    at: DrillDesk,
) -> None:
    again = ("--scratch", SCRATCH[:6])
    assert (await at.drills(DATABASE, *again)).code == 0
    at.environment["SCRATCH_URL"] = CONNECTION.replace(":7058", ":7059")
    (await at.drills(DATABASE, *again)).failed(
        "--connection-env must be to port 7058 of the scratch database"
    )
    assert len(at.w.requests("restore")) == 1


OWN = "--scratch must be another database than the snapshot's own"


@staged(desk)
async def test_a_killed_drill_is_resumed_by_the_next_run(at: DrillDesk) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(at.drills)
        await anyio.sleep(30)
        group.cancel_scope.cancel()  # the ledger has what it has sent
    assert ((await at.drills()).code, len(at.w.requests("restore"))) == (0, 1)


WRONG: list[tuple[dict[str, str | None], str]] = [
    (
        {"--overwrite-scratch": None},
        "everything that the scratch database holds, each time: add --overwrite-scratch",
    ),
    ({"--scratch": DATABASE}, OWN),
    ({"--scratch": DATABASE[:8]}, OWN),
    (
        {"--connection-env": "NOT_SET"},
        "must name a variable that holds the secret: NOT_SET is not set",
    ),
    (
        {"--connection-env": "BAD"},
        "--connection-env must be a connection string such as postgresql://",
    ),
    (
        {"--check": "select 1"},
        "--check 'select 1' must be a query, one of ==, >=, <=, =~, and a value.",
    ),
    (
        {"--check": "select 1 =~ ("},
        "--check has check 1, whose =~ must be a regular expression",
    ),
    (
        {"--check": "tables >= 2"},
        "--check has check 1, whose tables is an object, whose >= must be a number from 0 to 1",
    ),
    ({"--check": "tables except 'a"}, "cannot be read: No closing quotation"),
    (
        {"--source-env": "SCRATCH_URL"},
        "--source-env must be to the snapshot's own database",
    ),
    ({"--check": f"select 1 >= {'[' * 5000}"}, "whose >= must be a number"),
    ({"--check": "select 1 >= many"}, "--check has check 1, whose >= must be a number"),
    ({"--check": "tables >= 0.9 exept log"}, "whose >= must be a number"),
]


@pytest.mark.parametrize(("change", "words"), WRONG)
@staged(desk)
async def test_wrong_arguments_overwrite_nothing(
    at: DrillDesk, change: dict[str, str | None], words: str
) -> None:
    at.environment |= {"BAD": "never-shown", "SCRATCH_URL": ELSEWHERE}
    usual = {
        "--scratch": SCRATCH,
        "--connection-env": "SCRATCH_URL",
        "--check": ROWS,
        "--overwrite-scratch": "",
    }
    given: dict[str, str | None] = {**usual, **change}
    typed = [
        word
        for name, value in given.items()
        if value is not None
        for word in (name, value)
        if word
    ]
    ended = (await at.types("drill", DATABASE, *typed)).failed(words, code=2)
    assert "never-shown" not in ended.err
    assert not at.w.requests("restore")


@staged(desk)
async def test_tables_are_counted_compared_with_the_last_drill_and_the_last_line_shows_the_differences(
    at: DrillDesk,
) -> None:
    first = (await at.drills(checks=())).done
    assert first.out.splitlines()[-1] == (
        "largest differences: not known, since nothing was counted before"
    )
    await anyio.sleep(DAY)
    at.w.emulator.execute(DATABASE, "INSERT INTO rows VALUES ('then')")
    at.w.emulator.add_snapshot(DATABASE)
    grown = (await at.drills(checks=("tables >= 0.9 except 'my log' tmp_*",))).done
    assert grown.out.splitlines()[-1] == "largest differences: rows 1 → 2 (+100 %)"
    await anyio.sleep(DAY)
    at.w.emulator.execute(
        DATABASE, "DELETE FROM rows", "INSERT INTO rows VALUES ('then')"
    )
    at.w.emulator.add_snapshot(DATABASE)
    ended = (await at.drills(DATABASE, "--json", checks=("tables",))).failed(
        "and found: rows has 1 of 2 rows"
    )
    (result,) = ended.json["results"]
    assert result["tables"] == [
        {"table": "rows", "rows": 1, "before": 2, "problem": "has 1 of 2 rows"}
    ]
    assert (await at.drills(checks=("tables >= 0.5",))).code == 0


@staged(desk)
async def test_the_first_drill_of_the_command_line_can_be_compared_with_the_source(
    at: DrillDesk,
) -> None:
    at.environment["SHOP_URL"] = SOURCE
    at.w.emulator.execute(DATABASE, "INSERT INTO rows VALUES ('then')")
    options = ("--source-env", "SHOP_URL")
    ended = (await at.drills(DATABASE, *options, checks=())).failed(
        "rows has 1 of 2 rows"
    )
    assert "never-shown" not in ended.out + ended.err
