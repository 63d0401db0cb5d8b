"""Load a dump into a database by its engine's own programs, wherever the database is."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.databases.dumps import Dump, NotLoaded
from pulumi_snapshots.databases.engines import ENGINES, engine_of, parameters
from pulumi_snapshots.databases.hiding import Hidden
from pulumi_snapshots.late import late
from pulumi_snapshots.run.settings import without_key

BLOCK = 1024 * 1024
ELSEWHERE = re.compile(rb"^(?:USE|CREATE DATABASE)\b", re.MULTILINE | re.IGNORECASE)
"""A line at the beginning of a dump of MySQL that leads to another database than that of the connection."""
LAST_LINES = 3
"""Of what a program says before it fails."""
DYING = 1.0
"""Seconds in which a program that is ending says so."""
PROGRAMS = {
    ("postgres", "file"): ("pg_restore",),
    ("postgres", "folder"): ("pg_restore",),
    ("postgres", "sql"): ("psql",),
    ("mysql", "sql"): ("mysql", "mariadb"),
    ("redis", "rdb"): ("redis-server",),
    ("redis", "commands"): ("redis-cli",),
}
"""The programs that load each form, one of each line; MongoDB's dumps are loaded by its library."""


def program(engine: str, form: str, environment: Mapping[str, str]) -> str | None:
    """The path of the program that loads a form; None if it is not on PATH, empty if none is needed."""
    names = PROGRAMS.get((engine, form), ())
    return next(
        filter(None, (shutil.which(each, path=environment.get("PATH")) for each in names)), None if names else ""
    )


async def load(dump: Dump, dsn: str, environment: Mapping[str, str], *, overwrite: bool) -> None:
    """Load a dump.

    Args:
        dump: of the connection's engine.
        dsn: the connection string of the database.
        environment: of the programs.
        overwrite: whether what the dump holds replaces what the database has of it.

    Raises:
        NotLoaded: it failed. PostgreSQL's database is as it was then; others may hold a part.
    """
    engine, hidden = engine_of(dsn), Hidden(dsn)
    title = ENGINES[engine].title
    failed = ""
    try:
        await LOADERS[engine](_Loading(dump, dsn, environment, overwrite=overwrite))
    except NotLoaded as error:
        failed = hidden.text(error.happened)
    except Exception as error:  # noqa: BLE001  a library's, of any kind
        failed = hidden.text(error)
    if failed:  # outside of the handler: a library's error may hold the connection string
        whole = "The database is as it was: PostgreSQL loads everything or nothing."
        raise NotLoaded(f"{title} did not take the dump: {failed}", whole if engine == "postgres" else PARTLY)


async def empty(dsn: str) -> None:
    """Remove everything that the database of a connection string holds.

    Raises:
        NotLoaded: it failed, or something is left.
    """
    engine, hidden, failed = engine_of(dsn), Hidden(dsn), ""
    try:
        await anyio.to_thread.run_sync(EMPTIERS[engine](), dsn, abandon_on_cancel=True)
    except Exception as error:  # noqa: BLE001  a library's, of any kind
        failed = hidden.text(error)
    if failed:  # outside of the handler, as above
        raise NotLoaded(f"the {ENGINES[engine].title} database could not be emptied: {failed}")


PARTLY = "The database may hold a part of it: empty it before you try again, or overwrite it."


class _Closes(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closes)


class _Loading:
    """One dump on its way into one database."""

    def __init__(self, dump: Dump, dsn: str, environment: Mapping[str, str], *, overwrite: bool) -> None:
        self.dump = dump
        self.dsn = dsn
        self.overwrite = overwrite
        self._environment = environment

    async def fed(self, *arguments: str, secrets: Mapping[str, str | None]) -> None:
        """Run the program of the dump's form, and feed the dump to it; `secrets` are not among its arguments."""
        with self.dump.file() as file:
            async with self.running(*arguments, secrets=secrets) as process:
                assert process.stdin is not None  # noqa: S101  for the type checker
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # it says why at its end
                    while block := await anyio.to_thread.run_sync(file.read, BLOCK):
                        await process.stdin.send(block)
                    await process.stdin.aclose()

    @asynccontextmanager
    async def running(
        self, *arguments: str, secrets: Mapping[str, str | None], ends: bool = True
    ) -> AsyncIterator[anyio.abc.Process]:
        """The program of the dump's form while the body runs; if it `ends` by itself, its failure is raised."""
        found = program(self.dump.engine, self.dump.form, self._environment)
        if found is None:
            names = " or ".join(PROGRAMS[self.dump.engine, self.dump.form])
            raise NotLoaded(f"{names} is not on PATH, and loads this dump")
        environment = {**without_key(self._environment), "LC_ALL": "C"}
        environment |= {name: value for name, value in secrets.items() if value}
        with tempfile.TemporaryFile() as said:
            command = [found, *arguments]
            async with await anyio.open_process(
                command, stdin=PIPE, stdout=said, stderr=said, env=environment
            ) as process:
                broke: Exception | None = None
                try:
                    yield process
                except Exception as error:  # the program's own words say more, if it has ended
                    broke = error
                    with anyio.move_on_after(DYING):
                        await process.wait()
                    if process.returncode is None:
                        raise
                if not ends and process.returncode is None:
                    process.terminate()
                    return
                code = await process.wait()
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()[-LAST_LINES:]
        if broke is not None and not code:
            raise broke
        if code or not ends:
            raise NotLoaded(f"{Path(found).name}: {' / '.join(lines) or f'exit code {code}'}")


async def _postgresql(loading: _Loading) -> None:
    place, password = late("databases.postgresql:login")(loading.dsn)
    to, secrets = f"--dbname={place}", {"PGPASSWORD": password}
    if loading.dump.form == "sql":
        await loading.fed(
            "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", to, secrets=secrets
        )
        return
    how = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", to]
    how += ["--clean", "--if-exists"] if loading.overwrite else []
    if loading.dump.form == "file":
        await loading.fed(*how, secrets=secrets)
        return
    with tempfile.TemporaryDirectory() as folder:
        await anyio.to_thread.run_sync(_unpack, loading.dump, Path(folder))
        async with loading.running(*how, folder, secrets=secrets):
            pass


def _unpack(dump: Dump, folder: Path) -> None:
    for name, content in dump.files():
        with (folder / Path(name).name).open("wb") as file:
            shutil.copyfileobj(content, file)


async def _mysql(loading: _Loading) -> None:
    parts, given = urlsplit(loading.dsn), parameters(loading.dsn)
    mode = given.get("ssl-mode", "VERIFY_CA" if "ssl-ca" in given else "PREFERRED").upper()
    # MySQL's programs know `ssl-mode`, MariaDB's know the others; each passes over what only the other one knows.
    tls = [
        f"--loose-ssl-mode={mode}",
        *(f"--{name}={given[name]}" for name in ("ssl-ca", "ssl-cert", "ssl-key") if name in given),
    ]
    if mode != "PREFERRED":
        tls.append("--loose-skip-ssl" if mode == "DISABLED" else "--loose-ssl")
    tls.append("--loose-ssl-verify-server-cert" if mode.startswith("VERIFY") else "--loose-skip-ssl-verify-server-cert")
    login = [
        f"--host={parts.hostname or 'localhost'}",
        f"--port={parts.port or ENGINES['mysql'].port}",
        f"--user={unquote(parts.username or '')}",
    ]
    with loading.dump.file() as file:
        if ELSEWHERE.search(await anyio.to_thread.run_sync(file.read, BLOCK)):
            raise NotLoaded("the dump names a database of its own, and would change that one")
    # Without `binary-mode` a dump may hold commands for this machine.
    await loading.fed(
        *(
            "--no-defaults",
            *login,
            *tls,
            "--default-character-set=utf8mb4",
            "--binary-mode",
            unquote(parts.path.strip("/")),
        ),
        secrets={"MYSQL_PWD": unquote(parts.password or "")},
    )


async def _mongodb(loading: _Loading) -> None:
    async with _ending(late("databases.mongodb:Loader")(loading.dsn)) as loader:
        await anyio.to_thread.run_sync(loader.load, loading.dump, loading.overwrite, abandon_on_cancel=True)


async def _redis(loading: _Loading) -> None:
    if loading.dump.form == "commands":
        parts, given = urlsplit(loading.dsn), parameters(loading.dsn)
        names = {"ssl-ca-certs": "--cacert", "ssl-certfile": "--cert", "ssl-keyfile": "--key"}
        tls = ["--tls"] if parts.scheme == "rediss" else []
        tls += [word for name, option in names.items() if name in given for word in (option, given[name])]
        tls += ["--insecure"] if given.get("ssl-cert-reqs") == "none" else []
        login = ["-h", parts.hostname or "localhost", "-p", str(parts.port or ENGINES["redis"].port)]
        login += ["--user", unquote(parts.username)] if parts.username else []
        secrets = {"REDISCLI_AUTH": unquote(parts.password or "")}
        await loading.fed(*login, *tls, "-n", parts.path.strip("/") or "0", "--pipe", secrets=secrets)
        return
    # No server loads a file while it runs, so one of our own loads it, and gives its keys to the other.
    with tempfile.TemporaryDirectory() as folder:
        await anyio.to_thread.run_sync(_unpack, loading.dump, Path(folder))
        socket = f"{folder}/socket"
        file = Path(loading.dump.member).name
        place = ["--port", "0", "--unixsocket", socket, "--dir", folder, "--dbfilename", file]
        words = [*place, "--save", "", "--appendonly", "no", "--databases", "1024"]
        async with (
            loading.running(*words, secrets={}, ends=False) as server,
            _ending(late("databases.redis_server:Copier")(socket, loading.dsn)) as copier,
        ):
            while not await anyio.to_thread.run_sync(copier.is_ready, abandon_on_cancel=True):
                if server.returncode is not None:
                    raise NotLoaded("it has ended")
                await Clock().sleep(0.05)
            await anyio.to_thread.run_sync(copier.copy, loading.overwrite, abandon_on_cancel=True)


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
"""What empties a database, by engine."""


@asynccontextmanager
async def _ending(work: T) -> AsyncIterator[T]:
    """Close it at the end, so that its thread ends too if no caller waits for it any more."""
    try:
        yield work
    finally:
        work.close()
