"""Machines that share a ledger: one POST, and the limits, over all of them, however slow the place is."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from unittest import mock

import anyio
import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.attempt import LEAVES_WITHIN
from pulumi_snapshots.ledger.bucket import BUCKET_PATIENCE
from pulumi_snapshots.restore.record import RestoreInputs
from pulumi_snapshots.restore.restore import RestoreRefused, restore
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.difference import SnapshotRules
from pulumi_snapshots.snapshot.record import SnapshotInputs, SnapshotRecord
from tests.support.clocks import Shifted
from tests.support.engine_calls import Machine, Stack
from tests.support.ledger_places import Store
from tests.support.virtual import staged, virtual
from tests.support.world import (
    DATABASE,
    OTHER_DATABASE,
    OWNER,
    START,
    Row,
    World,
    world,
)

ANOTHER = OWNER.replace("before-release", "another")
HOUR = timedelta(hours=1)
OFF = pytest.mark.parametrize(
    "off",
    [timedelta(), HOUR, -HOUR],
    ids=["together", "an hour ahead", "an hour behind"],
)


class Team:
    """Machines that share a bucket."""

    def __init__(self, here: World, **store: Any) -> None:
        self.here = here
        self.store = Store(here.clock, **store)

    def machine(self, off: timedelta = timedelta()) -> Session:
        """A process on a new machine, whose clock is off."""
        clock = Shifted(self.here.clock, off.total_seconds()) if off else None
        return self.here.another_run(self.store.bucket(), clock=clock)

    async def create(
        self,
        session: Session | None = None,
        *,
        owner: str = OWNER,
        row: Row | None = None,
        **inputs: Any,
    ) -> SnapshotRecord:
        values = {
            "database_id": DATABASE,
            "triggers": ["v1"],
            "timeout": "45m",
            **inputs,
        }
        return await create(
            session or self.machine(), SnapshotInputs.of(values), row or Row(), owner
        )

    async def restore(
        self,
        version: str,
        session: Session | None = None,
        *,
        owner: str = OWNER,
        row: Row | None = None,
        **inputs: Any,
    ) -> Any:
        values = {
            "database_id": DATABASE,
            "version_id": version,
            "overwrite": True,
            "timeout": "45m",
            **inputs,
        }
        return await restore(
            session or self.machine(), RestoreInputs.of(values), row or Row(), owner
        )

    @property
    def accepted(self) -> list[str | None]:
        return [post.version_id for post in self.here.posts if post.accepted]


@OFF
@pytest.mark.parametrize("kind", ["snapshot", "restore"])
@pytest.mark.parametrize(
    ("seconds", "apart"),
    [(900.0, 0.0), (900.0, 0.1), (900.0, 600.0), (60.0, 10.0), (1200.0, 60.0)],
)
@virtual
async def test_two_runs_of_one_resource_send_one_request(
    kind: str, off: timedelta, seconds: float, apart: float
) -> None:
    async with world(
        snapshot_seconds=seconds, restore_seconds=seconds, cache_world="invalidated"
    ) as here:
        team = Team(here)
        records = list[Any]()
        stored = here.emulator.add_snapshot(DATABASE)
        await anyio.sleep(4000)

        async def run(session: Session) -> None:
            work = (
                team.create
                if kind == "snapshot"
                else partial(team.restore, stored.version_id)
            )
            records.append(await work(session, timeout="2h"))

        async with anyio.create_task_group() as group:
            group.start_soon(run, team.machine(off))
            await anyio.sleep(apart)
            group.start_soon(run, team.machine())
        first, second = ((record.id, record.requested_at) for record in records)
        assert first == second
        assert len(here.posts) + len(here.requests("restore")) == 1


# A machine that sleeps


@pytest.mark.parametrize("kind", ["snapshot", "restore"])
@pytest.mark.parametrize("slept", [11.0, 900.0, 3.5 * 3600])
@staged(world, snapshot_seconds=10, restore_seconds=10.0, cache_world="invalidated")
async def test_a_machine_that_sleeps_between_claim_and_sending_sends_nothing_on_the_old_claim(
    here: World, kind: str, slept: float
) -> None:
    """Its monotonic clock stands still meanwhile, and only the time of day shows it."""
    stored = here.emulator.add_snapshot(DATABASE)
    asleep = [0.0]
    await anyio.sleep(300)
    team = Team(here)
    clock = Clock(here.clock.utc(), lambda: anyio.current_time() + asleep[0])
    clock.utc()
    session = here.another_run(team.store.bucket(), clock=clock)
    edit = session.ledger.edit
    claims = list[str]()

    async def sleeps(change: Callable[[dict[str, Any]], Any]) -> Any:
        result = await edit(change)
        claim: Any = getattr(getattr(result, "entry", None), "result", None)
        if getattr(claim, "role", "") == "new":
            claims.append(claim.attempt.id)
            if len(claims) == 1:
                asleep[0] = slept
                here.emulator.advance(slept)
        return result

    session.ledger.edit = sleeps  # type: ignore[method-assign]
    done = await (
        team.create(session)
        if kind == "snapshot"
        else team.restore(stored.version_id, session)
    )
    (post,) = here.posts + here.requests("restore")
    assert len(claims) == 2
    assert [each.id for each in await session.ledger.attempts()] == claims[1:]
    assert (
        abs((datetime.fromisoformat(done.requested_at or "") - post.at).total_seconds())
        <= 1
    )


@staged(world, snapshot_seconds=10, restore_seconds=30.0)
async def test_a_laptop_that_wakes_up_restores_nothing_over_a_later_restore(
    here: World,
) -> None:
    """It was suspended while it claimed, and another run of the same resource has restored something else since."""
    team = Team(here)
    old, new = (here.emulator.add_snapshot(DATABASE).version_id for _ in "ab")
    laptop = team.machine()

    async def wakes(_: str) -> None:
        await anyio.sleep(900)

    async def suspended() -> None:
        with pytest.raises(
            RestoreRefused,
            match=f"has requested the restore of snapshot {DATABASE}/{new}",
        ):
            await team.restore(old, laptop, triggers=[old])

    async with anyio.create_task_group() as group:
        with mock.patch.object(laptop, "know_time", wakes):
            group.start_soon(suspended)
            await anyio.sleep(300)
            await team.restore(new, triggers=[new])
            await anyio.sleep(900)
    assert [post.version_id for post in here.requests("restore")] == [new]


@staged(world, snapshot_seconds=600, cache_world="invalidated")
async def test_what_another_machine_requests_after_a_run_began_is_not_of_an_earlier_run(
    here: World,
) -> None:
    team = Team(here)
    laptop = team.machine()
    row = Row()

    async def wakes(_: str) -> None:
        await anyio.sleep(60)

    async with anyio.create_task_group() as group:
        with mock.patch.object(laptop, "know_time", wakes):
            group.start_soon(partial(team.create, laptop, row=row, triggers=["v2"]))
            await anyio.sleep(10)
            await team.create()
    waited = [each for each in row.shown if "waiting for the snapshot of" in each]
    assert waited
    assert all("of another run" in each for each in waited)


@staged(world, snapshot_seconds=10)
async def test_a_place_that_is_too_slow_to_claim_says_so_and_sends_nothing(
    here: World,
) -> None:
    team = Team(here, delay=LEAVES_WITHIN.total_seconds() + 3)
    with pytest.raises(Exception, match="this machine slept, or the ledger was slow"):
        await team.create(timeout="20m")
    assert not here.posts
    assert here.clock.monotonic() < 10 * 60, "it went on to its time-out"
    team.store.delay = 0.05
    assert await team.machine().ledger.attempts() == []
    await team.create()
    assert len(team.accepted) == 1


@pytest.mark.parametrize(
    "jump", [24 * HOUR, -24 * HOUR, None], ids=["ahead", "behind", "asleep"]
)
@pytest.mark.parametrize("after", [0.5, 5.0, 95.0, 200.0])
@staged(
    world, snapshot_seconds=300, cache_world="invalidated", key_of_200_has_version=False
)
async def test_a_clock_that_is_set_or_a_sleep_in_the_middle_of_a_run_changes_nothing(
    here: World, jump: timedelta | None, after: float
) -> None:
    moved = {"wall": 0.0, "asleep": 0.0}
    clock = Clock(
        START,
        ticks=lambda: anyio.current_time() + moved["asleep"],
        wall=lambda: here.clock.utc() + timedelta(seconds=moved["wall"]),
    )

    def happens() -> None:
        moved["wall"] = (jump or HOUR).total_seconds()
        if jump is None:
            moved["asleep"] = moved["wall"]
            here.emulator.advance(moved["asleep"])

    session = here.another_run(clock=clock)
    ending = await here.meanwhile(after, happens, here.create(session=session))
    assert ending.complete.version_id == here.started()
    assert ending.complete.requested_at == "2026-03-01T12:00:00Z"
    assert len(here.posts) == 1
    await session.close()


# A place in trouble


@pytest.mark.parametrize("kind", ["snapshot", "restore"])
@virtual
async def test_a_place_that_opens_and_then_refuses_the_entry_ends_the_run(
    kind: str,
) -> None:
    """Rights or credentials end while requests are queued: each of them ends by an error of its own."""
    databases = tuple(f"{number:032x}" for number in range(30))
    async with world(
        databases=databases, snapshot_seconds=10, restore_seconds=10.0
    ) as here:
        team = Team(here)
        errors = list[LedgerUnavailable]()
        session = team.machine()
        versions = {
            database_id: here.emulator.add_snapshot(database_id).version_id
            for database_id in databases
        }
        await anyio.sleep(300)

        async def one(database_id: str) -> None:
            work = (
                team.create
                if kind == "snapshot"
                else partial(team.restore, versions[database_id])
            )
            try:
                await work(
                    session=session,
                    owner=f"shop::dev::{database_id}",
                    database_id=database_id,
                )
            except LedgerUnavailable as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            for database_id in databases:
                group.start_soon(one, database_id)
            await anyio.sleep(1)
            team.store.refuses = "ExpiredToken"
        sent = len(here.posts) + len(here.requests("restore"))
        assert sent + len(errors) == 30
        assert sent < 30
        for error in errors:
            assert "Nothing was started" in str(error)
            chain: list[BaseException | None] = [error]
            while (
                chain[-1] is not None and len(chain) < 6
            ):  # it may be a ring, or grow with each of them
                chain.append(chain[-1].__cause__)
            assert chain[-1] is None
        team.store.refuses = ""
        assert len(await team.machine().ledger.attempts()) == sent


@pytest.mark.parametrize("after", [5.0, 100.0], ids=["POST open", "waiting"])
@pytest.mark.parametrize("fails", ["no answer", "ExpiredToken: the token has expired"])
@staged(
    world,
    databases=(DATABASE, OTHER_DATABASE),
    snapshot_seconds=200,
    cache_world="invalidated",
)
async def test_a_place_that_is_gone_in_the_middle_loses_no_snapshot(
    here: World, fails: str, after: float
) -> None:
    team = Team(here)
    row = Row()
    records = list[Any]()
    session = team.machine()

    async def take() -> None:
        records.append(await team.create(session, row=row))

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        await anyio.sleep(after)
        team.store.fails = fails
    assert [record.version_id for record in records] == team.accepted
    assert f"{row.warnings}{session.take_note()}".count(fails) == 1, "it is said once"
    with pytest.raises(LedgerUnavailable):
        await team.create(session, owner=ANOTHER, database_id=OTHER_DATABASE)
    team.store.fails = ""
    # The state of that run could not be saved either: another machine completes from what the place has.
    assert (await team.create()).version_id == records[0].version_id
    assert len(here.posts) == 1


@staged(world)
async def test_a_destroy_waits_once_for_a_place_that_never_answers(here: World) -> None:
    store = Store(here.clock, hangs=True)
    stack = Stack(SnapshotRules(), Machine(here, store.bucket()), OWNER)  # type: ignore[arg-type]
    stack.begin()
    began = here.clock.monotonic()
    for number in range(50):
        stack.urn = f"{OWNER}-{number}"
        record = {
            "database_id": DATABASE,
            "version_id": f"v{number}",
            "available": True,
        }
        await stack.delete(f"{DATABASE}/v{number}", record)
    assert here.clock.monotonic() - began < 2 * BUCKET_PATIENCE


@pytest.mark.parametrize("kind", ["create", "restore"])
@staged(world, snapshot_seconds=60, restore_seconds=60.0, cache_world="invalidated")
async def test_a_second_run_sees_that_the_request_of_the_first_was_refused(
    here: World, kind: str
) -> None:
    team = Team(here)
    ended = list[str]()
    stored = here.emulator.add_snapshot(DATABASE)
    here.fault(kind=kind, delay=20.0, status=403, code="RESOURCE_NOT_ALLOWED")

    async def run() -> None:
        try:
            await (
                team.create() if kind == "create" else team.restore(stored.version_id)
            )
            ended.append("done")
        except SquareCloudError:
            ended.append("refused")

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.sleep(10.0)
        group.start_soon(run)
    assert ended == ["refused", "done"]
    assert here.clock.utc() - START < timedelta(minutes=10)
