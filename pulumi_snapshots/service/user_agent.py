"""How requests to the API and to the snapshot host identify this client."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def user_agent() -> str:
    """The `User-Agent`: this package and its version. A proxy in front of the service may refuse that of a bare HTTP library."""
    try:
        return f"pulumi-snapshots/{version('pulumi-snapshots')} (Pulumi provider for Square Cloud)"
    except PackageNotFoundError:  # run from its files
        return "pulumi-snapshots (Pulumi provider for Square Cloud)"
