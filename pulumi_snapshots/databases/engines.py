"""The engines that a connection can be to, and what a connection string must look like. It loads no HTTP stack."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pulumi_snapshots.properties.unfit import Unfit

KEYWORDS = re.compile(r"\s*[a-z_]+\s*=")
"""How PostgreSQL's other form of a connection string begins: `host=db.example dbname=shop`."""


@dataclass(frozen=True)
class Engine:
    """A database engine.

    Attributes:
        name: as the extras and the results name it.
        title: as people write it.
        schemes: of its connection strings.
        library: the Python module that speaks to it.
        form: how its connection string looks.
        port: the usual one.
        things: what a database consists of.
        needs_database: whether the string must name the database.
        parameters: those that may follow a `?`, with `-` for `_`; None if the library knows them and checks them itself.
    """

    name: str
    title: str
    schemes: tuple[str, ...]
    library: str
    form: str
    port: int
    things: str = "tables"
    needs_database: bool = False
    parameters: frozenset[str] | None = None

    @property
    def extra(self) -> str:
        """The extra that installs the library."""
        return f"drill-{self.name}"


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "postgresql",
            "PostgreSQL",
            ("postgresql", "postgres"),
            "psycopg",
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
            5432,
        ),
        Engine(
            "mysql",
            "MySQL",
            ("mysql", "mariadb"),
            "pymysql",
            "mysql://USER:PASSWORD@HOST:PORT/DATABASE",
            3306,
            needs_database=True,
            parameters=frozenset({"ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"}),
        ),
        Engine(
            "mongodb",
            "MongoDB",
            ("mongodb", "mongodb+srv"),
            "pymongo",
            "mongodb://USER:PASSWORD@HOST:PORT/DATABASE",
            27017,
            "collections",
            needs_database=True,
        ),
        Engine(
            "redis",
            "Redis",
            ("redis", "rediss"),
            "redis",
            "redis://USER:PASSWORD@HOST:PORT/NUMBER",
            6379,
            "keys",
            parameters=frozenset(
                {"ssl-cert-reqs", "ssl-ca-certs", "ssl-certfile", "ssl-keyfile", "ssl-check-hostname"}
            ),
        ),
    )
}


def engine_of(dsn: str) -> str:
    """The name of the engine that a connection string is for: postgresql, mysql, mongodb or redis.

    Raises:
        Unfit: it is none, or misses something. The text never holds any of it.
    """
    if KEYWORDS.match(dsn):
        return "postgresql"
    scheme = dsn.partition(":")[0]
    engine = next((engine for engine in ENGINES.values() if scheme in engine.schemes), None)
    if engine is None or "://" not in dsn:
        raise Unfit(f"must be a connection string such as {' or '.join(each.form for each in ENGINES.values())}")
    parts = _parts(dsn, engine)
    if engine.needs_database and not parts.path.strip("/"):
        raise Unfit(f"must name the database: {engine.form}")
    if engine.parameters is not None:
        if "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise _unescaped(engine)  # a part of the password may stand there
        for name in parameters(dsn):
            if name not in engine.parameters:
                raise Unfit(f"has a parameter {name}; {engine.title} has {', '.join(sorted(engine.parameters))}")
    return engine.name


def parameters(dsn: str) -> dict[str, str]:
    """What follows the `?` of a connection string, with `-` for `_` in each name."""
    return {name.replace("_", "-"): value for name, value in parse_qsl(urlsplit(dsn).query, keep_blank_values=True)}


def missing_extra(engine: str) -> str | None:
    """The extra that must be installed to speak to an engine; None if all that it needs is there."""
    return None if find_spec(ENGINES[engine].library) else ENGINES[engine].extra


def _parts(dsn: str, engine: Engine) -> SplitResult:
    try:
        parts = urlsplit(dsn)
        if "," not in parts.netloc:  # several hosts are the library's to read
            parts.port  # noqa: B018 - it is read only when it is asked for
    except ValueError:
        # The error of `urlsplit` quotes what it cannot read. A slash in a password looks like a port.
        raise _unescaped(engine) from None
    return parts


def _unescaped(engine: Engine) -> Unfit:
    return Unfit(f"must be {engine.form}, with %-escapes for what is special in a URL, such as %2F for a slash")
