"""`plugin install` without a working Pulumi; see tests/engine for a real one."""

from __future__ import annotations

import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pulumi_snapshots.cli.setup.plugin import launcher as launcher_text
from tests.cli.test_processes import MODULE
from tests.support.preloaded import python_of

PROJECT = Path(__file__).parents[2]


def types(path: Path, forks: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**forks, "PATH": str(path), "HOME": str(path)}
    return subprocess.run(  # noqa: S603  this very interpreter
        [python_of(forks), *MODULE, "plugin", *arguments],
        env=environment,
        cwd=path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def pulumi_that(path: Path, script: str) -> None:
    (path / "pulumi").write_text(f"#!/bin/sh\n{script}\n")
    (path / "pulumi").chmod(0o700)


def test_install_without_pulumi_says_what_is_missing(tmp_path: Path, forks: dict[str, str]) -> None:
    ended = types(tmp_path, forks, "install")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Pulumi is not on PATH.\nhint: Install the Pulumi CLI" in ended.stderr
    assert "squarecloud-snapshots explain pulumi-trouble" in ended.stderr


def test_install_quotes_a_pulumi_that_fails(tmp_path: Path, forks: dict[str, str]) -> None:
    pulumi_that(tmp_path, "echo 'error: no room left' >&2; exit 255")
    ended = types(tmp_path, forks, "install")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "--reinstall` failed: no room left" in ended.stderr
    (tmp_path / "pulumi").write_text("#!/nowhere/sh\n")
    ended = types(tmp_path, forks, "uninstall")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"No such file or directory: '{tmp_path}/pulumi'" in ended.stderr


def test_the_launcher_starts_this_environments_plugin_anywhere(tmp_path: Path) -> None:
    """Even in a project's folder with a file that is named like a module."""
    (tmp_path / "json.py").write_text("raise SystemExit('the project took the place of a module')")
    launcher = tmp_path / "launcher"
    launcher.write_text(launcher_text().replace("main()", "print(main)"))
    launcher.chmod(0o700)
    ended = subprocess.run(  # noqa: S603  the launcher
        [launcher], cwd=tmp_path, env={}, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stdout.startswith("<function main"), ended.stderr
    assert f"python={shlex.quote(sys.executable)}\n" in launcher.read_text()


LANGUAGES = {
    # The project's file, what Pulumi is asked, and the line that is printed.
    "typescript": ("runtime: nodejs", "package add", 'import * as squarecloud from "pulumi-squarecloud";'),
    "go": ("name: x\nruntime:\n  name: go", "package add", 'import "pulumi-squarecloud.invalid/sdk/go/squarecloud"'),
    "csharp": ("runtime: nodejs", "package gen-sdk", "using PulumiSnapshots.SquareCloud;"),
    "python": ("", "package gen-sdk", "import pulumi_squarecloud as squarecloud"),
    "java": ("", "package gen-sdk", "import pulumisnapshots.squarecloud.*;"),
    "yaml": ("runtime: yaml", None, "type: squarecloud:Snapshot"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_command_gives_a_language_plugin_sdk_and_import(
    tmp_path: Path, forks: dict[str, str], language: str
) -> None:
    project, asked, line = LANGUAGES[language]
    log = tmp_path / "asked"
    pulumi_that(tmp_path, f"echo \"$@\" >> {log}; echo '[]'")
    if project:
        (tmp_path / "Pulumi.yaml").write_text(f"{project}\n")
    ended = types(tmp_path, forks, "sdk", language)
    assert ended.returncode == 0, ended.stderr
    installed, printed = ended.stdout.splitlines()
    assert installed.startswith("installed pulumi-resource-squarecloud ")
    assert printed == line
    commands = [command for command in log.read_text().splitlines() if command.startswith("package")]
    assert [" ".join(command.split()[:2]) for command in commands] == ([asked] if asked else [])
    assert all(f"squarecloud@{version('pulumi-snapshots')}" in command for command in commands)
