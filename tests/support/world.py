"""An emulated service with databases, and a session, on one virtual clock."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Generic, Literal, Protocol, TypeVar

import anyio
import httpx
import trio

from pulumi_snapshots.clock import Clock, ServiceClock
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import (
    AnyMessage,
    MessageFormatter,
    NotFinished,
    ProviderError,
)
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import Place
from pulumi_snapshots.run.memory import RunMemory
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import ApiKey, Settings
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.read import read
from pulumi_snapshots.snapshot.record import SnapshotInputs, SnapshotRecord
from squarecloud_emulator import Emulator, Fault, JournalEntry
from squarecloud_emulator import EmulatorSettings as Service
from squarecloud_emulator.data.store import Store
from squarecloud_emulator.service.resources import StoredSnapshot
from tests.support.memory import Memory, Mortal
from tests.support.wire import EmulatorTransport

T = TypeVar("T")
DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
OTHER_DATABASE = "b25c9e6f2dc8516b962fc5d186617232"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OWNER = (
    "urn:pulumi:dev::shop::pulumi-python:dynamic/squarecloud:Snapshot::before-release"
)


@dataclass
class Row:
    """A resource's row on the terminal, which records its texts."""

    shown: list[str] = field(default_factory=list)  # the progress
    notes: list[str] = field(default_factory=list)  # the good news that stay
    warnings: list[str] = field(default_factory=list)  # the warnings
    reminders: list[str] = field(default_factory=list)  # of long waits
    # the words of the texts
    wording: MessageFormatter = field(
        default_factory=lambda: PYTHON.about(resource=OWNER)
    )

    def progress(self, text: AnyMessage) -> None:
        said = self.wording.text(text)
        if not self.shown or self.shown[-1] != said:
            self.shown.append(said)

    def note(self, text: AnyMessage) -> None:
        self.notes.append(self.wording.text(text))

    def remind(self, text: AnyMessage) -> None:
        self.reminders.append(self.wording.text(text))

    def warn(self, text: AnyMessage) -> None:
        self.warnings.append(self.wording.text(text))


class Kept(Protocol):
    """What a state holds of something that takes time."""

    @property
    def pending(self) -> bool: ...


R = TypeVar("R", bound=Kept)


@dataclass(frozen=True)
class EndingOf(Generic[R]):
    record: R | None  # what the state holds afterwards; None if nothing
    error: Exception | None  # the error, if there was one
    text: str  # everything that was shown

    @property
    def how(self) -> Literal["complete", "pending", "failed", "nothing"]:
        """What the state holds afterwards."""
        if self.record is None:
            return "nothing"
        return (
            "failed"
            if getattr(self.record, "failure", None)
            else "pending"
            if self.record.pending
            else "complete"
        )

    @property
    def complete(self) -> R:
        assert self.error is None, self.text
        assert self.record is not None
        assert not self.record.pending
        return self.record

    @property
    def pending(self) -> R:
        assert isinstance(self.error, NotFinished), self.text
        assert self.record is not None
        assert self.record.pending
        return self.record

    @property
    def nothing(self) -> Exception:
        assert self.record is None, self.text
        assert self.error is not None
        return self.error


async def ended(
    operation: Awaitable[R], row: Row, seen: Row | None = None
) -> EndingOf[R]:
    """Await an operation, and show its error as text, like a terminal; on another row if that has seen the rest."""
    record: R | None = None
    error: Exception | None = None
    said = ""
    try:
        record = await operation
    except ProviderError as failure:
        error = failure
        said = row.wording.error_text(failure)
        record = failure.record if isinstance(failure, NotFinished) else None
    seen = seen or row
    return EndingOf(
        record, error, "\n".join([*seen.shown, *seen.notes, *seen.warnings, said])
    )


Ending = EndingOf[SnapshotRecord]


@dataclass
class World:
    emulator: Emulator
    transport: EmulatorTransport
    clock: Clock
    session: Session
    row: Row = field(default_factory=Row)

    def fault(self, **how: Any) -> None:
        """Let the next answer, or so many `times`, fail like this."""
        self.emulator.add_fault(Fault(**how))

    def inputs(self, **changes: Any) -> SnapshotInputs:
        return replace(SnapshotInputs(DATABASE), **changes)

    async def ending(
        self, operation: Awaitable[SnapshotRecord], row: Row | None = None
    ) -> Ending:
        return await ended(operation, self.row, row)

    async def create(
        self,
        earlier: SnapshotRecord | None = None,
        *,
        session: Session | None = None,
        owner: str = OWNER,
        forced: bool = False,
        **inputs: Any,
    ) -> Ending:
        """Take a snapshot, or resume an `earlier` one."""
        about = session or self.session, self.inputs(**inputs), self.row, owner
        return await self.ending(create(*about, forced=forced, earlier=earlier))

    async def read(
        self, record: SnapshotRecord, *, session: Session | None = None
    ) -> Ending:
        """Refresh a record; if that fails, the record stays as it was."""
        ending = await self.ending(read(session or self.session, record, self.row))
        return ending if ending.record else replace(ending, record=record)

    async def interrupted(
        self, after: float, operation: Awaitable[Ending], session: Session | None = None
    ) -> Ending:
        """Await an operation, with ^C after some seconds."""
        return await self.meanwhile(after, (session or self.session).stop, operation)

    async def meanwhile(
        self, after: float, happen: Callable[[], object], operation: Awaitable[T]
    ) -> T:
        """Await an operation, and call `happen` after some seconds, unless the operation has ended by then."""
        results: list[T] = []
        async with anyio.create_task_group() as group:
            group.start_soon(self.later, after, happen)
            results.append(await operation)
            group.cancel_scope.cancel()
        return results[0]

    async def download(self, url: str) -> bytes:
        async with httpx.AsyncClient(transport=self.transport) as client:
            return (await client.get(url)).raise_for_status().content

    async def later(self, after: float, happen: Callable[[], object]) -> None:
        await self.clock.sleep(after)
        happen()

    def another_run(
        self, place: Place | None = None, *, clock: Clock | None = None, **settings: Any
    ) -> Session:
        """The session of another process, which shares nothing with this one but a place, if one is given."""
        clock = clock or self.clock
        return Session(
            replace(self.session.settings, **settings),
            ledger_of(
                clock,
                place
                if isinstance(place, Mortal)
                else Mortal(place or Memory(clock, is_shared=False)),
            ),
            RunMemory(),
            clock=clock,
            http=self.transport,
        )

    async def killed(
        self,
        after: float,
        work: Callable[[Session], Awaitable[object]],
        session: Session | None = None,
    ) -> bool:
        """Let a process work, and kill it after some seconds, so that it leaves only what it has written."""
        process = session or self.next_run()
        return await killed(after, partial(work, process), lambda: process)

    def next_run(self, **settings: Any) -> Session:
        """The session of a later process on this machine."""
        return self.another_run(self.session.ledger.place, **settings)

    def requests(self, kind: str) -> list[JournalEntry]:
        return [entry for entry in self.emulator.journal if entry.kind == kind]

    @property
    def posts(self) -> list[JournalEntry]:
        return self.requests("create")

    @property
    def listings(self) -> list[JournalEntry]:
        return [
            entry
            for entry in self.emulator.journal
            if entry.kind in {"list", "list account"}
        ]

    async def freeze_listings(self) -> None:
        """Let another client look now: without invalidation, both pages stay as they are for 30 minutes."""
        other = self.another_run()
        await other.client.list_snapshots(DATABASE)
        await other.client.list_account()

    def use_quota(self, *hours: float) -> list[datetime]:
        """Let the account have taken snapshots so many hours ago; returns when."""
        taken = [self.emulator.now() - timedelta(hours=each) for each in hours]
        for at in taken:
            self.emulator.add_snapshot(DATABASE, modified=at)
        self.emulator.account.quota.uses += taken
        return taken

    def started(self) -> str:
        """The version that the only accepted POST started."""
        (version,) = [entry.version_id for entry in self.posts if entry.accepted]
        assert version is not None
        return version

    def newest(self, database_id: str = DATABASE) -> StoredSnapshot:
        return self.emulator.snapshots(database_id)[0]


def kill(session: Session) -> None:
    place = session.ledger.place
    assert isinstance(place, Mortal)
    place.killed = True


async def killed(
    after: float, work: Callable[[], Awaitable[object]], session: Callable[[], Session]
) -> bool:
    """Let a process work, and kill it after some seconds; returns whether its work had not ended by then."""
    over = anyio.Event()

    async def run() -> None:
        with suppress(ProviderError):
            await work()
        over.set()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        with anyio.move_on_after(after):
            await over.wait()
        if not over.is_set():
            kill(session())
        group.cancel_scope.cancel()
    return not over.is_set()


class VirtualClock(Clock):
    """Asks trio directly: anyio looks first which loop runs, which takes ten times as long."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start, self.monotonic)

    @staticmethod
    def monotonic() -> float:
        try:
            return trio.current_time()
        except RuntimeError:
            return anyio.current_time()


def ledger_of(clock: Clock, place: Place | None = None) -> Ledger:
    """A ledger as one process has it; its place is in memory unless given."""
    return Ledger(place or Memory(clock, is_shared=False), ServiceClock(clock))


@asynccontextmanager
async def world(
    *,
    databases: tuple[str, ...] = (DATABASE,),  # the ids of its databases
    api_key: str | None = None,  # the client's key; the right one if not given
    settings: dict[str, Any] | None = None,  # the client's settings
    store: Store | None = None,  # where the emulator keeps its data
    place: Place | None = None,  # of the ledger; in memory unless given
    **service: Any,
) -> AsyncIterator[World]:
    clock = VirtualClock(START)
    emulator = Emulator(Service(**service), clock=clock, store=store)
    for database_id in databases:
        emulator.add_database(database_id)
    transport = EmulatorTransport(emulator)
    chosen = Settings(
        api_key=ApiKey(api_key or emulator.settings.api_key),
        api_url=emulator.api_url,
        snapshots_url=emulator.snapshots_url,
        **(settings or {}),
    )
    session = Session(
        chosen, ledger_of(clock, place), RunMemory(), clock=clock, http=transport
    )
    yield World(emulator, transport, clock, session)
    await session.close()
