"""A guard at the real engine: what waits for its snapshot, what is left alone, and what happens when it cannot be taken."""

import os
import re
import signal
from typing import Any

import pytest

from tests.engine.stage import (
    DATABASE,
    OTHER_DATABASE,
    App,
    diagnostics,
    joined,
    wait_for,
)

pytestmark = pytest.mark.engine

FIRST = f"""
from pulumi_snapshots import Guard
from servers import Server, Shop

guard = Guard("guard", "{DATABASE}", reuse_within=WITHIN)
Server("free")
guard.stack(only=lambda type_, name: name != "passed-by")
Server("passed-by")
Server("kept", protect=True)
Server("let-go", retain_on_delete=True)
Server("swapped")
Server("turned", delete_before_replace=True)
Server("before", hooks=guard.hooks)
Shop("whole", "a")
Shop("bare", "a", hooks=guard.hooks)
Snapshot("of-another", "{OTHER_DATABASE}")
"""
CHANGED = f"""
from pulumi_snapshots import Guard
from servers import Server, Shop

guard = Guard("guard", "{DATABASE}", reuse_within=WITHIN)
Server("free", "b")
guard.stack(only=lambda type_, name: name != "passed-by")
Server("passed-by", "b")
Server("kept", "b", protect=True)
Server("swapped", size=2)
Server("turned", size=2, delete_before_replace=True)
Server("after", "b", hooks=guard.hooks, aliases=[pulumi.Alias(name="before")])
Shop("whole", "b")
Shop("bare", "b", hooks=guard.hooks)
Snapshot("of-another", "{OTHER_DATABASE}")
last = guard.last()
pulumi.export("last", last and last.id)
"""
HELD = (
    "update kept",
    "create swapped",
    "delete swapped",
    "create turned",
    "delete turned",
    "update after",
    "update whole-part",
    "update bare-part",
)
"""What must not happen without a snapshot."""


def program(app: App, text: str, within: str = "0") -> None:
    app.program(text.replace("WITHIN", within))


def guarding(app: App) -> list[dict[str, Any]]:
    return [post for post in app.posts() if post["database_id"] == DATABASE]


def hooks(app: App) -> set[str]:
    """The names of the resources that the state says are guarded."""
    return {
        one["urn"].rpartition("::")[2]
        for one in app.resources()
        if one.get("resourceHooks")
    }


def test_every_kind_of_change_waits_for_one_snapshot(app: App) -> None:
    guarded = {"kept", "swapped", "turned", "whole-part", "bare", "bare-part"}
    program(app, FIRST)
    app.up()
    assert hooks(app) == {*guarded, "let-go", "before"}
    assert guarding(app) == []
    app.done()

    program(app, CHANGED)
    app.forget_requests()
    assert _waiting_in_the_preview(app) == {*guarded, "let-go", "after"}
    assert app.requests() == []
    _holds_all_back_without_a_snapshot(app)
    _guards_one_that_is_named(app)
    app.pass_time(600)
    snapshot = _guards_all_others_by_one_snapshot(app)

    # Nothing to do: no request, and the program knows what guarded last.
    app.forget_requests()
    app.refresh()
    app.up()
    assert guarding(app) == []
    assert app.stack.outputs()["last"] == snapshot
    _deletes_nothing_if_the_program_does_not_run(app)


def _waiting_in_the_preview(app: App) -> set[str]:
    """What a preview says will wait, in a row each, and in all."""
    printed = app.preview()
    summary = f"8 changes will wait for a snapshot of database {DATABASE}, which would be a new one"
    assert diagnostics(printed).count(summary) == 1
    waits = f"waits for a snapshot of database {DATABASE}"
    return {line.split()[2] for line in printed.splitlines() if waits in line}


def _holds_all_back_without_a_snapshot(app: App) -> None:
    app.fault(
        "create", status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED", database_id=DATABASE
    )
    printed = joined(app.up(fails=True))
    (post,) = guarding(app)
    assert not post["accepted"]
    assert not set(app.done()) & set(HELD)
    reason = (
        "since no snapshot guards it: The plan's daily quota of snapshots is used up"
    )
    assert f"was held back, {reason}" in printed
    assert "squarecloud-snapshots explain quota-used-up" in printed
    app.mend()
    app.forget_requests()


def _guards_one_that_is_named(app: App) -> None:
    """With `--target`, that one waits for its snapshot, and no other changes."""
    urn = next(one["urn"] for one in app.resources() if one["urn"].endswith("::kept"))
    printed = app.up("--target", urn)
    assert app.done() == ["update kept"]
    (post,) = guarding(app)
    version = post["version_id"]
    guarded = f"guarded by {DATABASE}/{version}: update of Server kept"
    assert guarded in diagnostics(printed)
    way_back = (
        f"To go back: squarecloud-snapshots restore {DATABASE[:8]}/{version[:8]}\n"
    )
    assert printed.count(way_back) == 1


def _guards_all_others_by_one_snapshot(app: App) -> str:
    """The id of the snapshot that changes of every other kind wait for at once."""
    printed = app.up()
    assert set(HELD) - {"update kept"} <= set(app.done())
    _, post = guarding(app)
    snapshot = f"{DATABASE}/{post['version_id']}"
    assert diagnostics(printed).count(f"guarded by {snapshot}: ") == 1
    assert not any(one["urn"].endswith("::let-go") for one in app.resources())
    return snapshot


def _deletes_nothing_if_the_program_does_not_run(app: App) -> None:
    """The engine itself refuses, and says what to add."""
    printed = app.run("destroy", "--yes", "--skip-preview", fails=True)
    assert "Hooks: Guard guard: before delete" in printed
    assert "You must run with the `--run-program` flag" in printed
    assert app.done() == []
    assert guarding(app) == []


ADDED = """
from pulumi_snapshotsWAY import Guard
from servers import Server

config = pulumi.Config()
if before := config.get_object("before"):
    guard = Guard("guard", "DATABASE", before=before, reuse_within=0)
    guard.stack()
size = config.get_int("size") or 1
for number in range(size, 4):
    Server(f"gone-{number}")
Server("turned", size=size, delete_before_replace=True)
""".replace("DATABASE", DATABASE)


@pytest.mark.parametrize("way", ["", ".plugin"])
def test_the_first_up_of_a_guard_has_its_snapshot_before_it_deletes_anything(
    app: App, way: str
) -> None:
    app.plug()
    app.program(ADDED.replace("WAY", way))
    app.up()
    app.done()
    new = ("-c", 'before=["create"]', "-c", "size=2")
    first = "the first run with this guard takes a snapshot of database"
    assert first not in app.preview(*new), "it guards no delete"
    app.run("config", "set", "before", '["delete"]')
    assert (
        f"{first} {DATABASE}, which would be a new one before anything" in app.preview()
    )
    app.fault("create", status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED")
    assert "was held back, since no snapshot guards it" in joined(app.up(fails=True))
    assert app.done() == []
    app.mend()
    app.forget_requests()
    printed = app.up()
    (version,) = app.started()
    guarded = f"guarded by {DATABASE}/{version}: first run with this guard"
    assert guarded in diagnostics(printed)
    assert app.done() == ["delete turned", "create turned", "delete gone-1"]
    app.up()
    assert app.started() == [version], "it is no new one any more"
    # A guard that no longer guards deletes lets them pass, and leaves no hooks in the state.
    app.run("config", "set", "before", '["update"]')
    app.run("config", "set", "size", "3")
    app.up()
    assert app.done() == ["delete turned", "create turned", "delete gone-2"]
    assert app.started() == [version]
    app.run("config", "set", "before", '["update", "delete"]')
    app.run("config", "set", "size", "4")
    app.pass_time(600)
    app.up()
    assert len(app.started()) == 2
    assert app.done() == ["delete turned", "create turned", "delete gone-3"]


FAILING = f"""
from pulumi_snapshots import Guard
from servers import Server

guard = Guard("guard", "{DATABASE}", timeout="20m")
value = pulumi.Config().get("value") or "a"
for name in ("one", "two"):
    Server(name, value, hooks=guard.hooks)
"""


def test_an_interrupted_or_killed_up_changes_nothing_and_pays_once(app: App) -> None:
    app.program(FAILING)
    app.up()
    app.done()
    app.slow(seconds=300.0)
    interrupted = app.start_up("-c", "value=b", real=True)
    interrupted.shows("next poll")
    interrupted.interrupt()
    interrupted.interrupt_program()
    told = joined(diagnostics(app.ends(interrupted, fails=True)))
    assert "The wait was interrupted." in told
    assert (
        "waits for this snapshot until timeout after the request, or reuse_within if that is longer"
        in told
    )
    killed = app.start_up("-c", "value=b", real=True)
    killed.shows("waiting for the snapshot that guards")
    killed.process.kill()
    killed.process.wait()
    app.run("cancel", "--yes")
    assert app.done() == []
    app.pass_time(600)
    # It fails half-way, and its repetition has the same snapshot: no data was written in between.
    printed = app.up("-c", "value=broken", fails=True)
    assert f"adopted {DATABASE}/" in diagnostics(printed)
    assert "broken half-way" in printed
    assert re.search(
        r"update of Server (one|two) has failed, guarded by \S+\n.*To go back: ",
        printed,
    )
    assert app.done() == []
    printed = app.up("-c", "value=b")
    (version,) = app.started()
    assert f"adopted {DATABASE}/{version}" in diagnostics(printed)
    assert sorted(app.done()) == ["update one", "update two"]


ALONE = """
from pulumi_snapshots.plugin import Guard

guard = Guard("guard", "DATABASE")
if not pulumi.Config().get_bool("closed"):
    pulumi.Stash("shop", input="open", opts=pulumi.ResourceOptions(hooks=guard.hooks))
""".replace("DATABASE", DATABASE)
"""The engine starts no provider for a hook that comes after the program, and this one uses the plugin for nothing else."""


def test_the_plugin_takes_a_snapshot_before_a_delete_after_the_program_s_end(
    app: App,
) -> None:
    app.program(ALONE)
    app.up()
    printed = app.up("-c", "closed=true")
    (version,) = app.started()
    assert f"guarded by {DATABASE}/{version}: delete of Stash shop" in diagnostics(
        printed
    )


def test_a_guard_that_is_taken_out_with_its_resources_leaves_them_as_they_are(
    app: App,
) -> None:
    app.program(FAILING)
    app.up()
    app.done()
    app.program("")
    told = app.up(fails=True)
    assert (
        'hook "Guard guard: before delete (if you removed this guard, put it back for'
        in told
    )
    assert "was not registered" in told
    assert app.done() == []
    app.program(FAILING.replace('("one", "two")', "()"))
    app.up()
    assert sorted(app.done()) == ["delete one", "delete two"]


MANY = """
from pulumi_snapshotsWAY import Guard
from servers import Server

guard = Guard("guard", "DATABASE")
config = pulumi.Config()
for number in range(config.require_int("count")):
    Server(f"s{number}", config.require("value"), hooks=guard.hooks)
""".replace("DATABASE", DATABASE)


def test_more_guarded_resources_than_the_program_has_threads_wait_for_one_snapshot(
    app: App,
) -> None:
    app.program(MANY.replace("WAY", ""))
    app.up("-c", "count=40", "-c", "value=a")
    app.done()
    app.fault("create", status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED")
    app.up("-c", "value=b", "--continue-on-error", fails=True)
    assert app.done() == []
    app.mend()
    app.up("-c", "value=b")
    assert len(app.done()) == 40
    assert len(app.started()) == 1


FROM_RESOURCE = f"""
from pulumi_snapshots.plugin import Guard
from servers import Server

database = Server("{DATABASE}", pulumi.Config().get("database") or "a")
guard = Guard("guard", database.id)
guard.stack()
for number in range(6):
    Server(f"s{{number}}", pulumi.Config().get("value") or "a")
Server("free", pulumi.Config().get("value") or "a", depends_on=[database])
"""


def test_a_guard_whose_database_comes_from_a_resource_that_fails_holds_back_and_ends(
    app: App,
) -> None:
    app.plug()
    app.program(FROM_RESOURCE)
    app.up("--parallel", "1")
    app.done()
    assert "broken half-way" in app.up(
        "-c", "value=b", "-c", "database=broken", fails=True
    )
    assert app.done() == []
    assert app.posts() == []
    app.up("-c", "value=b", "-c", "database=b", "--parallel", "1")
    assert len(app.done()) == 8
    assert len(app.started()) == 1


LATE = f"""
from pulumi_snapshotsWAY import Guard
from servers import Server

database = Server("{DATABASE}", size=pulumi.Config().get_int("size") or 1, delete_before_replace=True)
guard = Guard("guard", database.id)
Server("app", size=database.value.apply(len), hooks=guard.hooks)
"""
"""Replacing the database deletes `app` first, before the guard's database is known."""


@pytest.mark.parametrize(
    "of", ["database.id", f'"{DATABASE}"'], ids=["replaced", "its own"]
)
def test_what_is_deleted_before_the_guard_s_database_is_known_is_guarded_by_the_one_it_had(
    app: App, of: str
) -> None:
    app.program(LATE.replace("WAY", "").replace("database.id", of))
    app.up()
    app.done()
    printed = app.up("-c", "size=2")
    (version,) = app.started()
    assert f"guarded by {DATABASE}/{version}: delete of Server app" in diagnostics(
        printed
    )
    assert app.done()[0] == "delete app"
    app.environment["SQUARECLOUD_GUARD"] = "off"
    printed = app.up("-c", "size=3")
    assert "the delete of Server app has no snapshot, since" in joined(
        diagnostics(printed)
    )
    assert app.started() == [version]


def test_what_is_deleted_before_the_plugin_s_guard_is_registered_has_a_way_out(
    app: App,
) -> None:
    app.plug()
    app.program(LATE.replace("WAY", ".plugin"))
    app.up()
    app.done()
    told = app.up("-c", "size=2", fails=True)
    assert "let what is replaced depend on the guard" in told
    assert app.done() == []
    app.environment["SQUARECLOUD_GUARD"] = "off"
    urn = next(one["urn"] for one in app.resources() if one["urn"].endswith("::app"))
    app.up("--target", urn)
    assert app.done() == []
    app.up()
    assert "delete app" in app.done()
    del app.environment["SQUARECLOUD_GUARD"]
    app.up()
    assert len(app.started()) == 1, "it hears of deletes again, as a new one"


BACK = """
from pulumi_snapshotsWAY import Guard, Restore
from servers import Server

guard = Guard("guard", "DATABASE")
guard.stack()
config = pulumi.Config()
Server("one", config.get("value") or "a")
if rollback := config.get("rollback"):
    Restore("back", guard.last(rollback), overwrite=True, triggers=[rollback])
pulumi.export("history", [[len(each.changes), each.version_id] for each in guard.history()])
""".replace("DATABASE", DATABASE)


@pytest.mark.parametrize(
    "way", ["", pytest.param(".plugin", marks=pytest.mark.nightly)]
)
def test_one_value_of_a_roll_back_restores_one_snapshot_whatever_happens_meanwhile(
    app: App, way: str
) -> None:
    app.plug()
    program = BACK.replace("WAY", way)
    app.program(program.replace("guard.last(rollback)", "guard.last()"))
    none = "Restore 'back': nothing to restore is given, or a lookup has found no snapshot, or a guard knows none"
    assert none in joined(app.preview("-c", "rollback=1", fails=True))
    app.program(program)
    app.emulator.control("settings", {"restore_seconds": 0.2}, "PATCH")
    printed = app.preview("-c", "rollback=1", fails=True)
    assert (
        f"Guard 'guard': This guard knows no snapshot of database {DATABASE}."
        in joined(printed)
    )
    app.run("config", "rm", "rollback")
    assert "squarecloud:sharedState" in printed
    app.up()
    app.up("-c", "value=b")
    (before_b,) = app.started()
    # The way back itself changes something guarded, and its Restore fails.
    app.pass_time(600)
    app.fault("restore", status=404, code="SNAPSHOT_NOT_FOUND")
    app.up("-c", "value=a", "-c", "rollback=1", fails=True)
    app.mend()
    app.pass_time(600)
    app.up("-c", "rollback=1")
    restored = app.restores()
    assert restored == [before_b]
    # Another client has taken one since, perhaps before a release of its own.
    app.stored(origin="manual")
    printed = app.preview("-c", "rollback=2")
    assert f"; back: restores {DATABASE[:8]}/" in printed
    assert "which this restores" in joined(printed)
    # The stack's output is from before its own changes.
    assert [count for count, _ in app.stack.outputs()["history"]][-1] == 1


PLUGIN = "pulumi-resource-squarecloud"
ENDS = {
    signal.SIGTERM: "The wait was interrupted.",  # to the engine alone, as from a CI system
    signal.SIGKILL: 'before hook "Guard guard: before update" failed: ',
}


@pytest.mark.parametrize(
    ("way", "who", "sign"),
    [
        (".plugin", PLUGIN, signal.SIGKILL),
        ("", "pulumi", signal.SIGSTOP),
        pytest.param("", "pulumi", signal.SIGTERM, marks=pytest.mark.nightly),
        pytest.param(".plugin", PLUGIN, signal.SIGSTOP, marks=pytest.mark.nightly),
    ],
)
def test_a_process_that_ends_or_stands_still_while_changes_wait_changes_nothing(
    app: App, way: str, who: str, sign: signal.Signals
) -> None:
    app.plug()
    app.program(MANY.replace("WAY", way))
    app.up("-c", "count=3", "-c", "value=a")
    app.done()
    app.slow()
    running = app.start_up("-c", "value=b", real=True)
    running.shows("next poll")
    process = running.process.pid if who == "pulumi" else running.processes(who)[0]
    os.kill(process, sign)
    if sign == signal.SIGSTOP:
        app.pass_time(600)
        if who == "pulumi":
            asked = len(app.requests())
            wait_for(
                lambda: len(app.requests()) > asked, "the poll that finds the snapshot"
            )
        assert app.done() == []
        os.kill(process, signal.SIGCONT)
        app.ends(running)
    else:
        if sign == signal.SIGTERM:
            running.interrupt_program()
        assert ENDS[sign] in joined(app.ends(running, fails=True))
        assert app.done() == []
        app.pass_time(600)
        app.up("-c", "value=b")
    assert len(app.done()) == 3
    assert len(app.started()) == 1


BESIDE = """
from pulumi_snapshotsWAY import Guard, Snapshot
from servers import Server

guard = Guard("guard", "DATABASE")
config = pulumi.Config()
release = config.require("release")
hooks = None if config.get_bool("whole") else guard.hooks
if hooks is None:
    guard.stack()
Server("one", release, hooks=hooks)
before = Snapshot("before", "DATABASE", triggers=[release])
pulumi.export("before", before.version_id)
""".replace("DATABASE", DATABASE)


@pytest.mark.parametrize("way", ["", ".plugin"])
def test_a_snapshot_and_a_guard_of_one_database_cost_one_snapshot(
    app: App, way: str
) -> None:
    app.plug()
    app.program(BESIDE.replace("WAY", way))
    app.up("-c", "release=a", "-c", "whole=true")
    app.done()
    app.forget_requests()
    app.pass_time(3600)  # so that the guard reuses no older one, if it is first
    drop = "Snapshot before and this guard can each take a snapshot of database"
    assert drop not in joined(app.preview("-c", "release=b"))
    app.slow()
    running = app.start_up("-c", "release=b")
    wait_for(lambda: len(app.posts()) == 1, "the request")
    # Whichever is first, and though the other one is silent while it waits for its turn to read.
    begun = ("looking for a snapshot to reuse", "waiting for the snapshot of")
    wait_for(lambda: any(each in running.text for each in begun), "the guard")
    app.pass_time(600)
    printed = app.ends(running)
    (version,) = app.started()
    assert f"guarded by {DATABASE}/{version}: update of Server one" in diagnostics(
        printed
    )
    assert app.stack.outputs()["before"] == version
    app.forget_requests()
    app.up()
    assert app.requests() == []
    assert drop in joined(app.preview("-c", "release=c", "-c", "whole=false"))
