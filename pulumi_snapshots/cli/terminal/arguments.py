"""What is typed: arguments and options that several commands have, and their checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from pulumi_snapshots.cli.terminal.completing import database_ids, snapshot_ids
from pulumi_snapshots.cli.terminal.wording import COMMANDS
from pulumi_snapshots.properties.catalogue import Inputs
from pulumi_snapshots.service.monitor import problem_of_monitor
from pulumi_snapshots.snapshot.record import is_provisional, split_id
from pulumi_snapshots.storage.destination import Destination

T = TypeVar("T", bound=Inputs)
NOTIFY = "SQUARECLOUD_NOTIFY"
"""The variable with the URL of a monitor: what is typed is seen by every user of the machine."""


def _snapshot(context: click.Context, _argument: click.Parameter, typed: str) -> None:
    """Split `DATABASE/VERSION`, as `list` shows it."""
    try:
        context.params["database_id"], context.params["version_id"] = split_id(typed)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
    if is_provisional(typed):
        raise click.BadParameter("it is pending: `create DATABASE` keeps waiting for it.")


def _urls(context: click.Context, _option: click.Parameter, urls: Any) -> Any:
    if urls and not context.params["as_json"]:
        context.fail("--urls needs --json.")
    return urls


def _notify(context: click.Context, _option: click.Parameter, typed: str | None) -> None:
    """Let a monitor hear how the command goes. No error repeats its URL."""
    if context.resilient_parsing or not (url := typed or context.obj.environment.get(NOTIFY)):
        return
    if problem := problem_of_monitor(url):
        raise click.BadParameter(f"{problem}.")
    context.obj.notifies = url, context.command_path


def timeout_option(inputs: type[Inputs]) -> Callable[[Any], Any]:
    """`--timeout`."""
    usual = inputs.properties()["timeout"].default_text
    return click.option("--timeout", metavar="DURATION", help=f"How long it may take; {usual} by default.")


snapshot_argument = click.argument(
    "snapshot", metavar="DATABASE/VERSION", callback=_snapshot, expose_value=False, shell_complete=snapshot_ids
)
database_argument = click.argument("database_id", metavar="DATABASE", shell_complete=database_ids)
json_option = click.option("--json", "as_json", is_flag=True, is_eager=True, help="Print JSON, for programs.")
notify_option = click.option(
    "--notify",
    metavar="URL",
    callback=_notify,
    expose_value=False,
    help=f"Tell this URL the start and the end, in the form of healthchecks and ntfy. It is a secret: better in {NOTIFY}.",
)
urls_option = click.option(
    "--urls", is_flag=True, callback=_urls, help="With --json: print download URLs too, which open the data to anyone."
)


def checked(context: click.Context, inputs: type[T], typed: Mapping[str, Any], **spelled: str) -> T:
    """The inputs that are typed.

    Args:
        context: of the command.
        inputs: declares them.
        typed: their values.
        spelled: how some of them are typed in this command.

    Raises:
        click.UsageError: they have a problem.
    """
    wording = COMMANDS.about(**spelled)
    for problem in inputs.problems(typed):
        name = wording.spell(problem.property) if problem.property else ""
        context.fail(f"{name} {wording.text(problem.told())}.".lstrip())
    return inputs.of(typed)


def place(context: click.Context, spelled: str, typed: str) -> Destination:
    """The place of an archive; `spelled` is how it is typed in this command.

    Raises:
        click.UsageError: it is none.
    """
    try:
        return Destination.parse(typed)
    except ValueError as error:
        context.fail(f"{spelled} {error}.")


def secret_of(context: click.Context, option: str, name: str) -> str:
    """The content of the environment variable that an option names.

    Raises:
        click.UsageError: it is not set.
    """
    secret: str = context.obj.environment.get(name, "")
    if not secret:
        context.fail(f"{option} must name a variable that holds the secret: {name} is not set.")
    return secret
