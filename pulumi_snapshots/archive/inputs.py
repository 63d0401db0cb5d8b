"""The inputs of an archive: what each may be, checked without a request. Standard library only: programs load it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeGuard

from pulumi_snapshots.api.signed_url import database_of, problem_of_url, version_of
from pulumi_snapshots.archive.destination import Destination
from pulumi_snapshots.properties.checks import UNKNOWN, Problem, timeout_problem, version_id_problem
from pulumi_snapshots.properties.durations import parse_duration, shown
from pulumi_snapshots.snapshot.inputs import problems_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KEEP_LIMIT", "ArchiveInputs", "archive_problems_of", "which_snapshot"]

DEFAULT_TIMEOUT = 3600.0
"""Seconds."""
KEEP_LIMIT = 500
"""Objects that `keep_last` may name: each stands in the state with about 200 bytes."""


@dataclass(frozen=True)
class ArchiveInputs:
    """Checked inputs.

    Attributes:
        destination: where it goes.
        database_id: whose snapshot; None where only a URL is given that does not tell.
        version_id: which one.
        download_url: signed; None where it is to be looked up. Never shown.
        size: bytes, as the listing announced them; None where not known.
        created_at: RFC 3339; None where not known.
        keep_last: how many objects of this resource to keep; None for all.
        delete_object: whether deleting the resource deletes the object.
        timeout: seconds for the whole transfer.
    """

    destination: Destination
    database_id: str | None
    version_id: str
    download_url: str | None = None
    size: int | None = None
    created_at: str | None = None
    keep_last: int | None = None
    delete_object: bool = False
    timeout: float = DEFAULT_TIMEOUT

    def __repr__(self) -> str:
        # The URL opens the data to whoever has it.
        return f"ArchiveInputs({self.database_id}/{self.version_id} to {self.destination.uri})"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ArchiveInputs:
        """From values that have no problem."""
        database_id, version_id = which_snapshot(values)
        size, keep, timeout = (values.get(name) for name in ("size", "keep_last", "timeout"))
        return cls(
            destination=Destination.parse(values["destination"]),
            database_id=database_id,
            version_id=version_id or "",
            download_url=values.get("download_url"),
            size=None if size is None else int(size),
            created_at=values.get("created_at"),
            keep_last=None if keep is None else int(keep),
            delete_object=bool(values.get("delete_object")),
            timeout=DEFAULT_TIMEOUT if timeout is None else parse_duration(timeout),
        )


def which_snapshot(values: Mapping[str, Any]) -> tuple[Any, Any]:
    """Database and version that the inputs name, each `UNKNOWN` where a preview does not know it, None where absent."""
    url = values.get("download_url")
    database_id, version_id = values.get("database_id"), values.get("version_id")
    if database_id is None and url is not None:
        database_id = UNKNOWN if url is UNKNOWN else database_of(url)
    if version_id is None and url is not None:
        version_id = UNKNOWN if url is UNKNOWN else version_of(url)
    return database_id, version_id


def archive_problems_of(values: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with these inputs; values that are `UNKNOWN` are taken to be right."""
    found = [
        *_source_problems(values),
        ("destination", _destination_problem(values.get("destination"))),
        ("keep_last", _keep_last_problem(values.get("keep_last"))),
        ("delete_object", _flag_problem(values.get("delete_object"))),
        ("timeout", timeout_problem(values.get("timeout"))),
        ("size", _size_problem(values.get("size"))),
        ("created_at", _moment_problem(values.get("created_at"))),
    ]
    return [Problem(name, reason) for name, reason in found if reason]


def _source_problems(values: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    database_id, version_id, url = (values.get(name) for name in ("database_id", "version_id", "download_url"))
    if database_id is None and version_id is None and url is None:
        return [("snapshot", "is required: a Snapshot, or database_id and version_id, or download_url alone")]
    problems: list[tuple[str, str | None]] = []
    if database_id is not None:
        problems += [(problem.property, problem.reason) for problem in problems_of({"database_id": database_id})]
    elif url is None:
        problems.append(("database_id", "is required: the id of the database whose snapshot it is"))
    problems.append(("version_id", version_id_problem(version_id)))
    if version_id is None and url is None:
        problems.append(("version_id", "is required: which snapshot (a Snapshot that is pending has none yet)"))
    if url is not None and url is not UNKNOWN:
        problems.append(("download_url", _url_problem(url, version_id)))
    return problems


def _url_problem(url: object, version_id: object) -> str | None:
    if not isinstance(url, str):
        return f"must be a string, not {type(url).__name__}"
    if reason := problem_of_url(url):
        return reason
    pinned = version_of(url)
    if pinned is None and version_id is None:
        return (
            "is not pinned: it holds no versionId, so it would archive whatever is newest. Run `pulumi refresh` on the "
            "stack of the Snapshot, which pins its URL, or give version_id too"
        )
    if pinned is not None and isinstance(version_id, str) and version_id != pinned:
        return f"is of version {shown(pinned)}, not of version_id {shown(version_id)}"
    return None


def _destination_problem(value: object) -> str | None:
    if value is UNKNOWN:
        return None
    if value is None:
        return "is required: a path, or a URI of file://, s3://, gs:// or az://"
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}"
    try:
        return Destination.parse(value).missing_extra
    except ValueError as error:
        return str(error)


def _keep_last_problem(value: object) -> str | None:
    if value is None or value is UNKNOWN:
        return None
    if _is_whole(value, least=1) and value <= KEEP_LIMIT:
        return None
    return f"must be a whole number from 1 to {KEEP_LIMIT}, not {shown(value)}"


def _size_problem(value: object) -> str | None:
    if value is None or value is UNKNOWN or _is_whole(value, least=0):
        return None
    return f"must be a whole number of bytes, not {shown(value)}"


def _moment_problem(value: object) -> str | None:
    if value is None or value is UNKNOWN:
        return None
    try:
        datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return f"must be a time such as 2026-11-24T23:00:00Z, not {shown(value)}"
    return None


def _is_whole(value: object, *, least: int) -> TypeGuard[int | float]:
    """Whether it is a whole number; the engine has only floats."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= least and value % 1 == 0


def _flag_problem(value: object) -> str | None:
    return None if value is None or value is UNKNOWN or isinstance(value, bool) else "must be true or false"
