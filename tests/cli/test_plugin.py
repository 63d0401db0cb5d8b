"""`plugin install` without a working Pulumi; see tests/engine for a real one."""

import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pulumi_snapshots.cli.setup.plugin import launcher as launcher_text
from pulumi_snapshots.plugin.description.identity import Identity
from tests.archive.scene import at_once
from tests.cli.typed import Desk, at_desk


def pulumi_that(desk: Desk, script: str) -> None:
    """Put a Pulumi on the desk's PATH."""
    folder = desk.state.parent
    desk.in_thread = at_once
    desk.environment |= {"PATH": f"{folder}:/usr/bin:/bin"}
    (folder / "pulumi").write_text(script)
    (folder / "pulumi").chmod(0o700)


@at_desk()
async def test_install_says_what_is_wrong_with_pulumi(
    desk: Desk, tmp_path: Path
) -> None:
    async def fails(command: str, *words: str) -> None:
        assert (await desk.types("plugin", command)).failed(*words).out == ""

    pulumi_that(desk, "#!/bin/sh\necho 'error: no room left' >&2; exit 255")
    await fails("install", "--reinstall` failed: no room left")
    pulumi_that(desk, "#!/nowhere/sh\n")
    await fails("uninstall", f"No such file or directory: '{tmp_path}/pulumi'")
    desk.environment["PATH"] = ""
    await fails(
        "install",
        "Pulumi is not on PATH.\nhint: Install the Pulumi CLI",
        "snapshots explain pulumi-trouble",
    )


def test_the_launcher_starts_this_environments_plugin_anywhere(tmp_path: Path) -> None:
    """Even in a project's folder with a file that is named like a module."""
    (tmp_path / "json.py").write_text(
        "raise SystemExit('the project took the place of a module')"
    )
    launcher = tmp_path / "launcher"
    launcher.write_text(launcher_text().replace("main()", "print(main)"))
    launcher.chmod(0o700)
    ended = subprocess.run(  # noqa: S603  the launcher
        [launcher],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.stdout.startswith("<function main"), ended.stderr
    assert f"python={shlex.quote(sys.executable)}\n" in launcher.read_text()


LANGUAGES = {
    # The project's file, and what Pulumi is asked.
    "typescript": ("runtime: nodejs", "package add"),
    "go": ("name: x\nruntime:\n  name: go", "package add"),
    "csharp": ("runtime: nodejs", "package gen-sdk"),
    "python": ("", "package gen-sdk"),
    "java": ("", "package gen-sdk"),
    "yaml": ("runtime: yaml", None),
}


@pytest.mark.parametrize("language", LANGUAGES)
@at_desk()
async def test_one_command_gives_a_language_plugin_sdk_and_import(
    desk: Desk, tmp_path: Path, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project, asked = LANGUAGES[language]
    pulumi_that(desk, f"#!/bin/sh\necho \"$@\" >> {tmp_path}/asked; echo '[]'")
    if project:
        (tmp_path / "Pulumi.yaml").write_text(f"{project}\n")
    installed, printed = (
        await desk.types("plugin", "sdk", language)
    ).done.out.splitlines()
    assert installed.startswith("installed pulumi-resource-squarecloud ")
    assert printed == Identity().imports()[language]
    commands = [
        each
        for each in (tmp_path / "asked").read_text().splitlines()
        if each.startswith("package")
    ]
    assert [" ".join(command.split()[:2]) for command in commands] == (
        [asked] if asked else []
    )
    assert all(
        f"squarecloud@{version('pulumi-snapshots')}" in command for command in commands
    )
