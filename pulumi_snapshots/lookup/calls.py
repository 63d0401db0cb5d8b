"""The lookups by name: what each may be asked, and who answers. Programs load it, so what speaks HTTP is loaded by the answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pulumi_snapshots.lookup.inputs import DatabaseQuery, DatabasesQuery, LatestQuery, SnapshotQuery

if TYPE_CHECKING:
    from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo
    from pulumi_snapshots.properties.checks import Problem
    from pulumi_snapshots.run.session import Session

__all__ = ["DATABASE", "DATABASES", "LATEST", "SNAPSHOTS", "Lookup"]

T = TypeVar("T")
Tell = Callable[[str], None]
Find = Callable[["Session", Mapping[str, Any], float, Tell], Awaitable[T]]


@dataclass(frozen=True)
class Lookup(Generic[T]):
    """One lookup.

    Attributes:
        function: its name.
        problems: what is wrong with its arguments.
        find: asks the service; may use what was asked for at the given time (monotonic) or later, and tells what takes long.
            Raises SquareCloudError or CannotTell.
        secret: whether its result must not be shown.
    """

    function: str
    problems: Callable[[Mapping[str, Any]], list[Problem]]
    find: Find[T]
    secret: bool = False


async def _find_snapshots(
    session: Session, arguments: Mapping[str, Any], since: float, _tell: Tell
) -> list[SnapshotInfo]:
    from pulumi_snapshots.lookup.find import find_snapshots  # noqa: PLC0415  loads the HTTP stack

    return await find_snapshots(session, SnapshotQuery.of(arguments), since)


async def _find_latest(
    session: Session, arguments: Mapping[str, Any], since: float, _tell: Tell
) -> SnapshotInfo | None:
    from pulumi_snapshots.lookup.find import find_latest  # noqa: PLC0415  loads the HTTP stack

    return await find_latest(session, LatestQuery.of(arguments).candidates, since)


async def _find_database(session: Session, arguments: Mapping[str, Any], since: float, _tell: Tell) -> DatabaseInfo:
    from pulumi_snapshots.lookup.find import find_database  # noqa: PLC0415  loads the HTTP stack

    return await find_database(session, arguments["database_id"], since)


async def _find_databases(
    session: Session, _arguments: Mapping[str, Any], since: float, tell: Tell
) -> list[DatabaseInfo]:
    from pulumi_snapshots.lookup.find import find_databases  # noqa: PLC0415  loads the HTTP stack

    return await find_databases(session, since, tell=tell)


SNAPSHOTS: Lookup[list[SnapshotInfo]] = Lookup("get_snapshots", SnapshotQuery.problems, _find_snapshots, secret=True)
LATEST: Lookup[SnapshotInfo | None] = Lookup("get_latest_snapshot", LatestQuery.problems, _find_latest, secret=True)
DATABASE: Lookup[DatabaseInfo] = Lookup("get_database", DatabaseQuery.problems, _find_database)
DATABASES: Lookup[list[DatabaseInfo]] = Lookup("get_databases", DatabasesQuery.problems, _find_databases)
