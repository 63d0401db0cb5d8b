"""A Redis server as the emulator uses it: a logical database for each of its own.

A hash in logical database 0 holds the number of each, and its mark. The emulator touches no other, besides empty ones.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import threading
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from squarecloud_emulator.data.servers.server import MARK, DataServer
from squarecloud_emulator.data.store import Rows, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["RedisServer"]

_CONNECT_SECONDS = 10  # how long a connection may take
_USUAL_DATABASES = 16  # if the server does not say how many it has
_PASSWORD = "REDISCLI_AUTH"  # noqa: S105 - the variable that redis-cli reads
# All keys at one moment, each with its time of expiry (Unix milliseconds, 0 if none) and Redis' own form of its value.
_ALL = """
local now = redis.call('TIME')
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local at = redis.pcall('PEXPIRETIME', key)
  if type(at) == 'table' then -- before Redis 7: from what is left, which may be a millisecond off
    local left = redis.call('PTTL', key)
    at = left < 0 and 0 or now[1] * 1000 + math.floor(now[2] / 1000) + left
  end
  at = math.max(at, 0)
  all[#all + 1] = key
  all[#all + 1] = string.format('%.0f', at)
  all[#all + 1] = redis.call('DUMP', key)
end
return all
"""


class RedisServer(DataServer):
    """A server that was checked and can be used.

    Args:
        dsn: A URL. It may hold the password; so may REDISCLI_AUTH.
        kept: Whether the databases outlive the emulator.

    Raises:
        ValueError: It is no DSN, or the server does not answer.
    """

    title = "Redis"
    member = "database.resp"
    errors = redis.RedisError

    def __init__(self, dsn: str, *, kept: bool) -> None:
        super().__init__(kept=kept)
        try:
            self._options: dict[str, Any] = {**parse_url(dsn)}
        except ValueError:
            raise ValueError("not a Redis DSN: it is redis://HOST:PORT") from None
        self._options.setdefault("password", os.environ.get(_PASSWORD))
        self._lock = threading.Lock()  # held while an empty database is looked for and used
        try:
            with self._connected(0) as client:
                self._databases = _number_of_databases(client)
        except redis.RedisError as error:
            raise ValueError(f"cannot use Redis at {self._place()}: {error}") from None

    def create(self, database_id: str) -> None:
        """Give an empty logical database to an id.

        Raises:
            ValueError: Another emulator has this id there.
            StoreError: The server refuses, or has no empty database.
        """
        with self._lock, self._explained(f"cannot create database {database_id}"), self._connected(0) as client:
            about = client.hget(MARK, database_id)
            if about is None:
                number = self._empty(client)
            else:
                number, mark = _read(about)
                self._check_owner(database_id, mark)
                self._flush(number)
            client.hset(MARK, database_id, f"{number} {self._mark}")

    def drop(self, database_id: str) -> None:
        """Empty a logical database, and forget its id."""
        with self._explained(f"cannot drop database {database_id}"), self._connected(0) as client:
            about = client.hget(MARK, database_id)
            if about is not None:
                self._flush(_read(about)[0])
                client.hdel(MARK, database_id)

    def claim(self, database_id: str) -> None:
        """Take over a database that an earlier run has created.

        Raises:
            ValueError: It does not exist.
            StoreError: The server refuses.
        """
        with self._explained(f"cannot use database {database_id}"), self._connected(0) as client:
            if client.hget(MARK, database_id) is None:
                raise ValueError(f"Redis at {self._place()} has no database {database_id} of the emulator's")

    def execute(self, database_id: str, statements: Sequence[str]) -> list[Rows]:
        """Run command lines; the rows of each are the elements of its reply.

        Raises:
            StoreError: A command is wrong, or the server cannot be reached.
        """
        return self._execute(self.number_of(database_id), statements)

    def number_of(self, database_id: str) -> int:
        """The number of the logical database that an id has."""
        with self._explained(f"cannot use database {database_id}"), self._connected(0) as client:
            about = client.hget(MARK, database_id)
        if about is None:
            raise StoreError(f"the server has lost database {database_id}")
        return _read(about)[0]

    def dump(self, database_id: str, into: Path) -> None:
        """Write a database to a file of commands that bring it back: `redis-cli -n NUMBER --pipe` reads it.

        Raises:
            StoreError: It failed.
        """
        self._dump(self.number_of(database_id), into)

    def restore(self, database_id: str, dump: Path, *, careless: bool = False) -> None:
        """Replace a database by a dump: load it into an empty one, and swap the two.

        Raises:
            StoreError: It failed; the database holds what it held before.
        """
        number = self.number_of(database_id)
        with self._spare(f"cannot restore {database_id}") as spare:
            self._load(spare, dump, careless=careless)
            with self._connected(0) as client:
                client.swapdb(number, spare)

    def alter(self, database_id: str, dump: Path, statements: Sequence[str]) -> None:
        """Run command lines on the data in a dump; without any, make it the dump of an empty database.

        Raises:
            StoreError: A command is wrong, or it failed.
        """
        with self._spare(f"cannot change the snapshot of {database_id}") as spare:
            if statements:
                self._load(spare, dump)
                self._execute(spare, statements)
            self._dump(spare, dump)

    def stop(self) -> None:
        """Do nothing: commands are short."""

    @contextlib.contextmanager
    def _spare(self, what: str) -> Iterator[int]:
        """An empty logical database, which is emptied at the end."""
        with self._lock, self._explained(what):
            with self._connected(0) as client:
                spare = self._empty(client)
            try:
                yield spare
            finally:
                self._flush(spare)

    def _empty(self, client: Any) -> int:
        taken = {_read(about)[0] for about in client.hvals(MARK)}
        for number in range(1, self._databases):
            if number not in taken:
                with self._connected(number) as candidate:
                    if candidate.dbsize() == 0:
                        return number
        raise StoreError(f"Redis at {self._place()} has no empty database among its {self._databases}")

    def _flush(self, number: int) -> None:
        with self._connected(number) as client:
            client.flushdb()

    def _execute(self, number: int, statements: Sequence[str]) -> list[Rows]:
        with self._explained("Redis refuses"), self._connected(number) as client:
            return [_rows(client.execute_command(*shlex.split(statement))) for statement in statements]

    def _dump(self, number: int, into: Path) -> None:
        with self._explained("cannot dump"), self._connected(number) as client:
            found = client.eval(_ALL, 0)
        with into.open("wb") as file:
            for key, at, value in zip(found[::3], found[1::3], found[2::3], strict=True):
                file.write(_command(b"RESTORE", key, at, value, b"REPLACE", b"ABSTTL"))

    def _load(self, number: int, dump: Path, *, careless: bool = False) -> None:
        with self._connected(number) as client:
            try:
                for command in _commands(dump.read_bytes()):
                    client.execute_command(*command)
            except (ValueError, redis.ResponseError) as error:
                if not careless:
                    raise StoreError(f"the snapshot holds no whole dump of Redis: {error}") from None

    @contextlib.contextmanager
    def _connected(self, number: int) -> Iterator[Any]:
        once = Retry(NoBackoff(), 0)  # a server on this machine answers or is down
        client = redis.Redis(**{**self._options, "db": number}, socket_connect_timeout=_CONNECT_SECONDS, retry=once)
        try:
            yield client
        finally:
            client.close()

    def _place(self) -> str:
        return f"{self._options.get('host', 'localhost')} port {self._options.get('port', 6379)}"


def _number_of_databases(client: Any) -> int:
    try:
        return int(client.config_get("databases")["databases"])
    except redis.ResponseError:
        return _USUAL_DATABASES


def _read(about: bytes) -> tuple[int, str]:
    number, _, mark = about.decode().partition(" ")
    return int(number), mark


def _rows(reply: Any) -> Rows:
    values = reply if isinstance(reply, list) else [reply]
    return [[value.decode(errors="replace") if isinstance(value, bytes) else value] for value in values]


def _command(*words: bytes) -> bytes:
    """A command as clients send it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _commands(content: bytes) -> Iterator[list[bytes]]:
    """The commands in a dump.

    Raises:
        ValueError: The rest is no command, or is cut.
    """
    at = 0
    while at < len(content):
        count, at = _count(content, at, b"*")
        words: list[bytes] = []
        for _ in range(count):
            length, at = _count(content, at, b"$")
            words.append(content[at : at + length])
            at += length + 2
            if at > len(content):
                raise ValueError("it is cut")
        yield words


def _count(content: bytes, at: int, kind: bytes) -> tuple[int, int]:
    found = re.compile(rb"%b(\d{1,10})\r\n" % re.escape(kind)).match(content, at)
    if found is None:
        raise ValueError("it is cut, or no dump")
    return int(found[1]), found.end()
