"""The command `explain`."""

import re

import click

from pulumi_snapshots.cli.pages import last_error, page_names, page_text, pages_about, summary
from pulumi_snapshots.cli.terminal.arguments import command
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
    click.option("--last", is_flag=True, help="Show and explain the last error of this machine."),
    has_result=False,
)
async def explain(invocation: Invocation, /, name: str | None, *, last: bool) -> bool:
    """Explain an error, or list all errors.

    Says what happened, what was done, and what to do. ERROR is a name such as `key-refused`, or a code or status of the
    service such as KEEP_CALM or 429.
    """
    if last:
        if (found := last_error(invocation.environment)) is None:
            invocation.say("this machine remembers no error")
            return True
        text, at = found
        named = re.search(rf"{EXPLAIN} ([\w-]+)", text)
        more = f"\n{markdown(page_text(named[1]) or '', invocation.out)}" if named else ""
        invocation.show(f"{zoned(at, invocation.zone)}\n{text}\n{more}")
        return False
    page, about = name and page_text(name), pages_about(name) if name else page_names()
    if page or len(about) == 1:
        invocation.show(markdown(page or page_text(about[0]) or "", invocation.out))
    elif about:
        invocation.show(grid([(each, summary(each)) for each in about], invocation.out))
        invocation.say(f"hint: `{EXPLAIN} {about[0]}` shows the first of them.")
    else:
        invocation.wrong(f"no error has the name {name}. `{EXPLAIN}` lists them.")
    return False
