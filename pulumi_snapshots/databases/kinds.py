"""The kinds of databases, their connection strings, what no error may show of one, and what asking gives. It loads no HTTP stack."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors import not_installed
from pulumi_snapshots.errors.secrets import hide_word
from pulumi_snapshots.properties.checks import DATABASE_TYPES as TITLES
from pulumi_snapshots.properties.checks import Unfit

T = TypeVar("T")
Scalar = str | int | float | bool | None  # what a check compares
HIDDEN = "…"
LONGEST = 300  # characters of a library's message that an error repeats
_KEYWORD = re.compile(r"\b(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))")


@dataclass(frozen=True)
class Kind:
    """How to speak to a kind of database."""

    title: str
    schemes: tuple[str, ...]  # the usual one first
    library: str
    port: int
    last: str = "DATABASE"  # what the path of a connection string names
    needs_database: bool = False
    # after a `?`, with `-` for `_`; None if the library checks them itself
    parameters: frozenset[str] | None = None

    @property
    def form(self) -> str:
        """How its connection string looks."""
        return f"{self.schemes[0]}://USER:PASSWORD@HOST:PORT/{self.last}"

    @property
    def extra(self) -> str:
        """The extra that installs the library."""
        return f"drill-{self.title.lower()}"


_MYSQL = frozenset({"ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"})
_REDIS = frozenset(
    {"ssl-cert-reqs", "ssl-ca-certs", "ssl-certfile", "ssl-keyfile", "ssl-check-hostname"}
)
KINDS = {
    "postgres": Kind(TITLES["postgres"], ("postgresql", "postgres"), "psycopg", 5432),
    "mysql": Kind(
        TITLES["mysql"],
        ("mysql", "mariadb"),
        "pymysql",
        3306,
        needs_database=True,
        parameters=_MYSQL,
    ),
    "mongo": Kind(
        TITLES["mongo"],
        ("mongodb", "mongodb+srv"),
        "pymongo",
        27017,
        needs_database=True,
    ),
    "redis": Kind(
        TITLES["redis"],
        ("redis", "rediss"),
        "redis",
        6379,
        last="NUMBER",
        parameters=_REDIS,
    ),
}
"""By the service's names."""


def kind_of(dsn: str) -> str:
    """The kind of database that a connection string is for; raises `Unfit`, whose text never holds any of it."""
    if re.match(r"\s*[a-z_]+\s*=", dsn):
        return "postgres"
    scheme, url, _ = dsn.partition("://")
    name, kind = next((each for each in KINDS.items() if scheme in each[1].schemes), ("", None))
    if kind is None or not url:
        raise Unfit(
            f"must be a connection string such as {' or '.join(each.form for each in KINDS.values())}"
        )
    unescaped = Unfit(
        f"must be {kind.form}, with %-escapes for what is special in a URL, such as %2F for a slash"
    )
    try:
        parts = urlsplit(dsn)
        if "," not in parts.netloc:  # several hosts are the library's to read
            parts.port  # noqa: B018 - it is read only when it is asked for
    except ValueError:
        # The error of `urlsplit` quotes what it cannot read. A slash in a password looks like a port.
        raise unescaped from None
    if kind.needs_database and not parts.path.strip("/"):
        raise Unfit(f"must name the database: {kind.form}")
    if kind.parameters is None:
        return name
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise unescaped  # a part of the password may stand there
    if strange := [*parameters(dsn).keys() - kind.parameters]:
        raise Unfit(
            f"has a parameter {strange[0]}; {kind.title} has {', '.join(sorted(kind.parameters))}"
        )
    return name


def keywords(dsn: str) -> list[tuple[str, str]]:
    """What PostgreSQL's other form of a connection string holds: `host=db.example dbname=shop`."""
    found = () if "://" in dsn else _KEYWORD.findall(dsn)
    return [(name.lower(), quoted or plain) for name, quoted, plain in found]


def parameters(dsn: str) -> dict[str, str]:
    """What follows the `?` of a connection string, with `-` for `_` in each name."""
    return {
        name.replace("_", "-"): value
        for name, value in parse_qsl(urlsplit(dsn).query, keep_blank_values=True)
    }


def login(dsn: str) -> dict[str, Any]:
    """Host, port, user, password and database of a connection string of MySQL or Redis, without their escapes."""
    parts = urlsplit(dsn)
    texts = {"user": parts.username, "password": parts.password, "database": parts.path.strip("/")}
    place = {"host": parts.hostname or "localhost", "port": parts.port or KINDS[kind_of(dsn)].port}
    return place | {name: unquote(text or "") for name, text in texts.items()}


def lacking(kind: str) -> str | None:
    """Say that the library of a kind of database is not installed; None if it is."""
    about = KINDS[kind]
    if find_spec(about.library):
        return None
    return not_installed(about.library, about.extra)


def without(dsn: str, message: object) -> str:
    """The first line of a message, without a part of a connection string, and not too long."""
    secret, place = {dsn}, set[str]()
    if "://" in dsn:
        rest = dsn.partition("://")[2]
        # Not `urlsplit`: what cannot be read as a URL, such as a password with an @ or a slash, is hidden too.
        for at in (found.start() for found in re.finditer("@", rest)):
            user, _, password = rest[:at].partition(":")
            secret |= {rest[:at], password, unquote(password)} if password else set()
            place |= {user, unquote(user)}
        hosts = re.split("[/#]", rest.partition("?")[0].rpartition("@")[2])[0]
        place |= {re.sub(r":\d*$", "", host).strip("[]") for host in hosts.split(",")}
        for name, value in parse_qsl(rest.partition("?")[2]):
            if re.search("pass|secret", name.lower()) or "\n" in value or "-----BEGIN" in value:
                secret |= {value, *value.splitlines()}
    for name, value in keywords(dsn):
        if name.endswith("password") or name in {"host", "hostaddr", "user"}:
            (secret if name.endswith("password") else place).add(value)
    said = str(message)
    for each in sorted(filter(None, secret), key=len, reverse=True):
        said = hide_word(said, each)
    for each in sorted(filter(None, place), key=len, reverse=True):
        said = re.sub(rf"(?<![\w.-]){re.escape(each)}(?![\w-]|\.\w)", HIDDEN, said)
    line = " ".join((said.strip().splitlines() or [""])[0].split()).rstrip(".")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}{HIDDEN}"


class Refused(Exception):
    """A command gave no value; the text is the reason, which may hold secrets."""


class Session(ABC):
    """A connection that blocks; it is made of its string, and the seconds that connecting, and then each command, may take."""

    end: Callable[[], object]  # ends the connection
    is_lost: Callable[
        [Exception], bool
    ]  # whether a command's error is that there is no connection any more

    @abstractmethod
    def ask(self, command: str) -> Scalar:
        """The one value that a command results in."""

    @abstractmethod
    def age(self) -> Scalar:
        """Seconds for which the server has run; no number, or an error, if it does not say."""

    def close(self) -> None:
        """End the connection, whatever became of it."""
        with suppress(Exception):
            self.end()


def scalar(value: object) -> Scalar:  # noqa: PLR0911  one for each kind of value
    """A database's value as text, number, truth value or None; raises `Refused` if it is none of these.

    A time is text: in UTC as the outputs write it if it has a zone, else as it is. A length of time is in seconds.
    """
    match value:
        case str() | bool() | None:
            return value
        case int():
            return int(value)  # a library's own kind of whole number too
        case float() | Decimal():
            if not math.isfinite(value):
                raise Refused("its result is not a finite number")
            is_whole = isinstance(value, Decimal) and value == value.to_integral_value()
            return int(value) if is_whole else float(value)
        case timedelta():
            return value.total_seconds()
        case datetime() if value.tzinfo:
            return rfc3339(value)
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode()
    count = f" with {len(value)} elements" if isinstance(value, Sized) else ""
    raise Refused(f"its result is a {type(value).__name__}{count}, not one value")


def only(elements: Sequence[T], what: str) -> T:
    """The only element of a result, of which the first ones are given; raises `Refused` if there is none, or more than one."""
    if len(elements) != 1:
        raise Refused(f"its result has {'more than one' if elements else 'no'} {what}")
    return elements[0]


def only_column(rows: Sequence[Sequence[object]]) -> Scalar:
    """The only column of the only row; see `only`."""
    row = only(rows, "row")
    if len(row) != 1:
        raise Refused(f"its result has {len(row)} columns, not one")
    return scalar(row[0])
