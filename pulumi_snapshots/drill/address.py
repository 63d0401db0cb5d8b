"""Hosts and ports of a drill's connection, and which of the service's databases they lead to.

Programs load this module, so it loads no HTTP stack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pulumi_snapshots.databases.kinds import ENGINES, keywords, kind_of
from pulumi_snapshots.properties.checks import LOOPBACK, Unfit, text

OWN_HOST = re.compile(
    r"square-cloud-db-([a-z0-9_-]+)\.squareweb\.app\.?", re.IGNORECASE
)
ANOTHER = "must be to the scratch database, and its host is that of another database"
PORT = re.compile(r":(\d+)$")
# Parameters of PostgreSQL by which something else than the host name finds the server.
REDIRECTING = frozenset({"hostaddr", "service"})


def own_host(database_id: str) -> str:
    """Return the service's own host of a database.

    Args:
        database_id: The database's id.

    Returns:
        The host, without a port.
    """
    return f"square-cloud-db-{database_id}.squareweb.app"


def engine_misfit(connection: str, runtime: object) -> str | None:
    """Say why a connection cannot be to the engine of a snapshot.

    Args:
        connection: A connection string that `kind_of` takes.
        runtime: The snapshot's engine as the service names it; anything else is not known.

    Returns:
        The reason, to follow the word "connection"; None if the engines are the same, or the
        snapshot's is not known.
    """
    if runtime not in ENGINES:
        return None
    kind = kind_of(connection)
    if kind == runtime:
        return None
    wanted = ENGINES[str(runtime)].title
    return (
        f"must be to {wanted}, as the snapshot is of it, not to {ENGINES[kind].title}"
    )


class Server(NamedTuple):
    """A server that a connection string names."""

    host: str
    port: int

    @property
    def database_id(self) -> str:
        """The id of the service's database whose own host this is, in lower case.

        Empty if it is not a host of the service.
        """
        own = OWN_HOST.fullmatch(self.host)
        return own[1].lower() if own else ""


@dataclass(frozen=True)
class ServerAddress:
    """The servers of a connection.

    Attributes:
        servers: All servers that the connection names; none if it cannot be read.
        is_direct: Whether nothing but the names and ports of the servers finds them.
    """

    servers: tuple[Server, ...]
    is_direct: bool

    @classmethod
    def of(cls, connection: object) -> Self:
        """Read the servers of a connection string.

        Args:
            connection: The connection string, or anything else that a program gave for it.

        Returns:
            The address; without servers, and not direct, if `kind_of` does not take the connection.
        """
        try:
            dsn = text(connection)
            usual_port = ENGINES[kind_of(dsn)].port
        except Unfit:
            return cls((), is_direct=False)
        parameters = dict(keywords(dsn))
        netloc = ""
        if "://" in dsn:
            parts = urlsplit(dsn)
            parameters = dict(parse_qsl(parts.query))
            netloc = parts.netloc.rpartition("@")[2]
        servers = _servers(
            netloc,
            parameters.get("host"),
            parameters.get("port"),
            usual_port,
        )
        looked_up = dsn.startswith("mongodb+srv:")
        is_direct = not looked_up and not REDIRECTING & parameters.keys()
        return cls(servers, is_direct)

    @property
    def databases(self) -> set[str]:
        """The ids of the service's databases to whose own hosts the connection leads."""
        return {server.database_id for server in self.servers if server.database_id}

    def misfit(self, database_id: str, port: int | None = None) -> str | None:
        """Say why the connection cannot lead to a database.

        Args:
            database_id: The database's id, or the beginning of it.
            port: The database's port; None if the service does not say it.

        Returns:
            The reason, to follow the word "connection"; None if the connection may lead there.
        """
        wanted = database_id.lower()
        if any(not own.startswith(wanted) for own in self.databases):
            return ANOTHER
        if not self.is_direct or port is None:
            return None
        if any(server.database_id and server.port != port for server in self.servers):
            return (
                f"must be to port {port} of the scratch database, as the service says"
            )
        return None

    def is_own(self, database_id: str) -> bool:
        """Tell whether the connection can only lead to one database, if its port is right too.

        Args:
            database_id: The database's whole id.

        Returns:
            True if the service's own host of that database is the connection's only host, and
            nothing else finds the server.
        """
        own = database_id.lower()
        return self.is_direct and all(
            server.database_id == own for server in self.servers
        )


def is_same_place(one: str, other: str) -> bool:
    """Tell whether two connection strings are to the same database of the same servers.

    Args:
        one: A connection string that `kind_of` takes.
        other: Another connection string. Users, passwords and parameters of the two may differ.

    Returns:
        True if hosts, ports and the names of the databases are equal.
    """
    is_same_server = _named_alike(one) == _named_alike(other)
    return is_same_server and _database_of(one) == _database_of(other)


def _named_alike(connection: str) -> list[Server]:
    """Return the servers of a connection, this machine by one of its names."""
    servers = ServerAddress.of(connection).servers
    return [
        each._replace(host="localhost") if each.host.strip("[]") in LOOPBACK else each
        for each in servers
    ]


def _database_of(connection: str) -> str | None:
    """Return the database that a connection string names."""
    if "://" in connection:
        return urlsplit(connection).path.strip("/")
    return dict(keywords(connection)).get("dbname")


def _servers(
    netloc: str,
    host: str | None,
    port: str | None,
    usual_port: int,
) -> tuple[Server, ...]:
    """Return the servers of a connection string.

    Args:
        netloc: `HOST:PORT`, or several with commas between them.
        host: The parameter `host`, which wins over the hosts in `netloc`.
        port: The parameter `port`, likewise: one for each host, or one for all.
        usual_port: The port of a host that is given without a port.
    """
    places = netloc.split(",")
    hosts = [PORT.sub("", place) for place in places]
    if host:
        hosts = host.split(",")
    if port:
        ports = port.split(",")
    else:
        matches = [PORT.search(place) for place in places]
        ports = [match[1] if match else "" for match in matches]
    if len(ports) == 1:
        ports *= len(hosts)
    return tuple(
        Server(
            unquote(name).strip(),
            int(number) if number.strip().isdecimal() else usual_port,
        )
        for name, number in zip(hosts, ports, strict=False)
    )
