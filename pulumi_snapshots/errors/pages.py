"""The addresses of the documentation's pages about errors."""

from __future__ import annotations

import re
from functools import cache

IN_REPOSITORY = "docs/errors/{}.md"
"""The path of a page in the repository and in the source distribution."""
ON_SITE = "{}/errors/{}.html"
"""Its address on the site that the package's metadata names, once there is one."""
WITHOUT_PAGE = frozenset({"Explained", "SquareCloudError", "Unresolved", "Unfinished", "HeldBack", "Unfit"})
"""Errors that users do not meet by these names."""


def page_name(kind: type[BaseException]) -> str:
    """The name of an error's page: `key-refused` for `KeyRefused`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()


def with_address(text: str, error: BaseException) -> str:
    """An error's text with the address of its page, if it has one; no full stop follows the address."""
    address = address_of(error)
    return text if address is None else f"{text} See {address}"


def address_of(error: BaseException) -> str | None:
    """The address of the page that helps most: of the error's first cause in this package that has one; None without any.

    On the site that the package's metadata calls `Documentation`; without a site, a path in the repository.
    """
    name: str | None = None
    cause: BaseException | None = error
    while cause is not None and type(cause).__module__.startswith("pulumi_snapshots."):
        kind = type(cause)
        if not kind.__name__.startswith("_") and kind.__name__ not in WITHOUT_PAGE:
            name = page_name(kind)
        cause = cause.__cause__
    if name is None:
        return None
    site = _site()
    return ON_SITE.format(site, name) if site else IN_REPOSITORY.format(name)


@cache
def _site() -> str:
    """The documentation's address in the installed package's metadata; empty if there is none."""
    from importlib.metadata import PackageNotFoundError, metadata  # noqa: PLC0415  slow to load, and only errors need it

    try:
        urls = metadata("pulumi-snapshots").get_all("Project-URL", [])
    except PackageNotFoundError:  # run from its files
        return ""
    named = dict(entry.split(", ", 1) for entry in urls)
    return str(named.get("Documentation", "")).rstrip("/")
