"""`make states`: what a version leaves in a stack's state, for later versions' tests.

A program with each kind of resource runs with the real engine and the emulator, by each way to the
engine: complete and pending. `tests/fixtures/states/README.md` says what is kept.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from argparse import ArgumentParser
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pulumi_snapshots.plugin.description.identity import PLUGIN_VERSION
from tests.engine.stage import DATABASE, App
from tests.support.contract import observed
from tests.support.examples import EXAMPLES
from tools import servers
from tools.engine import ensure
from tools.sandbox import Emulator, Stack

PROJECT = Path(__file__).resolve().parent.parent
STATES = PROJECT / "tests" / "fixtures" / "states"
PACKAGES = {"dynamic": "pulumi_snapshots", "plugin": "pulumi_snapshots.plugin"}
KEY = "recorded-for-tests-and-opens-nothing-" * 2
"""The emulator's key."""
SCRATCH, PENDING = (f"{letter}" * 32 for letter in "bc")
HOME = "/home/user/app"
"""The project's folder, in what is kept."""
SERVICE = (
    "--clock-offset=-7200",
    "--snapshot-seconds=0.1",
    "--soft-deadline=0.3",
    "--cache-world=invalidated",
    "--requests-per-minute=10000",
    "--restore-seconds=0.5",
    f"--database={DATABASE}:postgres",
    f"--database={SCRATCH}:postgres",
    f"--database={PENDING}:redis",
)
PACE = {
    "SQUARECLOUD_REQUESTS_PER_MINUTE": "10000",
    "SQUARECLOUD_FIRST_POLL_AFTER": "0.2s",
    "SQUARECLOUD_POLL_EVERY": "0.3s",
    "SQUARECLOUD_RESTORE_SETTLE": "1s",
}
PROGRAM = """
import pulumi
import {package} as provider

config = pulumi.Config()
part = config.get_int("part") or 0
"""
ONE_MORE = """
if part >= {first} and hasattr(provider, {name!r}):
"""
UNFINISHED = """
if part >= 2:
    provider.Snapshot("pending", "{pending}", triggers=["a"], timeout="3s")
    version = config.require("version")
    provider.Restore(
        "unknown", database_id="{database}", version_id=version, overwrite=True, timeout="3s"
    )
"""


def program(package: str) -> str:
    """Return the program with each kind of resource.

    Args:
        package: the package whose classes it imports.
    """
    parts = [PROGRAM]
    for name, each in EXAMPLES.items():
        parts.append(ONE_MORE.format(first=each.recorded_from, name=name))
        parts.append(textwrap.indent(each.recorded, "    "))
    names = {"database": DATABASE, "scratch": SCRATCH, "pending": PENDING}
    return "".join([*parts, UNFINISHED]).format(package=package, **names)


def main() -> int:
    """Record a version."""
    parser = ArgumentParser(prog="make states", description=__doc__)
    parser.add_argument(
        "name",
        nargs="?",
        default=PLUGIN_VERSION,
        help="the version; that of this checkout unless given",
    )
    parser.add_argument(
        "--code", type=Path, help="a checkout of that version; this one unless given"
    )
    parser.add_argument(
        "--again", action="store_true", help="replace what is recorded of that version"
    )
    chosen = parser.parse_args()
    folder = STATES / chosen.name
    if folder.exists() and not chosen.again:
        print(
            f"{folder} is there: what a released version has left does not change (--again "
            f"replaces it)"
        )
        return 1
    with ExitStack() as held:
        server = held.enter_context(servers.served("postgres"))
        os.environ.update(server.environment)
        with tempfile.TemporaryDirectory(prefix="pulumi-snapshots-states-") as name:
            made = Path(name) / "made"
            for way in PACKAGES:
                record(way, Path(name) / way, made, chosen.code, server)
            (made / "schema.json").write_text(
                json.dumps(_schema(chosen.code), indent=1) + "\n"
            )
            if chosen.code is None:
                record_formats(Path(name), made)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.move(made, folder)
    print(folder)
    return 0


def record_formats(folder: Path, into: Path) -> None:
    """Keep what this checkout's commands, ledger and manifests look like."""
    played = folder / "formats"
    played.mkdir()
    found = json.dumps(observed(played), indent=1)
    (into / "formats.json").write_text(found.replace(str(played), HOME) + "\n")


def record(
    way: str, folder: Path, made: Path, code: Path | None, server: servers.Server
) -> None:
    """Record the states of one way to the engine."""
    project = folder / "project"
    project.mkdir(parents=True)
    made.mkdir(exist_ok=True)
    with Emulator(
        *SERVICE, "--postgres-dsn", server.dsn(), log=folder / "emulator.log"
    ) as emulator:
        own = {"SQUARECLOUD_API_KEY": KEY, "PULUMI_CONFIG_PASSPHRASE": "recorded"}
        environment = {**emulator.environment, **PACE, **own}
        if code is not None:
            environment["PYTHONPATH"] = str(code)
        stack = Stack(folder, project, ensure(os.environ), environment)
        app = App(folder, stack, emulator)
        app.change_key(KEY)
        plugins = (
            f"plugins:\n  providers:\n    - name: squarecloud\n      path: "
            f"{Path(sys.executable).parent}\n"
        )
        (project / "Pulumi.yaml").write_text(f"name: app\nruntime: python\n{plugins}")
        (project / "__main__.py").write_text(program(PACKAGES[way]))
        stack.run("stack", "init", "dev")
        app.run("config", "set", "--secret", "connection", server.dsn(SCRATCH))
        app.up("-c", "release=1")
        app.pass_time(400)
        app.up("-c", "release=2")
        app.pass_time(400)
        app.up("-c", "part=1")
        app.pass_time(400)
        app.slow(PENDING)
        emulator.control("settings", {"restore_seconds": 600.0}, "PATCH")
        snapshot = next(
            one for one in app.resources() if one["urn"].endswith("::before-release")
        )
        version = snapshot["id"].partition("/")[2]
        app.up("-c", "part=2", "-c", f"version={version}", fails=True)
        _keep_states(app, made / f"{way}.json")


def _keep_states(app: App, file: Path) -> None:
    """Keep what the engine hands to a provider."""
    exported = app.stack.run("stack", "export", "--show-secrets").stdout
    for project in (app.stack.project.resolve(), app.stack.project):
        exported = exported.replace(str(project), HOME)
    kept = [
        {name: _plain(one.get(name, {})) for name in ("urn", "id", "inputs", "outputs")}
        for one in json.loads(exported)["deployment"]["resources"]
        if "squarecloud:" in one["type"]
        and not one["type"].startswith("pulumi:providers:")
    ]
    file.write_text(json.dumps(kept, indent=1) + "\n")


def _plain(value: Any) -> Any:
    """A value of an export as the engine hands it over: a secret's plain text is JSON."""
    if isinstance(value, dict):
        if "plaintext" in value:
            signature = next(name for name in value if len(name) == 32)  # noqa: PLR2004  its mark
            return {
                signature: value[signature],
                "value": json.loads(value["plaintext"]),
            }
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _schema(code: Path | None) -> Any:
    """The schema from which the version's SDKs are generated."""
    environment = {**os.environ}
    if code is not None:
        environment["PYTHONPATH"] = str(code)
    asked = (
        "import json; from pulumi_snapshots.plugin.description.schema import schema; "
        "print(json.dumps(schema()))"
    )
    return json.loads(
        subprocess.check_output(  # noqa: S603
            [sys.executable, "-P", "-c", asked], env=environment, text=True
        )
    )


if __name__ == "__main__":
    sys.exit(main())
