"""Completion of ids by the shell: from the pages that earlier commands kept, and at most one request for a newer one.

It never waits long, and whatever goes wrong it offers what it has and prints nothing: an error would stand in the middle of
the command that is being typed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
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

Offer = Callable[[Sequence[AccountDatabase], OfEach], Iterator[CompletionItem]]


def database_ids(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Databases whose id begins with what is typed, and names that do."""

    def offer(databases: Sequence[AccountDatabase], of_each: OfEach) -> Iterator[CompletionItem]:
        known = {each.id: ", ".join(filter(None, (each.name, each.type))) for each in databases}
        for database_id, about in {**dict.fromkeys(of_each, ""), **known}.items():
            yield CompletionItem(database_id, help=printable(about))
        for each in databases if typed else ():  # all names beside all ids would show everything twice
            yield CompletionItem(each.name or "", help=each.id)

    return _offered(context, typed, offer, "databases", keep_databases)


def snapshot_ids(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Snapshots whose id, with that of the database, begins with what is typed; newest first."""
    has_latest = context.command.name != "restore"  # which needs a version id

    def offer(_: Sequence[AccountDatabase], of_each: OfEach) -> Iterator[CompletionItem]:
        fitting = {each: entries for each, entries in of_each.items() if f"{each}/".startswith(typed[: len(each) + 1])}
        for database_id, entries in fitting.items():
            newest = sorted(entries.items(), key=lambda one: str(one[1].modified or ""), reverse=True)
            if has_latest:
                yield CompletionItem(f"{database_id}/{LATEST}", help="the newest one")
            # The snapshots of all databases would be hundreds: those of one are shown once it is typed.
            for version, entry in newest if len(fitting) == 1 else newest[: not has_latest]:
                yield CompletionItem(f"{database_id}/{version}", help=printable(_about(entry, context.obj.zone)))

    return _offered(context, typed, offer, "snapshots", keep_listing)


def _offered(
    context: click.Context, typed: str, offer: Offer, what: str, request: Callable[..., Awaitable[None]]
) -> list[CompletionItem]:
    offered: list[CompletionItem] = []

    async def find() -> None:
        context.obj.err = StringIO()  # its warnings are for people who read them
        async with context.obj.session() as session:
            pages, now = session.kept_pages, session.clock.utc()

            def show() -> None:
                kept = pages.read()
                every = offer(kept.databases, kept.snapshots)
                offered[:] = [each for each in every if each.value.startswith(typed) and SAFE.fullmatch(each.value)]

            show()
            if not 0 <= pages.read().age(what, now) < YOUNG and pages.may_request(what, now, YOUNG):
                await request(session, patience=ONCE)
                show()

    def work() -> None:
        with suppress(BaseException):
            anyio.run(find)

    # In a thread of its own, since the system's search for an address can hang, and cannot be cancelled.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    with suppress(KeyboardInterrupt):
        thread.join(PATIENCE)
    return list(offered)


def _about(entry: ListedSnapshot, zone: tzinfo | None) -> str:
    taken = None if entry.modified is None else zoned(entry.modified, zone, "%Y-%m-%d %H:%M:%S")
    size = None if entry.size is None else bytes_text(entry.size)
    return ", ".join(filter(None, (taken, entry.origin, size)))
