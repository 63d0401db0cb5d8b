"""`plugin install`, `plugin sdk` and `plugin uninstall`.

Let every Pulumi project of this user find this environment's plugin.
"""

import json
import re
import shlex
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.pulumi import pulumi
from pulumi_snapshots.plugin.description.identity import Identity
from pulumi_snapshots.run.settings import PACKAGE

PROGRAM = f"pulumi-resource-{PACKAGE}"  # Pulumi finds a package's plugin by this name
RUNTIMES = {
    "typescript": "nodejs",
    "python": "python",
    "go": "go",
    "csharp": "dotnet",
    "java": "java",
    "yaml": "yaml",
}
"""Languages, and what Pulumi calls them. YAML needs no SDK."""
RUNTIME = re.compile(
    r"^runtime:[ \t]*(?:\n\s+name:[ \t]*|\{\s*name:\s*)?['\"]?(\w+)", re.MULTILINE
)
"""The language in a project's file."""
LAUNCHER = """\
#!/bin/sh
# Made by `squarecloud-snapshots plugin install`: the plugin of that command's environment.
python={python}
if [ ! -x "$python" ]; then
  again="run squarecloud-snapshots plugin install in another one"
  echo "its Python environment is gone ($python): $again" >&2
  exit 1
fi
exec "$python" -P -c 'from pulumi_snapshots.plugin.serve import main; main()' "$@"
"""
"""-P: the plugin starts in the project's folder, whose files must not take the place of modules."""


@command(has_result=False)
async def install(invocation: Invocation, /) -> None:
    """Install the plugin for every Pulumi project of this user.

    It runs in the Python environment of this command.
    """
    await _install(invocation)


@command(
    click.argument("language", type=click.Choice(list(RUNTIMES))), has_result=False
)
async def sdk(invocation: Invocation, language: str) -> None:
    """Install the plugin, and generate its SDK for a language.

    Prints the line that imports it. If this folder has a project in that language, adds the SDK to
    it; otherwise only writes it to `sdks`.
    """
    await _install(invocation)
    runtime = RUNTIMES[language]
    package = f"{PACKAGE}@{version('pulumi-snapshots')}"
    if language != "yaml":
        arguments = ["gen-sdk", package, "--language", runtime, "--out", "sdks"]
        if runtime == _runtime_here():
            arguments = ["add", package]
        await _pulumi(invocation, "package", *arguments)
    invocation.show(f"{Identity().imports()[language]}\n")


@command(has_result=False)
async def uninstall(invocation: Invocation, /) -> None:
    """Uninstall every version of the plugin."""
    versions = await _versions(invocation)
    if not versions:
        invocation.show(f"no {PROGRAM} is installed\n")
        return
    await _pulumi(invocation, "plugin", "rm", "resource", PACKAGE, "--yes")
    invocation.show(f"uninstalled {PROGRAM} {', '.join(sorted(versions))}\n")


plugin = click.Group(
    "plugin",
    [install, sdk, uninstall],
    help="Let every Pulumi project of this user find the plugin.",
)


async def _install(invocation: Invocation) -> None:
    own_version = version("pulumi-snapshots")
    with TemporaryDirectory() as folder:
        program = Path(folder) / PROGRAM
        program.write_text(launcher())
        program.chmod(0o700)
        arguments = ["resource", PACKAGE, own_version, "--file", str(program)]
        await _pulumi(invocation, "plugin", "install", *arguments, "--reinstall")
    invocation.show(f"installed {PROGRAM} {own_version}, which runs in {sys.prefix}\n")
    for other in sorted(await _versions(invocation) - {own_version}):
        removes = f"`pulumi plugin rm resource {PACKAGE} {other}` removes it"
        invocation.warn(
            f"version {other} is installed too, and Pulumi takes the newest unless a program "
            f"names one: {removes}."
        )


def _runtime_here() -> str | None:
    """The language of the project in this folder, as Pulumi calls it; None without a project."""
    with suppress(OSError):
        project = Path("Pulumi.yaml").read_text(encoding="utf-8", errors="replace")
        runtime = RUNTIME.search(project)
        return runtime[1] if runtime else None
    return None


def launcher() -> str:
    """Return a script that starts this environment's plugin, wherever the script is."""
    return LAUNCHER.format(python=shlex.quote(sys.executable))


async def _versions(invocation: Invocation) -> set[str]:
    """The versions that Pulumi has installed."""
    listed = json.loads(await _pulumi(invocation, "plugin", "ls", "--json"))
    return {
        each["version"]
        for each in listed
        if (each["kind"], each["name"]) == ("resource", PACKAGE)
    }


async def _pulumi(invocation: Invocation, *arguments: str) -> str:
    output: str = await invocation.in_thread(pulumi, invocation.environment, *arguments)
    return output
