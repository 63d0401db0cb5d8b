"""The service's answers as typed data.

Unknown fields are ignored; optional fields of a wrong type become None.
"""

import re
from base64 import b64decode
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    OnErrorOmit,
    PlainValidator,
    StrictBool,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from pulumi_snapshots.clock import in_utc
from pulumi_snapshots.properties.checks import database_of, database_of_name, version_of


def _none_if_unfit(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """The value, or None if it has a wrong type.

    One bad field must not make the whole entry unreadable.
    """
    try:
        return handler(value)
    except ValidationError:
        return None


def _address(url: str) -> str:
    """The URL unchanged; ValueError if it cannot be parsed."""
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("no URL")
    return url


def _from_milliseconds(value: object) -> datetime:
    """The time of Unix milliseconds; ValueError if there are none, or of another age."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")  # noqa: TRY004  pydantic handles ValueError only
    try:
        return in_utc(datetime.fromtimestamp(value / 1000, UTC))
    except (OverflowError, OSError) as error:
        raise ValueError("no time") from error


T = TypeVar("T")
Lenient = Annotated[T | None, WrapValidator(_none_if_unfit)]
Utc = Annotated[datetime, AfterValidator(in_utc)]
# Users read such a word, and no API key is as short.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,60}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]
"""A number of bytes or of MB. A state keeps no larger number exactly, and one of thousands of
digits cannot be shown.
"""
Address = Annotated[str, AfterValidator(_address)]
UnixMilliseconds = Annotated[datetime, PlainValidator(_from_milliseconds)]


def version_of_url_or_key(address: str | None) -> str | None:
    """The `versionId` in a signed URL or in an entry's `key`, which is a bare query string.

    None if neither holds a version.
    """
    if address and "://" not in address:
        address = f"?{address.removeprefix('?')}"
    return version_of(address) if address else None


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Finished(_Wire):
    """The 200 of a create.

    Its `url` serves the latest snapshot of the database, which may be another one by then.
    """

    version_id: Lenient[str] = None
    # the query string of the signed URL
    key: Lenient[str] = Field(default=None, repr=False, exclude=True)
    # `key` and `url` open the data to anyone
    url: Lenient[Address] = Field(default=None, repr=False, exclude=True)

    @cached_property
    def version(self) -> str | None:
        """The version, which alone identifies a snapshot.

        Old answers have it only in `key` or `url`, or not at all.
        """
        return (
            self.version_id
            or version_of_url_or_key(self.key)
            or version_of_url_or_key(self.url)
        )


class ListedSnapshot(Finished):
    """One entry of a listing; `url` is the signed URL of this version, None in old entries."""

    # of the storage object, the same for every snapshot of a database
    name: str = Field(min_length=1)
    size: Lenient[Count] = None  # bytes
    # whether the snapshot started or ended then is not public
    modified: Lenient[Utc] = None
    runtime: Lenient[str] = None  # the database engine
    # `automatic` for a daily snapshot, `manual` otherwise; None in old entries
    origin: Lenient[str] = None

    @property
    def database(self) -> str | None:
        """The database, in the path of the URL.

        Without a URL, as in old entries, it is the name. None if it is unknown.
        """
        if self.url is None:
            return database_of_name(self.name)
        return database_of(self.url)


@dataclass(frozen=True, eq=False)
class Listing:
    """A fetched listing, newest snapshot first."""

    # the entries that can be read and have a version
    entries: tuple[ListedSnapshot, ...]
    # how many entries cannot be read; with any, the listing does not prove that one is missing
    unreadable: int
    sent_at: float  # when it was requested, monotonic seconds
    # the time of the answer; this machine's if the service never sent a time
    service_time: datetime
    is_own: bool  # whether the listing is of one database, not of the account

    @cached_property
    def of_each(self) -> dict[str | None, list[ListedSnapshot]]:
        """The entries by database, sorted once.

        The account's listing holds a month of each database, and every pending snapshot searches
        it.
        """
        of_each = defaultdict[str | None, list[ListedSnapshot]](list)
        for entry in self.entries:
            of_each[entry.database].append(entry)
        return dict(of_each)


class AccountDatabase(_Wire):
    """A database of the account; `ram` is in MB, and `type` is the database engine."""

    id: str = Field(min_length=1)
    name: Lenient[str] = None
    ram: Lenient[Count] = None
    type: Lenient[str] = None
    cluster: Lenient[str] = None
    created_at: Lenient[Utc] = None
    port: Lenient[int] = None  # the service gives the port for a single database only


class DatabaseStatus(_Wire):
    """The current status of a database.

    `uptime` is when the database was started, None while it does not run.
    """

    running: StrictBool
    uptime: Lenient[Utc] = None


class _Running(DatabaseStatus):
    """The status of one database in the list of all."""

    id: str = Field(min_length=1)


class RestoreStatus(_Wire):
    """How the last restore of a database stands.

    Times are by the service's clock, on the wire in Unix milliseconds.
    """

    # `none` if there was no restore in the last hour, `queued`, `running`, `success`, `error`, or a
    # new word.
    state: Word
    # what the service is doing, or was doing when the restore failed
    step: Lenient[Word] = None
    code: Lenient[Word] = None  # why the restore failed
    started_at: Lenient[Utc] = None
    finished_at: Lenient[Utc] = None

    @property
    def in_progress(self) -> bool:
        """Whether the restore is queued or running."""
        return self.state in {"queued", "running"}

    def __str__(self) -> str:
        return self.state if self.step is None else f"{self.state} ({self.step})"


class Account(_Wire):
    """The account, by `/users/me`.

    The plan's memory, in MB, determines the daily quota of snapshots. That `duration` is the end of
    the plan is inferred from the documented example; a value that is no time counts as None.
    """

    id: str = Field(min_length=1, validation_alias=AliasPath("user", "id"))
    plan: Lenient[str] = Field(None, validation_alias=AliasPath("user", "plan", "name"))
    plan_memory: Lenient[Count] = Field(
        None, validation_alias=AliasPath("user", "plan", "memory", "limit")
    )
    plan_ends: Lenient[UnixMilliseconds] = Field(
        None, validation_alias=AliasPath("user", "plan", "duration")
    )
    databases: list[OnErrorOmit[AccountDatabase]]
    # all databases, also those that are unreadable
    every: list[Any] = Field(validation_alias="databases", repr=False)

    @property
    def unreadable(self) -> int:
        """The number of unreadable databases."""
        return len(self.every) - len(self.databases)


def read_certificate(given: Any) -> bytes:
    """Return the PEM with a private key and a certificate, from base64 or plain text.

    Args:
        given: The service's value.

    Raises:
        ValueError: The value is not whole.
    """
    text = given.get("certificate") if isinstance(given, dict) else given
    if not isinstance(text, str):
        raise ValueError("no text")  # noqa: TRY004  as for any other content
    pem = (
        text.encode("ascii")
        if "-----BEGIN" in text
        else b64decode(text, validate=False)
    )
    of_each = rb"(?:[A-Z]+ )?PRIVATE KEY", rb"CERTIFICATE"
    if not all(
        re.search(
            rb"-----BEGIN %b-----.+-----END %b-----" % (label, label), pem, re.DOTALL
        )
        for label in of_each
    ):
        raise ValueError("not whole")
    return pem


def read_entries(items: Any) -> tuple[tuple[ListedSnapshot, ...], int]:
    """Return the readable entries of a listing that have a version, and the number of others.

    Args:
        items: The service's value.

    Raises:
        ValueError: The value is not a listing.
    """
    entries = tuple(
        each for each in _ENTRIES.validate_python(items) if each.version is not None
    )
    return entries, len(items) - len(entries)


# the statuses of all databases, without entries that cannot be read
STATUSES = TypeAdapter(list[OnErrorOmit[_Running]])
_ENTRIES = TypeAdapter(list[OnErrorOmit[ListedSnapshot]])
