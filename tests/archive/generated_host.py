"""A snapshot host for large archives: `python -m tests.archive.generated_host SIZE [RATE]` makes a zip of that many bytes.

It uses plain sockets, so that it is faster than the client that is measured. It prints the zip's SHA-256 and its URL and serves
GET, with ranges and without signatures, at most at that many bytes a second.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import socket
import sys
import tempfile
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path

PIECE = os.urandom(1024 * 1024)
OVERHEAD = 30 + 46 + 2 * len("dump") + 22
"""Bytes of a zip with one stored member: its header, its entry in the directory, and the end."""
_RANGE = re.compile(rb"\r\nrange: bytes=(\d+)-\r\n", re.IGNORECASE)


def generated(size: int, file: Path) -> str:
    """Make a zip with one stored member of repeated noise; returns its SHA-256."""
    left = size - OVERHEAD
    with zipfile.ZipFile(file, "w") as whole, whole.open("dump", "w") as member:
        while left:
            left -= member.write(PIECE[:left])
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _serve(connection: socket.socket, file: Path, rate: float) -> None:
    with connection, file.open("rb") as content, suppress(OSError):
        request, size = b"", file.stat().st_size
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


def serve(server: socket.socket, file: Path, rate: float = math.inf) -> None:
    """Serve it until the socket is closed."""
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(connection, file, rate), daemon=True).start()


def main() -> None:
    with tempfile.NamedTemporaryFile() as file, socket.create_server(("127.0.0.1", 0)) as server:
        digest = generated(int(sys.argv[1]), Path(file.name))
        sys.stdout.write(f"{digest}\nhttp://127.0.0.1:{server.getsockname()[1]}\n")
        sys.stdout.flush()
        serve(server, Path(file.name), float(sys.argv[2]) if len(sys.argv) > 2 else math.inf)


if __name__ == "__main__":
    main()
