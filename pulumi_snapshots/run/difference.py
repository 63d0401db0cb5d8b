"""Whether inputs differ in what is known of them. Sends no request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.errors import Text, Words
from pulumi_snapshots.properties.checks import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping


Same = Callable[[Any, Any], bool]
"""Whether two values that are not equal mean the same."""


def never(_old: object, _new: object) -> bool:
    """Values that are not equal mean something else."""
    return False


def changed(name: str, old: Mapping[str, Any], new: Mapping[str, Any], same: Same = never) -> bool:
    """Whether an input has changed for all that is known; an empty one equals none."""
    return differs(old.get(name) or None, new.get(name) or None, same)


def differs(old: Any, new: Any, same: Same = never) -> bool:
    """Whether two values differ in what is known of them."""
    if new is UNKNOWN:  # as of what the engine deletes first, also if it stays the same
        return False
    if isinstance(old, list) and isinstance(new, list):
        return len(old) != len(new) or any(differs(one, other, same) for one, other in zip(old, new, strict=True))
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() != new.keys() or any(differs(old[name], new[name], same) for name in new)
    return bool(old != new) and not same(old, new)


def holds_unknown(value: Any) -> bool:
    """Whether a value is `UNKNOWN`, or holds it."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is UNKNOWN or any(map(holds_unknown, inside))


def undecided(new: Mapping[str, Any], *names: str) -> Words:
    """The reason why a preview cannot decide whether to make a new one; empty if it can."""
    unknown = [name for name in names if holds_unknown(new.get(name))]
    if not unknown:
        return ""
    named = " and ".join("{" + name + "}" for name in unknown)
    return Text(f"decided in the update, since a preview does not know {named}")
