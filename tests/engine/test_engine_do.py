"""`pulumi do`: every command of its section, in a project without a program."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.stage import DATABASE

if TYPE_CHECKING:
    from tests.engine.stage import App

pytestmark = pytest.mark.engine

PLUGIN = Path(__file__).parents[2] / "docs" / "plugin.md"
SECTION = PLUGIN.read_text().partition("\n## Without a program\n")[2].partition("\n## ")[0]


def test_each_command_of_the_page_works(app: App) -> None:
    (app.stack.project / "Pulumi.yaml").write_text("name: app\n")
    install: list[str | Path] = [Path(sys.executable).parent / "squarecloud-snapshots", "plugin", "install"]
    subprocess.run(install, cwd=app.stack.project, env=app.environment, check=True, capture_output=True)  # noqa: S603
    app.environment["PULUMI_IGNORE_AMBIENT_PLUGINS"] = "true"
    stored = app.emulator.control("snapshots", {"database_id": DATABASE, "origin": "manual"})["version_id"]
    latest = f"{DATABASE}/{stored}"
    asked: list[str] = []

    def done(command: str) -> Any:
        """What it prints on stdout, which has nothing but its answer; later, what was asked."""
        app.forget_requests()
        result = app.stack.run(*shlex.split(command), check=False)
        sys.stdout.write(f"$ pulumi {command}\n{result.stdout}\n{result.stderr}\n")
        assert result.returncode == 0, result.stderr
        asked[:] = [one["kind"] for one in app.requests()]
        return json.loads(result.stdout) if "create before" not in command else result.stdout

    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL))
    databases, newest, listed, read, create, keep = re.findall(r"^pulumi (do .*)$", blocks, re.MULTILINE)
    assert DATABASE in {one["id"] for one in done(databases)["databases"]}
    assert done(newest)["snapshot"]["id"] == latest
    (only,) = done(listed)
    assert only["id"] == latest
    assert re.fullmatch(rf"{DATABASE}-\d{{8}}T\d{{6}}Z", only["name"])
    assert asked == ["list"]
    found = done(read)
    assert (found["id"], found["downloadUrl"]) == (latest, "[secret]")

    taken = done(create)["versionId"]
    assert asked.count("create") == 1

    app.pass_time(200)
    assert "Created before-release" in done(keep)
    (kept,) = [one for one in app.resources() if one["type"] == "squarecloud:index:Snapshot"]
    assert kept["urn"].endswith("::before-release")
    assert kept["outputs"]["versionId"] not in {stored, taken}
