"""What is typed: the arguments and options that several commands have, and their checks."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from pulumi_snapshots.cli.terminal.completing import database_ids, snapshot_ids
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Duration, Inputs
from pulumi_snapshots.properties.unfit import Unfit
from pulumi_snapshots.run.memory import is_provisional
from pulumi_snapshots.service.monitor import problem_of_monitor
from pulumi_snapshots.snapshot.record import split_id
from pulumi_snapshots.storage.destination import Destination

T = TypeVar("T", bound=Inputs)
Decorator = Callable[[Any], Any]
NOTIFY = "SQUARECLOUD_NOTIFY"
"""The variable with the URL of a monitor: what is typed is seen by every user of the machine."""
NO_ID = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]*[^\w/\\\x00-\x1f\x7f-][^/\\\x00-\x1f\x7f]*")
"""The name of a database that cannot be an id. With a slash, or a dot at its beginning, it is more likely a path."""


def command(
    *parameters: Decorator, name: str | None = None, short_help: str | None = None, has_result: bool = True
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function that gets the `Invocation` and what is typed, and returns whether it has failed.

    Args:
        parameters: its arguments and options, in the order of its help.
        name: its name; that of the function if None.
        short_help: its line in the list of commands; the first sentence of the docstring if None.
        has_result: whether it has the options for the form of a result.
    """

    def of(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(*, json: bool = False, quiet: bool = False, **typed: Any) -> Any:
            context = click.get_current_context()
            invocation: Invocation = context.obj
            invocation.context, invocation.as_json, invocation.quiet = context, json, quiet
            if typed.get("urls") and not json:
                context.fail("--urls needs --json.")
            return function(invocation, **typed)

        decorated: Any = run
        for each in reversed([*parameters, *((json_option, quiet_option) if has_result else ())]):
            decorated = each(decorated)
        return click.command(name, short_help=short_help)(decorated)

    return of


# Types -------------------------------------------------------------------------------------------------------------------


class _Checked(click.ParamType[Any]):
    """What a function reads that raises `Unfit`; with a form of completion if there is one."""

    def __init__(self, name: str, read: Callable[[str], Any], complete: Callable[..., Any] | None = None) -> None:
        self.name, self.read, self.complete = name, read, complete

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it, or say what would be right."""
        try:
            return self.read(value)
        except Unfit as unfit:
            self.fail(f"it {unfit}.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer what there is."""
        return self.complete(ctx, param, incomplete) if self.complete else []


def _duration(typed: str) -> str:
    """A duration that has a unit; the rules of each input check the rest."""
    if re.fullmatch(r"[\d.]*[1-9][\d.]*", typed):
        raise Unfit(f"needs a unit, such as {typed}s, {typed}m or {typed}h")
    return typed


def _database(typed: str) -> str:
    """What can be an id of a database, its beginning, or a name."""
    checks.database_id("use")(_as_id(typed))
    return typed


def _as_id(typed: str) -> str:
    """What is typed; a name that cannot be an id is spelled like one, since it is looked up only once all else is right."""
    return typed.encode().hex() if NO_ID.fullmatch(typed) else typed


DURATION, PLACE = _Checked("duration", _duration), _Checked("destination", Destination.parse)
FILE = click.Path(dir_okay=False, path_type=Path)
DATABASE = _Checked("database", _database, database_ids)

# Arguments and options ---------------------------------------------------------------------------------------------------


def _snapshot(context: click.Context, _argument: click.Parameter, typed: str) -> None:
    """Split `DATABASE/VERSION`, as `list` shows it; the database may be named."""
    database, slash, version = typed.partition("/")
    try:
        split_id(f"{_as_id(database)}{slash}{version}")
    except ValueError:
        whole = f"a snapshot is DATABASE/VERSION, not {typed!r}"
        shows = "`status DATABASE` names the one to go back to, and `list DATABASE` shows all"
        raise click.BadParameter(f"{whole}: {shows}.") from None
    if is_provisional(typed):
        raise click.BadParameter("it is pending: `create DATABASE` keeps waiting for it.")
    context.params["database_id"], context.params["version_id"] = database, version


def _monitor(context: click.Context, _option: click.Parameter, typed: str | None) -> None:
    """Note the URL of the monitor that hears how the command goes. No error repeats it."""
    url = typed or context.obj.environment.get(NOTIFY)
    if url and (problem := problem_of_monitor(url)):
        raise click.BadParameter(f"{problem}.")
    context.obj.notifies = url


def options_of(inputs: type[Inputs], *names: str) -> Iterator[Decorator]:
    """Options for inputs, with the help that their declarations give."""
    for name in names:
        each = inputs.properties()[name]
        kind = DURATION if each.type == Duration else click.Choice([*each.choices.meanings]) if each.choices else None
        yield click.option(f"--{name.replace('_', '-')}", name, type=kind, help=each.doc.replace("`", ""))


def timeout_option(inputs: type[Inputs]) -> Decorator:
    """`--timeout`."""
    usual = inputs.properties()["timeout"].default_text
    return click.option("--timeout", type=DURATION, help=f"How long the command can take; {usual} by default.")


json_option = click.option("--json", is_flag=True, help="Print JSON, for programs.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print ids or paths alone, and no progress.")
notify_option = click.option(
    "--notify",
    metavar="URL",
    callback=_monitor,
    expose_value=False,
    help=f"Report the start and the end to this URL, as healthchecks and ntfy expect. The URL is a secret: better in {NOTIFY}.",
)
again_option = click.option(
    "--new", is_flag=True, help="Restore again, even if an earlier run's restore is unfinished."
)
urls_option = click.option(
    "--urls", is_flag=True, help="With --json: also download URLs, which open the data to anyone."
)
snapshot_argument = click.argument(
    "snapshot", metavar="DATABASE/VERSION", callback=_snapshot, expose_value=False, shell_complete=snapshot_ids
)
database_argument = click.argument("database_id", metavar="DATABASE", type=DATABASE)
destination_argument = click.argument("destination", type=PLACE)


# Checks ------------------------------------------------------------------------------------------------------------------


def checked(invocation: Invocation, inputs: type[T], typed: Mapping[str, Any], **spelled: str) -> T:
    """The inputs that are typed, without a problem; a database by its name is still to be looked up.

    `spelled` is how some of them are typed in this command.
    """
    wording = invocation.wording.about(**spelled)
    known = {name: _as_id(given) if given and name.endswith("database_id") else given for name, given in typed.items()}
    for problem in inputs.problems(known):
        name = wording.spell(problem.property) if problem.property else ""
        text = f"{name} {wording.text(problem.told())}.".lstrip()
        invocation.wrong(text, helps="not installed" not in text)
    return inputs.of(known)


def secret_of(invocation: Invocation, option: str, name: str) -> str:
    """The content of the environment variable that an option names; raises a `click.UsageError` if it is not set."""
    secret = invocation.environment.get(name, "")
    if not secret:
        invocation.wrong(f"{option} must name a variable that holds the secret: {name} is not set.")
    return secret
