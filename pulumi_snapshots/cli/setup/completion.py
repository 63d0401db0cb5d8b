"""The command `completion`."""

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import COMPLETE, NAME, Invocation

SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@command(click.argument("shell", type=click.Choice(SHELLS)), has_result=False)
async def completion(invocation: Invocation, shell: str) -> None:
    """Print the completion script for SHELL: bash, zsh or fish.

    For bash: eval "$(squarecloud-snapshots completion bash)" in ~/.bashrc.
    """
    invocation.show(SHELLS[shell](click.Command(NAME), {}, NAME, COMPLETE).source())
