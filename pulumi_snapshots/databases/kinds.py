"""The kinds of databases that a connection can be to, and what a connection string must look like. It loads no HTTP stack."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pulumi_snapshots.properties.unfit import Unfit
from pulumi_snapshots.service.signed_url import DATABASE_TYPES

KEYWORDS = re.compile(r"\s*[a-z_]+\s*=")
"""How PostgreSQL's other form of a connection string begins: `host=db.example dbname=shop`."""


@dataclass(frozen=True)
class Kind:
    """How to speak to a kind of database.

    Attributes:
        schemes: of its connection strings, the usual one first.
        library: the Python module that speaks to it.
        things: what a database consists of.
        last: what the path of its connection strings names.
        needs_database: whether the string must name the database.
        parameters: those that may follow a `?`, with `-` for `_`; None if the library knows them and checks them itself.
    """

    title: str
    schemes: tuple[str, ...]
    library: str
    port: int
    things: str = "tables"
    last: str = "DATABASE"
    needs_database: bool = False
    parameters: frozenset[str] | None = None

    @property
    def form(self) -> str:
        """How its connection string looks."""
        return f"{self.schemes[0]}://USER:PASSWORD@HOST:PORT/{self.last}"

    @property
    def extra(self) -> str:
        """The extra that installs the library."""
        return f"drill-{self.title.lower()}"


KINDS = {
    "postgres": Kind(DATABASE_TYPES["postgres"], ("postgresql", "postgres"), "psycopg", 5432),
    "mysql": Kind(
        DATABASE_TYPES["mysql"],
        ("mysql", "mariadb"),
        "pymysql",
        3306,
        needs_database=True,
        parameters=frozenset({"ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"}),
    ),
    "mongo": Kind(
        DATABASE_TYPES["mongo"], ("mongodb", "mongodb+srv"), "pymongo", 27017, "collections", needs_database=True
    ),
    "redis": Kind(
        DATABASE_TYPES["redis"],
        ("redis", "rediss"),
        "redis",
        6379,
        "keys",
        last="NUMBER",
        parameters=frozenset({"ssl-cert-reqs", "ssl-ca-certs", "ssl-certfile", "ssl-keyfile", "ssl-check-hostname"}),
    ),
}
"""By the service's names."""


def kind_of(dsn: str) -> str:
    """The kind of database that a connection string is for; raises `Unfit`, whose text never holds any of it."""
    if KEYWORDS.match(dsn):
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
