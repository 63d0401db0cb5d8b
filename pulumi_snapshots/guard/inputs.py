"""The inputs of a guard, of the function that guards in other languages, and its result. It loads no HTTP stack."""

from __future__ import annotations

from typing import Any

from pulumi_snapshots.lookup.results import Lookup
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Duration, Inputs, Moment, Record, declare
from pulumi_snapshots.properties.checks import RETENTION
from pulumi_snapshots.properties.unfit import Unfit
from pulumi_snapshots.snapshot.inputs import DEFAULT_TIMEOUT, PURPOSE, SnapshotInputs

CHANGES = ("create", "update", "delete")
"""What can be guarded, as Pulumi calls it."""
DEFAULT_BEFORE = ("update", "delete")
"""Nothing that exists can be lost by a first creation, and a first `up` would need a snapshot of a new database."""
DEFAULT_REUSE = 10 * 60.0
"""Seconds. Two runs in a row, such as a failed one and its repetition, cost one of the day's snapshots."""


def _changes(given: object) -> tuple[str, ...]:
    """Which changes are guarded."""
    known = f"must be a list of {', '.join(map(repr, CHANGES))}"
    if not isinstance(given, list | tuple):
        raise Unfit(known, given)
    if not given:
        raise Unfit(f"must not be empty: name at least one of {', '.join(map(repr, CHANGES))}")
    for each in given:
        if each not in CHANGES:
            raise Unfit(known, each)
    return tuple(each for each in CHANGES if each in given)


class _Taken(Inputs):
    """What a guard's snapshot is asked for with."""

    database_id: str = declare(
        "The database to take a snapshot of.",
        read=checks.database_id(PURPOSE),
        needed=f"the id of the database to {PURPOSE}",
    )
    reuse_within: Duration = declare(
        "Use the newest manual snapshot of this database instead of taking one if it was taken at most this long before the "
        "first change, and since then nothing guarded has happened and the database was not restored, as after a run that "
        "has failed; 0 takes one in each run. At most 30 days.",
        default=DEFAULT_REUSE,
        read=checks.duration(most=RETENTION, may_be_zero=True),
    )
    timeout: Duration = declare(
        "How long the changes wait for the snapshot at most. After that they do not happen.",
        default=DEFAULT_TIMEOUT,
        read=checks.timeout,
    )

    fallback: Duration | None = declare(
        "If no snapshot can be taken now, since the quota is used up or the service is down, the newest one that is at most "
        "this old will do, also an automatic one, with a warning. At most 30 days.",
        default=None,
        read=checks.duration(most=RETENTION),
    )

    @property
    def snapshot(self) -> SnapshotInputs:
        """The inputs of the snapshot."""
        return SnapshotInputs(self.database_id, timeout=self.timeout, reuse_within=self.reuse_within)


class GuardInputs(_Taken):
    """The inputs of a guard; durations in seconds."""

    before: tuple[str, ...] = declare(
        "Which changes of a guarded resource wait for the snapshot: `create`, `update`, `delete`.",
        default=DEFAULT_BEFORE,
        read=_changes,
    )


class TakeQuery(_Taken):
    """A snapshot before a change, for a hook: one for all calls of a run, which wait for it; none in a preview.

    The first call takes it, by the rules of a Snapshot, and later ones get the same. If it cannot be had, every call fails, so
    that no change goes past it. A run that was killed while it waited is completed by the next one, without a second request.
    """

    name: str = declare(
        "Names the guard in the history. Calls of one run with the same database share one snapshot.", default="guard"
    )
    change: str | None = declare(
        "What is about to change, as `update of Server shop`; for the lasting line and for errors.", default=None
    )
    urn: str | None = declare(
        "The resource that is about to change: progress and lines are shown at it; at the stack unless given.",
        default=None,
    )
    stack: str | None = declare(
        "Whose guard it is, as `ORGANIZATION/PROJECT/STACK`, for the history. From the URN unless given.",
        default=None,
    )
    after: bool = declare(
        "True in a hook that comes after the change: it is noted, so that no later run uses the same snapshot.",
        default=False,
    )


class TakenSnapshot(Record, computed=("id",)):
    """The snapshot that guards a change; in a preview only its database is known."""

    database_id: str = declare("The database whose snapshot it is.")
    version_id: str = declare(
        "The service's version id, which with the database's id is all that identifies a snapshot."
    )
    created_at: Moment | None = declare(
        "When it was taken, by the service's clock; of one that is not listed yet, when it was requested.", default=None
    )

    @property
    def id(self) -> str:
        """`DATABASE_ID/VERSION_ID`, to look it up or import it by."""
        return f"{self.database_id}/{self.version_id}"


TAKE: Lookup[TakenSnapshot] = Lookup("take_snapshot", TakeQuery, TakenSnapshot)
"""The function of the plugin."""


def guard_name(name: str, stack: str) -> str:
    """A guard's name in the book: `ORGANIZATION/PROJECT/STACK/NAME`, as far as the stack is known."""
    return "/".join(filter(None, (stack, name)))


def foreseen(values: dict[str, Any]) -> dict[str, Any]:
    """What a preview knows of the result; the engine takes no unknown value in a function's answer."""
    return {"database_id": values["database_id"]}
