"""The signatures in the snapshot host's URLs: AWS signature version 2, as in the service's own."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from datetime import datetime

ACCESS_KEY_ID = "accesskey"
_SECRET = b"it signs the URLs of an emulator and opens nothing else"  # fixed, so that URLs outlive a restart


def sign(resource: str, expires: int, version_id: str | None) -> str:
    """The signature of a GET of `resource`. It covers the version, so a client cannot add one to a URL."""
    canonical = resource if version_id is None else f"{resource}?versionId={version_id}"
    text = f"GET\n\n\n{expires}\n{canonical}"
    return base64.b64encode(hmac.new(_SECRET, text.encode(), hashlib.sha1).digest()).decode()


def signed_query(resource: str, expires: datetime, version_id: str | None = None) -> str:
    """The query of a signed URL, which is also the `key` of an entry in a listing."""
    seconds = int(expires.timestamp())
    signature = quote(sign(resource, seconds, version_id), safe="")
    query = f"AWSAccessKeyId={ACCESS_KEY_ID}&Expires={seconds}&Signature={signature}"
    return query if version_id is None else f"{query}&versionId={quote(version_id, safe='')}"
