"""Signed URLs of the snapshot host: AWS signature version 2 in the query string, as the service's URLs have it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["ACCESS_KEY_ID", "sign", "signed_query"]

ACCESS_KEY_ID = "accesskey"
_SECRET = b"it signs the URLs of an emulator and opens nothing else"  # fixed: URLs outlive a restart


def sign(resource: str, expires: int, version_id: str | None) -> str:
    """The signature of a GET of `resource`; the version is part of what it covers, so none can be added by hand."""
    canonical = resource if version_id is None else f"{resource}?versionId={version_id}"
    text = f"GET\n\n\n{expires}\n{canonical}"
    return base64.b64encode(hmac.new(_SECRET, text.encode(), hashlib.sha1).digest()).decode()


def signed_query(resource: str, expires: datetime, version_id: str | None = None) -> str:
    """The query of a signed URL, which is also the `key` of a listing's entry."""
    seconds = int(expires.timestamp())
    signature = quote(sign(resource, seconds, version_id), safe="")
    query = f"AWSAccessKeyId={ACCESS_KEY_ID}&Expires={seconds}&Signature={signature}"
    return query if version_id is None else f"{query}&versionId={quote(version_id, safe='')}"
