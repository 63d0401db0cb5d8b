"""What a signed download URL says of itself: version, database, expiry. Standard library only: programs load it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

from pulumi_snapshots.addresses import is_loopback

__all__ = ["database_in", "database_of", "expiry_of", "problem_of_url", "version_of"]

_KIND = re.compile(r"_(mongo|mysql|postgres|redis)(_(automatic|manual))?$")
"""What newer names of the storage objects have after the database's id."""


def version_of(url: str) -> str | None:
    """The version that a URL is pinned to; None where it serves whatever is newest."""
    # A version id may hold a plus, and never a space, which is what a plus in a query means otherwise.
    return _in_query(url.replace("+", "%2B"), "versionId")


def expiry_of(url: str) -> datetime | None:
    """Until when it works (`Expires`, Unix seconds); None where it does not say."""
    try:
        return datetime.fromtimestamp(float(_in_query(url, "Expires") or ""), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def database_of(url: str) -> str | None:
    """The database whose object it names (`/databases/ACCOUNT/DATABASE.zip`); None where its path has another form."""
    try:
        *_, family, _account, name = unquote(urlsplit(url).path).split("/")
    except ValueError:
        return None
    return database_in(name.removesuffix(".zip")) if family == "databases" else None


def database_in(name: str) -> str | None:
    """The database in a storage object's name: its id, or in newer names the id and what kind it is."""
    return _KIND.sub("", name) or None


def problem_of_url(url: str) -> str | None:
    """Why it cannot be downloaded from; None where it can. The text never repeats it: it opens the data."""
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
