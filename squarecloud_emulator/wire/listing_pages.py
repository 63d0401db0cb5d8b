"""What the pages of a listing look like."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from squarecloud_emulator.wire.answers import timestamp
from squarecloud_emulator.wire.url_signing import signed_query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from squarecloud_emulator.service.resources import StoredSnapshot
    from squarecloud_emulator.service.settings import EmulatorSettings


def object_path(snapshot: StoredSnapshot, account_id: str) -> str:
    """A snapshot's path on the snapshot host, which a signature covers."""
    return f"/databases/{account_id}/{snapshot.name}.zip"


def entry(snapshot: StoredSnapshot, settings: EmulatorSettings, snapshots_url: str, now: datetime) -> dict[str, Any]:
    """A snapshot as a listing shows it."""
    path = object_path(snapshot, settings.account_id)
    query = signed_query(path, now + timedelta(days=settings.url_valid_days), snapshot.version_id)
    shown: dict[str, Any] = {
        "name": snapshot.name,
        "size": snapshot.size,
        "modified": timestamp(snapshot.modified),
        "key": query,
    }
    if not settings.old_style_entries:
        shown["version_id"] = snapshot.version_id
        shown["url"] = f"{snapshots_url}{path}?{query}"
        shown["runtime"] = snapshot.runtime
        shown["origin"] = snapshot.origin
    return shown


def page_of(
    snapshots: Iterable[StoredSnapshot], settings: EmulatorSettings, snapshots_url: str, now: datetime
) -> bytes:
    """The page of a listing, newest snapshot first."""
    listed = sorted((one for one in snapshots if one.listed), key=lambda one: one.modified, reverse=True)
    entries = [entry(one, settings, snapshots_url, now) for one in listed]
    return json.dumps({"status": "success", "response": entries}, separators=(",", ":")).encode()
