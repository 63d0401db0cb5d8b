"""The configuration of a stack, as the Pulumi CLI has it: what its creates use, and the environment does not show."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress

import click

from pulumi_snapshots.errors import Explained, Next, Step
from pulumi_snapshots.ledger.place import BACKEND
from pulumi_snapshots.properties.unfit import Unfit
from pulumi_snapshots.run.backend import backend_url
from pulumi_snapshots.run.settings import PACKAGE, config_key, variable, without_key

PATIENCE = 60.0
"""Seconds that a command of the CLI may take."""

stack_option = click.option(
    "--stack", metavar="NAME", help="Use this stack's configuration, as `pulumi` finds it in this folder."
)


class StackUnreadable(Explained):
    """A stack's configuration could not be read, so what its creates would do is not known."""

    def __init__(self, happened: str, step: Step) -> None:
        super().__init__(happened, "No request was sent.", [Next(step)])


def configuration_of(stack: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The settings of this package in a stack's configuration, secret ones too; takes seconds.

    Raises:
        StackUnreadable: the CLI is missing or refuses, or the stack is in another backend than its runs would take for it.
    """
    pulumi = _command(stack, environment)
    every = json.loads(pulumi("config", "--json", "--stack", stack))
    found = {
        key: pulumi("config", "get", key, "--stack", stack).rstrip("\n") if each.get("secret") else each["value"]
        for key, each in every.items()
        if key.startswith(f"{PACKAGE}:")
    }
    if (found.get(config_key("shared_state")) or environment.get(variable("shared_state"))) == BACKEND:
        with suppress(Unfit):  # the settings say why it cannot be looked up
            # Runs know no more of the backend than files and the environment; the CLI does.
            actual, seen = _bare(json.loads(pulumi("whoami", "--json")).get("url", "")), _bare(backend_url(environment))
            if actual != seen:
                happened = (
                    f"stack {stack} is in the backend {actual}, and its runs would take {seen or 'none'} for that"
                )
                raise StackUnreadable(happened, Step.NAME_BACKEND)
    return found


def _bare(url: str) -> str:
    return url.partition("?")[0].rstrip("/")


def _command(stack: str, environment: Mapping[str, str]) -> Callable[..., str]:
    """The CLI: takes arguments, returns what it prints."""
    program = shutil.which("pulumi", path=environment.get("PATH", ""))
    if program is None:
        raise StackUnreadable("pulumi is not on PATH", Step.INSTALL_PULUMI)

    def pulumi(*arguments: str) -> str:
        try:
            return subprocess.run(  # noqa: S603  the program that a user would run
                [program, *arguments, "--non-interactive"],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=True,
                env={**without_key(environment), "PULUMI_SKIP_UPDATE_CHECK": "true"},
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().removeprefix("error: ")
            happened = f"the configuration of stack {stack} cannot be read: {said}"
            raise StackUnreadable(happened, Step.RUN_IN_PROJECT) from error

    return pulumi
