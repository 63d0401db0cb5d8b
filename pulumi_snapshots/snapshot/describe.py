"""Turns an entry of a listing into a record, whose URL may have to be assembled first, and says which snapshot that is."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.models import ListedSnapshot, version_of_url_or_key
from pulumi_snapshots.snapshot.record import SnapshotRecord


def is_pinned(url: str | None, version_id: str) -> bool:
    """Whether this URL serves exactly this version, whatever is newest."""
    return version_of_url_or_key(url) == version_id


def taken_text(record: SnapshotRecord, now: datetime) -> str:
    """Which snapshot it is, and its age at this time of the service: `DATABASE_ID/VERSION_ID, taken 12 min ago`."""
    if record.created_at is None:
        return record.id
    return f"{record.id}, taken {spoken((now - parse_rfc3339(record.created_at)).total_seconds())} ago"


def found_text(record: SnapshotRecord, now: datetime) -> str:
    """What a run says that has found the snapshot of an earlier run's request."""
    return f"found {taken_text(record, now)}; no new request was sent"


async def describe(
    session: Session,
    database_id: str,
    entry: ListedSnapshot,
    *,
    base_url: str | None = None,
    requested: datetime | None = None,
) -> SnapshotRecord:
    """The record of a listed snapshot.

    Args:
        session: the service.
        database_id: the snapshot's database.
        entry: its entry in the listing.
        base_url: a URL of a snapshot of the same database, for old entries that have none.
        requested: when its POST was sent, by the service's clock.

    Raises:
        SquareCloudError: an old entry without any URL needs the account's id, and the service did not give it.
    """
    version_id, url = entry.version, entry.url
    if version_id is not None and not is_pinned(url, version_id) and entry.key:
        # An old entry: the signature is in `key`, only the address before it is missing.
        address = (url or base_url or "").partition("?")[0]
        if not address:
            account_id = (await session.listings.account(since=-math.inf)).id  # one request for all callers
            address = f"{session.settings.snapshots_url}/databases/{quote(account_id, safe='')}/{quote(entry.name, safe='')}.zip"
        url = f"{address}?{entry.key.removeprefix('?')}"
    record = SnapshotRecord.of(database_id, version_id, url, entry, requested=requested)
    return replace(record, available=not record.expired(session.client.service_clock.now()))
