"""Redis and Valkey, by redis-py."""

import shlex
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import redis

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.databases.dumps import Loading, NotLoaded
from pulumi_snapshots.databases.kinds import Refused, Scalar, Session, login, parameters, scalar

BATCH = 500  # keys that are copied at once
FOR_EVER = -1  # what the server says of a key that does not expire
FLAGS = 2  # where what COMMAND INFO says of a command has its flags


class Redis(Session):
    """A connection that sends only commands that the server itself marks as reading."""

    counts = "DBSIZE"

    def __init__(self, dsn: str, seconds: float) -> None:
        limits = {
            "socket_connect_timeout": seconds,
            "socket_timeout": seconds,
            "health_check_interval": 0,
        }
        self._connection = redis.ConnectionPool.from_url(
            dsn, **limits, decode_responses=False
        ).make_connection()
        self._connection.connect()
        self.end = self._connection.disconnect
        self.is_lost = lambda error: isinstance(error, redis.ConnectionError | OSError)
        self._send("PING")

    def ask(self, command: str) -> Scalar:
        """The reply to a command line."""
        if not (words := shlex.split(command)):
            raise Refused("a check of Redis is a command line, such as `HGET customer:1 name`")
        (about,) = self._send("COMMAND", "INFO", words[0])
        if about is None:
            raise Refused(f"unknown command {words[0]}")
        if len(words) > 1 and isinstance(
            about[-1], list
        ):  # of a command with subcommands each is marked by itself
            whole = f"{words[0]}|{words[1]}".lower().encode()
            about = next(
                (each for each in about[-1] if isinstance(each, list) and each[0] == whole), about
            )
        if b"readonly" not in about[FLAGS]:
            raise Refused(
                f"a check does not write, and {words[0].upper()} is not marked as a command that only reads"
            )
        return scalar(self._send(*words))

    def age(self) -> Scalar:
        """As `INFO` says."""
        lines = self._send("INFO", "server").decode().splitlines()
        return dict(line.partition(":")[::2] for line in lines).get("uptime_in_seconds")

    def _send(self, *words: str) -> Any:
        self._connection.send_command(*words)
        return self._connection.read_response()

    def empty(self) -> None:
        """Remove all keys of the logical database."""
        self._send("FLUSHDB")

    @staticmethod
    async def load(loading: Loading) -> None:
        """Load commands by redis-cli, and a file by a server of our own, since no server loads one while it runs."""
        if loading.dump.form == "commands":
            to, given = login(loading.dsn), parameters(loading.dsn)
            names = {"ssl-ca-certs": "--cacert", "ssl-certfile": "--cert", "ssl-keyfile": "--key"}
            tls = ["--tls"] if loading.dsn.startswith("rediss:") else []
            tls += [
                word
                for name, option in names.items()
                if name in given
                for word in (option, given[name])
            ]
            tls += ["--insecure"] if given.get("ssl-cert-reqs") == "none" else []
            place = ["-h", to["host"], "-p", str(to["port"]), "-n", to["database"] or "0"]
            place += ["--user", to["user"]] if to["user"] else []
            await loading.fed(*place, *tls, "--pipe", REDISCLI_AUTH=to["password"])
            return

        async def copied(server: anyio.abc.Process) -> None:
            ours = partial(copy, f"{folder}/socket", loading.dsn, loading.overwrite)
            while server.returncode is None:
                if await anyio.to_thread.run_sync(ours, abandon_on_cancel=True):
                    server.terminate()
                    return
                await Clock().sleep(0.05)

        async with loading.unpacked() as folder:
            place = ["--port", "0", "--unixsocket", f"{folder}/socket", "--dir", folder]
            place += ["--dbfilename", Path(loading.dump.member).name]
            await loading.run(
                *place, "--save", "", "--appendonly", "no", "--databases", "1024", meanwhile=copied
            )


def copy(socket: str, dsn: str, overwrite: bool) -> bool:  # noqa: FBT001  threads have no keywords
    """Copy all keys of a server of our own, which loads a file, to another one; false if it has not loaded it yet."""
    with redis.Redis(unix_socket_path=socket) as source:
        try:
            spaces = list(source.info("keyspace"))
        except (redis.BusyLoadingError, redis.ConnectionError):
            return False
    if len(spaces) > 1:
        raise NotLoaded(f"the dump has keys in several logical databases: {', '.join(spaces)}")
    number = int(spaces[0].removeprefix("db")) if spaces else 0
    with (
        redis.Redis(unix_socket_path=socket, db=number) as source,
        redis.Redis.from_url(dsn) as target,
    ):
        keys = source.scan_iter(count=BATCH)
        while batch := list(islice(keys, BATCH)):
            asked, given = source.pipeline(transaction=False), target.pipeline(transaction=False)
            for key in batch:
                asked.dump(key)
                asked.pttl(key)
            found = asked.execute()
            for key, value, left in zip(batch, found[::2], found[1::2], strict=True):
                if value is not None and (left == FOR_EVER or left > 0):  # else it has just expired
                    given.restore(key, max(left, 0), value, replace=overwrite)
            given.execute()
    return True
