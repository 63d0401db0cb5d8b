"""Turns an entry of a listing, or a bare 200, into a record: pinned URL, expiry, times."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from pulumi_snapshots.api.models import version_in
from pulumi_snapshots.api.signed_url import expiry_of
from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from pulumi_snapshots.properties.checks import RETENTION
from pulumi_snapshots.snapshot.record import SnapshotRecord

if TYPE_CHECKING:
    from pulumi_snapshots.api.models import Finished, ListedSnapshot
    from pulumi_snapshots.run.session import Session

__all__ = ["describe", "describe_unlisted", "is_pinned", "requested_text", "with_creation"]


def is_pinned(url: str | None, version_id: str) -> bool:
    """Whether this URL serves exactly this version, whatever is newest."""
    return version_in(url) == version_id


def requested_text(posted: datetime) -> str:
    """When a POST was sent, in whole seconds: `Date` tells the service's clock no closer."""
    return rfc3339(posted.replace(microsecond=0))


def with_creation(record: SnapshotRecord, created: datetime | None) -> SnapshotRecord:
    """The record with its time of creation and the end of its 30 days."""
    if created is None:
        return record
    return replace(record, created_at=rfc3339(created), expires_at=rfc3339(created + timedelta(seconds=RETENTION)))


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
        session: asks for the account's id where an old entry carries no URL.
        database_id: whose it is.
        entry: from the listing.
        base_url: the URL of a 200 on the same database, if there was one.
        requested: when its POST was sent, by the service's clock.

    Raises:
        SquareCloudError: the account's id was needed and not to be had.
    """
    version_id = entry.version
    url = entry.url
    if version_id is not None and not is_pinned(url, version_id) and entry.key:
        # An old entry: the signature is in `key`, only the address before it is missing.
        address = (url or base_url or "").partition("?")[0]
        if not address:
            account_id = await session.account_id()
            address = f"{session.settings.snapshots_url}/databases/{quote(account_id, safe='')}/{quote(entry.name, safe='')}.zip"
        url = f"{address}?{entry.key.removeprefix('?')}"
    expiry = expiry_of(url or "")
    record = SnapshotRecord(
        database_id=database_id,
        version_id=version_id,
        name=entry.name,
        download_url=url,
        download_url_expires_at=rfc3339(expiry) if expiry else None,
        size=entry.size,
        requested_at=requested_text(requested) if requested else None,
        origin=entry.origin,
        runtime=entry.runtime,
    )
    record = with_creation(record, entry.modified or requested)
    ended = record.expires_at is not None and session.client.service_clock.now() >= parse_rfc3339(record.expires_at)
    return replace(record, available=not ended)


def describe_unlisted(database_id: str, version_id: str, finished: Finished, requested: datetime) -> SnapshotRecord:
    """The record of a snapshot that a 200 named and no listing shows yet; its URL serves the newest version."""
    expiry = expiry_of(finished.url or "")
    record = SnapshotRecord(
        database_id=database_id,
        version_id=version_id,
        download_url=finished.url,
        download_url_expires_at=rfc3339(expiry) if expiry else None,
        requested_at=requested_text(requested),
        available=True,
    )
    return with_creation(record, requested)
