"""`squarecloud-emulator --postgres-dsn`: a run from start to end, and each error that keeps it from starting."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

import pytest
import squarecloud

from tests.emulator.served import KEY, refused, served
from tests.support.real_data import databases_of, sql_at
from tools.servers import Server

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"


def script(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


@pytest.fixture(autouse=True)
def _own_temporary_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep other emulators' temporary files out of the count."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
    monkeypatch.setattr(tempfile, "tempdir", None)


def left_overs() -> set[str]:
    return {
        path.name for path in Path(tempfile.gettempdir()).glob("squarecloud-emulator-*")
    }


def test_vendors_sdk_takes_and_restores_a_real_database(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    for name in ("pg_dump", "pg_restore"):
        script(
            tmp_path / name, f'echo "$0 $@" >> {seen}\nexec {shutil.which(name)} "$@"'
        )
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    # From there, a DSN may hold its password.
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("SQUARECLOUD_EMULATOR_POSTGRES_DSN", server.url())
    before = left_overs()
    options = ["--snapshot-seconds", "0", "--restore-seconds", "0", "--no-automatic"]
    with (
        served(*options, "--database", f"{DATABASE}:postgres") as emulator,
        squarecloud.SquareCloud(KEY, base_url=emulator.api, max_retries=0) as client,
    ):
        sql_at(server.url(DATABASE), "CREATE TABLE customer AS SELECT 7 AS n")
        url = client.databases.snapshots.create(DATABASE)["url"]
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - http to this machine
            assert (
                "database.dump" in zipfile.ZipFile(io.BytesIO(answer.read())).namelist()
            )
        sql_at(server.url(DATABASE), "DROP TABLE customer")
        (entry,) = client.databases.snapshots.list(DATABASE)
        client.databases.snapshots.restore(DATABASE, entry["name"], entry["version_id"])
        while not client.databases.status(DATABASE)["running"]:
            emulator.control("state")  # does not count against the rate limit
        rows = emulator.control(
            f"databases/{DATABASE}/sql", {"statements": ["SELECT n FROM customer"]}
        )
        assert rows == {"rows": [[[7]]]}
        made = emulator.control("databases", {"id": "another", "type": "postgres"})
        assert made["id"] == "another"
        assert sql_at(server.url("another"), "SELECT 1") == [(1,)]
        stored = emulator.control("snapshots", {"database_id": "another"})
        assert stored["size"] > 0
        emulator.process.send_signal(signal.SIGTERM)
        assert emulator.process.communicate(timeout=90) == ("", "")
        assert emulator.process.returncode == 0
    assert not {DATABASE, "another"} & databases_of(server)
    assert left_overs() == before
    ran = seen.read_text()
    # Their versions, then two snapshots and a restore.
    assert [Path(line.split()[0]).name for line in ran.splitlines()] == [
        *("pg_dump", "pg_restore"),
        *("pg_dump", "pg_restore", "pg_dump"),
    ]
    assert server.password not in ran


def test_wrong_password_user_or_database_is_named_in_the_error(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(dsn: str = server.dsn()) -> str:
        before = left_overs()
        code, text = refused("--postgres-dsn", dsn)
        assert (code, text.count("\n"), "secret-word" in text, left_overs()) == (
            1,
            1,
            False,
            before,
        )
        return text

    assert 'database "nothing" does not exist' in told(server.dsn("nothing"))
    sql_at(
        server.url(),
        "DROP ROLE IF EXISTS guest",
        f"CREATE ROLE guest LOGIN PASSWORD '{server.password}'",
    )
    assert "may not create databases" in told(
        server.dsn().replace("postgres@", "guest@")
    )
    monkeypatch.setenv("PGPASSWORD", "secret-word")
    assert "password authentication failed" in told()
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "empty").touch(mode=0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "empty"))
    assert "no password supplied" in told()


def test_missing_psycopg_is_named_with_its_install_command() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from squarecloud_emulator.__main__ import main\n"
        "sys.exit(main(['--postgres-dsn', 'postgresql://127.0.0.1/x']))"
    )
    ended = subprocess.run(  # noqa: S603 - a fixed command, no shell
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 1
    install = "install it with: pip install '/path/to/clone[emulator-postgres]'"
    assert f"psycopg is missing; {install}" in ended.stderr
