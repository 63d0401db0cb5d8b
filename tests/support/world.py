"""A database at an emulated service, and a session that talks to it, on one virtual clock."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.emulator import Emulator
from pulumi_snapshots.emulator import Settings as Service
from pulumi_snapshots.operations.inputs import SnapshotInputs
from pulumi_snapshots.operations.memory import RunMemory
from pulumi_snapshots.operations.session import Session
from pulumi_snapshots.operations.settings import ApiKey, Settings
from tests.support.wire import EmulatorTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulumi_snapshots.emulator import JournalEntry
    from pulumi_snapshots.emulator.resources import StoredSnapshot

__all__ = ["DATABASE", "OTHER_DATABASE", "START", "Row", "World", "world"]

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
OTHER_DATABASE = "b25c9e6f2dc8516b962fc5d186617232"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class Row:
    """A resource's row on the terminal, remembered."""

    shown: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def progress(self, text: str) -> None:
        if not self.shown or self.shown[-1] != text:
            self.shown.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@dataclass
class World:
    """What a test holds: the service, a client of it, and what the user sees."""

    emulator: Emulator
    transport: EmulatorTransport
    clock: Clock
    session: Session
    row: Row = field(default_factory=Row)

    def inputs(self, **changes: Any) -> SnapshotInputs:
        return replace(SnapshotInputs(DATABASE), **changes)

    def another_run(self, **settings: Any) -> Session:
        """A session of a process that knows nothing of this one."""
        return Session(
            replace(self.session.settings, **settings),
            RunMemory(),
            clock=self.clock,
            http=self.transport,
            chance=random.Random(1),
        )

    def requests(self, kind: str) -> list[JournalEntry]:
        return [entry for entry in self.emulator.journal if entry.kind == kind]

    @property
    def posts(self) -> list[JournalEntry]:
        return self.requests("create")

    @property
    def looks(self) -> list[JournalEntry]:
        return [entry for entry in self.emulator.journal if entry.kind in {"list", "list account"}]

    def started(self) -> str:
        """The version that the one accepted POST started."""
        (version,) = [entry.version_id for entry in self.posts if entry.accepted]
        assert version is not None
        return version

    def newest(self, database_id: str = DATABASE) -> StoredSnapshot:
        return self.emulator.snapshots(database_id)[0]


@asynccontextmanager
async def world(
    *,
    databases: tuple[str, ...] = (DATABASE,),
    api_key: str | None = None,
    settings: dict[str, Any] | None = None,
    **service: Any,
) -> AsyncIterator[World]:
    """Build one; keyword arguments choose the service's behaviour."""
    clock = Clock(START)
    emulator = Emulator(Service(**service), clock=clock)
    for database_id in databases:
        emulator.add_database(database_id)
    transport = EmulatorTransport(emulator)
    chosen = Settings(
        api_key=ApiKey(api_key or emulator.settings.api_key),
        api_url=emulator.api_url,
        snapshots_url=emulator.snapshots_url,
        **(settings or {}),
    )
    session = Session(chosen, RunMemory(), clock=clock, http=transport, chance=random.Random(1))
    yield World(emulator, transport, clock, session)
    await session.close()
