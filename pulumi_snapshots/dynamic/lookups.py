"""The lookups, as programs call them; the HTTP stack is loaded only once something is looked up."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import pulumi
from pulumi.runtime import get_root_resource

from pulumi_snapshots.dynamic.translate import this_run
from pulumi_snapshots.engine.errors import debugged
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.late import late
from pulumi_snapshots.lookup.results import DATABASE, DATABASES, LATEST, SNAPSHOTS
from pulumi_snapshots.program import (
    Duration,
    LookupFailed,
    Origin,
    ProgramConfig,
    hidden,
    refuse_outputs,
    warn_of_plain_key,
    warn_once,
)
from pulumi_snapshots.program.invokes import are_mocked, later, now
from pulumi_snapshots.run.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.lookup.results import DatabaseInfo, Lookup, SnapshotInfo
    from pulumi_snapshots.run.session import Session


T = TypeVar("T")


def get_snapshots(
    database_id: str | None = None,
    origin: Origin | None = None,
    newer_than: Duration | None = None,
    older_than: Duration | None = None,
    *,
    with_url: bool | None = None,
) -> list[SnapshotInfo]:
    """List the snapshots that the service has, newest first; in previews, too.

    Durations are strings such as `90s`, `45m`, `1h30m`, `7d`, or numbers of seconds, by the service's clock.

    Args:
        database_id: of this database; of the whole account unless given.
        origin: `manual` or `automatic`; both unless given.
        newer_than: only snapshots taken at most this long ago; at most 30 days.
        older_than: only snapshots taken longer ago than this; at most 30 days.
        with_url: whether each has its `download_url`, with which anyone can read the data. No unless given.

    Raises:
        LookupFailed: an argument cannot be used, or the service gives no certain answer.
    """
    return _now(
        SNAPSHOTS,
        database_id=database_id,
        origin=origin,
        newer_than=newer_than,
        older_than=older_than,
        with_url=with_url,
    )


def get_snapshots_output(
    database_id: pulumi.Input[str] | None = None,
    origin: pulumi.Input[Origin] | None = None,
    newer_than: pulumi.Input[Duration] | None = None,
    older_than: pulumi.Input[Duration] | None = None,
    *,
    with_url: pulumi.Input[bool] | None = None,
) -> pulumi.Output[list[SnapshotInfo]]:
    """`get_snapshots` for arguments that are outputs; a secret if it holds download URLs."""
    return _later(
        SNAPSHOTS,
        database_id=database_id,
        origin=origin,
        newer_than=newer_than,
        older_than=older_than,
        with_url=with_url,
    )


def get_latest_snapshot(
    database_id: str, origin: Origin | None = None, max_age: Duration | None = None, *, with_url: bool | None = None
) -> SnapshotInfo | None:
    """Find the newest available snapshot of a database, no matter who took it, or None; in previews, too.

    Args:
        database_id: the database.
        origin: `manual` or `automatic`; both unless given.
        max_age: only a snapshot taken at most this long ago, by the service's clock; at most 30 days. A string such as
            `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        with_url: whether it has its `download_url`, with which anyone can read the data. No unless given.

    Raises:
        LookupFailed: an argument cannot be used, or the service gives no certain answer.
    """
    return _now(LATEST, database_id=database_id, origin=origin, max_age=max_age, with_url=with_url)


def get_latest_snapshot_output(
    database_id: pulumi.Input[str],
    origin: pulumi.Input[Origin] | None = None,
    max_age: pulumi.Input[Duration] | None = None,
    *,
    with_url: pulumi.Input[bool] | None = None,
) -> pulumi.Output[SnapshotInfo | None]:
    """`get_latest_snapshot` for arguments that are outputs; a secret if it holds a download URL."""
    return _later(LATEST, database_id=database_id, origin=origin, max_age=max_age, with_url=with_url)


def get_database(database_id: str) -> DatabaseInfo:
    """Look up a database of the account, and whether it runs; in previews, too.

    Raises:
        LookupFailed: the id cannot be used, there is no such database, or the service gives no certain answer.
    """
    return _now(DATABASE, database_id=database_id)


def get_database_output(database_id: pulumi.Input[str]) -> pulumi.Output[DatabaseInfo]:
    """`get_database` for an argument that is an output."""
    return _later(DATABASE, database_id=database_id)


def get_databases() -> list[DatabaseInfo]:
    """List the databases of the account, and whether each runs (one request for each); in previews, too.

    Raises:
        LookupFailed: the service gives no certain answer.
    """
    return _now(DATABASES)


def get_databases_output() -> pulumi.Output[list[DatabaseInfo]]:
    """`get_databases` as an output."""
    return _later(DATABASES)


# How they are looked up ----------------------------------------------------------------------------------------------


def _now(lookup: Lookup[T], **arguments: Any) -> T:
    """Ask, and wait for the answer."""
    if are_mocked():
        return now(lookup, None, **arguments)
    function = lookup.function
    try:
        return _noted(this_run().carry_out(_question(lookup, function, arguments, lately=False)))
    except Explained as error:
        raise _failed(function, error) from None


def _later(lookup: Lookup[T], **arguments: Any) -> pulumi.Output[T]:
    """Ask once the arguments are known."""
    if are_mocked():
        return later(lookup, None, **arguments)
    function = f"{lookup.function}_output"
    given = pulumi.Output.all(arguments={name: value for name, value in arguments.items() if value is not None})

    async def find(known: dict[str, dict[str, Any]]) -> T:
        values = known["arguments"]
        for name, value in values.items():
            if value is None:
                raise LookupFailed(function, f"{name} is an output whose value is None.")
        try:
            # An older listing does not show what the resources have done that the arguments come from.
            ask = _question(lookup, function, arguments | values, lately=True)
            return _noted(await asyncio.wrap_future(this_run().begin(ask)))
        except Explained as error:
            raise _failed(function, error) from None

    return hidden(lookup, given.apply(find), arguments)


def _question(
    lookup: Lookup[T], function: str, arguments: Mapping[str, Any], *, lately: bool
) -> Callable[[], Awaitable[tuple[T, Words]]]:
    """What the run's event loop is to do: find the answer, and what the user should know besides."""
    refuse_outputs(lookup.function, arguments, name=function)
    if problems := lookup.query.problems(arguments):
        told = "; ".join(f"{problem.property} {PYTHON.text(problem.told())}" for problem in problems)
        raise LookupFailed(function, f"{told}.")
    warn_of_plain_key()
    settings, program = Settings.read(ProgramConfig(), os.environ), get_root_resource()
    settings.required_key()

    async def ask() -> tuple[T, Words]:
        session = this_run().shared.session(settings)
        since = _since(session, program, lately=lately)
        answer: T = await late("lookup.find:find")(lookup, session, arguments, since, _tell)
        return answer, session.take_note()

    return ask


def _noted(answered: tuple[T, Words]) -> T:
    answer, note = answered
    if note:
        warn_once(PYTHON.text(note))
    return answer


def _failed(function: str, error: Explained) -> LookupFailed:
    return LookupFailed(function, debugged(PYTHON.told(error), error), why=error)


_programs: WeakKeyDictionary[pulumi.Resource, float] = WeakKeyDictionary()
"""When each program of this process made its first lookup; with the Automation API, a process runs many."""


def _since(session: Session, program: pulumi.Resource | None, *, lately: bool) -> float:
    """The age of the oldest listing that is good enough (monotonic); in the event loop only."""
    recent = session.listings.recent
    begun = recent if program is None else _programs.setdefault(program, session.clock.monotonic())
    return max(begun, recent) if lately else begun


def _tell(text: str) -> None:
    pulumi.log.info(f"get_databases: {text}")
