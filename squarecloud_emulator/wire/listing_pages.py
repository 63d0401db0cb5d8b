"""What the pages of a listing look like, and their signed URLs.

AWS signature version 2, as in the service's own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from squarecloud_emulator.wire.answers import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from squarecloud_emulator.service.resources import StoredSnapshot
    from squarecloud_emulator.service.settings import EmulatorSettings

ACCESS_KEY_ID = "accesskey"
# fixed, so that URLs outlive a restart
_SECRET = b"it signs the URLs of an emulator and opens nothing else"


def sign(resource: str, expires: int, version_id: str | None) -> str:
    """The signature of a GET of `resource`.

    It covers the version, so a client cannot add one to a URL.
    """
    canonical = resource if version_id is None else f"{resource}?versionId={version_id}"
    text = f"GET\n\n\n{expires}\n{canonical}"
    return base64.b64encode(
        hmac.new(_SECRET, text.encode(), hashlib.sha1).digest()
    ).decode()


def signed_query(
    resource: str,
    expires: datetime,
    version_id: str | None = None,
) -> str:
    """The query of a signed URL, which is also the `key` of an entry in a listing."""
    seconds = int(expires.timestamp())
    signature = quote(sign(resource, seconds, version_id), safe="")
    query = f"AWSAccessKeyId={ACCESS_KEY_ID}&Expires={seconds}&Signature={signature}"
    return (
        query
        if version_id is None
        else f"{query}&versionId={quote(version_id, safe='')}"
    )


def object_path(snapshot: StoredSnapshot, account_id: str) -> str:
    """A snapshot's path on the snapshot host, which a signature covers."""
    return f"/databases/{account_id}/{snapshot.name}.zip"


def entry(
    snapshot: StoredSnapshot,
    settings: EmulatorSettings,
    snapshots_url: str,
    now: datetime,
) -> dict[str, Any]:
    """A snapshot as a listing shows it."""
    path = object_path(snapshot, settings.account_id)
    query = signed_query(
        path,
        now + timedelta(days=settings.url_valid_days),
        snapshot.version_id,
    )
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
    snapshots: Iterable[StoredSnapshot],
    settings: EmulatorSettings,
    snapshots_url: str,
    now: datetime,
) -> bytes:
    """The page of a listing, newest snapshot first."""
    listed = sorted(
        (one for one in snapshots if one.listed),
        key=lambda one: one.modified,
        reverse=True,
    )
    entries = [entry(one, settings, snapshots_url, now) for one in listed]
    return json.dumps(
        {"status": "success", "response": entries}, separators=(",", ":")
    ).encode()
