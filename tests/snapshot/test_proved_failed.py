"""A pending snapshot counts as failed only by proof; whatever leaves a doubt sends no second request."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from pulumi_snapshots.api.models import ListedSnapshot, Listing
from pulumi_snapshots.attempt.memory import DatabaseMemory
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.errors.outcomes import NothingSent
from pulumi_snapshots.listing.absence import proves_failure
from pulumi_snapshots.listing.listings import Page
from pulumi_snapshots.listing.match import AmbiguousSnapshot, Search, find_ours
from pulumi_snapshots.run.calls import Unfinished
from pulumi_snapshots.snapshot.difference import SnapshotRules
from tests.support.engine_calls import Machine, Stack
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OWNER, START, World, world

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0


def of(here: World, folder: Path) -> Stack:
    return Stack(SnapshotRules(), Machine(here, folder), OWNER)


def accepted(here: World) -> list[str | None]:
    return [post.version_id for post in here.posts if post.accepted]


async def failed(here: World, stack: Stack, **values: Any) -> None:
    """One that was accepted and never came, three hours ago."""
    here.emulator.fail_next_snapshot(DATABASE)
    await stack.up(database_id=DATABASE, timeout="3m", **values)
    assert stack.pending
    await anyio.sleep(3 * HOUR)


@virtual
async def test_one_that_never_came_is_replaced(tmp_path: Path) -> None:
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        here.emulator.add_snapshot(DATABASE, modified=here.clock.utc() - timedelta(days=2))
        stack = of(here, tmp_path)
        await failed(here, stack)
        await stack.up(database_id=DATABASE)
        assert stack.error is None
        assert stack.outputs["version_id"] == here.newest().version_id
        assert len(here.posts) == 2


@virtual
async def test_a_later_manual_snapshot_is_named_instead_of_a_second_request(tmp_path: Path) -> None:
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await failed(here, stack)
        other = here.emulator.add_snapshot(DATABASE)
        await stack.up(database_id=DATABASE, timeout="45m")
        assert len(here.posts) == 1
        assert stack.pending
        assert isinstance(stack.error, Unfinished)
        assert f"The service lists what may be it, or somebody else's: {other.version_id}" in str(stack.error.error)
        assert here.clock.utc() - START < timedelta(hours=3, minutes=10)


NOW = START + timedelta(hours=3)
POST = Post(START, 0.0, "202", 2700.0)
OLD = ListedSnapshot(name="a", version_id="old", modified=START - timedelta(days=2), origin="manual")


def entry(**changes: Any) -> ListedSnapshot:
    return OLD.model_copy(update={"version_id": "other", **changes})


@pytest.mark.parametrize(
    ("entries", "proves"),
    [
        ([OLD], True),
        ([OLD, entry(modified=None)], False),
        ([OLD, entry(modified=None, origin="automatic")], True),
        ([OLD, entry(modified=START + timedelta(hours=2, minutes=50))], False),
        ([OLD, entry(modified=START + timedelta(hours=1), origin="automatic")], True),
        ([OLD, entry(modified=START + timedelta(hours=1), version_id="claimed")], True),
        ([], False),
        ([entry()], False),
    ],
    ids=["proof", "undated", "undated, but automatic", "late", "automatic", "another's", "empty", "lacks the state's"],
)
def test_what_a_page_proves(entries: list[ListedSnapshot], *, proves: bool) -> None:
    memory = DatabaseMemory(due={"old": START + timedelta(days=28)})
    search = Search.of(POST, None, excluded={"claimed", "old"})
    page = Page(tuple(entries), Listing(tuple(entries), 0, 0.0, NOW), complete=True)
    assert proves_failure(page, search, POST, memory) is proves
    assert not proves_failure(replace(page, complete=False), search, POST, memory)
    early = replace(page, listing=replace(page.listing, service_time=START + timedelta(hours=1)))
    assert not proves_failure(early, search, POST, memory)


def test_a_post_whose_clock_is_unknown_may_be_of_an_entry_before_it() -> None:
    memory, unseen = DatabaseMemory(), replace(POST, service_clock_offset=None)
    before = entry(modified=START - timedelta(minutes=20))
    page = Page((before,), Listing((before,), 0, 0.0, NOW), complete=True)
    assert not proves_failure(page, Search.of(unseen, None), unseen, memory)
    assert proves_failure(page, Search.of(POST, None), POST, memory)


@virtual
async def test_one_that_comes_after_the_proof_is_not_replaced(tmp_path: Path) -> None:
    """The page that proved its failure was a slip of the service's."""
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await failed(here, stack)
        stack.begin()
        await stack.read()
        stack.end()
        assert stack.outputs["attempt"]["missing_since"]
        posted = here.posts[0].at
        late = here.emulator.add_snapshot(DATABASE, modified=posted + timedelta(minutes=5))
        stack.outputs["attempt"] = dict(stack.outputs["attempt"])
        await stack.up(database_id=DATABASE)
        assert stack.error is None
        assert stack.outputs["version_id"] == late.version_id
        assert len(here.posts) == 1


@virtual
async def test_other_triggers_get_no_snapshot_that_comes_after_the_proof(tmp_path: Path) -> None:
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await failed(here, stack, triggers=["v1"])
        stack.begin()
        await stack.read()
        stack.end()
        here.emulator.add_snapshot(DATABASE, modified=here.posts[0].at + timedelta(minutes=5))
        await stack.up(database_id=DATABASE, triggers=["v2"])
        assert stack.error is None
        assert [stack.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_a_proof_that_a_manual_snapshot_takes_away_leaves_a_way_out(tmp_path: Path) -> None:
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await failed(here, stack)
        stack.begin()
        await stack.read()
        stack.end()
        here.emulator.add_snapshot(DATABASE)
        await anyio.sleep(300)
        await stack.up(database_id=DATABASE)
        assert isinstance(stack.error, NothingSent)
        assert "`pulumi up --replace" in stack.row.wording.told(stack.error)
        await stack.up(database_id=DATABASE, replace=True)
        assert [stack.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_a_killed_one_that_never_came_is_sent_again(tmp_path: Path) -> None:
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        here.emulator.add_snapshot(DATABASE, modified=here.clock.utc() - timedelta(days=2))
        stack = of(here, tmp_path)
        here.emulator.fail_next_snapshot(DATABASE)
        await stack.up(saves=False, database_id=DATABASE, timeout="3m")
        await anyio.sleep(3 * HOUR)
        await stack.up(database_id=DATABASE)
        assert stack.error is None
        assert stack.outputs["version_id"] == here.newest().version_id
        assert len(here.posts) == 2


@pytest.mark.parametrize(
    ("minutes", "asked_after", "found"),
    [
        ([-8], 60, None),
        ([1], 60, None),
        ([1], 121, 0),
        ([-8, 1], 60, 1),
        ([1, 50], 60, "both"),
    ],
    ids=["the rival's alone", "a lone one", "the rival's time is over", "the rival's is listed", "both"],
)
def test_a_given_up_rival_keeps_a_lone_entry_from_being_taken(
    minutes: list[int], asked_after: int, found: int | str | None
) -> None:
    """An accepted POST was given up 10 minutes before ours, and its snapshot was not found by then."""
    rival = START - timedelta(minutes=10)
    search = Search.of(replace(POST, earlier=rival), None)
    entries = [entry(version_id=str(each), modified=START + timedelta(minutes=each)) for each in minutes]
    asked_at = rival + timedelta(minutes=asked_after)
    if found == "both":
        with pytest.raises(AmbiguousSnapshot) as either:
            find_ours(entries, search, asked_at)
        assert [each.version for each in either.value.candidates] == ["1", "50"]
        return
    ours = find_ours(entries, search, asked_at)
    assert ours == (None if found is None else entries[int(found)])


@virtual
async def test_a_given_up_one_that_did_not_show_up_is_noted_in_the_next(tmp_path: Path) -> None:
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        here.emulator.fail_next_snapshot(DATABASE)
        await stack.up(database_id=DATABASE, timeout="3m", triggers=["v1"])
        await stack.up(database_id=DATABASE, timeout="30m", triggers=["v2"])
        assert len(here.posts) == 2
        assert stack.pending
        assert stack.outputs["attempt"]["earlier"].startswith("2026-03-01T12:00:00")
        await anyio.sleep(2 * HOUR)
        await stack.up(database_id=DATABASE, triggers=["v2"])
        assert stack.error is None
        assert [stack.outputs["version_id"]] == accepted(here)[1:]
