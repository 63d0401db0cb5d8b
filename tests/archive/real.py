"""Processes for the tests of archives: a host of large snapshots, an archive."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.archive.generated_host import generated, serve
from tests.support.preloaded import python_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["VERSION", "Host", "hosted", "hosted_apart", "outcome", "start"]

VERSION = "45ec0b49-9af6-445e-a55c-abd7ec5278b2"


@dataclass
class Host:
    url: str
    sha256: str


def _host(address: str, digest: str) -> Host:
    return Host(f"{address}/databases/account/database.zip?versionId={VERSION}", digest)


@contextmanager
def hosted(size: int, rate: float = math.inf) -> Iterator[Host]:
    """A snapshot host of one zip, in threads of this process; at most at so many bytes a second."""
    with tempfile.NamedTemporaryFile() as file, socket.create_server(("127.0.0.1", 0)) as server:
        digest = generated(size, Path(file.name))
        threading.Thread(target=serve, args=(server, Path(file.name), rate), daemon=True).start()
        yield _host(f"http://127.0.0.1:{server.getsockname()[1]}", digest)
        server.shutdown(socket.SHUT_RDWR)


@contextmanager
def hosted_apart(size: int, rate: float = math.inf) -> Iterator[Host]:
    """The same in a process of its own, for measures."""
    command = [sys.executable, "-m", "tests.archive.generated_host", str(size), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  this very interpreter
        assert process.stdout is not None
        try:
            digest, address = process.stdout.readline().strip(), process.stdout.readline().strip()
            yield _host(address, digest)
        finally:
            process.kill()


def start(
    url: str,
    destination: Path | str,
    *,
    environment: Mapping[str, str] | None = None,
    recipients: tuple[str, ...] = (),
    forks: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start an archive in another process; really, for measures, unless the fixture `forks` is given."""
    forks = forks or {}
    return subprocess.Popen(  # noqa: S603  this very interpreter
        [python_of(forks), "-m", "tests.archive.one_archive", url, VERSION, str(destination), *recipients],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **forks, **(environment or {})},
    )


def outcome(process: subprocess.Popen[str]) -> Any:
    """The JSON that it printed."""
    printed, _ = process.communicate(timeout=120)
    return json.loads(printed)
