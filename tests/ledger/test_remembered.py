"""What a run has sent is remembered until a later call proves that the state has it, whatever happens in between."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from pulumi_snapshots.ledger.attempt import owner_of
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.calls import Call
from pulumi_snapshots.snapshot.difference import SnapshotRules
from tests.support.engine_calls import Machine, Stack
from tests.support.restoring import RESTORER, scene
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OWNER, World, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulumi_snapshots.ledger.attempt import Attempt
    from tests.support.restoring import Scene

DAY = 86400.0
PLUGIN = "urn:pulumi:dev::shop::squarecloud:index:Snapshot::before-release"


def of(here: World) -> Stack:
    return Stack(SnapshotRules(), Machine(here), OWNER)


def back(at: Scene) -> Stack:
    return Stack(RestoreRules(), Machine(at.here), RESTORER)


def given(at: Scene, **changes: Any) -> dict[str, Any]:
    stored = at.stored
    usual = {"version_id": stored.version_id, "name": stored.name, "runtime": stored.runtime, "overwrite": True}
    return {"database_id": DATABASE, **usual, **changes}


def accepted(here: World) -> list[str | None]:
    return [post.version_id for post in here.posts if post.accepted]


@asynccontextmanager
async def killed(stack: Stack, after: float) -> AsyncIterator[None]:
    """Kill the stack's run after some seconds."""
    async with anyio.create_task_group() as process:

        async def kill() -> None:
            await anyio.sleep(after)
            stack.session.ledger.place.killed = True  # type: ignore[attr-defined]
            process.cancel_scope.cancel()

        process.start_soon(kill)
        yield


async def unproved(stack: Stack) -> list[Attempt]:
    return [each for each in await stack.session.ledger.attempts() if not each.proved]


@pytest.mark.parametrize("later", [0.0, 20 * DAY], ids=["at once", "weeks later"])
@virtual
async def test_a_snapshot_whose_state_was_not_saved_is_not_paid_for_twice(later: float) -> None:
    async with world(snapshot_seconds=150) as here:
        stack = of(here)
        await stack.up(saves=False, database_id=DATABASE, triggers=["v1"])
        await anyio.sleep(later)
        await stack.up(database_id=DATABASE, triggers=["v1"])
        assert [stack.outputs["version_id"]] == accepted(here)
        assert stack.outputs["requested_at"] == "2026-03-01T12:00:00Z"
        assert stack.outputs["download_url"]
        assert len(here.posts) == 1
        (told,) = stack.row.warnings
        assert "was taken by an earlier run that may not have saved its state" in told
        await stack.up(database_id=DATABASE, triggers=["v1"])
        assert await unproved(stack) == []


@virtual
async def test_a_restore_whose_state_was_not_saved_acts_once() -> None:
    async with scene() as at:
        stack = back(at)
        await stack.up(saves=False, **given(at))
        assert at.holds() == "then"
        at.writes("later")
        requests = len(at.here.emulator.journal)
        await stack.up(**given(at))
        assert stack.outputs["requested_at"] == "2026-03-01T12:00:00Z"
        assert len(at.here.emulator.journal) == requests
        assert at.holds() == "later"
        (told,) = stack.row.warnings
        assert "by an earlier run that may not have saved its state" in told
        await stack.up(**given(at))
        assert await unproved(stack) == []
        assert len(at.posts) == 1


@pytest.mark.parametrize("saved", [1, 2], ids=["the first retry is saved", "only the second"])
@virtual
async def test_a_pending_snapshot_that_was_not_saved_is_resumed(saved: int) -> None:
    async with world(snapshot_seconds=600, cache_world="invalidated") as here:
        stack = of(here)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(saves=False, **values, timeout="3m")
        assert "The wait ended" in str(stack.error.error)  # type: ignore[union-attr]
        for number in range(saved):
            await stack.up(saves=number == saved - 1, **values)
        assert [stack.outputs["version_id"]] == accepted(here)


@virtual
async def test_a_pending_restore_that_was_not_saved_is_watched() -> None:
    async with scene(restore_seconds=600.0) as at:
        stack = back(at)
        await stack.up(saves=False, **given(at, timeout="3m"))
        await anyio.sleep(3600)
        at.writes("later")
        await stack.up(**given(at))
        assert stack.outputs["restored_at"]
        assert len(at.posts) == 1
        assert at.holds() == "later"


@pytest.mark.parametrize("between", ["preview", "refresh", "an up with other triggers"])
@virtual
async def test_replace_takes_a_new_snapshot_once_the_state_was_seen(between: str) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(**values)
        for _ in range(2):
            if between == "preview":
                await stack.preview(**values)
            elif between == "refresh":
                stack.begin()
                await stack.read()
            else:
                await stack.up(database_id=DATABASE, triggers=["v2"])
            before = len(accepted(here))
            await stack.up(replace=True, **values)
            assert len(accepted(here)) == before + 1
            assert stack.outputs["version_id"] == accepted(here)[-1]
            assert stack.row.warnings == []


@virtual
async def test_replace_directly_after_a_run_says_what_it_takes_for_unsaved_and_acts_when_it_is_repeated() -> None:
    """No call has shown by then that the state has the first, and the engine hides it from a resource that `--replace` names."""
    async with scene(snapshot_seconds=10, cache_world="invalidated") as at:
        restore, snapshot = back(at), of(at.here)
        for stack, values in ((restore, given(at)), (snapshot, {"database_id": DATABASE})):
            await stack.up(**values)
            first = dict(stack.outputs)
            await anyio.sleep(300)
            at.writes("later")
            await stack.up(replace=True, **values)
            assert stack.outputs["requested_at"] == first["requested_at"]
            assert f"`pulumi up --refresh --replace '{stack.urn}'`" in "".join(stack.row.warnings)
            await anyio.sleep(300)
            await stack.up(replace=True, **values)
            assert stack.outputs["requested_at"] > first["requested_at"]
            assert at.holds() == ("then" if stack is restore else "later")
            await anyio.sleep(300)
        assert (len(at.posts), len(at.here.posts)) == (2, 2)


@pytest.mark.parametrize("waits", ["15m", "20s"], ids=["done", "pending"])
@virtual
async def test_a_restore_that_one_process_of_a_run_deletes_and_another_makes_again_acts_once(waits: str) -> None:
    async with scene(restore_seconds=60.0) as at:
        restore = back(at)
        await restore.up(**given(at, triggers=["v1"], timeout=waits))
        at.writes("later")
        restored = at.holds()
        for _ in range(2):
            await restore.up(**given(at, triggers=["v1"]), cascade="apart")
            assert restore.error is None
            await anyio.sleep(600)
        assert (len(at.posts), restored) == (1, "later")
        assert restore.outputs["requested_at"] == "2026-03-01T12:00:00Z"
        assert not restore.row.warnings
        await restore.destroy()
        await restore.up(**given(at, triggers=["v1"]))
        assert len(at.posts) == 2, "a later run restores it again"
        await restore.up(**given(at, triggers=["v2"]), cascade="apart")
        assert len(at.posts) == 3, "other triggers restore"


@virtual
async def test_what_is_deleted_first_after_its_thirty_days_is_kept() -> None:
    async with scene(snapshot_seconds=10) as at:
        machine = Machine(at.here)
        restore, snapshot = Stack(RestoreRules(), machine, RESTORER), Stack(SnapshotRules(), machine, OWNER)
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
        assert snapshot.outputs == first  # no listing has it any more, so that only the state has known this


async def deleted_first(stack: Stack) -> None:
    """A run that is killed after it has deleted the resource to make it again; the state still has it."""
    stack.begin()
    await stack.delete(stack.id, stack.outputs)


async def made_again(stack: Stack, values: dict[str, Any]) -> dict[str, Any]:
    """The next run, in which the engine compares what it has to make again whatever the comparison says."""
    stack.begin()
    await stack.check(values, in_state=True)
    assert not (await stack.diff(values)).replaces
    await stack.check(values)
    made = await stack.create(values)
    return made.outputs


@virtual
async def test_a_replacement_upstream_that_is_killed_halfway_takes_and_restores_nothing() -> None:
    async with scene(snapshot_seconds=10, cache_world="invalidated") as at:
        restore, snapshot = back(at), of(at.here)
        restores = given(at, triggers=["v1"])
        takes: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await restore.up(**restores)
        await anyio.sleep(300)  # the service refuses a snapshot meanwhile
        await snapshot.up(**takes)
        for stack, values in ((restore, restores), (snapshot, takes)):
            await deleted_first(stack)
            await anyio.sleep(DAY)
            stack.urn += "-renamed"  # by an alias
            for _ in range(2):  # the state of the first is not saved
                again = await made_again(stack, values)
                same = stack.outputs.keys() - {"download_url", "download_url_expires_at"}
                assert {name: again[name] for name in same} == {name: stack.outputs[name] for name in same}
        assert (len(at.posts), len(at.here.posts)) == (1, 1)


@virtual
async def test_one_that_is_wanted_again_beside_a_replacement_upstream_is_taken() -> None:
    """The engine compares it for what it deletes first, and then makes another one without asking whether it stays."""
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(**values)
        await deleted_first(stack)
        stack.begin()
        assert not (await stack.diff(values)).replaces
        await stack.check(values)
        again = await stack.create(values)
        assert [again.outputs["version_id"]] == accepted(here)[1:]


@pytest.mark.parametrize("how", ["forced, by another process", "triggers back"])
@virtual
async def test_what_is_deleted_first_but_wanted_again_is_taken_again(how: str) -> None:
    """The old one's provider, which deletes it, may be another process than the new one's."""
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(**values)
        await deleted_first(stack)
        stack.shared = stack.machine.process()
        await stack.check(values, in_state=how == "triggers back")
        if how == "triggers back":  # the state has those of a later release
            stack.outputs["triggers"] = ["v2"]
            assert (await stack.diff(values)).replaces
            await stack.check(values)
        again = await stack.create(values)
        assert [again.outputs["version_id"]] == accepted(here)[1:]


@pytest.mark.parametrize("kind", ["snapshot", "restore"])
@virtual
async def test_what_another_machine_has_completed_is_not_waited_for_and_is_done_again_after_a_destroy(
    kind: str,
) -> None:
    async with scene(snapshot_seconds=600, restore_seconds=600.0, cache_world="invalidated") as at:
        await anyio.sleep(0.3)
        stack = of(at.here) if kind == "snapshot" else back(at)
        values = {"database_id": DATABASE} if kind == "snapshot" else given(at)
        machines = [stack.machine, Machine(at.here), stack.machine]
        for machine in machines:
            stack.machine = machine
            await stack.up(**values, timeout="6m")
        assert await unproved(stack) == []
        await stack.destroy()
        await anyio.sleep(DAY)
        await stack.up(**values)
        assert stack.error is None
        assert stack.row.warnings == []
        assert len(at.here.posts) + len(at.posts) == 2


@virtual
async def test_a_pending_one_that_is_deleted_first_upstream_is_waited_for() -> None:
    async with world(snapshot_seconds=600, cache_world="invalidated") as here:
        stack = of(here)
        await stack.up(database_id=DATABASE, timeout="3m")
        assert stack.pending
        await stack.up(database_id=DATABASE, cascade=True)
        assert [stack.outputs["version_id"]] == accepted(here)


@pytest.mark.parametrize("how", ["triggers", "age", "forced"])
@virtual
async def test_one_that_is_deleted_first_by_its_own_option_takes_a_new_one(how: str) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"], "rotate_after": "7d"}
        # A diff goes by the machine's own clock, and the world's is in the past.
        values["rotate_after"] = "7d" if how == "age" else None
        await stack.up(**values)
        await stack.up(
            first=True, replace=how == "forced", **(values | ({"triggers": ["v2"]} if how == "triggers" else {}))
        )
        assert [stack.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_other_triggers_in_a_cascade_take_a_new_one() -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here)
        await stack.up(database_id=DATABASE, triggers=["v1"])
        await stack.up(database_id=DATABASE, triggers=["v2"], cascade=True)
        assert [stack.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_a_replacement_that_was_not_saved_is_not_repeated() -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(**values)
        await stack.preview(**values)
        await stack.up(saves=False, replace=True, **values)
        await stack.up(replace=True, **values)
        assert stack.outputs["version_id"] == accepted(here)[1]
        await stack.up(saves=False, database_id=DATABASE, triggers=["v2"])
        await stack.up(database_id=DATABASE, triggers=["v2"])
        assert [stack.outputs["version_id"]] == accepted(here)[2:]


@virtual
async def test_a_replacement_trigger_takes_a_new_one_directly_after_a_run() -> None:
    """The engine replaces what the state has without a comparison, which would have proved that it has it."""
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here)
        await stack.up(database_id=DATABASE)
        for number in (1, 2):
            await stack.up(trigger=True, database_id=DATABASE)
            assert [stack.outputs["version_id"]] == accepted(here)[number:]
        assert not stack.row.warnings


@virtual
async def test_a_restore_by_a_replacement_trigger_whose_state_was_not_saved_acts_once() -> None:
    async with scene() as at:
        stack = back(at)
        await stack.up(**given(at))
        await stack.up(trigger=True, saves=False, **given(at))
        await anyio.sleep(300)
        at.writes("later")
        await stack.up(trigger=True, **given(at))
        assert "by an earlier run that may not have saved its state" in "".join(stack.row.warnings)
        assert at.holds() == "later"
        assert len(at.posts) == 2
        await stack.preview(**given(at))
        await stack.up(trigger=True, **given(at))
        assert at.holds() == "then"


@virtual
async def test_a_pending_snapshot_that_the_state_has_is_given_up_by_replace() -> None:
    async with world(snapshot_seconds=400, cache_world="invalidated") as here:
        stack = of(here)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        await stack.up(**values, timeout="3m")
        assert stack.pending
        await stack.up(replace=True, **values)
        assert [stack.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_the_plugin_completes_what_the_dynamic_provider_could_not_save() -> None:
    async with world(snapshot_seconds=10) as here:
        dynamic = of(here)
        await dynamic.up(saves=False, database_id=DATABASE, triggers=["v1", 2.0])
        stack = replace(dynamic, urn=PLUGIN)
        await stack.up(database_id=DATABASE, triggers=["v1", 2.0])
        assert [stack.outputs["version_id"]] == accepted(here)


@virtual
async def test_a_snapshot_is_not_paid_for_twice_because_its_stack_was_renamed() -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here)
        await stack.up(saves=False, database_id=DATABASE, triggers=["v1"])
        renamed = Stack(stack.rules, stack.machine, OWNER.replace(":dev:", ":prod:"))
        await anyio.sleep(600)
        await renamed.up(database_id=DATABASE, triggers=["v1"])
        told = renamed.row.wording.told(renamed.error)  # type: ignore[arg-type]
        assert "this may be the same one under another name of the stack" in told
        assert "If that is another one, run a preview of it" in told
        await stack.up(database_id=DATABASE, triggers=["v1"])
        await stack.preview(database_id=DATABASE, triggers=["v1"])
        await renamed.up(database_id=DATABASE, triggers=["v1"])
        assert [stack.outputs["version_id"], renamed.outputs["version_id"]] == accepted(here)


@pytest.mark.parametrize("state", ["an older one", "one without the resource"])
@virtual
async def test_an_imported_checkpoint_that_is_older_restores_nothing_over_newer_rows(state: str) -> None:
    async with scene() as at:
        stack = back(at)
        await stack.up(**given(at, triggers=["v1"]))
        older = (stack.id, dict(stack.outputs)) if state == "an older one" else ("", {})
        await anyio.sleep(300)
        await stack.up(**given(at, triggers=["v2"]))
        await stack.preview(**given(at, triggers=["v2"]))
        stack.id, stack.outputs = older
        await anyio.sleep(DAY)
        at.writes("later")
        await stack.up(**given(at, triggers=["v2"]))
        told = stack.row.wording.told(stack.error)  # type: ignore[arg-type]
        assert "this run was not shown that the state has it: an older checkpoint was imported" in told
        assert "Other triggers restore it all the same." in told
        assert at.holds() == "later"
        await stack.up(**given(at, triggers=["v3"]))
        assert stack.error is None
        assert at.holds() == "then"
        assert len(at.posts) == 3


@virtual
async def test_a_create_enters_its_request_before_it_leaves_and_changes_its_entry_three_times() -> None:
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        stack = of(here)
        entered: list[tuple[str, int]] = []

        def note(document: dict[str, Any]) -> str:
            for attempt in document.get("attempts", {}).values():
                if not entered or entered[-1][0] != attempt["status"]:
                    entered.append((attempt["status"], len(here.posts)))
            return ""

        assert stack.machine.place is not None
        stack.machine.place.accident = note
        await stack.up(database_id=DATABASE)
        assert entered == [("sent", 0), ("accepted", 1), ("found", 1)]


@virtual
async def test_two_stacks_that_restore_the_same_are_told_apart_by_a_preview() -> None:
    async with scene() as at:
        first = back(at)
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
async def test_what_was_destroyed_without_a_key_is_not_handed_out_later() -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here)
        await stack.up(database_id=DATABASE)
        stack.begin()
        assert stack.shared is not None
        keyless = Call(stack.urn, lambda: replace(here.session.settings, api_key=None), stack.shared, stack.row)
        await stack.rules.delete(keyless, stack.id, stack.outputs)
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
