"""`guard DATABASE -- COMMAND`: the command runs once its databases have snapshots, and never without."""

import signal
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import anyio
import pytest

from pulumi_snapshots.cli.snapshots.guard import NOT_RUN, SNAPSHOTS_VARIABLE
from pulumi_snapshots.guard.book import Guarded, consult
from pulumi_snapshots.snapshot.record import short_id
from tests.cli.test_notify import DISCORD, Monitors, chat_texts
from tests.cli.test_undo import rows, undo_of
from tests.cli.typed import Desk, Ended, at_desk
from tests.support.memory import Memory
from tests.support.world import DATABASE, OTHER_DATABASE, World

BOTH = (DATABASE, OTHER_DATABASE)
SECRET = "--password=hunter2"
COMMAND = ("--", "true", "upgrade", SECRET)
MINUTE = 60.0
LISTED_LATE: dict[str, Any] = {"snapshot_seconds": 100, "cache_world": "invalidated"}


async def noted(desk: Desk) -> list[Guarded]:
    """What the guards' book has, newest first."""
    ended = (await desk.types("guards", "--json")).done
    return [
        Guarded(**{**each, "snapshot": {"id": each["snapshot"]}}) for each in ended.json
    ]


def guards(desk: Desk, *arguments: str) -> Any:
    return desk.types("guard", *arguments, *COMMAND)


def way_back(w: World, database_id: str = DATABASE) -> str:
    newest = w.newest(database_id).version_id
    return f"To go back: squarecloud-snapshots restore {short_id(f'{database_id}/{newest}')}"


@at_desk(**LISTED_LATE)
async def test_the_command_runs_once_the_snapshot_is_listed(
    desk: Desk, w: World
) -> None:
    ended = (await guards(desk, DATABASE)).done
    snapshot = f"{DATABASE}/{w.started()}"
    ((words, environment, at),) = desk.child.ran
    assert words == ["true", "upgrade", SECRET]
    assert at >= w.posts[0].at + timedelta(seconds=100)
    assert environment[SNAPSHOTS_VARIABLE] == snapshot
    assert f"guarded by {snapshot}: run of true\n{way_back(w)}" in ended.err
    assert ended.out == "", "standard output is the command's own"
    (entry,) = await noted(desk)
    assert entry.snapshot["id"] == snapshot
    assert (entry.guard, entry.changes) == ("command guard/true", ["run of true"])


@at_desk(**LISTED_LATE)
async def test_what_the_command_is_given_stays_its_own(desk: Desk, w: World) -> None:
    desk.child.code = 3
    failed = await guards(desk, DATABASE)
    desk.child.code = 0
    await w.clock.sleep(20 * MINUTE)
    done = (await guards(desk, DATABASE)).done
    left = [each.read_bytes() for each in desk.state.rglob("*") if each.is_file()]
    assert left
    for text in (failed.err, done.err, *map(str, left)):
        assert "hunter2" not in text
        assert "upgrade" not in text


@pytest.mark.parametrize("keeps", [False, True])
@at_desk()
async def test_the_command_has_the_key_only_if_that_is_wanted(
    desk: Desk, w: World, *, keeps: bool
) -> None:
    desk.environment["DATABASE_URL"] = "postgres://"
    (await guards(desk, DATABASE, *(["--keep-key"] if keeps else []))).done  # noqa: B018  it asserts
    ((_, environment, _),) = desk.child.ran
    assert ("SQUARECLOUD_API_KEY" in environment) is keeps
    assert (w.emulator.settings.api_key in environment.values()) is keeps
    assert environment["DATABASE_URL"] == "postgres://"


@pytest.mark.parametrize("code", [1, 2, 3, 125, 130])
@at_desk()
async def test_a_command_that_fails_leaves_its_exit_code_and_the_way_back(
    desk: Desk, w: World, code: int
) -> None:
    desk.child.code = code
    ended = (await guards(desk, DATABASE)).failed(code=code)
    snapshot = f"{DATABASE}/{w.started()}"
    *_, failed, back = ended.err.strip().splitlines()
    assert (failed, back) == (
        f"run of true has failed, guarded by {snapshot}",
        way_back(w),
    )
    (entry,) = await noted(desk)
    assert entry.changes == []


@at_desk(databases=BOTH)
async def test_a_channel_hears_which_command_failed_and_each_way_back(
    desk: Desk, w: World
) -> None:
    desk.monitors = Monitors()
    desk.environment["SQUARECLOUD_NOTIFY"] = DISCORD
    desk.child.code = 7
    for _ in range(2):
        (await guards(desk, *BOTH)).failed(code=7)
    (text,) = chat_texts(desk.monitors, DISCORD)
    title, *lines = text.splitlines()
    assert title == "squarecloud-snapshots guard: failed"
    for post in w.posts:
        snapshot = f"{post.database_id}/{post.version_id}"
        assert f"run of true has failed, guarded by {snapshot}" in lines
        assert way_back(w, str(post.database_id)) in lines
    assert len(lines) == 4
    assert "hunter2" not in text


@at_desk(snapshot_seconds=10)
async def test_a_channel_hears_once_of_a_command_that_fails_each_time_and_is_undone(
    desk: Desk, w: World
) -> None:
    desk.monitors = Monitors()
    desk.environment["SQUARECLOUD_NOTIFY"] = DISCORD
    told = []
    for code in (7, 7, 0, 7):
        desk.child.code = code
        ended = await guards(desk, DATABASE, "--restore-on-failure", "--yes")
        assert ended.code == code, ended.err
        told.append(len(desk.monitors.told))
        await w.clock.sleep(20 * MINUTE)
    assert told == [1, 1, 1, 2]


@at_desk()
async def test_a_command_that_is_tried_again_is_guarded_from_before_the_first_try(
    desk: Desk, w: World
) -> None:
    desk.child.code = 1
    await guards(desk, DATABASE)
    await w.clock.sleep(5 * MINUTE)
    desk.child.code = 0
    ended = (await guards(desk, DATABASE)).done
    assert (
        f"an earlier run of true did not begin, failed, was cut off, or is still under way; {DATABASE}/{w.started()}"
        in ended.err
    )
    await w.clock.sleep(5 * MINUTE)
    ended = (await guards(desk, DATABASE)).done
    assert len(w.posts) == 2, "after a change that has happened, a new one"
    assert "an earlier run" not in ended.err
    await guards(desk, DATABASE, "--reuse-within", "0")
    assert len(w.posts) == 3


NO_SNAPSHOT: dict[str, tuple[dict[str, Any], str]] = {
    "quota": ({"status": 429, "code": "DAILY_SNAPSHOTS_LIMIT_REACHED"}, "daily quota"),
    "key": (
        {"status": 401, "code": "ACCESS_DENIED"},
        "Set a valid key in SQUARECLOUD_API_KEY",
    ),
    "failure": ({"status": 500, "code": "SNAPSHOT_FAILED"}, "SNAPSHOT_FAILED"),
    "lost": ({"drop": True, "when": "before"}, "the answer was lost"),
    "scope": ({"status": 403, "code": "MISSING_SCOPE"}, "API key lacks the scope"),
}


@pytest.mark.parametrize("why", NO_SNAPSHOT)
@at_desk()
async def test_without_a_snapshot_nothing_runs(desk: Desk, w: World, why: str) -> None:
    fault, says = NO_SNAPSHOT[why]
    w.fault(kind="create", times=99, **fault)
    ended = await guards(desk, DATABASE, "--timeout", "10m")
    held = "Error: The run of true was held back, since no snapshot guards it: "
    ended.failed(held, says, code=NOT_RUN)
    assert desk.child.ran == []
    assert len(w.posts) == 1
    assert await noted(desk) == []


@at_desk(snapshot_seconds=1200, cache_world="invalidated")
async def test_a_snapshot_that_is_listed_too_late_is_waited_for_by_the_next_run(
    desk: Desk, w: World
) -> None:
    ended = (await guards(desk, DATABASE, "--timeout", "10m")).failed(code=NOT_RUN)
    for says in (
        "is not listed yet",
        "The next run waits for this snapshot until --timeout after",
    ):
        assert says in ended.err
    assert desk.child.ran == []
    (await guards(desk, DATABASE)).done  # noqa: B018  it asserts
    assert len(desk.child.ran) == len(w.posts) == 1


@at_desk(databases=BOTH, **LISTED_LATE)
async def test_both_databases_have_a_snapshot_before_it_runs(
    desk: Desk, w: World
) -> None:
    ended = (await guards(desk, *BOTH)).done
    ((_, environment, at),) = desk.child.ran
    taken = {f"{each.database_id}/{each.version_id}" for each in w.posts}
    assert {*environment[SNAPSHOTS_VARIABLE].split(" ")} == taken
    assert at < w.posts[0].at + timedelta(seconds=300), (
        "they are waited for at the same time"
    )
    for each in BOTH:
        assert f"  {each}: " in ended.err, "progress says of which database"
    assert sorted(each.snapshot["id"] for each in await noted(desk)) == sorted(taken)


@at_desk(databases=BOTH, plan_memory_mb=4096, **LISTED_LATE)
async def test_quota_for_one_of_two_databases_runs_nothing_and_loses_nothing(
    desk: Desk, w: World
) -> None:
    w.fault(
        kind="create", skip=1, times=1, status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED"
    )
    ended = (await guards(desk, *BOTH)).failed("daily quota", code=NOT_RUN)
    assert desk.child.ran == []
    first, second = (each.database_id for each in w.posts)
    assert f"A snapshot of database {first} was requested" in ended.err
    assert f"No snapshot of database {second} was taken." in ended.err
    assert "The next run waits for this snapshot" in ended.err
    (await guards(desk, *BOTH)).done  # noqa: B018  it asserts
    sent = [str(each.database_id) for each in w.posts if each.accepted]
    assert sorted(sent) == sorted(BOTH)


@at_desk(databases=BOTH, snapshot_seconds=0)
async def test_the_run_after_one_that_had_only_one_snapshot_does_not_say_that_it_ran(
    desk: Desk, w: World
) -> None:
    refused: dict[str, Any] = {
        "status": 429,
        "code": "DAILY_SNAPSHOTS_LIMIT_REACHED",
    }
    w.fault(kind="create", skip=1, times=1, **refused)
    (await guards(desk, *BOTH)).failed("daily quota", code=NOT_RUN)
    assert desk.child.ran == []
    ended = (await guards(desk, str(w.posts[0].database_id))).done
    assert "an earlier run of true did not begin, failed, was cut off" in ended.err


@at_desk()
async def test_a_database_that_is_named_twice_has_one_snapshot(
    desk: Desk, w: World
) -> None:
    (await guards(desk, DATABASE, DATABASE, DATABASE[:6])).done  # noqa: B018  it asserts
    assert len(w.posts) == len(desk.child.ran) == 1
    assert len(await noted(desk)) == 1


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no command": ((DATABASE,), "the command to run is missing: -- COMMAND [ARG]..."),
    "nothing after the dashes": ((DATABASE, "--"), "the command to run is missing"),
    "no database": (("--", "true"), "Missing argument"),
    "a command that does not exist": (
        (DATABASE, "--", "alembmic", SECRET),
        "there is no command 'alembmic' that can be run",
    ),
    "a line of the shell": (
        (DATABASE, "--", "cd /x && ./y"),
        "sh -c 'LINE' runs a line",
    ),
    "a variable before the command": (
        (DATABASE, "--", "PGPASSWORD=hunter2", "true"),
        "there is no command 'PGPASSWORD' that can be run; env NAME=VALUE COMMAND sets a variable.",
    ),
    "a file that cannot be run": ((DATABASE, "--", "/etc/passwd"), "'/etc/passwd'"),
    "a restore that nobody has agreed to": (
        (DATABASE, "--restore-on-failure", *COMMAND),
        "--restore-on-failure overwrites what the databases hold: add --yes.",
    ),
    "an option of the command": ((DATABASE, "--foo", *COMMAND), "No such option"),
    "no unit": ((DATABASE, "--fallback", "20", *COMMAND), "needs a unit"),
    "no id": (("a/b", *COMMAND), "must be a bare id"),
}


@pytest.mark.parametrize("what", WRONG)
@at_desk()
async def test_wrong_arguments_send_nothing(desk: Desk, w: World, what: str) -> None:
    typed, says = WRONG[what]
    ended = (await desk.types("guard", *typed)).failed(says, code=2)
    assert "hunter2" not in ended.err
    assert len(w.emulator.journal) == len(desk.child.ran) == 0


@at_desk(snapshot_seconds=300)
async def test_an_interrupt_before_the_command_starts_nothing(
    desk: Desk, w: World
) -> None:
    ended = await desk.interrupted(200, "guard", DATABASE, *COMMAND)
    ended.failed(
        "The wait was interrupted", "The next run waits for this snapshot", code=130
    )
    assert desk.child.ran == []
    (await guards(desk, DATABASE)).done  # noqa: B018  it asserts
    assert len(w.posts) == len(desk.child.ran) == 1


@pytest.mark.parametrize("at", [0.0, 1.0, 5.0, 9.5, 10.0, 10.5])
@at_desk(snapshot_seconds=10, cache_world="invalidated")
async def test_an_interrupt_at_any_moment_starts_nothing_or_goes_to_the_command(
    desk: Desk, at: float
) -> None:
    desk.child.seconds = 100.0
    ended = await desk.interrupted(at, "guard", DATABASE, *COMMAND)
    if desk.child.ran:
        assert (ended.code, desk.child.got) == (0, [signal.SIGINT])
    else:
        assert (ended.code, desk.child.got) == (130, [])


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@at_desk()
async def test_signals_during_the_command_are_its_own_also_if_it_ignores_them(
    desk: Desk, w: World, by: signal.Signals
) -> None:
    desk.child.seconds = 1000.0
    ended: list[Ended] = []

    async def work() -> None:
        ended.append(await guards(desk, DATABASE))

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        for _ in range(3):
            await w.clock.sleep(200.0)
            signal.raise_signal(by)
    assert ended[0].code == 0
    assert desk.child.got == [by] * 3
    (entry,) = await noted(desk)
    assert entry.changes == ["run of true"]


@at_desk()
async def test_an_interrupt_right_after_the_command_does_not_keep_it_from_being_noted(
    desk: Desk, w: World
) -> None:
    place = Memory(w.clock)
    desk.place = lambda: place
    desk.child.seconds = 200.0

    def slow() -> None:
        place.delay = (5.0, 5.0)

    desk.child.ends = slow
    began = w.clock.monotonic()
    (await guards(desk, DATABASE)).done  # noqa: B018  it asserts
    took = w.clock.monotonic() - began
    await w.clock.sleep(20 * MINUTE)
    place.delay = (0.0, 0.0)
    ended = await desk.interrupted(took - 3.0, "guard", DATABASE, *COMMAND)
    assert (ended.code, desk.child.got) == (0, [])
    place.delay = (0.0, 0.0)
    first, second = await noted(desk)
    assert first.changes == second.changes == ["run of true"]


@at_desk()
async def test_the_run_after_one_that_was_killed_says_what_is_guarded(
    desk: Desk, w: World
) -> None:
    desk.child.seconds = 3600.0
    async with desk.killed("guard", DATABASE, *COMMAND):
        await w.clock.sleep(30 * MINUTE)
    assert desk.child.ran
    (entry,) = await noted(desk)
    assert entry.changes == []
    back = way_back(w)
    desk.child.seconds = 0.0
    ended = (await desk.types("guard", DATABASE, "--", "false")).done
    happened = f"an earlier run of true did not begin, failed, was cut off, or is still under way; {DATABASE}/{w.posts[0].version_id} of 2026-03-01 12:00:"
    first, second = (
        line for line in ended.err.splitlines() if line.startswith(("an earl", back))
    )
    assert first.startswith(happened)
    assert second == back
    assert len(w.posts) == 2, "it is too old to guard another run"
    await w.clock.sleep(20 * MINUTE)
    ended = (await guards(desk, DATABASE)).done
    assert "an earlier run" not in ended.err, "something has happened since"


@at_desk()
async def test_what_was_restored_since_is_no_longer_said_to_be_guarded(
    desk: Desk, w: World
) -> None:
    desk.child.code = 1
    await guards(desk, DATABASE)
    await w.clock.sleep(20 * MINUTE)
    (await desk.types("restore", f"{DATABASE}/{w.started()}", "--yes")).done  # noqa: B018  it asserts
    await w.clock.sleep(20 * MINUTE)
    ended = await guards(desk, DATABASE)
    assert "an earlier run" not in ended.err


@pytest.mark.parametrize("fails", [False, True])
@at_desk(databases=BOTH, snapshot_seconds=10)
async def test_a_failure_is_undone_if_that_is_wanted(
    desk: Desk, w: World, *, fails: bool
) -> None:
    for each in BOTH:
        rows(w, "before", each)
    desk.child.code = 7 * fails
    desk.child.ends = lambda: [rows(w, "half done", each) for each in BOTH]
    ended = await guards(desk, *BOTH, "--restore-on-failure", "--yes")
    assert ended.code == desk.child.code, ended.err
    assert ended.out == ""
    assert {rows(w, database_id=each) for each in BOTH} == {
        "before" if fails else "half done"
    }
    assert len(w.requests("restore")) == 2 * fails
    if fails:
        assert f"kept what database {OTHER_DATABASE} holds now" in ended.err
        await w.clock.sleep(200)
        (await desk.types(*undo_of(ended.err), "--yes")).done  # noqa: B018  it asserts
        assert "half done" in {rows(w, database_id=each) for each in BOTH}


@at_desk()
async def test_a_failure_is_not_undone_if_nothing_can_keep_what_is_overwritten(
    desk: Desk, w: World
) -> None:
    desk.child.code = 7
    desk.child.ends = partial(
        w.fault, kind="create", status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED"
    )
    ended = await guards(desk, DATABASE, "--restore-on-failure", "--yes")
    ended.failed(way_back(w), f"Database {DATABASE} was not restored", code=7)
    assert w.requests("restore") == []


@at_desk(restore_seconds=800)
async def test_a_restore_after_a_failure_that_is_cut_off_names_the_command_that_watches_it(
    desk: Desk, w: World
) -> None:
    desk.child.code = 7
    ended = await desk.interrupted(
        600, "guard", DATABASE, "--restore-on-failure", "--yes", *COMMAND
    )
    again = f"squarecloud-snapshots restore {DATABASE}/{w.posts[0].version_id} --yes"
    ended.failed(f"`{again}", code=130)
    (await desk.types(*again.split()[1:])).done  # noqa: B018  it asserts
    assert len(w.requests("restore")) == 1


@at_desk(snapshot_seconds=200)
async def test_a_restore_after_a_failure_that_is_cut_off_early_does_not_ask_for_the_command_again(
    desk: Desk, w: World
) -> None:
    desk.child.code = 7
    ended = await desk.interrupted(
        300, "guard", DATABASE, "--restore-on-failure", "--yes", *COMMAND
    )
    ended.failed("was not restored", code=130)
    said = ended.err.rpartition("Error: ")[2]
    assert "Run it again" not in said
    restores = f"squarecloud-snapshots restore {short_id(f'{DATABASE}/{w.posts[0].version_id}')}"
    assert f"hint: To go back: {restores}" in said


@pytest.mark.parametrize("fallback", [None, "1h", "24h"])
@at_desk()
async def test_an_earlier_snapshot_will_do_if_none_can_be_taken_and_the_user_allows_it(
    desk: Desk, w: World, fallback: str | None
) -> None:
    automatic = w.emulator.add_snapshot(
        DATABASE, origin="automatic", modified=w.emulator.now() - timedelta(hours=2)
    )
    w.fault(kind="create", times=99, status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED")
    ended = await guards(
        desk, DATABASE, *(["--fallback", fallback] if fallback else [])
    )
    if fallback != "24h":
        ended.failed("daily quota", code=NOT_RUN)
        assert desk.child.ran == []
        return
    snapshot = f"{DATABASE}/{automatic.version_id}"
    assert f"so the newest snapshot guards: {snapshot}" in ended.done.err
    ((_, environment, _),) = desk.child.ran
    assert environment[SNAPSHOTS_VARIABLE] == snapshot


@at_desk()
async def test_a_service_that_is_down_runs_nothing_and_names_the_way_round(
    desk: Desk, w: World
) -> None:
    w.fault(no_connect=True, times=None)
    (await guards(desk, DATABASE, "--timeout", "1m")).failed(
        "the service could not be reached",
        "If it cannot wait: it happens without a snapshot if SQUARECLOUD_GUARD is off.",
        code=NOT_RUN,
    )
    assert desk.child.ran == []


@pytest.mark.parametrize("database", [DATABASE, "shop"])
@at_desk()
async def test_guards_that_are_off_run_the_command_whatever_the_service_does(
    desk: Desk, w: World, database: str
) -> None:
    desk.environment["SQUARECLOUD_GUARD"] = "off"
    w.fault(no_connect=True, times=None)
    ended = (await guards(desk, database)).done
    assert (
        "warning: the run of true has no snapshot, since SQUARECLOUD_GUARD is off"
        in ended.err
    )
    ((_, environment, _),) = desk.child.ran
    assert environment[SNAPSHOTS_VARIABLE] == ""
    assert w.posts == []
    entries = await noted(desk)
    assert [each.changes for each in entries] == (
        [["run of true"]] if database == DATABASE else []
    )


@at_desk()
async def test_guards_that_are_off_need_no_ledger(desk: Desk, w: World) -> None:
    place = Memory(w.clock)
    desk.place = lambda: place
    place.refuses_reads = place.refuses_writes = "the disk is full"
    desk.environment["SQUARECLOUD_GUARD"] = "off"
    assert "the run of true has no snapshot" in (await guards(desk, DATABASE)).done.err
    assert len(desk.child.ran) == 1


@pytest.mark.parametrize("is_down", [False, True])
@at_desk()
async def test_a_name_that_is_no_databases_runs_nothing(
    desk: Desk, w: World, *, is_down: bool
) -> None:
    if is_down:
        w.fault(no_connect=True, times=None)
    ended = await guards(desk, DATABASE, "nothing-like-it")
    ended.failed(
        "could not be reached" if is_down else "has the name or id nothing",
        code=NOT_RUN,
    )
    assert len(desk.child.ran) == len(w.posts) == 0


@at_desk()
async def test_a_ledger_that_cannot_be_written_runs_nothing(
    desk: Desk, w: World
) -> None:
    place = Memory(w.clock)
    desk.place = lambda: place
    place.refuses_writes = "the disk is full"
    ended = (await guards(desk, DATABASE)).failed("the disk is full", code=NOT_RUN)
    assert "was held back" in ended.err
    assert len(desk.child.ran) == len(w.posts) == 0


@at_desk()
async def test_a_command_that_could_not_be_noted_is_said_to_have_happened(
    desk: Desk, w: World
) -> None:
    place = Memory(w.clock)
    desk.place = lambda: place

    def fill() -> None:
        place.refuses_writes = "the disk is full"

    desk.child.ends = fill
    (await guards(desk, DATABASE)).failed(
        "The run of true has happened, but could not be noted: ", "the disk is full"
    )
    assert len(desk.child.ran) == 1


@at_desk()
async def test_a_command_that_cannot_be_started_is_said_not_to_have_run(
    desk: Desk,
) -> None:
    async def run(*_: object) -> int:
        raise OSError(8, "Exec format error")

    desk.child.run = run  # type: ignore[assignment, method-assign]
    ended = await guards(desk, DATABASE)
    ended.failed(
        "Error: The run of true could not begin: Exec format error.\nNothing was run.",
        code=NOT_RUN,
    )
    async with desk.invocation(StringIO(), StringIO()).session() as session:
        assert (
            await consult(session.ledger, lambda book: book.unfinished(DATABASE, ""))
            is not None
        )


@at_desk(databases=BOTH)
async def test_only_the_commands_of_the_same_database_are_said_to_be_unfinished(
    desk: Desk,
) -> None:
    desk.child.code = 1
    await guards(desk, DATABASE)
    desk.child.code = 0
    ended = (await guards(desk, OTHER_DATABASE)).done
    assert "an earlier run" not in ended.err
