"""The configuration of a stack, as the Pulumi CLI has it: what its creates use, and the environment does not show."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import click

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
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


def configuration_of(stack: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The settings of this package in a stack's configuration, secret ones too; takes seconds.

    Raises:
        StackUnreadable: the CLI is missing, or refuses.
    """
    found = _settings(stack, environment)
    if (found.get(config_key("shared_state")) or environment.get(variable("shared_state"))) == BACKEND:
        _check_backend(stack, environment)
    return found


def _settings(stack: str, environment: Mapping[str, str]) -> dict[str, str]:
    every = json.loads(_said(stack, environment, "config", "--json", "--stack", stack))
    ours = {key: each for key, each in every.items() if key.startswith(f"{PACKAGE}:")}
    return {
        key: _said(stack, environment, "config", "get", key, "--stack", stack).removesuffix("\n")
        if each.get("secret")
        else each["value"]
        for key, each in ours.items()
    }


def _check_backend(stack: str, environment: Mapping[str, str]) -> None:
    """Make sure that the backend is the one that this package sees: it has no more than files and the environment."""
    url: Any = json.loads(_said(stack, environment, "whoami", "--json")).get("url")
    try:
        seen = backend_url(environment)
    except Unfit:
        return  # the settings say why
    if url is not None and _bare(url) != _bare(seen):
        raise StackUnreadable(
            f"stack {stack} is in the backend {_bare(url)}, and what runs in it would take {_bare(seen) or 'none'} for that",
            "No request was sent.",
            [Next(Step.NAME_BACKEND)],
        )


def _bare(url: str) -> str:
    return url.partition("?")[0].rstrip("/")


def _said(stack: str, environment: Mapping[str, str], *arguments: str) -> str:
    program = shutil.which("pulumi", path=environment.get("PATH", ""))
    if program is None:
        then = [Next(Step.INSTALL_PULUMI), Next(Step.RUN_AGAIN)]
        raise StackUnreadable("pulumi is not on PATH", "No request was sent.", then)
    try:
        done = subprocess.run(  # noqa: S603  the program that a user would run
            [program, *arguments, "--non-interactive"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env={**without_key(environment), "PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StackUnreadable(f"`pulumi {arguments[0]}` failed: {error}", "No request was sent.") from error
    if done.returncode:
        said = done.stderr.strip().removeprefix("error: ") or f"it ended with {done.returncode}"
        happened = f"the configuration of stack {stack} cannot be read: {said}"
        raise StackUnreadable(happened, "No request was sent.", [Next(Step.RUN_IN_PROJECT)])
    return done.stdout
