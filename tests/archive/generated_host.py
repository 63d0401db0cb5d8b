"""A snapshot host for large archives: `python -m tests.archive.generated_host SIZE [RATE]` generates a zip of that many bytes.

It uses plain sockets, so that it is faster than the client that is measured. It prints its URL and serves GET, with
ranges and without signatures, at most at that many bytes a second.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import socket
import struct
import sys
import threading
import time
import zlib
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBER = b"dump"
PIECE = os.urandom(1024 * 1024)
_RANGE = re.compile(rb"\r\nrange: bytes=(\d+)-\r\n", re.IGNORECASE)


class GeneratedZip:
    """A zip with one stored member of repeated noise, in the format for large zips."""

    def __init__(self, size: int) -> None:
        tail_size = 46 + len(MEMBER) + 20 + 56 + 20 + 22
        data = size - 30 - len(MEMBER) - 20 - tail_size
        crc = zlib.crc32(PIECE[: data % len(PIECE)], _crc_of(data // len(PIECE)))
        head = (
            struct.pack("<4s5H3L2H", b"PK\x03\x04", 45, 0, 0, 0, 33, crc, 2**32 - 1, 2**32 - 1, len(MEMBER), 20)
            + MEMBER
        )
        sizes = struct.pack("<2H2Q", 1, 16, data, data)
        entry = struct.pack(
            "<4s6H3L5H2L",
            *(b"PK\x01\x02", 45, 45, 0, 0, 0, 33, crc, 2**32 - 1, 2**32 - 1, len(MEMBER), 20, 0, 0, 0, 0, 0),
        )
        directory = entry + MEMBER + sizes
        offset = len(head) + 20 + data
        large = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, len(directory), offset)
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, offset + len(directory), 1)
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)
        self.size = size
        self._head, self._data, self._tail = head + sizes, data, directory + large + locator + end

    def pieces(self, start: int = 0) -> Iterator[bytes | memoryview]:
        yield self._head[start:]
        start = max(0, start - len(self._head))
        while start < self._data:
            at = start % len(PIECE)
            piece = memoryview(PIECE)[at : at + self._data - start]
            yield piece
            start += len(piece)
        yield self._tail[start - self._data :]

    def sha256(self) -> str:
        hasher = hashlib.sha256()
        for piece in self.pieces():
            hasher.update(piece)
        return hasher.hexdigest()


@cache
def _crc_of(pieces: int) -> int:
    crc = 0
    for _ in range(pieces):
        crc = zlib.crc32(PIECE, crc)
    return crc


def _serve(connection: socket.socket, archive: GeneratedZip, rate: float) -> None:
    with connection:
        request = b""
        while b"\r\n\r\n" not in request:
            received = connection.recv(65536)
            if not received:
                return
            request += received
        found = _RANGE.search(request)
        start = int(found[1]) if found else 0
        head = [
            f"HTTP/1.1 {'206 Partial Content' if found else '200 OK'}",
            "Content-Type: application/zip",
            f"Content-Length: {archive.size - start}",
            f'ETag: "{archive.size}"',
            "Last-Modified: Tue, 24 Nov 2026 23:00:00 GMT",
            "Connection: close",
        ]
        if found:
            head.append(f"Content-Range: bytes {start}-{archive.size - 1}/{archive.size}")
        try:
            connection.sendall("\r\n".join([*head, "\r\n"]).encode())
            begun, sent = time.monotonic(), 0
            for piece in archive.pieces(start):
                connection.sendall(piece)
                sent += len(piece)
                time.sleep(max(0.0, begun + sent / rate - time.monotonic()))
        except OSError:
            return


def serve(server: socket.socket, archive: GeneratedZip, rate: float = math.inf) -> None:
    """Serve it until the socket is closed."""
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(connection, archive, rate), daemon=True).start()


def main() -> None:
    archive = GeneratedZip(int(sys.argv[1]))
    sys.stdout.write(f"{archive.sha256()}\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.getsockname()[1]}\n")
        sys.stdout.flush()
        serve(server, archive, float(sys.argv[2]) if len(sys.argv) > 2 else math.inf)


if __name__ == "__main__":
    main()
