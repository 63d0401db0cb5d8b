"""How the service is asked for what a lookup brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pulumi_snapshots.listing import listings
from pulumi_snapshots.lookup.find import find_database, find_databases, find_latest, find_snapshots
from pulumi_snapshots.lookup.results import DATABASE, DATABASES, LATEST, SNAPSHOTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pulumi_snapshots.lookup.results import Lookup
    from pulumi_snapshots.run.session import Session

__all__ = ["find", "lately"]

T = TypeVar("T")

_FIND: dict[str, Callable[..., Awaitable[Any]]] = {
    SNAPSHOTS.function: lambda session, query, since, _: find_snapshots(session, query, since),
    LATEST.function: lambda session, query, since, _: find_latest(session, query.candidates, since),
    DATABASE.function: lambda session, query, since, _: find_database(session, query.database_id, since),
    DATABASES.function: lambda session, _query, since, tell: find_databases(session, since, tell=tell),
}


async def find(
    lookup: Lookup[T], session: Session, values: Mapping[str, Any], since: float, tell: Callable[[str], None]
) -> T:
    """The answer to a lookup.

    Args:
        lookup: which one.
        session: the service.
        values: its arguments, which have no problem.
        since: what was asked for then (monotonic) or later is good enough.
        tell: told where it takes a while.

    Raises:
        Explained: there is no certain answer.
    """
    answer: T = await _FIND[lookup.function](session, lookup.query.of(values), since, tell)
    return answer


def lately(session: Session) -> float:
    """Since when what was asked for is good enough for a lookup of now."""
    return session.clock.monotonic() - listings.READS_SHARE
