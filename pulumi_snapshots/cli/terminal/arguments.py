"""The arguments and options that several commands have.

Their checks, and the completion of ids by the shell.
"""

import functools
import re
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import anyio
import click
from click.shell_completion import CompletionItem

from pulumi_snapshots.cli.terminal.account import (
    KeptPages,
    PageKind,
    PagesFile,
    databases_of_account,
    keep_listing,
)
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import joined, printable, size_text, zoned
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors.secrets import (
    NOT_A_PLACE,
    shown_variable,
    spells_secret,
)
from pulumi_snapshots.hosts.monitor_message import problem_of_monitor
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Duration, Inputs
from pulumi_snapshots.run.memory import is_provisional
from pulumi_snapshots.snapshot.record import split_id
from pulumi_snapshots.storage.destination import Destination

T = TypeVar("T", bound=Inputs)
Decorator = Callable[[Any], Any]
NOTIFY = "SQUARECLOUD_NOTIFY"
"""The variable with the URL of a monitor: what is typed is seen by every user of the machine."""
NO_ID = re.compile(
    r"(?!\.)[^/\\\x00-\x1f\x7f]*[^\w/\\\x00-\x1f\x7f-][^/\\\x00-\x1f\x7f]*"
)
"""The name of a database that cannot be an id. With a slash, or a dot at its beginning, it is more
likely a path.
"""

# seconds that a press of the tab key waits for the service at most
COMPLETION_PATIENCE = 1.5
# seconds for which a kept page is offered without a request for a newer page
YOUNG = 300.0
# ids that a shell takes as they are; the service has no others
SAFE = re.compile(r"[A-Za-z0-9+/=_.-]+")


def command(
    *parameters: Decorator,
    name: str | None = None,
    has_result: bool = True,
    kind: type[click.Command] = click.Command,
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function that gets the `Invocation` and the typed arguments.

    Args:
        *parameters: the arguments and options, in the order of the help.
        name: the command's name; None for the function's.
        has_result: whether the command has options for the form of a result.
        kind: the class that reads what is typed.

    Returns:
        The decorator.
    """

    def of(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(*, json: bool = False, quiet: bool = False, **typed: Any) -> Any:
            context = click.get_current_context()
            invocation: Invocation = context.obj
            invocation.context = context
            invocation.as_json = json
            invocation.quiet = quiet
            if typed.get("urls") and not json:
                context.fail("--urls needs --json.")
            return function(invocation, **typed)

        options = [*parameters]
        if has_result:
            options += [json_option, quiet_option]
        decorated: Any = run
        for option in reversed(options):
            decorated = option(decorated)
        return click.command(name, kind)(decorated)

    return of


# Completion ---------------------------------------------------------------------------------------
# From the pages that earlier commands kept, and at most one request for a newer page. A completion
# never waits long. Whatever goes wrong, it offers what it has and prints nothing: an error would
# stand in the middle of the command that is being typed.


def database_ids(
    context: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Complete the id or the name of a database.

    Args:
        context: click's context.
        typed: the beginning that was typed.

    Returns:
        The databases that fit.
    """
    kept = _pages(context, "databases", databases_of_account)
    descriptions = dict.fromkeys(kept.snapshots, "")
    descriptions |= {each.id: joined(each.name, each.type) for each in kept.databases}
    offered = [*descriptions.items()]
    if typed:  # all names beside all ids would show everything twice
        offered += [(each.name or "", each.id) for each in kept.databases]
    return _fitting(typed, offered)


def snapshot_ids(
    context: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Complete the id of a snapshot, with its database's id.

    Args:
        context: click's context.
        typed: the beginning that was typed.

    Returns:
        The snapshots that fit, newest first.
    """
    of_each = _pages(context, "snapshots", keep_listing).snapshots
    needs_version = context.command.name == "restore"
    offered = []
    fitting = {
        each: entries
        for each, entries in of_each.items()
        if f"{each}/".startswith(typed[: len(each) + 1])
    }
    for database_id, entries in fitting.items():
        versions = sorted(
            entries, key=lambda each: str(entries[each].modified or ""), reverse=True
        )
        if not needs_version:
            offered.append((f"{database_id}/{checks.LATEST}", "the newest one"))
        # The snapshots of all databases would be hundreds: those of a database are shown once the
        # database is typed.
        if len(fitting) > 1:
            versions = versions[:1] if needs_version else []
        for version in versions:
            entry = entries[version]
            taken = zoned(entry.modified, context.obj.zone) if entry.modified else None
            description = joined(taken, entry.origin, size_text(entry.size))
            offered.append((f"{database_id}/{version}", description))
    return _fitting(typed, offered)


def _fitting(typed: str, offered: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    return [
        CompletionItem(value, help=printable(description))
        for value, description in offered
        if value.startswith(typed) and SAFE.fullmatch(value)
    ]


def _pages(
    context: click.Context, page: PageKind, request: Callable[..., Awaitable[object]]
) -> PagesFile:
    """The kept pages, after a request for a newer page if that is due and quick."""
    seen = [PagesFile()]

    async def find() -> None:
        context.obj.err = StringIO()  # its warnings are for people who read them
        async with context.obj.session() as session:
            pages = KeptPages(session)
            now = session.clock.utc()
            seen.append(pages.read())
            is_young = 0 <= seen[-1].age(page, now) < YOUNG
            if not is_young and pages.may_request(page, now, YOUNG):
                await request(session)
                seen.append(pages.read())

    def work() -> None:
        with suppress(Exception):
            anyio.run(find)

    # The system's search for an address can hang, and cannot be cancelled.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(COMPLETION_PATIENCE)
    return seen[-1]


# Types --------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Checked(click.ParamType[Any]):
    """A type of arguments: `read` reads one or raises `Unfit`, and `complete` completes one."""

    name: str
    read: Callable[[str], Any]
    complete: Callable[..., Any] | None = None

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Read an argument, or say what would be right."""
        try:
            return self.read(value)
        except checks.Unfit as unfit:
            self.fail(f"it {unfit}.", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer what completes an argument."""
        return self.complete(ctx, param, incomplete) if self.complete else []


def _duration(typed: str) -> str:
    """A duration that has a unit, since 10 may be meant in minutes.

    The rules of each input check the rest.
    """
    if re.fullmatch(r"[\d.]*[1-9][\d.]*", typed):
        units = ", ".join(f"{typed}{unit}" for unit in "smh")
        raise checks.Unfit(f"needs a unit, such as {units} or {typed}d")
    return typed


def _beginning(typed: str) -> timedelta | datetime:
    """When a period begins: how long ago, or a date."""
    with suppress(ValueError):
        return parse_rfc3339(typed)
    try:
        return timedelta(seconds=checks.parse_duration(_duration(typed)))
    except (ValueError, OverflowError):
        raise checks.Unfit(
            "must be a duration such as 90d, or a date such as 2026-10-01"
        ) from None


def _database(typed: str) -> str:
    """What can be an id of a database, its beginning, or a name; or a secret instead."""
    click.get_current_context().obj.note_typed_id(typed)
    checks.database_id("use")(_as_id(typed))
    return typed


def _as_id(typed: str) -> str:
    """What is typed; a name that cannot be an id is spelled like an id.

    The name is looked up only once all else is right.
    """
    return typed.encode().hex() if NO_ID.fullmatch(typed) else typed


_FILE = click.Path(dir_okay=False, path_type=Path)


def _file(typed: str) -> Path:
    """A file to write, whose name is no secret."""
    if spells_secret(typed):
        raise checks.Unfit(NOT_A_PLACE)
    path: Path = _FILE.convert(typed, None, None)
    return path


DURATION_TYPE = _Checked("duration", _duration)
BEGINNING = _Checked("beginning", _beginning)
PLACE = _Checked("destination", Destination.parse)
FILE = _Checked("file", _file, _FILE.shell_complete)
DATABASE = _Checked("database", _database, database_ids)

# Arguments and options ----------------------------------------------------------------------------


def _snapshot(context: click.Context, _argument: click.Parameter, typed: str) -> None:
    """Split `DATABASE/VERSION`, as `list` shows it; the database may be named."""
    context.obj.note_typed_id(typed)
    database, slash, version = typed.partition("/")
    try:
        split_id(f"{_as_id(database)}{slash}{version}")
    except ValueError:
        advice = (
            "`status DATABASE` names the snapshot to go back to, and `list DATABASE` "
            "shows all snapshots"
        )
        if context.command.name != "restore":
            advice = f"`{database}/{checks.LATEST}` is the newest, {advice}"
        words = context.obj.arguments
        after = words[words.index(typed) + 1 :] if typed in words else []
        following = after[0] if after else ""
        is_version = SAFE.fullmatch(following) and not following.startswith("-")
        if is_version and not slash:
            context.obj.note_typed_id(following)
            advice = f"type `{typed}/{following}`, with a slash and without a space"
        raise click.BadParameter(
            f"a snapshot is DATABASE/VERSION, not {typed!r}: {advice}."
        ) from None
    if is_provisional(typed):
        raise click.BadParameter(
            "that snapshot is pending: `create DATABASE` keeps waiting for it."
        )
    context.params |= {"database_id": database, "version_id": version}


def _monitor(
    context: click.Context, _option: click.Parameter, typed: str | None
) -> None:
    """Note the URL of the monitor that hears how the command goes. No error repeats it."""
    url = typed or context.obj.environment.get(NOTIFY)
    problem = problem_of_monitor(url) if url else None
    if problem:
        raise click.BadParameter(f"{problem}.")
    context.obj.notifies = url


ALSO_SPELLED = {
    "max_archive_age": ("--archive-within",),
    "max_drill_age": ("--drill-within",),
}
"""Other spellings of options, by the names of their inputs."""


def flag_option(name: str, text: str, *names: str) -> Decorator:
    """Return an option without a value.

    Args:
        name: the option.
        text: its help.
        *names: its other spellings, and the parameter's name if that is another one.

    Returns:
        The option.
    """
    return click.option(name, *names, is_flag=True, help=text)


def archives_option(text: str) -> Decorator:
    """Return the option for the places of archives.

    Args:
        text: its help.

    Returns:
        The option.
    """
    return click.option("--archives", type=PLACE, multiple=True, help=text)


def options_of(inputs: type[Inputs], *names: str) -> Iterator[Decorator]:
    """Make options for inputs, with the help that their declarations give.

    Args:
        inputs: the declarations.
        *names: the inputs.

    Yields:
        Each option.
    """
    for name in names:
        each = inputs.properties()[name]
        kind: Any = DURATION_TYPE if each.type == Duration else None
        if each.choices:
            kind = click.Choice(each.choices.meanings)
        spellings = [f"--{name.replace('_', '-')}", *ALSO_SPELLED.get(name, ())]
        yield click.option(*spellings, name, type=kind, help=each.doc.replace("`", ""))


def timeout_option(inputs: type[Inputs]) -> Decorator:
    """Return the option `--timeout`.

    Args:
        inputs: the declarations of the command's inputs.
    """
    usual = inputs.properties()["timeout"].default_text
    return click.option(
        "--timeout",
        type=DURATION_TYPE,
        help=f"How long to wait for the result; {usual} by default.",
    )


json_option = flag_option("--json", "Print JSON, for programs.")
quiet_option = flag_option(
    "--quiet", "Print ids or paths alone, and no progress.", "-q"
)
databases_argument = click.argument(
    "databases", metavar="[DATABASE]...", nargs=-1, type=DATABASE
)
notify_option = click.option(
    "--notify",
    metavar="URL",
    callback=_monitor,
    expose_value=False,
    help=(
        "Report start and end to this URL, as healthchecks and ntfy expect, or a failure to a "
        "webhook of Discord or Slack. It is a secret: "
        f"better in {NOTIFY}."
    ),
)
again_option = flag_option(
    "--new", "Restore again, even if an earlier restore is unfinished."
)
urls_option = flag_option(
    "--urls", "With --json: also URLs, which open the data to anyone."
)
snapshot_argument = click.argument(
    "snapshot",
    metavar="DATABASE/VERSION",
    callback=_snapshot,
    expose_value=False,
    shell_complete=snapshot_ids,
)
database_argument = click.argument("database_id", metavar="DATABASE", type=DATABASE)
destination_argument = click.argument("destination", type=PLACE)


# Checks -------------------------------------------------------------------------------------------


def checked(invocation: Invocation, inputs: type[T], typed: Mapping[str, Any]) -> T:
    """Return the checked inputs that were typed.

    A database's name, and the newest snapshot, are still to be looked up.

    Args:
        invocation: the command.
        inputs: the declarations.
        typed: the arguments as they were typed.

    Raises:
        click.ClickException: an argument is wrong.
    """
    values = {
        name: _as_id(given) if given and name.endswith("database_id") else given
        for name, given in typed.items()
    }
    if typed.get("version_id") == checks.LATEST:
        values["version_id"] = "newest"
    for problem in inputs.problems(values):
        name = invocation.wording.spell(problem.property) if problem.property else ""
        text = f"{name} {invocation.wording.text(problem.with_value())}.".lstrip()
        invocation.wrong(text, helps="not installed" not in text)
    return inputs.of(values)


def secret_of(invocation: Invocation, option: str, name: str) -> str:
    """Return the secret in the environment variable that an option names.

    Args:
        invocation: The command, whose environment holds the variable.
        option: The option as it is typed, for the error.
        name: The variable's name as it was typed. It can be the secret itself, so no text shows an
            unusual name.

    Raises:
        click.UsageError: The variable is not set.
    """
    secret = invocation.environment.get(name, "")
    if not secret:
        shown = shown_variable(name)
        invocation.wrong(
            f"{option} must name a variable that holds the secret: {shown} is not set."
        )
    return secret
