"""PostgreSQL, by psycopg."""

import math
from itertools import islice
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pulumi_snapshots.databases.kinds import BlockingConnection, Refused, Scalar, only_column
from pulumi_snapshots.errors import DISTRIBUTION_NAME

ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
"""By these, in seconds, a server that vanishes is noticed within half a minute."""
AGE = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())"
PREPARE_POSTGRES = (
    "SELECT set_config('statement_timeout', %s, true), set_config('TimeZone', 'UTC', true)"
)


class Postgres(BlockingConnection):
    """A connection on which each command is one statement in a read-only transaction of its own."""

    def __init__(
        self,
        dsn: str,
        seconds: float,
    ) -> None:
        self._milliseconds = str(math.ceil(seconds * 1000))
        usual = {
            "connect_timeout": math.ceil(seconds),
            "client_encoding": "UTF8",
            "application_name": DISTRIBUTION_NAME,
            **ALIVE,
        }
        try:
            parameters: dict[str, Any] = {**usual, **conninfo_to_dict(dsn)}
        except psycopg.ProgrammingError:
            raise Refused(
                "the connection string has a parameter or a form that PostgreSQL does not know"
            ) from None
        # Without prepared statements it works through a connection pooler too.
        self._connection: psycopg.Connection[Any] = psycopg.connect(
            **parameters, prepare_threshold=None
        )
        self._connection.read_only = True
        self.end = self._connection.close
        self.is_lost = lambda _: self._connection.broken

    def ask(self, command: str) -> Scalar:
        """Return the only column of the only row of one statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(PREPARE_POSTGRES, (self._milliseconds,))
            # Only a single statement can be streamed. So none can follow that makes the transaction
            # write.
            rows = cursor.stream(command.encode())
            return only_column(list(islice(rows, 2)))

    def age(self) -> Scalar:
        """Tell it by when the server's first process started."""
        return self.ask(AGE)
