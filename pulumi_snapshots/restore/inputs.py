"""The inputs of a restore: what each may be, checked without a request. Standard library only: programs load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.properties.checks import (
    UNKNOWN,
    Problem,
    database_id_problem,
    digest_of,
    text_problem,
    timeout_problem,
    triggers_problem,
    version_id_problem,
)
from pulumi_snapshots.properties.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RestoreInputs", "restore_problems_of", "target_of"]

DEFAULT_TIMEOUT = 15 * 60.0
"""Seconds. A restore takes about 60 s; it may wait 120 s for the one before it on its database, and 60 s for each other
one of the account."""
OVERWRITES = "a restore overwrites everything that the database holds, with nothing to undo it but another snapshot"


@dataclass(frozen=True)
class RestoreInputs:
    """Checked inputs.

    Attributes:
        database_id: whose snapshot is put back.
        version_id: which one.
        target: whose data is overwritten.
        name: the storage object's name; None where it is to be looked up.
        runtime: the engine that the snapshot is of; None where not known.
        timeout: seconds of the whole restore, and of each resume anew.
        purpose: a digest of the triggers.
    """

    database_id: str
    version_id: str
    target: str
    name: str | None = None
    runtime: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    purpose: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> RestoreInputs:
        """From values that have no problem."""
        timeout = values.get("timeout")
        return cls(
            database_id=values["database_id"],
            version_id=values["version_id"],
            target=target_of(values),
            name=values.get("name"),
            runtime=values.get("runtime"),
            timeout=DEFAULT_TIMEOUT if timeout is None else parse_duration(timeout),
            purpose=digest_of(values.get("triggers")),
        )

    @property
    def snapshot(self) -> str:
        """The snapshot's id, as DATABASE_ID/VERSION_ID."""
        return f"{self.database_id}/{self.version_id}"


def target_of(values: Mapping[str, Any]) -> Any:
    """The database whose data is overwritten: the snapshot's own unless another one is given."""
    target = values.get("target_database_id")
    return values.get("database_id") if target is None else target


def restore_problems_of(values: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with these inputs; values that are `UNKNOWN` are taken to be right."""
    found = [
        ("overwrite", _overwrite_problem(values.get("overwrite"))),
        *_source_problems(values),
        ("triggers", triggers_problem(values.get("triggers"))),
        ("timeout", timeout_problem(values.get("timeout"))),
        ("name", text_problem(values.get("name"))),
        ("runtime", text_problem(values.get("runtime"))),
    ]
    if values.get("target_database_id") is not None:
        reason = database_id_problem(values["target_database_id"], purpose="restore onto")
        found.append(("target_database_id", reason))
    return [Problem(name, reason) for name, reason in found if reason]


def _overwrite_problem(value: object) -> str | None:
    if value is True or value is UNKNOWN:
        return None
    # The engine shows a text as it shows what it should be.
    must = (
        "must be true, not a text (`get_bool` reads one from the config)" if isinstance(value, str) else "must be true"
    )
    return f"{must}: {OVERWRITES}"


def _source_problems(values: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    database_id, version_id = values.get("database_id"), values.get("version_id")
    if database_id is None and version_id is None:
        return [("snapshot", "is required: a Snapshot, or database_id and version_id")]
    missing = "is required: which snapshot (a Snapshot that is pending has none yet)" if version_id is None else None
    return [
        ("database_id", database_id_problem(database_id, purpose="restore a snapshot of")),
        ("version_id", missing or version_id_problem(version_id)),
    ]
