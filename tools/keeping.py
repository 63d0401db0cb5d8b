"""Servers for tests that stop with the process that uses them, however that ends.

A keeper's process starts the server, prints a line of JSON that says where it is, and stops it at the end of its input,
which also comes when its user is killed.
"""

import contextlib
import json
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tools.engine import Closed

PROJECT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def kept(module: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """What a keeper prints of its server, which stops with this block, and with this process.

    Raises:
        Closed: The server did not start; the keeper has said why on stderr.
    """
    with subprocess.Popen(  # noqa: S603 - a fixed command, no shell
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        start_new_session=True,  # a signal to the user's group of processes leaves it the time to clean up
    ) as keeper:
        assert keeper.stdin is not None  # noqa: S101 - for the type checker
        assert keeper.stdout is not None  # noqa: S101 - as above
        try:
            line = keeper.stdout.readline()
            if not line:
                raise Closed("the server did not start; the lines above say why")
            yield json.loads(line)
        finally:
            keeper.stdin.close()


def keep(name: str, running: Callable[[], AbstractContextManager[dict[str, Any]]]) -> int:
    """Keep a server until the input ends or a signal comes; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with running() as server:
            print(json.dumps(server), flush=True)
            while select.select([sys.stdin], [], [])[0] and sys.stdin.readline():
                pass
    except Closed as reason:
        print(f"{name}: {reason}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
