"""The inputs of a snapshot: what each may be, checked without a request. Standard library only: programs load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.properties.checks import (
    RETENTION,
    UNKNOWN,
    Problem,
    database_id_problem,
    digest_of,
    timeout_problem,
    triggers_problem,
)
from pulumi_snapshots.properties.durations import duration_text, parse_duration, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SnapshotInputs",
    "problems_of",
]

DEFAULT_TIMEOUT = 45 * 60.0
"""Seconds. A stale listing is served for up to 30 minutes; the soft deadline and the snapshot itself come on top."""


@dataclass(frozen=True)
class SnapshotInputs:
    """Checked inputs; durations in seconds.

    Attributes:
        database_id: whose data.
        timeout: of the whole create, and of each resume anew.
        reuse_within: adopt a manual snapshot younger than this; 0 for never.
        rotate_after: take a new one when this one is older; None for never.
        purpose: what it is for, a digest of the triggers; they themselves may be secret.
    """

    database_id: str
    timeout: float = DEFAULT_TIMEOUT
    reuse_within: float = 0.0
    rotate_after: float | None = None
    purpose: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> SnapshotInputs:
        """From values that have no problem."""
        timeout, reuse, rotate = (values.get(name) for name in ("timeout", "reuse_within", "rotate_after"))
        return cls(
            database_id=values["database_id"],
            timeout=DEFAULT_TIMEOUT if timeout is None else parse_duration(timeout),
            reuse_within=0.0 if reuse is None else parse_duration(reuse),
            rotate_after=None if rotate is None else parse_duration(rotate),
            purpose=digest_of(values.get("triggers")),
        )


def problems_of(values: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with these inputs; values that are `UNKNOWN` are taken to be right."""
    problems = []
    if reason := database_id_problem(values.get("database_id")):
        problems.append(Problem("database_id", reason))
    if reason := triggers_problem(values.get("triggers")):
        problems.append(Problem("triggers", reason))
    if reason := timeout_problem(values.get("timeout")):
        problems.append(Problem("timeout", reason))
    durations: dict[str, float] = {}
    for name, may_be_zero in (("reuse_within", True), ("rotate_after", False)):
        value = values.get(name)
        if value is None or value is UNKNOWN:
            continue
        try:
            durations[name] = parse_duration(value)
        except ValueError as error:
            problems.append(Problem(name, str(error)))
            continue
        if durations[name] > RETENTION:
            problems.append(Problem(name, f"must be at most {duration_text(RETENTION)}, not {shown(value)}"))
        elif durations[name] == 0 and not may_be_zero:
            problems.append(Problem(name, "must be longer than zero"))
    if not problems and 0 < durations.get("rotate_after", 0.0) <= durations.get("reuse_within", 0.0):
        reason = "must be longer than reuse_within, else a rotation would adopt what it should renew"
        problems.append(Problem("rotate_after", reason))
    return problems
