"""The end of the account's plan: who hears of it, and what asking for it costs."""

from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import pytest

from pulumi_snapshots.snapshot.read import read
from pulumi_snapshots.snapshot.record import SnapshotRecord
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START, Row, World, world

SOON = START + timedelta(days=10)
WARNING = (
    "The account's plan ends on 2026-03-11T12:00:00Z, in 10 days: then the service keeps the "
    "newest snapshot of each database for 30 days, all others for 14 days at most, and after that "
    "nothing. Renew the plan, or archive what you need: an archive stays in your own storage."
)


@staged(world, databases=(DATABASE, OTHER_DATABASE), plan_ends_at=SOON)
async def test_a_run_warns_once_and_asks_once_for_all_its_snapshots(w: World) -> None:
    async with anyio.create_task_group() as group:
        for database_id in (DATABASE, OTHER_DATABASE):
            group.start_soon(partial(w.create, database_id=database_id))
    assert w.row.warnings == [WARNING]
    assert len(w.requests("me")) == 1
    assert not w.requests("status"), "the same request shows the service's time"


@pytest.mark.parametrize(
    ("hours", "warns"), [(14 * 24 + 1, False), (14 * 24, True), (1, True)]
)
@virtual
async def test_the_warning_begins_14_days_before(hours: float, warns: bool) -> None:  # noqa: FBT001
    async with world(plan_ends_at=START + timedelta(hours=hours)) as w:
        assert (await w.create()).complete.available
        assert bool(w.row.warnings) is warns


@staged(world, plan_ends_at=START + timedelta(days=1))
async def test_a_snapshot_refused_after_the_plans_end_says_that_it_ended(
    w: World,
) -> None:
    w.emulator.advance(4 * 86400)
    ending = await w.create()
    assert "DATABASE_NOT_RUNNING" in ending.text
    (warning,) = w.row.warnings
    assert warning.startswith(
        "The account's plan ended on 2026-03-02T12:00:00Z: then the service"
    )


@staged(world, databases=(DATABASE, OTHER_DATABASE), plan_ends_at=SOON)
async def test_a_run_that_has_polled_before_asks_for_the_plan_once(w: World) -> None:
    stored = w.emulator.add_snapshot(OTHER_DATABASE)
    known = SnapshotRecord(OTHER_DATABASE, version_id=stored.version_id)
    await read(w.session, known, Row())
    assert not w.requests("me")
    assert (await w.create()).complete.available
    assert w.row.warnings == [WARNING]
    assert len(w.requests("me")) == 1


FAULTS: dict[str, dict[str, Any]] = {
    "a scope is missing": {"status": 403, "code": "MISSING_SCOPE"},
    "a proxy's page": {"html": 502},
    "no answer": {"drop": True},
    "a slow answer": {"delay": 60.0},
    "another form": {"body": '{"status":"success","response":{"user":7}}'},
    "an odd plan": {
        "body": '{"status":"success","response":{"user":{"id":"x","plan":{"duration":"soon"}},'
        '"databases":[]}}'
    },
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("polled", [False, True])
@virtual
async def test_a_plan_that_cannot_be_read_fails_no_snapshot(
    fault: str,
    polled: bool,  # noqa: FBT001
) -> None:
    async with world(plan_ends_at=SOON) as w:
        if polled:
            await w.session.listings.own_page(DATABASE, w.clock.monotonic())
        w.fault(kind="me", times=None, **FAULTS[fault])
        began = w.clock.monotonic()
        assert (await w.create()).complete.available
        assert w.row.warnings == []
        waited = w.posts[0].monotonic - began
        assert waited <= (6 if polled else 95)
