"""Redis and Valkey, by redis-py."""

import math
import re
import shlex
from collections import Counter
from typing import Any

import redis

from pulumi_snapshots.clock import system_monotonic
from pulumi_snapshots.databases.connection import (
    BlockingConnection,
    Refused,
    Scalar,
    Table,
    scalar,
)

FLAGS = 2
"""The place of a command's flags in the answer to COMMAND INFO."""

MOST_KEYS = 10_000_000
"""Keys of a logical database that are counted by prefix: 5 million took 18 s on two cores."""
MOST_PREFIXES = 1_000
BATCH = "1000"
"""Keys that the server looks at before it answers others."""


class Redis(BlockingConnection):
    """A connection that sends only commands that the server itself marks as reading."""

    counted_up_to = math.inf  # listing the key spaces counts them

    def __init__(
        self,
        dsn: str,
        seconds: float,
    ) -> None:
        limits = {
            "socket_connect_timeout": seconds,
            "socket_timeout": seconds,
            "health_check_interval": 0,
        }
        pool = redis.ConnectionPool.from_url(dsn, **limits, decode_responses=False)
        self._connection: Any = pool.make_connection()
        self._connection.connect()
        self.end = self._connection.disconnect
        self.is_lost = lambda error: isinstance(error, redis.ConnectionError | OSError)
        self._send("PING")

    def ask(self, command: str) -> Scalar:
        """Return the reply to a command line."""
        words = shlex.split(command)
        if not words:
            raise Refused(
                "a check of Redis is a command line, such as `HGET customer:1 name`"
            )
        if b"readonly" not in self._flags(words):
            name = words[0].upper()
            raise Refused(
                f"a check does not write, and {name} is not marked as a command that only reads"
            )
        return scalar(self._send(*words))

    def _flags(self, words: list[str]) -> Any:
        """Ask the server how it marks a command, or its subcommand.

        Raises `Refused` if the server does not know the command.
        """
        (command,) = self._send("COMMAND", "INFO", words[0])
        if command is None:
            raise Refused(f"unknown command {words[0]}")
        if len(words) > 1 and isinstance(command[-1], list):
            subcommand = f"{words[0]}|{words[1]}".lower().encode()
            for each in command[-1]:
                if isinstance(each, list) and each[0] == subcommand:
                    return each[FLAGS]
        return command[FLAGS]

    def age(self) -> Scalar:
        """Read the seconds since the server's start from its `INFO`."""
        return self._info("server").get("uptime_in_seconds")

    def _info(self, section: str) -> dict[str, str]:
        """Return what the server says of itself; nothing if the user has no right to it."""
        try:
            lines = self._send("INFO", section).decode().splitlines()
        except redis.ResponseError:
            return {}
        return dict(line.partition(":")[::2] for line in lines)

    def tables(self, until: float) -> list[Table]:
        """List the prefixes of keys, up to the first colon, of each logical database.

        A logical database with more than `MOST_KEYS` or `MOST_PREFIXES` is listed as a whole.
        """
        listed = []
        for database, keys in self._databases().items():
            prefixes = self._prefixes(database, until) if keys <= MOST_KEYS else None
            if prefixes is None:
                prefixes = {"": keys}
            listed += [
                Table(f"{database}{prefix}", "", size)
                for prefix, size in prefixes.items()
            ]
        return listed

    def _databases(self) -> dict[str, int]:
        """Return the keys of each logical database that has some: `db0`."""
        keyspace = self._info("keyspace")
        if not keyspace:
            return {f"db{self._connection.db}": self._send("DBSIZE")}
        keys = (
            (name, re.match(r"keys=(\d+)", statistics))
            for name, statistics in keyspace.items()
        )
        return {name: int(number[1]) for name, number in keys if number}

    def _prefixes(self, database: str, until: float) -> dict[str, int] | None:
        """Count the keys with each prefix, such as `/order:*`; None if these are too many.

        Raises `Refused` if there is not enough time.
        """
        self._send("SELECT", database.removeprefix("db"))
        counts: Counter[bytes] = Counter()
        cursor = b"0"
        while True:
            cursor, keys = self._send("SCAN", cursor, "COUNT", BATCH)
            counts.update(key[: key.find(b":") + 1] for key in keys)
            if len(counts) > MOST_PREFIXES:
                return None
            if cursor == b"0":
                break
            if system_monotonic() > until:
                raise Refused(f"the keys of {database} could not be counted in time")
        by_name = Counter[str]()  # two prefixes of bytes can have one name
        for prefix, keys in counts.items():
            by_name[_shown(prefix)] += keys
        return by_name

    def count(self, table: Table, seconds: float) -> int:  # noqa: ARG002  the list has the number
        """Return the number of keys."""
        return table.size

    def open_view(self, table: Table) -> object:
        """Do nothing: Redis has no views."""

    def writes(self) -> object:
        """Count the server's commands that write; keys that expire do not count."""
        statistics = self._info("commandstats")
        try:
            writing = {each.decode() for each in self._send("ACL", "CAT", "write")}
        except redis.ResponseError:
            return None
        calls = (
            re.match(r"calls=(\d+)", statistic)
            for name, statistic in statistics.items()
            if name.removeprefix("cmdstat_") in writing
        )
        return sum(int(number[1]) for number in calls if number) if statistics else None

    def _send(self, *words: str | bytes) -> Any:
        self._connection.send_command(*words)
        return self._connection.read_response()


def _shown(prefix: bytes) -> str:
    """Return how results name the keys with a prefix: `/order:*`."""
    name = prefix.decode(errors="backslashreplace")
    return f"/{name}*" if name else "/(no prefix)"
