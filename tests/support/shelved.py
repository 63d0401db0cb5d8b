"""Archives of real dumps in a folder, as `Archive` leaves them there."""

import io
import os
import subprocess
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyrage

from pulumi_snapshots.archive.manifest import Manifest
from pulumi_snapshots.archive.record import ArchiveRecord
from tools.servers import Server as Postgres

IDENTITY = pyrage.x25519.Identity.generate()


def zipped(**members: bytes) -> bytes:
    """The zip of a snapshot, as the service has it: whatever is in there beside the dump is passed over."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("snapshot.json", "{}")
        for name, content in members.items():
            file.writestr(name, content)
    return target.getvalue()


def shelve(
    folder: Path, content: bytes, *, sealed: bool = False, database_id: str | None = None
) -> Path:
    file = folder / ("a.zip.age" if sealed else "a.zip")
    stored = pyrage.encrypt(content, [IDENTITY.to_public()]) if sealed else content
    file.write_bytes(stored)
    plain: dict[str, Any] = (
        {"plain_size": len(content), "plain_sha256": sha256(content).hexdigest()} if sealed else {}
    )
    record = ArchiveRecord(
        file.as_uri(),
        len(stored),
        sha256(stored).hexdigest(),
        "2026-11-01T00:00:00Z",
        database_id,
        "v1",
        "m",
        **plain,
    )
    keys = [str(IDENTITY.to_public())] if sealed else None
    file.with_name(f"{file.name}.json").write_bytes(Manifest.of(record, keys).text)
    return file


def manifest_of(archive: Path) -> Manifest:
    found = Manifest.parse(archive.with_name(f"{archive.name}.json").read_bytes(), archive.as_uri())
    assert found is not None
    return found


def program(*command: str | Path, **environment: str) -> bytes:
    """What a program of an engine prints."""
    run = subprocess.run(  # noqa: S603
        command, check=True, capture_output=True, env={**os.environ, **environment}
    )
    return run.stdout


def dumped(server: Postgres, database: str, *arguments: str) -> bytes:
    return program("pg_dump", *arguments, server.dsn(database), **server.environment)
