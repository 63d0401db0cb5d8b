"""What `report` says of a quarter: the numbers of `status`, what falls short, what is not known, and never a secret."""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.cli.assurance.health import PERIOD
from pulumi_snapshots.cli.terminal import output
from pulumi_snapshots.clock import ServiceClock, parse_rfc3339, rfc3339
from pulumi_snapshots.drill.check import Check, CheckResult
from pulumi_snapshots.drill.history import MOST_DRILLS, ended_drills, note_ended
from pulumi_snapshots.drill.last import note_last_drill
from pulumi_snapshots.drill.record import DrillRecord
from pulumi_snapshots.drill.tables import TableRows
from pulumi_snapshots.ledger.ledger import Ledger
from tests.archive.scene import put
from tests.cli.test_drill import ROWS, DrillDesk
from tests.cli.test_drill import desk as drill_desk
from tests.cli.test_status import sample
from tests.cli.typed import Desk, Ended, Terminal, at_desk
from tests.support.drilling import CONNECTION, SCRATCH, FakeDatabases
from tests.support.memory import Memory
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START, World, world

DAY = timedelta(days=1)
HOUR = 3600.0
PROJECT = Path(__file__).resolve().parents[2]
STORED = PROJECT / "tests" / "fixtures" / "states" / "unreleased"


def one_of(ended: Ended) -> dict[str, Any]:
    """What the report says of the database."""
    (found,) = (each for each in ended.json["databases"] if each["id"] == DATABASE)
    return dict(found)


# A quarter -----------------------------------------------------------------------------------------------------------


class Quarter(NamedTuple):
    """What happened in 90 days."""

    archived: list[tuple[str, datetime]]
    """Each archive, and when its snapshot was taken."""
    drilled: list[tuple[str, bool]]
    """The version of each drill, and whether it passed."""
    back: str
    """The snapshot that was restored."""


async def lives_through(desk: DrillDesk, folder: str) -> Quarter:
    """A snapshot each day but for a holiday of four; each week an archive and a drill, of which one fails."""
    w = desk.w
    w.emulator.execute(
        DATABASE, "CREATE TABLE rows (state)", "INSERT INTO rows VALUES ('then')"
    )
    archived = list[tuple[str, datetime]]()
    drilled = list[tuple[str, bool]]()
    back = ""
    for day in range(90):
        if not 60 <= day < 64:
            w.emulator.add_snapshot(DATABASE)
        if day % 7 == 0:
            stored = w.newest()
            snapshot = f"{DATABASE}/{stored.version_id}"
            uri = (await desk.types("archive", snapshot, folder, "--json")).done.json[
                "uri"
            ]
            archived.append((uri, stored.modified))
            wrong = ("select 1 == 2",) if day == 35 else (ROWS,)
            drilled.append(
                (
                    stored.version_id,
                    (await desk.drills(snapshot, checks=wrong)).code == 0,
                )
            )
        if day == 80:
            await w.clock.sleep(HOUR)
            assert (
                await desk.types("guard", DATABASE, "--", "true", "migrate")
            ).code == 0
        if day == 81:
            back = (await desk.types("guards", "--json")).json[0]["snapshot"]
            assert (await desk.types("restore", back, "--yes")).code == 0
        await w.clock.sleep(
            86400.0 - (w.clock.utc() - START - day * DAY).total_seconds()
        )
    return Quarter(archived, drilled, back)


@staged(world, databases=(DATABASE, SCRATCH), cache_world="invalidated")
async def test_a_report_of_90_days_shows_each_drill_and_gap_and_what_cannot_be_known(
    w: World, tmp_path: Path
) -> None:
    place = Memory(w.clock)
    folder = f"{tmp_path}/kept/"
    environment = {"SCRATCH_URL": CONNECTION}
    desk = DrillDesk(w, tmp_path / "state", environment, place=lambda: place)
    with FakeDatabases(w.emulator).instead():
        quarter = await lives_through(desk, folder)
    asked = ("--since", "90d", "--archives", folder, "--drill-within", "8d")
    ended = await desk.types("report", DATABASE, *asked, "--json")
    found = one_of(ended)
    shows_drills(found["drills"], quarter)
    shows_archive(found, *quarter.archived[-1])
    shows_restore(found, quarter.back, w)
    # Of the first 60 days, the service has forgotten all but what was archived once a week.
    assert found["longest_gap"] == 7 * 86400.0
    between = f"from {found['longest_gap_from']} until {found['longest_gap_until']}"
    longest = "the longest time without a new snapshot was 7 days"
    assert found["problems"] == [f"{longest}, {between}, more than 1 day 2 h"]
    assert any("Before 2026-04-30T" in each for each in ended.json["unknown"])
    # Within 30 days each snapshot is known, and the holiday is what was longest.
    month = one_of(await desk.types("report", DATABASE, "--archives", folder, "--json"))
    assert month["longest_gap"] == pytest.approx(5 * 86400.0, abs=HOUR)
    page = (await desk.types("report", DATABASE, *asked)).failed(longest).out
    shows_people_the_same(page, found, quarter)
    shows_no_secret(page + ended.out, w)


def shows_drills(drills: list[dict[str, Any]], quarter: Quarter) -> None:
    """The report has each drill of the quarter, and what was wrong with the one that failed."""
    assert [(each["version_id"], each["passed"]) for each in drills] == quarter.drilled[
        ::-1
    ]
    taken = [rfc3339(modified) for _, modified in reversed(quarter.archived)]
    assert [each["version_created_at"] for each in drills] == taken
    assert {each["known_from"] for each in drills} == {"ledger"}
    (failed,) = (each for each in drills if not each["passed"])
    assert failed["results"] == [
        {
            "check": "select 1",
            "passed": False,
            "expected": "2",
            "found": "1",
            "reason": None,
        }
    ]
    assert failed["recovery_seconds"] is None


def shows_archive(found: dict[str, Any], uri: str, modified: datetime) -> None:
    """The newest archive is this one, and it is the file that is there."""
    assert (found["archive"], found["archive_created_at"]) == (uri, rfc3339(modified))
    content = Path(uri.removeprefix("file://")).read_bytes()
    assert found["archive_sha256"] == hashlib.sha256(content).hexdigest()
    assert (found["archive_size"], found["archive_recipients"]) == (len(content), None)


def shows_restore(found: dict[str, Any], back: str, w: World) -> None:
    """The report has the guarded change, the restore, and what was kept right before the restore."""
    # what a restore has kept guards the restore, and is newer
    guarded = found["changes"][-1]
    assert (guarded["changes"], guarded["way_back"]) == (["run of true"], back)
    (restore,) = found["restores"]
    assert (restore["snapshot"], restore["result"]) == (back, "success")
    stored = w.emulator.snapshots(DATABASE)
    taken = {f"{DATABASE}/{each.version_id}": each.modified for each in stored}
    before = parse_rfc3339(restore["requested_at"]) - taken[restore["way_back"]]
    assert timedelta(0) <= before < timedelta(minutes=30)


def shows_people_the_same(page: str, found: dict[str, Any], quarter: Quarter) -> None:
    """The page has what programs read."""
    versions = dict(quarter.drilled)
    shown = (found["archive_sha256"], quarter.back, "**failed**: 1", "run of true")
    assert [each for each in (*shown, *versions) if each not in page] == []


def shows_no_secret(text: str, w: World) -> None:
    """Neither the key, nor a password, nor a URL is in what was written."""
    key = w.emulator.settings.api_key
    secrets = (key, "never-shown", "Signature", "http://", "https://")
    assert [each for each in secrets if each in text] == []


class SameDatabase(NamedTuple):
    """What three commands say of one database at one time."""

    status: dict[str, Any]
    report: dict[str, Any]
    metrics: str


async def told_thrice(at: DrillDesk, tmp_path: Path) -> SameDatabase:
    """Let `status`, `report` and the metrics speak of a database with an archive and a drill."""
    for hours in (5, 30, 90):
        at.w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=hours))
    folder = f"{tmp_path}/kept/"
    file = tmp_path / "squarecloud.prom"
    snapshot = f"{DATABASE}/{at.w.newest().version_id}"
    assert (await at.types("archive", snapshot, folder)).code == 0
    await at.drills(snapshot, "--archives", folder)
    await at.w.clock.sleep(1800)
    where = (DATABASE, "--archives", folder)
    ended = await at.types("status", *where, "--metrics", str(file), "--json")
    (status,) = ended.done.json["databases"]
    report = one_of(await at.types("report", *where, "--json"))
    return SameDatabase(status, report, file.read_text())


@staged(drill_desk, cache_world="invalidated")
async def test_report_and_status_give_the_same_numbers(
    at: DrillDesk, tmp_path: Path
) -> None:
    status, report, _ = await told_thrice(at, tmp_path)
    # these count until now, which is a little later
    counting = {name for name in status if name.endswith(("_age", "longest_gap"))}
    same = status.keys() - counting - {"ok", "problems"}
    assert {name: report[name] for name in same} == {
        name: status[name] for name in same
    }
    assert {name: report[name] for name in counting} == pytest.approx(
        {name: status[name] for name in counting}, abs=2
    )


@staged(drill_desk, cache_world="invalidated")
async def test_metrics_give_the_same_numbers_as_report_and_status(
    at: DrillDesk, tmp_path: Path
) -> None:
    status, report, metrics = await told_thrice(at, tmp_path)
    gaps = sample(metrics, "snapshot_longest_gap_seconds")
    assert gaps == {DATABASE: status["longest_gap"]}
    recoveries = sample(metrics, "drill_recovery_seconds")
    assert recoveries == {DATABASE: report["recovery_seconds"]}


@staged(drill_desk, cache_world="invalidated")
async def test_a_report_has_the_recovery_time_and_the_proofs_of_its_last_drill(
    at: DrillDesk, tmp_path: Path
) -> None:
    report = (await told_thrice(at, tmp_path)).report
    (drill,) = report["drills"]
    assert drill["recovery_seconds"] == report["recovery_seconds"]
    assert drill["recovery_seconds"] > drill["restore_seconds"]
    assert drill["proved_by"] == ["address", "restart"]


# States --------------------------------------------------------------------------------------------------------------


def exported(name: str, **changes: Any) -> dict[str, Any]:
    """A stack as `pulumi stack export` prints it; `changes` are outputs of its drill, in Python's names."""
    resources = []
    for each in json.loads((STORED / f"{name}.json").read_text()):
        drill = changes if each["urn"].endswith("::proof") else {}
        outputs = {**each["outputs"], **drill}
        kept = {key: value for key, value in outputs.items() if value != "GONE"}
        type_ = each["urn"].split("::")[2]
        resources.append({**each, "type": type_, "outputs": kept})
    return {"version": 3, "deployment": {"resources": resources}}


class StatedOnly(NamedTuple):
    """A report about what only a state has."""

    drilled_at: datetime
    ended: Ended


async def reports_state(w: World, tmp_path: Path, way: str) -> StatedOnly:
    """Report an hour after the drill that a stored state has; the ledger has nothing."""
    stored = exported(way)
    (proof,) = (
        each["outputs"]
        for each in stored["deployment"]["resources"]
        if each["urn"].endswith("::proof")
    )
    drilled_at = parse_rfc3339(proof.get("drilled_at") or proof["drilledAt"])
    w.emulator.advance((drilled_at - START).total_seconds() + 3600)
    file = tmp_path / "stack.json"
    file.write_text(json.dumps(stored))
    w.emulator.add_snapshot(DATABASE)
    desk = Desk(w, tmp_path / "state")
    ended = await desk.types("report", DATABASE, "--state", str(file), "--json")
    return StatedOnly(drilled_at, ended)


WAYS = pytest.mark.parametrize("way", ["dynamic", "plugin"])


@WAYS
@staged(world)
async def test_a_state_shows_drills_and_restores_that_no_ledger_has(
    w: World, tmp_path: Path, way: str
) -> None:
    drilled_at, ended = await reports_state(w, tmp_path, way)
    found = one_of(ended)
    (drill,) = found["drills"]
    assert drill["known_from"] == "state of proof of app/dev"
    assert (drill["results"][0]["found"], drill["proved_by"]) == ("1", [])
    assert found["drilled_at"] == rfc3339(drilled_at)
    by = {each["by"] for each in found["restores"]}
    assert by == {"back of app/dev", "unknown of app/dev"}
    assert "127.0.0.1" not in ended.out, "an address of a connection, or of a download"
    assert "cannot be read" not in ended.out, "what is secret is left out, not trouble"


@staged(world)
async def test_what_a_state_is_about_to_delete_or_has_of_another_origin_counts_for_nothing(
    w: World, tmp_path: Path
) -> None:
    w.emulator.advance(300 * 86400.0)
    stored = exported("dynamic")
    file = tmp_path / "stack.json"
    desk = Desk(w, tmp_path / "state")

    async def reported(*options: str) -> dict[str, Any]:
        file.write_text(json.dumps(stored))
        typed = ("report", DATABASE, "--state", str(file), *options, "--json")
        return one_of(await desk.types(*typed))

    assert (await reported())["longest_gap"]
    assert (await reported("--origin", "automatic"))["longest_gap"] is None
    for each in stored["deployment"]["resources"]:
        each["delete"] = True
    found = await reported()
    assert (found["longest_gap"], found["drills"], found["restores"]) == (None, [], [])


@staged(drill_desk)
async def test_a_drill_in_the_ledger_and_in_a_state_is_known(
    at: DrillDesk, tmp_path: Path
) -> None:
    await at.drills()
    (drill,) = one_of(await at.types("report", DATABASE, "--json"))["drills"]
    times = {name: drill[name] for name in ("requested_at", "drilled_at")}
    stored = exported("dynamic", version_id=drill["version_id"], **times)
    (tmp_path / "stack.json").write_text(json.dumps(stored))
    ended = await at.types(
        "report", DATABASE, "--state", f"{tmp_path}/stack.json", "--json"
    )
    assert "not in the ledger" not in "".join(ended.json["unknown"])


@virtual
async def test_the_ledger_keeps_how_a_drill_ended_last() -> None:
    async with world() as w:
        ledger = Ledger(Memory(w.clock), ServiceClock(w.clock))
        at = rfc3339(START)
        record = DrillRecord(DATABASE, "v", SCRATCH, at, at)
        counted = [TableRows("public.orders", 3)]
        result = CheckResult("rows", passed=True, expected="as before", tables=counted)
        failed = record.with_results([replace(result, passed=False)], [])
        another = replace(failed, requested_at=rfc3339(START + DAY))
        ancient = replace(failed, requested_at=rfc3339(START - 401 * DAY))
        passed = record.with_results([result], [])
        for each in (ancient, failed, another, passed, passed):
            await note_ended(ledger, each)
        ended = await ended_drills(ledger)
    assert [(each.requested_at, each.passed) for each in ended] == [
        (at, False),
        (another.requested_at, False),
        (at, True),
    ]
    assert ended[-1].results == [replace(result, tables=None)], "tables would fill it"
    assert ended[-1].last_good is None


UNKNOWN = (
    "nothing but its checks shows that the drill of .*",
    "how the restore of .* not known",
    "the archive of offsite of app/dev was not found whole.*",
    ".*are not in the ledger: it is of another.*",
)


@WAYS
@staged(world)
async def test_a_state_alone_leaves_open_what_only_others_can_prove(
    w: World, tmp_path: Path, way: str
) -> None:
    ended = (await reports_state(w, tmp_path, way)).ended
    unknown = [*one_of(ended)["unknown"], *ended.json["unknown"]]
    for text in UNKNOWN:
        assert any(re.match(text, each) for each in unknown), text


# Trouble: a sentence each, and never a wrong pass ----------------------------------------------------------------------

Trouble = Callable[[Desk, World, Path], Awaitable[tuple[str, ...]]]


async def no_state(_desk: Desk, _w: World, tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "stack.json").write_text("Enter your passphrase:")
    return "--state", f"{tmp_path}/stack.json"


async def deep_state(_desk: Desk, _w: World, tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "stack.json").write_text("[" * 100_000)
    return "--state", f"{tmp_path}/stack.json"


async def resource_that_is_none(
    _desk: Desk, _w: World, tmp_path: Path
) -> tuple[str, ...]:
    (tmp_path / "stack.json").write_text('{"deployment": {"resources": [5]}}')
    return "--state", f"{tmp_path}/stack.json"


async def no_file(_desk: Desk, _w: World, tmp_path: Path) -> tuple[str, ...]:
    return "--state", f"{tmp_path}/stack.json"


def changed(**outputs: Any) -> Trouble:
    async def trouble(_desk: Desk, _w: World, tmp_path: Path) -> tuple[str, ...]:
        (tmp_path / "stack.json").write_text(json.dumps(exported("dynamic", **outputs)))
        return "--state", f"{tmp_path}/stack.json"

    return trouble


async def no_object(_desk: Desk, _w: World, tmp_path: Path) -> tuple[str, ...]:
    shelve(tmp_path, 1).unlink()
    return "--archives", f"{tmp_path}/kept/"


async def no_zone(_desk: Desk, _w: World, tmp_path: Path) -> tuple[str, ...]:
    shelve(tmp_path, 1, created_at="2026-03-01T10:00:00")
    return "--archives", f"{tmp_path}/kept/"


async def no_store(_desk: Desk, _w: World, tmp_path: Path) -> tuple[str, ...]:
    return "--archives", f"{tmp_path}/gone/"


async def no_service(_desk: Desk, w: World, tmp_path: Path) -> tuple[str, ...]:
    w.fault(status=503, times=None)
    shelve(tmp_path, 1)
    return "--archives", f"{tmp_path}/kept/"


async def no_ledger(desk: Desk, w: World, _tmp_path: Path) -> tuple[str, ...]:
    place = Memory(w.clock)
    place.data = b"{"
    desk.place = lambda: place
    return ()


async def deleted(_desk: Desk, w: World, tmp_path: Path) -> tuple[str, ...]:
    del w.emulator.databases[DATABASE]
    shelve(tmp_path, 1)
    return "--archives", f"{tmp_path}/kept/"


async def old_drill(desk: Desk, w: World, _tmp_path: Path) -> tuple[str, ...]:
    await drilled(desk, w, START - 40 * DAY)
    return "--drill-within", "8d"


async def future_drill(desk: Desk, w: World, _tmp_path: Path) -> tuple[str, ...]:
    await drilled(desk, w, START + 3 * DAY)
    return "--drill-within", "8d"


async def drilled(desk: Desk, w: World, at: datetime) -> None:
    place = Memory(w.clock)
    desk.place = lambda: place
    await note_last_drill(
        Ledger(place, ServiceClock(w.clock)), DATABASE, Drilled(rfc3339(at))
    )


def shelve(tmp_path: Path, hours: float, **said: Any) -> Path:
    """An archive of a snapshot of so many hours ago."""
    times = {"created_at": rfc3339(START - timedelta(hours=hours)), **said}
    return put(tmp_path / "kept", 1, DATABASE, **times)


TROUBLE: dict[str, tuple[Trouble, tuple[str, ...]]] = {
    # By its name: what makes it, and what the report says of it.
    "a state that is none": (no_state, ("the state stack.json cannot be read",)),
    "a state of a number": (
        resource_that_is_none,
        ("an unnamed resource in stack.json cannot be read", "not as Pulumi writes"),
    ),
    "a state of brackets": (
        deep_state,
        ("the state stack.json cannot be read",),
    ),
    "a state that is not there": (no_file, ("the state stack.json cannot be read",)),
    "a state that lacks a field": (
        changed(version_id="GONE"),
        (
            "proof of app/dev in stack.json cannot be read and does not count: version_id is missing",
        ),
    ),
    "a state with a nonsense time": (
        changed(drilled_at="yesterday"),
        ("proof of app/dev in stack.json cannot be read", "must be a time"),
    ),
    "a state with a time without a zone": (
        changed(drilled_at="2026-02-27T12:00:00"),
        (
            "proof of app/dev in stack.json has the time 2026-02-27T12:00:00 without a zone",
        ),
    ),
    "a manifest without its object": (no_object, (".zip is missing",)),
    "a manifest with a time without a zone": (
        no_zone,
        ("has the time 2026-03-01T10:00:00 without a zone, which is read as UTC",),
    ),
    "a place that cannot be read": (no_store, ("the archives in ", "does not exist")),
    "a service that is down": (
        no_service,
        (
            "the service was not asked which snapshots and databases there are",
            "whether the service has a recent snapshot is not known",
        ),
    ),
    "a damaged ledger": (
        no_ledger,
        ("the guarded changes, restores and drills in the ledger are not known",),
    ),
    "a database that was deleted since": (
        deleted,
        ("the account has no such database",),
    ),
    "a drill from before the period": (
        old_drill,
        (
            "the last drill that passed is 40 days 1 min old, more than 8 days",
            "the drill of 2026-01-20T12:00:00Z, the last one that passed, is older than the period",
            "what the drill of 2026-01-20T12:00:00Z checked is not known",
        ),
    ),
    "a drill in the future": (future_drill, ("in the future: a clock is wrong",)),
}


@pytest.mark.parametrize("trouble", TROUBLE)
@at_desk(databases=(DATABASE,))
async def test_trouble_is_a_sentence_in_the_report_and_never_a_pass(
    desk: Desk, w: World, tmp_path: Path, trouble: str
) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=1))
    assert (await desk.types("report", DATABASE)).code == 0
    await w.clock.sleep(60)
    make, sentences = TROUBLE[trouble]
    options = await make(desk, w, tmp_path)
    page = (await desk.types("report", DATABASE, *options)).failed().out
    flat = " ".join(page.split())
    assert [each for each in sentences if each not in flat] == [], page
    ended = (await desk.types("report", DATABASE, *options, "--json")).failed()
    assert ended.json["ok"] is False


@pytest.mark.parametrize(("hours", "side"), [(-3, "ahead of"), (3, "behind")])
@virtual
async def test_clocks_that_differ_are_named_and_ages_count_by_the_later(
    tmp_path: Path, hours: float, side: str
) -> None:
    async with world(clock_offset_seconds=hours * HOUR) as w:
        w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=25))
        desk = Desk(w, tmp_path / "state")
        page = (await desk.types("report", DATABASE)).out
        ended = await desk.types("report", DATABASE, "--json")
    assert one_of(ended)["snapshot_age"] >= 25 * HOUR
    assert f"This machine's clock is 3 h {side} the service's." in page


@pytest.mark.parametrize("hours", [-13, 0, 13])
@virtual
async def test_a_period_by_a_wrong_clock_leaves_nothing_out(
    tmp_path: Path, hours: float
) -> None:
    async with world(clock_offset_seconds=hours * HOUR) as w:
        w.emulator.add_snapshot(DATABASE)
        back = f"{DATABASE}/{w.newest().version_id}"
        desk = Desk(w, tmp_path / "state")
        assert (await desk.types("restore", back, "--yes", "--no-keep")).code == 0
        await w.clock.sleep(23 * HOUR)
        ended = await desk.types("report", DATABASE, "--since", "1d", "--json")
    assert [each["result"] for each in one_of(ended)["restores"]] == ["success"]


@at_desk(databases=(DATABASE, OTHER_DATABASE))
async def test_a_ledger_of_one_machine_is_named_as_such_and_all_databases_are_reported(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    for database_id in (DATABASE, OTHER_DATABASE):
        w.emulator.add_snapshot(database_id, modified=START - timedelta(hours=1))
    gone = "d" * 32
    put(tmp_path / "kept", 1, gone, created_at=rfc3339(START - DAY))
    ended = await desk.types("report", "--archives", f"{tmp_path}/kept/", "--json")
    assert any(
        "The ledger is this machine's own" in each for each in ended.json["unknown"]
    )
    ok = {each["id"]: each["ok"] for each in ended.json["databases"]}
    assert ok == {DATABASE: True, OTHER_DATABASE: True, gone: False}
    quiet = (
        await desk.types("report", "--archives", f"{tmp_path}/kept/", "-q")
    ).failed(gone)
    assert quiet.out == f"{gone}\n"


@staged(drill_desk, cache_world="invalidated")
async def test_the_ledger_keeps_the_last_drills_only_and_the_report_says_so(
    at: DrillDesk,
) -> None:
    for _ in range(MOST_DRILLS + 1):
        assert (await at.drills()).code == 0
        await at.w.clock.sleep(600)
    (await at.drills(checks=("select 1 == 2",))).failed()
    ended = await at.types("report", DATABASE, "--json")
    found = one_of(ended)
    assert len(found["drills"]) == MOST_DRILLS
    assert [each["passed"] for each in found["drills"][:2]] == [False, True]
    assert found["problems"][-1].endswith(", failed")
    assert any(
        f"keeps the last {MOST_DRILLS} drills" in each for each in ended.json["unknown"]
    )


@at_desk(databases=(DATABASE,))
async def test_a_name_or_an_answer_cannot_break_the_page_or_show_a_url(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    w.emulator.databases[DATABASE].name = "a|b\n# c <script>"
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=1))
    check = {
        "check": "select 'https://x.example/?Signature=y'",
        "passed": True,
        "expected": "postgres://u:pass@h/d",
    }
    stored = exported("dynamic", results=[check], drilled_at="2026-02-27T12:00:00Z")
    (tmp_path / "stack.json").write_text(json.dumps(stored))
    page = (
        await desk.types("report", DATABASE, "--state", f"{tmp_path}/stack.json")
    ).out
    assert not re.search(r"^# c", page, re.MULTILINE)
    assert r"a\|b # c &lt;script>" in page
    assert [each for each in ("Signature", ":pass@", "https:") if each in page] == []


@pytest.mark.parametrize("since", ["soon", "2027-01-01", "0d"])
@at_desk()
async def test_a_period_that_has_not_begun_is_a_wrong_argument(
    desk: Desk, since: str
) -> None:
    (await desk.types("report", "--since", since)).failed("since", code=2)


@at_desk()
async def test_a_limit_for_archives_without_a_place_is_a_wrong_argument(
    desk: Desk,
) -> None:
    ended = await desk.types("report", "--max-archive-age", "8d")
    ended.failed("--max-archive-age needs --archives", code=2)


@at_desk()
async def test_a_gap_that_lasts_is_said_once(desk: Desk, w: World) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=27))
    (problem,) = one_of(await desk.types("report", DATABASE, "--json"))["problems"]
    assert problem == "the newest snapshot is 1 day 3 h old, more than 1 day 2 h"


CALM = "c" * 32
"""A database to which nothing has happened."""


async def lives_beside_it(at: DrillDesk, tmp_path: Path) -> tuple[str, ...]:
    """The other database is archived, drilled, migrated and restored; returns where that is known."""
    at.w.emulator.add_database(CALM)
    at.w.emulator.add_snapshot(CALM)
    snapshot = f"{DATABASE}/{at.w.newest().version_id}"
    folder = f"{tmp_path}/kept/"
    archived = (await at.types("archive", snapshot, folder, "--json")).json["uri"]
    file = tmp_path / "stack.json"
    text = json.dumps(exported("dynamic"))
    text = re.sub(r'(?<="uri": ")file:[^"]+9328a9dc[^"]+', archived, text)
    file.write_text(text.replace("2026-12-02T09:", "2026-03-01T09:"))
    await at.drills(snapshot, "--archives", folder)
    await at.w.clock.sleep(HOUR)
    await at.types("guard", DATABASE, "--", "true")
    at.w.emulator.next_restore_fails_with(DATABASE, "RESTORE_FAILED")
    (await at.types("restore", snapshot, "--yes")).failed("RESTORE_FAILED")
    return "--archives", folder, "--state", str(file), "--json"


@staged(drill_desk, cache_world="invalidated")
async def test_a_report_shows_nothing_of_one_database_at_another(
    at: DrillDesk, tmp_path: Path
) -> None:
    known = await lives_beside_it(at, tmp_path)
    ended = await at.types("report", DATABASE, CALM, *known)
    (calm,) = (each for each in ended.json["databases"] if each["id"] == CALM)
    happened = one_of(ended)
    for name in ("drills", "changes", "restores", "archive", "drilled_at"):
        assert happened[name], name
        assert not calm[name], name
    for name in ("before_last_change", "before_last_restore"):
        assert happened[name], name
        assert calm[name] is None, name


@staged(drill_desk, cache_world="invalidated")
async def test_a_report_joins_what_the_ledger_a_state_and_archives_have(
    at: DrillDesk, tmp_path: Path
) -> None:
    known = await lives_beside_it(at, tmp_path)
    happened = one_of(await at.types("report", DATABASE, *known))
    results = {each["result"] for each in happened["restores"]}
    assert results == {"success", "RESTORE_FAILED", None}
    assert not [each for each in happened["unknown"] if "offsite" in each]
    sources = {each["known_from"] for each in happened["drills"]}
    assert sources == {"ledger", "state of proof of app/dev"}


@staged(drill_desk, cache_world="invalidated")
async def test_a_way_back_that_the_service_lists_no_more_is_said_to_be_gone(
    at: DrillDesk, tmp_path: Path
) -> None:
    known = await lives_beside_it(at, tmp_path)
    happened = one_of(await at.types("report", DATABASE, *known))
    way_back = happened["before_last_change"]
    at.w.emulator.remove_snapshot(way_back.partition("/")[2])
    await at.w.clock.sleep(HOUR)
    later = one_of(await at.types("report", DATABASE, *known))
    for report, is_listed in ((happened, True), (later, False)):
        listed = {
            each["way_back"]: each["way_back_listed"] for each in report["changes"]
        }
        assert listed[way_back] is is_listed


@staged(drill_desk, cache_world="invalidated")
async def test_a_report_shows_of_another_period_only_the_last_drill_that_passed(
    at: DrillDesk, tmp_path: Path
) -> None:
    known = await lives_beside_it(at, tmp_path)
    await at.w.clock.sleep(3 * 86400.0)
    ended = await at.types("report", DATABASE, "--since", "1d", *known)
    (late,) = ended.json["databases"]
    assert (late["changes"], late["restores"]) == ([], [])
    assert [each["passed"] for each in late["drills"]] == [True]


# Who wants a wrong pass ----------------------------------------------------------------------------------------------


@at_desk(databases=(DATABASE,))
async def test_weeks_without_a_snapshot_before_the_first_one_are_the_longest_gap(
    desk: Desk, w: World
) -> None:
    w.emulator.advance(28 * 86400.0)
    w.emulator.add_snapshot(DATABASE)
    w.emulator.advance(HOUR)
    ended = (await desk.types("report", DATABASE, "--json")).failed(
        "the longest time without a new snapshot was 28 days, from 2026-03-01T12:00:00Z"
    )
    found = one_of(ended)
    assert found["longest_gap"] == pytest.approx(28 * 86400.0, abs=60)
    assert not [each for each in found["unknown"] if "which snapshots" in each]
    quarter = one_of(await desk.types("report", DATABASE, "--since", "90d", "--json"))
    assert quarter["longest_gap"] == found["longest_gap"]
    w.emulator.advance(5 * 86400.0)
    w.emulator.add_snapshot(DATABASE)
    later = one_of(await desk.types("report", DATABASE, "--since", "90d", "--json"))
    # What was there more than 30 days ago is not known, but what was not there since.
    assert later["longest_gap"] == pytest.approx(25 * 86400.0, abs=2 * HOUR)
    (unknown,) = (each for each in later["unknown"] if "which snapshots" in each)
    assert unknown == (
        "which snapshots there were before 2026-03-04T13:00:00Z is not known"
    )


@staged(drill_desk, cache_world="invalidated")
async def test_a_drill_that_has_failed_stays_in_the_report_once_easier_checks_pass(
    at: DrillDesk,
) -> None:
    place = Memory(at.w.clock)
    at.place = lambda: place
    ledger = Ledger(place, ServiceClock(at.w.clock))
    check = Check(ROWS, at_least=1000)
    record = DrillRecord(
        DATABASE, "v1", SCRATCH, rfc3339(START), rfc3339(START + timedelta(minutes=1))
    )
    for asked in (check, check, replace(check, at_least=1)):
        await note_ended(ledger, record.with_results([asked.judge(5)], []))
    drills = one_of(await at.types("report", DATABASE, "--json"))["drills"]
    assert [each["passed"] for each in drills] == [True, False]
    assert drills[1]["results"][0]["expected"] == "at least 1000"


@staged(drill_desk, cache_world="invalidated")
async def test_a_drill_of_a_run_that_never_came_back_is_named(at: DrillDesk) -> None:
    assert (await at.drills()).code == 0
    await at.w.clock.sleep(600)
    at.w.emulator.add_snapshot(DATABASE)
    version = at.w.newest().version_id
    with anyio.move_on_after(20):
        await at.drills()
    requested = await begun(at)
    unknown = one_of(await at.types("report", DATABASE, "--json"))["unknown"]
    sentence = f"how the drill of version {version}, requested at {requested}, ended is not known"
    assert [each for each in unknown if "the drill of version" in each] == [sentence]


async def begun(at: DrillDesk) -> str:
    """When the last restore of the scratch database was requested."""
    restores = (await at.types("report", SCRATCH, "--json")).json["databases"][0][
        "restores"
    ]
    assert restores[0]["result"] is None
    return str(restores[0]["requested_at"])


@staged(drill_desk, cache_world="invalidated")
async def test_a_first_count_without_a_comparison_is_said_to_prove_little(
    at: DrillDesk,
) -> None:
    assert (await at.drills(checks=())).code == 0
    little = "compared its tables with nothing"
    page = (await at.types("report", DATABASE)).out
    assert page.count(little) == 1
    await at.w.clock.sleep(600)
    assert (await at.drills(checks=())).code == 0
    assert (await at.types("report", DATABASE)).out.count(little) == 1


@staged(drill_desk, cache_world="invalidated")
async def test_a_drill_in_the_future_gives_way_to_the_next_one(at: DrillDesk) -> None:
    place = Memory(at.w.clock)
    at.place = lambda: place
    ledger = Ledger(place, ServiceClock(at.w.clock))
    await note_last_drill(ledger, DATABASE, Drilled(rfc3339(START + 13 * DAY)))
    wrong = await at.types("status", DATABASE, "--drill-within", "8d")
    wrong.failed("in the future: a clock is wrong")
    assert (await at.drills()).code == 0
    assert (await at.types("status", DATABASE, "--drill-within", "8d")).code == 0


@staged(drill_desk, cache_world="invalidated")
async def test_a_way_back_is_listed_whatever_origin_counts_and_never_empty(
    at: DrillDesk,
) -> None:
    await at.w.clock.sleep(HOUR)
    at.w.emulator.add_snapshot(DATABASE)
    good = f"{DATABASE}/{at.w.newest().version_id}"
    await at.w.clock.sleep(HOUR)
    at.w.emulator.add_snapshot(DATABASE).size = 0
    await at.w.clock.sleep(HOUR)
    first = f"{DATABASE}/{at.w.emulator.snapshots(DATABASE)[-1].version_id}"
    assert (await at.types("restore", first, "--yes", "--no-keep")).code == 0
    for options in ((), ("--origin", "automatic")):
        ended = await at.types("report", DATABASE, "--json", *options)
        (restore,) = one_of(ended)["restores"]
        assert (restore["way_back"], restore["way_back_listed"]) == (good, True)


@staged(drill_desk, cache_world="invalidated")
async def test_a_report_in_a_narrow_terminal_cuts_no_id(
    at: DrillDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = at.w.newest().version_id
    assert (await at.drills()).code == 0
    await at.w.clock.sleep(HOUR)
    back = f"{DATABASE}/{version}"
    assert (await at.types("restore", back, "--yes")).code == 0
    for columns in (80, 100, 1000):
        monkeypatch.setattr(output, "width_of", lambda _, columns=columns: columns)
        shown = (await at.types("report", DATABASE, out=Terminal())).out
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
        assert "…" not in plain
        heads = [line for line in plain.splitlines() if line.startswith("ok ")]
        assert DATABASE in heads[0]
        drills = plain[plain.index("Drills") : plain.index("Guarded changes")]
        assert version in drills
        restores = plain[plain.index("Restores") :]
        assert back in restores


def test_reports_by_the_cron_line_of_the_page_leave_no_day_out() -> None:
    page = (PROJECT / "docs" / "howto" / "show-an-auditor.md").read_text()
    found = re.search(r"^0 6 (\S+) \* \* .* --since (\d+)d ", page, re.MULTILINE)
    assert found
    every = [START + number * DAY for number in range(4 * 366)]
    runs = [day for day in every if str(day.day) in found[1].split(",")]
    longest = max(later - earlier for earlier, later in pairwise(runs))
    assert longest < int(found[2]) * DAY < PERIOD


# Stories of several runs ---------------------------------------------------------------------------------------------


@staged(drill_desk, cache_world="invalidated")
async def test_two_drills_that_end_in_one_second_are_two_drills(at: DrillDesk) -> None:
    place = Memory(at.w.clock)
    at.place = lambda: place
    ledger = Ledger(place, ServiceClock(at.w.clock))
    record = DrillRecord(DATABASE, "v1", SCRATCH, rfc3339(START), rfc3339(START))
    onto = ("c" * 32, SCRATCH)
    for scratch in onto:
        drilled = replace(record, scratch_database_id=scratch)
        passed = drilled.with_results([Check(ROWS, at_least=1).judge(5)], [])
        await note_ended(ledger, passed)
        assert passed.proof
        await note_last_drill(ledger, DATABASE, passed.proof, passed.last_good)
    drills = one_of(await at.types("report", DATABASE, "--json"))["drills"]
    assert {each["scratch_database_id"] for each in drills} == {*onto}


@staged(drill_desk, cache_world="invalidated")
async def test_a_count_that_was_compared_with_nothing_is_named_beside_other_checks(
    at: DrillDesk,
) -> None:
    assert (await at.drills(checks=("tables", ROWS))).code == 0
    unknown = one_of(await at.types("report", DATABASE, "--json"))["unknown"]
    (little,) = (each for each in unknown if "with nothing" in each)
    assert little.endswith("its count only shows that a row was there")


@staged(drill_desk, cache_world="invalidated")
async def test_a_backslash_before_a_bar_does_not_break_a_row(at: DrillDesk) -> None:
    (await at.drills(checks=(r"select 'a\|b' =~ ^x",))).failed()
    page = (await at.types("report", DATABASE)).out
    (row,) = (line for line in page.splitlines() if "**failed**:" in line)
    assert r"**failed**: a\\\|b" in row


@staged(drill_desk, cache_world="invalidated")
async def test_what_is_left_after_a_lost_machine_and_a_removed_archive_is_reported_as_such(
    at: DrillDesk, tmp_path: Path
) -> None:
    folder = f"{tmp_path}/kept/"
    version = at.w.newest().version_id
    typed = ("archive", f"{DATABASE}/{version}", folder)
    first = (await at.types(*typed, "--json")).done.json["uri"]
    assert (await at.drills(f"{DATABASE}/{version}", "--archives", folder)).code == 0
    await at.w.clock.sleep(7 * 86400.0)
    at.w.emulator.add_snapshot(DATABASE)
    newer = f"{DATABASE}/{at.w.newest().version_id}"
    second = (await at.types("archive", newer, folder, "--json")).done.json["uri"]
    an_owner_comes_and_an_object_goes(first, second)
    # Another machine: the ledger and the states are lost.
    other = DrillDesk(at.w, tmp_path / "other")
    asked = ("report", DATABASE, "--archives", folder, "--archive-within", "6d")
    page = (await other.types(*asked)).failed(".zip is missing", "more than 6 days").out
    found = one_of(await other.types(*asked, "--json"))
    assert found["archive"] == first
    owners = "squarecloud-snapshots archive, prod::shop::Archive::offsite"
    assert (
        found["archive_kept"] == f"without an end date, until it is removed by {owners}"
    )
    assert f"kept {found['archive_kept']}" in page
    (drill,) = found["drills"]
    assert (drill["version_id"], drill["results"]) == (version, None)
    assert drill["known_from"].startswith("manifest of ")
    (sentence,) = (
        each for each in found["unknown"] if each.startswith("what the drill")
    )
    assert sentence.endswith("checked is not known")
    assert (
        "Restores and deletions in Square Cloud's dashboard are in no source." in page
    )


def an_owner_comes_and_an_object_goes(shared: str, removed: str) -> None:
    """Let a stack of somebody else archive an object too, and let somebody remove another."""
    Path(removed.removeprefix("file://")).unlink()
    manifest = Path(shared.removeprefix("file://") + ".json")
    facts = json.loads(manifest.read_text())
    facts["owners"] += [{"id": "o", "name": "urn:pulumi:prod::shop::Archive::offsite"}]
    manifest.write_text(json.dumps(facts))
