"""Load a dump into a database by its server's own programs, wherever the database is."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import PIPE

import anyio
import anyio.to_thread

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.databases.dumps import Dump, NotLoaded
from pulumi_snapshots.databases.hiding import Hidden
from pulumi_snapshots.databases.kinds import KINDS, kind_of, login, parameters
from pulumi_snapshots.late import late
from pulumi_snapshots.run.settings import without_key

BLOCK = 1024 * 1024
ELSEWHERE = re.compile(rb"^(?:USE|CREATE DATABASE)\b", re.MULTILINE | re.IGNORECASE)
"""A line at the beginning of a dump of MySQL that leads to another database than that of the connection."""
LAST_LINES = 3
"""Of what a program says before it fails."""
PARTLY = "The database may hold a part of it: empty it before you try again, or overwrite it."
PROGRAMS = {
    ("postgres", "file"): ("pg_restore",),
    ("postgres", "folder"): ("pg_restore",),
    ("postgres", "sql"): ("psql",),
    ("mysql", "sql"): ("mysql", "mariadb"),
    ("redis", "rdb"): ("redis-server",),
    ("redis", "commands"): ("redis-cli",),
}
"""The programs that load each form, one of each line; MongoDB's dumps are loaded by its library."""


def program(kind: str, form: str, environment: Mapping[str, str]) -> str | None:
    """The path of the program that loads a form; None if it is not on PATH, empty if none is needed."""
    names = PROGRAMS.get((kind, form), ())
    return next(
        filter(None, (shutil.which(each, path=environment.get("PATH")) for each in names)), None if names else ""
    )


async def load(dump: Dump, dsn: str, environment: Mapping[str, str], *, overwrite: bool) -> None:
    """Load a dump of the connection's kind of database; with `overwrite` it replaces what the database has of it.

    Raises:
        NotLoaded: it failed. PostgreSQL's database is as it was then; others may hold a part.
    """
    kind = kind_of(dsn)
    whole = "The database is as it was: PostgreSQL loads everything or nothing." if kind == "postgres" else PARTLY
    loading = LOADERS[kind](_Loading(dump, dsn, environment, overwrite))
    await _told(loading, dsn, f"{KINDS[kind].title} did not take the dump", whole)


async def empty(dsn: str) -> None:
    """Remove everything that the database of a connection string holds; raises `NotLoaded` if that fails."""
    kind = kind_of(dsn)
    emptying = anyio.to_thread.run_sync(EMPTIERS[kind](), dsn, abandon_on_cancel=True)
    await _told(emptying, dsn, f"the {KINDS[kind].title} database could not be emptied")


async def _told(work: Awaitable[None], dsn: str, what: str, done: str = "") -> None:
    """Do the work; raises `NotLoaded` with the reason if it fails, without a part of the connection string."""
    failed = ""
    try:
        await work
    except Exception as error:  # noqa: BLE001  a library's, of any kind
        failed = Hidden(dsn).text(error.happened if isinstance(error, NotLoaded) else error) or type(error).__name__
    if failed:  # outside of the handler: a library's error may hold the connection string
        raise NotLoaded(f"{what}: {failed}", done)


@dataclass(frozen=True)
class _Loading:
    """One dump on its way into one database; see `load`."""

    dump: Dump
    dsn: str
    environment: Mapping[str, str]
    overwrite: bool

    async def fed(self, *arguments: str, **secrets: str | None) -> None:
        """Run the program of the dump's form, and feed the dump to it."""
        with self.dump.file() as file:

            async def feed(process: anyio.abc.Process) -> None:
                assert process.stdin is not None  # noqa: S101  for the type checker
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # it says why at its end
                    while block := await anyio.to_thread.run_sync(file.read, BLOCK):
                        await process.stdin.send(block)
                    await process.stdin.aclose()

            await self.run(*arguments, meanwhile=feed, **secrets)

    async def run(
        self,
        *arguments: str,
        meanwhile: Callable[[anyio.abc.Process], Awaitable[None]] | None = None,
        **secrets: str | None,
    ) -> None:
        """Run the program of the dump's form to its end, with `secrets` in its environment, since all see its arguments."""
        found = program(self.dump.kind, self.dump.form, self.environment)
        if found is None:
            names = " or ".join(PROGRAMS[self.dump.kind, self.dump.form])
            raise NotLoaded(f"{names} is not on PATH, and loads this dump")
        known = {name: value for name, value in secrets.items() if value}
        environment, command = {**without_key(self.environment), "LC_ALL": "C", **known}, [found, *arguments]
        with tempfile.TemporaryFile() as said:
            start = partial(anyio.open_process, command, stdin=PIPE, stdout=said, stderr=said, env=environment)
            async with await start() as process:
                try:
                    if meanwhile is not None:
                        await meanwhile(process)
                    code = await process.wait()
                finally:
                    with suppress(ProcessLookupError):
                        process.kill()
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()[-LAST_LINES:]
        if code:
            raise NotLoaded(f"{Path(found).name}: {' / '.join(lines) or f'exit code {code}'}")


async def _postgresql(loading: _Loading) -> None:
    place, password = late("databases.postgresql:login")(loading.dsn)
    to = f"--dbname={place}"
    if loading.dump.form == "sql":
        how = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction")
        await loading.fed(*how, to, PGPASSWORD=password)
        return
    options = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", to]
    options += ["--clean", "--if-exists"] if loading.overwrite else []
    if loading.dump.form == "file":
        await loading.fed(*options, PGPASSWORD=password)
        return
    with tempfile.TemporaryDirectory() as folder:
        await anyio.to_thread.run_sync(_unpack, loading.dump, Path(folder))
        await loading.run(*options, folder, PGPASSWORD=password)


def _unpack(dump: Dump, folder: Path) -> None:
    for name, content in dump.files():
        with (folder / Path(name).name).open("wb") as file:
            shutil.copyfileobj(content, file)


async def _mysql(loading: _Loading) -> None:
    to, given = login(loading.dsn), parameters(loading.dsn)
    mode = given.get("ssl-mode", "VERIFY_CA" if "ssl-ca" in given else "PREFERRED").upper()
    # MySQL's programs know `ssl-mode`, MariaDB's know the others; each passes over what only the other one knows.
    options = [f"--{name}={given[name]}" for name in ("ssl-ca", "ssl-cert", "ssl-key") if name in given]
    options.append(f"--loose-ssl-mode={mode}")
    if mode != "PREFERRED":
        options.append("--loose-skip-ssl" if mode == "DISABLED" else "--loose-ssl")
    verify = "--loose-ssl-verify-server-cert"
    options.append(verify if mode.startswith("VERIFY") else "--loose-skip-ssl-verify-server-cert")
    options += [f"--host={to['host']}", f"--port={to['port']}", f"--user={to['user']}"]
    # Without `binary-mode` a dump may hold commands for this machine.
    options += ["--default-character-set=utf8mb4", "--binary-mode", to["database"]]
    with loading.dump.file() as file:
        if ELSEWHERE.search(await anyio.to_thread.run_sync(file.read, BLOCK)):
            raise NotLoaded("the dump names a database of its own, and would change that one")
    await loading.fed("--no-defaults", *options, MYSQL_PWD=to["password"])


async def _mongodb(loading: _Loading) -> None:
    load = late("databases.mongodb:load")
    await anyio.to_thread.run_sync(load, loading.dsn, loading.dump, loading.overwrite, abandon_on_cancel=True)


async def _redis(loading: _Loading) -> None:
    if loading.dump.form == "commands":
        to, given = login(loading.dsn), parameters(loading.dsn)
        names = {"ssl-ca-certs": "--cacert", "ssl-certfile": "--cert", "ssl-keyfile": "--key"}
        tls = ["--tls"] if loading.dsn.startswith("rediss:") else []
        tls += [word for name, option in names.items() if name in given for word in (option, given[name])]
        tls += ["--insecure"] if given.get("ssl-cert-reqs") == "none" else []
        place = ["-h", to["host"], "-p", str(to["port"]), "-n", to["database"] or "0"]
        place += ["--user", to["user"]] if to["user"] else []
        await loading.fed(*place, *tls, "--pipe", REDISCLI_AUTH=to["password"])
        return

    # No server loads a file while it runs, so one of our own loads it, and gives its keys to the other.
    async def copy(server: anyio.abc.Process) -> None:
        copies, ended = partial(late("databases.redis_server:copy"), f"{folder}/socket", loading.dsn), False
        while server.returncode is None and not ended:
            if ended := await anyio.to_thread.run_sync(copies, loading.overwrite, abandon_on_cancel=True):
                server.terminate()
            else:
                await Clock().sleep(0.05)

    with tempfile.TemporaryDirectory() as folder:
        await anyio.to_thread.run_sync(_unpack, loading.dump, Path(folder))
        place = ["--port", "0", "--unixsocket", f"{folder}/socket", "--dir", folder]
        place += ["--dbfilename", Path(loading.dump.member).name]
        await loading.run(*place, "--save", "", "--appendonly", "no", "--databases", "1024", meanwhile=copy)


LOADERS: dict[str, Callable[[_Loading], Awaitable[None]]] = {
    "postgres": _postgresql,
    "mysql": _mysql,
    "mongo": _mongodb,
    "redis": _redis,
}
EMPTIERS: dict[str, Callable[[], Callable[[str], None]]] = {
    "postgres": lambda: late("databases.postgresql:empty"),
    "mysql": lambda: late("databases.mysql:empty"),
    "mongo": lambda: late("databases.mongodb:empty"),
    "redis": lambda: late("databases.redis_server:empty"),
}
"""What empties a database, by its kind."""
