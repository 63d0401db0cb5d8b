"""The dump of a database in a snapshot's zip: of which kind it is, and in which form, by names and first bytes."""

from __future__ import annotations

import gzip
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO
from zipfile import ZipFile

from pulumi_snapshots.databases.kinds import KINDS
from pulumi_snapshots.errors import NOTHING_LOADED, Explained

BLOCK = 1024 * 1024
"""Bytes of a dump that are read at once."""
HEAD = 512
"""Bytes that show what a file is; a tar file's mark is in its 257th."""
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
NAMES = {
    r"(?:.*/)?toc\.dat": ("postgres", "folder"),
    r".*\.(?:bson|metadata\.json)(?:\.gz)?": ("mongo", "folder"),
}


class NotLoaded(Explained):
    """The dump was not loaded into the database, or not whole."""


@dataclass(frozen=True)
class Dump:
    """The dump in a zip.

    Attributes:
        zip: whose members are whole.
        kind: whose dump it is.
        form: `file` or `folder` of pg_dump, `sql`, `archive` or `folder` of mongodump, `rdb` or `commands` of Redis.
        member: the file; for a folder, the path of it; empty if the folder is the zip itself.
        tar: whether the folder is in a tar file, which is the member.
    """

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
    found: dict[tuple[str, str, str], Dump] = {}
    for name in zipped.namelist():
        if not name.endswith("/") and (one := _dump(zipped, name, kind)) is not None:
            found[one.kind, one.form, one.member] = one
    if not found:
        raise NotLoaded("the archive holds no dump of a database that is known here", NOTHING_LOADED)
    if len(found) > 1:
        several = ", ".join(member or form for _, form, member in found)
        raise NotLoaded(f"the archive holds several dumps: {several}", NOTHING_LOADED)
    (dump,) = found.values()
    if dump.kind != kind:
        title = KINDS[dump.kind].title if dump.kind in KINDS else "SQLite, as the emulator makes it"
        of = f"the archive holds a dump of {title}, and the connection is to {KINDS[kind].title}"
        raise NotLoaded(of, NOTHING_LOADED)
    return dump


def _dump(zipped: ZipFile, name: str, kind: str) -> Dump | None:
    """What a member is, or the folder that it is in; None if it is no part of a dump."""
    for pattern, (whose, form) in NAMES.items():
        if re.fullmatch(pattern, name):
            # A folder of mongodump has one for each database.
            return Dump(
                zipped, whose, form, name.rpartition("/")[0] + "/" if whose == "postgres" and "/" in name else ""
            )
    with zipped.open(name) as packed, _plain(packed) as plain:
        head = plain.read(HEAD)
    for first, (whose, form) in FIRST_BYTES.items():
        if re.match(first, head):
            return Dump(zipped, whose, form, name)
    if head[257:262] == TAR:
        with Dump(zipped, "", "", name).file() as file, tarfile.open(fileobj=file, mode="r|") as tar:
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
    head = packed.peek(len(GZIP)) if hasattr(packed, "peek") else b""
    if head[: len(GZIP)] != GZIP:
        yield packed
        return
    with gzip.open(packed) as plain:
        yield plain  # type: ignore[misc]  # a GzipFile is a file of bytes
