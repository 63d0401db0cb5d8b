"""The plugin's functions, as Python programs call them; results and arguments are those of the top level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pulumi_snapshots.lookup.results import LATEST
from pulumi_snapshots.program.lookups import Lookups, later, now

if TYPE_CHECKING:
    import pulumi

    from pulumi_snapshots.lookup.results import Lookup


T = TypeVar("T")


class _ByPlugin(Lookups):
    def _now(self, lookup: Lookup[T], *, opts: Any, **arguments: Any) -> T:
        return now(lookup, opts, **arguments, **_optional(lookup))

    def _later(self, lookup: Lookup[T], *, opts: Any, **arguments: Any) -> pulumi.Output[T]:
        return later(lookup, opts, **arguments, **_optional(lookup))


def _optional(lookup: Lookup[Any]) -> dict[str, bool]:
    """In Python a latest snapshot may be None; in other languages that is an error unless a program says so."""
    return {"optional": True} if lookup is LATEST else {}


_lookups = _ByPlugin()


def __getattr__(name: str) -> Any:
    return getattr(_lookups, name)
