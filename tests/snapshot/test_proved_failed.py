"""A pending snapshot counts as failed only by proof; whatever leaves a doubt sends no second request."""

from datetime import timedelta
from unittest import mock

import anyio
import pytest

from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import Document
from tests.ledger.play import of, play
from tests.support.restoring import Scene, scene
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OWNER, START, World, world

FAILED = "service snapshot_seconds=300; wait 400; the next fails; S up v1 pending timeout=3m; wait 10800"
"""One was accepted and never came, three hours ago."""
UNREAD = " ".join(
    f"""fault {kind} times=None body='{{"status":"success","response":[{{"key":7}}]}}';"""
    for kind in ("list", "list_account")
)
EMPTY = UNREAD.replace('{"key":7}', "")
STORIES = {
    "one from after its time is named instead of a second request, and leaves a way out": f"""
        {FAILED}; somebody takes; wait 300; S up v1 pending: theirs & `pulumi up --refresh --replace; sent 1;
        S up v1 replace; S has 2
    """,
    "one whose answer was lost, and which took longer than usual, is named instead of paid twice": """
        service snapshot_seconds=1200 modified_is=end; wait 400; fault create drop=True when=after;
        S up v1 pending timeout=1m; wait 7200; S up v1 pending: The listing shows what could be this snapshot; sent 1;
        S up v1 replace: although its time is; S has 2
    """,
    "two that could be it are named instead of a second request, and leave a way out": f"""
        {FAILED}; somebody takes 5; somebody takes 6; S up v1 pending: theirs & `pulumi up --refresh --replace; sent 1;
        S up v1 replace; S has 2
    """,
    "a listing that proves nothing lets no second request leave": f"""
        {FAILED}; {UNREAD} S up v1 pending: The service's listing is not whole; sent 1; mend; S up v1; S has 2
    """,
    "a listing without what the state has proves nothing, and lets no second request leave": f"""
        wait 400; S up v1; wait 600; {EMPTY} fault create drop=True when=before times=1;
        S up v2 pending timeout=3h: The service's listing is not whole; sent 2; mend; S up v2; S has 2
    """,
    "one that comes after the page that proved its failure is taken": f"""
        {FAILED}; S refresh; somebody takes 5; S up v1; S has theirs; sent 1
    """,
    "other triggers get none that comes after the proof": f"""
        {FAILED}; S refresh; somebody takes 5; S up v2; S has 2
    """,
    "one that was given up is not mistaken for the next": """
        service snapshot_seconds=300; wait 400; the next fails; S up v1 pending timeout=3m;
        S up v2 timeout=30m refused: waiting for the snapshot of an earlier run, since requested at; sent 1;
        wait 7200; S up v2; S has 2
    """,
    "a forced one that never came is not completed by the one that it was to replace": """
        service snapshot_seconds=300; wait 400; S up; wait 3600; the next fails; S up trigger pending timeout=3m;
        wait 10800; S up; S has 3
    """,
    "one that never came is not found in what another resource requested after it": """
        service snapshot_seconds=300 cache_world=invalidated; wait 400; the next fails; S starts up v1 pending timeout=3h;
        wait 600; S.b up v1 timeout=90m; S.b has 2; S ends; wait 600; S up v1; S has 3
    """,
    "a refresh does not find one that never came in what another resource requested after it": """
        service snapshot_seconds=300 cache_world=invalidated; wait 400; the next fails; S up v1 pending timeout=3m;
        wait 3000; S.b up v1 pending timeout=3m; wait 600; S refresh; S.b up v1; S.b has 2; wait 10800;
        S up v1; S has 3
    """,
    "one that never came is not found in what the machine to which its stack moves has taken": """
        service snapshot_seconds=200; wait 400; the next fails; S up pending timeout=3m; wait 3600; S.b moves; S.b up;
        S joins S.b; S up pending timeout=3m; S.b has 2
    """,
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
@virtual
async def test_whatever_leaves_a_doubt_sends_no_second_request(story: str) -> None:
    await play(story)


@pytest.mark.parametrize("saves", [False, True])
@staged(scene, snapshot_seconds=300, cache_world="invalidated")
async def test_what_another_run_finds_while_it_is_given_up_is_used(
    at: Scene, *, saves: bool
) -> None:
    here = at.here
    stack = of(here)
    withdraw = Ledger.withdraw
    found: list[str] = []
    await anyio.sleep(400)
    here.emulator.fail_next_snapshot(DATABASE)
    await stack.up(saves=saves, database_id=DATABASE, timeout="3m")
    await anyio.sleep(3 * 3600)

    async def overtaken(ledger: Ledger, attempt: Attempt) -> bool:
        late = here.emulator.add_snapshot(DATABASE, modified=here.posts[0].at)
        found.append(late.version_id)
        await ledger.end(attempt, late.version_id)
        return await withdraw(ledger, attempt)

    with mock.patch.object(Ledger, "withdraw", overtaken):
        await stack.up(database_id=DATABASE)
    assert [stack.outputs["version_id"]] == found
    assert len(here.posts) == 1
    assert not any("never taken" in note for note in stack.row.notes)


@pytest.mark.parametrize("shown", ["adopted", "refreshed"])
@staged(world, snapshot_seconds=300, cache_world="invalidated")
async def test_what_another_resource_of_the_run_has_is_not_taken_for_a_pending_one(
    w: World, *, shown: str
) -> None:
    w.emulator.fail_next_snapshot(DATABASE)
    pending = (await w.create(timeout=180.0)).pending
    theirs = w.emulator.add_snapshot(DATABASE, modified=w.clock.utc())
    await w.clock.sleep(1800)
    process = w.another_run()
    other = await w.create(session=process, owner=f"{OWNER}-other", reuse_within=3600)
    assert other.complete.version_id == theirs.version_id
    if shown == "refreshed":
        process = w.another_run()
        await w.read(other.complete, session=process)
    await w.clock.sleep(3 * 3600)
    again = await w.create(pending, session=process)
    assert again.complete.version_id == w.posts[1].version_id


@staged(world, snapshot_seconds=300, cache_world="invalidated")
async def test_a_request_after_two_that_cannot_be_told_apart_is_none_of_them(
    w: World,
) -> None:
    w.emulator.fail_next_snapshot(DATABASE)
    (await w.create(timeout=180.0)).pending  # noqa: B018  asserts

    def two_are_taken() -> None:
        for seconds in (2, 1):
            moment = w.emulator.now() - timedelta(seconds=seconds)
            w.emulator.add_snapshot(DATABASE, modified=moment)

    process = w.next_run()
    second = w.create(session=process, owner=f"{OWNER}-second", timeout=3600.0)
    # Right before the poll that shows them, so that they are as young as can be.
    ending = await w.meanwhile(149.0, two_are_taken, second)
    assert w.listings[0].at == START + timedelta(seconds=330)
    assert ending.complete.version_id == w.posts[1].version_id


@pytest.mark.parametrize("number", range(1, 7))
@staged(scene, snapshot_seconds=300, cache_world="invalidated")
async def test_no_read_of_the_ledger_that_fails_lets_what_was_to_be_replaced_do(
    at: Scene, number: int
) -> None:
    stack = of(at.here)
    reads = iter(range(1, 100))
    await anyio.sleep(400)
    await stack.up(database_id=DATABASE)
    first = stack.outputs["version_id"]
    await anyio.sleep(3600)
    at.here.emulator.fail_next_snapshot(DATABASE)
    await stack.up(trigger=True, database_id=DATABASE, timeout="3m")
    await anyio.sleep(3 * 3600)
    place = stack.machine.place
    assert place is not None
    read = place.read

    async def once_refused() -> Document:
        if next(reads) == number:
            raise place.unavailable("SlowDown")
        return await read()

    place.read = once_refused  # type: ignore[method-assign]
    for _ in range(2):
        await stack.up(database_id=DATABASE)
        assert stack.outputs.get("version_id") != first
    assert stack.outputs["version_id"]
    assert len(at.here.posts) == 3
