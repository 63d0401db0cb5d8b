"""`plugin install` and `plugin uninstall`: let every Pulumi project of this user find this environment's plugin."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import click

from pulumi_snapshots.cli.terminal.invocation import DONE, Invocation
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step

PACKAGE = "squarecloud"
PROGRAM = f"pulumi-resource-{PACKAGE}"
"""Pulumi finds a package's plugin by this name."""
IGNORE_PATH = "PULUMI_IGNORE_AMBIENT_PLUGINS"
"""With this variable the engine takes no plugin from PATH."""
LAUNCHER = """\
#!/bin/sh
# Made by `squarecloud-snapshots plugin install`: the plugin of the Python environment where that was run.
python={python}
if [ ! -x "$python" ]; then
  echo "its Python environment is gone ($python): run squarecloud-snapshots plugin install in another one" >&2
  exit 1
fi
exec "$python" -P -c 'from pulumi_snapshots.plugin.serve import main; main()' "$@"
"""
"""-P: the plugin starts in the project's folder, whose files must not take the place of modules."""


class PluginTrouble(Explained):
    """The plugin could not be installed or uninstalled."""


@click.group(short_help="Let all Pulumi projects find the plugin.")
def plugin() -> None:
    """Let every Pulumi project of this user find the plugin, whatever its language."""


@plugin.command()
@click.pass_obj
async def install(invocation: Invocation) -> int:
    """Install the plugin for every Pulumi project of this user: it runs in the Python environment of this command."""
    ours = version("pulumi-snapshots")
    with TemporaryDirectory() as folder:
        program = Path(folder) / PROGRAM
        program.write_text(launcher())
        program.chmod(0o700)
        await _pulumi(invocation, "install", "resource", PACKAGE, ours, "--file", str(program), "--reinstall")
    invocation.show(f"installed {PROGRAM} {ours}, which runs in {sys.prefix}\n")
    for other in sorted(await _versions(invocation) - {ours}):
        invocation.warn(
            f"version {other} is installed too, and Pulumi takes the newest unless a program asks for another; "
            f"`pulumi plugin rm resource {PACKAGE} {other}` removes it."
        )
    ignored = invocation.environment.get(IGNORE_PATH, "").lower() in {"true", "1"}
    if not ignored and (shadow := _on_path(invocation, PROGRAM)):
        invocation.warn(
            f"Pulumi takes {shadow} first, since it is on PATH, and says so at each run. With {IGNORE_PATH}=true in "
            "the environment it takes the installed one and says nothing."
        )
    return DONE


@plugin.command()
@click.pass_obj
async def uninstall(invocation: Invocation) -> int:
    """Uninstall the plugin, whichever versions `install` has installed."""
    versions = await _versions(invocation)
    if versions:
        await _pulumi(invocation, "rm", "resource", PACKAGE, "--yes")
        invocation.show(f"uninstalled {PROGRAM} {', '.join(sorted(versions))}\n")
    else:
        invocation.show(f"no {PROGRAM} is installed\n")
    return DONE


def launcher() -> str:
    """A script that starts this environment's plugin, wherever the script is."""
    return LAUNCHER.format(python=shlex.quote(sys.executable))


async def _versions(invocation: Invocation) -> set[str]:
    """The versions that Pulumi has installed."""
    listed = json.loads(await _pulumi(invocation, "ls", "--json"))
    return {each["version"] for each in listed if (each["kind"], each["name"]) == ("resource", PACKAGE)}


def _on_path(invocation: Invocation, program: str) -> str | None:
    return shutil.which(program, path=invocation.environment.get("PATH", ""))


async def _pulumi(invocation: Invocation, *arguments: str) -> str:
    """What `pulumi plugin` prints.

    Raises:
        PluginTrouble: it is not on PATH, or it fails.
    """
    pulumi = _on_path(invocation, "pulumi")
    if pulumi is None:
        raise PluginTrouble("pulumi is not on PATH", then=[Next(Step.INSTALL_PULUMI), Next(Step.RUN_AGAIN)])
    command = [pulumi, "plugin", *arguments, "--non-interactive"]
    try:
        ended = await anyio.run_process(command, check=False, env=invocation.environment, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise PluginTrouble(f"{pulumi} does not run: {error.strerror or error}") from error
    if ended.returncode != 0:
        said = (ended.stderr or ended.stdout).decode(errors="replace").strip()
        raise PluginTrouble(f"`pulumi plugin {arguments[0]}` ended with {ended.returncode}: {said}")
    return ended.stdout.decode()
