"""Object stores on this machine for tests: S3 twice, Google's and Azure's, each a real server on a free port of loopback.

    with serving("az") as store:
        store.make_bucket("backups")
        with patch.dict(os.environ, store.environment): ...

`python -m tests.support.object_stores` makes those that have to be made, which else happens at their first use: they
are kept in the user's cache, as the engine is. A machine that cannot have one raises Closed, whose text says why.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.support.unreliable import Forwarder, served
from tools import engine
from tools.engine import Closed
from tools.servers import started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FAKE_GCS = "1.56.1"
"""Earlier ones ignore conditions of a write."""
VERSITY = "1.7.0"
"""The last one that asks for no later library of Amazon's than the engine, whose is compiled already."""
AZURITE = "3.37.0"
ACCOUNT, KEY = "tests", base64.b64encode(b"it opens nothing").decode()
NEVER_LOADED = ("applicationinsights", "mysql2", "tedious")
"""What Azurite asks for and does without: telemetry, which is off, and two databases. With what they ask for in turn they make up
seven of every eight files, and loading the first would take longer than the rest of a start."""
MOTO = """
import signal
import sys
from moto.server import ThreadedMotoServer
ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False).start()
signal.pause()
"""


@dataclass(frozen=True)
class ObjectStore:
    """One that runs.

    Attributes:
        name: of its kind, as in `STORES`.
        url: its address, without a path.
    """

    name: str
    url: str

    @property
    def scheme(self) -> str:
        """`s3`, `gs` or `az`."""
        return STORES[self.name].scheme

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to reach it, and nothing that would reach another one."""
        return self.reached_at(self.url)

    def reached_at(self, url: str) -> dict[str, str]:
        """The environment for a program that reaches it through another address, such as a proxy's."""
        if self.scheme == "gs":
            return {"GOOGLE_BASE_URL": url, "GOOGLE_BEARER_TOKEN": "none"}
        if self.scheme == "az":
            parts = {"AccountName": ACCOUNT, "AccountKey": KEY, "BlobEndpoint": f"{url}/{ACCOUNT}"}
            return {"AZURE_STORAGE_CONNECTION_STRING": ";".join(f"{name}={value}" for name, value in parts.items())}
        return {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests-tests",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def make_bucket(self, name: str) -> None:
        """Make a bucket, or a container of Azure's."""
        if self.scheme == "gs":
            body = json.dumps({"name": name}).encode()
            headers = {"Content-Type": "application/json"}
            self._send("POST", f"{self.url}/storage/v1/b?project=tests", headers, body)
        elif self.scheme == "az":
            path = f"/{ACCOUNT}/{name}"
            headers = {
                "x-ms-date": f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S GMT}",
                "x-ms-version": "2023-11-03",
            }
            lines = [f"{each}:{value}" for each, value in headers.items()]
            text = "\n".join(["PUT", *[""] * 11, *lines, f"/{ACCOUNT}{path}", "restype:container"])
            signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), "sha256")).decode()
            headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
            self._send("PUT", f"{self.url}{path}?restype=container", headers, b"")
        else:
            self.s3().create_bucket(Bucket=name)

    def s3(self) -> Any:
        """A client of boto3, for what only S3 has."""
        return _s3_client(self.url)

    @staticmethod
    def _send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
        request = urllib.request.Request(url, body or None, dict(headers), method=method)  # noqa: S310  this machine's
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310


@cache
def _s3_client(url: str) -> Any:
    import boto3  # noqa: PLC0415  takes a second, and few tests need it

    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id="tests",
        aws_secret_access_key="tests-tests",
        region_name="us-east-1",
    )


@dataclass(frozen=True)
class Kind:
    """A kind of server: how a URI calls it, and its command for a port and an empty folder."""

    scheme: str
    command: Callable[[int, Path], list[str | Path]]
    environment: Mapping[str, str]


def compiled(packages: dict[str, str], module: str, version: str) -> Path:
    """The folder of a Go module's programs.

    Args:
        packages: of each program, by its name; the first names the folder.
        module: that they are in.
        version: of the module.

    Raises:
        Closed: this machine cannot have them.
    """
    first = next(iter(packages))

    def make(into: Path, environment: engine.Environment) -> None:
        # With what the engine is made of in its versions, which Go's cache has compiled already: that halves the longest build.
        requires = f"require {module} v{version}\n{engine.MODULES}"
        work = engine.module(into / "work" / first, requires, engine.needing(packages[first]))
        go = engine.new_enough(work, environment)
        say(f"building {first} {version}: up to two minutes, once")
        for name, package in packages.items():
            engine.build(go, work, package, into / name, version, environment)
        engine.remove(into / "work")

    return engine.kept(os.environ, f"{first}-{version}", make)


def say(text: str) -> None:
    """Tell who runs the tests."""
    print(f"programs for tests: {text}", file=sys.stderr, flush=True)  # noqa: T201


def _versity(port: int, folder: Path) -> list[str | Path]:
    module = "github.com/versity/versitygw"
    program = compiled({"versitygw": f"{module}/cmd/versitygw"}, module, VERSITY) / "versitygw"
    (folder / "data").mkdir(exist_ok=True)
    keys = ("--access", "tests", "--secret", "tests-tests", "--region", "us-east-1")
    return [program, *keys, "--port", f"127.0.0.1:{port}", "--quiet", "posix", folder / "data"]


def _fake_gcs(port: int, _folder: Path) -> list[str | Path]:
    module = "github.com/fsouza/fake-gcs-server"
    program = compiled({"fake-gcs-server": module}, module, FAKE_GCS) / "fake-gcs-server"
    here = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", f"http://127.0.0.1:{port}")
    return [program, *here, "-public-host", f"127.0.0.1:{port}", "-backend", "memory", "-log-level", "error"]


def _azurite(port: int, room: Path) -> list[str | Path]:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise Closed("no node and npm on PATH, which Azurite needs")

    def fetch(into: Path, environment: engine.Environment) -> None:
        nothing = into.resolve() / "nothing"
        nothing.mkdir()
        (nothing / "package.json").write_text(json.dumps({"name": "nothing", "version": "1.0.0"}))
        (nothing / "index.js").touch()
        wanted = {
            "private": True,
            "dependencies": {"azurite": AZURITE},
            # npm makes a relative link of it. A relative path would not do: npm before 11 resolves it from Azurite's folder.
            "overrides": dict.fromkeys(NEVER_LOADED, f"file:{nothing}"),
        }
        (into / "package.json").write_text(json.dumps(wanted))
        say(f"fetching Azurite {AZURITE}: less than a minute, once")
        options = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
        engine.run(["npm", "install", *options], into, environment)

    script = "node_modules/azurite/dist/src/blob/main.js"
    made_from = hashlib.sha256("\0".join((AZURITE, *NEVER_LOADED)).encode()).hexdigest()[:12]
    home = engine.kept(os.environ, f"azurite-{made_from}", fetch)
    quiet = ("--silent", "--disableTelemetry", "--skipApiVersionCheck")
    return [node, home / script, "--blobPort", str(port), *quiet, "--location", room]


class _GoogleUploads(Forwarder):
    """Writing in Google's XML way for fake-gcs-server, which can only read in it: a proxy before it, in this process.

    It keeps the parts of an upload, lists unfinished ones, and writes the whole object at once when one is completed, as Google
    documents it, and honours `x-goog-if-generation-match`.
    """

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
def _with_uploads(target: str) -> Iterator[str]:
    """The address of a proxy before the server at this address."""
    facts = {"host": urlsplit(target).netloc, "uploads": {}, "keys": {}, "numbers": itertools.count()}
    with served(_GoogleUploads, **facts) as address:
        yield address


STORES = {
    "moto": Kind("s3", lambda port, _: [sys.executable, "-c", MOTO, str(port)], {}),
    "s3": Kind("s3", _versity, {}),
    "gs": Kind("gs", _fake_gcs, {}),
    "az": Kind("az", _azurite, {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}),
}
"""By name. `moto` is made in Python and at hand wherever the tests run; `s3` is another S3 server, which checks signatures."""


@contextmanager
def serving(name: str) -> Iterator[ObjectStore]:
    """Start a server with nothing in it; it is gone at the end, with all that it kept.

    Raises:
        Closed: this machine cannot have it.
    """
    kind = STORES[name]
    ends_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
        place = Path(folder)

        def command(port: int) -> list[str]:
            return [*ends_with_us, *map(str, kind.command(port, place))]

        with started(command, place, {**os.environ, **kind.environment}) as port:
            address = f"http://127.0.0.1:{port}"
            with _with_uploads(address) if kind.scheme == "gs" else nullcontext(address) as url:
                yield ObjectStore(name, url)


def main() -> None:
    for name in ("az", "gs", "s3"):  # npm's first, since Go may be busy
        with tempfile.TemporaryDirectory() as folder:
            try:
                STORES[name].command(0, Path(folder))
            except Closed as reason:
                say(f"tests with {name} will be skipped: {reason}")


if __name__ == "__main__":
    main()
