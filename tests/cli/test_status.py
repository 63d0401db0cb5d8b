"""What `status` says to people, programs and monitoring: green only if every database certainly has what it must have."""

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.cli.assurance.health import longest_gap
from pulumi_snapshots.clock import ServiceClock, rfc3339, to_the_second
from pulumi_snapshots.drill.last import note_last_drill
from pulumi_snapshots.ledger.ledger import Ledger
from tests.archive.scene import put
from tests.cli.typed import Desk, Ended, at_desk
from tests.support.guarding import Machine
from tests.support.memory import Memory
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START, World, world

BOTH = (DATABASE, OTHER_DATABASE)
HOURS = 3600.0


def two_snapshots(w: World, one: float, other: float) -> None:
    """A snapshot of each database, so many hours old."""
    for database_id, hours in ((DATABASE, one), (OTHER_DATABASE, other)):
        w.emulator.add_snapshot(
            database_id, modified=START - timedelta(hours=hours), size=1000
        )


def problems(ended: Ended) -> dict[str, list[str]]:
    return {one["id"]: one["problems"] for one in ended.json["databases"]}


@at_desk(databases=BOTH)
async def test_status_is_green_and_silent_if_every_snapshot_is_young_enough(
    desk: Desk, w: World
) -> None:
    two_snapshots(w, 25, 3)
    ended = (await desk.types("status", "--max-age", "26h")).done
    assert ended.err == ""
    heading, first, second, _, *_, old = ended.out.splitlines()
    assert heading.split() == ["DATABASE", "NAME", "SNAPSHOT"]
    assert re.fullmatch(rf"ok  {DATABASE}  \S+  1 day 1 h", first)
    assert re.fullmatch(rf"ok  {OTHER_DATABASE}  \S+  3 h", second)
    assert (
        old
        == "The listing was requested just now; the service can serve a page that is 30 min old."
    )
    assert [entry.kind for entry in w.emulator.journal] == ["me", "list account"]


@staged(world, databases=BOTH, cache_world="invalidated")
async def test_status_says_to_what_one_can_go_back_and_what_has_proved_it(
    w: World, tmp_path: Path
) -> None:
    place = Memory(w.clock)
    await (
        Machine(w, place)
        .program()
        .change("update of Server shop", guard="acme/shop/dev/before")
    )
    before = w.newest().version_id
    desk = Desk(w, tmp_path, place=lambda: place)
    at_once = (await desk.types("status")).out
    way = f"2026-03-01 12:00:00 UTC\n  squarecloud-snapshots restore {DATABASE}/{before}\n"
    assert f"from before update of Server shop: {way}" in at_once
    assert at_once.count(str(before)) == 1
    assert f": the newest snapshot is {DATABASE[:8]}/{before[:8]}, see above" in at_once
    assert "was taken on" not in at_once, "one snapshot has one time"
    await w.clock.sleep(7200)
    w.emulator.add_snapshot(DATABASE, modified=START + timedelta(hours=1))
    for drilled in (
        Drilled("2026-02-27T12:00:00Z", 75.0, 130.0),
        Drilled("2026-02-20T12:00:00Z"),
    ):  # its checks changed
        await note_last_drill(Ledger(place, ServiceClock(w.clock)), DATABASE, drilled)
    said = (await desk.types("status")).out.splitlines()[4:-1]
    assert re.sub(r"postgres-\w+", "NAME", "\n".join(said)) == (
        f"NAME: from before update of Server shop: {way}"
        "NAME: the newest snapshot was taken on 2026-03-01 13:00:00 UTC; a restore was proved on 2026-02-27 12:00:00 UTC, in 1 min 15 s\n"
        "NAME: at most 1 h 1 min passed without a new snapshot in the last 30 days; "
        "the last drill took 2 min 10 s from its request to its last check\n\n"
        "NAME: there is no snapshot to go back to\n"
    )
    one, other = (await desk.types("status", "--json")).json["databases"]
    assert (one["before_last_change"], other["before_last_change"]) == (
        f"{DATABASE}/{before}",
        None,
    )


@at_desk(snapshot_seconds=300)
async def test_status_says_that_a_snapshot_is_on_its_way(desk: Desk, w: World) -> None:
    async with desk.killed("create", DATABASE):
        await w.clock.sleep(100)
    ended = (await desk.types("status")).failed()
    said = "there is no snapshot to go back to yet\n  a snapshot was requested at 2026-03-01 12:00:00 UTC and is not listed yet\n"
    assert said in ended.out
    await desk.types("create", DATABASE, "--reuse-within", "1h")
    assert "not listed yet" not in (await desk.types("status")).done.out


@at_desk(snapshot_seconds=86400, cache_world="invalidated")
async def test_a_request_that_is_waited_for_no_longer_or_has_a_later_snapshot_is_not_shown(
    desk: Desk, w: World
) -> None:
    async with desk.killed("create", DATABASE):
        await w.clock.sleep(100)

    async def pending() -> str | None:
        (found,) = (await desk.types("status", "--json")).json["databases"]
        return found["pending_since"] and str(found["pending_since"])

    assert await pending() == "2026-03-01T12:00:00Z"
    later = w.emulator.add_snapshot(DATABASE)
    await w.clock.sleep(120)
    assert await pending() is None
    w.emulator.remove_snapshot(later.version_id)
    await w.clock.sleep(1800)
    assert await pending() == "2026-03-01T12:00:00Z"
    await w.clock.sleep(1200)
    assert await pending() is None


@at_desk()
async def test_an_empty_snapshot_is_not_the_newest(desk: Desk, w: World) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=27))
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=1)).size = 0
    assert problems(await desk.types("status", "--json")) == {DATABASE: [OLD]}


@at_desk(databases=BOTH)
async def test_one_old_snapshot_fails_and_names_its_database(
    desk: Desk, w: World
) -> None:
    two_snapshots(w, 27, 3)
    ended = (await desk.types("status")).failed()
    (said,) = ended.err.splitlines()
    assert said.startswith(f"Error: database {DATABASE} (")
    assert said.endswith(
        "): the newest snapshot is 1 day 3 h old, more than 1 day 2 h."
    )
    assert [line.split()[0] for line in ended.out.splitlines()[1:3]] == [
        "PROBLEM",
        "ok",
    ]
    await w.clock.sleep(30)
    ended = await desk.types("status", "--json")
    assert (ended.code, ended.json["ok"], ended.json["max_age"]) == (
        1,
        False,
        26 * HOURS,
    )
    assert (ended.json["checked_at"][:18], ended.json["listing_kept"]) == (
        "2026-03-01T12:00:3",
        False,
    )
    assert [one["ok"] for one in ended.json["databases"]] == [False, True]
    assert ended.json["databases"][1]["snapshot_age"] == pytest.approx(
        3 * HOURS + 30, abs=2
    )
    assert ended.json["databases"][1]["snapshot_created_at"] == "2026-03-01T09:00:00Z"
    assert (await desk.types("status", "--json", "--max-age", "28h")).done.json[
        "ok"
    ] is True


@pytest.mark.parametrize(
    ("days", "says"), [(15, "ends on"), (14, "ends on"), (-1, "ended on")]
)
@virtual
async def test_status_warns_of_the_end_of_a_plan_from_14_days_before(
    tmp_path: Path, days: int, says: str
) -> None:
    ends = START + timedelta(days=days)
    async with world(plan_ends_at=ends) as w:
        for database in w.emulator.databases.values():
            database.running = True
        w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=1))
        desk = Desk(w, tmp_path / "state")
        file = tmp_path / "squarecloud.prom"
        ended = (await desk.types("status", "--metrics", str(file))).done
        line = f"The account's plan {says} {to_the_second(ends)}"
        assert (line in ended.err) is (days < 15)
        assert (line in ended.out) is (days == 15)
        if days < 15:
            assert ended.err.startswith("warning: ")
            assert "others for 14 days at most" in ended.err
            assert "an archive stays" in ended.err
        assert sample(file.read_text(), "plan_end_timestamp_seconds") == {
            "": ends.timestamp()
        }
        assert (await desk.types("status", "--json")).json["plan_ends_at"] == rfc3339(
            ends
        )


@at_desk()
async def test_status_is_silent_about_a_plan_whose_end_is_not_known(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=1))
    file = tmp_path / "squarecloud.prom"
    ended = (await desk.types("status", "--metrics", str(file))).done
    assert ended.err == ""
    assert "plan" not in ended.out + file.read_text()
    assert (await desk.types("status", "--json")).json["plan_ends_at"] is None


# How much a loss costs -------------------------------------------------------------------------------------------------

HOUR = timedelta(hours=1)
GAPS: dict[str, tuple[list[float], float | None]] = {
    # How many hours before the check each snapshot was taken, in a period of 100 hours, and the longest gap.
    "none": ([], None),
    "one": ([5], 5),
    "between two": ([50, 20, 10], 30),
    "since the newest": ([50, 45, 40], 40),
    "from before the period": ([300, 120, 90, 60, 30], 30),
    "long before the period": ([190, 20, 10], 170),
    "all before the period": ([300, 120], 120),
    "in the future": ([20, -50], 20),
    "in no order": ([10, 50, 20], 30),
}


@pytest.mark.parametrize("case", GAPS)
def test_the_longest_gap_is_never_shorter_than_what_a_loss_can_have_cost(
    case: str,
) -> None:
    hours, expected = GAPS[case]
    gap = longest_gap(
        [START - each * HOUR for each in hours], START - 100 * HOUR, START
    )
    assert (gap and gap.seconds / HOURS) == expected


@pytest.mark.parametrize(
    ("listed", "hours", "expected"),
    [(90, [20, 10], 70), (15, [20, 10], 10), (90, [], None), (300, [20], 280)],
)
def test_the_time_before_the_first_snapshot_is_a_gap_too(
    listed: float, hours: list[float], expected: float | None
) -> None:
    taken = [START - each * HOUR for each in hours]
    gap = longest_gap(taken, START - 300 * HOUR, START, START - listed * HOUR)
    assert (gap and gap.seconds / HOURS) == expected


@at_desk(databases=BOTH)
async def test_status_and_metrics_give_the_longest_gap_and_the_recovery_time(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    for hours in (3, 30, 90):
        w.emulator.add_snapshot(DATABASE, modified=START - hours * HOUR)
    w.emulator.add_snapshot(DATABASE, modified=START - 50 * HOUR, origin="automatic")
    w.emulator.add_snapshot(DATABASE, modified=START - 70 * HOUR).size = 0
    file = tmp_path / "squarecloud.prom"
    shelve(tmp_path / "kept", DATABASE, 200, drilled=100, recovery=95.5)
    places = ("--archives", f"{tmp_path}/kept/")
    command = ("status", "--json", *places, "--metrics", str(file))
    one, other = (await desk.types(*command)).json["databases"]
    assert one["longest_gap"] == pytest.approx(110 * HOURS, abs=5), (
        "from the archive on"
    )
    assert one["recovery_seconds"] == 95.5
    assert (other["longest_gap"], other["recovery_seconds"]) == (None, None)
    text = file.read_text()
    gaps = sample(text, "snapshot_longest_gap_seconds")
    assert gaps == {DATABASE: one["longest_gap"], OTHER_DATABASE: math.inf}
    recovered = sample(text, "drill_recovery_seconds")
    assert recovered == {DATABASE: 95.5, OTHER_DATABASE: math.inf}
    manual = (await desk.types("status", "--json", "--origin", "manual", *places)).json
    gap = manual["databases"][0]["longest_gap"]
    assert gap == pytest.approx(60 * HOURS, abs=5), (
        "an archive can be of an automatic snapshot"
    )


# Never a false green ---------------------------------------------------------------------------------------------------


@at_desk()
async def test_a_page_of_a_moment_ago_does_not_make_snapshots_younger(
    desk: Desk, w: World
) -> None:
    w.emulator.add_snapshot(
        DATABASE, modified=START - timedelta(hours=26) + timedelta(seconds=10)
    )
    assert (await desk.types("status", "--json")).done.json["listing_kept"] is False
    await w.clock.sleep(15)
    ended = await desk.types("status", "--json")
    assert (ended.code, ended.json["listing_kept"]) == (1, True)
    assert ended.json["listing_age"] == pytest.approx(15, abs=2)
    assert len(w.requests("list account")) == 1


OLD = "the newest snapshot is 1 day 3 h old, more than 1 day 2 h"
AHEAD = "the newest snapshot is 3 days in the future: a clock is wrong"
OLD_MANUAL = "the newest manual snapshot is 2 days 2 h old, more than 1 day 2 h"
BEHIND = {"clock_offset_seconds": -3 * HOURS}
BEFORE = {"clock_offset_seconds": 3 * HOURS}
GONE = {DATABASE: [], OTHER_DATABASE: ["the account has no such database"]}
NO_GREEN: dict[
    str, tuple[dict[str, Any], dict[str, list[float]], list[str], dict[str, list[str]]]
] = {
    # The service, how many hours old the manual snapshots of each database are, what is typed, and each database's problems.
    "none is listed": (
        {},
        {DATABASE: [1], OTHER_DATABASE: []},
        [],
        {DATABASE: [], OTHER_DATABASE: ["no snapshot"]},
    ),
    "a named one is gone": ({}, {DATABASE: [1]}, [*BOTH], GONE),
    "no databases": ({}, {}, [], {}),
    "service behind": (BEHIND, {DATABASE: [27]}, [], {DATABASE: [OLD]}),
    "machine behind": (BEFORE, {DATABASE: [24]}, [], {DATABASE: [OLD]}),
    "of the future": ({}, {DATABASE: [-72]}, [], {DATABASE: [AHEAD]}),
    "only automatic": (
        {},
        {DATABASE: [50]},
        ["--origin", "manual"],
        {DATABASE: [OLD_MANUAL]},
    ),
}


@pytest.mark.parametrize("case", NO_GREEN)
@virtual
async def test_what_is_not_certainly_young_is_no_green(
    tmp_path: Path, case: str
) -> None:
    service, there, typed, expected = NO_GREEN[case]
    async with world(databases=tuple(there), **service) as w:
        for database_id, ages in there.items():
            for hours in ages:
                w.emulator.add_snapshot(
                    database_id, modified=START - timedelta(hours=hours)
                )
        if case == "only automatic":
            w.emulator.add_snapshot(
                DATABASE, modified=START - timedelta(hours=1), origin="automatic"
            )
        ended = await Desk(w, tmp_path).types("status", *typed, "--json")
        assert (ended.code, ended.json["ok"], problems(ended)) == (1, False, expected)
        assert there or "nothing was checked" in ended.err


@pytest.mark.parametrize("trouble", ["no answer", "no listing", "no databases"])
@at_desk()
async def test_a_service_that_does_not_answer_is_no_green(
    desk: Desk, w: World, tmp_path: Path, trouble: str
) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=1))
    file = tmp_path / "squarecloud.prom"
    await desk.types("status", "--metrics", str(file))
    await w.clock.sleep(60)
    kind = {"no answer": None, "no listing": "list account", "no databases": "me"}[
        trouble
    ]
    w.fault(kind=kind, html=502, times=None)
    ended = (await desk.types("status", "--metrics", str(file))).failed()
    assert ended.out == ""
    assert ended.err.startswith("Error: ")
    assert sample(file.read_text(), "status_success") == {"": 0}
    assert sample(file.read_text(), "database_ok") == {}


# Archives and drills ---------------------------------------------------------------------------------------------------


def shelve(
    folder: Path,
    database_id: str,
    created: float | None,
    drilled: float | None = None,
    recovery: float | None = None,
    **said: Any,
) -> str:
    """An archive; when its snapshot was taken, and when it was drilled, in hours before the start."""
    at = [
        None if hours is None else rfc3339(START - timedelta(hours=hours))
        for hours in (created, drilled)
    ]
    proof = {"drilled_at": at[1], "restore_seconds": 60, "recovery_seconds": recovery}
    return put(
        folder,
        int(created or 0),
        database_id,
        created_at=at[0],
        drill=at[1] and proof,
        **said,
    ).as_uri()


@at_desk(databases=BOTH)
async def test_the_newest_whole_archive_and_the_last_drill_are_shown_with_their_ages(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    two_snapshots(w, 1, 1)
    folder = tmp_path / "kept"
    shelve(folder, DATABASE, 200, drilled=100)
    newest = shelve(folder, DATABASE, 30)
    shelve(folder, DATABASE, 2, drilled=1, size=4)  # its object is not whole
    ended = (await desk.types("status", "--archives", f"{folder}/", "--json")).done
    one, other = ended.json["databases"]
    assert one["archive"] == newest
    assert one["archive_age"] == pytest.approx(30 * HOURS, abs=5)
    assert one["drill_age"] == pytest.approx(100 * HOURS, abs=5)
    assert (other["archive"], other["archive_age"], other["drill_age"]) == (
        None,
        None,
        None,
    )
    shown = (
        await desk.types("status", "--archives", f"{folder}/")
    ).done.out.splitlines()
    assert shown[0].split() == ["DATABASE", "NAME", "SNAPSHOT", "ARCHIVE", "DRILL"]
    assert re.search(r"  1 h +1 day 6 h +4 days 4 h$", shown[1])
    assert re.search(r"  1 h +none +none$", shown[2])


@at_desk(databases=BOTH)
async def test_an_archive_or_drill_that_is_old_missing_or_undated_is_no_green(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    two_snapshots(w, 1, 1)
    shelve(tmp_path / "kept", DATABASE, 30, drilled=9)
    shelve(tmp_path / "more", OTHER_DATABASE, None)
    places = ("--archives", f"{tmp_path}/kept/", "--archives", f"{tmp_path}/more/")
    ended = (
        await desk.types(
            "status",
            *places,
            "--max-archive-age",
            "1d",
            "--max-drill-age",
            "30d",
            "--json",
        )
    ).failed()
    assert problems(ended) == {
        DATABASE: ["the newest archive is 1 day 6 h old, more than 1 day"],
        OTHER_DATABASE: ["no archive of a known age", "no drill that passed"],
    }
    (await desk.types("status", "--archives", f"{tmp_path}/gone/")).failed(
        "gone does not exist.\nhint: Check the path or URI"
    )


# The file of metrics ---------------------------------------------------------------------------------------------------

LABEL = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
LINE = re.compile(
    rf"(?:# (?:HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{{{LABEL}(,{LABEL})*\}})? (?:-?[\d.]+|\+Inf)|# EOF)"
)


def sample(text: str, name: str) -> Mapping[str, float]:
    """The values of a metric by database."""
    found = re.findall(
        rf'^squarecloud_{name}(?:{{database_id="(\w+)".*}})? (.+)$', text, re.MULTILINE
    )
    return {database_id: float(value) for database_id, value in found}


@at_desk(databases=BOTH)
async def test_metrics_hold_times_so_that_an_alert_fires_even_if_the_file_is_old(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    w.emulator.add_database("c" * 32, name='a"b\\c\nd')
    two_snapshots(w, 27, 3)
    shelve(tmp_path / "kept", DATABASE, 30, drilled=9)
    file = tmp_path / "squarecloud.prom"
    command = ("status", "--archives", f"{tmp_path}/kept/", "--metrics", str(file))
    assert (await desk.types(*command)).code == 1
    text = file.read_text()
    at = START.timestamp()
    assert sample(text, "status_success") == {"": 1}
    assert sample(text, "status_timestamp_seconds") == {"": at}
    assert sample(text, "database_ok") == {DATABASE: 0, OTHER_DATABASE: 1, "c" * 32: 0}
    taken = {DATABASE: at - 27 * HOURS, OTHER_DATABASE: at - 3 * HOURS, "c" * 32: 0}
    assert sample(text, "snapshot_timestamp_seconds") == taken
    archived = {DATABASE: at - 30 * HOURS, OTHER_DATABASE: 0, "c" * 32: 0}
    assert sample(text, "archive_timestamp_seconds") == archived
    assert sample(text, "drill_timestamp_seconds")[DATABASE] == at - 9 * HOURS
    _is_in_the_format(text)
    quoted = f'{{database_id="{"c" * 32}",name="a\\"b\\\\c\\nd"}} 0\n'
    assert quoted in text, "a name cannot break it"
    _is_the_only_file_there_and_readable_for_all(file)


def _is_in_the_format(text: str) -> None:
    assert [line for line in text.splitlines() if not LINE.fullmatch(line)] == []
    assert text.endswith("\n# EOF\n")


def _is_the_only_file_there_and_readable_for_all(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in file.parent.iterdir() if path.is_file()] == [
        file.name
    ]


@at_desk()
async def test_metrics_that_cannot_be_written_are_an_error_after_the_result(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=1))
    ended = await desk.types(
        "status", "--json", "--metrics", f"{tmp_path}/no/such.prom"
    )
    assert (ended.code, ended.json["ok"]) == (1, True)
    assert "metrics were not written to" in ended.err
    assert "metrics-unwritable" in ended.err


@at_desk(databases=BOTH)
async def test_two_databases_with_one_name_are_told_apart_in_every_line(
    desk: Desk, w: World
) -> None:
    for database_id in BOTH:
        w.emulator.databases[database_id].name = "shop"
        w.emulator.add_snapshot(database_id)
    lines = (await desk.types("status")).done.out.splitlines()
    about = [line for line in lines if line.startswith("shop")]
    assert len(about) == 4
    for database_id in BOTH:
        assert len([line for line in about if f"shop ({database_id}):" in line]) == 2
