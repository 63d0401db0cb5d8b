"""The command `completion`: the script by which a shell completes commands and ids."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from pulumi_snapshots.cli.terminal.invocation import COMPLETE, NAME

COMPLETIONS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(COMPLETIONS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    For bash: eval "$(squarecloud-snapshots completion bash)" in ~/.bashrc.
    """
    click.echo(COMPLETIONS[shell](context.find_root().command, {}, NAME, COMPLETE).source())
