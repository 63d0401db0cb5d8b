"""The facts in a signed download URL: version, database and expiry; and loopback. Standard library only, since programs load it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

DATABASE_TYPES = {"postgres": "PostgreSQL", "mongo": "MongoDB", "mysql": "MySQL", "redis": "Redis"}
"""The service's database engines, as it and as people write them."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""The rest of 127.0.0.0/8 is left out, since some systems route it elsewhere."""
_KIND = re.compile(rf"_({'|'.join(DATABASE_TYPES)})(_(automatic|manual))?$")
"""The suffix after the database's id in newer names of storage objects."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback."""
    return host in LOOPBACK


def version_of(url: str) -> str | None:
    """The version that a URL is pinned to; None if the URL serves the latest snapshot."""
    # A plus in a query usually means a space. A version id may contain a plus but never a space.
    return _in_query(url.replace("+", "%2B"), "versionId")


def expiry_of(url: str) -> datetime | None:
    """When the URL expires, from its `Expires` (Unix seconds); None if it has none."""
    try:
        return datetime.fromtimestamp(float(_in_query(url, "Expires") or ""), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def database_of(url: str) -> str | None:
    """The database in the path `/databases/ACCOUNT/DATABASE.zip`; None if the path has another form."""
    try:
        *_, family, _account, name = unquote(urlsplit(url).path).split("/")
    except ValueError:
        return None
    return database_of_name(name.removesuffix(".zip")) if family == "databases" else None


def database_of_name(name: str) -> str | None:
    """The database in a storage object's name, which is its id, in newer names followed by engine and origin."""
    return _KIND.sub("", name) or None


def problem_of_url(url: str) -> str | None:
    """Why a URL must not be downloaded; None if it may be. The text never repeats the URL, which gives access to the data."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in {"https", "http"} or not url.isprintable() or " " in url:
        return "must be a URL such as https://host/path"
    if "@" in parts.netloc:
        return "must not hold a user or a password"
    if parts.scheme == "http" and not is_loopback(host):
        return "must use https: over http the data could be read on the way (http is for loopback only)"
    return None


def _in_query(url: str, name: str) -> str | None:
    try:
        return next((value for value in parse_qs(urlsplit(url).query).get(name, ()) if value), None)
    except ValueError:
        return None
