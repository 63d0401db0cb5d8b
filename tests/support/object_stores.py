"""Object stores on this machine for tests: S3 twice, Google's and Azure's, each a server on a free port of loopback.

`python -m tests.support.object_stores` makes Azure's, which else happens at its first use. What is made is kept in the
user's cache, as the engine is. A machine that cannot have one raises Closed, whose text says why.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import os
import shutil
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tests.support.unreliable import Forwarder, served
from tools import engine
from tools.engine import Closed
from tools.lock import AZURITE, LOCKS, install_npm
from tools.servers import started

VERSITY = "1.7.0"
ACCOUNT = "tests"
KEY = base64.b64encode(b"it opens nothing").decode()
MOTO = """
import signal
import sys
from moto.server import ThreadedMotoServer
ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False).start()
signal.pause()
"""


@dataclass(frozen=True)
class ObjectStore:
    name: str  # as in `COMMANDS`, or "gs"
    url: str  # its address, without a path

    @property
    def scheme(self) -> str:
        return "s3" if self.name == "versity" else self.name

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to reach it, and nothing that would reach another one."""
        return self.reached_at(self.url)

    def reached_at(self, url: str) -> dict[str, str]:
        """The environment for a program that reaches it through another address, such as a proxy's."""
        if self.scheme == "gs":
            return {"GOOGLE_BASE_URL": url, "GOOGLE_BEARER_TOKEN": "none"}
        if self.scheme == "az":
            parts = {
                "AccountName": ACCOUNT,
                "AccountKey": KEY,
                "BlobEndpoint": f"{url}/{ACCOUNT}",
            }
            return {
                "AZURE_STORAGE_CONNECTION_STRING": ";".join(
                    f"{name}={value}" for name, value in parts.items()
                )
            }
        return {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests-tests",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def make_bucket(self, name: str) -> None:
        if self.scheme == "az":
            path = f"/{ACCOUNT}/{name}"
            headers = {
                "x-ms-date": f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S GMT}",
                "x-ms-version": "2023-11-03",
            }
            lines = [f"{each}:{value}" for each, value in headers.items()]
            text = "\n".join(
                ["PUT", *[""] * 11, *lines, f"/{ACCOUNT}{path}", "restype:container"]
            )
            signature = base64.b64encode(
                hmac.digest(base64.b64decode(KEY), text.encode(), "sha256")
            ).decode()
            headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
            url = f"{self.url}{path}?restype=container"
            request = urllib.request.Request(url, headers=headers, method="PUT")  # noqa: S310
            urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
        else:
            self.s3().create_bucket(Bucket=name)

    def s3(self) -> Any:
        """A client of boto3, for what only S3 has."""
        return _s3_client(self.url)


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


say = partial(engine.say, who="programs for tests")
Stores = Callable[[str], ObjectStore]  # by name


def versity_program(environment: engine.Environment) -> Path:
    """The S3 gateway of Versity, built from its Go module; Closed if it cannot be built."""
    module = "github.com/versity/versitygw"

    def make(into: Path, environment: engine.Environment) -> None:
        requires = f"require {module} v{VERSITY}\n{engine.MODULES}"
        package = f"{module}/cmd/versitygw"
        engine.compiled(
            into / "versitygw",
            requires,
            engine.needing(package),
            VERSITY,
            environment,
            package,
        )

    return engine.kept(environment, f"versitygw-{VERSITY}", make) / "versitygw"


def _versity(port: int, folder: Path) -> list[str | Path]:
    (folder / "data").mkdir(exist_ok=True)
    keys = ("--access", "tests", "--secret", "tests-tests", "--region", "us-east-1")
    program = versity_program(os.environ)
    return [
        program,
        *keys,
        "--port",
        f"127.0.0.1:{port}",
        "--quiet",
        "posix",
        folder / "data",
    ]


def _moto(port: int, _folder: Path) -> list[str | Path]:
    return [sys.executable, "-c", MOTO, str(port)]


def _azurite(port: int, room: Path) -> list[str | Path]:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise Closed("no node and npm on PATH, which Azurite needs")

    def fetch(into: Path, _: engine.Environment) -> None:
        say(f"fetching Azurite {AZURITE}: less than a minute, once")
        install_npm("azurite.json", into)

    script = "node_modules/azurite/dist/src/blob/main.js"
    made_from = hashlib.sha256((LOCKS / "azurite.json").read_bytes()).hexdigest()[:12]
    home = engine.kept(os.environ, f"azurite-{made_from}", fetch)
    quiet = ("--silent", "--disableTelemetry", "--skipApiVersionCheck")
    return [node, home / script, "--blobPort", str(port), *quiet, "--location", room]


class _Generations(Forwarder):
    """Google's way to write under a condition, before a server of S3's protocol, which Google's storage speaks beside it."""

    numbers: itertools.count[int]
    generations: dict[str, int]
    turn: threading.Lock

    def handle_any(self) -> None:
        length = self.headers.get("content-length")
        body = self.rfile.read(int(length)) if length else None
        path, mark, query = self.path.partition("?")
        key = unquote(path)
        part = "partNumber=" in query
        ends = self.command == "DELETE" and "uploadId=" in query
        writes = (
            not part
            and not ends
            and (self.command in {"PUT", "DELETE"} or "uploadId=" in query)
        )
        with (
            nullcontext() if part else self.turn
        ):  # a read has the generation of what it reads
            wanted = self.headers.get("x-goog-if-generation-match")
            if (
                writes
                and wanted is not None
                and int(wanted) != self.generations.get(key, 0)
            ):
                self.answer(412, {}, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            status, headers, content = self.forwarded(
                self.command, f"{quote(key)}{mark}{query}", body
            )
            if writes and status < 300:
                self.generations[key] = (
                    0 if self.command == "DELETE" else next(self.numbers)
                )
            headers["x-goog-generation"] = str(self.generations.get(key, 0))
        self.answer(status, headers, content)


COMMANDS = {"s3": _moto, "az": _azurite, "versity": _versity}
"""By name, for a port and an empty folder. `s3` is made in Python and takes any key; `versity` is another S3 server, which checks
signatures; it takes a minute to build, so tests run with it at night."""


@contextmanager
def running() -> Iterator[Stores]:
    """Start each server when it is first asked for."""
    with ExitStack() as stack:

        @cache
        def store(name: str) -> ObjectStore:
            if name != "gs":
                return stack.enter_context(serving(name))
            front = {
                "host": urlsplit(store("s3").url).netloc,
                "numbers": itertools.count(1),
                "generations": {},
            }
            return ObjectStore(
                name,
                stack.enter_context(
                    served(_Generations, turn=threading.Lock(), **front)
                ),
            )

        yield store


@contextmanager
def serving(name: str) -> Iterator[ObjectStore]:
    """Start a server with nothing in it; it is gone at the end, with all that it kept. For `gs` there is `running`."""
    ends_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
        place = Path(folder)

        def command(port: int) -> list[str]:
            return [*ends_with_us, *map(str, COMMANDS[name](port, place))]

        with started(
            command, place, {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        ) as port:
            yield ObjectStore(name, f"http://127.0.0.1:{port}")


def main() -> None:
    try:
        _azurite(0, Path())
    except Closed as reason:
        say(f"tests with az will be skipped: {reason}")


if __name__ == "__main__":
    main()
