"""SQL at MySQL, as its application would run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymysql

if TYPE_CHECKING:
    from tools.servers import Server


def mysql_at(server: Server, *statements: str, database: str | None = None) -> tuple[Any, ...]:
    """Run SQL statements; returns the rows of the last one."""
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
