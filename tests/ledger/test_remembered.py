"""What a run has sent is remembered until a later call proves that the state has it, whatever happens in between."""

from typing import Any

import anyio
import pytest

from pulumi_snapshots.guard.inputs import GuardInputs
from pulumi_snapshots.guard.once import take
from pulumi_snapshots.ledger.attempt import owner_kind, owner_of
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.restore.restore import RestoreRefused
from tests.ledger.play import UNSAVED, accepted, back, given, of, play
from tests.support.drilling import SCRATCH, DrillScene, drill_scene
from tests.support.engine_calls import Stack
from tests.support.restoring import RESTORER, Scene, scene
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OTHER_DATABASE, Row, World, world

HOUR = 3600
DAY = 86400
STORIES = {
    # Its state was not saved
    **{
        f"a snapshot whose state was not saved is not paid for twice, after {seconds} s": f"""
            S up v1 unsaved; wait {seconds}; S up v1: {UNSAVED}; S has the first; S has 1; S up v1; S is proved;
            sent 1
        """
        for seconds in (0, 20 * 3600)
    },
    **{
        f"a restore whose state was not saved acts once, {then}": f"""
            R up v1 unsaved; rows then; rows change; {then}; R up v1: {UNSAVED}; R has the first; R up v1; R is proved;
            rows later; sent 1
        """
        for then in ("wait 0", "the key rotates")
    },
    "a pending snapshot that was not saved is resumed, also if that is not saved": f"""
        service snapshot_seconds=600; wait 400; S up v1 unsaved pending timeout=3m; S up v1 unsaved: {UNSAVED};
        S up v1: {UNSAVED}; S has 1; sent 1
    """,
    "a pending restore that was not saved is watched": f"""
        service restore_seconds=600; R up unsaved pending timeout=3m; wait 3600; rows change; R up: {UNSAVED};
        rows later; sent 1
    """,
    "a replacement that was not saved is not repeated": f"""
        S up v1; S up v1 unsaved refresh replace; S up v1 replace: {UNSAVED}; S has 2; S up v2 unsaved;
        S up v2: {UNSAVED}; S has 3; sent 3
    """,
    "a restore by a replacement trigger whose state was not saved acts once": f"""
        R up; R up trigger unsaved; wait 300; rows change; R up trigger: {UNSAVED}; rows later; sent 2;
        R up refresh trigger; rows then
    """,
    "the plugin completes what the dynamic provider could not save": f"""
        S up v1 unsaved; S becomes urn:pulumi:dev::shop::squarecloud:index:Snapshot::before-release;
        S up v1: {UNSAVED}; S has 1
    """,
    **{
        f"an unsaved snapshot is not handed out once a later one of its resource is forgotten: {ends}": f"""
            service snapshot_seconds=350; wait 400; S up v1 {ends}; S up v2; S has 2; S preview v2; wait 86400;
            S up v1; S has 3; sent 3
        """
        for ends in ("unsaved", "killed=95")
    },
    **{
        f"without checkpoints a delete of the old one proves nothing of the new one: {who}": f"""
            wait 400; {who} up v1; {who} preview v1; wait 3600; {who} up v2 late; wait 3600; {who} up v2 late: {UNSAVED};
            sent 2
        """
        for who in "SR"
    },
    "a ledger that vanishes after the request is written again": f"""
        service restore_seconds=100.0; R up unsaved lost=5; rows change; wait 300; R up: {UNSAVED}; rows later; sent 1
    """,
    # The service refuses
    "connection errors hours apart do not end a create": """
        fault create no_connect=True times=1 skip=0; fault create no_connect=True times=1 skip=40;
        fault create no_connect=True times=1 skip=80; fault create status=429 code=KEEP_CALM times=120;
        S up timeout=12h; it is over 21000; S has 1
    """,
    "a refusal that says how long is waited out": """
        fault create status=429 code=KEEP_CALM headers={'retry-after':'700'}; S up; it is over 700; sent 2
    """,
    # Its run was interrupted
    **{
        f"what was sent before an interrupt, and is not answered yet, is kept: {who}": f"""
            service snapshot_seconds=300; fault restore delay=60.0 times=1; wait 400; {who} starts up v1 pending; wait 20;
            {who} is interrupted; {who} ends: The wait was interrupted; wait 600; {who} up v1; {who} is proved; sent 1
        """
        for who in "SR"
    },
    # Its run was killed
    "a run that is killed before its request is repeated": """
        fault create status=429 code=KEEP_CALM times=None; S up v1 killed=8; mend; S up v1; S has 1
    """,
    **{
        f"a killed run is not paid for twice: {kills}, {later} s, {cache}": f"""
            service snapshot_seconds=350 cache_world={cache}; wait 400; {"".join(f"S up v1 killed={each}; " for each in kills)}
            wait {later}; S up v1: {UNSAVED}; S has 1; sent 1
        """
        for cache in ("invalidated", "kept")
        for kills, later in (
            ((10,), 1),
            ((95,), 1),
            ((150,), 1),
            ((20,), 3 * 3600),
            ((20,), 20 * 3600),
            ((100,) * 3, 1),
        )
    },
    **{
        f"a claim of a run that was killed before it sent anything is nobody's snapshot, {later} s later": f"""
            S freezes at its claim; S starts up v1; S is frozen; S is killed; wait {later}; S up v1 within=200; S has 1;
            sent 1
        """
        for later in (0, 1, 5.5, 8, 10.5, 12)
    },
    "a killed run that took one in place of one that never came is not paid for twice": f"""
        service snapshot_seconds=100; wait 400; fault create drop=True times=1; S up v1 pending timeout=3m;
        wait 3600; S up v1 killed=20; wait 600; S up v1: {UNSAVED}; S has 1; sent 2
    """,
    "a time-out before a killed run's answer is known does not deny its snapshot": """
        service snapshot_seconds=20; wait 400; S up killed=10; S up pending timeout=40s: may or may not have been started;
        S up; S has 1; sent 1
    """,
    "another resource waits for a snapshot that is pending, and enters its end": f"""
        service snapshot_seconds=600; wait 400; S up v1 unsaved pending timeout=4m; S.b up v1; S.b has 2;
        S up v1: {UNSAVED}; S has 1; sent 2
    """,
    "a resource that waits for another one's killed run says so when its time is up": """
        service snapshot_seconds=3000; wait 400; S up v1 killed=10;
        S.b up timeout=4m refused: while waiting for the snapshot of `before-release` in stack `shop/dev`; sent 1
    """,
    # --replace and a replacement trigger
    "--replace with --refresh takes a new snapshot": """
        S up v1; S up v1 refresh replace; S has 2; S up v1 refresh replace; S has 3
    """,
    # No create is told what it replaces, but the refresh before it has shown what the state has.
    "--replace with --refresh takes a new snapshot, though the one that it replaces could be used again": """
        wait 8000; S up v1 reuse_within=2h; wait 600; S up v1 refresh replace reuse_within=2h; S has 2; sent 2
    """,
    "--replace with --refresh uses somebody's snapshot again, but never the one that it replaces": """
        wait 8000; S up v1 reuse_within=2h; wait 3600; somebody takes; wait 600; S up v1 refresh replace reuse_within=2h;
        S has theirs; sent 1; wait 3000; S up v1 refresh replace reuse_within=2h; S has 2; sent 2
    """,
    "a restore of another database leaves a snapshot as good as it was": f"""
        wait 8000; S up v1; wait 600; R up target_database_id={OTHER_DATABASE}; wait 600; S.b up v1 reuse_within=2h;
        S.b has 1; sent 2
    """,
    "a restore of its database makes a snapshot useless": """
        wait 8000; S up v1; wait 600; R up; wait 600; S.b up v1 reuse_within=2h; S.b has 2; sent 3
    """,
    "--replace takes a new snapshot a day later, whatever no run has seen": """
        S up v1; wait 90000; S up v1 replace; S has 2
    """,
    # No call has shown by then that the state has it, and the engine hides it from a resource that `--replace` names.
    **{
        f"--replace directly after a run says what it takes for unsaved, and what to do: {repeated}": f"""
            {repeated[0]} up; wait 300; {repeated[0]} up replace: {UNSAVED}; sent 1; {repeated}; sent {number}
        """
        for number, repeated in (
            (2, "S up replace"),
            (1, "R up replace refused: If its state has it"),
            (2, "R up refresh replace"),
        )
    },
    "--replace gives up a pending snapshot that the state has": """
        service snapshot_seconds=400; S up v1 pending timeout=3m; S up v1 replace; S has 2
    """,
    "a replacement trigger takes a new one directly after a run": """
        S up; S up trigger; S has 2; S up trigger; S has 3
    """,
    # Deleted first
    **{
        f"a restore that one process deletes and another makes again acts once, {how[0]}": f"""
            service restore_seconds=60; R up v1 {how[1]}; rows change; R up v1 apart; wait 600; R up v1 apart;
            wait 600; R has the first; sent 1; R destroy; R up v1; sent 2; R up v2 apart; sent 3
        """
        for how in (("done", ""), ("pending", "pending timeout=20s"))
    },
    "what is deleted first after its thirty days is kept": """
        R up v1; wait 300; S up v1; wait 3456000; R up v1 cascade; R has the first; S up v1 cascade; S has 1;
        sent 2
    """,
    "what is deleted first says that it stays, and what acts once more, since `--replace` may name it": """
        S up v1; R up v1; wait 300; S up v1 cascade anyhow: stays as it is & `pulumi up --refresh --replace;
        R up v1 cascade anyhow: stays as it is & `pulumi up --refresh --replace; sent 2
    """,
    "a pending one that is deleted first upstream is waited for": """
        service snapshot_seconds=600; wait 400; S up pending timeout=3m;
        S up cascade anyhow: stays as it is & `pulumi up --refresh --replace; S has 1
    """,
    "one that is deleted first by its own option takes a new one": """
        S up v1; wait 691200; S up v1 first rotate_after=7d; S has 2; S up v2 first; S has 3; S up v2 first replace; S has 4
    """,
    **{
        f"what changes with its upstream is done again: {changed}": f"{changed[0]} up; wait 600; {changed}; sent 2"
        for changed in (
            "S up v2 cascade",
            f"S up cascade database_id={OTHER_DATABASE}",
            f"R up cascade target_database_id={OTHER_DATABASE}",
        )
    },
    # Another machine without this ledger
    **{
        f"what another machine has completed is not waited for, and is done again after a destroy: {who}": f"""
            service snapshot_seconds=600 restore_seconds=600; wait 400; {who} up pending timeout=6m; {who} moves; {who} up;
            {who} comes back; {who} up; {who} is proved; {who} destroy; wait 86400; {who} up; sent 2
        """
        for who in "SR"
    },
    "what another machine has requested since is not given up for what this one could not save": """
        S up v1 unsaved; wait 400; S moves; S up v1 pending timeout=3s; S comes back; S up v1; S has 2; sent 2
    """,
    "what another machine may have started holds up others of this one while it is resumed": """
        service snapshot_seconds=400; wait 400; fault create drop=True when=after times=1; S up pending timeout=30s;
        S moves; S.b joins S; S starts up; wait 15; S.b up; S.b shows waiting_for_the_snapshot; S ends; S has 1;
        S.b has 2; sent 2
    """,
    # Another machine with this ledger
    **{
        f"a killed run is completed by another machine: {off} s ahead, {killed}": f"""
            service snapshot_seconds=300 restore_seconds=60; wait 400; {killed[0]} clock {off}; {killed} v1;
            {killed[0]} moves beside; {killed[0]} up v1: {UNSAVED}; sent 1
        """
        for off in (0, HOUR, -HOUR)
        for killed in (
            "S up killed=10",
            "S up killed=95",
            "S up killed=250",
            "R up killed=5",
        )
    },
    **{
        f"what one machine has destroyed another does again: {who}": f"""
            {who} up v1; {who} moves beside; {who} destroy; wait 1000; {who} moves beside; {who} up v1;
            {who} moves beside; {who} destroy; wait 1000; {who} moves beside; {who} up v1; sent 3
        """
        for who in "SR"
    },
    # Clocks
    "a killed run is completed at once by a machine whose clock is behind": f"""
        service snapshot_seconds=300; wait 400; S up v1 killed=20; S moves beside; S clock {-HOUR};
        S up v1 within=700: {UNSAVED}; S has 1; sent 1
    """,
    **{
        f"the snapshot of a machine with a wrong clock is found: {ahead} s, {lost}, then {then}": f"""
            service snapshot_seconds=400; wait 600; fault create {lost} when=after times=1; S clock {ahead};
            S up pending timeout=30s; {then}; wait 180; S up; S has 1; sent 1
        """
        for ahead in (DAY, 1200, -600, -DAY, 0)
        for then in (
            f"S moves; S clock {-ahead}",
            f"S moves beside; S clock {-ahead}",
            "",
        )
        for lost in ("drop=True", "delay=7200.0")
    },
    **{
        f"a clock that is set after a kill delays no run and makes no other snapshot ours: {before}, {after}": f"""
            service snapshot_seconds=80 key_of_200_has_version=False; wait 400; S clock {before}; S up v1; wait 200;
            S up v2 killed=20; S clock {after}; wait 600; S.other up within=300; S up v2 within=10: {UNSAVED};
            S has 2; S.other has 3
        """
        for before, after in ((DAY, 0), (0, DAY), (HOUR, 0), (0, 600), (0, -DAY))
    },
    **{
        f"going back to earlier triggers that no state has is as it was, though a clock was set: {who[0]}": f"""
            wait 400; {who[0]} clock {HOUR}; {who[0]} up v1 unsaved; {who[0]} clock 0; wait 600; {who[0]} up v2 unsaved;
            wait 600; {who}
        """
        for who in (
            "S up v1 unsaved; sent 3",
            "R up v1 refused: does not show its last restore; R up v3; sent 3",
        )
    },
    # The service does not show how the restore stands, which is queued for almost as long as the user lets it settle.
    "a restore is not over sooner because a clock was set": """
        service restore_seconds=60 restore_queue_seconds=400 restore_status_route='404' settings={'restore_settle':600.0};
        R up pending timeout=20s; R clock 1200; R up timeout=30m; it is over 460
    """,
    "nothing is sent while the service shows no time": """
        fault restore_status drop=True times=None; fault status drop=True times=None; fault me drop=True times=None;
        S up refused: the service's time is not known; sent 0
    """,
    "a database that is out of order keeps nothing from learning the service's time": """
        fault status html=504 times=None; S up; sent 1
    """,
    "a read that asks for the service's time once, in vain, keeps no create from asking": """
        service snapshot_seconds=600; wait 400; S up pending timeout=3m; fault status drop=True times=1; S up replace;
        S has 2
    """,
    "a restore that is done is done although the service cannot be reached": f"""
        R up v1 unsaved; rows change; fault restore_status drop=True times=None; fault status drop=True times=None;
        fault me drop=True times=None; R up v1: {UNSAVED}; rows later; sent 1
    """,
    # Another name
    "a stack of another name takes a snapshot of its own": f"""
        S up v1 unsaved; wait 600; S@prod up v1; S up v1: {UNSAVED}; S has 1; S@prod has 2
    """,
    "an unsaved restore is not done again in a component, or under another name": """
        R up unsaved; wait 600; rows change; R.forth up refused: aliases=[pulumi.Alias(name='back')];
        R becomes urn:pulumi:dev::shop::my:c:App$pulumi-python:dynamic/squarecloud:Restore::back;
        R up refused: If the resource was renamed; rows later; sent 1
    """,
    # An older checkpoint
    **{
        f"an imported checkpoint that is older restores nothing over newer rows: {older}": f"""
            R up v1; R keeps its checkpoint; wait 300; R up v2; R preview v2; R imports {older}; wait 86400;
            rows change; R up v2: {UNSAVED}; rows later; R up v3; rows then; sent 3
        """
        for older in ("it", "nothing")
    },
    "a pending restore whose state was lost is not sent again, though nobody saw its end": """
        service restore_seconds=600; R up pending timeout=3m; R preview; R imports nothing; wait 7200;
        rows change; R up pending: the service no longer shows how the restore of the database ended; R is undecided;
        rows later; sent 1
    """,
    # The engine deletes what it makes again, and what a run that was killed has left beside its replacement.
    **{
        f"a restore that the state has still is refused after an older checkpoint: {how}": f"""
            R up; wait 600; {how}; wait 86400; rows change; R imports nothing;
            R up refused: an older state was imported; rows later; sent 1
        """
        for how in (
            *(
                "R up cascade",
                "R up cascade; R preview",
                "R up apart",
                f"R up replace: {UNSAVED}",
            ),
            "R begins; R compares; R deletes",
        )
    },
    "a destroy of an older checkpoint does not let the newer restore go": """
        R up v1; R keeps its checkpoint; wait 600; R up v2; R imports it; R destroy; rows change; wait 600;
        R up v2: by an earlier run; rows later; sent 2
    """,
    "a pending restore of an older checkpoint is not sent again": f"""
        service restore_seconds=600; R up v1 pending timeout=3m; R keeps its checkpoint; wait 1200; R up v1;
        R up v2; R up v2; R imports it; wait 86400; rows change; R up v2: {UNSAVED}; rows later; sent 2
    """,
    # What was destroyed
    **{
        f"what was destroyed after a refresh is made again: {pending}": f"""
            service restore_seconds=600; R up {pending}; wait 3600; R begins; R reads; R deletes; wait 600; R up; sent 2
        """
        for pending in ("timeout=30m", "pending timeout=3m")
    },
    "a destroy of a snapshot that the ledger has as saved writes nothing": """
        S up; S up replace refresh; S imports nothing; S up v2; S destroy; S up v3; S keeps its checkpoint; S destroy;
        S imports it; S destroy unwritten
    """,
    "what was destroyed without a key is not handed out later": "S up; S begins; S deletes keyless; S up; S has 2",
    **{
        f"what was destroyed after a ledger could not be read for a moment is made again: {who}": f"""
            {who} up; wait 600; {who} begins; the ledger fails; {who} reads; the ledger works; wait 120; {who} deletes;
            {who} up; sent 2
        """
        for who in "SR"
    },
    "a destroy after a ledger could not be read lets go of more than what was noted meanwhile": """
        service snapshot_seconds=600; R up; wait 600; S up pending timeout=3m; R begins; S begins with R;
        the ledger fails; R reads; the ledger works; S compares; wait 120; R deletes; wait 600; R up; sent 3
    """,
    # Another resource
    "a snapshot that a resumed run has found delays no other one": """
        service snapshot_seconds=600; wait 400; S up pending timeout=4m; S up; S.b up within=650; S.b has 2
    """,
    # It ends a second before the first poll finds it, and so within the clock skew before the next request.
    **{
        f"a snapshot that was just found is no other resource's: {found}": f"""
            service snapshot_seconds=209 modified_is=end; wait 400; {found}; S.b up within=260; S has 1; S.b has 2
        """
        for found in ("S up", "S up pending timeout=2m; wait 90; S refresh")
    },
    "another machine's snapshot that held up ours, and ended just before it began, is not ours": """
        service snapshot_seconds=222 modified_is=end; wait 400; S.b moves; S.b starts up v1; wait 190; S up v1; S.b ends;
        S.b has 1; S has 2
    """,
    "a snapshot that another resource has adopted is still its owner's": f"""
        S up unsaved; wait 300; S.b up reuse_within=1h; wait 300; S.b preview reuse_within=1h; S up: {UNSAVED};
        S has 1; S.b has 1; sent 1
    """,
    **{
        f"another resource's snapshot just before ours is not ours after a wait that ended, {later} s later": f"""
            service snapshot_seconds=300; wait 400; S.b up; S up pending timeout=30s; wait {later}; S up; S.b has 1; S has 2
        """
        for later in (240, 12)
    },
    "a third run, which finds how a killed one has ended, enters no other snapshot for it": """
        service snapshot_seconds=300; wait 400; S.b up; S up killed=100; S.c up timeout=2h; S up timeout=2h: by an earlier run;
        S.b has 1; S has 2
    """,
    "a snapshot just before ours is not ours once the ledger has forgotten it": """
        service snapshot_seconds=300; wait 400; S.b up; S up pending timeout=100s; S.b preview; wait 86400; S.c up; S up;
        S.b has 1; S has 2
    """,
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
@virtual
async def test_a_story_of_several_runs(story: str) -> None:
    await play(story)


# Calls of the engine one by one


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


@staged(scene, snapshot_seconds=10, cache_world="invalidated")
async def test_a_replacement_upstream_that_is_killed_halfway_takes_and_restores_nothing(
    at: Scene,
) -> None:
    restore = back(at)
    snapshot = of(at.here)
    restores = given(at, triggers=["v1"])
    takes: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
    await restore.up(**restores)
    await anyio.sleep(300)  # the service refuses a snapshot meanwhile
    await snapshot.up(**takes)
    for stack, values in ((restore, restores), (snapshot, takes)):
        await deleted_first(stack)
        await anyio.sleep(86400)
        stack.urn += "-renamed"  # by an alias
        for _ in range(2):  # the state of the first is not saved
            again = await made_again(stack, values)
            same = stack.outputs.keys() - {"download_url", "download_url_expires_at"}
            assert {name: again[name] for name in same} == {
                name: stack.outputs[name] for name in same
            }
    assert (len(at.posts), len(at.here.posts)) == (1, 1)


@pytest.mark.parametrize(
    "how", ["compared first", "forced, by another process", "triggers back"]
)
@staged(world, snapshot_seconds=10, cache_world="invalidated")
async def test_what_is_deleted_first_but_wanted_again_is_taken_again(
    here: World, how: str
) -> None:
    """The old one's provider, which deletes it, may be another process than the new one's."""
    stack = of(here)
    values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
    await stack.up(**values)
    await deleted_first(stack)
    stack.shared = stack.machine.process()
    if (
        how == "compared first"
    ):  # for what is deleted first, which does not ask whether it stays
        assert not (await stack.diff(values)).replaces
    await stack.check(values, in_state=how == "triggers back")
    if how == "triggers back":  # the state has those of a later release
        stack.outputs["triggers"] = ["v2"]
        assert (await stack.diff(values)).replaces
        await stack.check(values)
    again = await stack.create(values)
    assert [again.outputs["version_id"]] == accepted(here)[1:]


@pytest.mark.parametrize("how", ["too old", "replaced by an option"])
@staged(world, snapshot_seconds=10, cache_world="invalidated")
async def test_what_a_process_deletes_first_and_is_to_replace_is_taken_again(
    here: World, how: str
) -> None:
    """Before something upstream is deleted first, the engine compares what depends on it, and checks nothing."""
    stack = of(here)
    takes: dict[str, Any] = {
        "database_id": DATABASE,
        "triggers": ["v1"],
        "rotate_after": "7d",
    }
    await stack.up(**takes)
    await anyio.sleep(8 * DAY)
    stack.begin()
    if how == "too old":
        assert (await stack.diff(takes)).replaces
    await stack.delete(stack.id, stack.outputs)
    await stack.check(takes, in_state=how == "replaced by an option")
    again = await stack.create(takes)
    assert [again.outputs["version_id"]] == accepted(here)[1:]


@staged(scene)
async def test_a_restore_is_kept_though_only_a_comparison_knows_its_trigger_by_another_id(
    at: Scene,
) -> None:
    restore = back(at)
    provisional = f"{DATABASE}/pending:20260301T110000Z"
    await restore.up(**given(at, triggers=[provisional]))
    await deleted_first(restore)
    await anyio.sleep(600)
    await made_again(restore, given(at, triggers=[f"{DATABASE}/final"]))
    assert len(at.posts) == 1


@staged(scene)
async def test_what_is_made_again_is_not_dropped_by_a_second_delete_of_what_it_was(
    at: Scene,
) -> None:
    """A run that was killed has left the deletion of the old one to the next run."""
    restore = back(at)
    restores = given(at, triggers=["v1"])
    await restore.up(**restores)
    await anyio.sleep(600)
    restore.begin()
    await restore.delete(restore.id, restore.outputs)
    await restore.check(restores)
    await restore.create(restores)
    await restore.delete(restore.id, restore.outputs)
    await anyio.sleep(600)
    restore.id = ""  # an older checkpoint is imported
    await restore.up(**restores)
    assert isinstance(restore.error, RestoreRefused)
    assert len(at.posts) == 1


@staged(scene)
async def test_what_was_destroyed_by_an_unnamed_run_is_made_again(at: Scene) -> None:
    restore = back(at)
    await restore.up(**given(at))
    restore.begin()
    restore.session.memory.run = ""
    await restore.delete(restore.id, restore.outputs)
    restore.id = ""
    await anyio.sleep(600)
    await restore.up(**given(at))
    assert len(at.posts) == 2


@staged(world, snapshot_seconds=300, cache_world="invalidated")
async def test_a_create_enters_its_request_before_it_leaves_and_changes_its_entry_four_times(
    here: World,
) -> None:
    stack = of(here)
    entered: list[tuple[str, int]] = []

    def note(document: dict[str, Any]) -> str:
        for attempt in document.get("attempts", {}).values():
            if not entered or entered[-1][0] != attempt["status"]:
                entered.append((attempt["status"], len(here.posts)))
        return ""

    stack.machine.memory.accident = note
    await stack.up(database_id=DATABASE)
    assert entered == [("claimed", 0), ("sent", 0), ("accepted", 1), ("found", 1)]


# Of others


@pytest.mark.parametrize("by", ["command", "guard"])
@staged(world, snapshot_seconds=300, cache_world="invalidated")
async def test_a_snapshot_of_a_command_or_guard_just_before_is_not_ours_after_a_wait_that_ended(
    here: World, by: str
) -> None:
    stack = of(here)
    session = stack.machine.process().session(here.session.settings)
    if by == "command":
        await here.create(session=session, owner="squarecloud-snapshots create")
    else:
        await take(session, GuardInputs(DATABASE), Row())
    await stack.up(database_id=DATABASE, timeout="100s")
    assert stack.pending
    await stack.up(database_id=DATABASE)
    assert [stack.outputs["version_id"]] == accepted(here)[1:]


@staged(drill_scene)
async def test_a_drill_is_not_passed_by_what_a_restore_has_put_there_since(
    at: DrillScene,
) -> None:
    """As `test_a_drill_is_not_passed_by_what_another_drill_has_restored_since`, with a Restore of the same ledger."""
    other, checks = at.other_data()
    await at.up(checks=checks)
    assert at.stack.outputs["passed"] is False
    await anyio.sleep(600)
    restore = Stack(RestoreRules(), at.stack.machine, RESTORER)
    which = {
        "version_id": other.version_id,
        "name": other.name,
        "runtime": other.runtime,
    }
    await restore.up(
        database_id=DATABASE, target_database_id=SCRATCH, overwrite=True, **which
    )
    assert restore.error is None
    await anyio.sleep(3 * 3600)
    await at.up(checks=checks)
    assert at.stack.outputs["passed"] is False


@pytest.mark.parametrize(
    ("urn", "owner"),
    [
        (
            "urn:pulumi:dev::shop::pulumi-python:dynamic/squarecloud:Snapshot::a",
            "shop::dev::a",
        ),
        ("urn:pulumi:dev::shop::squarecloud:index:Snapshot::a", "shop::dev::a"),
        (
            "urn:pulumi:dev::shop::my:c:App$squarecloud:index:Snapshot::a::b",
            "shop::dev::my:c:App::a::b",
        ),
        ("urn:pulumi:dev::shop::squarecloud:index:Drill::a", "shop::dev::Drill::a"),
        (
            "urn:pulumi:dev::shop::my:c:App$pulumi-python:dynamic/squarecloud:Drill::a",
            "shop::dev::my:c:App::Drill::a",
        ),
        ("squarecloud-snapshots create", "squarecloud-snapshots create"),
        (None, None),
    ],
)
def test_one_resource_has_one_owner_by_both_ways(
    urn: str | None, owner: str | None
) -> None:
    assert owner_of(urn) == owner == owner_of(owner)


@pytest.mark.parametrize(
    ("urn", "kind"),
    [
        ("urn:pulumi:dev::shop::squarecloud:index:Restore::Drill", "resource"),
        ("urn:pulumi:Drill::Drill::squarecloud:index:Restore::a", "resource"),
        ("urn:pulumi:dev::shop::squarecloud:index:Drill::Drill", "drill"),
        ("urn:pulumi:dev::shop::my:c:App$squarecloud:index:Drill::a", "drill"),
    ],
)
def test_only_a_drill_may_repeat_a_failed_restore_whatever_names_are_alike(
    urn: str, kind: str
) -> None:
    assert owner_kind(owner_of(urn)) == kind
