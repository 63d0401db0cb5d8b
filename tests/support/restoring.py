"""Restores by the runs of one machine, at an emulated service with a snapshot and newer rows."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.restore.record import RestoreInputs, RestoreRecord
from pulumi_snapshots.restore.restore import failure_of, restore
from pulumi_snapshots.run.session import Session
from squarecloud_emulator import Fault, JournalEntry
from squarecloud_emulator.service.resources import StoredSnapshot
from tests.support.memory import Memory, Mortal
from tests.support.world import (
    DATABASE,
    OTHER_DATABASE,
    START,
    EndingOf,
    Row,
    World,
    ended,
    world,
)

RESTORER = "urn:pulumi:dev::shop::pulumi-python:dynamic/squarecloud:Restore::back"


RestoreEnding = EndingOf[RestoreRecord]


@dataclass
class Scene:
    """Databases whose rows say `now`, and a snapshot of the first one from when its rows said `then`."""

    here: World  # the service, and a session
    stored: StoredSnapshot  # the snapshot
    place: Memory  # what the runs of this machine share
    row: Row = field(
        default_factory=lambda: Row(wording=PYTHON.about(resource=RESTORER))
    )

    def inputs(self, **changes: Any) -> RestoreInputs:
        stored = self.stored
        if "target" in changes:
            changes["target_database_id"] = changes.pop("target")
        known: dict[str, Any] = {
            "name": stored.name,
            "runtime": stored.runtime,
            "created_at": rfc3339(stored.modified),
        }
        usual = RestoreInputs(
            DATABASE, stored.version_id, DATABASE, overwrite=True, **known
        )
        return replace(usual, **changes)

    def process(self, **settings: Any) -> Session:
        return self.here.another_run(Mortal(self.place), **settings)

    async def restore(
        self,
        session: Session | None = None,
        owner: str | None = RESTORER,
        *,
        forced: bool = False,
        **inputs: Any,
    ) -> RestoreEnding:
        session = session or self.here.session
        return await self.ending(
            restore(session, self.inputs(**inputs), self.row, owner, forced=forced)
        )

    async def resume(
        self, record: RestoreRecord, session: Session | None = None, **inputs: Any
    ) -> RestoreEnding:
        session = session or self.process()
        return await self.ending(
            restore(session, self.inputs(**inputs), self.row, RESTORER, earlier=record)
        )

    async def ending(self, operation: Awaitable[RestoreRecord]) -> RestoreEnding:
        ending = await ended(operation, self.row)
        if ending.record is None or ending.error or not ending.record.failure:
            return ending
        # of an earlier run, whose record must be kept
        error = failure_of(ending.record)
        return replace(
            ending,
            error=error,
            text=f"{ending.text}{self.row.wording.error_text(error)}",
        )

    async def interrupted(self, after: float, **inputs: Any) -> RestoreEnding:
        session = self.process()
        return await self.here.meanwhile(
            after, session.stop, self.restore(session, **inputs)
        )

    async def killed(self, after: float, **inputs: Any) -> RestoreEnding | None:
        """Run a restore, with kill -9 after some seconds, so that it leaves only the files that it has written."""
        endings: list[RestoreEnding] = []

        async def run(session: Session) -> None:
            endings.append(await self.restore(session, **inputs))

        if await self.here.killed(after, run, self.process()):
            self.row = Row(wording=PYTHON.about(resource=RESTORER))
            return None
        return endings[0]

    async def later(self, after: float, happen: Callable[[], object]) -> None:
        await self.here.later(after, happen)

    def holds(self, database_id: str = DATABASE) -> str:
        ((row,),) = self.here.emulator.execute(database_id, "SELECT state FROM rows")[
            0:1
        ]
        return str(row[0])

    def writes(self, text: str, database_id: str = DATABASE) -> None:
        """Change what the rows of a database say, as an application does."""
        self.here.emulator.execute(database_id, f"UPDATE rows SET state = '{text}'")  # noqa: S608  the test's own text

    async def somebody_restores(
        self, stored: StoredSnapshot, target: str = DATABASE
    ) -> None:
        """Restore as another client of the account, of which this machine knows nothing."""
        client = self.here.another_run().client
        await client.restore_snapshot(
            target, name=stored.name, version_id=stored.version_id
        )

    @property
    def elapsed(self) -> float:
        return (self.here.clock.utc() - START).total_seconds()

    @property
    def posts(self) -> list[JournalEntry]:
        return self.here.requests("restore")

    @property
    def accepted(self) -> list[str | None]:
        return [post.version_id for post in self.posts if post.accepted]


def says(at: Scene, skip: int = 2, times: int | None = 1, **response: Any) -> None:
    """Have the service say this of a restore; it is asked twice before the POST leaves."""
    body = json.dumps({"status": "success", "response": response})
    at.here.emulator.add_fault(
        Fault(kind="restore status", skip=skip, times=times, body=body)
    )


def milliseconds(at: Scene) -> int:
    return round(at.here.emulator.now().timestamp() * 1000)


def knows_time(here: World, session: Session | None = None) -> None:
    """Let an earlier answer have shown the service's time, so that the next request is about something else."""
    now = here.clock.utc()
    (session or here.session).service_clock.observe(
        here.emulator.now().replace(microsecond=0), now, now
    )


@asynccontextmanager
async def scene(place: Memory | None = None, **service: Any) -> AsyncIterator[Scene]:
    """Make a scene; keyword arguments set the service's behaviour, and `settings` the client's."""
    async with world(databases=(DATABASE, OTHER_DATABASE), **service) as here:
        for database_id in (DATABASE, OTHER_DATABASE):
            here.emulator.execute(
                database_id,
                "CREATE TABLE rows (state)",
                "INSERT INTO rows VALUES ('then')",
            )
        stored = here.emulator.add_snapshot(DATABASE)
        staged = Scene(here, stored, place or Memory(here.clock, is_shared=False))
        knows_time(here)
        for database_id in (DATABASE, OTHER_DATABASE):
            staged.writes("now", database_id)
        yield staged
