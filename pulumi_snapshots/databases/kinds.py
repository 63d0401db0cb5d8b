"""The engines of databases, and their connection strings.

Programs load this module, so it loads no HTTP stack.
"""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pulumi_snapshots.errors import not_installed
from pulumi_snapshots.errors.secrets import HIDDEN, hide_word
from pulumi_snapshots.properties.checks import DATABASE_TYPES as TITLES
from pulumi_snapshots.properties.checks import Unfit

LONGEST_SHOWN = 300
"""Characters of a library's message that an error repeats."""
_KEYWORD = re.compile(r"\b(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))")


@dataclass(frozen=True)
class DatabaseEngine:
    """A database engine, and how connection strings and libraries lead to it.

    Attributes:
        title: Its name for people.
        schemes: The schemes of its connection strings, the usual scheme first.
        library: The Python package that speaks to it.
        port: Its usual port.
        last: The last part of a connection string, for its form.
        needs_database: Whether a connection string must name a database.
        parameters: What may stand after a `?`, with `-` for `_`; None if the library checks it.
    """

    title: str
    schemes: tuple[str, ...]
    library: str
    port: int
    last: str = "DATABASE"
    needs_database: bool = False
    parameters: frozenset[str] | None = None

    @property
    def form(self) -> str:
        """The form of its connection string."""
        return f"{self.schemes[0]}://USER:PASSWORD@HOST:PORT/{self.last}"

    @property
    def extra(self) -> str:
        """The extra of this package that installs the library."""
        return f"drill-{self.title.lower()}"


_MYSQL = frozenset({"ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"})
_REDIS = frozenset(
    {
        "ssl-cert-reqs",
        "ssl-ca-certs",
        "ssl-certfile",
        "ssl-keyfile",
        "ssl-check-hostname",
    }
)
ENGINES = {
    "postgres": DatabaseEngine(
        TITLES["postgres"],
        ("postgresql", "postgres"),
        "psycopg",
        5432,
    ),
    "mysql": DatabaseEngine(
        TITLES["mysql"],
        ("mysql", "mariadb"),
        "pymysql",
        3306,
        needs_database=True,
        parameters=_MYSQL,
    ),
    "mongo": DatabaseEngine(
        TITLES["mongo"],
        ("mongodb", "mongodb+srv"),
        "pymongo",
        27017,
        needs_database=True,
    ),
    "redis": DatabaseEngine(
        TITLES["redis"],
        ("redis", "rediss"),
        "redis",
        6379,
        last="NUMBER",
        parameters=_REDIS,
    ),
}
"""The engines by the service's names for them."""


def kind_of(dsn: str) -> str:
    """Find the kind of database that a connection string is for.

    Args:
        dsn: A URL, or keywords of PostgreSQL.

    Returns:
        A key of `ENGINES`.

    Raises:
        Unfit: It is no connection string. The text holds no part of it.
    """
    if re.match(r"\s*[a-z_]+\s*=", dsn):
        return "postgres"
    scheme, url, _ = dsn.partition("://")
    for name, engine in ENGINES.items():
        if scheme in engine.schemes and url:
            _refuse_unreadable(dsn, engine)
            return name
    forms = " or ".join(each.form for each in ENGINES.values())
    raise Unfit(f"must be a connection string such as {forms}")


def _refuse_unreadable(dsn: str, engine: DatabaseEngine) -> None:
    """Raise `Unfit` if a connection string is not whole, or has a strange parameter."""
    unescaped = Unfit(
        f"must be {engine.form}, with %-escapes for what is special in a URL, such as %2F for a "
        "slash"
    )
    try:
        parts = urlsplit(dsn)
        if "," not in parts.netloc:  # Several hosts are the library's to read.
            parts.port  # noqa: B018  the property raises ValueError
    except ValueError:
        # The error of `urlsplit` quotes what it cannot read. A slash in a password looks like a
        # port.
        raise unescaped from None
    if engine.needs_database and not parts.path.strip("/"):
        raise Unfit(f"must name the database: {engine.form}")
    if engine.parameters is None:
        return
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise unescaped  # A part of the password may stand there.
    strange = sorted(parameters(dsn).keys() - engine.parameters)
    if strange:
        allowed = ", ".join(sorted(engine.parameters))
        raise Unfit(f"has a parameter {strange[0]}; {engine.title} has {allowed}")


def keywords(dsn: str) -> list[tuple[str, str]]:
    """Read PostgreSQL's other form of a connection string: `host=db.example dbname=shop`.

    Args:
        dsn: The connection string.

    Returns:
        Each name, in lower case, with its value, which has no quotes any more; nothing for a URL.
    """
    pairs = () if "://" in dsn else _KEYWORD.findall(dsn)
    return [(name.lower(), quoted or plain) for name, quoted, plain in pairs]


def parameters(dsn: str) -> dict[str, str]:
    """Read the parameters that follow the `?` of a connection string.

    Args:
        dsn: A URL.

    Returns:
        The values by their names, with `-` for each `_` of a name, and without %-escapes. An empty
        value stays; of a name that stands there twice the last value counts.
    """
    return {
        name.replace("_", "-"): value
        for name, value in parse_qsl(urlsplit(dsn).query, keep_blank_values=True)
    }


def login(dsn: str) -> dict[str, Any]:
    """Read who logs in where from a connection string of MySQL.

    Args:
        dsn: A URL that `kind_of` takes.

    Returns:
        Its `host`, `port`, `user`, `password` and `database`, without their escapes: `localhost`
        and the engine's usual port unless the URL names others, and empty texts for the rest.
    """
    parts = urlsplit(dsn)
    return {
        "host": parts.hostname or "localhost",
        "port": parts.port or ENGINES[kind_of(dsn)].port,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path.strip("/")),
    }


def lacking(kind: str) -> str | None:
    """Say that the library of an engine is not installed.

    Args:
        kind: A key of `ENGINES`.

    Returns:
        What is missing and how to install it; None if the library is installed.
    """
    engine = ENGINES[kind]
    if find_spec(engine.library):
        return None
    return not_installed(engine.library, engine.extra)


def shown_message(dsn: str, message: object) -> str:
    """Return a library's message as an error may repeat it.

    Args:
        dsn: The connection string; no part of it stays in the message.
        message: What the library says.

    Returns:
        The message's first line, at most `LONGEST_SHOWN` characters and a mark that more followed.
    """
    secrets, places = _sensitive_parts(dsn)
    text = str(message)
    for secret in sorted(secrets, key=len, reverse=True):
        text = hide_word(text, secret)
    for place in sorted(places - {""}, key=len, reverse=True):
        name = rf"(?<![\w.-]){re.escape(place)}(?![\w-]|\.\w)"
        text = re.sub(name, HIDDEN, text)
    lines = text.strip().splitlines() or [""]
    line = " ".join(lines[0].split()).rstrip(".")
    return line if len(line) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]}{HIDDEN}"


def _sensitive_parts(dsn: str) -> tuple[set[str], set[str]]:
    """Take a connection string apart: its secrets, and its users and hosts; some can be empty."""
    secrets = {dsn}
    places: set[str] = set()
    for name, value in keywords(dsn):
        if name.endswith("password"):
            secrets.add(value)
        elif name in {"host", "hostaddr", "user"}:
            places.add(value)
    _, is_url, rest = dsn.partition("://")
    if not is_url:
        return secrets, places
    address, _, query = rest.partition("?")
    # Not `urlsplit`: what cannot be read as a URL, such as a password with an @ or a slash, is
    # hidden too.
    for at in re.finditer("@", rest):
        login_part = rest[: at.start()]
        user, _, password = login_part.partition(":")
        places |= {user, unquote(user)}
        if password:
            secrets |= {login_part, password, unquote(password)}
    hosts = re.split("[/#]", address.rpartition("@")[2])[0]
    places |= {re.sub(r":\d*$", "", host).strip("[]") for host in hosts.split(",")}
    for name, value in parse_qsl(query):
        if _is_secret_parameter(name, value):
            secrets |= {value, *value.splitlines()}
    return secrets, places


def _is_secret_parameter(name: str, value: str) -> bool:
    """Whether a parameter of a connection string holds a password or a key."""
    if re.search("pass|secret", name.lower()):
        return True
    return "\n" in value or "-----BEGIN" in value
