"""A pending snapshot counts as failed only by proof; whatever leaves a doubt sends no second request."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from pulumi_snapshots.errors import NothingSent
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.listing.listings import Page
from pulumi_snapshots.listing.match import proves_failure
from pulumi_snapshots.run.calls import Unfinished
from pulumi_snapshots.service.models import ListedSnapshot, Listing
from pulumi_snapshots.snapshot.difference import SnapshotRules
from squarecloud_emulator import Fault
from tests.support.engine_calls import Machine, Stack
from tests.support.virtual import staged
from tests.support.world import DATABASE, OWNER, START, World, world

HOUR = 3600.0


def of(here: World) -> Stack:
    return Stack(SnapshotRules(), Machine(here), OWNER)


def accepted(here: World) -> list[str | None]:
    return [post.version_id for post in here.posts if post.accepted]


async def failed(here: World, stack: Stack, **values: Any) -> None:
    """One that was accepted and never came, three hours ago."""
    here.emulator.fail_next_snapshot(DATABASE)
    await stack.up(database_id=DATABASE, timeout="3m", **values)
    assert stack.pending
    await anyio.sleep(3 * HOUR)


@staged(world, snapshot_seconds=300, cache_world="invalidated")
async def test_a_snapshot_from_after_its_time_keeps_no_other_from_being_requested(here: World) -> None:
    stack = of(here)
    await failed(here, stack)
    here.emulator.add_snapshot(DATABASE)
    await anyio.sleep(300)
    await stack.up(database_id=DATABASE)
    assert stack.error is None
    assert [stack.outputs["version_id"]] == accepted(here)[1:]


@staged(world, snapshot_seconds=300, cache_world="invalidated")
async def test_two_that_could_be_it_are_named_instead_of_a_second_request_and_leave_a_way_out(here: World) -> None:
    stack = of(here)
    await failed(here, stack)
    posted = here.posts[0].at
    others = [here.emulator.add_snapshot(DATABASE, modified=posted + timedelta(minutes=each)) for each in (5, 6)]
    await stack.up(database_id=DATABASE)
    assert isinstance(stack.error, Unfinished)
    told = stack.row.wording.told(stack.error.error)
    assert all(each.version_id in told for each in others)
    assert "`pulumi up --refresh --replace" in told
    assert stack.pending
    assert len(here.posts) == 1
    await stack.up(database_id=DATABASE, replace=True)
    assert stack.error is None
    assert [stack.outputs["version_id"]] == accepted(here)[1:]


@staged(world, snapshot_seconds=300, cache_world="invalidated")
async def test_a_listing_that_proves_nothing_lets_no_second_request_leave(here: World) -> None:
    stack = of(here)
    await failed(here, stack)
    for kind in ("list", "list account"):
        here.emulator.add_fault(Fault(kind=kind, body='{"status": "success", "response": [{"key": 7}]}', times=None))
    await stack.up(database_id=DATABASE)
    assert isinstance(stack.error, Unfinished)
    assert "The service's listing is not whole" in stack.row.wording.told(stack.error.error)
    assert stack.pending
    assert len(here.posts) == 1
    here.emulator.clear_faults()
    await stack.up(database_id=DATABASE)
    assert [stack.outputs["version_id"]] == accepted(here)[1:]


NOW = START + timedelta(hours=3)
POST = Request(START, "202", 2700.0)
OLD = ListedSnapshot(name="a", version_id="old", modified=START - timedelta(days=2), origin="manual")


def entry(**changes: Any) -> ListedSnapshot:
    return OLD.model_copy(update={"version_id": "other", **changes})


@pytest.mark.parametrize(
    ("entries", "proves"),
    [
        ([OLD], True),
        ([OLD, entry(modified=None)], False),
        ([OLD, entry(modified=None, origin="automatic")], True),
        ([OLD, entry(modified=START + timedelta(hours=1, minutes=50))], False),
        ([OLD, entry(modified=START + timedelta(hours=2, minutes=10))], True),
        ([OLD, entry(modified=START + timedelta(hours=1), origin="automatic")], True),
        ([OLD, entry(modified=START + timedelta(hours=1), version_id="claimed")], True),
        ([], False),
        ([entry()], False),
    ],
    ids=[
        "proof",
        "undated",
        "undated, but automatic",
        "late",
        "from after its time",
        "automatic",
        "another's",
        "empty",
        "lacks the state's",
    ],
)
def test_what_a_page_proves(entries: list[ListedSnapshot], *, proves: bool) -> None:
    due = {"old": START + timedelta(days=28)}
    about = POST, {"claimed", "old"}, due
    page = Page(tuple(entries), Listing(tuple(entries), 0, 0.0, NOW), is_own=True)
    assert proves_failure(page, *about) is proves
    assert not proves_failure(replace(page, is_own=False), *about)
    early = replace(page, listing=replace(page.listing, service_time=START + timedelta(hours=1)))
    assert not proves_failure(early, *about)


@staged(world, snapshot_seconds=300, cache_world="invalidated")
async def test_one_that_comes_after_the_proof_is_not_replaced(here: World) -> None:
    """The page that proved its failure was a slip of the service's."""
    stack = of(here)
    await failed(here, stack)
    stack.begin()
    await stack.read()
    assert stack.pending
    posted = here.posts[0].at
    late = here.emulator.add_snapshot(DATABASE, modified=posted + timedelta(minutes=5))
    await stack.up(database_id=DATABASE)
    assert stack.error is None
    assert stack.outputs["version_id"] == late.version_id
    assert len(here.posts) == 1


@staged(world, snapshot_seconds=300, cache_world="invalidated")
async def test_other_triggers_get_no_snapshot_that_comes_after_the_proof(here: World) -> None:
    stack = of(here)
    await failed(here, stack, triggers=["v1"])
    stack.begin()
    await stack.read()
    here.emulator.add_snapshot(DATABASE, modified=here.posts[0].at + timedelta(minutes=5))
    await stack.up(database_id=DATABASE, triggers=["v2"])
    assert stack.error is None
    assert [stack.outputs["version_id"]] == accepted(here)[1:]


@staged(world, snapshot_seconds=300, cache_world="invalidated")
async def test_one_that_was_given_up_is_not_mistaken_for_the_next(here: World) -> None:
    here.emulator.add_snapshot(DATABASE, modified=here.clock.utc() - timedelta(days=2))
    stack = of(here)
    here.emulator.fail_next_snapshot(DATABASE)
    await stack.up(database_id=DATABASE, timeout="3m", triggers=["v1"])
    await stack.up(database_id=DATABASE, timeout="30m", triggers=["v2"])
    assert isinstance(stack.error, NothingSent)
    assert len(here.posts) == 1
    await anyio.sleep(2 * HOUR)
    await stack.up(database_id=DATABASE, triggers=["v2"])
    assert stack.error is None
    assert [stack.outputs["version_id"]] == accepted(here)[1:]


@staged(world, snapshot_seconds=300, cache_world="invalidated")
async def test_a_forced_one_that_never_came_is_not_completed_by_the_one_that_it_was_to_replace(here: World) -> None:
    stack = of(here)
    await stack.up(database_id=DATABASE)
    await anyio.sleep(HOUR)
    here.emulator.fail_next_snapshot(DATABASE)
    await stack.up(database_id=DATABASE, timeout="3m", trigger=True)
    assert stack.pending
    await anyio.sleep(3 * HOUR)
    await stack.up(database_id=DATABASE)
    assert stack.error is None
    assert [stack.outputs["version_id"]] == accepted(here)[2:]


@staged(world, snapshot_seconds=200, cache_world="invalidated")
async def test_one_that_never_came_is_not_found_in_what_the_machine_to_which_its_stack_moves_has_taken(
    here: World,
) -> None:
    await anyio.sleep(400)
    stack, other = of(here), Stack(SnapshotRules(), Machine(here), OWNER.replace("before-release", "nightly"))
    here.emulator.fail_next_snapshot(DATABASE)
    await stack.up(database_id=DATABASE, timeout="3m")
    await anyio.sleep(HOUR)
    await other.up(database_id=DATABASE)
    stack.machine = other.machine
    await stack.up(database_id=DATABASE, timeout="3m")
    assert stack.pending
    assert other.outputs["version_id"] in accepted(here)
