"""Read: what a refresh learns about a snapshot. Never drops one, and never fails while one is pending."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.api.client import BRIEF, ONCE
from pulumi_snapshots.api.errors import KeyRefused, NotAllowed, SquareCloudError
from pulumi_snapshots.api.signed_url import expiry_of
from pulumi_snapshots.attempt.journal import Found
from pulumi_snapshots.attempt.memory import UnresolvedPost
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import NoSuchSnapshot, NothingSent, not_listed
from pulumi_snapshots.errors.text import Text
from pulumi_snapshots.listing.complete import newest_first
from pulumi_snapshots.listing.listings import SERVICE_CACHE
from pulumi_snapshots.listing.match import LATE, AmbiguousSnapshot, Search, find_ours, late_text
from pulumi_snapshots.snapshot.describe import describe, is_pinned
from pulumi_snapshots.snapshot.record import SnapshotRecord, is_provisional, split_id
from pulumi_snapshots.stopping import REFRESH_PATIENCE

if TYPE_CHECKING:
    from pulumi_snapshots.api.models import ListedSnapshot
    from pulumi_snapshots.attempt.post import Post
    from pulumi_snapshots.listing.listings import Page
    from pulumi_snapshots.progress import Listener
    from pulumi_snapshots.run.session import Session

__all__ = ["LATEST", "get", "read"]

LATEST = "latest"
"""In place of a version id, which is never shorter than 24 characters."""
PENDING_PATIENCE = 9.0
"""Seconds; the reads of pending resources hold up the whole run, so all of them together end within 10 s."""
URL_RENEWAL = timedelta(days=7)
"""A stored URL with more than this left is kept, so that dependants do not change at every refresh."""

LISTED_BY = timedelta(seconds=SERVICE_CACHE) + LATE
"""After its creation: `modified` may be a snapshot's start, and the page may be from just before its end."""


async def read(
    session: Session, record: SnapshotRecord, listener: Listener, *, owner: str | None = None
) -> SnapshotRecord:
    """What the service says now of a snapshot in the state.

    Args:
        session: the service.
        record: as the state keeps it.
        listener: hears warnings.
        owner: the resource's URN; None if unknown.

    Returns:
        The record, renewed; as it was where nothing could be learnt. A pending one may come back complete.

    Raises:
        KeyRefused: the key is refused, so no resource can be read; never for a pending one.
        NotAllowed: it lacks a scope or permission; never for a pending one.
    """
    record.note_in(session.memory, owner)
    if record.attempt is not None and record.pending:
        if record.attempt.missing_since is not None:
            # Proven failed: whatever is listed since is another one's.
            return record
        return await _read_pending(session, record, UnresolvedPost(owner, record.attempt), listener)
    with session.until(REFRESH_PATIENCE):
        try:
            return await _read_listed(session, record, listener)
        except NotAllowed as error:
            if error.code != "RESOURCE_NOT_ALLOWED":
                raise
            return _unread(record, listener, error)
        except KeyRefused:
            raise
        except SquareCloudError as error:
            return _unread(record, listener, error)
    return _unread(record, listener, f"{_cut(session)}.")


async def get(session: Session, resource_id: str) -> SnapshotRecord:
    """Look up an existing snapshot by its id.

    Args:
        session: the service.
        resource_id: `DATABASE_ID/VERSION_ID`, or `DATABASE_ID/latest` for the newest one, whoever took it.

    Raises:
        NoSuchSnapshot: the id is malformed or provisional, or the service does not list it.
        CannotTell: which one is the newest is not certain.
        NothingSent: interrupted, or no answer within 2 minutes.
        SquareCloudError: it could not be asked.
    """
    if is_provisional(resource_id):
        raise NoSuchSnapshot(
            f"{resource_id} is the provisional id of a pending snapshot", then=[Next(Step.USE_OUTPUTS)]
        )
    try:
        database_id, version_id = split_id(resource_id)
    except ValueError as error:
        raise NoSuchSnapshot(str(error)) from None
    with session.until(REFRESH_PATIENCE):
        if version_id == LATEST:
            return await _latest(session, database_id)
        entry = await session.listings.find_version(database_id, version_id)
        if entry is None:
            raise NoSuchSnapshot(not_listed(database_id, version_id))
        return await describe(session, database_id, entry)
    raise NothingSent(f"Snapshot {resource_id} was not looked up: {_cut(session)}")


async def _latest(session: Session, database_id: str) -> SnapshotRecord:
    """The newest snapshot of a database that is available, as `get_latest_snapshot` finds it."""
    entries = await session.complete_listings.of_database(database_id, session.listings.recent)
    for entry in newest_first(entries.values()):
        record = await describe(session, database_id, entry)
        if record.available:
            return record
    raise NoSuchSnapshot(f"The service lists no snapshot of database {database_id}.")


def _cut(session: Session) -> str:
    return "it was interrupted" if session.stopping else "the service did not answer in time"


async def _read_listed(session: Session, record: SnapshotRecord, listener: Listener) -> SnapshotRecord:
    version_id = record.version_id or ""
    page = await session.listings.read_page(record.database_id, session.listings.recent, patience=BRIEF)
    entry = page.version(version_id)
    if entry is None and not page.complete:
        page = await session.listings.own_page(record.database_id, session.listings.recent, patience=BRIEF)
        entry = page.version(version_id)
    if entry is None:
        return _missing(session, record, page, listener)
    renewed = await _renewed(session, record, entry)
    if not renewed.available:
        ended = f"snapshot {record.id} is past its 30 days at the service, which ended {renewed.expires_at}."
        listener.warn(Text("{ended} {then}", ended=ended, then=Next(Step.TAKE_NEW)))
    return renewed


async def _renewed(session: Session, record: SnapshotRecord, entry: ListedSnapshot) -> SnapshotRecord:
    """The record with what its entry says now; the URL only where the stored one is not good enough."""
    version_id = record.version_id or ""
    fresh = await describe(session, record.database_id, entry, base_url=record.download_url)
    renewed = replace(fresh, requested_at=record.requested_at)
    if renewed.created_at is None and record.created_at is not None:
        renewed = renewed.created(parse_rfc3339(record.created_at))
    expiry = expiry_of(record.download_url or "")
    if (
        is_pinned(record.download_url, version_id)
        and expiry
        and expiry > session.client.service_clock.now() + URL_RENEWAL
    ):
        renewed = replace(
            renewed, download_url=record.download_url, download_url_expires_at=record.download_url_expires_at
        )
    return renewed


def _missing(session: Session, record: SnapshotRecord, page: Page, listener: Listener) -> SnapshotRecord:
    """The listing does not show it. The service has no delete, so that is never a reason to take another one."""
    if not page.complete:
        return _unread(record, listener, "the listing holds entries that cannot be read, so it proves nothing.")
    now = session.client.service_clock.now()
    created = parse_rfc3339(record.created_at) if record.created_at else None
    if created is not None and now - created < LISTED_BY:
        listener.progress("not listed yet: the service may serve a listing that is 30 minutes old")
        return record
    ended = record.expires_at is not None and now >= parse_rfc3339(record.expires_at)
    why = (
        f"is past its 30 days at the service, which ended {record.expires_at}."
        if ended
        else "is not in the service's listing (another account's key? a database that was deleted and made again?)."
    )
    missing = f"snapshot {record.id} {why} It stays in the state as not available."
    listener.warn(Text("{missing} {then}", missing=missing, then=Next(Step.TAKE_NEW)))
    return replace(record, available=False)


def _unread(record: SnapshotRecord, listener: Listener, why: str | Explained) -> SnapshotRecord:
    told = (why, *why.then) if isinstance(why, Explained) else why
    listener.warn(Text("snapshot {id} was not refreshed and stays as it was: {why}", id=record.id, why=told))
    return record


async def _read_pending(
    session: Session, record: SnapshotRecord, known: UnresolvedPost, listener: Listener
) -> SnapshotRecord:
    """One look for all; whatever it meets, the snapshot is found, proven failed, or still pending."""
    database_id, post, memory = record.database_id, known.post, session.memory.of(record.database_id)
    with session.until(session.left_for_reads(PENDING_PATIENCE)):
        try:
            page = await session.listings.read_page(database_id, session.listings.recent, patience=ONCE)
            search = Search.of(post, session.client.service_clock.offset, excluded=memory.not_new)
            entry = find_ours(page.entries, search)
            if entry is None and not page.complete and _should_be_there(session, post):
                # Only the database's own listing can prove that it failed.
                page = await session.listings.own_page(database_id, session.listings.recent, patience=ONCE)
                entry = find_ours(page.entries, search)
            if entry is not None:
                complete = await describe(session, database_id, entry, requested=search.posted)
                memory.claimed.add(complete.version_id or "")
                await _resolve(
                    session, database_id, known, Found(database_id, complete.version_id or "", session.clock.utc())
                )
                if search.is_late(entry):
                    listener.warn(late_text(database_id, entry, search))
                return complete
        except (SquareCloudError, AmbiguousSnapshot):
            # The wait that follows meets the same and says so, with the current configuration.
            return record
        asked_at = page.listing.service_time
        if page.complete and asked_at >= search.posted + post.failed_after:
            await _resolve(session, database_id, known)
            return replace(record, attempt=replace(post, missing_since=asked_at))
    return record


def _should_be_there(session: Session, post: Post) -> bool:
    """Whether a listing without it, of now, proves that it failed."""
    return session.clock.utc() - post.posted_at >= post.failed_after


async def _resolve(session: Session, database_id: str, known: UnresolvedPost, found: Found | None = None) -> None:
    """Nobody needs to wait for it any more."""
    session.memory.of(database_id).resolve(known)
    with anyio.CancelScope(shield=True):  # what is claimed has to come back as found
        await session.journals["snapshot"].erase_post(known.owner, database_id, known.post, found)
