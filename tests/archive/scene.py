"""A snapshot at an emulated service, and a folder to archive it to, on a virtual clock without threads."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from pulumi_snapshots.archive.archive import ArchiveRequest, archive_snapshot
from pulumi_snapshots.archive.difference import ArchiveRules
from pulumi_snapshots.archive.listed import check_archived
from pulumi_snapshots.archive.manifest import MANIFEST_FORMAT, Owner
from pulumi_snapshots.archive.record import ArchiveInputs, ArchiveMemory, ArchiveRecord
from pulumi_snapshots.archive.removal import end_archive
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.cli.archives.archive import COMMAND_OWNER
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.run.calls import Changes, EngineCall, Resource, Shared
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import Settings
from pulumi_snapshots.snapshot.read import get
from pulumi_snapshots.storage.store import FileStore, ObjectStat, StoreTrouble
from squarecloud_emulator import JournalEntry
from squarecloud_emulator.service.resources import StoredSnapshot
from tests.support.world import DATABASE, Row, World, world

__all__ = [
    "SIZE",
    "Declared",
    "Scene",
    "at_once",
    "file_of",
    "holds",
    "manifest_of",
    "owners",
    "put",
    "scene",
]

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SIZE = 5_000_000
"""Bytes: several blocks of a transfer."""


async def at_once(call: Callable[..., Any], *args: Any) -> Any:
    """Call it in the event loop: a virtual clock does not wait for threads."""
    return call(*args)


@dataclass
class Scene:
    here: World
    folder: Path
    snapshot: StoredSnapshot
    transfers: Transfers
    row: Row = field(default_factory=Row)

    @property
    def zip(self) -> bytes:
        return self.here.emulator.archive_of(self.snapshot.version_id)

    def newer(self, size: int | None = SIZE) -> StoredSnapshot:
        """Take another snapshot an hour later, which the listing shows; it becomes the scene's snapshot."""
        self.here.emulator.advance(3600)
        self.snapshot = self.here.emulator.add_snapshot(DATABASE, size=size)
        self.here.emulator.drop_cache()
        return self.snapshot

    async def outputs(self) -> dict[str, Any]:
        """The outputs of a Snapshot resource that an Archive takes."""
        run = self.here.another_run()
        record = await get(run, f"{DATABASE}/{self.snapshot.version_id}")
        await run.close()
        names = ("database_id", "version_id", "download_url", "size", "created_at")
        return {name: getattr(record, name) for name in names}

    async def archive(
        self,
        *,
        session: Session | None = None,
        owner: str | None = None,
        previous: ArchiveRecord | None = None,
        force: bool = False,
        **values: Any,
    ) -> ArchiveRecord:
        given = {"destination": f"{self.folder}/", **values}
        if not {"database_id", "download_url"} & given.keys():
            given = {**await self.outputs(), **given}
        problems = ArchiveInputs.problems(given)
        assert not problems, problems
        inputs = ArchiveInputs.of(given)
        if previous:  # as the state has it
            previous = ArchiveRecord.from_outputs(previous.to_outputs())
        name = (previous.owner if previous else None) or owner
        request = ArchiveRequest(
            session,
            self.transfers,
            inputs,
            self.row,
            owner=Owner(name, name, inputs.pin) if name else None,
            previous=previous,
            force=force,
        )
        return await archive_snapshot(request)

    def call(self, owner: str, memory: ArchiveMemory | None = None) -> EngineCall:
        """A call of the engine about a resource."""
        shared = Shared()
        shared._made |= {
            Transfers: self.transfers,
            ArchiveMemory: memory or ArchiveMemory(),
        }
        return EngineCall(owner, Settings, shared, self.row)

    async def refresh(self, record: ArchiveRecord) -> ArchiveRecord:
        return await check_archived(self.transfers, record, self.row)

    async def remove(self, record: ArchiveRecord, **how: Any) -> None:
        await end_archive(self.transfers, record, self.row, **how)

    def files(self) -> set[str]:
        """The names of everything in the folder, hidden files and empty folders included, but for manifests."""
        every = self.folder.rglob("*")
        return {
            str(path.relative_to(self.folder))
            for path in every
            if path.suffix != ".json"
        }

    def content(self) -> dict[str, bytes | None]:
        """The bytes of each file in the folder; None for folders."""
        paths = {name: self.folder / name for name in self.files()}
        return {
            name: path.read_bytes() if path.is_file() else None
            for name, path in paths.items()
        }

    def fault(self, **how: Any) -> None:
        """Let the next download, or so many `times`, fail like this."""
        self.here.fault(**{"kind": "download", **how})

    def sees(self, look: Callable[[httpx.Request], object]) -> None:
        """Let this see, and change, each request before it is sent."""
        send = self.here.transport.handle_async_request

        async def seen(request: httpx.Request) -> httpx.Response:
            look(request)
            return await send(request)

        self.here.transport.handle_async_request = seen  # type: ignore[method-assign]

    def stores(self, kind: type[FileStore]) -> None:
        """Let every store from now on be of this kind."""
        self.transfers.store = lambda place: kind(place.file)  # type: ignore[method-assign]

    def refuses(self, method: str, *files: Path, why: str = "no route to it") -> None:
        """Let this method of stores fail for these files."""

        class Store(FileStore):
            def __getattribute__(self, name: str) -> Any:
                if name == method and self._path in files:
                    raise StoreTrouble(why)
                return super().__getattribute__(name)

        self.stores(Store)

    def passes(self, through: Callable[[Iterator[bytes]], Iterator[bytes]]) -> None:
        """Let the bytes of objects, not of manifests, pass through this on their way to the disk."""

        class Store(FileStore):
            def write(self, blocks: Iterator[bytes]) -> ObjectStat:
                return super().write(
                    blocks if self._path.suffix == ".json" else through(blocks)
                )

        self.stores(Store)

    @property
    def downloads(self) -> list[JournalEntry]:
        return self.here.requests("download")


@dataclass
class Declared:
    """An Archive that a program declares, called as an engine calls it; each method is a run of its own.

    Two of them with one URN are the same program on two backends, or in two organizations.
    """

    at: Scene
    urn: str
    id: str = ""
    state: dict[str, Any] | None = None

    async def given(self, **values: Any) -> dict[str, Any]:
        return {
            "destination": f"{self.at.folder}/",
            **await self.at.outputs(),
            **values,
        }

    async def up(self, *, replace: bool = False, **values: Any) -> ArchiveRecord:
        """Create, replace or update it, by `--replace` without a comparison."""
        given = await self.given(**values)
        call = self.at.call(self.urn)
        rules = ArchiveRules()
        assert not rules.check(call, given, in_state=self.state is not None)
        before = self.state
        if before is None:
            return self._saved(await rules.calls.create(call, given))
        found = Changes(("--replace",)) if replace else rules.diff(call, before, given)
        if found.replaces:
            record = self._saved(await rules.calls.create(call, given))
            await rules.delete(call, self.id, before)
            return record
        if found.updates:
            return self._saved(await rules.calls.update(call, self.id, before, given))
        return self._saved(Resource(self.id, {**before, **given}))

    async def preview(self, **values: Any) -> str:
        """What a preview says of it, and which properties replace it."""
        assert self.state is not None
        found = ArchiveRules().diff(
            self.at.call(self.urn), self.state, await self.given(**values)
        )
        return " ".join(filter(None, [*found.replaces, str(found.reason)]))

    async def refresh(self) -> ArchiveRecord:
        assert self.state is not None
        return self._saved(
            await ArchiveRules().read(self.at.call(self.urn), self.id, self.state)
        )

    async def looks_up(self, uri: str) -> ArchiveRecord:
        return self._saved(await ArchiveRules().read(self.at.call(self.urn), uri, {}))

    async def imports(self, uri: str) -> ArchiveRecord:
        """Import it as `pulumi import` does, which checks what it has read."""
        call = self.at.call(self.urn)
        rules = ArchiveRules()
        read = await rules.read(call, uri, {})
        rules.check(call, read.outputs, in_state=True)
        await rules.hold_imported(call)
        return self._saved(read)

    async def destroy(self) -> None:
        assert self.state is not None
        await ArchiveRules().delete(self.at.call(self.urn), self.id, self.state)
        self.state = None

    def _saved(self, resource: Resource) -> ArchiveRecord:
        """Keep it as a state does, which drops what is None."""
        kept = {
            name: each for name, each in resource.outputs.items() if each is not None
        }
        self.id = resource.id
        self.state = json.loads(json.dumps(kept))
        return ArchiveRecord.from_outputs(kept)


def file_of(record: ArchiveRecord) -> Path:
    return Path(unquote(urlsplit(record.uri).path))


def owners(record: ArchiveRecord) -> list[tuple[str, bool]]:
    """The names of an object's owners, as its manifest has them, and whether each keeps it for good."""
    said = json.loads(manifest_of(record).read_text())
    return sorted((each["name"], each["pin"]) for each in said["owners"])


def manifest_of(record: ArchiveRecord) -> Path:
    return file_of(record).with_name(f"{file_of(record).name}.json")


def rewrite_manifest(record: ArchiveRecord, **said: Any) -> None:
    """Have the manifest of an archive say something else."""
    manifest = manifest_of(record)
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **said}))


def holds(record: ArchiveRecord, content: bytes) -> bool:
    """Whether the object and its record match these bytes."""
    return (
        file_of(record).read_bytes() == content
        and record.size == len(content)
        and record.sha256 == sha256(content).hexdigest()
    )


def put(folder: Path, day: int, database: str = DATABASE, **said: Any) -> Path:
    """An archive of so many days ago, as the command has written it."""
    taken = NOON - timedelta(days=day)
    file = folder / database / f"{taken:%Y%m%dT%H%M%SZ}-v{day}.zip"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"content")
    about = {
        "format": MANIFEST_FORMAT,
        "object": file.name,
        "version_id": f"v{day}",
        "database_id": database,
        "created_at": rfc3339(taken),
        "archived_at": rfc3339(taken),
        "size": 7,
        "sha256": sha256(b"content").hexdigest(),
        "owners": [COMMAND_OWNER.to_outputs()],
        "tool": "x",
        **said,
    }
    file.with_name(f"{file.name}.json").write_text(json.dumps(about))
    return file


@asynccontextmanager
async def scene(
    tmp_path: Path, *, folder: str = "a", size: int | None = SIZE, **service: Any
) -> AsyncIterator[Scene]:
    (tmp_path / folder).mkdir()
    async with world(**service) as here:
        # Downloads over http are refused, except from this machine.
        here.emulator.base_url = "https://emulator.test"
        here.session = here.another_run(
            api_url=here.emulator.api_url, snapshots_url=here.emulator.snapshots_url
        )
        snapshot = here.emulator.add_snapshot(DATABASE, size=size)
        transfers = Transfers(clock=here.clock, http=here.transport, in_thread=at_once)
        yield Scene(here, tmp_path / folder, snapshot, transfers)
        await here.session.close()
