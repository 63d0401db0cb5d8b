"""Where the documentation tells of an error: the one place that knows the addresses of its pages."""

from __future__ import annotations

import re
from functools import cache

__all__ = ["WITHOUT_PAGE", "address_of", "page_name", "with_address"]

IN_REPOSITORY = "docs/errors/{}.md"
"""Where a page lies in the repository and in the source distribution."""
ON_SITE = "{}/errors/{}.html"
"""Where it lies on the site that the package's metadata name, once there is one."""
WITHOUT_PAGE = frozenset({"Explained", "SquareCloudError", "Unresolved", "Unfinished", "HeldBack", "Unfit"})
"""No errors of their own: three roots, what carries a text to an engine, a signal that never leaves a create, and what a
problem is made of."""


def page_name(kind: type[BaseException]) -> str:
    """The name of an error's page: `key-refused` for `KeyRefused`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()


def with_address(text: str, error: BaseException) -> str:
    """An error's text as the user reads it: the address of its page ends it, and no full stop sticks to that.

    Args:
        text: what `error` has to say.
        error: whose page it is; without one the text stays as it is.
    """
    address = address_of(error)
    return text if address is None else f"{text} See {address}"


def address_of(error: BaseException) -> str | None:
    """The address of the page that helps most: of what caused the error, as far as this package knows; None without one.

    An address of the site that the package's metadata call `Documentation`; without one, a path in the repository.
    """
    name: str | None = None
    cause: BaseException | None = error
    while cause is not None and _is_ours(cause):
        if _has_page(type(cause)):
            name = page_name(type(cause))
        cause = cause.__cause__
    if name is None:
        return None
    site = _site()
    return ON_SITE.format(site, name) if site else IN_REPOSITORY.format(name)


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == __name__.partition(".")[0]


def _has_page(kind: type[BaseException]) -> bool:
    return not kind.__name__.startswith("_") and kind.__name__ not in WITHOUT_PAGE


@cache
def _site() -> str:
    """The documentation's address in the installed package's metadata; empty where it names none."""
    from importlib.metadata import PackageNotFoundError, metadata  # noqa: PLC0415  slow to load, and only errors need it

    try:
        urls = metadata("pulumi-snapshots").get_all("Project-URL", [])
    except PackageNotFoundError:  # run from its files
        return ""
    named = dict(entry.split(", ", 1) for entry in urls)
    return str(named.get("Documentation", "")).rstrip("/")
