"""Completion of ids by the shell: from the pages that earlier commands kept, and at most one request for a newer one.

It never waits long, and whatever goes wrong it offers what it has and prints nothing: an error would stand in the middle of
the command that is being typed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import tzinfo
from io import StringIO

import anyio
import click
from click.shell_completion import CompletionItem

from pulumi_snapshots.archive.source import bytes_text
from pulumi_snapshots.cli.terminal.output import printable, zoned
from pulumi_snapshots.lookup.account import OfEach, keep_databases, keep_listing
from pulumi_snapshots.service.client import ONCE
from pulumi_snapshots.service.models import AccountDatabase, ListedSnapshot
from pulumi_snapshots.snapshot.read import LATEST

PATIENCE = 1.5
"""Seconds that a press of the tab key waits for the service at most."""
YOUNG = 300.0
"""Seconds for which a kept page is offered without a request for a newer one."""
SAFE = re.compile(r"[A-Za-z0-9+/=_.-]+")
"""Ids that a shell takes as they are; the service has no others."""

Pages = tuple[Sequence[AccountDatabase], OfEach]
"""The account's databases, and the snapshots of each."""


def database_ids(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Databases whose id begins with what is typed, and names that do."""
    databases, of_each = _pages(context, "databases", keep_databases)
    known = {each.id: ", ".join(filter(None, (each.name, each.type))) for each in databases}
    ids = [(each, about) for each, about in {**dict.fromkeys(of_each, ""), **known}.items()]
    # All names beside all ids would show everything twice.
    return _fitting(typed, [*ids, *((each.name or "", each.id) for each in databases if typed)])


def snapshot_ids(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Snapshots whose id, with that of the database, begins with what is typed; newest first."""
    _, of_each = _pages(context, "snapshots", keep_listing)
    has_latest, found = context.command.name != "restore", []  # which needs a version id
    fitting = {each: entries for each, entries in of_each.items() if f"{each}/".startswith(typed[: len(each) + 1])}
    for database_id, entries in fitting.items():
        newest = sorted(entries.items(), key=lambda one: str(one[1].modified or ""), reverse=True)
        if has_latest:
            found.append((f"{database_id}/{LATEST}", "the newest one"))
        # The snapshots of all databases would be hundreds: those of one are shown once it is typed.
        for version, entry in newest if len(fitting) == 1 else newest[: not has_latest]:
            found.append((f"{database_id}/{version}", _about(entry, context.obj.zone)))
    return _fitting(typed, found)


def _fitting(typed: str, offered: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    fitting = (each for each in offered if each[0].startswith(typed) and SAFE.fullmatch(each[0]))
    return [CompletionItem(value, help=printable(about)) for value, about in fitting]


def _pages(context: click.Context, what: str, request: Callable[..., Awaitable[None]]) -> Pages:
    """The kept pages, after a request for a newer one if that is due and quick."""
    seen: list[Pages] = [((), {})]

    async def find() -> None:
        context.obj.err = StringIO()  # its warnings are for people who read them
        async with context.obj.session() as session:
            pages, now = session.kept_pages, session.clock.utc()

            def see() -> None:
                kept = pages.read()
                seen.append((kept.databases, kept.snapshots))

            see()
            if not 0 <= pages.read().age(what, now) < YOUNG and pages.may_request(what, now, YOUNG):
                await request(session, patience=ONCE)
                see()

    def work() -> None:
        with suppress(BaseException):
            anyio.run(find)

    # In a thread of its own, since the system's search for an address can hang, and cannot be cancelled.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    with suppress(KeyboardInterrupt):
        thread.join(PATIENCE)
    return seen[-1]


def _about(entry: ListedSnapshot, zone: tzinfo | None) -> str:
    taken = None if entry.modified is None else zoned(entry.modified, zone)
    size = None if entry.size is None else bytes_text(entry.size)
    return ", ".join(filter(None, (taken, entry.origin, size)))
