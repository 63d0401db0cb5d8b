"""What a killed run leaves of a snapshot, and that no other run pays for it again, or takes it for its own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from pulumi_snapshots.errors import NothingSent
from pulumi_snapshots.snapshot.create import Pending, create, resume
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.read import read
from squarecloud_emulator import Fault
from tests.support.memory import Memory
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OWNER, Row, World, world

if TYPE_CHECKING:
    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.snapshot.record import SnapshotRecord

ANOTHER = OWNER.replace("before-release", "another")
RELEASE = SnapshotInputs.of({"database_id": DATABASE, "triggers": ["v1"], "timeout": "45m"})
NEXT_RELEASE = SnapshotInputs.of({"database_id": DATABASE, "triggers": ["v2"], "timeout": "45m"})
SHORT = SnapshotInputs.of({"database_id": DATABASE, "triggers": ["v1"], "timeout": "4m"})


async def run(
    here: World, inputs: SnapshotInputs = RELEASE, owner: str | None = OWNER, row: Row | None = None
) -> SnapshotRecord:
    """One run of a later process."""
    return await create(here.next_run(), inputs, row or Row(), owner)


async def killed(here: World, after: float, inputs: SnapshotInputs = RELEASE) -> None:
    async def work(session: Session) -> SnapshotRecord:
        return await create(session, inputs, Row(), OWNER)

    assert await here.killed(after, work)


def accepted(here: World) -> list[str | None]:
    return [post.version_id for post in here.posts if post.accepted]


@virtual
async def test_a_run_killed_before_its_post_is_repeated() -> None:
    async with world(snapshot_seconds=10) as here:
        here.emulator.add_fault(Fault(kind="create", status=429, code="KEEP_CALM", times=None))
        await killed(here, 8)
        here.emulator.clear_faults()
        assert [(await run(here)).version_id] == accepted(here)


@virtual
async def test_a_run_interrupted_while_it_connects_leaves_nothing_to_wait_for() -> None:
    async with world() as here:
        session = here.next_run()
        here.emulator.add_fault(Fault(kind="create", no_connect=True, delay=1000))
        ending = await here.meanwhile(5, session.stop, here.create(session=session))
        assert isinstance(ending.nothing, NothingSent)
        assert "while connecting to the service" in ending.text
        assert not await session.ledger.attempts()
        began = here.clock.monotonic()
        await run(here, NEXT_RELEASE)
        assert here.posts[0].monotonic - began < 10


@virtual
async def test_a_snapshot_found_by_a_resume_delays_no_other_run() -> None:
    async with world(snapshot_seconds=600, cache_world="invalidated") as here:
        with pytest.raises(Pending) as pending:
            await run(here, SHORT)
        await resume(here.next_run(), pending.value.record, RELEASE, Row(), owner=OWNER)
        began = here.clock.monotonic()
        await run(here, owner=ANOTHER)
        assert here.posts[1].monotonic - began < 10


@virtual
async def test_a_request_that_another_run_sends_right_before_ours_is_waited_for() -> None:
    async with world(snapshot_seconds=400, cache_world="invalidated", modified_is="end") as here:
        here.emulator.add_fault(Fault(kind="list", delay=10, times=1))
        ends: list[SnapshotRecord] = []

        async def ours() -> None:
            # Nobody has sent a request for this database yet. The search for a snapshot to reuse comes next.
            ends.append(await run(here, replace(RELEASE, reuse_within=60.0)))

        async with anyio.create_task_group() as runs:
            runs.start_soon(ours)
            await anyio.sleep(1)
            with pytest.raises(Pending) as pending:
                await run(here, SHORT, ANOTHER)
        assert [end.version_id for end in ends] == accepted(here)[1:]
        theirs = await resume(here.next_run(), pending.value.record, RELEASE, Row(), owner=ANOTHER)
        assert theirs.version_id == accepted(here)[0]


@pytest.mark.parametrize("resumed", [False, True])
@virtual
async def test_a_snapshot_just_found_by_another_resource_never_matches(*, resumed: bool) -> None:
    # It ends a second before the first poll finds it, and so within the clock skew before the next POST.
    async with world(snapshot_seconds=209, cache_world="invalidated", modified_is="end") as here:
        if resumed:
            with pytest.raises(Pending) as pending:
                await run(here, replace(SHORT, timeout=120.0))
            await anyio.sleep(90)
            first = await read(here.next_run(), pending.value.record, Row(), owner=OWNER)
        else:
            first = await run(here)
        second = await run(here, owner=ANOTHER)
        assert here.posts[1].monotonic - here.posts[0].monotonic < 225
        assert [first.version_id, second.version_id] == accepted(here)


@virtual
async def test_reuse_adopts_the_snapshot_of_a_run_without_an_owner() -> None:
    async with world(snapshot_seconds=100, cache_world="invalidated") as here:
        with pytest.raises(Pending):
            await run(here, replace(SHORT, timeout=95.0), None)
        await anyio.sleep(60)
        record = await run(here, replace(RELEASE, reuse_within=3600.0), None)
        assert [record.version_id] == accepted(here)


@virtual
async def test_the_ledger_holds_neither_key_nor_triggers() -> None:
    async with world(snapshot_seconds=100) as here:
        place = here.session.ledger.place
        assert isinstance(place, Memory)
        secret = SnapshotInputs.of({"database_id": DATABASE, "triggers": ["a secret value"]})
        await here.killed(20, partial(create, inputs=secret, listener=Row(), owner=OWNER))
        assert place.data is not None
        assert DATABASE.encode() in place.data
        assert b"a secret value" not in place.data
        assert here.emulator.settings.api_key.encode() not in place.data
