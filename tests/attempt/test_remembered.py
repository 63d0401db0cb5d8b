"""What a run has sent is remembered until a later call proves that the state has it, whatever happens in between."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio
import pytest

from pulumi_snapshots.attempt.journal import AttemptJournal, Entry
from pulumi_snapshots.attempt.owner import EngineRun, owner_of
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.calls import Call
from pulumi_snapshots.run.shared import Shared
from pulumi_snapshots.snapshot.difference import SnapshotRules
from pulumi_snapshots.snapshot.record import DESCRIBED
from tests.support.engine_calls import Machine, Stack
from tests.support.restoring import RESTORER, scene
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, OWNER, World, world

if TYPE_CHECKING:
    from tests.support.restoring import Scene

DAY = 86400.0
PLUGIN = "urn:pulumi:dev::shop::squarecloud:index:Snapshot::before-release"


def of(here: World, folder: Path) -> Stack:
    return Stack(SnapshotRules(), Machine(here, folder), OWNER)


def back(at: Scene, folder: Path) -> Stack:
    return Stack(RestoreRules(), Machine(at.here, folder), RESTORER)


def given(at: Scene, **changes: Any) -> dict[str, Any]:
    stored = at.stored
    usual = {"version_id": stored.version_id, "name": stored.name, "runtime": stored.runtime, "overwrite": True}
    return {"database_id": DATABASE, **usual, **changes}


def accepted(here: World) -> list[str | None]:
    return [post.version_id for post in here.posts if post.accepted]


def journal_in(folder: Path) -> Path:
    (file,) = folder.glob("*.attempts.json")
    return file


async def entries(stack: Stack, what: str = "snapshot") -> list[Entry]:
    session = stack.machine.process().session(stack.machine.here.session.settings)
    return await session.journals[what].all()


@pytest.mark.parametrize("later", [0.0, 20 * DAY], ids=["at once", "weeks later"])
@virtual
async def test_a_snapshot_whose_state_was_not_saved_is_not_paid_for_twice(tmp_path: Path, later: float) -> None:
    async with world(snapshot_seconds=150) as here:
        stack = of(here, tmp_path)
        await stack.up(saves=False, database_id=DATABASE, triggers=["v1"])
        await anyio.sleep(later)
        await stack.up(database_id=DATABASE, triggers=["v1"])
        assert [stack.outputs["version_id"]] == accepted(here)
        assert stack.outputs["requested_at"] == "2026-03-01T12:00:00Z"
        assert stack.outputs["download_url"]
        assert len(here.posts) == 1
        (told,) = stack.row.warnings
        assert "was taken by an earlier run whose state was not saved" in told
        await stack.up(database_id=DATABASE, triggers=["v1"])
        assert await entries(stack) == []


@virtual
async def test_a_restore_whose_state_was_not_saved_acts_once(tmp_path: Path) -> None:
    async with scene() as at:
        stack = back(at, tmp_path)
        await stack.up(saves=False, **given(at))
        assert at.holds() == "then"
        at.writes("later")
        requests = len(at.here.emulator.journal)
        await stack.up(**given(at))
        assert stack.outputs["requested_at"] == "2026-03-01T12:00:00Z"
        assert len(at.here.emulator.journal) == requests
        assert at.holds() == "later"
        (told,) = stack.row.warnings
        assert "by an earlier run whose state was not saved" in told
        await stack.up(**given(at))
        assert await entries(stack, "restore") == []
        assert len(at.posts) == 1


@pytest.mark.parametrize("saved", [1, 2], ids=["the first retry is saved", "only the second"])
@virtual
async def test_a_pending_snapshot_that_was_not_saved_is_resumed(tmp_path: Path, saved: int) -> None:
    async with world(snapshot_seconds=600, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(saves=False, **values, timeout="3m")
        assert "The wait ended" in str(stack.error.error)  # type: ignore[union-attr]
        for number in range(saved):
            await stack.up(saves=number == saved - 1, **values)
        assert [stack.outputs["version_id"]] == accepted(here)


@virtual
async def test_a_pending_restore_that_was_not_saved_is_watched(tmp_path: Path) -> None:
    async with scene(restore_seconds=600.0) as at:
        stack = back(at, tmp_path)
        await stack.up(saves=False, **given(at, timeout="3m"))
        await anyio.sleep(3600)
        at.writes("later")
        await stack.up(**given(at))
        assert stack.outputs["restored_at"]
        assert len(at.posts) == 1
        assert at.holds() == "later"


@pytest.mark.parametrize("between", ["preview", "refresh", "nothing", "an up with other triggers"])
@virtual
async def test_replace_takes_a_new_snapshot_once_the_state_was_seen(tmp_path: Path, between: str) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(**values)
        if between == "preview":
            await stack.preview(**values)
        elif between == "refresh":
            stack.begin()
            await stack.read()
            stack.end()
        elif between == "an up with other triggers":
            await stack.up(database_id=DATABASE, triggers=["v2"])
        for _ in range(3):  # each directly after the one before, without anything that shows the state
            before = len(accepted(here))
            await stack.up(replace=True, **values)
            assert len(accepted(here)) == before + 1
            assert stack.outputs["version_id"] == accepted(here)[-1]
            assert stack.row.warnings == []


@virtual
async def test_a_destroy_leaves_nothing_for_a_later_run(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await stack.up(database_id=DATABASE)
        await stack.destroy()
        await stack.up(database_id=DATABASE)
        assert [stack.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_what_is_deleted_first_with_its_provider_takes_and_restores_nothing(tmp_path: Path) -> None:
    async with scene(snapshot_seconds=10) as at:
        restore, snapshot = back(at, tmp_path), of(at.here, tmp_path)
        snapshot.machine = restore.machine
        for cascade in (False, True):
            await restore.up(**given(at, triggers=["v1"]), cascade=cascade)
            await anyio.sleep(300)  # the service refuses a snapshot meanwhile
            await snapshot.up(database_id=DATABASE, triggers=["v1"], cascade=cascade)
            at.writes("later")
        assert len(at.posts) == 1
        assert at.holds() == "later"
        assert [snapshot.outputs["version_id"]] == accepted(at.here)
        assert restore.outputs["requested_at"] == "2026-03-01T12:00:00Z"
        assert not restore.row.warnings
        assert not snapshot.row.warnings


class UnknownEngine(Stack):
    """Runs whose engine is not found, as on a system without `/proc`."""

    def begin(self, *, forces: bool = False) -> None:
        super().begin(forces=forces)
        self.engine = EngineRun()


@pytest.mark.parametrize("kind", [Stack, UnknownEngine])
@virtual
async def test_what_is_deleted_first_after_its_thirty_days_is_kept(tmp_path: Path, kind: type[Stack]) -> None:
    async with scene(snapshot_seconds=10) as at:
        machine = Machine(at.here, tmp_path)
        restore, snapshot = kind(RestoreRules(), machine, RESTORER), kind(SnapshotRules(), machine, OWNER)
        first: dict[str, Any] = {}
        for cascade in (False, True):
            await restore.up(**given(at, triggers=["v1"]), cascade=cascade)
            await anyio.sleep(300)  # the service refuses a snapshot meanwhile
            await snapshot.up(database_id=DATABASE, triggers=["v1"], cascade=cascade)
            assert restore.error is snapshot.error is None
            first = snapshot.outputs if not cascade else first
            await anyio.sleep(40 * DAY)
        assert len(at.posts) == len(at.here.posts) == 1
        assert restore.outputs["requested_at"] == "2026-03-01T12:00:00Z"
        assert [snapshot.outputs["version_id"]] == accepted(at.here)
        assert not snapshot.outputs["available"]
        # No listing has it any more, so that only the state has known this.
        assert {name: snapshot.outputs[name] for name in DESCRIBED} == {name: first[name] for name in DESCRIBED}


async def deleted_first(stack: Stack, values: dict[str, Any], *, on_purpose: bool) -> None:
    """A run that is killed after it has deleted the resource to make it again; the state still has it."""
    stack.begin(forces=on_purpose)
    if on_purpose:
        await stack.check(values)
    await stack.delete(stack.id, stack.outputs)
    stack.end()


async def made_again(stack: Stack, values: dict[str, Any]) -> dict[str, Any]:
    """The next run, in which the engine compares what it has to make again whatever the comparison says."""
    stack.begin()
    await stack.check(values, in_state=True)
    assert not (await stack.diff(values)).replaces
    await stack.check(values)
    made = await stack.create(values)
    stack.end()
    return made.outputs


@virtual
async def test_a_replacement_upstream_that_is_killed_halfway_takes_and_restores_nothing(tmp_path: Path) -> None:
    async with scene(snapshot_seconds=10, cache_world="invalidated") as at:
        restore, snapshot = back(at, tmp_path), of(at.here, tmp_path)
        restores = given(at, triggers=["v1"])
        takes: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await restore.up(**restores)
        await anyio.sleep(300)  # the service refuses a snapshot meanwhile
        await snapshot.up(**takes)
        for stack, values in ((restore, restores), (snapshot, takes)):
            await deleted_first(stack, values, on_purpose=False)
            await anyio.sleep(DAY)
            stack.urn += "-renamed"  # by an alias
            for _ in range(2):  # the state of the first is not saved
                again = await made_again(stack, values)
                same = stack.outputs.keys() - {"download_url", "download_url_expires_at"}
                assert {name: again[name] for name in same} == {name: stack.outputs[name] for name in same}
        assert (len(at.posts), len(at.here.posts)) == (1, 1)


@virtual
async def test_a_replacement_on_purpose_that_is_killed_halfway_takes_a_new_one(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(**values)
        await deleted_first(stack, values, on_purpose=False)  # and this one is given up
        await deleted_first(stack, values, on_purpose=True)
        again = await made_again(stack, values)
        assert [again["version_id"]] == accepted(here)[1:]


@pytest.mark.parametrize("forces", [True, False], ids=["forced", "tainted"])
@virtual
async def test_one_that_is_wanted_again_beside_a_replacement_upstream_is_taken(tmp_path: Path, *, forces: bool) -> None:
    """The engine compares it for what it deletes first, and then makes another one without asking whether it stays."""
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(**values)
        await deleted_first(stack, values, on_purpose=False)
        stack.begin(forces=forces)
        assert not (await stack.diff(values)).replaces
        await stack.check(values)
        again = await stack.create(values)
        assert [again.outputs["version_id"]] == accepted(here)[1:]


@pytest.mark.parametrize("how", ["forced", "triggers back", "forced, by another process"])
@virtual
async def test_what_is_deleted_first_but_wanted_again_is_taken_again(tmp_path: Path, how: str) -> None:
    """The old one's provider, which deletes it, may be another process than the new one's."""
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(**values)
        if how == "forced":
            await stack.up(**values, cascade=True, replace=True)
            assert [stack.outputs["version_id"]] == accepted(here)[1:]
            return
        stack.begin(forces=how != "triggers back")
        await stack.delete(stack.id, stack.outputs)
        stack.shared = stack.machine.process()
        await stack.check(values, in_state=how == "triggers back")
        if how == "triggers back":  # the state has those of a later release
            stack.outputs["triggers"] = ["v2"]
            assert (await stack.diff(values)).replaces
            await stack.check(values)
        again = await stack.create(values)
        assert [again.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_the_last_of_two_unsaved_snapshots_is_handed_out(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(saves=False, **values)
        await anyio.sleep(600)
        stack.begin(forces=True)
        with mock.patch.object(AttemptJournal, "conclude", mock.AsyncMock()), anyio.move_on_after(5):
            await stack.create(values)  # killed
        stack.end()
        await stack.up(**values)
        assert [stack.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_a_snapshot_that_another_machine_has_completed_is_not_waited_for(tmp_path: Path) -> None:
    async with world(snapshot_seconds=600, cache_world="invalidated") as here:
        await anyio.sleep(0.3)
        stack = of(here, tmp_path / "here")
        machines = [stack.machine, Machine(here, tmp_path / "there"), stack.machine]
        for machine in machines:
            stack.machine = machine
            await stack.up(database_id=DATABASE, timeout="6m")
        assert await entries(stack) == []
        await stack.destroy()
        await stack.up(database_id=DATABASE)
        assert [stack.outputs["version_id"]] == accepted(here)[1:]
        assert stack.row.warnings == []


@virtual
async def test_a_restore_that_another_machine_has_completed_is_sent_again_after_a_destroy(tmp_path: Path) -> None:
    async with scene(restore_seconds=600.0) as at:
        await anyio.sleep(0.3)
        stack = back(at, tmp_path / "here")
        machines = [stack.machine, Machine(at.here, tmp_path / "there"), stack.machine]
        for machine in machines:
            stack.machine = machine
            await stack.up(**given(at, timeout="6m"))
        assert await entries(stack, "restore") == []
        await stack.destroy()
        await anyio.sleep(DAY)
        at.writes("later")
        await stack.up(**given(at))
        assert stack.error is None
        assert at.holds() == "then"


@virtual
async def test_a_pending_one_that_is_deleted_first_upstream_is_waited_for(tmp_path: Path) -> None:
    async with world(snapshot_seconds=600, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await stack.up(database_id=DATABASE, timeout="3m")
        assert stack.pending
        await stack.up(database_id=DATABASE, cascade=True)
        assert [stack.outputs["version_id"]] == accepted(here)


@pytest.mark.parametrize("how", ["triggers", "age", "forced"])
@virtual
async def test_one_that_is_deleted_first_by_its_own_option_takes_a_new_one(tmp_path: Path, how: str) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"], "rotate_after": "7d"}
        # A diff goes by the machine's own clock, and the world's is in the past.
        values["rotate_after"] = "7d" if how == "age" else None
        await stack.up(**values)
        await stack.up(
            first=True, replace=how == "forced", **(values | ({"triggers": ["v2"]} if how == "triggers" else {}))
        )
        assert [stack.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_other_triggers_in_a_cascade_take_a_new_one(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await stack.up(database_id=DATABASE, triggers=["v1"])
        await stack.up(database_id=DATABASE, triggers=["v2"], cascade=True)
        assert [stack.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_a_replacement_that_was_not_saved_is_not_repeated(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(**values)
        await stack.up(saves=False, replace=True, **values)
        await stack.up(replace=True, **values)
        assert stack.outputs["version_id"] == accepted(here)[1]
        await stack.up(saves=False, database_id=DATABASE, triggers=["v2"])
        await stack.up(database_id=DATABASE, triggers=["v2"])
        assert [stack.outputs["version_id"]] == accepted(here)[2:]


@virtual
async def test_a_replacement_trigger_takes_a_new_one_directly_after_a_run(tmp_path: Path) -> None:
    """The engine replaces what the state has without a comparison, which would have proved that it has it."""
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await stack.up(database_id=DATABASE)
        await stack.up(trigger=True, saves=False, database_id=DATABASE)
        await stack.up(trigger=True, database_id=DATABASE)  # again what could not be saved
        assert [stack.outputs["version_id"]] == accepted(here)[1:]
        await stack.up(trigger=True, database_id=DATABASE)
        assert [stack.outputs["version_id"]] == accepted(here)[2:]
        assert not stack.row.warnings


@virtual
async def test_a_replacement_trigger_restores_again_directly_after_a_run(tmp_path: Path) -> None:
    async with scene() as at:
        stack = back(at, tmp_path)
        for _ in range(2):
            at.writes("later")
            await stack.up(trigger=bool(stack.id), **given(at))
            assert at.holds() == "then"


@virtual
async def test_earlier_triggers_take_their_own_snapshot_after_later_ones(tmp_path: Path) -> None:
    """The state of the first was never saved; what it took is not handed out for a later return to its triggers."""
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await stack.up(saves=False, database_id=DATABASE, triggers=["v1"])
        await stack.up(database_id=DATABASE, triggers=["v2"])
        await stack.up(database_id=DATABASE, triggers=["v1"])
        assert [stack.outputs["version_id"]] == accepted(here)[2:]


@virtual
async def test_a_pending_snapshot_that_the_state_has_is_given_up_by_replace(tmp_path: Path) -> None:
    async with world(snapshot_seconds=400, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(**values, timeout="3m")
        assert stack.pending
        await stack.up(replace=True, **values)
        assert [stack.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_the_plugin_completes_what_the_dynamic_provider_could_not_save(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10) as here:
        dynamic = of(here, tmp_path)
        await dynamic.up(saves=False, database_id=DATABASE, triggers=["v1", 2.0])
        stack = replace(dynamic, urn=PLUGIN)
        await stack.up(database_id=DATABASE, triggers=["v1", 2.0])
        assert [stack.outputs["version_id"]] == accepted(here)


@virtual
async def test_a_finished_snapshot_of_another_stack_delays_none(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await stack.up(database_id=DATABASE)
        another = Stack(stack.rules, stack.machine, OWNER.replace(":dev:", ":prod:"))
        await another.up(database_id=DATABASE)
        assert [another.outputs["version_id"]] == accepted(here)[1:]
        assert here.posts[-1].monotonic - here.posts[0].monotonic < 200


@virtual
async def test_an_entry_that_cannot_be_read_stays_as_it_is(tmp_path: Path) -> None:
    """A later version of this package has written it."""
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await stack.up(database_id=DATABASE)
        file = journal_in(tmp_path)
        content = json.loads(file.read_text())
        later = {**content["attempts"][0], "owner": "x", "database_id": OTHER_DATABASE, "more": 1}
        strange = [{"owner": "x", "attempts": 7}, "?", later]
        content["attempts"] += strange
        file.write_text(json.dumps(content))
        await stack.up(replace=True, database_id=DATABASE)
        assert [one for one in strange if one in json.loads(file.read_text())["attempts"]] == strange


@virtual
async def test_what_an_earlier_version_gave_up_is_not_handed_out(tmp_path: Path) -> None:
    async with world(snapshot_seconds=400, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await stack.up(saves=False, database_id=DATABASE, timeout="3m")
        file = journal_in(tmp_path)
        content = json.loads(file.read_text())
        (entry,) = content["attempts"]
        assert entry["in_state"]
        for name in ("proved", "finished", "forced", "run"):
            entry.pop(name)
        file.write_text(json.dumps(content))
        await anyio.sleep(DAY)
        await stack.up(database_id=DATABASE)
        assert [stack.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_entries_end_after_thirty_days(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await stack.up(saves=False, database_id=DATABASE)
        await anyio.sleep(31 * DAY)
        await stack.up(database_id=DATABASE)
        assert [stack.outputs["version_id"]] == accepted(here)[1:]
        (entry,) = await entries(stack)
        assert entry.finished == stack.outputs["version_id"]


@virtual
async def test_the_entry_is_on_the_disk_before_the_post_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[int, str]] = []
    async with world(snapshot_seconds=10) as here:
        monkeypatch.setattr(
            os, "fsync", lambda file: flushed.append((len(here.posts), Path(f"/proc/self/fd/{file}").readlink().name))
        )
        await of(here, tmp_path).up(database_id=DATABASE)
    names = [name for posts, name in flushed if posts == 0]
    assert [name.endswith("attempts.draft") for name in names] == [True, False]
    assert names[1] == tmp_path.name


@virtual
async def test_two_stacks_that_restore_the_same_are_told_apart_by_a_preview(tmp_path: Path) -> None:
    async with scene() as at:
        first = back(at, tmp_path)
        second = Stack(first.rules, first.machine, RESTORER.replace(":dev:", ":prod:"))
        await first.up(**given(at, triggers=["v1"]))
        await anyio.sleep(300)
        at.writes("later")
        await second.up(**given(at, triggers=["v1"]))
        assert "If that is another one, run a preview of it" in second.row.wording.told(second.error)  # type: ignore[arg-type]
        assert at.holds() == "later"
        await first.preview(**given(at, triggers=["v1"]))
        await second.up(**given(at, triggers=["v1"]))
        assert second.error is None
        assert at.holds() == "then"


@virtual
async def test_what_was_destroyed_without_a_key_is_not_handed_out_later(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here, tmp_path)
        await stack.up(database_id=DATABASE)
        (tmp_path / "other key.attempts.json").write_text("[damaged")
        stack.begin()
        call = stack._call()
        settings = here.session.settings
        shared = Shared(lambda _: None)
        keyless = Call(call.owner, lambda: type(settings)(api_url=settings.api_url), shared, call.listener)
        with mock.patch("pulumi_snapshots.run.shared.state_directory", return_value=tmp_path):
            await stack.rules.delete(keyless, stack.id, stack.outputs)
        stack.end()
        stack.id, stack.outputs = "", {}
        await stack.up(database_id=DATABASE)
        assert [stack.outputs["version_id"]] == accepted(here)[1:]
        assert not stack.row.warnings


@pytest.mark.parametrize(
    ("urn", "owner"),
    [
        ("urn:pulumi:dev::shop::pulumi-python:dynamic/squarecloud:Snapshot::a", "shop::dev::a"),
        ("urn:pulumi:dev::shop::squarecloud:index:Snapshot::a", "shop::dev::a"),
        ("urn:pulumi:dev::shop::my:c:App$squarecloud:index:Snapshot::a::b", "shop::dev::my:c:App::a::b"),
        ("squarecloud-snapshots create", "squarecloud-snapshots create"),
        (None, None),
    ],
)
def test_one_resource_has_one_owner_by_both_ways(urn: str | None, owner: str | None) -> None:
    assert owner_of(urn) == owner == owner_of(owner)
