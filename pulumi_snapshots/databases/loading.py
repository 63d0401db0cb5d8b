"""The server's own programs that load a dump into a database, wherever it is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import PIPE

import anyio
import anyio.to_thread

from pulumi_snapshots.databases.dumps import BLOCK, Dump, NotLoaded
from pulumi_snapshots.run.settings import without_key

LAST_LINES = 3
"""Of what a program says before it fails."""
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


@dataclass(frozen=True)
class Loading:
    """One dump on its way into one database; see `database.load`."""

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

    @asynccontextmanager
    async def unpacked(self) -> AsyncIterator[str]:
        """The path of a folder that holds the dump's files, for as long as the block runs."""

        def unpack() -> None:
            for name, content in self.dump.files():
                with Path(folder, Path(name).name).open("wb") as file:
                    shutil.copyfileobj(content, file)

        with tempfile.TemporaryDirectory() as folder:
            await anyio.to_thread.run_sync(unpack)
            yield folder
