"""Uploads that killed runs have left in an S3 bucket: invisible, and paid for. The library for buckets cannot list them."""

from __future__ import annotations

import hashlib
import hmac
import re
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

PATIENCE = 20.0
"""Seconds for one request."""
CERTAINLY_DEAD = timedelta(days=7)
"""An upload this old belongs to no run: no time-out is longer."""
OURS = re.compile(r"\d{8}T\d{6}Z-[^/]+\.zip(\.age)?")
"""How objects are named in a folder."""
_NOTHING = hashlib.sha256().hexdigest()


@dataclass(frozen=True)
class Upload:
    """An unfinished one."""

    key: str
    id: str


@dataclass(frozen=True)
class Uploads:
    """The unfinished uploads of one object, and dead ones of its folder.

    Attributes:
        key: the object's.
        address: of the bucket.
        region: of the bucket.
        keys: gives the access keys.
    """

    key: str
    address: str
    region: str
    keys: Callable[[], Mapping[str, Any]]

    def left(self) -> list[Upload]:
        """Those of killed runs: of the same name, or so old under a name that an archive of this database gives.

        Raises:
            OSError: the store refused, or was not reached.
            ValueError: its answer cannot be read.
        """
        folder = self.key.rpartition("/")[0]
        answer = self._send("GET", "", {"uploads": "", "prefix": f"{folder}/" if folder else self.key})
        try:
            every = [each for each in ET.fromstring(answer) if each.tag.endswith("Upload")]  # noqa: S314  the store's own
        except ET.ParseError as error:
            raise ValueError(f"no list of uploads: {error}") from None
        found = []
        for each in every:
            facts = {part.tag.rpartition("}")[2]: part.text or "" for part in each}
            if facts["Key"] == self.key or self._is_dead(facts["Key"], facts["Initiated"]):
                found.append(Upload(facts["Key"], facts["UploadId"]))
        return found

    def end(self, upload: Upload) -> None:
        """End one; raises OSError if the store refuses."""
        self._send("DELETE", upload.key, {"uploadId": upload.id})

    def _is_dead(self, key: str, initiated: str) -> bool:
        name = key.removeprefix(self.key.rpartition("/")[0] + "/")
        return bool(OURS.fullmatch(name)) and _now() - datetime.fromisoformat(initiated) > CERTAINLY_DEAD

    def _send(self, method: str, key: str, query: Mapping[str, str]) -> bytes:
        keys, address = self.keys(), urlsplit(self.address)
        stamp = f"{_now():%Y%m%dT%H%M%SZ}"
        headers = {"host": address.netloc, "x-amz-content-sha256": _NOTHING, "x-amz-date": stamp}
        if keys.get("token"):
            headers["x-amz-security-token"] = keys["token"]
        path = quote(f"{address.path}/{key}".rstrip("/") or "/", safe="/-_.~")
        asked = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = f"{method}\n{path}\n{asked}\n{lines}\n{names}\n{_NOTHING}"
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
        key_bytes = f"AWS4{keys['secret_access_key']}".encode()
        for part in scope.split("/"):
            key_bytes = hmac.digest(key_bytes, part.encode(), "sha256")
        signature = hmac.digest(key_bytes, text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={keys['access_key_id']}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        url = f"{address.scheme}://{address.netloc}{path}?{asked}"
        sent = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310  the store's own address
        with urllib.request.urlopen(sent, timeout=PATIENCE) as response:  # noqa: S310
            content: bytes = response.read()
        return content


def _now() -> datetime:
    """The machine's own clock, as stores want it in a signature: a worker thread has no event loop to ask for the time."""
    return datetime.now(UTC)
