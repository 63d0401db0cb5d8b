"""What scripts rely on: every command's `--json`, the metrics, a ledger and a manifest.

`observed` plays one scenario in virtual time and gives what this version writes.
`tools/record_states.py` keeps its result at a release.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pyrage

from pulumi_snapshots.cli.setup.doctor import Finding, look_at_installation
from pulumi_snapshots.cli.terminal.output import OUTPUT_FORMAT
from tests.cli.typed import Desk
from tests.support.drilling import CONNECTION, SCRATCH, FakeDatabases
from tests.support.guarding import Machine
from tests.support.memory import Memory
from tests.support.virtual import run_virtual
from tests.support.world import DATABASE, START, world

Shape = Any
"""An object's fields with the shapes of their values, a list's item, or the name of a type."""
NAMES = {bool: "bool", int: "number", float: "number", str: "text", type(None): "null"}


def shape_of(value: Any) -> Shape:
    """The shape of a value that JSON has given."""
    if isinstance(value, dict):
        return {name: shape_of(each) for name, each in value.items()}
    if isinstance(value, list):
        items = [shape_of(each) for each in value]
        return [items[0]] if items else []
    return NAMES[type(value)]


async def _in_thread(work: Any, *arguments: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    if work is look_at_installation:
        return [Finding("package", "ok", "pulumi-snapshots")]
    return work(*arguments)


def observed(folder: Path) -> dict[str, Any]:
    """Play the scenario in a folder.

    Returns:
        `output_format`: its number; `json`: the shape of each command's document; `metrics`: the
        names; `manifest` and `ledger`: the texts that are kept; `archive`: the name of the object
        that the manifest is about.
    """
    found: dict[str, Any] = {"output_format": OUTPUT_FORMAT}
    run_virtual(partial(_play, folder, found))
    return found


async def _play(folder: Path, found: dict[str, Any]) -> None:
    identity = pyrage.x25519.Identity.generate()
    (folder / "key.txt").write_text(f"{identity}\n")
    places = {name: f"{folder}/{name}/" for name in ("kept", "once")}
    service: dict[str, Any] = {
        "cache_world": "invalidated",
        "plan_ends_at": START + timedelta(days=90),
    }
    async with world(databases=(DATABASE, SCRATCH), **service) as w:
        place = Memory(w.clock)
        w.emulator.execute(
            DATABASE, "CREATE TABLE rows (n)", "INSERT INTO rows VALUES (1)"
        )
        await (
            Machine(w, place)
            .program()
            .change("update of Server shop", guard="acme/shop/dev/x")
        )
        w.emulator.add_snapshot(DATABASE, modified=START - timedelta(days=3))
        await w.clock.sleep(600.0)
        environment = {"SCRATCH_URL": CONNECTION}
        desk = Desk(
            w, folder / "state", environment, in_thread=_in_thread, place=lambda: place
        )
        shapes = found["json"] = {}

        async def types(name: str, *more: str) -> Any:
            ended = await desk.types(name, *more, "--json")
            assert ended.out, ended.err
            shapes[name] = shape_of(ended.json)
            return ended.json

        snapshot = (await types("create", DATABASE, "--urls"))["id"]
        for words in (
            ("list", DATABASE, "--urls"),
            ("show", snapshot, "--urls"),
            ("url", snapshot),
            ("databases",),
            ("download", snapshot, "--output", f"{folder}/one.zip"),
        ):
            await types(*words)
        encrypted = ("--recipient", str(identity.to_public()))
        uri = (await types("archive", snapshot, places["kept"], *encrypted))["uri"]
        await types("archives", places["kept"], "--deep")
        opened = ("--identity", f"{folder}/key.txt", "--output", f"{folder}/open.zip")
        await types("decrypt", uri.removeprefix("file://"), *opened)
        with FakeDatabases(w.emulator).instead():
            where = (
                "--scratch",
                SCRATCH,
                "--connection-env",
                "SCRATCH_URL",
                "--overwrite-scratch",
            )
            checks = (
                "--check",
                "select count(*) from rows == 1",
                "--archives",
                places["kept"],
            )
            await types("drill", snapshot, *where, *checks)
        await types("restore", snapshot, "--yes")
        metrics = folder / "squarecloud.prom"
        limits = (
            "--archives",
            places["kept"],
            "--max-archive-age",
            "9d",
            "--max-drill-age",
            "9d",
        )
        await types("status", DATABASE, *limits, "--metrics", str(metrics))
        await types("report", DATABASE, *limits)
        for words in (
            ("guards",),
            ("doctor",),
            ("forget", places["kept"], "--keep-last", "1"),
        ):
            await types(*words)
        w.emulator.databases[SCRATCH].snapshot_seconds = 1500
        async with desk.killed("create", SCRATCH):
            await w.clock.sleep(150.0)
            await types("runs")
        found["metrics"] = sorted(
            set(re.findall(r"^(squarecloud_\w+)", metrics.read_text(), re.MULTILINE))
        )
        (manifest,) = (folder / "kept").rglob("*.json")
        found["manifest"] = manifest.read_text()
        found["archive"] = manifest.name.removesuffix(".json")
        assert place.data is not None
        found["ledger"] = place.data.decode()


def lost(before: Shape, now: Shape, at: str = "") -> list[str]:
    """What a script loses that knows an earlier shape: fields that are gone or changed."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        gone = [f"{at}.{name}" for name in before if name not in now]
        return gone + [
            each
            for name in before
            if name in now
            for each in lost(before[name], now[name], f"{at}.{name}")
        ]
    if isinstance(before, list) and isinstance(now, list):
        return lost(before[0], now[0], f"{at}[]") if before and now else []
    if "null" in (before, now):  # in the scenario the value happens to be absent
        return []
    return [] if before == now else [f"{at}: {before} is {now} now"]
