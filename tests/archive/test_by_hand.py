"""Archives are restored without the service, by the commands of docs/archive.md on real data."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import anyio
import pytest

from squarecloud_emulator.data.postgres_store import PostgresStore
from tests.archive.scene import file_of, scene
from tests.support.real_data import content_of, filled, fresh, sql_at
from tests.support.world import DATABASE

if TYPE_CHECKING:
    from typing import Any

    from pulumi_snapshots.archive.record import ArchiveRecord
    from tools.postgres import Server

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
BY_HAND = (DOCS / "archive.md").read_text().split("\n## Putting an archive back by hand\n", 1)[1]
EMULATED = (DOCS / "emulator.md").read_text()
COPY = "restored-by-hand"


def commands(text: str) -> list[str]:
    """The shell commands of a text, one a line, without their comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line.split("  #")[0].rstrip() for block in blocks for line in block.splitlines()]


def of_engine(engine: str) -> list[str]:
    """The commands under the engine's name."""
    _, _, text = BY_HAND.partition(f"**{engine}.**")
    return commands(re.split(r"^\*\*[A-Z]\w+\.\*\*", text, flags=re.MULTILINE)[0])


UNPACK = commands(BY_HAND.partition("**PostgreSQL.**")[0])


def run(folder: Path, lines: list[str], **environment: str) -> str:
    """Run lines as a person types them, in one shell that stops at the first error."""
    done = subprocess.run(  # noqa: S603  what the document says
        ["/bin/bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def archived(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[ArchiveRecord, dict[str, Any]]:
    """An Archive of a snapshot of real data, and that data; its database is gone."""

    async def body() -> tuple[ArchiveRecord, dict[str, Any]]:
        store = PostgresStore(postgres_server.dsn())
        try:
            async with scene(tmp_path_factory.mktemp("by-hand") / "archives", size=None, store=store) as at:
                content = filled(postgres_server.url(DATABASE))
                at.newer(size=None)
                return await at.archive(), content
        finally:
            store.close()

    with patch.dict(os.environ, postgres_server.environment):
        return anyio.run(body)


def unpacked(record: ArchiveRecord, folder: Path) -> Path:
    shutil.copyfile(file_of(record), folder / "snapshot.zip")
    shown = run(folder, UNPACK)
    assert shown.startswith(f"{record.sha256}  snapshot.zip\n")
    assert "PGDMP" in shown
    return folder


def test_a_dump_is_restored_by_hand(
    server: Server, tmp_path: Path, archived: tuple[ArchiveRecord, dict[str, Any]]
) -> None:
    record, content = archived
    folder = unpacked(record, tmp_path)
    url = fresh(server, COPY)
    (restore,) = [line for line in of_engine("PostgreSQL") if line.startswith("pg_restore ")]
    restore = restore.replace("data/FILE", "data/database.dump")
    run(folder, [restore], URL=server.dsn(COPY))
    assert content_of(url) == content

    # Again into the same database, as the text says.
    sql_at(url, 'DELETE FROM "Bestellung für 日本"', "SELECT lo_unlink(424242)", "CREATE TABLE stays ()")
    assert "`--clean --if-exists`" in BY_HAND
    run(folder, [f"{restore} --clean --if-exists"], URL=server.dsn(COPY))
    sql_at(url, "DROP TABLE stays")
    assert content_of(url) == content


def test_plain_sql_is_restored_by_hand(
    server: Server, tmp_path: Path, archived: tuple[ArchiveRecord, dict[str, Any]]
) -> None:
    record, content = archived
    folder = unpacked(record, tmp_path)
    url = fresh(server, COPY)
    (load,) = [line for line in of_engine("PostgreSQL") if line.startswith("psql ")]
    run(folder, ["pg_restore --no-owner --file data/plain.sql data/database.dump"])
    run(folder, [load.replace("data/FILE.sql", "data/plain.sql")], URL=server.dsn(COPY))
    assert content_of(url) == content


def test_a_damaged_dump_leaves_the_database_empty(
    server: Server, tmp_path: Path, archived: tuple[ArchiveRecord, dict[str, Any]]
) -> None:
    record, _ = archived
    folder = unpacked(record, tmp_path)
    url = fresh(server, COPY)
    dump = folder / "data" / "database.dump"
    dump.write_bytes(dump.read_bytes()[:-200])  # in the data: the tables are made by then
    (restore,) = [line for line in of_engine("PostgreSQL") if line.startswith("pg_restore ")]
    with pytest.raises(AssertionError, match="pg_restore: error"):
        run(folder, [restore.replace("data/FILE", "data/database.dump")], URL=server.dsn(COPY))
    assert sql_at(url, "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'other')") == [(0,)]


def test_a_damaged_archive_is_noticed_by_hand(tmp_path: Path, archived: tuple[ArchiveRecord, dict[str, Any]]) -> None:
    record, _ = archived
    content = bytearray(file_of(record).read_bytes())
    content[content.index(b"PGDMP") + 1000] ^= 1
    (tmp_path / "snapshot.zip").write_bytes(content)
    with pytest.raises(AssertionError, match="Bad CRC-32"):
        run(tmp_path, UNPACK)


def test_an_sqlite_database_is_extracted_by_hand(tmp_path: Path) -> None:
    async def body() -> Path:
        async with scene(tmp_path / "archives", size=None) as at:
            at.here.emulator.execute(DATABASE, "CREATE TABLE orders (n)", "INSERT INTO orders VALUES (7), ('ü')")
            at.newer(size=None)
            return file_of(await at.archive())

    shutil.copyfile(anyio.run(body), tmp_path / "snapshot.zip")
    (take_out,) = [line for line in commands(EMULATED) if "database.sqlite" in line]
    run(tmp_path, [take_out])
    with closing(sqlite3.connect(tmp_path / "data" / "database.sqlite")) as copy:
        assert copy.execute("SELECT n FROM orders").fetchall() == [(7,), ("ü",)]


@pytest.mark.parametrize("engine", ["MySQL", "MongoDB"])
def test_commands_that_are_not_run_here_can_be_parsed(engine: str) -> None:
    """They are valid shell, without passwords."""
    lines = of_engine(engine)
    assert lines
    for line in lines:
        assert shlex.split(line)[0] in {"mysql", "mongorestore"}
        assert "PASSWORD" not in line
    assert "were not run here" in " ".join(BY_HAND.split())
