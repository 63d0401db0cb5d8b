"""Redis and Valkey, by redis-py."""

import shlex
from typing import Any

import redis

from pulumi_snapshots.databases.kinds import BlockingConnection, Refused, Scalar, scalar

FLAGS = 2
"""The place of a command's flags in what COMMAND INFO says of it."""


class Redis(BlockingConnection):
    """A connection that sends only commands that the server itself marks as reading."""

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
        pool = redis.ConnectionPool.from_url(
            dsn,
            **limits,
            decode_responses=False,
        )
        self._connection = pool.make_connection()
        self._connection.connect()
        self.end = self._connection.disconnect
        self.is_lost = lambda error: isinstance(error, redis.ConnectionError | OSError)
        self._send("PING")

    def ask(self, command: str) -> Scalar:
        """Return the reply to a command line."""
        words = shlex.split(command)
        if not words:
            raise Refused("a check of Redis is a command line, such as `HGET customer:1 name`")
        if b"readonly" not in self._flags(words):
            name = words[0].upper()
            raise Refused(
                f"a check does not write, and {name} is not marked as a command that only reads"
            )
        return scalar(self._send(*words))

    def _flags(self, words: list[str]) -> Any:
        """Ask the server how it marks a command, or its subcommand.

        Raises `Refused` if it does not know it.
        """
        (about,) = self._send(
            "COMMAND",
            "INFO",
            words[0],
        )
        if about is None:
            raise Refused(f"unknown command {words[0]}")
        if len(words) > 1 and isinstance(about[-1], list):
            subcommand = f"{words[0]}|{words[1]}".lower().encode()
            for each in about[-1]:
                if isinstance(each, list) and each[0] == subcommand:
                    return each[FLAGS]
        return about[FLAGS]

    def age(self) -> Scalar:
        """Tell it by what `INFO` says."""
        lines = self._send("INFO", "server").decode().splitlines()
        return dict(line.partition(":")[::2] for line in lines).get("uptime_in_seconds")

    def _send(self, *words: str) -> Any:
        self._connection.send_command(*words)
        return self._connection.read_response()
