"""What `restore --dry-run` says: what would be restored onto what. It changes nothing."""

from contextlib import suppress

from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import named, size_text
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.listing.listings import entry_of
from pulumi_snapshots.listing.quota import daily_quota, slots_left, widest_listing
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.restore.record import RestoreInputs
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.snapshot.read import get, newest
from pulumi_snapshots.snapshot.record import SnapshotRecord


async def show_dry_run(
    invocation: Invocation, session: Session, inputs: RestoreInputs
) -> None:
    """Say what a restore would do, without a request that changes anything.

    Args:
        invocation: The command.
        session: The session of the process.
        inputs: The restore, with whole ids.

    Raises:
        ProviderError: If the snapshot or the database cannot be looked up, so that a restore would
            fail as well.
    """
    with invocation.working_on_question(session):
        snapshot = await get(session, inputs.snapshot, unlisted=True)
        recent = session.listings.recent
        database = await session.listings.database(
            inputs.target, recent, patience=BRIEF
        )
        quota_left = await _quota_left(session, inputs.target)
        last = await _newest(session, inputs.target)
    fields = {
        "snapshot": inputs.snapshot,
        "created_at": snapshot.created_at,
        "size": snapshot.size,
        "runtime": snapshot.runtime,
        "target_database_id": inputs.target,
        "target_name": database.name,
        "target_type": database.type,
        "newest_of_target": last.id if last else None,
        "newest_of_target_created_at": last.created_at if last else None,
        "keep_current": inputs.keep_current,
        "quota_left": quota_left,
    }
    loses = f"everything that it holds; its newest snapshot: {_taken(invocation, session, last)}"
    kept = "in a new snapshot, first" if inputs.keep_current else "not kept (--no-keep)"
    facts = {
        "would restore": inputs.snapshot,
        "taken": _taken(invocation, session, snapshot),
        "size": size_text(snapshot.size),
        "onto": named(database, inputs.target),
        "overwrites": loses,
        "kept": kept,
        "quota left": "not known" if quota_left is None else f"{quota_left} snapshots",
    }
    invocation.result(fields, facts, inputs.snapshot)
    invocation.note("Nothing was sent that changes anything.")


def _taken(
    invocation: Invocation, session: Session, snapshot: SnapshotRecord | None
) -> str:
    """Say when a snapshot was taken, and how long ago that is."""
    if snapshot is None:
        return "none"
    if snapshot.created_at is None:
        return f"{snapshot.id}, at an unknown time"
    age = session.service_clock.now() - parse_rfc3339(snapshot.created_at)
    return (
        f"{invocation.moment(snapshot.created_at)}, {spoken(age.total_seconds())} ago"
    )


async def _newest(session: Session, database_id: str) -> SnapshotRecord | None:
    """Find the newest snapshot of all that each page or run knows, since one page can be old."""
    listings = session.listings
    await listings.page(database_id, listings.recent, patience=BRIEF)
    entries = [entry_of(each) for each in await listings.found_lately(database_id)]
    for page in listings.known_pages(database_id, listings.recent):
        entries += page.entries
    return await newest(session, database_id, entries)


async def _quota_left(session: Session, database_id: str) -> int | None:
    """How many snapshots the day's quota has left, as far as a listing shows; None if unknown."""
    listings = session.listings
    recent = listings.recent
    with suppress(SquareCloudError):
        memory = (await listings.account(recent, patience=BRIEF)).plan_memory or 0
        listing = await widest_listing(listings, database_id, recent, patience=BRIEF)
        if memory:
            return await slots_left(listings, listing, daily_quota(memory))
    return None
