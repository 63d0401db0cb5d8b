"""The emulator as a process: the vendor's own SDK works against it, and it starts and ends as a user expects."""

import base64
import http.client
import signal
import socket
import sqlite3
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import squarecloud

from tests.emulator.served import KEY, Served, refused, served

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
OTHER = "b25c9e6f2dc8516b962fc5d186617232"
SPEED = 600  # a soft deadline of 90 s is 0.15 real seconds


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    options = [
        "--speed",
        str(SPEED),
        "--memory",
        "2048",
        "--requests-per-minute",
        "100000",
        "--no-automatic",
    ]
    folder = tmp_path_factory.mktemp("data")
    with served(
        *options, "--data-folder", str(folder), "--database", f"{DATABASE}:postgres"
    ) as one:
        yield one


@pytest.fixture
def client(emulator: Served) -> Iterator[squarecloud.SquareCloud]:
    emulator.control("faults", method="DELETE")
    # past the quota and the cooldowns of earlier tests
    emulator.control("clock", {"advance": 86400, "speed": SPEED})
    emulator.control("cache/drop", {})
    with squarecloud.SquareCloud(KEY, base_url=emulator.api, max_retries=0) as one:
        yield one


def test_vendors_sdk_takes_downloads_and_restores_real_data(
    emulator: Served, client: squarecloud.SquareCloud, tmp_path: Path
) -> None:
    sql = f"databases/{DATABASE}/sql"
    emulator.control(
        sql,
        {"statements": ["CREATE TABLE orders (n)", "INSERT INTO orders VALUES (7)"]},
    )
    created = client.databases.snapshots.create(DATABASE)
    assert not created["pending"]
    emulator.control(sql, {"statements": ["DELETE FROM orders"]})

    (entry,) = client.databases.snapshots.list(DATABASE)
    assert [
        one["version_id"] for one in client.account.snapshots(scope="databases")
    ] == [entry["version_id"]]
    for url in (created["url"], entry["url"]):
        path = client.download_snapshot(url, tmp_path / "snapshot.zip")
        with (
            zipfile.ZipFile(path) as archive,
            closing(sqlite3.connect(":memory:")) as copy,
        ):
            copy.deserialize(archive.read("database.sqlite"))
            assert copy.execute("SELECT n FROM orders").fetchall() == [(7,)]

    emulator.control("clock", {"speed": 1})
    client.databases.snapshots.restore(DATABASE, entry["name"], entry["version_id"])
    assert client.databases.status(DATABASE)["running"] is False
    emulator.control("clock", {"advance": 60})
    assert client.databases.status(DATABASE)["running"] is True
    assert emulator.control(sql, {"statements": ["SELECT n FROM orders"]}) == {
        "rows": [[[7]]]
    }


def test_vendors_sdk_lets_a_database_live(
    emulator: Served, client: squarecloud.SquareCloud
) -> None:
    emulator.control("settings", {"plan_memory_mb": 4096}, "PATCH")
    me = client.account.me()
    assert me["user"]["plan"]["memory"]["limit"] == 4096
    assert me["databases"][0]["id"] == DATABASE
    made = client.databases.create("scratch", type="postgres", version="17", memory=512)
    of = made["id"]
    assert made["connection_url"] == (
        f"postgresql://squarecloud:{made['password']}@square-cloud-db-{of}.squareweb.app:7058/squarecloud"
    )
    _gives_other_credentials(emulator, client, made)
    client.databases.update(of, name="drills", ram=1024)
    assert {**client.databases.get(of), "created_at": ""} == {
        **client.databases.get(DATABASE), "id": of, "name": "drills", "ram": 1024, "created_at": ""
    }  # fmt: skip
    _stops_and_starts(emulator, client, of)
    client.databases.delete(of)
    assert of not in [one["id"] for one in client.databases.status_all()]
    assert client.service.status()["status"] == "online"
    emulator.control("settings", {"plan_memory_mb": 2048}, "PATCH")


def _a_little_later(emulator: Served) -> None:
    emulator.control("clock", {"advance": 5})


def _gives_other_credentials(
    emulator: Served, client: squarecloud.SquareCloud, made: Mapping[str, Any]
) -> None:
    """The SDK reads a new database's certificate, and has its password and certificate changed."""
    databases = client.databases
    assert databases.certificate(made["id"]) == made["certificate"]
    assert b"BEGIN PRIVATE KEY" in base64.b64decode(made["certificate"] or "")
    _a_little_later(emulator)
    password = databases.reset_credentials(made["id"], "password")
    assert password not in {"", made["password"]}
    _a_little_later(emulator)
    assert databases.reset_credentials(made["id"], "certificate") == ""
    _a_little_later(emulator)
    assert databases.certificate(made["id"]) != made["certificate"]


def _stops_and_starts(
    emulator: Served, client: squarecloud.SquareCloud, of: str
) -> None:
    """A database that is stopped has no certificate to give, and runs again once it is started."""
    databases = client.databases
    databases.stop(of)
    assert databases.status(of)["uptime"] is None
    _a_little_later(emulator)
    with pytest.raises(squarecloud.SquareCloudAPIError, match="DATABASE_NOT_RUNNING"):
        databases.certificate(of)
    _a_little_later(emulator)
    databases.start(of)
    assert databases.status(of)["running"] is True
    assert databases.metrics(of) == []


def test_vendors_sdk_sees_a_slow_snapshot_as_pending(
    emulator: Served, client: squarecloud.SquareCloud
) -> None:
    emulator.control(f"databases/{DATABASE}", {"next_snapshot_seconds": 1000}, "PATCH")
    known = client.databases.snapshots.list(DATABASE)
    assert client.databases.snapshots.create(DATABASE) == {"pending": True}
    emulator.control("clock", {"advance": 1000})
    emulator.control("cache/drop", {})
    newest, *others = client.databases.snapshots.list(DATABASE)
    assert [one["version_id"] for one in others] == [one["version_id"] for one in known]
    (post,) = [entry for entry in emulator.control("journal") if entry["status"] == 202]
    assert newest["version_id"] == post["version_id"]


@pytest.mark.parametrize(
    ("when", "more"), [("before", 0), ("after", 1), ("the client hangs up", 1)]
)
def test_a_connection_that_ends_early_ends_nothing_that_was_started(
    emulator: Served, client: squarecloud.SquareCloud, when: str, more: int
) -> None:
    before = len(client.databases.snapshots.list(DATABASE))
    drops = when in {"before", "after"}
    if drops:
        emulator.control("faults", {"kind": "create", "drop": True, "when": when})
    else:
        emulator.control(
            f"databases/{DATABASE}", {"next_snapshot_seconds": 60}, "PATCH"
        )
    with socket.create_connection(
        ("127.0.0.1", urlsplit(emulator.url).port or 0), timeout=10
    ) as connection:
        request = f"POST /v2/databases/{DATABASE}/snapshots HTTP/1.1\r\nHost: x\r\nAuthorization: {KEY}\r\n\r\n"
        connection.sendall(request.encode())
        assert not drops or connection.recv(1) == b"", "it closes without a byte"
        while emulator.control("journal")[-1]["kind"] != "create":
            pass
    emulator.control("clock", {"advance": 60})
    emulator.control("cache/drop", {})
    assert len(client.databases.snapshots.list(DATABASE)) == before + more


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_open_requests_quickly_and_saves_the_state(
    tmp_path: Path, forks: dict[str, str], stop: signal.Signals
) -> None:
    options = [
        "--data-folder",
        str(tmp_path),
        "--database",
        DATABASE,
        "--database",
        f"{OTHER}:redis",
        "--no-automatic",
    ]
    failures: list[squarecloud.SquareCloudAPIError] = []
    with served(*options, "--clock-offset", "-3600") as emulator:

        def create() -> None:
            with squarecloud.SquareCloud(KEY, base_url=emulator.api) as client:
                try:
                    client.databases.snapshots.create(DATABASE)
                except squarecloud.SquareCloudAPIError as failure:
                    failures.append(failure)

        thread = threading.Thread(target=create)
        thread.start()
        while not emulator.control("state")["databases"][0]["running_snapshots"]:
            pass
        stopped_at = time.monotonic()
        emulator.process.send_signal(stop)
        output, errors = emulator.process.communicate(timeout=10)
        thread.join(timeout=10)
        assert (emulator.process.returncode, output, errors) == (0, "", "")
        assert time.monotonic() - stopped_at < 8  # the request alone would take 30 s
    assert [failure.code for failure in failures] == ["NETWORK_ERROR"]
    with served(*options, forks=forks) as emulator:
        first, second = emulator.control("state")["databases"]
        assert (first["id"], second["type"], len(first["running_snapshots"])) == (
            DATABASE,
            "redis",
            0,
        )
        assert (
            len(first["snapshots"]) == 1
        )  # without the offset, the snapshot's time has passed


@pytest.mark.parametrize(
    ("option", "value", "code", "message"),
    [
        ("--host", "::", 2, "can be reached from other machines"),
        ("--port", "70000", 1, "cannot listen"),
        ("--database", "a:oracle", 1, "oracle"),
        ("--database", ":redis", 1, "an id is made of"),
        ("--speed", "0", 1, "speed must be above 0"),
        ("--port", "x", 2, "invalid int value"),
        ("--api-key", "x", 2, "unrecognized arguments"),
        ("--postgres-dsn", "secret-word", 1, "not a PostgreSQL DSN"),
        ("--postgres-dsn", "mysql://root@127.0.0.1/x", 1, "not a PostgreSQL DSN"),
        (
            "--postgres-dsn",
            "postgresql://postgres:secret-word@127.0.0.1/x",
            1,
            "give it in PGPASSWORD or a password file",
        ),
        (
            "--postgres-dsn",
            "host=127.0.0.1 password=secret-word",
            1,
            "SQUARECLOUD_EMULATOR_POSTGRES_DSN",
        ),
        (
            "--postgres-dsn",
            "host=127.0.0.1 sslpassword=secret-word",
            1,
            "use a key without a password",
        ),
    ],
)
def test_wrong_option_gets_a_one_line_error_without_a_password(
    option: str, value: str, code: int, message: str
) -> None:
    ended, told = refused(option, value)
    assert ended == code
    assert message in told.splitlines()[-1]
    assert code == 2 or told.count("\n") == 1
    assert "secret-word" not in told


def test_the_end_of_a_plan_can_be_given_and_no_other_text(
    forks: dict[str, str],
) -> None:
    with served("--paid-until", "2026-12-31T12:00:00Z", forks=forks) as one:
        state = one.control("state")
        assert state["settings"]["plan_ends_at"] == "2026-12-31T12:00:00Z"
    ended, told = refused("--paid-until", "soon")
    assert ended == 2
    assert "argument --paid-until: invalid time value" in told


def test_folder_or_port_in_use_gets_a_one_line_error(
    tmp_path: Path, forks: dict[str, str]
) -> None:
    folder = ("--data-folder", str(tmp_path))
    with served(*folder, forks=forks) as one:
        port = str(urlsplit(one.url).port)
        assert refused(*folder) == (
            1,
            f"squarecloud-emulator: another emulator uses {tmp_path}\n",
        )
        code, told = refused("--port", port)
        assert (code, told.count("\n")) == (1, 1)
        assert told.startswith(
            f"squarecloud-emulator: cannot listen on 127.0.0.1 port {port}: "
        )
    with served(*folder, forks=forks):
        pass


def test_date_header_is_only_the_services(emulator: Served) -> None:
    with closing(
        http.client.HTTPConnection(urlsplit(emulator.url).netloc, timeout=10)
    ) as connection:
        connection.request("GET", "/v2/users/me", headers={"Authorization": KEY})
        answer = connection.getresponse()
        (date,) = answer.headers.get_all("date", [])
        assert "server" not in answer.headers
    shown = datetime.fromisoformat(emulator.control("clock")["now"])
    assert (
        timedelta(0) <= shown - parsedate_to_datetime(date) < timedelta(hours=1)
    )  # it runs fast here
