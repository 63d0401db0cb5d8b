"""The emulator as a process, as a user starts it, with real sockets and real time. No assertions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KEY", "Served", "run", "served"]

KEY = "process-test-" + "k" * 51
_LINE = re.compile(
    r"squarecloud-emulator listening on (?P<url>http://\S+:\d+) \(API (?P=url)/v2, snapshots (?P=url)/files\)\n"
)


@dataclass
class Served:
    url: str
    process: subprocess.Popen[str]

    @property
    def api_url(self) -> str:
        return f"{self.url}/v2"

    def control(self, path: str, body: Any = None, method: str | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - http to this machine
            f"{self.url}/_emulator/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method or ("GET" if body is None else "POST"),
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            content = answer.read()
        return json.loads(content) if content else None


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """Run it until it ends, with options with which it does not start."""
    return subprocess.run(  # noqa: S603 - a fixed command, no shell
        _command(*options), capture_output=True, text=True, timeout=90, check=False
    )


@contextmanager
def served(*options: str) -> Iterator[Served]:
    process = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
        _command(*options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SQUARECLOUD_EMULATOR_API_KEY": KEY},
    )
    assert process.stdout is not None
    try:
        found = _LINE.fullmatch(process.stdout.readline())
        assert found is not None
        yield Served(found["url"], process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _command(*options: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "pulumi_snapshots.emulator", *options]
