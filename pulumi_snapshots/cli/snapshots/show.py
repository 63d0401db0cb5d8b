"""The commands `databases`, `list`, `show` and `url`: what the service has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.cli.terminal.arguments import (
    DATABASE,
    DURATION,
    checked,
    command,
    snapshot_argument,
    urls_option,
)
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import (
    age_text,
    moment,
    size_text,
    snapshot_facts,
    snapshot_fields,
)
from pulumi_snapshots.lookup.account import FRESH, Page, overview, snapshots_of_account
from pulumi_snapshots.lookup.find import OfEach, find_snapshots
from pulumi_snapshots.lookup.results import ORIGINS, DatabaseInfo, SnapshotInfo, SnapshotQuery
from pulumi_snapshots.snapshot.describe import is_pinned
from pulumi_snapshots.snapshot.read import get
from pulumi_snapshots.snapshot.record import SnapshotRecord

DATABASES = ("DATABASE", "NAME", "ENGINE", "RUNNING", "NEWEST SNAPSHOT", "AGE")
SNAPSHOTS = ("SNAPSHOT", "CREATED", "SIZE", "ORIGIN", "ENGINE")
RUNNING = {True: "yes", False: "no", None: "?"}


@command(short_help="List the databases and their newest snapshots.")
async def databases(invocation: Invocation, /) -> int:
    """List the databases of the account, whether each runs, and its newest snapshot.

    Sends three requests, however many databases there are.
    """
    async with invocation.asking() as session:
        found = await overview(session, tell=invocation.progress)
    for why in found.unknown:
        invocation.warn(invocation.wording.told(why))
    _note_age(invocation, found.page)
    rows, fields = [], []
    for each in found.seen:
        about, newest = each.database, each.newest
        version = "?" if found.page is None else newest.version_id if newest else "none"
        rows.append((about.id, about.name, about.type, RUNNING[each.running], version, age_text(each.age)))
        described = {name: getattr(about, name, each.running) for name in DatabaseInfo.properties()}
        ages = {"newest_age": each.age, "listing_age": found.page and found.page.age}
        fields.append({**described, "newest_snapshot": newest and snapshot_fields(newest, urls=False), **ages})
    invocation.listed(fields, DATABASES, rows, "no databases")
    return DONE


@command(
    click.argument("database_id", metavar="[DATABASE]", required=False, type=DATABASE),
    click.option("--origin", type=click.Choice(ORIGINS), help="Only snapshots of this origin."),
    click.option("--newer-than", type=DURATION, help="Only snapshots younger than this, as 90s, 12h or 7d."),
    click.option("--older-than", type=DURATION, help="Only snapshots older than this."),
    urls_option,
    name="list",
    short_help="List the snapshots, newest first.",
)
async def list_(invocation: Invocation, /, *, urls: bool, **typed: Any) -> int:
    """List the snapshots of DATABASE, or of the whole account, newest first.

    DATABASE is an id, its beginning, or a name.
    """
    query = replace(checked(invocation, SnapshotQuery, typed), with_url=urls)
    async with invocation.asking() as session:
        of_each: OfEach
        page, since = None, session.clock.monotonic()
        if typed["database_id"] is not None:
            one = await invocation.database(session, typed["database_id"])
            query, listings = replace(query, database_id=one), session.complete_listings
            of_each = {one: await listings.of_database(one, since, origin=query.origin, unlisted=True)}
        else:  # a program gets no earlier page, since a list has no room for its age
            page = await snapshots_of_account(
                session, origin=query.origin, may_be_kept=not invocation.as_json, tell=invocation.progress
            )
            of_each = page.of_each
        found = await find_snapshots(session, query, since, of_each)
    _note_age(invocation, page)
    _note_unlisted(invocation, found)
    rows = []
    for each in found:
        size = size_text(each.size) if each.available else "expired"
        rows.append((each.id, moment(each.created_at, invocation.zone), size, each.origin, each.runtime))
    invocation.listed([snapshot_fields(each, urls=urls) for each in found], SNAPSHOTS, rows, "no snapshots")
    return DONE


@command(snapshot_argument, urls_option, short_help="Show one snapshot.")
async def show(invocation: Invocation, /, *, urls: bool, **typed: Any) -> int:
    """Show a snapshot: its times, size, engine and origin. DATABASE/latest is the newest."""
    record = await _looked_up(invocation, typed)
    invocation.result(snapshot_fields(record, urls=urls), snapshot_facts(record, invocation.zone), record.id)
    return DONE


@command(snapshot_argument, short_help="Print the URL that downloads a snapshot.")
async def url(invocation: Invocation, /, **typed: Any) -> int:
    """Print the URL that downloads this snapshot and no other. Anyone with the URL can read the data until it expires."""
    record = await _looked_up(invocation, typed)
    if record.download_url is None or not is_pinned(record.download_url, record.version_id or ""):
        invocation.fail(
            f"the service lists no URL of its own for {record.id}.\nhint: `{NAME} download {record.id} --output FILE` gets it."
        )
        return FAILED
    fields = {"download_url": record.download_url, "download_url_expires_at": record.download_url_expires_at}
    invocation.result(fields, f"{record.download_url}\n", record.download_url)
    if record.download_url_expires_at:
        invocation.note(f"It expires at {moment(record.download_url_expires_at, invocation.zone)}.")
    return DONE


async def _looked_up(invocation: Invocation, typed: dict[str, Any]) -> SnapshotRecord:
    async with invocation.asking() as session:
        whole = "/".join(await invocation.snapshot(session, **typed))
        record = await get(session, whole, unlisted=True)
    _note_unlisted(invocation, [record])
    return record


def _note_age(invocation: Invocation, page: Page | None) -> None:
    """Say if a page is an earlier command's."""
    if page is not None and page.kept:
        rest = age_text(FRESH - page.age)
        invocation.note(f"as listed {age_text(page.age)} ago: the account's listing can be requested again in {rest}")


def _note_unlisted(invocation: Invocation, shown: Sequence[SnapshotInfo | SnapshotRecord]) -> None:
    """Say which snapshots are shown as runs have noted them, since the service's page is too old to list them."""
    if unlisted := [each.id for each in shown if each.name is None and each.size is None]:
        more = f" and {len(unlisted) - 1} more" if len(unlisted) > 1 else ""
        invocation.warn(f"the service's page is old and lacks {unlisted[0]}{more}: shown as runs have noted it.")
