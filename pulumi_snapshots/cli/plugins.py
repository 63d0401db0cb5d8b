"""`plugin install` and `plugin uninstall`: a launcher of this environment's plugin, where every project of the user finds it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.cli.jobs import DONE, FAILED
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.cli.place import Place

__all__ = ["Installing", "PluginTrouble", "Uninstalling"]

PREFIX = "pulumi-resource-"
"""What Pulumi puts before a package's name to find its plugin's program."""
IGNORE_PATH = "PULUMI_IGNORE_AMBIENT_PLUGINS"
"""The engine's variable with which it takes no plugin from PATH."""
LAUNCHER = """\
#!/bin/sh
# Made by `squarecloud-snapshots plugin install`: the plugin of the Python environment where that was run.
python={python}
if [ ! -x "$python" ]; then
  echo "its Python environment is gone ($python): run squarecloud-snapshots plugin install in another one" >&2
  exit 1
fi
exec "$python" -P -c {code} "$@"
"""
"""-P: the plugin starts in the project's folder, whose files must not take the place of modules."""


class PluginTrouble(Explained):
    """Pulumi could not be told of the plugin."""


@dataclass(frozen=True)
class Plugin:
    """The plugin of this environment.

    Attributes:
        package: as Pulumi calls it: `squarecloud`.
        version: of this distribution.
        starts: `module:function`, which serves an engine.
    """

    package: str
    version: str
    starts: str

    @classmethod
    def installed(cls) -> Plugin:
        """As the metadata of this distribution describe it."""
        ours = distribution("pulumi-snapshots")
        (script,) = (each for each in ours.entry_points if each.name.startswith(PREFIX))
        return cls(script.name.removeprefix(PREFIX), ours.version, script.value)

    @property
    def program(self) -> str:
        """The name of its program."""
        return PREFIX + self.package

    @property
    def launcher(self) -> str:
        """A script that becomes it, wherever it lies."""
        module, _, function = self.starts.partition(":")
        code = f"from {module} import {function}; {function}()"
        return LAUNCHER.format(python=shlex.quote(sys.executable), code=shlex.quote(code))


@dataclass(frozen=True)
class Installing:
    """`plugin install`: every Pulumi project of this user finds the plugin from then on."""

    async def __call__(self, place: Place) -> int:
        """Install it, in place of one of the same version."""
        plugin = Plugin.installed()
        with place.ending(), TemporaryDirectory() as folder:
            launcher = Path(folder) / plugin.program
            launcher.write_text(plugin.launcher)
            launcher.chmod(0o700)
            which = ("resource", plugin.package, plugin.version)
            await _pulumi(place, "plugin", "install", *which, "--file", str(launcher), "--reinstall")
            place.show(f"installed {plugin.program} {plugin.version}, which runs in {sys.prefix}\n")
            for version in sorted(await _versions(place, plugin) - {plugin.version}):
                place.warn(
                    f"version {version} is installed too, and Pulumi takes the newest unless a program asks for another; "
                    f"`pulumi plugin rm resource {plugin.package} {version}` removes it."
                )
            if shadow := _shadow(plugin, place.environment):
                place.warn(
                    f"Pulumi takes {shadow} first, since it is on PATH, and says so at each run. With {IGNORE_PATH}=true in "
                    "the environment it takes what is installed, and says nothing."
                )
            return DONE
        return FAILED


@dataclass(frozen=True)
class Uninstalling:
    """`plugin uninstall`: what `plugin install` has installed is gone, whichever version."""

    async def __call__(self, place: Place) -> int:
        """Uninstall it."""
        plugin = Plugin.installed()
        with place.ending():
            versions = await _versions(place, plugin)
            if versions:
                await _pulumi(place, "plugin", "rm", "resource", plugin.package, "--yes")
            removed = ", ".join(sorted(versions))
            place.show(
                f"uninstalled {plugin.program} {removed}\n" if versions else f"no {plugin.program} is installed\n"
            )
            return DONE
        return FAILED


async def _versions(place: Place, plugin: Plugin) -> set[str]:
    """Those that Pulumi has installed."""
    listed = json.loads(await _pulumi(place, "plugin", "ls", "--json"))
    return {each["version"] for each in listed if (each["kind"], each["name"]) == ("resource", plugin.package)}


def _shadow(plugin: Plugin, environment: Mapping[str, str]) -> str | None:
    """The program on PATH that Pulumi takes instead."""
    if environment.get(IGNORE_PATH, "").lower() in {"true", "1"}:
        return None
    return shutil.which(plugin.program, path=environment.get("PATH", ""))


async def _pulumi(place: Place, *arguments: str) -> str:
    """What `pulumi` prints.

    Raises:
        PluginTrouble: there is none on PATH, or it fails.
    """
    asked = f"pulumi {arguments[0]} {arguments[1]}"
    pulumi = shutil.which("pulumi", path=place.environment.get("PATH", ""))
    if pulumi is None:
        raise PluginTrouble("pulumi is not on PATH", then=[Next(Step.INSTALL_PULUMI), Next(Step.RUN_AGAIN)])
    command = [pulumi, *arguments, "--non-interactive"]
    try:
        ended = await anyio.run_process(command, check=False, env=place.environment, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise PluginTrouble(f"{pulumi} does not run: {error.strerror or error}") from error
    if ended.returncode != 0:
        said = (ended.stderr or ended.stdout).decode(errors="replace").strip()
        raise PluginTrouble(f"`{asked}` ended with {ended.returncode}: {said}")
    return ended.stdout.decode()
