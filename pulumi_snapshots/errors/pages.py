"""The pages about errors: which one explains an error, and its text, which comes with the package."""

from __future__ import annotations

import re
from pathlib import Path

EXPLAIN = "squarecloud-snapshots explain"
"""The command that shows a page, without a network."""
PACKED = Path(__file__).parent / "page_texts"
"""Where a wheel has the pages."""
IN_REPOSITORY = Path(__file__).parents[2] / "docs" / "errors"
WITHOUT_PAGE = frozenset(
    {
        *(
            "Explained",
            "SquareCloudError",
            "Unresolved",
            "Unfinished",
            "HeldBack",
            "NothingBegan",
            "Overtaken",
            "Unfit",
        ),
        *("Lost", "Refused", "NotOneValue"),
    }
)
"""Errors that users do not meet by these names."""


def page_name(kind: type[BaseException]) -> str:
    """The name of an error's page: `key-refused` for `KeyRefused`."""
    return _dashed(kind.__name__)


def with_pointer(text: str, error: BaseException) -> str:
    """An error's text, and on a line of its own the command that explains it, if it has a page."""
    name = page_of(error)
    return text if name is None else f"{text}\nmore: {EXPLAIN} {name}"


def page_of(error: BaseException) -> str | None:
    """The name of the page that helps most: of the error's first cause in this package that has one; None without any."""
    name: str | None = None
    cause: BaseException | None = error
    while cause is not None and type(cause).__module__.startswith("pulumi_snapshots."):
        kind = type(cause)
        if not kind.__name__.startswith("_") and kind.__name__ not in WITHOUT_PAGE:
            name = page_name(kind)
        cause = cause.__cause__
    return name


def page_names() -> list[str]:
    """The names of all pages."""
    return sorted(path.stem for path in _folder().glob("*.md") if path.stem != "index")


def page_text(name: str) -> str | None:
    """A page as it is shown in a terminal; None if there is none of this name.

    Args:
        name: of the page or of the error, in any case: `key-refused` or `KeyRefused`.
    """
    page_of_name = {_plain(each): each for each in page_names()}.get(_plain(name))
    if page_of_name is None:
        return None
    page = (_folder() / f"{page_of_name}.md").read_text(encoding="utf-8")
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", page).strip()


def _plain(name: str) -> str:
    return re.sub("[-_ ]", "", name).lower()


def _folder() -> Path:
    return PACKED if PACKED.is_dir() else IN_REPOSITORY


def _dashed(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
