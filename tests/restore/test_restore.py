"""A restore overwrites live data: it is sent once, never on doubt, and ends only when what the database holds is known."""

from datetime import timedelta
from typing import Any
from unittest import mock

import anyio
import pytest

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.restore.record import RestoreRecord
from pulumi_snapshots.restore.restore import RestorePending, RestoreRefused
from pulumi_snapshots.service.pacing import OwnRequest
from pulumi_snapshots.service.rate_limiter import RateLimiter
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.record import SnapshotInputs
from squarecloud_emulator import Fault
from tests.support.example import RESTORE_ATTEMPT, Example
from tests.support.memory import Memory
from tests.support.restoring import RESTORER, Scene, scene
from tests.support.virtual import staged
from tests.support.world import DATABASE, OTHER_DATABASE, START

MINUTE = 60.0
HOUR = 3600.0
OTHER = RESTORER.replace("::shop::", "::store::")
GOOD = {"database_id": DATABASE, "version_id": "v1", "overwrite": True}
REQUESTED = {
    **GOOD,
    "target_database_id": DATABASE,
    "requested_at": "2026-03-01T12:00:00Z",
}


async def _uses(at: Any) -> None:
    here = Scene(at.w, at.stored, Memory(at.w.clock))
    ending = await here.restore(name=None, runtime=None)
    if ending.error is not None:
        raise ending.error


EXAMPLE = Example(
    good=GOOD,
    state={**REQUESTED, "restored_at": "2026-03-01T12:01:30Z"},
    id=f"{DATABASE}/restore:20260301T120000Z",
    pending={
        **REQUESTED,
        "attempt": RESTORE_ATTEMPT,
    },
    uses=_uses,
    recorded="""\
provider.Restore("back", snapshot, overwrite=True, triggers=[1, None], timeout="5m")
""",
    recorded_from=1,
)


def on_restore(**fault: Any) -> Fault:
    return Fault(kind="restore", **fault)


def is_sent_once(at: Scene) -> None:
    assert at.holds() == "then"
    assert len(at.posts) == 1
    assert not [each for each in at.row.shown if "not sent" in each]


@staged(scene)
async def test_a_restore_that_is_not_answered_for_long_is_shown_beside_the_row(
    at: Scene,
) -> None:
    at.here.fault(kind="restore", when="after", delay=80.0)
    assert (await at.restore()).record is not None
    assert any(
        each.startswith("waiting: restore sent; answer by") for each in at.row.reminders
    )


@staged(scene)
async def test_a_restore_leaves_though_the_check_right_before_it_is_answered_late(
    at: Scene,
) -> None:
    at.here.fault(kind="restore status", delay=12, times=None)
    (await at.restore()).complete  # noqa: B018  it asserts
    is_sent_once(at)


@staged(scene)
async def test_a_restore_leaves_after_a_check_though_the_minutes_requests_are_used_up(
    at: Scene,
) -> None:
    ending = await at.restore(at.process(requests_per_minute=2), keep_current=True)
    ending.complete  # noqa: B018  it asserts
    is_sent_once(at)
    was_checked(at)


@staged(scene)
async def test_a_restore_is_checked_though_reads_have_used_up_their_part_of_a_minute(
    at: Scene,
) -> None:
    process = at.process()
    leaves = RateLimiter.claim

    async def after_reads(limiter: RateLimiter, *about: Any) -> Any:
        taken = await leaves(limiter, *about)
        for _ in range(20):
            read = OwnRequest(limiter.clock.monotonic(), is_entered=True)
            limiter._pacing.note_sent(read)
        return taken

    with mock.patch.object(RateLimiter, "claim", after_reads):
        (await at.restore(process)).complete  # noqa: B018  it asserts
    was_checked(at)


def was_checked(at: Scene) -> None:
    """Right before the request, the service was asked how the last restore is going."""
    (post,) = at.posts
    sent = at.here.emulator.journal
    checks = [
        each.at
        for each in sent[: sent.index(post)]
        if (each.kind, each.database_id) == ("restore status", post.database_id)
    ]
    assert (post.at - checks[-1]).total_seconds() < 2


# The plain way -------------------------------------------------------------------------------------------------------


@staged(scene)
async def test_a_restore_ends_when_the_database_runs_with_its_old_rows(
    at: Scene,
) -> None:
    record = (await at.restore()).complete
    assert at.holds() == "then"
    assert at.holds(OTHER_DATABASE) == "now"
    assert at.accepted == [at.stored.version_id]
    assert (record.snapshot, record.target_database_id) == (
        f"{DATABASE}/{at.stored.version_id}",
        DATABASE,
    )
    assert record.requested_at == "2026-03-01T12:00:00Z"
    assert record.restored_at is not None
    assert parse_rfc3339(record.restored_at) - START <= timedelta(seconds=95)
    assert record.id == f"{DATABASE}/restore:20260301T120000Z"
    assert at.row.notes == [
        f"restored {record.snapshot}, taken 12:00:00 UTC, onto database {DATABASE}"
    ]
    # One poll before the claim and one right before the POST, then one every 30 s, and the database's own status before and at the end; the snapshot is known.
    polls = ["restore status"] * 3
    assert [one.kind for one in at.here.emulator.journal] == [
        "restore status",
        "status",
        "restore status",
        "restore",
        *polls,
        "status",
    ]


@staged(scene)
async def test_a_restore_onto_another_database_leaves_the_first_alone(
    at: Scene,
) -> None:
    record = (await at.restore(target=OTHER_DATABASE)).complete
    assert (at.holds(), at.holds(OTHER_DATABASE)) == ("now", "then")
    assert record.target_database_id == OTHER_DATABASE


@staged(scene, snapshot_seconds=1.0, cache_world="kept")
async def test_a_snapshot_that_a_run_has_found_is_restored_at_once_though_the_page_is_too_old_to_list_it(
    at: Scene,
) -> None:
    """So that the way back that a guard has printed works, whatever was listed just before."""
    await at.process().listings.own_page(DATABASE, 0.0)
    taker = at.process()
    taken = await create(taker, SnapshotInputs(DATABASE), at.row, needs_url=False)
    known: dict[str, Any] = {
        "version_id": taken.version_id,
        "name": None,
        "runtime": None,
        "created_at": None,
    }
    began = at.elapsed
    assert (await at.restore(at.process(), **known)).how == "complete"
    assert at.accepted == [taken.version_id]
    assert at.elapsed - began < 3 * MINUTE
    unknown = await at.restore(at.process(), OTHER, **known | {"version_id": "v" * 32})
    assert isinstance(unknown.error, RestoreRefused)


# Cooldowns and other restores ------------------------------------------------------------------------------------------


@staged(scene, restore_seconds=5.0, settings={"restore_settle": 5.0, "poll_every": 5.0})
async def test_restores_of_one_run_keep_both_cooldowns_without_a_refusal(
    at: Scene,
) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(at.restore)
        await anyio.sleep(1)
        group.start_soon(lambda: at.restore(target=OTHER_DATABASE))
    assert 60 <= at.elapsed <= 80
    assert (await at.restore(owner=OTHER)).how == "complete"
    assert 120 <= at.elapsed <= 150
    assert [post.status for post in at.posts] == [200, 200, 200]


@staged(scene)
async def test_a_lost_restore_is_not_done_by_the_end_of_another_one(at: Scene) -> None:
    at.here.emulator.add_fault(on_restore(drop=True))
    endings: list[str] = []

    async def one(longest: float) -> None:
        endings.append((await at.restore(owner=f"urn:{longest}", timeout=longest)).how)

    async with anyio.create_task_group() as group:
        group.start_soon(one, 300.0)
        await anyio.sleep(1)
        group.start_soon(one, 900.0)
    assert endings == ["pending", "complete"]
    assert len(at.accepted) == 1


@pytest.mark.parametrize("resource", [RESTORER, None])
def test_if_the_state_keeps_nothing_the_error_says_what_up_does_next(
    resource: str | None,
) -> None:
    record = RestoreRecord(DATABASE, "v1", DATABASE, "2026-03-01T12:00:00Z")
    end = RestorePending(record, "It was interrupted.")
    text = PYTHON.error_text(
        end, end.steps_if_not_saved(remembered=resource is not None)
    )
    assert text.startswith(
        "It was interrupted.\nhint: The installed Pulumi SDK has no known way to keep this in the stack's state. "
    )
    assert ("on this machine keeps waiting" in text) is (resource is not None)
    assert text.endswith(" starts over. To prevent that, remove the resource first.")


# Refusals ------------------------------------------------------------------------------------------------------------


@staged(scene, cache_world="kept")
async def test_a_restore_waits_for_a_listing_that_is_old(at: Scene) -> None:
    # else the page had another one, which would have its name
    at.here.emulator.remove_snapshot(at.stored.version_id)
    await at.here.freeze_listings()
    await at.here.clock.sleep(3 * 60)
    taken = await create(at.process(), SnapshotInputs(DATABASE), at.row)
    chosen: dict[str, Any] = {
        "version_id": taken.version_id,
        "name": None,
        "runtime": None,
    }
    short = await at.restore(at.process(), **chosen, timeout=60.0)
    assert isinstance(short.nothing, RestoreRefused)
    assert "Run it again after 12:" in short.text
    assert not at.posts
    waits = at.restore(at.process(), **chosen, timeout=45 * 60.0)
    ending = await at.here.meanwhile(300, lambda: at.here.emulator.block(120), waits)
    assert ending.complete.version_id == taken.version_id
    assert "listing is old until 12:" in ending.text
    assert "last poll failed (429 RATE_LIMITED)" in ending.text
    assert len(at.posts) == 1


@staged(scene, snapshot_seconds=1.0, cache_world="invalidated")
async def test_a_snapshot_of_this_run_is_not_restored_onto_its_database(
    at: Scene,
) -> None:
    taken = await create(at.here.session, SnapshotInputs(DATABASE), at.row)
    chosen: dict[str, Any] = {"version_id": taken.version_id, "name": taken.name}
    ending = await at.restore(**chosen)
    assert isinstance(ending.nothing, RestoreRefused)
    assert "is new in this same run" in ending.text
    assert not at.posts
    assert (await at.restore(**chosen, target=OTHER_DATABASE)).how == "complete"
    assert at.holds(OTHER_DATABASE) == "now"


# Undo ----------------------------------------------------------------------------------------------------------------


@staged(scene, snapshot_seconds=60)
async def test_what_a_restore_overwrites_is_kept_on_demand(at: Scene) -> None:
    record = (await at.restore(keep_current=True)).complete
    assert at.holds() == "then"
    assert record.previous == f"{DATABASE}/{at.here.started()}"
    undo = f"To undo: squarecloud-snapshots restore {record.previous} --no-keep"
    assert undo in "".join(map(str, at.row.notes))
    version = record.previous.partition("/")[2]
    known: dict[str, Any] = {
        "name": None,
        "runtime": None,
        "created_at": None,
        "triggers": [1],
    }
    await at.here.clock.sleep(5 * MINUTE)
    undone = (await at.restore(at.process(), version_id=version, **known)).complete
    assert (at.holds(), undone.previous) == ("now", None)
    assert len(at.here.posts) == 1


@staged(scene, snapshot_seconds=60)
async def test_nothing_is_kept_unless_that_is_asked_for(at: Scene) -> None:
    assert (await at.restore()).complete.previous is None
    assert not at.here.posts


@staged(scene, snapshot_seconds=60, restore_seconds=300)
async def test_a_run_that_resumes_knows_what_was_kept(at: Scene) -> None:
    await at.killed(150, keep_current=True)
    record = (await at.restore(at.process(), keep_current=True)).complete
    assert record.previous == f"{DATABASE}/{at.here.started()}"
    assert (len(at.posts), len(at.here.posts)) == (1, 1)


@staged(scene, snapshot_seconds=60)
async def test_a_restore_with_nothing_to_undo_it_is_not_sent(at: Scene) -> None:
    at.here.fault(
        kind="create", status=403, code="DAILY_SNAPSHOTS_LIMIT_REACHED", times=None
    )
    ending = await at.restore(keep_current=True)
    assert "was not restored, since no snapshot keeps what it holds now" in ending.text
    assert "Set keep_current to false" in ending.text
    assert not at.posts
    assert at.holds() == "now"
