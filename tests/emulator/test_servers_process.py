"""`squarecloud-emulator` with servers for MySQL, Redis and MongoDB: a run from start to end, and what keeps it from starting."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import squarecloud

from pulumi_snapshots.errors.extras import pip_install
from squarecloud_emulator.__main__ import main
from tests.emulator.served import KEY, served

if TYPE_CHECKING:
    from tools.servers import Server

WRITE = {
    "mysql": ("CREATE TABLE t (n int)", "INSERT INTO t VALUES (7)"),
    "redis": ("SET n 7",),
    "mongo": ('{"insert": "t", "documents": [{"_id": 1, "n": 7}]}',),
}
SPOIL = {"mysql": "DROP TABLE t", "redis": "DEL n", "mongo": '{"drop": "t"}'}
READ = {"mysql": "SELECT n FROM t", "redis": "GET n", "mongo": '{"distinct": "t", "key": "n"}'}
SEEN: dict[str, Any] = {"mysql": [[7]], "redis": [["7"]], "mongo": [[{"values": [7], "ok": 1.0}]]}


def test_three_servers_keep_their_databases_in_one_emulator(
    mariadb: Server, redis_server: Server, ferretdb: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in mariadb.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SQUARECLOUD_EMULATOR_MYSQL_DSN", mariadb.url())
    monkeypatch.setenv("REDISCLI_AUTH", redis_server.password)
    options = ["--redis-dsn", f"redis://127.0.0.1:{redis_server.port}", "--mongo-dsn", ferretdb.url()]
    databases = [option for engine in WRITE for option in ("--database", f"of-{engine}:{engine}")]
    with (
        served(*options, *databases, "--no-automatic", "--restore-seconds", "0") as emulator,
        squarecloud.SquareCloud(KEY, base_url=emulator.api_url, max_retries=0) as client,
    ):
        for engine, statements in WRITE.items():
            one = f"of-{engine}"
            read = (f"databases/{one}/sql", {"statements": [READ[engine]]})
            emulator.control(f"databases/{one}/sql", {"statements": statements})
            stored = emulator.control("snapshots", {"database_id": one})
            emulator.control(f"databases/{one}/sql", {"statements": [SPOIL[engine]]})
            client.databases.snapshots.restore(one, stored["name"], stored["version_id"])
            while any(each["restoring"] for each in emulator.control("state")["databases"]):
                pass
            assert emulator.control(*read) == {"rows": [SEEN[engine]]}
            emulator.control("clock", {"advance": 60})  # past the account's cooldown
        emulator.process.send_signal(signal.SIGTERM)
        assert emulator.process.communicate(timeout=90) == ("", "")
        assert emulator.process.returncode == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--mysql-dsn", "secret-word"), "not a MySQL DSN: it is mysql://USER@HOST:PORT"),
        (("--mysql-dsn", "mysql://root:secret-word@127.0.0.1"), "give it in MYSQL_PWD, or the whole DSN in "),
        (("--redis-dsn", "redis://:secret-word@127.0.0.1"), "give it in REDISCLI_AUTH, or the whole DSN in "),
        (("--mongo-dsn", "mongodb://x:secret-word@127.0.0.1"), "give the whole DSN in SQUARECLOUD_EMULATOR_MONGO_DSN"),
        (("--redis-dsn", "secret-word://x"), "not a Redis DSN: it is redis://HOST:PORT"),
    ],
)
def test_an_unusable_dsn_gets_an_error_without_its_password(
    options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options) == 1
    said = capsys.readouterr().err
    assert told in said
    assert "secret-word" not in said


def test_missing_client_programs_are_named(
    mariadb: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SQUARECLOUD_EMULATOR_MYSQL_DSN", mariadb.url())
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main([]) == 1
    assert "mariadb-dump and mysqldump are not on PATH" in capsys.readouterr().err


@pytest.mark.parametrize(("engine", "library"), [("mysql", "pymysql"), ("redis", "redis"), ("mongo", "bson")])
def test_a_missing_library_is_named_with_its_install_command(engine: str, library: str) -> None:
    program = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from squarecloud_emulator.__main__ import main\n"
        f"sys.exit(main(['--{engine}-dsn', '{engine}://127.0.0.1/']))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603
    assert ended.returncode == 1
    assert f"is missing; install it with: {pip_install(f'emulator-{engine}')}" in ended.stderr
