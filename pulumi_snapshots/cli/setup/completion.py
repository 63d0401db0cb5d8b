"""The command `completion`: the script by which a shell completes commands and ids."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import COMPLETE, DONE, NAME, Invocation

SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@command(click.argument("shell", metavar="SHELL", required=False, type=click.Choice(SHELLS)), has_result=False)
async def completion(invocation: Invocation, /, shell: str | None) -> int:
    """Print the completion script for SHELL: bash, zsh or fish.

    For bash: eval "$(squarecloud-snapshots completion bash)" in ~/.bashrc.
    """
    if shell is None:
        invocation.wrong(f"Name a shell: {', '.join(SHELLS)}.")
    invocation.show(SHELLS[shell](invocation.root, {}, NAME, COMPLETE).source())
    return DONE
