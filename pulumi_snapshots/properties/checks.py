"""Checks of values, durations, and the information in a signed URL.

A check returns the value or raises Unfit. This module loads no HTTP stack.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeGuard
from urllib.parse import parse_qs, unquote, urlsplit

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors import AnyMessage, Message
from pulumi_snapshots.errors.secrets import hide_secrets, looks_secret, shortened

RETENTION = 30 * 86400.0
"""Seconds that the service keeps a snapshot."""
TRIGGERS_LIMIT = 2**20
"""Characters of JSON. The engine takes a pending resource in a message's trailer, of 16 MiB at
most.
"""
TIMEOUT_LIMIT = 7 * 86400.0
"""Seconds; far beyond any snapshot, restore or transfer, so a larger time-out is a mistake in the
unit.
"""
DATABASE_TYPES = {
    "postgres": "PostgreSQL",
    "mongo": "MongoDB",
    "mysql": "MySQL",
    "redis": "Redis",
}
"""The service's database engines, as it and as people write them."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""The rest of 127.0.0.0/8 is left out, since some systems route it elsewhere."""
_KIND = re.compile(rf"_({'|'.join(DATABASE_TYPES)})(_(automatic|manual))?$")
"""The suffix after the database's id in newer names of storage objects."""
_USUAL_ID = re.compile(r"[a-f0-9]{32}")
_ID = re.compile(r"(?!\.+$)[A-Za-z0-9_.-]{1,100}")
"""A text that can be an id: one segment of a path, without spaces, and no placeholder such as
`${id}` or `<id>`.
"""


class _Marker:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


UNKNOWN: Final = _Marker("UNKNOWN")
"""The value of an input that a preview does not know yet."""
FILE: Final = _Marker("FILE")
"""The value of an input that is a file or an archive, which no SDK reads back from a state."""
LATEST = "latest"
"""A command's user may write this in place of a version id, for the newest snapshot. Version ids
have at least 24 characters.
"""
SHOWN_LIMIT = 100
"""Characters of a bad value that an error repeats."""


class Unfit(ValueError):
    """A value that cannot be used; see `Problem`."""

    def __init__(self, reason: AnyMessage, given: object = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.given = given


@dataclass(frozen=True)
class Problem:
    """A bad input, by its name in Python."""

    property: str
    reason: AnyMessage
    """What would be right, as "must be …". The text lacks the value, which an engine prints itself
    or hides.
    """
    given: object = None
    """The value, for edges that repeat it; None if no edge may."""

    @classmethod
    def of(cls, name: str, error: ValueError) -> Problem:
        """Return the problem of a property whose value was refused.

        Args:
            name: the property's name in Python.
            error: the refusal.
        """
        return (
            cls(name, error.reason, error.given)
            if isinstance(error, Unfit)
            else cls(name, str(error))
        )

    def with_value(self) -> AnyMessage:
        """Return the reason and the value, for an edge that shows no value itself."""
        if self.given is None:
            return self.reason
        template = "{reason}, not {given}"
        return Message(template, reason=self.reason, given=shown(self.given))


def shown(value: object) -> str:
    """Return a bad value as an error repeats it.

    Args:
        value: What a user typed or wrote into a program.

    Returns:
        Up to 100 characters of it; of a value that looks like a secret, the first three.
    """
    if isinstance(value, str) and looks_secret(value):
        return repr(shortened(value))
    try:
        text = hide_secrets(repr(value))
    except ValueError:  # a whole number of thousands of digits
        return "that number"
    return text if len(text) <= SHOWN_LIMIT else f"{text[:SHOWN_LIMIT]}…"


# Durations

_LONGEST = 100
"""Characters of a duration; the expressions below take hours for thousands of digits."""
MINUTE = 60
HOUR = 3600
DAY = 86400
"""Seconds."""
_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)", re.ASCII)


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is a number; True and False are none.

    Args:
        value: Any value.
    """
    return isinstance(value, int | float) and not isinstance(value, bool)


def parse_duration(value: object) -> float:
    """Parse a duration.

    Args:
        value: `90s`, `45m`, `1h30m`, `7d`, `1.5h`, or a number of seconds.

    Returns:
        Seconds.

    Raises:
        Unfit: The value is not a duration.

    Example:
        >>> parse_duration("1h30m")
        5400.0
    """
    seconds = math.nan
    if is_number(value):
        # Some whole numbers are too large for a float.
        seconds = float(value) if value <= sys.float_info.max else math.inf
    elif isinstance(value, str):
        seconds = _seconds_in(value)
    if not (seconds >= 0 and math.isfinite(seconds)):
        raise Unfit(
            "must be a duration in d, h, m or s such as 90s, 45m, 1h30m or 7d", value
        )
    return seconds


def _seconds_in(written: str) -> float:
    """The seconds of a duration as it is written; not a number if it is none."""
    text = written.strip()
    if len(written) > _LONGEST or not text:
        return math.nan
    if _NUMBER.fullmatch(text):
        return float(text)
    if _PART.sub("", text):
        return math.nan
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def spoken(seconds: float, *, exact: bool = False) -> str:
    """Format a duration as people say it: `40 s`, `12 min`, `1 h 55 min`, `3 days`.

    Args:
        seconds: the duration.
        exact: whether to name more than two units.

    Returns:
        The text.
    """
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{round(seconds, 1):g} s"
    least = 1 if exact or seconds < 10 * MINUTE else MINUTE if seconds < DAY else HOUR
    parts = _parts(round(seconds / least) * least, "days", "h", "min", "s")
    return " ".join(
        f"{count} {'day' if (count, unit) == (1, 'days') else unit}"
        for count, unit in parts
    )


def duration_text(seconds: float) -> str:
    """Format a duration as people write it in a program: `45m`, `1h30m`, `7d`, `0.5s`.

    Args:
        seconds: the duration.

    Returns:
        The text.
    """
    parts = _parts(round(seconds), "d", "h", "m", "s")
    return (
        f"{seconds:g}s"
        if seconds < MINUTE
        else "".join(f"{count}{unit}" for count, unit in parts)
    )


def _parts(rest: int, *units: str) -> Iterator[tuple[int, str]]:
    """The days, hours, minutes and seconds of so many seconds, as far as there are any."""
    for unit, size in zip(units, (DAY, HOUR, MINUTE, 1), strict=True):
        count, rest = divmod(rest, size)
        if count:
            yield count, unit


# Checks of one value each


def digest_of(triggers: object) -> str:
    """Return a digest of triggers, which can be secrets. Equal triggers have equal digests.

    Args:
        triggers: the triggers.
    """
    if not triggers:
        return ""
    content = json.dumps(triggers, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def is_usual_database_id(database_id: str) -> bool:
    """Return whether an id has the documented form of 32 hex digits.

    Some examples of the service have another form.

    Args:
        database_id: the id.
    """
    return _USUAL_ID.fullmatch(database_id) is not None


def text(given: object) -> str:
    """Return a text.

    Args:
        given: the value.

    Raises:
        Unfit: The value is something else.
    """
    if not isinstance(given, str):
        raise Unfit(f"must be a string, not {type(given).__name__}")
    return given


def flag(given: object) -> bool:
    """Return true or false.

    Args:
        given: the value.

    Raises:
        Unfit: The value is something else.
    """
    if not isinstance(given, bool):
        raise Unfit("must be true or false")
    return given


def database_id(purpose: str = "take a snapshot of") -> Callable[[object], str]:
    """Return the check of a database's id.

    Args:
        purpose: as in "the id of the database to …".
    """

    def read(given: object) -> str:
        database = text(given)
        if database == "":
            raise Unfit(f"must not be empty: it is the id of the database to {purpose}")
        if _ID.fullmatch(database) is None:
            raise Unfit("must be a bare id, of letters, digits, - and _ only")
        return database

    return read


def triggers(given: object) -> list[Any]:
    """Return a list of plain values, up to 1 MiB.

    Args:
        given: the value.

    Raises:
        Unfit: The value is something else, or too large.
    """
    if not isinstance(given, list | tuple):
        raise Unfit(f"must be a list, not {type(given).__name__}")
    _refuse_strange(given)
    size = len(json.dumps(given, default=str))
    if size > TRIGGERS_LIMIT:
        raise Unfit(
            f"must be 1 MiB at most, as JSON, not {size / 2**20:.0f}: give a digest instead"
        )
    return list(given)


def _refuse_strange(value: object) -> None:
    """Raise Unfit if a value holds what a state does not give back as it was."""
    if isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            _refuse_strange(each)
    elif value is FILE:
        raise Unfit("must not hold an asset or archive: give a digest of its content")
    elif not (
        value is None or value is UNKNOWN or isinstance(value, str | int | float | bool)
    ):
        raise Unfit(f"must hold plain values only, not {type(value).__name__}")


def version_id(given: object) -> str:
    """Return a snapshot's version id.

    Args:
        given: the value.

    Raises:
        Unfit: The value cannot be one.
    """
    if (
        isinstance(given, str)
        and given not in {"", LATEST}
        and given.isprintable()
        and " " not in given
    ):
        return given
    raise Unfit(
        Message("must be a snapshot's version id, as {get_latest_snapshot} finds it"),
        given,
    )


def one_of(*choices: str) -> Callable[[object], str]:
    """Return the check of a text that is one of some choices.

    Args:
        *choices: the choices.
    """

    def read(given: object) -> str:
        if isinstance(given, str) and given in choices:
            return given
        raise Unfit(f"must be {' or '.join(map(repr, choices))}", given)

    return read


def moment(given: object) -> str:
    """Return a time in one of the forms of ISO 8601.

    Args:
        given: the value.

    Raises:
        Unfit: The value is something else.
    """
    try:
        parse_rfc3339(given if isinstance(given, str) else "")
    except ValueError:
        raise Unfit("must be a time such as 2026-11-24T23:00:00Z", given) from None
    return str(given)


def whole_number(
    what: str,
    *,
    least: int,
    most: float = math.inf,
) -> Callable[[object], int]:
    """Return the check of a whole number, which the engine gives as a float.

    Args:
        what: as in "must be a whole number …".
        least: the smallest number.
        most: the largest number.
    """

    def read(given: object) -> int:
        if is_number(given) and least <= given <= most and not given % 1:
            return int(given)
        raise Unfit(f"must be a whole number {what}", given)

    return read


def duration(
    *,
    most: float,
    may_be_zero: bool = False,
    because: str = "",
) -> Callable[[object], float]:
    """Return the check of a duration.

    Args:
        most: the longest duration, in seconds.
        may_be_zero: whether 0 is valid.
        because: why no duration can be longer, as a clause; empty for no reason.
    """

    def read(given: object) -> float:
        seconds = parse_duration(given)
        if seconds == 0 and not may_be_zero:
            raise Unfit("must be longer than zero")
        if seconds > most:
            raise Unfit(
                f"must be at most {duration_text(most)}{because and f' ({because})'}",
                given,
            )
        return seconds

    return read


timeout = duration(most=TIMEOUT_LIMIT)
"""The check of how long something may take."""
age_at_service = duration(
    most=RETENTION, because="the service keeps no snapshot longer"
)
"""The check of a snapshot's age at the service."""


# Download URLs


def version_of(url: str) -> str | None:
    """Return the version to which a URL is pinned; None if it serves the latest snapshot.

    Where the URL is pinned: `snapshot.record.describe` gives each snapshot the URL of its version.

    Args:
        url: the URL.
    """
    # A plus in a query usually means a space. A version id may contain a plus but never a space.
    return _in_query(url.replace("+", "%2B"), "versionId")


def expiry_of(url: str) -> datetime | None:
    """Return when a URL expires, from its `Expires` (Unix seconds); None without it.

    Args:
        url: the URL.
    """
    try:
        return datetime.fromtimestamp(float(_in_query(url, "Expires") or ""), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def database_of(url: str) -> str | None:
    """Return the database in the path `/databases/ACCOUNT/DATABASE.zip`.

    None if the path has another form.

    Args:
        url: the URL.
    """
    try:
        *_, family, _account, name = unquote(urlsplit(url).path).split("/")
    except ValueError:
        return None
    return (
        database_of_name(name.removesuffix(".zip")) if family == "databases" else None
    )


def database_of_name(name: str) -> str | None:
    """Return the database in a storage object's name.

    The name is the database's id; in newer names, engine and origin follow.

    Args:
        name: the name.
    """
    return _KIND.sub("", name) or None


def problem_of_url(url: str) -> str | None:
    """Return why a URL must not be downloaded; None if it can be.

    The text never repeats the URL, which gives access to the data.

    Args:
        url: the URL.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # fails if the port is no number
        (host or "").encode("idna")  # fails if the host is no domain name
    except ValueError:
        host = None
        parts = urlsplit("")
    if (
        not host
        or parts.scheme not in {"https", "http"}
        or not url.isprintable()
        or " " in url
    ):
        return "must be a URL such as https://host/path"
    if "@" in parts.netloc:
        return "must not hold a user or a password"
    if parts.scheme == "http" and host not in LOOPBACK:
        return (
            "must use https: over http the data could be read on the way (http is for loopback "
            "only)"
        )
    return None


def _in_query(url: str, name: str) -> str | None:
    try:
        return next(
            (value for value in parse_qs(urlsplit(url).query).get(name, ()) if value),
            None,
        )
    except ValueError:
        return None
