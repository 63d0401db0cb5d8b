"""What was refused and not sent is told apart from what failed, so that CI tries it again, and nothing else."""

from typing import Any

import pytest

from pulumi_snapshots.cli.run import LATER
from pulumi_snapshots.errors import ProviderError, is_later
from pulumi_snapshots.service.errors import Blocked, ListingBlocked, QuotaUsedUp
from tests.cli.typed import Desk, at_desk
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, World, world

QUOTA = {"status": 429, "code": "DAILY_SNAPSHOTS_LIMIT_REACHED"}
COOLDOWN = {"status": 429, "code": "KEEP_CALM"}
REFUSALS: dict[str, tuple[dict[str, Any], bool]] = {
    "quota": (QUOTA, True),
    "block": ({"status": 429, "code": "RATE_LIMITED"}, True),
    "cooldown": (COOLDOWN, True),
    "a limit of a proxy": ({"html": 429}, True),
    "another snapshot": ({"status": 409, "code": "SNAPSHOT_IN_PROGRESS"}, True),
    "a restore": ({"status": 403, "code": "RESTORE_IN_PROGRESS"}, True),
    "a stopped database": ({"status": 400, "code": "DATABASE_NOT_RUNNING"}, False),
    "a failure": ({"status": 404, "code": "SNAPSHOT_FAILED"}, False),
    "a plan": ({"status": 402, "code": "UPGRADE_REQUIRED"}, False),
    "a wrong key": ({"status": 401, "code": "ACCESS_DENIED"}, False),
    "an unreachable service": ({"no_connect": True}, False),
    "a proxy that refuses": ({"html": 403}, False),
}


@pytest.mark.parametrize("refusal", REFUSALS)
@virtual
async def test_only_what_succeeds_by_itself_later_is_later(refusal: str) -> None:
    fault, later = REFUSALS[refusal]
    async with world() as w:
        w.fault(kind="create", times=None, **fault)
        error = (await w.create(timeout=600)).nothing
        assert is_later(error) is later
        assert not [post for post in w.posts if post.accepted]


@staged(world, snapshot_seconds=20)
async def test_a_cooldown_that_outlasts_the_time_out_is_later(w: World) -> None:
    assert (await w.create()).complete.available
    error = (await w.create(forced=True, timeout=60, owner="other")).nothing
    assert "while" in str(error)
    assert is_later(error)
    assert len(w.posts) == 1


ENDS: dict[str, dict[str, Any]] = {
    "accepted": {"delay": 1.0},
    "lost": {"when": "after", "drop": True},
    "unreadable": {"when": "after", "html": 502},
}


@pytest.mark.parametrize("end", ENDS)
@virtual
async def test_what_may_have_been_started_is_never_later(end: str) -> None:
    async with world(snapshot_seconds=3600) as w:
        w.fault(kind="create", **ENDS[end])
        w.fault(kind="list", times=None, status=429, code="RATE_LIMITED")
        ending = await w.create(timeout=400)
        assert ending.pending.attempt
        assert not is_later(ending.error)


@staged(world)
async def test_an_interrupt_is_not_later(w: World) -> None:
    w.fault(kind="create", times=None, **COOLDOWN)
    ending = await w.interrupted(30, w.create())
    assert "interrupted" in ending.text
    assert not is_later(ending.nothing)


@staged(world)
async def test_a_block_that_the_service_told_of_before_is_later(w: World) -> None:
    w.fault(kind="me", status=429, code="RATE_LIMITED")
    error = (await w.create()).nothing
    assert isinstance(error, ProviderError)
    assert is_later(error)
    assert not w.posts


def test_other_requests_continue_while_the_accounts_listing_is_blocked() -> None:
    assert is_later(Blocked("GET /x", status=429))
    assert not is_later(ListingBlocked("GET /users/snapshots", status=429))
    assert is_later(QuotaUsedUp("POST /x").kept_back("POST /y"))
    assert not is_later(ValueError())


# The command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", REFUSALS)
@virtual
async def test_a_command_ends_with_a_code_of_its_own_if_it_can_be_run_again_later(
    tmp_path: Any, refusal: str
) -> None:
    fault, later = REFUSALS[refusal]
    async with world() as w:
        w.fault(kind="create", times=None, **fault)
        ended = await Desk(w, tmp_path).types("create", DATABASE, "--timeout", "10m")
        assert ended.code == (LATER if later else 1)
        assert ended.out == ""


@at_desk()
async def test_an_interrupted_or_pending_create_does_not_end_as_later(
    desk: Desk, w: World
) -> None:
    w.fault(kind="create", times=None, **COOLDOWN)
    assert (await desk.interrupted(30, "create", DATABASE)).code == 130
    w.emulator.clear_faults()
    await w.clock.sleep(600)
    w.emulator.next_snapshot_takes(DATABASE, 3600)
    assert (await desk.types("create", DATABASE, "--timeout", "5m")).code == 1


@at_desk()
async def test_a_guarded_command_that_was_not_run_keeps_its_own_code(
    desk: Desk, w: World
) -> None:
    w.fault(kind="create", times=None, **QUOTA)
    assert (await desk.types("guard", DATABASE, "--", "true")).code == 125
