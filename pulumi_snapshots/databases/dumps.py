"""The dump of a database in a snapshot's zip: its kind and form, by names and first bytes, and the program that loads it."""

import gzip
import re
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import IO
from zipfile import ZipFile

import anyio
import anyio.to_thread

from pulumi_snapshots.databases.kinds import KINDS
from pulumi_snapshots.errors import NOTHING_LOADED, Explained
from pulumi_snapshots.run.settings import without_key

BLOCK = 1024 * 1024  # bytes of a dump that are read at once
HEAD = 512  # bytes that show what a file is; a tar file's mark is in its 257th
GZIP, TAR = b"\x1f\x8b", b"ustar"
FIRST_BYTES = {
    rb"PGDMP": ("postgres", "file"),
    rb"REDIS\d": ("redis", "rdb"),
    rb"\*\d+\r\n\$": ("redis", "commands"),
    rb"\x6d\xe2\x99\x81": ("mongo", "archive"),
    rb"(?s).*-- PostgreSQL database dump": ("postgres", "sql"),
    rb"(?s).*-- (?:MySQL|MariaDB) dump": ("mysql", "sql"),
    rb"SQLite format 3\0": ("sqlite", "file"),  # what the emulator has if no server holds its data
}
PROGRAMS = {
    ("postgres", "file"): ("pg_restore",),
    ("postgres", "folder"): ("pg_restore",),
    ("postgres", "sql"): ("psql",),
    ("mysql", "sql"): ("mysql", "mariadb"),
    ("redis", "rdb"): ("redis-server",),
    ("redis", "commands"): ("redis-cli",),
}
"""The programs that load each form, one of each line; MongoDB's dumps are loaded by its library."""
LAST_LINES = 3  # of what a program says before it fails


class NotLoaded(Explained):
    """The dump was not loaded into the database, or not whole."""


@dataclass(frozen=True)
class Dump:
    """The dump in a zip whose members are whole: a member, or the folder that ends in `/`; in a `tar`, all of it."""

    zip: ZipFile
    kind: str
    form: str
    member: str
    tar: bool = False

    @contextmanager
    def file(self) -> Iterator[IO[bytes]]:
        """Read the file."""
        with self.zip.open(self.member) as packed, _plain(packed) as plain:
            yield plain

    def files(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Each file of the folder, by its path in the folder; or the only file."""
        if self.tar:
            with self.file() as file, tarfile.open(fileobj=file, mode="r|") as tar:
                for each in tar:
                    if (content := tar.extractfile(each)) is not None:
                        with _plain(content) as plain:
                            yield each.name.removesuffix(".gz").removeprefix("./"), plain
            return
        for name in self.zip.namelist():
            if name.startswith(self.member) and not name.endswith("/"):
                with self.zip.open(name) as packed, _plain(packed) as plain:
                    yield (name.removeprefix(self.member) or name).removesuffix(".gz"), plain


def dump_in(zipped: ZipFile, kind: str) -> Dump:
    """The only dump in a zip, which is of this kind of database; raises `NotLoaded` otherwise."""
    every = (_dump(zipped, name, kind) for name in zipped.namelist() if not name.endswith("/"))
    found = {(one.kind, one.form, one.member): one for one in every if one is not None}
    why = "no dump of a database that is known here"
    if len(found) > 1:
        why = f"several dumps: {', '.join(member or form for _, form, member in found)}"
    for dump in found.values() if len(found) == 1 else ():
        if dump.kind == kind:
            return dump
        title = KINDS[dump.kind].title if dump.kind in KINDS else "SQLite, as the emulator makes it"
        why = f"a dump of {title}, and the connection is to {KINDS[kind].title}"
    raise NotLoaded(f"the archive holds {why}", NOTHING_LOADED)


def _dump(zipped: ZipFile, name: str, kind: str) -> Dump | None:
    """What a member is, or the folder that it is in; None if it is no part of a dump."""
    folder, slash, base = name.rpartition("/")
    if base == "toc.dat":
        return Dump(zipped, "postgres", "folder", folder + slash)
    if re.search(
        r"\.(bson|metadata\.json)(\.gz)?$", base
    ):  # mongodump has a folder for each database
        return Dump(zipped, "mongo", "folder", "")
    with zipped.open(name) as packed, _plain(packed) as plain:
        head = plain.read(HEAD)
    for first, (whose, form) in FIRST_BYTES.items():
        if re.match(first, head):
            return Dump(zipped, whose, form, name)
    if head[257:262] == TAR:
        with (
            Dump(zipped, "", "", name).file() as file,
            tarfile.open(fileobj=file, mode="r|") as tar,
        ):
            names = tar.getnames()
        if "toc.dat" in names:
            return Dump(zipped, "postgres", "file", name)
        if any(each.endswith((".bson", ".bson.gz")) for each in names):
            return Dump(zipped, "mongo", "folder", name, tar=True)
    # SQL of other programs does not say whose it is.
    is_sql = kind in {"postgres", "mysql"} and re.search(r"\.sql(\.gz)?$", name)
    return Dump(zipped, kind, "sql", name) if is_sql else None


@contextmanager
def _plain(packed: IO[bytes]) -> Iterator[IO[bytes]]:
    """The content, unpacked if it is gzipped."""
    if not packed.peek(len(GZIP)).startswith(GZIP):  # type: ignore[attr-defined]  # members of zips and tars have it
        yield packed
        return
    with gzip.open(packed) as plain:
        yield plain  # type: ignore[misc]  # a GzipFile is a file of bytes


def program(kind: str, form: str, environment: Mapping[str, str]) -> str | None:
    """The path of the program that loads a form; None if it is not on PATH, empty if none is needed."""
    names = PROGRAMS.get((kind, form), ())
    paths = (shutil.which(each, path=environment.get("PATH")) for each in names)
    return next(filter(None, paths), None if names else "")


@dataclass(frozen=True)
class Loading:
    """One dump on its way into one database, wherever it is; see `database.load`."""

    dump: Dump
    dsn: str
    environment: Mapping[str, str]
    overwrite: bool

    async def fed(self, *arguments: str, **secrets: str | None) -> None:
        """Run the program of the dump's form, and feed the dump to it."""
        with self.dump.file() as file:

            async def feed(process: anyio.abc.Process) -> None:
                assert process.stdin is not None  # noqa: S101  for the type checker
                with suppress(
                    anyio.BrokenResourceError, anyio.ClosedResourceError
                ):  # it says why at its end
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
        environment = {**without_key(self.environment), "LC_ALL": "C", **known}
        with tempfile.TemporaryFile() as said:
            streams = {"stdin": PIPE, "stdout": said, "stderr": said}
            async with await anyio.open_process(
                [found, *arguments], **streams, env=environment
            ) as process:  # type: ignore[arg-type]
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
