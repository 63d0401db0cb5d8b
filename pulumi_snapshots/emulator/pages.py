"""The cached pages of the listings, and how an entry of a listing looks; what is listed is the account's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.emulator.signing import signed_query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulumi_snapshots.emulator.resources import StoredSnapshot
    from pulumi_snapshots.emulator.settings import Settings

__all__ = ["Pages", "entry", "object_path", "page_of", "rfc3339"]

ACCOUNT = "the account"


@dataclass
class _Page:
    body: bytes
    fetched_at: datetime


class Pages:
    """What the service remembers of its listings, by resource id, and by scope for the whole account."""

    def __init__(self) -> None:
        self._pages: dict[tuple[str, str], _Page] = {}

    def cached(self, owner: str, variant: str, now: datetime, cache_seconds: float) -> bytes | None:
        """The page, unless it is too old."""
        page = self._pages.get((owner, variant))
        if page is None or now - page.fetched_at >= timedelta(seconds=cache_seconds):
            return None
        return page.body

    def keep(self, owner: str, variant: str, body: bytes, now: datetime) -> None:
        """Remember a page that was just made."""
        self._pages[owner, variant] = _Page(body, now)

    def drop(self, owner: str | None = None) -> None:
        """Forget one owner's pages, or all."""
        self._pages = {} if owner is None else {key: page for key, page in self._pages.items() if key[0] != owner}


def rfc3339(moment: datetime) -> str:
    """As the service writes times: UTC with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def object_path(snapshot: StoredSnapshot, account_id: str) -> str:
    """The storage object of a snapshot: its path on the snapshot host, which the signature covers."""
    return f"/{snapshot.family}/{account_id}/{snapshot.name}.zip"


def entry(snapshot: StoredSnapshot, settings: Settings, snapshots_url: str, now: datetime) -> dict[str, Any]:
    """One snapshot as a listing shows it."""
    path = object_path(snapshot, settings.account_id)
    query = signed_query(path, now + timedelta(days=settings.url_valid_days), snapshot.version_id)
    shown: dict[str, Any] = {
        "name": snapshot.name,
        "size": snapshot.size,
        "modified": rfc3339(snapshot.modified),
        "key": query,
    }
    if not settings.old_style_entries:
        shown["version_id"] = snapshot.version_id
        shown["url"] = f"{snapshots_url}{path}?{query}"
        shown["runtime"] = snapshot.runtime
        shown["origin"] = snapshot.origin
    return shown


def page_of(snapshots: Iterable[StoredSnapshot], settings: Settings, snapshots_url: str, now: datetime) -> bytes:
    """A listing's page, newest first."""
    listed = sorted((one for one in snapshots if one.listed), key=lambda one: one.modified, reverse=True)
    entries = [entry(one, settings, snapshots_url, now) for one in listed]
    return json.dumps({"status": "success", "response": entries}, separators=(",", ":")).encode()
