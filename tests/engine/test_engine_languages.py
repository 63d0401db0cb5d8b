"""The examples in TypeScript and Go, with SDKs generated from the schema; skipped with the reason where a tool is missing.

Both run while the service keeps its pages, as the emulator does by default.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.stage import DATABASE
from tools import engine as engines
from tools import language_hosts, sdks
from tools.engine import Closed

if TYPE_CHECKING:
    from tests.engine.stage import App

pytestmark = pytest.mark.engine

INLINE = Path(__file__).with_name("inline.mjs")
BUILD_SECONDS = 900.0
"""How long a compiler may take: minutes where Go compiles Pulumi's SDK for the first time, then seconds."""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdks")
    try:
        sdks.generate(os.environ, folder)
    except Closed as reason:
        pytest.skip(f"no SDKs, so neither TypeScript nor Go is tested: {reason}")
    return folder


def runs(*command: str | Path, folder: Path, environment: dict[str, str], code: int = 0) -> str:
    done = subprocess.run(  # noqa: S603  a compiler, or node
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS
    )
    printed = done.stdout + done.stderr
    sys.stdout.write(f"$ {' '.join(map(str, command))}\n{printed}\n")
    assert done.returncode == code, printed
    return printed


@pytest.mark.parametrize("service", [("--cache-world", "kept")])
def test_the_typescript_example_runs_with_the_installed_plugin(
    app: App, engine: Path, generated: Path, tmp_path: Path
) -> None:
    try:
        packages = sdks.node_modules(os.environ)
    except Closed as reason:
        pytest.skip(f"TypeScript is not tested: {reason}")
    app.example("typescript", "dev")
    project = app.stack.project
    (tmp_path / "node_modules").symlink_to(packages)  # the SDK's and the example's, as if npm had installed them here
    ours = project / "node_modules" / sdks.OURS
    shutil.copytree(generated / "nodejs", ours)
    scripts = Path(sys.executable).parent
    app.environment["PATH"] = os.pathsep.join([str(packages / ".bin"), str(engine), os.environ["PATH"]])
    app.environment["PULUMI_IGNORE_AMBIENT_PLUGINS"] = "true"  # whatever else is on the PATH of who runs the tests
    runs("node", "scripts/postinstall.js", folder=ours, environment=app.environment)
    runs("tsc", folder=project, environment=app.environment)

    def inline(command: str, code: int = 0) -> str:
        line = ("node", INLINE, command, "typescript", "dev")
        return runs(*line, folder=project, environment=app.environment, code=code)

    app.run("config", "set", "databaseId", DATABASE)
    missing = "no resource plugin 'pulumi-resource-squarecloud' found in the workspace at version v0.1.0"
    assert missing in inline("preview", code=1)
    runs(scripts / "squarecloud-snapshots", "plugin", "install", folder=project, environment=app.environment)
    assert "squarecloud:index:Archive offsite create" in inline("preview")
    assert app.posts() == []
    printed = inline("up")
    (version,) = app.started()
    assert f"found snapshot {version}" in printed
    assert "warning" not in printed
    assert "Signature=" not in printed
    assert app.emulator.key not in printed
    outputs = app.stack.outputs()
    assert (outputs["snapshot"], outputs["downloadUrl"], outputs["earlier"]) == (version, "[secret]", 0)
    (archive,) = (project / "archives").rglob("*.zip")
    assert outputs["archive"] == archive.resolve().as_uri()

    app.forget_requests()
    assert "3 unchanged" in inline("up")
    assert app.stack.outputs()["earlier"] == 1
    assert app.posts() == []


@pytest.mark.parametrize("service", [("--cache-world", "kept")])
def test_the_go_example_runs(app: App, generated: Path) -> None:
    app.example("go", "dev")
    module = app.stack.project / "go.mod"
    try:
        go, host = engines.new_enough(app.stack.project, os.environ), language_hosts.GO.ensure(os.environ)
    except Closed as reason:
        pytest.skip(f"Go is not tested: {reason}")
    module.write_text(module.read_text().replace("../../sdks/go", str(generated / "go")))
    app.environment["PATH"] = os.pathsep.join([app.environment["PATH"], str(host), str(Path(go).parent)])
    # The language host compiles the program for each command, with what other programs here were compiled from.
    app.environment.update(CGO_ENABLED="0", GOFLAGS="-mod=mod -trimpath -tags=osusergo,grpcnotrace")
    app.run("config", "set", "databaseId", DATABASE)
    app.up()
    (version,) = app.started()
    outputs = app.stack.outputs()
    assert (outputs["snapshot"], outputs["downloadUrl"], outputs["earlier"]) == (version, "[secret]", 0)
    (archive,) = (app.stack.project / "archives").rglob("*.zip")
    assert outputs["archive"] == archive.resolve().as_uri()

    app.forget_requests()
    assert "3 unchanged" in app.up()
    assert app.stack.outputs()["earlier"] == 1
    assert app.posts() == []


def test_the_generated_sdks_are_of_this_version(generated: Path) -> None:
    package = json.loads((generated / "nodejs" / "package.json").read_text())
    assert package["name"] == sdks.OURS
    assert package["version"] == package["pulumi"]["version"] == "0.1.0"
    assert (generated / "go" / "go.mod").read_text().startswith("module pulumi-squarecloud/sdk/go\n")
