"""The functions of the plugin: the description of each, and the lookup that answers it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic.alias_generators import to_camel

from pulumi_snapshots.lookup import calls as lookup_calls
from pulumi_snapshots.plugin import description
from pulumi_snapshots.plugin.kinds import PACKAGE
from pulumi_snapshots.plugin.values import Names

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

    from pulumi_snapshots.lookup.calls import Lookup
    from pulumi_snapshots.lookup.results import SnapshotInfo

__all__ = ["FUNCTIONS", "Function"]


@dataclass(frozen=True)
class Function:
    """One function.

    Attributes:
        lookup: answers it.
        query: describes its arguments, and what it is for.
        result: describes what it brings.
        values: the result in plain values, of what the lookup has found.
    """

    lookup: Lookup[Any]
    query: type[BaseModel]
    result: type[BaseModel]
    values: Callable[[Any], dict[str, Any]]

    @property
    def token(self) -> str:
        """Its name in every language."""
        return f"{PACKAGE}:index:{to_camel(self.lookup.function)}"

    @cached_property
    def arguments(self) -> Names:
        """How its arguments are called."""
        return Names(self.query)

    @cached_property
    def results(self) -> Names:
        """How what it brings is called."""
        return Names(self.result)


def _snapshot(found: SnapshotInfo) -> dict[str, Any]:
    return {name: getattr(found, name) for name in description.FoundSnapshot.model_fields}


FUNCTIONS = {
    function.token: function
    for function in (
        Function(
            lookup_calls.SNAPSHOTS,
            description.SnapshotsQuery,
            description.FoundSnapshots,
            lambda found: {"snapshots": [_snapshot(one) for one in found]},
        ),
        Function(
            lookup_calls.LATEST,
            description.LatestQuery,
            description.LatestSnapshot,
            lambda found: {"snapshot": None if found is None else _snapshot(found)},
        ),
        Function(lookup_calls.DATABASE, description.DatabaseQuery, description.Database, asdict),
        Function(
            lookup_calls.DATABASES,
            description.NoQuery,
            description.Databases,
            lambda found: {"databases": [asdict(one) for one in found]},
        ),
    )
}
"""By token."""
