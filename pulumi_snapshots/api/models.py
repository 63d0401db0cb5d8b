"""What the service sends, as typed data: unknown fields are ignored, optional ones that do not fit become None."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.functional_validators import AfterValidator

from pulumi_snapshots.api.signed_url import version_of
from pulumi_snapshots.clock import in_utc

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Accepted",
    "Account",
    "AccountDatabase",
    "DatabaseStatus",
    "Finished",
    "ListedSnapshot",
    "Listing",
    "read_entries",
    "version_in",
]


OLDEST_YEAR, NO_YEAR = 2000, 9000
"""Dates of other years are nonsense, and would end in an overflow where a zone or the 30 days are added."""


def _none_if_unfit(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """An optional field of a wrong type must not cost us the whole entry."""
    try:
        return handler(value)
    except ValidationError:
        return None


def _utc(moment: datetime) -> datetime:
    """A date without a zone is UTC, as everything else that the service sends."""
    if not OLDEST_YEAR <= moment.year < NO_YEAR:
        raise ValueError("no snapshot is of that year")
    return in_utc(moment)


def _address(url: str) -> str:
    """A URL that can be taken apart; others raise ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("no URL")
    return url


T = TypeVar("T")
Lenient = Annotated[T | None, WrapValidator(_none_if_unfit)]
Utc = Annotated[datetime, AfterValidator(_utc)]
Address = Annotated[str, AfterValidator(_address)]


def version_in(address: str | None) -> str | None:
    """The `versionId` in a signed URL or in an entry's `key` (a bare query string); None where there is none."""
    if not address:
        return None
    return version_of(address if "://" in address else f"?{address.removeprefix('?')}")


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


# What is read as which model.
Model = TypeVar("Model", bound=_Wire)


class ListedSnapshot(_Wire):
    """One entry of a listing.

    Attributes:
        name: the storage object's name; the same for every snapshot of a database.
        size: bytes.
        modified: UTC; whether it is the snapshot's start or end is not public.
        key: the query string of the signed URL.
        version_id: the only thing that identifies a snapshot.
        url: the pinned URL; None in old answers.
        runtime: the engine.
        origin: `automatic` for the daily one, `manual` otherwise; None in old entries.
    """

    name: str = Field(min_length=1)
    size: Lenient[int] = None
    modified: Lenient[Utc] = None
    key: Lenient[str] = None
    version_id: Lenient[str] = None
    url: Lenient[Address] = None
    runtime: Lenient[str] = None
    origin: Lenient[str] = None

    @property
    def version(self) -> str | None:
        """The version id: the entry's own, or in old entries the one in `key` or `url`."""
        return self.version_id or version_in(self.key) or version_in(self.url)


@dataclass(frozen=True)
class Listing:
    """One fetched page of snapshots, newest first.

    Attributes:
        entries: those that could be read and have a version.
        unreadable: how many could not; such a page proves no absence.
        sent_at: monotonic seconds when it was asked for.
        service_time: the service's clock when it answered (this machine's where it never said).
    """

    entries: tuple[ListedSnapshot, ...]
    unreadable: int
    sent_at: float
    service_time: datetime


class Finished(_Wire):
    """The 200 of a create: `url` serves the newest version, whatever that is by then."""

    url: Lenient[Address] = None
    key: Lenient[str] = None

    @property
    def version(self) -> str | None:
        """The version that `key` or `url` names; older answers name none."""
        return version_in(self.key) or version_in(self.url)


@dataclass(frozen=True)
class Accepted:
    """The 202 of a create: it goes on in the background, and the answer carries no id."""


class AccountDatabase(_Wire):
    """A database as `/users/me` lists it and its own route shows it; `ram` in MB, `type` is its engine."""

    id: str = Field(min_length=1)
    name: Lenient[str] = None
    ram: Lenient[int] = None
    type: Lenient[str] = None
    cluster: Lenient[str] = None


class DatabaseStatus(_Wire):
    """How a database is at the moment."""

    running: StrictBool


class _Memory(_Wire):
    limit: Lenient[int] = None


class _Plan(_Wire):
    name: Lenient[str] = None
    memory: Lenient[_Memory] = None


class _User(_Wire):
    id: str = Field(min_length=1)
    plan: Lenient[_Plan] = None


class Account(_Wire):
    """The answer of `/users/me`.

    Attributes:
        user: whose it is.
        databases: those that could be read.
        unreadable: how many could not; 1 where there was no list of databases.
    """

    user: _User
    databases: tuple[AccountDatabase, ...]
    unreadable: int

    @model_validator(mode="before")
    @classmethod
    def _count_unreadable(cls, answer: Any) -> Any:
        """One database that cannot be read must not cost us the account."""
        if not isinstance(answer, dict):
            return answer
        items = answer.get("databases")
        listed = items if isinstance(items, list) else [None]
        databases = [database for item in listed if (database := _read(AccountDatabase, item)) is not None]
        return {**answer, "databases": databases, "unreadable": len(listed) - len(databases)}

    @property
    def plan_memory(self) -> int | None:
        """The plan's memory in MB; the daily allowance of snapshots is computed from it."""
        plan = self.user.plan
        return plan.memory.limit if plan and plan.memory else None


def _read(model: type[Model], item: Any) -> Model | None:
    try:
        return model.model_validate(item)
    except ValidationError:
        return None


def read_entries(items: Iterable[Any]) -> tuple[tuple[ListedSnapshot, ...], int]:
    """The readable entries of a listing, and how many were not."""
    entries: list[ListedSnapshot] = []
    unreadable = 0
    for item in items:
        entry = _read(ListedSnapshot, item)
        if entry is None or entry.version is None:
            unreadable += 1
        else:
            entries.append(entry)
    return tuple(entries), unreadable
