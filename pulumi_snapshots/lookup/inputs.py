"""The arguments of the lookups: what each may be, checked without a request. Standard library only: programs load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.properties.checks import RETENTION, Problem, database_id_problem
from pulumi_snapshots.properties.durations import duration_text, parse_duration, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SnapshotQuery", "database_problems_of", "latest_problems_of", "snapshots_problems_of"]

ORIGINS = ("manual", "automatic")
LIST_PURPOSE = "list snapshots of"
LOOK_UP_PURPOSE = "look up"


@dataclass(frozen=True)
class SnapshotQuery:
    """Which snapshots are asked for; ages in seconds, by the service's clock.

    Attributes:
        database_id: whose; None for the whole account.
        origin: `manual` or `automatic`; None for any, also one that the service does not tell.
        newer_than: taken within so long before now; None for any age.
        older_than: taken longer ago than that; None for any age.
    """

    database_id: str | None = None
    origin: str | None = None
    newer_than: float | None = None
    older_than: float | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> SnapshotQuery:
        """From values that have no problem; `max_age` is another word for `newer_than`."""
        newest, oldest = values.get("newer_than", values.get("max_age")), values.get("older_than")
        return cls(
            database_id=values.get("database_id"),
            origin=values.get("origin"),
            newer_than=None if newest is None else parse_duration(newest),
            older_than=None if oldest is None else parse_duration(oldest),
        )

    @property
    def needs_times(self) -> bool:
        """Whether a snapshot whose time is not known cannot be told to fit."""
        return self.newer_than is not None or self.older_than is not None


def snapshots_problems_of(values: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with the arguments of a lookup of several snapshots."""
    problems = [] if values.get("database_id") is None else _database_id(values, LIST_PURPOSE)
    problems += _origin(values)
    ages, bad_ages = _ages(values, "newer_than", "older_than")
    newer, older = ages.get("newer_than"), ages.get("older_than")
    if newer is not None and older is not None and newer <= older:
        reason = f"must be longer than older_than ({shown(values['older_than'])}), not {shown(values['newer_than'])}: else no snapshot is both"
        bad_ages.append(Problem("newer_than", reason))
    return [*problems, *bad_ages]


def latest_problems_of(values: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with the arguments of a lookup of the newest snapshot."""
    return [*_database_id(values, LIST_PURPOSE), *_origin(values), *_ages(values, "max_age")[1]]


def database_problems_of(values: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with the arguments of a lookup of one database."""
    return _database_id(values, LOOK_UP_PURPOSE)


def _database_id(values: Mapping[str, Any], purpose: str) -> list[Problem]:
    reason = database_id_problem(values.get("database_id"), purpose=purpose)
    return [] if reason is None else [Problem("database_id", reason)]


def _origin(values: Mapping[str, Any]) -> list[Problem]:
    origin = values.get("origin")
    if origin is None or (isinstance(origin, str) and origin in ORIGINS):
        return []
    return [Problem("origin", f"must be {' or '.join(map(repr, ORIGINS))}, not {shown(origin)}")]


def _ages(values: Mapping[str, Any], *names: str) -> tuple[dict[str, float], list[Problem]]:
    """The ages in seconds, and what is wrong with the others."""
    ages: dict[str, float] = {}
    problems: list[Problem] = []
    for name in names:
        value = values.get(name)
        if value is None:
            continue
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            problems.append(Problem(name, str(error)))
            continue
        if seconds == 0:
            problems.append(Problem(name, "must be longer than zero"))
        elif seconds > RETENTION:
            reason = (
                f"must be at most {duration_text(RETENTION)}, not {shown(value)}: the service keeps no snapshot longer"
            )
            problems.append(Problem(name, reason))
        else:
            ages[name] = seconds
    return ages, problems
