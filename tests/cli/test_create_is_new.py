"""What `create` prints was requested after it was typed, unless `--reuse-within` says otherwise; a restore is done once."""

import re
import signal
from dataclasses import replace
from typing import Any

import anyio
import pytest

from pulumi_snapshots.snapshot.difference import SnapshotRules
from tests.cli.typed import Desk, Ended, at_desk
from tests.support.engine_calls import Machine, Stack
from tests.support.memory import Mortal
from tests.support.world import DATABASE, OWNER, START, World, kill

DAY = 86400
HOUR = 3600
BOUND = 45 * 60
"""The most seconds for which something of others holds anybody up."""
FORMS: dict[str, tuple[str, ...]] = {
    "people": (),
    "a script": ("--quiet",),
    "a program": ("--json",),
    "a quiet program": ("--quiet", "--json"),
}
STALE = "--reuse-within right after a create prints an older snapshot, since the service's page is old"
LOSER = "A11: of two equal restores at once the loser fails, and whoever obeys its error restores again"


def versions(w: World) -> list[str]:
    """The snapshots that the service has started, in order."""
    return [str(post.version_id) for post in w.posts if post.accepted]


async def at_once(desk: Desk, apart: float, *commands: tuple[str, ...]) -> list[Ended]:
    """Type commands, each some seconds after the one before it; how they end, in that order."""
    ends: dict[int, Ended] = {}

    async def run(number: int, command: tuple[str, ...]) -> None:
        await desk.w.clock.sleep(number * apart)
        ends[number] = await desk.types(*command)

    async with anyio.create_task_group() as group:
        for number, command in enumerate(commands):
            group.start_soon(run, number, command)
    return [ends[number] for number in sorted(ends)]


# What is printed is new ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("days", [0.05, 1, 20], ids=["an hour", "a day", "20 days"])
@at_desk(snapshot_seconds=300)
async def test_create_prints_nothing_that_a_killed_create_requested(
    desk: Desk, w: World, form: str, days: float
) -> None:
    async with desk.killed("create", DATABASE):
        await w.clock.sleep(100)
    await w.clock.sleep(days * DAY)
    ended = (await desk.types("create", DATABASE, *FORMS[form])).done
    assert len(versions(w)) == 2, "it took none"
    assert versions(w)[1] in ended.out


@at_desk(snapshot_seconds=300)
async def test_reuse_within_an_hour_prints_nothing_of_20_days_ago(
    desk: Desk, w: World
) -> None:
    async with desk.killed("create", DATABASE):
        await w.clock.sleep(100)
    await w.clock.sleep(20 * DAY)
    ended = (
        await desk.types("create", DATABASE, "--reuse-within", "1h", "--quiet")
    ).done
    assert ended.out.split() == [f"{DATABASE}/{version}" for version in versions(w)[1:]]


@pytest.mark.parametrize(
    "by", [signal.SIGINT, signal.SIGTERM, None], ids=["^C", "TERM", "timeout"]
)
@at_desk(snapshot_seconds=300)
async def test_create_resumes_nothing_that_ended_early(
    desk: Desk, w: World, by: signal.Signals | None
) -> None:
    command = ("create", DATABASE, "--timeout", "150s")
    await (desk.interrupted(100, *command, by=by) if by else desk.types(*command))
    await w.clock.sleep(HOUR)
    ended = (await desk.types("create", DATABASE, "--quiet")).done
    assert ended.out.split() == [f"{DATABASE}/{version}" for version in versions(w)[1:]]


@pytest.mark.parametrize("later", [10, 60, 300])
@at_desk(snapshot_seconds=600)
async def test_a_create_beside_a_running_one_waits_and_takes_its_own(
    desk: Desk, w: World, later: int
) -> None:
    command = ("create", DATABASE, "--quiet", "--timeout", "2h")
    first, second = await at_once(desk, later, command, command)
    one, two = versions(w)
    assert first.done.out.split() == [f"{DATABASE}/{one}"]
    assert second.done.out.split() == [f"{DATABASE}/{two}"]
    assert w.posts[1].at >= START, "it was requested after it was typed"


@at_desk(snapshot_seconds=30)
async def test_a_create_after_a_create_takes_its_own(desk: Desk, w: World) -> None:
    for number in (1, 2):
        ended = (await desk.types("create", DATABASE, "--quiet")).done
        assert ended.out.split() == [f"{DATABASE}/{versions(w)[-1]}"]
        assert len(versions(w)) == number
        await w.clock.sleep(300)


@at_desk()
async def test_create_has_no_option_new(desk: Desk, w: World) -> None:
    (await desk.types("create", DATABASE, "--new")).failed("--new", code=2)
    assert not w.posts


# --reuse-within --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [10, 60, 300])
@at_desk(snapshot_seconds=600)
async def test_a_create_beside_a_running_one_adopts_it_with_reuse_within(
    desk: Desk, w: World, later: int
) -> None:
    command = ("create", DATABASE, "--quiet", "--timeout", "2h")
    ends = await at_once(desk, later, command, (*command, "--reuse-within", "1h"))
    (one,) = versions(w)
    assert [each.done.out.split() for each in ends] == [[f"{DATABASE}/{one}"]] * 2


@pytest.mark.parametrize(
    ("cache", "seconds", "older"),
    [
        ("kept", 10, "somebody's"),
        ("kept", 300, "somebody's"),
        ("kept", 10, "a command's"),
        ("kept", 300, "a command's"),
        ("invalidated", 10, "somebody's"),
        ("invalidated", 300, "somebody's"),
        ("invalidated", 10, "a command's"),
    ],
)
@at_desk()
async def test_reuse_within_right_after_a_create_prints_that_one(
    desk: Desk, w: World, cache: str, seconds: int, older: str
) -> None:
    vars(w.emulator.settings).update(cache_world=cache, snapshot_seconds=float(seconds))
    if older == "somebody's":
        w.emulator.add_snapshot(DATABASE)
    else:
        await desk.types("create", DATABASE)
    await w.clock.sleep(600)
    await desk.types("list", DATABASE)
    new = (await desk.types("create", DATABASE, "--quiet")).done
    again = (
        await desk.types("create", DATABASE, "--quiet", "--reuse-within", "1h")
    ).done
    assert again.out == new.out
    assert new.out.split() == [f"{DATABASE}/{versions(w)[-1]}"]


@pytest.mark.parametrize(
    "is_killed", [True, False], ids=["a killed run", "a run that waits"]
)
@at_desk(snapshot_seconds=600)
async def test_reuse_within_waits_for_the_open_request_of_a_resource(
    desk: Desk, w: World, *, is_killed: bool
) -> None:
    machine = Machine(w)
    desk.place = lambda: Mortal(machine.memory)
    stack = Stack(SnapshotRules(), machine, OWNER)
    use_secure_urls(w)
    async with anyio.create_task_group() as group:
        process = anyio.CancelScope()
        group.start_soon(taken, stack, process)
        await w.clock.sleep(100)
        if is_killed:
            kill(stack.session)
            process.cancel()
        await w.clock.sleep(100)
        command = (
            "create",
            DATABASE,
            "--quiet",
            "--timeout",
            "2h",
            "--reuse-within",
            "1h",
        )
        found = (await desk.types(*command)).done
    assert found.out.split() == [f"{DATABASE}/{version}" for version in versions(w)]
    assert len(w.posts) == 1


async def taken(stack: Stack, process: anyio.CancelScope) -> None:
    """Take a snapshot by one run of a stack, in a process that can be killed."""
    with process:
        await stack.up(database_id=DATABASE)


def use_secure_urls(w: World) -> None:
    """Let stacks use the service at the address at which commands do."""
    urls: dict[str, Any] = {
        "api_url": w.emulator.api_url,
        "snapshots_url": w.emulator.snapshots_url,
    }
    w.session.settings = replace(w.session.settings, **urls)


@at_desk(snapshot_seconds=60)
async def test_reuse_within_takes_its_own_if_the_last_one_is_older(
    desk: Desk, w: World
) -> None:
    await desk.types("create", DATABASE)
    await w.clock.sleep(2 * HOUR)
    ended = (
        await desk.types("create", DATABASE, "--quiet", "--reuse-within", "1h")
    ).done
    assert ended.out.split() == [f"{DATABASE}/{versions(w)[1]}"]


@at_desk(snapshot_seconds=3000)
async def test_reuse_within_takes_its_own_if_the_open_one_was_requested_earlier(
    desk: Desk, w: World
) -> None:
    async with desk.killed("create", DATABASE):
        await w.clock.sleep(100)
    await w.clock.sleep(1900)
    command = (
        "create",
        DATABASE,
        "--quiet",
        "--timeout",
        "3h",
        "--reuse-within",
        "10m",
    )
    ended = (await desk.types(*command)).done
    assert ended.out.split() == [f"{DATABASE}/{version}" for version in versions(w)[1:]]


# ^C --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [100, 2000], ids=["accepted", "half an hour"])
@at_desk(snapshot_seconds=2400)
async def test_after_an_interrupt_the_command_that_it_names_prints_that_snapshot(
    desk: Desk, w: World, after: int
) -> None:
    ended = await desk.interrupted(after, "create", DATABASE, "--timeout", "3h")
    said = named(ended)
    assert said == ["create", DATABASE, "--reuse-within", "1h"], ended.err
    await w.clock.sleep(600)
    found = (await desk.types(*said, "--quiet", "--timeout", "2h")).done
    assert found.out.split() == [f"{DATABASE}/{versions(w)[0]}"]
    assert len(w.posts) == 1


@at_desk(snapshot_seconds=9000)
async def test_after_hours_the_command_that_an_interrupt_names_reaches_back_far_enough(
    desk: Desk, w: World
) -> None:
    ended = await desk.interrupted(2 * HOUR, "create", DATABASE, "--timeout", "3h")
    said = named(ended)
    assert "--reuse-within" in said, ended.err
    await w.clock.sleep(60)
    found = (await desk.types(*said, "--quiet", "--timeout", "2h")).done
    assert found.out.split() == [f"{DATABASE}/{versions(w)[0]}"]


def named(ended: Ended) -> list[str]:
    """The arguments of the command that an error names, without options that only shape the wait."""
    ended.failed(code=130)
    (said,) = re.findall(r"`squarecloud-snapshots (create [^`]+)`", ended.err)
    return re.sub(r" --timeout \S+", "", str(said)).split()


# restore ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [0, 1, 20])
@at_desk()
async def test_two_equal_restores_at_once_are_one_and_both_say_that_it_is_done(
    desk: Desk, w: World, apart: int
) -> None:
    stored = w.emulator.add_snapshot(DATABASE)
    command = ("restore", f"{DATABASE}/{stored.version_id}", "--yes", "--json")
    first, second = await at_once(desk, apart, command, command)
    assert first.done.json["restored_at"] is not None
    assert second.done.json["restored_at"] is not None
    assert len(w.requests("restore")) == 1


@at_desk()
async def test_a_restore_that_is_typed_again_after_its_end_restores_again(
    desk: Desk, w: World
) -> None:
    command = (
        "restore",
        f"{DATABASE}/{w.emulator.add_snapshot(DATABASE).version_id}",
        "--yes",
    )
    for _ in range(2):
        (await desk.types(*command)).done  # noqa: B018  it asserts
        await w.clock.sleep(300)
    assert len(w.requests("restore")) == 2


@at_desk(restore_seconds=300)
async def test_a_restore_younger_than_its_time_out_is_watched(
    desk: Desk, w: World
) -> None:
    command = (
        "restore",
        f"{DATABASE}/{w.emulator.add_snapshot(DATABASE).version_id}",
        "--yes",
        "--no-keep",
    )
    async with desk.killed(*command):
        await w.clock.sleep(30)
    await w.clock.sleep(60)
    assert "no new request was sent" in (await desk.types(*command)).done.err
    assert len(w.requests("restore")) == 1


@at_desk(restore_seconds=3000)
async def test_a_slow_restore_is_watched_to_its_end_by_the_command_that_each_message_names(
    desk: Desk, w: World
) -> None:
    snapshot = f"{DATABASE}/{w.emulator.add_snapshot(DATABASE).version_id}"
    command = ("restore", snapshot, "--timeout", "10m", "--yes", "--no-keep")
    ended = (await desk.types(*command)).failed("hint: `--new` restores again")
    named = f"squarecloud-snapshots restore {snapshot} --yes --no-keep --timeout 2h"
    assert f"`{named}` on this machine keeps waiting for it" in ended.err
    await w.clock.sleep(600)
    again = (await desk.types(*command)).failed(
        "its end was not seen",
        "With a --timeout of 2h, the same command watches it",
        "hint: `--new` restores again",
    )
    assert "keeps waiting for it" not in again.err
    watched = (await desk.types(*named.split()[1:])).done
    assert "no new request was sent" in watched.err
    assert len(w.requests("restore")) == 1


@at_desk(restore_seconds=300)
async def test_no_message_promises_to_watch_a_restore_of_which_the_service_shows_nothing(
    desk: Desk, w: World
) -> None:
    """It shows how a restore ended for an hour."""
    snapshot = f"{DATABASE}/{w.emulator.add_snapshot(DATABASE).version_id}"
    async with desk.killed("restore", snapshot, "--yes", "--no-keep"):
        await w.clock.sleep(30)
    await w.clock.sleep(2 * HOUR)
    ended = (await desk.types("restore", snapshot, "--yes", "--no-keep")).failed(
        "hint: `--new` restores again"
    )
    assert "watches it" not in ended.err
    await desk.types("restore", snapshot, "--yes", "--no-keep", "--timeout", "5h")
    assert len(w.requests("restore")) == 1


@at_desk()
async def test_no_message_promises_to_watch_a_restore_that_is_known_to_be_done(
    desk: Desk, w: World
) -> None:
    snapshot = f"{DATABASE}/{w.emulator.add_snapshot(DATABASE).version_id}"
    w.emulator.databases[DATABASE].next_restore_leaves_down = True
    ended = await desk.interrupted(300, "restore", snapshot, "--yes", "--no-keep")
    ended.failed("and succeeded, but", "hint: `--new` restores again", code=130)
    assert "keeps waiting for it" not in ended.err


@pytest.mark.parametrize("hours", [0.5, 1.5, 30])
@at_desk(restore_seconds=300)
async def test_a_restore_older_than_its_time_out_is_an_error_and_new_restores_again(
    desk: Desk, w: World, hours: float
) -> None:
    stored = w.emulator.add_snapshot(DATABASE)
    command = ("restore", f"{DATABASE}/{stored.version_id}", "--yes", "--no-keep")
    async with desk.killed(*command):
        await w.clock.sleep(30)
    await w.clock.sleep(hours * HOUR)
    (await desk.types(*command)).failed("2026-03-01T12:00:0", "--new")
    assert len(w.requests("restore")) == 1
    began = w.clock.monotonic()
    (await desk.types(*command, "--new", "--timeout", "45m")).done  # noqa: B018  it asserts
    assert w.clock.monotonic() - began <= BOUND
    assert len(w.requests("restore")) == 2
