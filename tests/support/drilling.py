"""Drills by the runs of one machine, whose checks ask the rows of the emulated scratch database in virtual time."""

from __future__ import annotations

import re
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import anyio.lowlevel

from pulumi_snapshots.databases.connection import Scalar
from pulumi_snapshots.databases.database import CheckNotRun, DatabaseUnreachable
from pulumi_snapshots.databases.tables import TableCount
from pulumi_snapshots.drill.address import own_host
from pulumi_snapshots.drill.difference import DrillRules
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.run.calls import ResourceNotFinished
from squarecloud_emulator import Emulator
from tests.support.engine_calls import Machine, Stack
from tests.support.failing import flat
from tests.support.restoring import Scene, scene
from tests.support.world import DATABASE, OTHER_DATABASE, killed

DRILLER = "urn:pulumi:dev::shop::pulumi-python:dynamic/squarecloud:Drill::proof"
SCRATCH = OTHER_DATABASE
CONNECTION = (
    f"postgresql://driller:never-shown@{own_host(SCRATCH)}:7058/shop?sslmode=require"
)
ELSEWHERE = "postgresql://driller:never-shown@tunnel.example:6000/shop"
"""A host of which nobody knows where it leads."""
SOURCE = (
    f"postgresql://reader:never-shown@{own_host(DATABASE)}:7058/shop?sslmode=require"
)
ROWS = "select count(*) from rows where state = 'then'"


@dataclass
class FakeDatabases:
    """Stands for the libraries that speak to databases: it asks what the emulator holds of the scratch database."""

    emulator: Emulator  # holds it
    refuses: int = 0  # how many connections are refused before one is accepted
    lasting: bool = False  # whether the refusals are such that come again
    seconds: float = 0.0  # that each command takes
    # seconds for which the server that is asked has run; as long as the scratch database unless given
    age_is: float | None = None
    says_age: bool = True  # whether it says that
    holds: str = SCRATCH  # the database that is asked
    # tables that cannot be counted, and why
    uncountable: dict[str, str] = field(default_factory=dict)
    estimated: set[str] = field(default_factory=set)  # tables too large to be counted
    written: str = ""  # why no table can be counted
    # happens once, when the first connection is there
    meanwhile: Callable[[], object] | None = None
    asked: list[str] = field(default_factory=list)  # the commands, in order
    # connections of a password: the connection string, and its certificate's content and mode
    opened: list[tuple[str, bytes, int]] = field(default_factory=list)

    def opens(self, dsn: str, *, timeout: float) -> FakeDatabases:
        if dsn == SOURCE:
            return replace(self, holds=DATABASE)
        if dsn not in {CONNECTION, ELSEWHERE}:
            self.opened.append((dsn, *_certificate_in(dsn)))
        assert timeout > 0
        return self

    def instead(self) -> AbstractContextManager[Any]:
        """Let drills ask these while the block runs."""
        return mock.patch("pulumi_snapshots.drill.drill.Database", self.opens)

    async def age(self) -> float | None:
        await anyio.lowlevel.checkpoint()
        if self.refuses:
            self.refuses -= 1
            raise DatabaseUnreachable(
                "PostgreSQL", "the connection was refused", lasting=self.lasting
            )
        happens = self.meanwhile
        self.meanwhile = None
        if happens is not None:
            happens()
        if not self.says_age or self.age_is is not None:
            return self.age_is
        resource = self.emulator.existing(SCRATCH)
        return (
            self.emulator.now() - (resource.started_at or resource.created_at)
        ).total_seconds()

    async def ask(self, command: str) -> Scalar:
        self.asked.append(command)
        await anyio.sleep(self.seconds)
        try:
            (rows,) = self.emulator.execute(SCRATCH, command)
        except sqlite3.Error as error:
            raise CheckNotRun(str(error)) from None
        value: Scalar = rows[0][0] if rows else None
        return value

    async def count(
        self, is_left_out: Callable[[str], bool], *, refuse_writes: bool
    ) -> list[TableCount]:
        assert refuse_writes is (self.holds == SCRATCH), "a source is in use"
        self.asked.append("count" if refuse_writes else "count the source")
        await anyio.sleep(self.seconds)
        if self.written:
            raise CheckNotRun(self.written)
        (listed,) = self.emulator.execute(
            self.holds, "select name from sqlite_master where type = 'table'"
        )
        return [self._counted(name) for (name,) in listed if not is_left_out(name)]

    def _counted(self, name: str) -> TableCount:
        if name in self.uncountable:
            return TableCount(name, None, problem=self.uncountable[name])
        ((row,),) = self.emulator.execute(self.holds, f'select count(*) from "{name}"')  # noqa: S608
        return TableCount(name, row[0], is_estimate=name in self.estimated)


def _certificate_in(dsn: str) -> tuple[bytes, int]:
    path = Path(re.findall(r"[^=]+", dsn)[-1])
    return path.read_bytes(), stat.S_IMODE(path.stat().st_mode)


@dataclass
class DrillScene:
    """A snapshot whose rows say `then`, a scratch database whose rows say `now`, and a stack with a Drill."""

    at: Scene  # the service
    databases: FakeDatabases  # what checks ask
    stack: Stack  # the resource, and the runs of `pulumi` on it

    def values(self, **changes: Any) -> dict[str, Any]:
        stored = self.at.stored
        return {
            "database_id": DATABASE,
            "version_id": stored.version_id,
            "name": stored.name,
            "runtime": stored.runtime,
            "scratch_database_id": SCRATCH,
            "connection": CONNECTION,
            "checks": [{"query": ROWS, "at_least": 1}],
            "overwrite_scratch": True,
            **changes,
        }

    def other_data(self) -> tuple[Any, list[dict[str, Any]]]:
        """Take a snapshot of other rows; return it, and the checks that only such rows pass."""
        self.at.writes("other")
        return self.at.here.emulator.add_snapshot(DATABASE), [
            {"query": "select state from rows", "equals": "other"}
        ]

    async def up(self, **changes: Any) -> None:
        own = {
            name: changes.pop(name)
            for name in ("saves", "replace", "cascade", "first")
            if name in changes
        }
        await self.stack.up(**own, **self.values(**changes))

    async def passes(
        self, *, restores: int | None = None, **changes: Any
    ) -> dict[str, Any]:
        """One `pulumi up` whose drill has passed; the outputs. `restores` is how many the service has accepted by then."""
        await self.up(**changes)
        assert (self.error, self.stack.outputs["passed"]) == ("", True)
        assert restores is None or self.accepted == restores
        return dict(self.stack.outputs)

    async def fails(
        self, *words: str, restores: int | None = None, **changes: Any
    ) -> dict[str, Any]:
        """One `pulumi up` whose error has these words; the outputs."""
        await self.up(**changes)
        assert self.error, "it has passed"
        assert [each for each in words if each not in self.error] == [], self.error
        assert restores is None or self.accepted == restores
        return dict(self.stack.outputs)

    def takes(self, state: str = "then") -> None:
        """Take a snapshot of rows that say this, which drills are of from now on."""
        self.at.writes(state)
        self.at.stored = self.at.here.emulator.add_snapshot(DATABASE)

    async def killed(self, after: float, **changes: Any) -> bool:
        """One `pulumi up`, with kill -9 after some seconds; returns whether it had not ended by then."""
        return await killed(after, partial(self.up, **changes), lambda: self.session)

    @property
    def session(self) -> Any:
        """The session of the stack's last process."""
        return self.stack.session

    @property
    def accepted(self) -> int:
        return len(self.at.accepted)

    @property
    def error(self) -> str:
        """What the user reads of the last run's error; empty without one."""
        error = self.stack.error
        if error is None:
            return ""
        end = error.error if isinstance(error, ResourceNotFinished) else error
        return flat(PYTHON.about(resource=DRILLER).error_text(end))

    @property
    def told(self) -> str:
        row = self.stack.row
        return "\n".join([*row.shown, *row.notes, *row.warnings, self.error])


@asynccontextmanager
async def drill_scene(**service: Any) -> AsyncIterator[DrillScene]:
    """Make a scene; the arguments are the service's behaviour, `settings` the client's."""
    async with scene(**service) as at:
        databases = FakeDatabases(at.here.emulator)
        with (
            databases.instead(),
            mock.patch("pulumi_snapshots.run.calls.system_utc", at.here.clock.utc),
        ):
            yield DrillScene(
                at, databases, Stack(DrillRules(), Machine(at.here), DRILLER)
            )
