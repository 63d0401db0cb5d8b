"""What a guard guards already, by what the state had before the run.

The engine runs the hooks of a delete that the state has for the resource, and the hooks of a create
or an update that the program gives it. A guard that is new, or guards more than before, has no
hooks at deletes and replacements in that one `pulumi up`. In that `up` the guard therefore takes
its snapshot before anything changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pulumi_snapshots.errors import Message
from pulumi_snapshots.guard.inputs import (
    CHANGES,
    CHOSEN_ALL,
    fits,
    is_chosen_by_program,
    may_be_guarded,
)
from pulumi_snapshots.run.settings import PACKAGE

GUARD_TYPE = f"{PACKAGE}:index:Guard"
STATE_UNKNOWN = Message(
    "the engine does not show the state, so deletes of resources that this "
    "guard did not guard before have no snapshot in this run"
)
IS_NEW = "the state does not have this guard yet"
GUARDS_DELETES_NOW = "it guards deletes from now on"
GUARDS_MORE_NOW = "it guards more resources than before"


@dataclass(frozen=True)
class StateBefore:
    """The resources that the state had, and that the engine has not got to know in this run.

    Attributes:
        resources: Their types by their URNs.
        guard: The outputs of the guard itself; None for a new guard.
    """

    resources: Mapping[str, str]
    guard: Mapping[str, Any] | None

    @property
    def guardable(self) -> list[str]:
        """The URNs of what a guard of a whole stack can guard; empty on a new stack."""
        return [
            urn
            for urn, type_ in self.resources.items()
            if may_be_guarded(type_, custom=True)
        ]

    @property
    def database_id(self) -> str | None:
        """The database that the guard had; None for a new guard, or if that was not known."""
        database_id = (self.guard or {}).get("databaseId")
        return database_id if isinstance(database_id, str) and database_id else None

    def unhooked(self, before: Collection[str], only: Collection[str]) -> str | None:
        """Why the guard does not hear of some deletes in this run.

        Args:
            before: The changes that the guard guards.
            only: The patterns of what the guard guards, or what stands for the program's own
                choice.

        Returns:
            The reason, as a clause; None if the guard hears of all deletes that it guards.
        """
        fitting = [urn for urn in self.guardable if self._fits(urn, only)]
        if "delete" not in before or not fitting:
            return None
        if self.guard is None:
            return IS_NEW
        if "delete" not in _texts(self.guard.get("before"), CHANGES):
            return GUARDS_DELETES_NOW
        patterns = _texts(self.guard.get("only"), ("*",))
        if {"*", CHOSEN_ALL}.isdisjoint(patterns) and not {*only} <= patterns:
            return GUARDS_MORE_NOW
        return None

    def _fits(self, urn: str, only: Collection[str]) -> bool:
        if not only or any(map(is_chosen_by_program, only)):
            return True
        return bool(fits(self.resources[urn], urn.rpartition("::")[2], only))


def state_before(
    listed: Mapping[str, tuple[str, Mapping[str, Any]]],
    registered: Iterable[str],
    name: str,
) -> StateBefore:
    """What the state had before, for one guard.

    Args:
        listed: Types and outputs by the URNs of the resources that the state has now.
        registered: The URNs of the resources that the engine has got to know in this run.
        name: The guard's name.

    Returns:
        The resources and the guard, without what this run has registered.
    """
    seen = {*registered}
    resources = {urn: type_ for urn, (type_, _) in listed.items() if urn not in seen}
    guards = [
        outputs
        for urn, (type_, outputs) in listed.items()
        if type_ == GUARD_TYPE and urn.rpartition("::")[2] == name
    ]
    return StateBefore(resources, guards[0] if guards else None)


def _texts(value: object, default: Iterable[str]) -> set[str]:
    """The texts in a list of the state; the default if the state has none."""
    return {*value} if isinstance(value, list) else {*default}
