"""The tests' own servers, such as PostgreSQL: found when they answer, closed to others, and gone afterwards."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.real_data import sql_at
from tools import servers


def alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_server_leaves_nothing_however_its_user_ends() -> None:
    """The user is killed in the middle, with a client connected: the server goes, and so does its folder."""
    program = (
        "import sys; from tools import servers\n"
        "with servers.served('postgres') as one: print(one.port, one.password, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as user:
        assert user.stdout is not None
        port, password = user.stdout.readline().split()
        url = servers.Server("postgresql", int(port), "postgres", password).url()
        folder = Path(sql_at(url, "SHOW data_directory")[0][0])
        leader = int(
            sql_at(
                url,
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'",
            )[0][0]
        )
        user.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (folder.parent.exists() or alive(leader)):
        time.sleep(0.01)
    assert not folder.parent.exists()
    assert not alive(leader)


def test_server_is_its_users_alone(server: servers.Server) -> None:
    """Reached over loopback with a password only, and not run by root."""
    assert sql_at(server.url(), "SHOW listen_addresses") == [("127.0.0.1",)]
    assert sql_at(server.url(), "SHOW unix_socket_directories") == [("",)]
    assert sql_at(
        server.url(),
        "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'",
    ) == [(0,)]
    folder = Path(sql_at(server.url(), "SHOW data_directory")[0][0])
    assert folder.stat().st_uid != 0
    assert folder.stat().st_mode & 0o077 == 0


def test_a_client_that_is_connected_to_itself_has_found_no_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = socket.socket()
    client.bind(("127.0.0.1", 0))
    client.connect(client.getsockname())
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: client)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        assert not servers.is_up(process, 0, lambda _: True)
