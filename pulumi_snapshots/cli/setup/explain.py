"""The command `explain`."""

import re
from collections.abc import Sequence

import click

from pulumi_snapshots.cli.pages import (
    last_error,
    names_by_heading,
    page_names,
    page_text,
    pages_about,
    summary,
)
from pulumi_snapshots.cli.terminal.arguments import command, flag_option
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import grid, markdown, zoned
from pulumi_snapshots.errors.pages import EXPLAIN


@command(
    click.argument(
        "name",
        metavar="[ERROR]",
        required=False,
        shell_complete=lambda _context, _parameter, begin: [
            each for each in page_names() if each.startswith(begin)
        ],
    ),
    flag_option("--last", "Show and explain the last error of this machine."),
    has_result=False,
)
async def explain(invocation: Invocation, name: str | None, *, last: bool) -> None:
    """Explain an error, or list all errors.

    Says what happened, what was done, and what to do. ERROR is a name such as `key-refused`, or a
    code or status of the service such as KEEP_CALM or 429.
    """
    if last:
        _explain_last(invocation)
    elif name is None:
        _list_all(invocation)
    else:
        _explain(invocation, name)


def _explain(invocation: Invocation, name: str) -> None:
    """Show the page of an error, or list the errors that a code or a status can mean."""
    related = pages_about(name)
    page = page_text(name)
    if page is None and len(related) == 1:
        page = page_text(related[0])
    if page is not None:
        invocation.show(markdown(page, invocation.out))
    elif related:
        _list(invocation, related)
    else:
        invocation.wrong(f"no error has the name {name}. `{EXPLAIN}` lists all errors.")


def _list(invocation: Invocation, names: Sequence[str]) -> None:
    """List errors with their causes."""
    invocation.show(grid([(each, summary(each)) for each in names], invocation.out))
    invocation.say(f"hint: `{EXPLAIN} {names[0]}` shows the first of them.")


def _list_all(invocation: Invocation) -> None:
    """List all errors under the headings of their pages."""
    for heading, names in names_by_heading().items():
        rows = grid([(f"  {each}", summary(each)) for each in names], invocation.out)
        title = grid([(f"{heading[:1].upper()}{heading[1:]}",)], invocation.out)
        invocation.show(f"{title}{rows}\n")
    invocation.say(f"hint: `{EXPLAIN} key-refused` shows one of them.")


def _explain_last(invocation: Invocation) -> None:
    """Show and explain this machine's last error; without one the command has failed."""
    last = last_error(invocation.environment)
    if last is None:
        invocation.say("no error of this machine is recorded")
        invocation.has_failed = True
        return
    text, at = last
    shown = f"{zoned(at, invocation.zone)}\n{text}\n"
    name = re.search(rf"{EXPLAIN} ([\w-]+)", text)
    page = page_text(name[1]) if name else None
    if page is not None:
        shown += f"\n{markdown(page, invocation.out)}"
    invocation.show(shown)
