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

import pytest

from tools import servers
from tools.clients import Missing
from tools.engine import Closed

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


def test_servers_of_debian_ask_for_a_password(mariadb: Server, redis_server: Server) -> None:
    environment = {**mariadb.environment, "HOME": "/nonexistent"}
    command = ["mariadb", "--host=127.0.0.1", f"--port={mariadb.port}", "--user=root", "--execute=SELECT 1"]
    entered = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert "Access denied for user 'root'" in entered.stderr
    with socket.create_connection(("127.0.0.1", redis_server.port), timeout=30) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(100).startswith(b"-NOAUTH")


def script(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_old_package_lists_are_renewed_beside_the_systems(tmp_path: Path) -> None:
    """As on a new machine, and for a user who is not root: the system's lists are not touched."""
    log = tmp_path / "log"
    script(
        tmp_path / "bin",
        "apt-get",
        f'echo "$@" >> {log}\n'
        'case "$*" in *"Lists="*) ;; *) echo "E: Unable to locate package redis-server" >&2; exit 100;; esac\n'
        'case "$1" in install) echo "Inst libaio1 (0.3.113-4 Debian:12 [amd64])";\n'
        '  echo "Inst redis-server [5:6] (5:7.0.15-1 Debian:12 [amd64])";; esac',
    )
    script(tmp_path / "bin", "dpkg-deb", "exit 1")
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(Closed, match="Debian's packages hold no mariadbd"):
        servers.unpack(into, {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"})
    system, update, *own = log.read_text().splitlines()
    assert system.startswith("install --simulate --no-install-recommends mariadb-server-core")
    assert update.startswith(f"update -q -o Dir::State::Lists={into / 'work' / 'lists'}")
    assert own[0].startswith("install --simulate ")
    assert own[1].startswith("download -o Dir::State::Lists=")
    assert own[1].endswith(
        "libaio1=0.3.113-4 redis-server=5:7.0.15-1 mariadb-server-core mariadb-client-core mariadb-client"
    )


def test_tests_are_skipped_if_a_machine_cannot_have_a_server(tmp_path: Path) -> None:
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    if not servers.debian(os.environ).root:
        pytest.skip("this machine's own programs are used")
    with pytest.raises(Missing, match=r"no mariadbd and mariadb and .*, and no apt-get"):
        servers.debian(bare)
    with pytest.raises(Missing, match="no Go on PATH to build one"):
        servers.ferretdb_program(bare)


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    def command(port: int) -> list[str]:
        return [sys.executable, "-c", f"print('no room at {port > 0}'); raise SystemExit(1)"]

    with (
        pytest.raises(Closed, match="the server did not start:\n  no room at True"),
        servers.started(command, tmp_path, "", lambda _: True),
    ):
        pass
