"""The Pulumi CLI, and the stack's configuration.

A stack's creates use settings that the environment does not show.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress

import click

from pulumi_snapshots.errors import HintKind, ProviderError
from pulumi_snapshots.ledger.place import BACKEND
from pulumi_snapshots.properties.checks import Unfit
from pulumi_snapshots.run.settings import (
    PACKAGE,
    backend_url,
    config_key,
    variable,
    without_key,
)

PULUMI_PATIENCE = 600.0
"""Seconds that a command of the CLI may take: adding an SDK to a project also installs what that
needs.
"""

stack_option = click.option(
    "--stack",
    metavar="NAME",
    help="Use this stack's configuration, found from this folder.",
)


class PulumiTrouble(ProviderError):
    """The Pulumi CLI is missing or failed, or uses another backend than runs would see."""


def pulumi(
    environment: Mapping[str, str], *arguments: str, then: HintKind = HintKind.RUN_AGAIN
) -> str:
    """Run the Pulumi CLI, which takes seconds.

    Args:
        environment: the environment of the process.
        *arguments: the CLI's arguments.
        then: the next step of an error.

    Returns:
        Its standard output.

    Raises:
        PulumiTrouble: the CLI is missing or failed.
    """
    program = shutil.which("pulumi", path=environment.get("PATH", ""))
    if program is None:
        raise PulumiTrouble(
            "pulumi is not on PATH", then=[HintKind.INSTALL_PULUMI, then]
        )
    try:
        return subprocess.run(  # noqa: S603  the program that a user would run
            [program, *arguments, "--non-interactive"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PULUMI_PATIENCE,
            check=True,
            env={**without_key(environment), "PULUMI_SKIP_UPDATE_CHECK": "true"},
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        output = str(getattr(error, "stderr", None) or error)
        reason = output.strip().removeprefix("error: ")
        raise PulumiTrouble(
            f"`pulumi {' '.join(arguments)}` failed: {reason}", then=[then]
        ) from error


def configuration_of(stack: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of this package in a stack's configuration, including secrets.

    This runs the Pulumi CLI, which takes seconds.

    Args:
        stack: the stack.
        environment: the environment of the process.

    Raises:
        PulumiTrouble: the CLI is missing or failed, or uses another backend.
    """

    def asked(*arguments: str) -> str:
        return pulumi(environment, *arguments, then=HintKind.RUN_IN_PROJECT)

    entries = json.loads(asked("config", "--json", "--stack", stack))
    configuration = {}
    for key, entry in entries.items():
        if key.startswith(f"{PACKAGE}:"):
            value = entry.get("value")
            if entry.get("secret"):
                value = asked("config", "get", key, "--stack", stack).rstrip("\n")
            configuration[key] = value
    in_configuration = configuration.get(config_key("shared_state"))
    if (in_configuration or environment.get(variable("shared_state"))) == BACKEND:
        backend = json.loads(asked("whoami", "--json")).get("url", "")
        _refuse_other_backend(stack, backend, environment)
    return configuration


def _refuse_other_backend(
    stack: str, backend: str, environment: Mapping[str, str]
) -> None:
    """Refuse a stack whose runs would take another backend for theirs.

    Runs know no more of the backend than files and the environment; the CLI does.

    Raises:
        PulumiTrouble: The stack is in another backend.
    """
    with suppress(Unfit):  # the settings say why the backend cannot be looked up
        urls = (backend, backend_url(environment))
        actual, seen = (url.partition("?")[0].rstrip("/") for url in urls)
        if actual != seen:
            happened = (
                f"stack {stack} is in the backend {actual}, and its runs would take "
                f"{seen or 'none'} for that"
            )
            raise PulumiTrouble(
                happened, "No request was sent.", [HintKind.NAME_BACKEND]
            )
