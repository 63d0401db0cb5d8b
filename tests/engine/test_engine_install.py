"""How a project finds the plugin: nowhere, installed for the user, by `plugins.providers`; what docs/plugin.md quotes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.stage import DATABASE

if TYPE_CHECKING:
    from tests.engine.stage import App

pytestmark = pytest.mark.engine

SCRIPTS = Path(sys.executable).parent
PAGE = (Path(__file__).parents[2] / "docs" / "plugin.md").read_text()
PROGRAM = f"""
from pulumi_snapshots import plugin
plugin.Snapshot("before-release", "{DATABASE}")
"""


def types(app: App, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Type a command of this environment, which need not be on PATH."""
    command = [str(SCRIPTS / "squarecloud-snapshots"), "plugin", *arguments]
    return subprocess.run(  # noqa: S603  this environment's own
        command, env=app.environment, capture_output=True, text=True, check=True, timeout=90
    )


def fails(app: App, quoted: str) -> str:
    """A preview that fails with the engine's words that the page quotes; the program may add its traceback."""
    assert re.search(rf"^\|.*`{re.escape(quoted)}`.*\|.*\|$", PAGE, re.MULTILINE), "a reader does not find it"
    result = app.stack.run("preview", check=False)
    assert result.returncode
    assert quoted in result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture
def outside(app: App, engine: Path, tmp_path: Path) -> str:
    """A PATH with a python3 and nothing of its environment, as where the project is in another language."""
    app.be_real()
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (plain / "python3").chmod(0o700)
    return f"{plain}:{engine}:/usr/bin:/bin"


def test_a_project_finds_the_plugin_where_the_page_says(app: App, outside: str, tmp_path: Path) -> None:
    app.program(PROGRAM)
    activated = app.environment["PATH"]
    app.environment["PATH"] = outside
    fails(app, "no resource plugin 'pulumi-resource-squarecloud' found in the workspace or on your $PATH")

    done = types(app, "install")
    assert done.stdout == f"installed pulumi-resource-squarecloud 0.1.0, which runs in {sys.prefix}\n"
    assert done.stderr == ""
    printed = app.up()
    assert f"found snapshot {app.started()[0]}" in printed
    assert "warning" not in printed

    app.environment["PATH"] = activated
    shadowed = f"{SCRIPTS}/pulumi-resource-squarecloud"
    assert f"warning: using pulumi-resource-squarecloud from $PATH at {shadowed}" in app.preview()
    app.environment["PULUMI_IGNORE_AMBIENT_PLUGINS"] = "true"
    assert "warning" not in app.preview()
    del app.environment["PULUMI_IGNORE_AMBIENT_PLUGINS"]

    app.environment["PATH"] = outside
    (installed,) = (tmp_path / "home" / "plugins").glob("*/pulumi-resource-squarecloud")
    text = installed.read_text()
    installed.write_text(text.replace(str(SCRIPTS), f"{SCRIPTS}/gone"))
    assert f"its Python environment is gone ({SCRIPTS}/gone/" in fails(app, "could not read plugin")
    types(app, "install")  # in place of the one of the same version
    assert installed.read_text() == text
    assert types(app, "uninstall").stdout == "uninstalled pulumi-resource-squarecloud 0.1.0\n"
    assert types(app, "uninstall").stdout == "no pulumi-resource-squarecloud is installed\n"
    fails(app, "no resource plugin 'pulumi-resource-squarecloud' found in the workspace or on your $PATH")

    project = app.stack.project
    (snippet,) = re.findall(r"```yaml\n(plugins:.*?)```", PAGE, re.DOTALL)
    (project / "Pulumi.yaml").write_text(f"name: app\nruntime: python\n{snippet}")
    fails(app, "no folder at path")
    (project / ".venv").symlink_to(SCRIPTS.parent)
    app.environment["PATH"] = activated
    assert "warning" not in app.preview()
