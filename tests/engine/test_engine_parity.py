"""One story through both ways to the engine: the same requests, the same state, the same words, up to what docs/plugin.md lists."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.stage import DATABASE, diagnostics
from tests.support.plugin_servicer import NAMES, in_python, renamed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.stage import App

pytestmark = pytest.mark.engine

PROGRAM = f"""
import pulumi
from {{package}} import Archive, Restore, Snapshot, get_database, get_latest_snapshot, get_snapshots

config = pulumi.Config()
snapshot = Snapshot("before-release", "{DATABASE}", triggers=[{{{{"release": config.get("release") or "1"}}}}, pulumi.Output.secret("s")],
                    rotate_after=config.get("rotate"), timeout=config.get("timeout"))
if config.get_bool("all"):
    Archive("offsite", snapshot, destination="archives/", keep_last=2)
    Restore("back", snapshot, overwrite=config.get_bool("overwrite"), triggers=[config.get("again")])
    pulumi.export("type", get_database("{DATABASE}").type)
    pulumi.export("manual", len(get_snapshots(origin="manual")))
    pulumi.export("latest", get_latest_snapshot("{DATABASE}").version_id)
pulumi.export("version_id", snapshot.version_id)
pulumi.export("url", snapshot.download_url)
"""


@pytest.fixture
def service() -> tuple[str, ...]:
    return ("--restore-seconds", "0.5")


STEPS = 10


def story(app: App) -> Iterator[str]:
    """What a user does and what the service does; what is printed at each step."""
    app.environment["SQUARECLOUD_RESTORE_SETTLE"] = "1s"
    yield app.preview()
    yield app.preview("-c", "rotate=soon", "-c", "timeout=0s", fails=True)
    app.run("config", "rm", "rotate")
    app.run("config", "rm", "timeout")
    app.fault("create", times=1, status=404, code="SNAPSHOT_FAILED")
    yield app.up(fails=True)
    app.pass_time(200)
    app.slow()
    waiting = app.start_up()
    waiting.shows("accepted; next check ")
    waiting.interrupt()
    yield app.ends(waiting, fails=True)
    app.pass_time(600)
    yield app.up()
    yield app.up("-c", "all=true", "-c", "overwrite=true")
    app.pass_time(200)
    yield app.up("-c", "release=2")
    yield app.up("-c", "again=1")
    app.fault("list", status=502)
    yield app.refresh()
    app.mend()
    yield app.destroy()


TOO_LATE = "  pulumi:pulumi:Stack (app-dev):\n    error: Resource monitor has terminated, shutting down\n"
"""What the SDK says if a program notices that its run has failed before the engine has ended it, by either way. It counts as an
error of the stack."""


def told(printed: str) -> list[str]:
    """The lasting messages and the counts, without what differs from run to run, by Python's names."""
    counts = printed.partition("Resources:")[2].partition("Duration:")[0]
    messages = diagnostics(printed)
    if TOO_LATE in messages:
        messages = messages.replace(TOO_LATE, "")
        counts = re.sub(r"(\d+) errored", lambda count: f"{int(count[1]) - 1} errored", counts)
    lines = [line.strip() for line in f"{messages}\n{counts}".splitlines()]
    return sorted(_same_everywhere(line) for line in lines if line)


def _same_everywhere(text: str) -> str:
    text = re.sub(r"pulumi-python:dynamic/squarecloud:|squarecloud:index:", "TYPE:", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\d{8}T\d{6}Z|\d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"(taken|requested) [\dhmins. ]+ ago", r"\1 SOME TIME ago", text)
    text = re.sub(r"http://127\.0\.0\.1:\d+", "HOST", text)
    text = text.replace("`pulumi import` brings it back", "`Snapshot.get` brings it back")  # each in its own words
    text = re.sub(r"/\S*/(dynamic|plugin)/", "FOLDER/", text)
    return in_python(text)


def state(app: App) -> dict[str, Any]:
    """Ids and outputs of the resources; times and signatures are of each run."""
    found: dict[str, Any] = {}
    for one in app.resources():
        if "squarecloud:" in one["type"] and not one["type"].startswith("pulumi:providers:"):
            name = one["urn"].rpartition("::")[2]
            found[f"{name}.id"] = _same_everywhere(one["id"])
            found[f"{name} is unfinished"] = one.get("initErrors") is not None
            outputs = renamed(one.get("outputs", {}), NAMES)
            found |= {f"{name}.{each}": _shape(outputs[each]) for each in outputs if each != "__provider"}
    return found


def _shape(value: Any) -> Any:
    """A value as it is the same in both runs: a secret is one, a mark of a file is some mark."""
    if isinstance(value, dict):
        return "SECRET" if "ciphertext" in value else {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        shapes = [_shape(item) for item in value]
        # The engine makes a dynamic resource's list a secret as a whole where something in it is one.
        return "SECRET" if "SECRET" in shapes else shapes
    if isinstance(value, str):
        return re.sub(r"\d+:\d+[\d:.]*|^[0-9a-f]{16}$", "MARK", _same_everywhere(value))
    return "NUMBER" if isinstance(value, int | float) and not isinstance(value, bool) else value


def secrets_of_triggers(app: App) -> Any:
    """What of the triggers is a secret in the state: all, or which of them; None without a snapshot."""
    for one in app.resources():
        if one["urn"].endswith("::before-release"):
            kept = one["outputs"]["triggers"]
            return "all" if isinstance(kept, dict) else ["ciphertext" in each for each in kept]
    return None


def asked(app: App) -> list[tuple[str, Any, Any]]:
    """What the service was asked to do, in order; how often it was looked at depends on the machine's haste."""
    doing = ("create", "restore")
    return [(one["kind"], one["status"], one.get("version_id")) for one in app.requests() if one["kind"] in doing]


def test_both_ways_do_the_same(both_apps: tuple[App, App]) -> None:
    dynamic, plugin = both_apps
    dynamic.program(PROGRAM.format(package="pulumi_snapshots").replace("{{", "{").replace("}}", "}"))
    plugin.program(PROGRAM.format(package="pulumi_snapshots.plugin").replace("{{", "{").replace("}}", "}"))
    plugin.plug()
    stories = story(dynamic), story(plugin)
    steps, secrets = 0, set()
    with ThreadPoolExecutor(2) as pool:  # both at once
        while any(printed := list(pool.map(lambda one: next(one, ""), stories))):
            there, here = map(told, printed)
            assert here == there, f"step {steps}"
            assert state(plugin) == state(dynamic), f"step {steps}"
            assert asked(plugin) == asked(dynamic), f"step {steps}"
            if steps == 0:
                assert re.search(r"url +: \[unknown\]", printed[0])
                assert re.search(r"url +: \[secret\]", printed[1])
                assert all(re.search(r"version_id *: \[unknown\]", each) for each in printed)
            secrets.add(str((secrets_of_triggers(dynamic), secrets_of_triggers(plugin))))
            steps += 1
    assert steps == STEPS
    assert state(plugin) == {}
    assert secrets == {str((None, None)), str(("all", [False, True]))}
