"""Uploads that killed runs have left in a bucket of S3 or Google: invisible, and paid for. The library cannot list them."""

from __future__ import annotations

import hashlib
import hmac
import re
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

PATIENCE = 20.0
"""Seconds for one request."""
CERTAINLY_DEAD = timedelta(days=7)
"""An upload this old belongs to no run: no time-out is longer."""
Authorize = Callable[[str, str, str, str], Mapping[str, str]]
"""The headers of a request, from its method, host, path and query."""
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
        authorize: makes the headers that prove who asks; raises OSError if it cannot.
    """

    key: str
    address: str
    authorize: Authorize

    def left(self) -> list[Upload]:
        """Those of killed runs: of the same name, or so old under a name that an archive of this database gives.

        Raises:
            OSError: the store refused, or was not reached.
            ValueError: its answer cannot be read.
        """
        folder = self.key.rpartition("/")[0]
        answer = self._send("GET", "", {"uploads": "", "prefix": f"{folder}/" if folder else self.key})
        found = []
        try:
            for each in ET.fromstring(answer):  # noqa: S314  the store's own
                facts = {part.tag.rpartition("}")[2]: part.text or "" for part in each}
                if each.tag.endswith("Upload") and self._is_ours(facts["Key"], facts["Initiated"]):
                    found.append(Upload(facts["Key"], facts["UploadId"]))
        except (ET.ParseError, LookupError, TypeError) as error:
            raise ValueError(f"no list of uploads: {error}") from None
        return found

    def end(self, upload: Upload) -> None:
        """End one; raises OSError if the store refuses."""
        self._send("DELETE", upload.key, {"uploadId": upload.id})

    def _is_ours(self, key: str, initiated: str) -> bool:
        if key == self.key:
            return True
        name = key.removeprefix(self.key.rpartition("/")[0] + "/")
        return bool(OURS.fullmatch(name)) and _now() - datetime.fromisoformat(initiated) > CERTAINLY_DEAD

    def _send(self, method: str, key: str, query: Mapping[str, str]) -> bytes:
        address = urlsplit(self.address)
        path = quote(f"{address.path}/{key}".rstrip("/") or "/", safe="/-_.~")
        asked = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
        headers = dict(self.authorize(method, address.netloc, path, asked))
        url = f"{address.scheme}://{address.netloc}{path}?{asked}"
        sent = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310  the store's own address
        try:
            with urllib.request.urlopen(sent, timeout=PATIENCE) as response:  # noqa: S310
                content: bytes = response.read()
        except HTTPError as error:
            error.close()
            raise
        except HTTPException as error:  # an answer that breaks off is none of OSError
            raise OSError(f"the store's answer broke off ({error})") from error
        return content


def signed(region: str, keys: Callable[[], Mapping[str, Any]]) -> Authorize:
    """For S3: signature version 4 with the access keys that `keys` gives."""

    def authorize(method: str, host: str, path: str, query: str) -> Mapping[str, str]:
        key, stamp = keys(), f"{_now():%Y%m%dT%H%M%SZ}"
        headers = {"host": host, "x-amz-content-sha256": _NOTHING, "x-amz-date": stamp}
        if key.get("token"):
            headers["x-amz-security-token"] = key["token"]
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{_NOTHING}"
        scope = f"{stamp[:8]}/{region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
        key_bytes = f"AWS4{key['secret_access_key']}".encode()
        for part in scope.split("/"):
            key_bytes = hmac.digest(key_bytes, part.encode(), "sha256")
        signature = hmac.digest(key_bytes, text.encode(), "sha256").hex()
        proof = f"Credential={key['access_key_id']}/{scope}, SignedHeaders={names}, Signature={signature}"
        return {**headers, "authorization": f"AWS4-HMAC-SHA256 {proof}"}

    return authorize


def bearing(keys: Callable[[], Mapping[str, Any]]) -> Authorize:
    """For Google: the token that `keys` gives."""
    return lambda *_: {"authorization": f"Bearer {keys()['token']}"}


def _now() -> datetime:
    """The machine's own clock, as stores want it in a signature: a worker thread has no event loop to ask for the time."""
    return datetime.now(UTC)
