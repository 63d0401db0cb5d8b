"""The scope of an API key that each request needs, as the OpenAPI document names them (`x-scope`)."""

from __future__ import annotations

ACCOUNT_READ = "account:read"
DATABASES_READ = "databases:read"
DATABASES_CREDENTIALS = "databases:credentials"
SNAPSHOTS_READ = "snapshots:read"
SNAPSHOTS_WRITE = "snapshots:write"


def scope_of(request: str) -> str:
    """The scope that a request needs; `request` is method and path, as in an error's text."""
    method, _, path = request.partition(" ")
    parts = path.strip("/").split("/")
    if method == "POST":
        return SNAPSHOTS_WRITE
    if parts[2:3] == ["credentials"]:
        return DATABASES_CREDENTIALS
    if parts[2:3] == ["snapshots"] or parts == ["users", "snapshots"]:
        return SNAPSHOTS_READ
    return ACCOUNT_READ if parts == ["users", "me"] else DATABASES_READ
