"""A snapshot as a trigger of something else: its provisional id and its final one are the same."""

from contextlib import suppress
from typing import Any

import anyio
import pytest

from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.run.memory import RunMemory, is_provisional
from pulumi_snapshots.snapshot.record import SnapshotRecord
from tests.ledger.play import back, given, of
from tests.support.restoring import Scene, scene
from tests.support.virtual import staged
from tests.support.world import DATABASE, World, world

PROVISIONAL = "db/pending:20260301T120000Z"


@pytest.mark.parametrize(
    ("old", "new", "known", "same"),
    [
        (PROVISIONAL, "db/v1", {}, True),
        (PROVISIONAL, "db/v1", {"db/v1": "2026-03-01T12:00:00Z"}, True),
        (PROVISIONAL, "db/v2", {"db/v2": "2026-03-01T12:30:00Z"}, False),
        (PROVISIONAL, "other/v1", {}, False),
        (PROVISIONAL, "db/pending:20260301T130000Z", {}, False),
        ("db/v1", PROVISIONAL, {}, False),
        ("db/v1", "db/v2", {}, False),
        (PROVISIONAL, 7, {}, False),
    ],
)
def test_which_ids_are_of_one_snapshot(
    old: object, new: object, known: dict[str, str], *, same: bool
) -> None:
    memory = RunMemory()
    for id_, requested_at in known.items():
        memory.remember_request(id_, requested_at)
    assert memory.is_same_snapshot(old, new) is same


@staged(scene, snapshot_seconds=400, cache_world="invalidated")
async def test_a_restore_acts_once_while_its_trigger_gets_its_final_id(
    at: Scene,
) -> None:
    snapshot = of(at.here)
    restore = back(at)
    values: dict[str, Any] = {"database_id": at.stored.database_id}
    await snapshot.up(timeout="3m", **values)
    provisional = snapshot.id
    await anyio.sleep(600)
    snapshot.begin()
    await snapshot.diff(dict(values))
    made = await snapshot.rules.calls.update(
        snapshot.call(), snapshot.id, snapshot.outputs, values
    )
    snapshot.outputs = {
        name: value for name, value in made.outputs.items() if value is not None
    }
    await restore.up(**given(at, triggers=[provisional]))
    at.writes("later")
    for _ in range(2):
        await restore.up(**given(at, triggers=[made.id]))
    assert len(at.posts) == 1
    assert at.holds() == "later"
    # Another snapshot is another trigger, also if the old one has its provisional id.
    shown = {**restore.outputs, "triggers": [provisional]}
    await anyio.sleep(600)
    await snapshot.up(replace=True, **values)
    assert snapshot.error is None
    assert snapshot.shared is not None
    restore.shared = snapshot.shared
    restore.outputs = shown
    assert (await restore.diff(given(at, triggers=[snapshot.id]))).replaces == (
        "triggers",
    )


@pytest.mark.parametrize("first", ["provisional", "final"])
@staged(scene, snapshot_seconds=400, cache_world="invalidated")
async def test_a_restore_acts_once_though_an_older_state_knows_its_trigger_by_another_id(
    at: Scene, first: str
) -> None:
    """The checkpoint has the snapshot, but not the restore, of which only the ledger knows."""
    snapshot = of(at.here)
    restore = back(at)
    restore.machine = snapshot.machine
    await snapshot.up(timeout="3m", database_id=at.stored.database_id)
    ids = {"provisional": snapshot.id}
    await anyio.sleep(600)
    for now in (first, "provisional" if first == "final" else "final"):
        await snapshot.up(database_id=at.stored.database_id)
        ids["final"] = snapshot.id
        restore.begin()
        SnapshotRecord.from_outputs(snapshot.outputs).remember_in(
            restore.session.memory
        )
        restore.id = ""
        restore.outputs = {}
        with suppress(ProviderError):
            await restore.create(given(at, triggers=["v1", ids[now], [{"other": 1}]]))
    assert len(at.posts) == 1


@staged(world, snapshot_seconds=30, cache_world="invalidated", clock_offset_seconds=-20)
async def test_an_id_stays_that_of_one_snapshot_once_the_services_clock_is_known(
    here: World,
) -> None:
    """The machine's clock is ahead, and a run was cut off before any answer had shown the service's."""
    snapshot = of(here)
    here.fault(kind="create", when="after", delay=7200.0, times=1)
    await snapshot.up(timeout="30s", database_id=DATABASE)
    provisional = snapshot.id
    assert is_provisional(provisional)
    await anyio.sleep(600)
    await snapshot.up(database_id=DATABASE)
    assert not is_provisional(snapshot.id), snapshot.error
    memory = RunMemory()  # a later run, which knows what the state says
    SnapshotRecord.from_outputs(snapshot.outputs).remember_in(memory)
    assert memory.is_same_snapshot(provisional, snapshot.id)
    assert len(here.posts) == 1
