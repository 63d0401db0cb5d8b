"""Whether a connection leads to the scratch database, as far as its address tells. Programs load it, so it loads no HTTP stack.

The service's hosts carry the id of their database, and it says their port.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from pulumi_snapshots.databases.kinds import KINDS, kind_of

OWN_HOST = re.compile(r"square-cloud-db-([a-z0-9_-]+)\.squareweb\.app\.?", re.IGNORECASE)
_KEYWORD = re.compile(r"\b(host|hostaddr|port|service)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))")
ANOTHER = "must be to the scratch database, and its host is that of another database"


def own_host(database_id: str) -> str:
    """The service's host of a database."""
    return f"square-cloud-db-{database_id}.squareweb.app"


@dataclass(frozen=True)
class Address:
    """Where a connection leads; `is_direct` says whether the server is found by nothing but these hosts and ports."""

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    is_direct: bool

    @classmethod
    def of(cls, dsn: str) -> Address:
        """Read a connection string that `kind_of` takes."""
        usual = KINDS[kind_of(dsn)].port
        if "://" not in dsn:
            more = {name: quoted or plain for name, quoted, plain in _KEYWORD.findall(dsn)}
            hosts, ports = more.get("host", ""), more.get("port", "")
        else:
            parts = urlsplit(dsn)
            more = dict(parse_qsl(parts.query))
            each = [place.rpartition(":") for place in parts.netloc.rpartition("@")[2].split(",")]
            split = [
                (host, port) if colon and port.isdecimal() else (f"{host}{colon}{port}", "")
                for host, colon, port in each
            ]
            # PostgreSQL takes both from the parameters too.
            hosts = more.get("host") or ",".join(host for host, _ in split)
            ports = more.get("port") or ",".join(port for _, port in split)
        names = tuple(unquote(host).strip() for host in hosts.split(","))
        numbers = [int(port) if port.strip().isdecimal() else usual for port in ports.split(",")]
        if len(numbers) == 1:  # one for all
            numbers *= len(names)
        is_direct = not dsn.startswith("mongodb+srv:") and not {"hostaddr", "service"} & more.keys()
        return cls(names, tuple(numbers), is_direct)

    @property
    def databases(self) -> set[str]:
        """The ids of the service's databases to whose own hosts it leads."""
        return {own[1].lower() for host in self.hosts if (own := OWN_HOST.fullmatch(host)) is not None}

    def misfit(self, database_id: str, port: int | None = None) -> str:
        """Why it cannot lead to a database, or one whose id begins so, at its port, if that is known; empty if it may."""
        for host, its_port in zip(self.hosts, self.ports, strict=False):
            if (own := OWN_HOST.fullmatch(host)) is None:
                continue
            if not own[1].lower().startswith(database_id.lower()):
                return ANOTHER
            if self.is_direct and port is not None and its_port != port:
                return f"must be to port {port} of the scratch database, as the service says"
        return ""

    def is_own(self, database_id: str) -> bool:
        """Whether it can only lead to this database, if its port is right too."""
        own = (OWN_HOST.fullmatch(host) for host in self.hosts)
        return self.is_direct and all(one is not None and one[1].lower() == database_id.lower() for one in own)
