"""The kinds of databases, their connection strings, and what no error may show of one. It loads no HTTP stack."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pulumi_snapshots.properties.checks import DATABASE_TYPES as TITLES
from pulumi_snapshots.properties.unfit import Unfit

HIDDEN = "…"
LONGEST = 300
"""Characters of a library's message that an error repeats."""
_KEYWORD = re.compile(r"\b(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))")


@dataclass(frozen=True)
class Kind:
    """How to speak to a kind of database."""

    title: str
    schemes: tuple[str, ...]  # the usual one first
    library: str
    port: int
    things: str = "tables"
    last: str = "DATABASE"  # what the path of a connection string names
    needs_database: bool = False
    parameters: frozenset[str] | None = None  # after a `?`, with `-` for `_`; None if the library checks them itself

    @property
    def form(self) -> str:
        """How its connection string looks."""
        return f"{self.schemes[0]}://USER:PASSWORD@HOST:PORT/{self.last}"

    @property
    def extra(self) -> str:
        """The extra that installs the library."""
        return f"drill-{self.title.lower()}"


_MYSQL = frozenset({"ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"})
_REDIS = frozenset({"ssl-cert-reqs", "ssl-ca-certs", "ssl-certfile", "ssl-keyfile", "ssl-check-hostname"})
KINDS = {
    "postgres": Kind(TITLES["postgres"], ("postgresql", "postgres"), "psycopg", 5432),
    "mysql": Kind(TITLES["mysql"], ("mysql", "mariadb"), "pymysql", 3306, needs_database=True, parameters=_MYSQL),
    "mongo": Kind(TITLES["mongo"], ("mongodb", "mongodb+srv"), "pymongo", 27017, "collections", needs_database=True),
    "redis": Kind(TITLES["redis"], ("redis", "rediss"), "redis", 6379, "keys", last="NUMBER", parameters=_REDIS),
}
"""By the service's names."""


def kind_of(dsn: str) -> str:
    """The kind of database that a connection string is for; raises `Unfit`, whose text never holds any of it."""
    if re.match(r"\s*[a-z_]+\s*=", dsn):
        return "postgres"
    scheme = dsn.partition(":")[0]
    name, kind = next((each for each in KINDS.items() if scheme in each[1].schemes), ("", None))
    if kind is None or "://" not in dsn:
        raise Unfit(f"must be a connection string such as {' or '.join(each.form for each in KINDS.values())}")
    unescaped = Unfit(f"must be {kind.form}, with %-escapes for what is special in a URL, such as %2F for a slash")
    try:
        parts = urlsplit(dsn)
        if "," not in parts.netloc:  # several hosts are the library's to read
            parts.port  # noqa: B018 - it is read only when it is asked for
    except ValueError:
        # The error of `urlsplit` quotes what it cannot read. A slash in a password looks like a port.
        raise unescaped from None
    if kind.needs_database and not parts.path.strip("/"):
        raise Unfit(f"must name the database: {kind.form}")
    if kind.parameters is not None:
        if "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise unescaped  # a part of the password may stand there
        for given in parameters(dsn):
            if given not in kind.parameters:
                raise Unfit(f"has a parameter {given}; {kind.title} has {', '.join(sorted(kind.parameters))}")
    return name


def keywords(dsn: str) -> list[tuple[str, str]]:
    """What PostgreSQL's other form of a connection string holds: `host=db.example dbname=shop`."""
    found = () if "://" in dsn else _KEYWORD.findall(dsn)
    return [(name.lower(), quoted or plain) for name, quoted, plain in found]


def parameters(dsn: str) -> dict[str, str]:
    """What follows the `?` of a connection string, with `-` for `_` in each name."""
    return {name.replace("_", "-"): value for name, value in parse_qsl(urlsplit(dsn).query, keep_blank_values=True)}


def login(dsn: str) -> dict[str, Any]:
    """Host, port, user, password and database of a connection string of MySQL or Redis, without their escapes."""
    parts = urlsplit(dsn)
    texts = {"user": parts.username, "password": parts.password, "database": parts.path.strip("/")}
    place = {"host": parts.hostname or "localhost", "port": parts.port or KINDS[kind_of(dsn)].port}
    return place | {name: unquote(text or "") for name, text in texts.items()}


def missing_extra(kind: str) -> str | None:
    """The extra that must be installed to speak to a kind of database; None if all that it needs is there."""
    return None if find_spec(KINDS[kind].library) else KINDS[kind].extra


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
        said = said.replace(each, HIDDEN)
    for each in sorted(filter(None, place), key=len, reverse=True):
        said = re.sub(rf"(?<![\w.-]){re.escape(each)}(?![\w-]|\.\w)", HIDDEN, said)
    line = " ".join((said.strip().splitlines() or [""])[0].split()).rstrip(".")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}{HIDDEN}"
