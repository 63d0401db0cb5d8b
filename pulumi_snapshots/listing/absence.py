"""Whether a page of a listing proves that a request started no snapshot."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pulumi_snapshots.listing.match import may_be_ours

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pulumi_snapshots.listing.listings import Page
    from pulumi_snapshots.listing.match import Search

ALMOST_OVER = timedelta(days=1)
"""A version with less than this left of its 30 days may be missing from a listing that shows everything."""


def proves_failure(page: Page, search: Search, due: Mapping[str, datetime]) -> bool:
    """Whether the snapshot of a request would be on this page if it had been started.

    Not if the page may be cut, old or strange: it has entries that cannot be read, lacks a version that a state has, or shows
    an entry that may be ours after all.

    Args:
        page: of the database.
        search: the request's.
        due: the versions that states have, each with the end of its 30 days.
    """
    asked_at = page.listing.service_time
    if not page.complete or asked_at < search.over:
        return False
    lacks = any(page.version(version) is None and asked_at + ALMOST_OVER < end for version, end in due.items())
    return not lacks and not may_be_ours(page.entries, search)
