"""The lookups, as programs call them: plain functions, and their twins for arguments that are outputs.

Programs import this file, so it loads the HTTP stack only once something is looked up.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import pulumi
from pulumi.runtime import get_root_resource

from pulumi_snapshots.declaration import Duration, LookupFailed, Origin, refuse_outputs, warn_of_plain_key, warn_once
from pulumi_snapshots.dynamic.translate import this_run
from pulumi_snapshots.engine.errors import debugging
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.late import late
from pulumi_snapshots.lookup.results import DATABASE, DATABASES, LATEST, SNAPSHOTS
from pulumi_snapshots.run.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.lookup.results import DatabaseInfo, Lookup, SnapshotInfo
    from pulumi_snapshots.run.session import Session

__all__ = [
    "LookupFailed",
    "get_database",
    "get_database_output",
    "get_databases",
    "get_databases_output",
    "get_latest_snapshot",
    "get_latest_snapshot_output",
    "get_snapshots",
    "get_snapshots_output",
]

T = TypeVar("T")


def get_snapshots(
    database_id: str | None = None,
    origin: Origin | None = None,
    newer_than: Duration | None = None,
    older_than: Duration | None = None,
) -> list[SnapshotInfo]:
    """The snapshots that the service lists, newest first; in previews, too.

    Args:
        database_id: whose; all of the account unless given.
        origin: `manual` or `automatic`; any unless given.
        newer_than: only those taken within so long before now, by the service's clock; at most 30 days.
        older_than: only those taken longer ago than that, by the service's clock; at most 30 days.

    Durations are strings such as `90s`, `45m`, `1h30m`, `7d`, or numbers of seconds.

    Raises:
        LookupFailed: an argument cannot be used, or the service does not tell for sure.
    """
    return _SNAPSHOTS.now(database_id=database_id, origin=origin, newer_than=newer_than, older_than=older_than)


def get_snapshots_output(
    database_id: pulumi.Input[str] | None = None,
    origin: pulumi.Input[Origin] | None = None,
    newer_than: pulumi.Input[Duration] | None = None,
    older_than: pulumi.Input[Duration] | None = None,
) -> pulumi.Output[list[SnapshotInfo]]:
    """`get_snapshots` for arguments that are outputs; a secret, since it holds download URLs."""
    return _SNAPSHOTS.later(database_id=database_id, origin=origin, newer_than=newer_than, older_than=older_than)


def get_latest_snapshot(
    database_id: str, origin: Origin | None = None, max_age: Duration | None = None
) -> SnapshotInfo | None:
    """The newest available snapshot of a database, whoever took it; in previews, too.

    Args:
        database_id: whose.
        origin: `manual` or `automatic`; any unless given.
        max_age: only one taken within so long before now, by the service's clock; at most 30 days. A string such as `90s`,
            `45m`, `1h30m`, `7d`, or a number of seconds.

    Returns:
        The snapshot; None where there is none.

    Raises:
        LookupFailed: an argument cannot be used, or the service does not tell for sure.
    """
    return _LATEST.now(database_id=database_id, origin=origin, max_age=max_age)


def get_latest_snapshot_output(
    database_id: pulumi.Input[str],
    origin: pulumi.Input[Origin] | None = None,
    max_age: pulumi.Input[Duration] | None = None,
) -> pulumi.Output[SnapshotInfo | None]:
    """`get_latest_snapshot` for arguments that are outputs; a secret, since it holds a download URL."""
    return _LATEST.later(database_id=database_id, origin=origin, max_age=max_age)


def get_database(database_id: str) -> DatabaseInfo:
    """A database of the account, and whether it runs; in previews, too.

    Args:
        database_id: which.

    Raises:
        LookupFailed: the argument cannot be used, there is no such database, or the service does not tell for sure.
    """
    return _DATABASE.now(database_id=database_id)


def get_database_output(database_id: pulumi.Input[str]) -> pulumi.Output[DatabaseInfo]:
    """`get_database` for an argument that is an output."""
    return _DATABASE.later(database_id=database_id)


def get_databases() -> list[DatabaseInfo]:
    """All databases of the account, and whether each runs (one request for each); in previews, too.

    Raises:
        LookupFailed: the service does not tell for sure.
    """
    return _DATABASES.now()


def get_databases_output() -> pulumi.Output[list[DatabaseInfo]]:
    """`get_databases` as an output."""
    return _DATABASES.later()


# How they are looked up ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lookup(Generic[T]):
    """One lookup and its twin."""

    lookup: Lookup[T]

    @property
    def function(self) -> str:
        """Its name."""
        return self.lookup.function

    def now(self, **arguments: Any) -> T:
        """Ask, and wait for the answer."""
        ask = self._question(self.function, arguments, lately=False)
        with _failures(self.function):
            return self._noted(this_run().carry_out(ask))
        raise AssertionError  # a failure is raised

    def later(self, **arguments: Any) -> pulumi.Output[T]:
        """Ask once the arguments are known."""
        given = pulumi.Output.all(arguments={name: value for name, value in arguments.items() if value is not None})
        if self.lookup.secret:
            given = pulumi.Output.secret(given)
        function = f"{self.function}_output"

        async def find(known: dict[str, dict[str, Any]]) -> T:
            values = known["arguments"]
            for name, value in values.items():
                if value is None:
                    raise LookupFailed(function, f"{name} is an output whose value is None.")
            # What the resources have done whose outputs these are, is not in a page from before.
            ask = self._question(function, arguments | values, lately=True)
            with _failures(function):
                return self._noted(await asyncio.wrap_future(this_run().begin(ask)))
            raise AssertionError  # a failure is raised

        return given.apply(find)

    def _question(
        self, function: str, arguments: Mapping[str, Any], *, lately: bool
    ) -> Callable[[], Awaitable[tuple[T, Words]]]:
        """What the run's event loop is to do: the answer, and what the user should know besides."""
        self._check(function, arguments)
        settings, program = _settings(function), get_root_resource()

        async def ask() -> tuple[T, Words]:
            session = this_run().shared.session(settings)
            since = _since(session, program, lately=lately)
            answer: T = await late("lookup.find:find")(self.lookup, session, arguments, since, _tell)
            return answer, session.take_note()

        return ask

    @staticmethod
    def _noted(answered: tuple[T, Words]) -> T:
        answer, note = answered
        if note:
            warn_once(PYTHON.text(note))
        return answer

    def _check(self, function: str, values: Mapping[str, Any]) -> None:
        refuse_outputs(self.function, values, name=function)
        problems = self.lookup.query.problems(values)
        if problems:
            raise LookupFailed(
                function, "; ".join(f"{problem.property} {PYTHON.text(problem.told())}" for problem in problems) + "."
            )


class _ProgramConfig:
    """The stack's config, as this program sees it; it wins over the environment."""

    def get(self, key: str, /) -> Any:
        """The value of a key with its namespace; None where there is none."""
        namespace, _, name = key.partition(":")
        return pulumi.Config(namespace).get(name)


def _settings(function: str) -> Settings:
    warn_of_plain_key()
    with _failures(function):
        settings = Settings.read(_ProgramConfig(), os.environ)
        settings.required_key()
        return settings
    raise AssertionError  # a failure is raised


_programs: WeakKeyDictionary[pulumi.Resource, float] = WeakKeyDictionary()
"""When each program of this process looked up something first; with the Automation API a process runs many."""


def _since(session: Session, program: pulumi.Resource | None, *, lately: bool) -> float:
    """When what is good enough may have been asked for at the earliest (monotonic); in the event loop only."""
    recent = session.listings.recent
    begun = recent if program is None else _programs.setdefault(program, session.clock.monotonic())
    return max(begun, recent) if lately else begun


@contextmanager
def _failures(function: str) -> Iterator[None]:
    """What the body fails with, as one paragraph that names the function; with `SQUARECLOUD_DEBUG=1` its traceback, too."""
    try:
        yield
    except Explained as error:
        trace = f"\n{traceback.format_exc()}" if debugging() else ""
        raise LookupFailed(function, PYTHON.told(error) + trace, why=error) from None


def _tell(text: str) -> None:
    pulumi.log.info(f"get_databases: {text}")


_SNAPSHOTS = _Lookup(SNAPSHOTS)
_LATEST = _Lookup(LATEST)
_DATABASE = _Lookup(DATABASE)
_DATABASES = _Lookup(DATABASES)
