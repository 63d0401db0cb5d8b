"""Which kind of database a connection string is for, and that no error shows it."""

import socket
import subprocess
import sys
from typing import NoReturn

import anyio
import pymysql
import pytest

from pulumi_snapshots.databases.connection import is_late
from pulumi_snapshots.databases.database import DRIVERS, Database, DatabaseUnreachable
from pulumi_snapshots.databases.kinds import (
    ENGINES,
    LONGEST_SHOWN,
    kind_of,
    shown_message,
)
from pulumi_snapshots.errors import pip_install
from pulumi_snapshots.errors.secrets import HIDDEN
from pulumi_snapshots.properties.checks import Unfit


@pytest.mark.parametrize(
    ("dsn", "kind"),
    [
        ("postgresql://app:pw@db.example:5432/shop?sslmode=verify-full", "postgres"),
        ("postgres://db.example/shop", "postgres"),
        (
            "postgresql://app@one.example:5432,two.example:5433/shop?target_session_attrs=any",
            "postgres",
        ),
        ("host=db.example dbname=shop password='a b'", "postgres"),
        (
            "mysql://app:pw@db.example/shop?ssl-mode=VERIFY_IDENTITY&ssl_ca=/ca.pem",
            "mysql",
        ),
        ("mariadb://db.example:3307/shop", "mysql"),
        (
            "mongodb://app:pw@one.example,two.example/shop?replicaSet=rs&tls=true",
            "mongo",
        ),
        ("mongodb+srv://app:pw@db.example/shop", "mongo"),
        ("redis://:pw@db.example:6380/2", "redis"),
        ("rediss://app:pw@db.example?ssl_ca_certs=/ca.pem", "redis"),
    ],
)
def test_the_scheme_says_which_kind_it_is(dsn: str, kind: str) -> None:
    assert kind_of(dsn) == kind


@pytest.mark.parametrize(
    ("dsn", "reason"),
    [
        ("", "must be a connection string such as postgresql://"),
        ("secret-word", "must be a connection string"),
        ("secret-word://app@db.example/shop", "must be a connection string"),
        ("postgresql:secret-word", "must be a connection string"),
        ("mysql://app:secret-word/x@db.example/shop", "%2F for a slash"),
        ("redis://app:secret-word@db.example:many/0", "with %-escapes"),
        ("redis://[secret-word/0", "with %-escapes"),
        ("redis://:12?secret-word@db.example:6379/0", "with %-escapes"),
        ("redis://:12?secret-word=1@db.example/0", "with %-escapes"),
        ("mysql://app:secret-word@db.example", "must name the database: mysql://"),
        (
            "mongodb://app:secret-word@db.example/?tls=true",
            "must name the database: mongodb://",
        ),
        (
            "mysql://app:secret-word@db.example/shop?tls=1",
            "parameter tls; MySQL has ssl-ca, ssl-cert, ssl-key, ssl-mode",
        ),
        (
            "rediss://app:secret-word@db.example/0?timeout=1",
            "parameter timeout; Redis has ssl-ca-certs, ",
        ),
    ],
)
def test_a_bad_connection_string_is_refused_and_not_shown(
    dsn: str, reason: str
) -> None:
    with pytest.raises(Unfit) as refused:
        kind_of(dsn)
    assert reason in str(refused.value)
    assert "secret-word" not in f"{refused.value!r} {vars(refused.value)}"
    assert refused.value.given is None


def test_a_library_that_does_not_load_is_named_with_its_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> NoReturn:
        raise ImportError("no pq wrapper available")

    monkeypatch.setitem(DRIVERS, "postgres", broken)
    with pytest.raises(
        DatabaseUnreachable,
        match=r"psycopg is missing or does not load \(no pq wrapper",
    ) as failed:
        anyio.run(Database("postgresql://x:secret-word@127.0.0.1/x", timeout=1).age)
    (step,) = failed.value.then
    assert (
        str(step) == f"Run {pip_install('drill-postgresql')} to install what it needs."
    )


STOPPED = """
import anyio, sys
from pulumi_snapshots.databases.database import Database

async def body():
    with anyio.move_on_after(1) as time:
        async with anyio.create_task_group() as group:
            for dsn in sys.argv[1:]:
                group.start_soon(Database(dsn, timeout=600).age)
    assert time.cancelled_caught

anyio.run(body)
print("stopped")
"""


def test_a_stopped_run_ends_though_no_server_answers() -> None:
    """As after a ^C: the libraries would wait for ten minutes, and their threads keep the process."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        places = [
            f"{kind.schemes[0]}://x:y@127.0.0.1:{mute.getsockname()[1]}/0"
            for kind in ENGINES.values()
        ]
        command = [sys.executable, "-c", STOPPED, *places]
        ended = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=120, check=False
        )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("stopped\n", "", 0)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://someone:secret%2Fword@db.example:5432/shop",
        "postgresql://someone:secret/word@db.example:5432/shop",
        "postgresql://someone:secret@/word@db.example:5432/shop?password=secret/word",
        "postgresql://db.example/shop?user=other&sslpassword=secret%2Fword",
        "host=db.example user=someone password=secret/word",
        "host = db.example  user='someone' sslpassword='secret/word'",
        "mongodb://someone:secret%2Fword@db.example,db.example:27018/shop",
    ],
)
def test_what_a_library_says_is_shown_without_the_connection(dsn: str) -> None:
    said = f'cannot use {dsn}: refused for "someone" at db.example (secret/word) and at db.example.org\nmore'
    shown = shown_message(dsn, said)
    for part in (
        dsn,
        "secret/word",
        "secret%2Fword",
        "someone" if "someone" in dsn else "secret/word",
    ):
        assert part not in shown
    assert shown.endswith("and at db.example.org")
    assert f"at {HIDDEN} (" in shown


PEM = "-----BEGIN%20KEY-----%0Asecretsecret%0A-----END%20KEY-----"


@pytest.mark.parametrize(
    ("dsn", "part"),
    [
        (
            "postgresql://someone:half@other/half@db.example:5432/shop",
            "half@other/half",
        ),
        (f"postgresql://db.example/shop?sslkey={PEM}", "secretsecret"),
        ("mongodb://db.example/shop?awsSecretKey=of%2Fours", "of/ours"),
        ("hostaddr=192.0.2.7 user=someone dbname=shop", "192.0.2.7"),
    ],
    ids=[
        "a password with an @",
        "a line of a key",
        "a secret by another name",
        "an address",
    ],
)
def test_a_part_of_a_connection_is_hidden_by_itself(dsn: str, part: str) -> None:
    shown = shown_message(dsn, f"cannot read '{part}' of it")
    assert shown == f"cannot read '{HIDDEN}' of it"


def test_what_a_library_says_is_one_line_of_some_length() -> None:
    dsn = "redis://:hush@db.example/0"
    shown = [
        shown_message(dsn, each) for each in ("  it failed.\nhush\n", "", "x" * 5000)
    ]
    assert shown == ["it failed", "", "x" * LONGEST_SHOWN + HIDDEN]


def test_a_time_out_is_found_where_pymysql_keeps_it() -> None:
    lost = pymysql.OperationalError(2013, "Lost connection to MySQL server")
    assert not is_late(lost)
    lost.original_exception = TimeoutError("timed out")
    assert is_late(lost)
