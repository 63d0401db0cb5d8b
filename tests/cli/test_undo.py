"""A restore keeps what it overwrites, and its last line undoes it."""

import re
import shlex
from datetime import timedelta

import anyio
import pytest

from pulumi_snapshots.cli.run import LATER
from tests.cli.typed import Desk, Ended, at_desk
from tests.support.world import DATABASE, OTHER_DATABASE, START, World

BOTH = (DATABASE, OTHER_DATABASE)


def rows(w: World, text: str | None = None, database_id: str = DATABASE) -> str:
    """What the database holds; with a text, after that was written."""
    if text is not None:
        w.emulator.execute(database_id, "CREATE TABLE IF NOT EXISTS rows (state TEXT)")
        w.emulator.execute(database_id, "DELETE FROM rows")
        w.emulator.execute(database_id, f"INSERT INTO rows VALUES ('{text}')")  # noqa: S608  the test's own
    ((row,),) = w.emulator.execute(database_id, "SELECT state FROM rows")
    return str(row[0])


def undo_of(err: str) -> list[str]:
    """The arguments of the command that the last line names."""
    last = err.strip().splitlines()[-1]
    found = re.fullmatch(
        r"To undo: squarecloud-snapshots (restore \S+ --no-keep)", last
    )
    assert found, last
    return shlex.split(found[1])


@pytest.mark.parametrize(
    "onto", [(), ("--onto", OTHER_DATABASE)], ids=["its own", "another"]
)
@at_desk(databases=BOTH, snapshot_seconds=60)
async def test_the_last_line_brings_back_what_was_overwritten(
    desk: Desk, w: World, onto: tuple[str, ...]
) -> None:
    target = OTHER_DATABASE if onto else DATABASE
    rows(w, "then")
    stored = w.emulator.add_snapshot(DATABASE)
    rows(w, "now", target)
    snapshot = f"{DATABASE}/{stored.version_id}"
    ended = (await desk.types("restore", snapshot, *onto, "--yes")).done
    assert rows(w, database_id=target) == "then"
    assert f"kept what database {target} holds now" in ended.err
    again = undo_of(ended.err)
    assert again[1].startswith(f"{target}/")
    await w.clock.sleep(200)
    undone = (await desk.types(*again, "--yes")).done
    assert rows(w, database_id=target) == "now"
    assert "To undo" not in undone.err
    assert len(w.posts) == 1


@at_desk(snapshot_seconds=60)
async def test_programs_read_what_was_kept(desk: Desk, w: World) -> None:
    stored = w.emulator.add_snapshot(DATABASE)
    snapshot = f"{DATABASE}/{stored.version_id}"
    ended = (await desk.types("restore", snapshot, "--yes", "--json")).done
    assert ended.json["previous"] == f"{DATABASE}/{w.started()}"
    await w.clock.sleep(200)
    bare = (await desk.types("restore", snapshot, "--yes", "--json", "--no-keep")).done
    assert bare.json["previous"] is None


@at_desk()
async def test_a_target_that_is_stopped_is_restored_if_nothing_is_kept(
    desk: Desk, w: World
) -> None:
    rows(w, "then")
    stored = w.emulator.add_snapshot(DATABASE)
    rows(w, "now")
    w.emulator.stop_database(DATABASE)
    command = ("restore", f"{DATABASE}/{stored.version_id}", "--yes")
    (await desk.types(*command)).failed(
        "since no snapshot keeps what it holds now: The database is not running.",
        "hint: `--no-keep` restores without a snapshot of what the database holds.",
    )
    assert not w.requests("restore")
    assert rows(w) == "now"
    (await desk.types(*command, "--no-keep")).done  # noqa: B018  it asserts
    assert rows(w) == "then"


@pytest.mark.parametrize("state", ["same", "another"])
@at_desk(restore_seconds=300)
async def test_a_target_that_another_restore_runs_on_is_kept_and_restored_after_it(
    desk: Desk, w: World, state: str
) -> None:
    snapshots = {}
    for minutes, text in ((60, "first"), (30, "second")):
        rows(w, text)
        taken_at = START - timedelta(minutes=minutes)
        stored = w.emulator.add_snapshot(DATABASE, modified=taken_at)
        snapshots[text] = f"{DATABASE}/{stored.version_id}"
    other = Desk(w, desk.state if state == "same" else desk.state / "of-another")

    async def restores_second() -> None:
        ended = await other.types("restore", snapshots["second"], "--yes", "--no-keep")
        ended.done  # noqa: B018  it asserts

    async with anyio.create_task_group() as group:
        group.start_soon(restores_second)
        await w.clock.sleep(60)
        ended = (await desk.types("restore", snapshots["first"], "--yes")).done
    assert rows(w) == "first"
    sent = [each for each in w.requests("restore") if each.accepted]
    assert len(sent) == len(w.requests("restore")) == 2
    await w.clock.sleep(200)
    (await desk.types(*undo_of(ended.err), "--yes")).done  # noqa: B018  it asserts
    assert rows(w) == "second", "what the other restore has brought back"


@pytest.mark.parametrize("keep", ["--keep", "--no-keep"])
@at_desk(restore_seconds=6000)
async def test_a_target_on_which_another_restore_does_not_end_is_not_restored(
    desk: Desk, w: World, keep: str
) -> None:
    rows(w, "then")
    stored = w.emulator.add_snapshot(DATABASE)
    snapshot = f"{DATABASE}/{stored.version_id}"
    other = Desk(w, desk.state / "of-another")
    async with anyio.create_task_group() as group:
        group.start_soon(other.types, "restore", snapshot, "--yes", "--no-keep")
        await w.clock.sleep(60)
        ended = await desk.types("restore", snapshot, "--yes", keep)
        group.cancel_scope.cancel()
    ended.failed(
        f"Database {DATABASE} was not restored", "hint: Run it again", code=LATER
    )
    assert len(w.requests("restore")) == 1
    assert not [each for each in w.posts if each.accepted]


@at_desk(snapshot_seconds=30)
async def test_a_target_whose_guarded_command_runs_keeps_what_that_has_changed_so_far(
    desk: Desk, w: World
) -> None:
    rows(w, "then")
    stored = w.emulator.add_snapshot(DATABASE)
    desk.child.seconds = 1000.0
    rows(w, "before the command")
    guarded: list[Ended] = []

    async def guards() -> None:
        guarded.append(await desk.types("guard", DATABASE, "--", "true"))

    async with anyio.create_task_group() as group:
        group.start_soon(guards)
        await w.clock.sleep(240)
        rows(w, "half changed")
        snapshot = f"{DATABASE}/{stored.version_id}"
        ended = (await desk.types("restore", snapshot, "--yes")).done
    assert guarded[0].code == 0
    listed = (await desk.types("guards", "--json")).done.json
    changes = {each["snapshot"]: each["changes"] for each in listed}
    guard, kept = (f"{DATABASE}/{post.version_id}" for post in w.posts)
    assert changes[guard] == ["run of true"]
    assert undo_of(ended.err)[1] == kept
    for way_back, holds in ((kept, "half changed"), (guard, "before the command")):
        await w.clock.sleep(200)
        (await desk.types("restore", way_back, "--yes", "--no-keep")).done  # noqa: B018  it asserts
        assert rows(w) == holds


REFUSALS = {
    "quota": {"status": 403, "code": "DAILY_SNAPSHOTS_LIMIT_REACHED"},
    "a database that does not run": {"status": 409, "code": "DATABASE_NOT_RUNNING"},
    "a failure": {"status": 500, "code": "SNAPSHOT_FAILED"},
}


@pytest.mark.parametrize("refusal", REFUSALS)
@at_desk()
async def test_nothing_is_restored_if_it_cannot_be_kept(
    desk: Desk, w: World, refusal: str
) -> None:
    stored = w.emulator.add_snapshot(DATABASE)
    fault = REFUSALS[refusal]
    w.fault(kind="create", times=None, **fault)
    command = ("restore", f"{DATABASE}/{stored.version_id}", "--yes")
    (await desk.types(*command)).failed(
        f"Database {DATABASE} was not restored, since no snapshot keeps what it holds now",
        "hint: `--no-keep` restores without a snapshot of what the database holds.",
        code=LATER if refusal == "quota" else 1,
    )
    assert not w.requests("restore")
    (await desk.types(*command, "--no-keep")).done  # noqa: B018  it asserts
    assert len(w.requests("restore")) == 1


@at_desk(snapshot_seconds=60)
async def test_a_restore_that_was_refused_is_tried_again_with_what_it_has_kept(
    desk: Desk, w: World
) -> None:
    stored = w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=1))
    w.fault(kind="restore", status=403, code="RESOURCE_NOT_ALLOWED")
    command = ("restore", f"{DATABASE}/{stored.version_id}", "--yes")
    (await desk.types(*command)).failed("To undo")
    ended = (await desk.types(*command)).done
    assert undo_of(ended.err)[1] == f"{DATABASE}/{w.started()}"
    assert len(w.posts) == 1


@at_desk(snapshot_seconds=60)
async def test_what_is_restored_is_never_what_was_kept(desk: Desk, w: World) -> None:
    """A snapshot of minutes ago lacks what was written since."""
    rows(w, "before the change")
    taken = (await desk.types("create", DATABASE, "--quiet")).done.out.strip()
    rows(w, "after it")
    await w.clock.sleep(180)
    ended = (await desk.types("restore", taken, "--yes")).done
    assert undo_of(ended.err)[1] != taken
    await w.clock.sleep(200)
    (await desk.types(*undo_of(ended.err), "--yes")).done  # noqa: B018  it asserts
    assert rows(w) == "after it"


@at_desk(snapshot_seconds=60, restore_seconds=300)
async def test_a_run_that_was_killed_is_watched_and_its_undo_is_known(
    desk: Desk, w: World
) -> None:
    stored = w.emulator.add_snapshot(DATABASE)
    command = ("restore", f"{DATABASE}/{stored.version_id}", "--yes")
    async with desk.killed(*command):
        while not w.requests("restore"):
            await w.clock.sleep(10)
        await w.clock.sleep(10)
    ended = (await desk.types(*command)).done
    assert undo_of(ended.err)[1] == f"{DATABASE}/{w.started()}"
    assert (len(w.posts), len(w.requests("restore"))) == (1, 1)


@at_desk(snapshot_seconds=1200)
async def test_a_snapshot_that_takes_longer_than_the_time_out_is_waited_for(
    desk: Desk, w: World
) -> None:
    stored = w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=1))
    ended = (
        await desk.types("restore", f"{DATABASE}/{stored.version_id}", "--yes")
    ).done
    assert undo_of(ended.err)[1] == f"{DATABASE}/{w.started()}"


@at_desk(snapshot_seconds=1000)
async def test_an_interrupt_while_it_is_kept_restores_nothing(
    desk: Desk, w: World
) -> None:
    stored = w.emulator.add_snapshot(DATABASE)
    command = ("restore", f"{DATABASE}/{stored.version_id}", "--yes")
    (await desk.interrupted(200, *command)).failed(
        "was not restored", "The wait was interrupted", code=130
    )
    assert not w.requests("restore")


@at_desk(databases=BOTH, plan_memory_mb=1024)
async def test_a_dry_run_says_what_would_happen_and_sends_no_post(
    desk: Desk, w: World
) -> None:
    old = w.emulator.add_snapshot(
        DATABASE, modified=START - timedelta(hours=7), size=10_644_463
    )
    w.emulator.add_snapshot(OTHER_DATABASE, modified=START - timedelta(hours=2))
    command = (
        "restore",
        f"{DATABASE}/{old.version_id}",
        "--onto",
        OTHER_DATABASE,
        "--dry-run",
    )
    ended = (await desk.types(*command)).done
    shown = dict(
        re.split(r"\s{2,}", line, maxsplit=1) for line in ended.out.splitlines()
    )
    assert shown["would restore"] == f"{DATABASE}/{old.version_id}"
    assert shown["taken"] == "2026-03-01 05:00:00 UTC, 7 h ago"
    assert shown["size"] == "10.6 MB"
    assert OTHER_DATABASE in shown["onto"]
    assert shown["overwrites"].endswith("2026-03-01 10:00:00 UTC, 2 h ago")
    assert shown["kept"] == "in a new snapshot, first"
    assert shown["quota left"] == "6 snapshots"
    fields = (await desk.types(*command, "--no-keep", "--json")).done.json
    assert (fields["keep_current"], fields["target_database_id"]) == (
        False,
        OTHER_DATABASE,
    )
    assert "http" not in str(fields)
    assert {each.method for each in w.emulator.journal} == {"GET"}


@pytest.mark.parametrize("machine", ["same", "another"])
@at_desk(snapshot_seconds=30)
async def test_a_dry_run_knows_the_newest_snapshot_that_an_old_page_lacks(
    desk: Desk, w: World, machine: str
) -> None:
    old = w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=7))
    freezing = ("url", f"{DATABASE}/{old.version_id}")
    assert (await Desk(w, desk.state / "of-a-third").types(*freezing)).done.out
    assert {each.kind for each in w.listings} == {"list"}
    assert (await desk.types("create", DATABASE)).done.out
    newest = f"{DATABASE}/{w.started()}"
    other = Desk(w, desk.state if machine == "same" else desk.state / "of-another")
    began = w.clock.monotonic()
    shown = (await other.types("restore", newest, "--dry-run", "--json")).done.json
    assert shown["newest_of_target"] == newest
    assert w.clock.monotonic() - began < 20, "each page is requested once"


@at_desk()
async def test_a_dry_run_of_a_snapshot_that_is_gone_fails(desk: Desk, w: World) -> None:
    gone = f"{DATABASE}/45ec0b49-9af6-445e-a55c-abd7ec5278b2"
    (await desk.types("restore", gone, "--dry-run")).failed("service lists no snapshot")
    assert not w.requests("restore")


@at_desk(snapshot_seconds=60)
async def test_what_was_overwritten_is_a_way_back_wherever_ways_back_are_shown(
    desk: Desk, w: World
) -> None:
    rows(w, "then")
    stored = w.emulator.add_snapshot(DATABASE)
    rows(w, "now")
    ended = await desk.types("restore", f"{DATABASE}/{stored.version_id}", "--yes")
    assert ended.code == 0, ended.err
    kept = f"{DATABASE}/{w.started()}"
    restore = f"restore of {DATABASE[:8]}/{str(stored.version_id)[:8]}"
    (entry,) = (await desk.types("guards", "--json")).done.json
    assert (entry["snapshot"], entry["changes"]) == (kept, [restore])
    shown = await desk.types("status", DATABASE)
    assert f"what the {restore} overwrote" in shown.out
    assert f"squarecloud-snapshots restore {kept} --no-keep" in shown.out
    answer = (await desk.types("status", DATABASE, "--json")).json
    (health,) = answer["databases"]
    assert (health["before_last_restore"], health["before_last_change"]) == (kept, None)


@at_desk(snapshot_seconds=60)
async def test_an_undo_can_be_undone_and_each_has_kept_its_own(
    desk: Desk, w: World
) -> None:
    rows(w, "then")
    stored = w.emulator.add_snapshot(DATABASE)
    rows(w, "now")
    ended = (
        await desk.types("restore", f"{DATABASE}/{stored.version_id}", "--yes")
    ).done
    undo = undo_of(ended.err)
    await w.clock.sleep(200)
    # Without --no-keep the undo keeps what the restore brought back.
    undone = (await desk.types(*undo[:-1], "--yes")).done
    assert rows(w) == "now"
    await w.clock.sleep(200)
    again = await desk.types(*undo_of(undone.err), "--yes")
    assert again.code == 0, again.err
    assert rows(w) == "then"
    first, second = [f"{DATABASE}/{post.version_id}" for post in w.posts]
    listed = (await desk.types("guards", "--json")).done.json
    assert [each["snapshot"] for each in listed] == [second, first]
