"""Ask a database as a drill does, for the value of a command or what the error says; or as an application does."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import anyio
import pymysql
import pytest

from pulumi_snapshots.databases.connection import Scalar
from pulumi_snapshots.databases.database import (
    CheckNotRun,
    Database,
    DatabaseUnreachable,
)
from tools.servers import Server

SECONDS = 20.0
"""The time-out, for a machine that is busy with other tests."""


class Why(str):
    __slots__ = ()


def asked(
    dsn: str, commands: Iterable[str], seconds: float = SECONDS
) -> dict[str, Scalar | Why]:
    async def body() -> dict[str, Scalar | Why]:
        values: dict[str, Scalar | Why] = {}
        database = Database(dsn, timeout=seconds)
        for command in commands:
            try:
                values[command] = await database.ask(command)
            except CheckNotRun as error:
                values[command] = Why(error.why)
                _check(error, dsn)
        return values

    return anyio.run(body)


def ask(dsn: str, command: str) -> Scalar | Why:
    return asked(dsn, [command])[command]


def unreachable(
    places: Mapping[str, str], secrets: Iterable[str], seconds: float = SECONDS
) -> None:
    """Check that no connection string connects, that each error has its reason, and that none shows a secret."""

    async def body() -> None:
        for dsn, why in places.items():
            with pytest.raises(DatabaseUnreachable) as failed:
                await Database(dsn, timeout=seconds).age()
            _check(failed.value, dsn, *secrets)
            assert re.search(why, failed.value.why, re.IGNORECASE), (
                why,
                failed.value.why,
            )

    anyio.run(body)


def _check(error: Exception, *secrets: str) -> None:
    told = f"{error} {error!r} {vars(error)}"
    assert not [secret for secret in secrets if secret in told], told
    assert error.__context__ is None, "a library's error may hold the connection string"


def mysql_at(
    server: Server, *statements: str, database: str | None = None
) -> tuple[Any, ...]:
    connection = pymysql.connect(
        host="127.0.0.1",
        port=server.port,
        user=server.user,
        password=server.password,
        database=database,
        autocommit=True,
    )
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        rows: tuple[Any, ...] = cursor.fetchall()
        return rows
