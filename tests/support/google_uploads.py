"""Writing in Google's XML way for fake-gcs-server, which can only read in it: a proxy before it, in this process.

It keeps the parts of an upload, lists unfinished ones, and writes the whole object at once when one is completed, as Google
documents it, and honours `x-goog-if-generation-match`.
"""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.support.unreliable import Forwarder, served

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Handler(Forwarder):
    uploads: dict[str, dict[int, bytes]]
    keys: dict[str, str]
    numbers: itertools.count[int]

    def handle_any(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else b""
        path, query = self.path.partition("?")[::2]
        given = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        upload = given.get("uploadId", "")
        if self.command == "GET" and "uploads" in given:
            self._list(unquote(path).strip("/"), given.get("prefix", ""))
        elif upload and upload not in self.uploads:
            self.answer(404, {}, b"<Error><Code>NoSuchUpload</Code></Error>")
        elif self.command == "POST" and "uploads" in given:
            if self.forwarded("GET", path.rpartition("/")[0])[0] != 200:
                self.answer(404, {}, b"<Error><Code>NoSuchBucket</Code><Message>It does not exist</Message></Error>")
                return
            upload = f"upload-{next(self.numbers)}"
            self.uploads[upload], self.keys[upload] = {}, unquote(path).lstrip("/")
            text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            self.answer(200, {}, text.encode())
        elif self.command == "PUT" and upload:
            self.uploads[upload][int(given["partNumber"])] = body
            self.answer(200, {"ETag": f'"{given["partNumber"]}"'}, b"")
        elif self.command == "DELETE" and upload:
            del self.uploads[upload]
            self.answer(204, {}, b"")
        elif self.command == "POST" and upload:
            parts = self.uploads.pop(upload)
            whole = b"".join(parts[number] for number in sorted(parts))
            text = "<CompleteMultipartUploadResult><ETag>&quot;whole&quot;</ETag></CompleteMultipartUploadResult>"
            self._write(path, whole, text.encode())
        elif self.command == "PUT":
            self._write(path, body)
        else:
            self.answer(*self.forwarded(self.command, self.path, body))

    def _write(self, path: str, content: bytes, body: bytes = b"") -> None:
        """Write an object, if the condition of the request is true, and answer with this body."""
        bucket, _, key = path.lstrip("/").partition("/")
        condition = self.headers.get("x-goog-if-generation-match")
        wanted = f"&ifGenerationMatch={condition}" if condition else ""
        address = f"http://{self.host}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={key}{wanted}"
        sent = urllib.request.Request(address, content, {"Content-Type": "application/zip"})
        try:
            with urllib.request.urlopen(sent, timeout=30) as response:  # noqa: S310
                made = json.loads(response.read())
        except urllib.error.HTTPError as error:
            self.answer(error.code, {}, error.read())
            return
        self.answer(200, {"ETag": f'"{made["etag"]}"', "x-goog-generation": str(made["generation"])}, body)

    def _list(self, bucket: str, prefix: str) -> None:
        """Answer with the unfinished uploads of a bucket."""
        found = [(upload, key) for upload, key in self.keys.items() if key.startswith(f"{bucket}/{prefix}")]
        each = "<Upload><Key>{}</Key><UploadId>{}</UploadId><Initiated>{:%Y-%m-%dT%H:%M:%SZ}</Initiated></Upload>"
        now = datetime.now(UTC)
        text = "".join(
            each.format(escape(key.removeprefix(f"{bucket}/")), upload, now)
            for upload, key in found
            if upload in self.uploads
        )
        name = "ListMultipartUploadsResult"
        self.answer(200, {}, f'<{name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{text}</{name}>'.encode())


@contextmanager
def with_uploads(target: str) -> Iterator[str]:
    """The address of a proxy before the server at this address."""
    facts = {"host": urlsplit(target).netloc, "uploads": {}, "keys": {}, "numbers": itertools.count()}
    with served(_Handler, **facts) as address:
        yield address
