"""`plugin install` without a working Pulumi; see tests/engine for a real one."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from pulumi_snapshots.cli import install
from tests.cli.test_processes import MODULE
from tests.support.preloaded import python_of

if TYPE_CHECKING:
    from pathlib import Path


def types(path: Path, forks: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**forks, "PATH": str(path), "HOME": str(path)}
    return subprocess.run(  # noqa: S603  this very interpreter
        [python_of(forks), *MODULE, "plugin", *arguments],
        env=environment,
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
    assert "squarecloud-snapshots explain plugin-trouble" in ended.stderr


def test_install_quotes_a_pulumi_that_fails(tmp_path: Path, forks: dict[str, str]) -> None:
    pulumi_that(tmp_path, "echo 'error: no room left' >&2; exit 255")
    ended = types(tmp_path, forks, "install")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "`pulumi plugin install` ended with 255: error: no room left" in ended.stderr
    (tmp_path / "pulumi").write_text("#!/nowhere/sh\n")
    ended = types(tmp_path, forks, "uninstall")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"{tmp_path}/pulumi does not run: No such file or directory" in ended.stderr


def test_the_launcher_starts_this_environments_plugin_anywhere(tmp_path: Path) -> None:
    """Even in a project's folder with a file that is named like a module."""
    (tmp_path / "json.py").write_text("raise SystemExit('the project took the place of a module')")
    launcher = tmp_path / "launcher"
    launcher.write_text(install.launcher().replace("main()", "print(main)"))
    launcher.chmod(0o700)
    ended = subprocess.run(  # noqa: S603  the launcher
        [launcher], cwd=tmp_path, env={}, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stdout.startswith("<function main"), ended.stderr
    assert f"python={shlex.quote(sys.executable)}\n" in launcher.read_text()
