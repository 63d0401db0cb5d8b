"""The command `explain`: the pages about errors."""

from __future__ import annotations

from difflib import get_close_matches

import click

from pulumi_snapshots.errors.pages import page_names, page_text


@click.command()
@click.argument(
    "name",
    metavar="ERROR",
    required=False,
    shell_complete=lambda _context, _parameter, begin: [each for each in page_names() if each.startswith(begin)],
)
@click.pass_context
def explain(context: click.Context, name: str | None) -> None:
    """Explain ERROR; without it, list the errors.

    Shows what happened, what was done, and what to do. `KeyRefused` and `key-refused` are the same.
    """
    if name is None:
        click.echo("\n".join(page_names()))
        return
    page = page_text(name)
    if page is None:
        close = get_close_matches(name.lower(), page_names(), 1)
        meant = f": did you mean {close[0]}?" if close else "."
        context.fail(f"no error has the name {name}{meant} `{context.command_path}` lists them.")
    click.echo(page)
