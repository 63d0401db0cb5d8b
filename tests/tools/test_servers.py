"""The tests' own MariaDB, Redis and FerretDB: unpacked without root, closed to others, gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tools import servers

if TYPE_CHECKING:
    from tools.servers import Server

PROGRAM = """
import json, sys
from contextlib import ExitStack
from dataclasses import asdict
from tools import servers
with ExitStack() as stack:
    print(json.dumps([asdict(stack.enter_context(servers.served(name))) for name in sys.argv[1:]]), flush=True)
    sys.stdin.read()
"""


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except OSError:
        return False
    return True


def test_servers_leave_nothing_however_their_user_ends(
    mariadb: Server,
    redis_server: Server,
    ferretdb: Server,
    tmp_path: Path,
) -> None:
    """The user and all that it has started is killed in the middle: the servers go, and so do their folders."""
    others = {mariadb.port, redis_server.port, ferretdb.port}
    with subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", PROGRAM, *servers.SERVERS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    ) as user:
        assert user.stdout is not None
        ports = {server["port"] for server in json.loads(user.stdout.readline())}
        assert len(list(tmp_path.iterdir())) == 3
        assert all(map(listens, ports))
        os.killpg(user.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (any(tmp_path.iterdir()) or any(map(listens, ports))):
        time.sleep(0.01)
    assert list(tmp_path.iterdir()) == []
    assert not any(map(listens, ports))
    assert all(map(listens, others)), "servers of another user"
