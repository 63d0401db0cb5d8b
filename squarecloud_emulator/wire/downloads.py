"""The emulated snapshot host, assumed to be an S3-compatible store.

Signed downloads, whole or in ranges.
"""

from __future__ import annotations

import hmac
import re
from datetime import UTC
from email.utils import format_datetime
from typing import TYPE_CHECKING

from squarecloud_emulator.wire.answers import Answer, StreamedAnswer, xml_refusal
from squarecloud_emulator.wire.listing_pages import ACCESS_KEY_ID, sign

if TYPE_CHECKING:
    from squarecloud_emulator.service.resources import StoredSnapshot
    from squarecloud_emulator.wire.exchange import Exchange

_RANGE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))")


async def download(exchange: Exchange) -> Answer:
    """Serve the version in the URL, or the newest one if the URL has none."""
    refused = _refusal_of_signature(exchange)
    if refused is not None:
        return refused
    account = exchange.service.account
    version_id = exchange.request.query_params.get("versionId")
    name = exchange.entry.path.rsplit("/", 1)[-1].removesuffix(".zip")
    stored = (
        account.newest_version(name)
        if version_id is None
        else account.version(version_id)
    )
    if stored is None:
        return xml_refusal(
            404,
            "NoSuchKey" if version_id is None else "NoSuchVersion",
            "It does not exist.",
        )
    exchange.entry.version_id = stored.version_id
    exchange.entry.database_id = stored.database_id
    return _content(exchange, stored)


def _refusal_of_signature(exchange: Exchange) -> Answer | None:
    request = exchange.request
    if "authorization" in request.headers:
        return xml_refusal(400, "InvalidArgument", "Only one auth mechanism allowed.")
    query = request.query_params
    if (
        not {"AWSAccessKeyId", "Expires", "Signature"} <= query.keys()
        or not query["Expires"].isdecimal()
    ):
        return xml_refusal(403, "AccessDenied", "Access Denied.")
    expires = int(query["Expires"])
    resource = exchange.entry.path.removeprefix("/files")
    signature = sign(resource, expires, query.get("versionId"))
    # The signature covers the method, so a HEAD with the signature of a GET does not match.
    if (
        request.method != "GET"
        or query["AWSAccessKeyId"] != ACCESS_KEY_ID
        or not hmac.compare_digest(signature.encode(), query["Signature"].encode())
    ):
        return xml_refusal(
            403, "SignatureDoesNotMatch", "The signature does not match."
        )
    if exchange.now.timestamp() > expires:
        return xml_refusal(403, "AccessDenied", "Request has expired.")
    return None


def _content(exchange: Exchange, stored: StoredSnapshot) -> Answer:
    sent = exchange.request.headers
    tag = f'"{stored.version_id}"'
    headers = {
        "accept-ranges": "bytes",
        "etag": tag,
        "last-modified": format_datetime(stored.modified.astimezone(UTC), usegmt=True),
    }
    if exchange.service.settings.version_header:
        headers["x-amz-version-id"] = stored.version_id
    if sent.get("if-match", tag) != tag:
        return xml_refusal(412, "PreconditionFailed", "It is another version.")
    start = 0
    stop = stored.size
    status = 200
    # If the client has begun with another version, the answer is the whole file.
    asked = (
        _RANGE.fullmatch(sent.get("range", ""))
        if sent.get("if-range", tag) == tag
        else None
    )
    if asked is not None:
        first, last, tail = asked.groups()
        if tail is not None:
            start = max(0, stored.size - int(tail))
        else:
            start = int(first)
            stop = min(stored.size, int(last) + 1) if last else stored.size
        if start >= stop:
            headers["content-range"] = f"bytes */{stored.size}"
            return xml_refusal(
                416, "InvalidRange", "The range is not satisfiable.", headers
            )
        headers["content-range"] = f"bytes {start}-{stop - 1}/{stored.size}"
        status = 206
    pieces = exchange.service.account.store.read(stored.version_id, start, stop)
    return StreamedAnswer(
        status,
        pieces,
        stop - start,
        media_type="application/zip",
        headers=headers,
    )
