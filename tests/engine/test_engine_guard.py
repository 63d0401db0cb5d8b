"""A guard at the real engine: what waits for its snapshot, what is left alone, and what happens when it cannot be taken."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.engine.stage import DATABASE, OTHER_DATABASE, App, diagnostics, joined, wait_for

pytestmark = pytest.mark.engine

SERVERS = '''
import pathlib
import sys

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult


def done(what, props):
    with pathlib.Path("done").open("a") as file:
        file.write(f"{what} {props['name']}\\n")


class Provider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props):
        done("create", props)
        return CreateResult(props["name"], props)

    def diff(self, _id, olds, news):
        replaces = ["size"] if olds["size"] != news["size"] else []
        return DiffResult(changes=olds != news, replaces=replaces)

    def update(self, _id, _olds, news):
        if news["value"] == "broken":
            sys.tracebacklimit = 0  # what it says is enough
            raise RuntimeError("broken half-way") from None
        done("update", news)
        return UpdateResult(news)

    def delete(self, _id, props):
        done("delete", props)


class Server(Resource, module="servers", name="Server"):
    """Something that changes: its value in place, its size by a replacement."""

    def __init__(self, name, value="a", size=1, **options):
        properties = {"name": name, "value": value, "size": size}
        super().__init__(Provider(), name, properties, pulumi.ResourceOptions(**options))


class Shop(pulumi.ComponentResource):
    """A component with one server."""

    def __init__(self, name, value, **options):
        super().__init__("shop:index:Shop", name, {"value": value}, pulumi.ResourceOptions(**options))
        Server(f"{name}-part", value, parent=self)
'''
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
HELD = ("update kept", "delete swapped", "delete turned", "update after", "update whole-part", "update bare-part")
"""What must not happen without a snapshot."""


@pytest.fixture
def shop(app: App) -> App:
    (app.stack.project / "servers.py").write_text(SERVERS)
    return app


def program(app: App, text: str, within: str = "0") -> None:
    app.program(text.replace("WITHIN", within))


def done(app: App) -> list[str]:
    """What was really done since the last question."""
    file = app.stack.project / "done"
    lines = file.read_text().splitlines()
    file.write_text("")
    return lines


def guarding(app: App) -> list[dict[str, Any]]:
    return [post for post in app.posts() if post["database_id"] == DATABASE]


def hooks(app: App) -> set[str]:
    """The names of the resources that the state says are guarded."""
    return {one["urn"].rpartition("::")[2] for one in app.resources() if one.get("resourceHooks")}


def test_every_kind_of_change_waits_for_one_snapshot(shop: App) -> None:
    program(shop, FIRST)
    shop.up()
    assert hooks(shop) == {"kept", "let-go", "swapped", "turned", "before", "whole-part", "bare", "bare-part"}
    assert guarding(shop) == []
    done(shop)

    # A preview sends nothing, and says what waits, and which new one does not.
    program(shop, CHANGED)
    shop.forget_requests()
    printed = shop.preview()
    waiting = {
        line.split()[2] for line in printed.splitlines() if f"waits for a snapshot of database {DATABASE}" in line
    }
    assert waiting == {"kept", "let-go", "swapped", "turned", "after", "whole-part", "bare", "bare-part"}
    assert diagnostics(printed).count("the new one is created before the snapshot") == 1
    summary = f"8 changes will wait for a snapshot of database {DATABASE}, which would be a new one"
    assert diagnostics(printed).count(summary) == 1
    assert shop.requests() == []

    # Without a snapshot, nothing that is guarded happens.
    shop.fault("create", status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED", database_id=DATABASE)
    printed = shop.up(fails=True)
    (post,) = guarding(shop)
    assert not post["accepted"]
    happened = done(shop)
    assert not set(happened) & set(HELD), happened
    assert "was held back, since no snapshot guards it: The plan's daily allowance of snapshots is used up" in joined(
        printed
    )
    assert "squarecloud-snapshots explain quota-used-up" in printed
    shop.mend()
    shop.forget_requests()

    # One URN: that one waits, and no other.
    urn = next(one["urn"] for one in shop.resources() if one["urn"].endswith("::kept"))
    printed = shop.up("--target", urn)
    assert done(shop) == ["update kept"]
    (post,) = guarding(shop)
    assert f"guarded by {DATABASE}/{post['version_id']}: update of Server kept" in diagnostics(printed)
    assert (
        diagnostics(printed).count(f"To go back: squarecloud-snapshots restore {DATABASE}/{post['version_id']}\n") == 1
    )

    # All the others at once, of every kind: one snapshot.
    shop.pass_time(600)
    printed = shop.up()
    assert set(HELD) - {"update kept"} <= set(done(shop))
    _, post = guarding(shop)
    assert diagnostics(printed).count(f"guarded by {DATABASE}/{post['version_id']}: ") == 1
    assert not any(one["urn"].endswith("::let-go") for one in shop.resources())

    # Nothing to do: no request, and the program knows what guarded last.
    shop.forget_requests()
    shop.refresh()
    shop.up()
    assert guarding(shop) == []
    assert shop.stack.outputs()["last"] == f"{DATABASE}/{post['version_id']}"

    # The engine deletes nothing guarded if the program does not run.
    printed = shop.run("destroy", "--yes", "--skip-preview", fails=True)
    assert "Hooks: Guard guard: before delete" in printed
    assert "You must run with the `--run-program` flag" in printed
    assert done(shop) == []
    assert guarding(shop) == []


FAILING = f"""
from pulumi_snapshots import Guard
from servers import Server

guard = Guard("guard", "{DATABASE}", timeout="20m")
value = pulumi.Config().get("value") or "a"
for name in ("one", "two"):
    Server(name, value, hooks=guard.hooks)
"""


def test_an_interrupted_or_killed_up_changes_nothing_and_pays_once(shop: App) -> None:
    shop.program(FAILING)
    shop.up()
    done(shop)
    shop.slow(seconds=300.0)
    interrupted = shop.start_up("-c", "value=b", real=True)
    interrupted.shows("next check")
    interrupted.interrupt()
    printed = shop.ends(interrupted, fails=True)
    assert "The wait was interrupted." in joined(diagnostics(printed))
    assert "waits for this snapshot until timeout after the request, or reuse_within if that is longer" in joined(
        printed
    )
    killed = shop.start_up("-c", "value=b", real=True)
    killed.shows("waiting for the snapshot that guards")
    killed.process.kill()
    killed.process.wait()
    shop.run("cancel", "--yes")
    assert done(shop) == []
    shop.pass_time(600)
    # It fails half-way, and its repetition has the same snapshot: no data was written in between.
    printed = shop.up("-c", "value=broken", fails=True)
    assert "no new request was sent" in diagnostics(printed)
    assert "broken half-way" in printed
    assert done(shop) == []
    printed = shop.up("-c", "value=b")
    (version,) = shop.started()
    assert f"adopted {DATABASE}/{version}" in diagnostics(printed)
    assert sorted(done(shop)) == ["update one", "update two"]


ALONE = """
from pulumi_snapshots.plugin import Guard

guard = Guard("guard", "DATABASE")
if not pulumi.Config().get_bool("closed"):
    pulumi.Stash("shop", input="open", opts=pulumi.ResourceOptions(hooks=guard.hooks))
""".replace("DATABASE", DATABASE)
"""The engine starts no provider for a hook that comes after the program, and this one uses the plugin for nothing else."""


def test_the_plugin_takes_a_snapshot_before_a_delete_after_the_program_s_end(app: App) -> None:
    app.program(ALONE)
    app.up()
    printed = app.up("-c", "closed=true")
    (version,) = app.started()
    assert f"guarded by {DATABASE}/{version}: delete of Stash shop" in diagnostics(printed)


def test_a_guard_that_is_taken_out_with_its_resources_leaves_them_as_they_are(shop: App) -> None:
    shop.program(FAILING)
    shop.up()
    done(shop)
    shop.program("")
    said = "before delete (if you removed this guard, put it back for one more run)"
    assert f'hook "Guard guard: {said}" was not registered' in shop.up(fails=True)
    assert done(shop) == []
    shop.program(FAILING.replace('("one", "two")', "()"))
    shop.up()
    assert sorted(done(shop)) == ["delete one", "delete two"]


MANY = """
from pulumi_snapshotsWAY import Guard
from servers import Server

guard = Guard("guard", "DATABASE")
config = pulumi.Config()
for number in range(config.require_int("count")):
    Server(f"s{number}", config.require("value"), hooks=guard.hooks)
""".replace("DATABASE", DATABASE)


def test_more_guarded_resources_than_the_program_has_threads_wait_for_one_snapshot(shop: App) -> None:
    shop.program(MANY.replace("WAY", ""))
    shop.up("-c", "count=40", "-c", "value=a")
    done(shop)
    shop.up("-c", "value=b")
    assert len(done(shop)) == 40
    assert len(shop.started()) == 1


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


def test_a_guard_whose_database_comes_from_a_resource_that_fails_holds_back_and_ends(shop: App) -> None:
    shop.plug()
    shop.program(FROM_RESOURCE)
    shop.up("--parallel", "1")
    done(shop)
    printed = shop.up("-c", "value=b", "-c", "database=broken", fails=True)
    assert "broken half-way" in printed
    assert done(shop) == []
    assert shop.posts() == []
    shop.up("-c", "value=b", "-c", "database=b", "--parallel", "1")
    assert len(done(shop)) == 8
    assert len(shop.started()) == 1


DRILLED = f"""
from pulumi_snapshots import Drill, Guard

Drill(
    "weekly", database_id="{OTHER_DATABASE}", version_id="v", scratch_database_id="{DATABASE}", overwrite_scratch=True,
    connection=pulumi.Output.secret("postgresql://nobody@127.0.0.1:1/x"), checks=[{{"query": "select 1", "equals": 1}}],
)
Guard("guard", "{DATABASE}")
"""


def test_a_drill_that_would_overwrite_a_database_in_use_is_refused_before_anything_happens(app: App) -> None:
    app.program(DRILLED)
    # What is targeted is all that a provider sees.
    printed = app.up("--target", "urn:pulumi:dev::app::**Drill::weekly", fails=True)
    assert "Drill 'weekly': scratch_database_id must be used for drills only, but Guard 'guard' uses it too" in printed
    assert not any(each["kind"] == "restore" for each in app.requests())
    assert not any("Drill" in each["type"] for each in app.resources())


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


@pytest.mark.parametrize("way", ["", pytest.param(".plugin", marks=pytest.mark.nightly)])
def test_one_value_of_a_roll_back_restores_one_snapshot_whatever_happens_meanwhile(shop: App, way: str) -> None:
    shop.plug()
    program = BACK.replace("WAY", way)
    shop.program(program.replace("guard.last(rollback)", "guard.last()"))
    printed = joined(shop.preview("-c", "rollback=1", fails=True))
    assert (
        "Restore 'back': nothing to restore is given, or a lookup has found no snapshot, or a guard knows none"
        in printed
    )
    shop.program(program)
    shop.emulator.control("settings", {"restore_seconds": 0.2}, "PATCH")
    printed = shop.preview("-c", "rollback=1", fails=True)
    assert f"Guard 'guard': This guard has noted no snapshot of database {DATABASE}." in joined(printed)
    shop.run("config", "rm", "rollback")
    assert "squarecloud:sharedState" in printed
    shop.up()
    shop.up("-c", "value=b")
    (before_b,) = shop.started()
    # The way back itself changes something guarded, and its Restore fails.
    shop.pass_time(600)
    shop.fault("restore", status=404, code="SNAPSHOT_NOT_FOUND")
    shop.up("-c", "value=a", "-c", "rollback=1", fails=True)
    shop.mend()
    shop.pass_time(600)
    shop.up("-c", "rollback=1")
    restored = [each["version_id"] for each in shop.requests() if each["kind"] == "restore" and each["accepted"]]
    assert restored == [before_b]
    # Another client has taken one since, perhaps before a release of its own.
    shop.emulator.control("snapshots", {"database_id": DATABASE, "origin": "manual"})
    printed = shop.preview("-c", "rollback=2")
    assert "is newer than" in printed
    assert "which this goes back" in joined(printed)
    # The stack's output is from before its own changes.
    assert [count for count, _ in shop.stack.outputs()["history"]][-1] == 1


@pytest.mark.parametrize("way", [pytest.param("", marks=pytest.mark.nightly), ".plugin"])
def test_there_is_a_way_round_a_guard_at_night_that_leaves_a_warning(shop: App, way: str) -> None:
    shop.plug()
    shop.program(MANY.replace("WAY", way).replace(")\nconfig", ', fallback="24h")\nconfig'))
    shop.up("-c", "count=2", "-c", "value=a")
    shop.fault("create", status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED")
    done(shop)
    # Also if the engine goes on after an error; and with its preview, as most users run it.
    printed = shop.run("up", "--yes", "--continue-on-error", "-c", "value=b", fails=True)
    assert "daily allowance" in printed
    assert all(f"The update of Server {name} was held back" in printed for name in ("s0", "s1"))
    assert done(shop) == []
    shop.pass_time(600)
    shop.emulator.control("snapshots", {"database_id": DATABASE, "origin": "automatic"})
    printed = shop.up("-c", "value=b")
    assert "daily allowance of snapshots is used up" in joined(diagnostics(printed))
    assert f"so the newest one guards, {DATABASE}/" in joined(diagnostics(printed))
    printed = shop.up("-c", "value=c", "-c", "squarecloud:guard=off")
    for name in ("s0", "s1"):
        assert f"the update of Server {name} has no snapshot, since squarecloud:guard is off" in printed
    assert sorted(done(shop)) == ["update s0", "update s0", "update s1", "update s1"]


PLUGIN = "pulumi-resource-squarecloud"
ENDS = {
    signal.SIGTERM: "The wait was interrupted.",  # to the engine alone, as from a CI system
    signal.SIGKILL: 'before hook "Guard guard: before update" failed: ',
}


@pytest.mark.parametrize(
    ("way", "who", "sign"),
    [
        ("", "pulumi", signal.SIGTERM),
        (".plugin", PLUGIN, signal.SIGKILL),
        *(
            pytest.param(*each, marks=pytest.mark.nightly)
            for each in ((".plugin", "pulumi", signal.SIGTERM), (".plugin", PLUGIN, signal.SIGSTOP))
        ),
        ("", "pulumi", signal.SIGSTOP),
    ],
)
def test_a_process_that_ends_or_stands_still_while_changes_wait_changes_nothing(
    shop: App, way: str, who: str, sign: signal.Signals
) -> None:
    shop.plug()
    shop.program(MANY.replace("WAY", way))
    shop.up("-c", "count=3", "-c", "value=a")
    done(shop)
    shop.slow()
    running = shop.start_up("-c", "value=b", real=True)
    running.shows("next check")
    process = running.process.pid if who == "pulumi" else running.processes(who)[0]
    os.kill(process, sign)
    if sign == signal.SIGSTOP:
        shop.pass_time(600)
        if who == "pulumi":
            asked = len(shop.requests())
            wait_for(lambda: len(shop.requests()) > asked, "the poll that finds the snapshot")
        assert done(shop) == []
        os.kill(process, signal.SIGCONT)
        shop.ends(running)
    else:
        if sign == signal.SIGTERM and not way:
            # The language host of Pulumi 3.229 hands it on to the program; the one that is built for the tests is older.
            (program,) = running.processes("pulumi-language-python-exec")
            os.kill(program, signal.SIGINT)
        assert ENDS[sign] in joined(shop.ends(running, fails=True))
        assert done(shop) == []
        shop.pass_time(600)
        shop.up("-c", "value=b")
    assert len(done(shop)) == 3
    assert len(shop.started()) == 1
