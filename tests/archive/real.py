"""Real sockets and processes for the tests of archives: a host of large snapshots, and one archive in a process of its own.

`python -m tests.archive.real URL VERSION DESTINATION [RECIPIENT…]` archives, and prints JSON: the outputs or the error, the
seconds that it took once everything was loaded, and the peak of memory above idle in MiB.
"""

import hashlib
import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio

from pulumi_snapshots.archive.archive import (
    ArchiveRequest,
    NotArchived,
    archive_snapshot,
)
from pulumi_snapshots.archive.record import ArchiveInputs
from pulumi_snapshots.archive.transfers import Transfers

VERSION = "45ec0b49-9af6-445e-a55c-abd7ec5278b2"
PIECE = os.urandom(1024 * 1024)
OVERHEAD = 30 + 46 + 2 * len("dump") + 22
"""Bytes of a zip with one stored member: its header, its entry in the directory, and the end."""
_RANGE = re.compile(rb"\r\nrange: bytes=(\d+)-\r\n", re.IGNORECASE)


@dataclass
class Host:
    url: str
    sha256: str


@contextmanager
def hosted(size: int, rate: float = math.inf) -> Iterator[Host]:
    """A snapshot host of one zip of so many bytes of noise, in threads of this process; at most at so many bytes a second.

    It serves GET with ranges, without signatures, and by plain sockets: it is faster than the client that is measured.
    """
    with (
        tempfile.NamedTemporaryFile() as file,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        left = size - OVERHEAD
        with (
            zipfile.ZipFile(file.name, "w") as whole,
            whole.open("dump", "w") as member,
        ):
            while left:
                left -= member.write(PIECE[:left])
        with Path(file.name).open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()

        def serve() -> None:
            with suppress(OSError):  # until the socket is closed
                while True:
                    connection, _ = server.accept()
                    threading.Thread(
                        target=_answer,
                        args=(connection, Path(file.name), rate),
                        daemon=True,
                    ).start()

        threading.Thread(target=serve, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield Host(
            f"{address}/databases/account/database.zip?versionId={VERSION}", digest
        )
        server.shutdown(socket.SHUT_RDWR)


def _answer(connection: socket.socket, file: Path, rate: float) -> None:
    with connection, file.open("rb") as content, suppress(OSError):
        request = b""
        size = file.stat().st_size
        while b"\r\n\r\n" not in request:
            if not (received := connection.recv(65536)):
                return
            request += received
        found = _RANGE.search(request)
        start = int(found[1]) if found else 0
        head = [
            f"HTTP/1.1 {'206 Partial Content' if found else '200 OK'}",
            "Content-Type: application/zip",
            f"Content-Length: {size - start}",
            f'ETag: "{size}"',
            "Last-Modified: Tue, 24 Nov 2026 23:00:00 GMT",
            "Connection: close",
            *([f"Content-Range: bytes {start}-{size - 1}/{size}"] if found else []),
        ]
        connection.sendall("\r\n".join([*head, "\r\n"]).encode())
        began = time.monotonic()
        for at in range(start, size, len(PIECE)):
            connection.sendfile(content, at, len(PIECE))
            time.sleep(max(0.0, began + (at - start) / rate - time.monotonic()))


def start(
    url: str,
    destination: Path | str,
    *,
    environment: Mapping[str, str] | None = None,
    recipients: tuple[str, ...] = (),
) -> subprocess.Popen[str]:
    """Start an archive in another process."""
    return subprocess.Popen(  # noqa: S603  this very interpreter
        [
            sys.executable,
            "-m",
            "tests.archive.real",
            url,
            VERSION,
            str(destination),
            *recipients,
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )


def outcome(process: subprocess.Popen[str]) -> Any:
    """The JSON that it printed."""
    printed, _ = process.communicate(timeout=120)
    return json.loads(printed)


def memory(what: str) -> float:
    """MiB of this process: `VmRSS` is in use now, `VmHWM` the most so far."""
    return (
        int(Path("/proc/self/status").read_text().partition(f"{what}:")[2].split()[0])
        / 1024
    )


async def run(*arguments: str) -> dict[str, object]:
    url, version, destination, *recipients = arguments
    values = {
        "download_url": url,
        "version_id": version,
        "destination": destination,
        "recipients": recipients or None,
    }
    problems = ArchiveInputs.problems(values)
    assert not problems, problems
    told = list[object]().append
    row: Any = SimpleNamespace(progress=told, note=told, warn=told)
    idle = memory("VmRSS")
    began = time.perf_counter()
    try:
        request = ArchiveRequest(
            None, Transfers(), ArchiveInputs.of(values), row, manifest=False
        )
        record = await archive_snapshot(request)
    except NotArchived as error:
        return {"error": str(error)}
    seconds = time.perf_counter() - began
    return {
        **record.to_outputs(),
        "seconds": seconds,
        "idle": idle,
        "above_idle": memory("VmHWM") - idle,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(anyio.run(run, *sys.argv[1:])))
