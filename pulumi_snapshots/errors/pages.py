"""The sections about errors, which come with the package, and this machine's last error.

The command `explain` shows both.
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from pulumi_snapshots.errors.secrets import hide_secrets
from pulumi_snapshots.state_directory import state_directory, written_whole

EXPLAIN = "squarecloud-snapshots explain"  # the command that shows a section, without a network
PACKED_PAGES = Path(__file__).parent / "page_texts"
PAGES_IN_REPOSITORY = Path(__file__).parents[2] / "docs" / "errors"
"""The folders of the pages: in a wheel, and in the repository."""
LAST_ERROR = "last-error.txt"


def with_pointer(text: str, error: BaseException) -> str:
    """Return an error's text, and on a line of its own the command that explains the error.

    Args:
        text: the error as it is shown.
        error: the error.
    """
    name = page_of(error)
    return text if name is None else f"{text}\nmore: {EXPLAIN} {name}"


def page_of(error: BaseException | None) -> str | None:
    """Return the name of the section that helps most.

    The section is about the error, or about its first cause in this package that has a section.

    Args:
        error: the error; None without an error.
    """
    name = type(error).__name__
    if error is None or not type(error).__module__.startswith("pulumi_snapshots."):
        return None
    return page_of(error.__cause__) or (page_name(name) if name in sections() else None)


def keep_last(text: str, environment: Mapping[str, str] = os.environ) -> None:
    """Keep an error as it was shown, for `explain --last`; a failure to write is ignored.

    Args:
        text: the error.
        environment: the environment, which names the state directory.
    """
    folder = state_directory(environment)
    with suppress(OSError):
        if folder.is_absolute():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with written_whole(folder / LAST_ERROR) as file:
                file.write(hide_secrets(text).encode("utf-8", "replace"))


@cache
def sections() -> dict[str, str]:
    """Return the text of each section by the error's name, which is its heading."""
    return {name: text for page in pages().values() for name, text in page.items()}


@cache
def pages() -> dict[str, dict[str, str]]:
    """Return the sections of each page by its title, such as `limits`."""
    folder = PACKED_PAGES if PACKED_PAGES.is_dir() else PAGES_IN_REPOSITORY
    by_page: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*.md")):
        if path.stem == "index":
            continue
        # Before the first heading of a page stands what its errors have in common.
        first, *parts = path.read_text(encoding="utf-8").split("\n## ")
        title = first.partition("\n")[0].removeprefix("# Errors: ")
        by_page[title] = {
            name: text for name, _, text in (part.partition("\n") for part in parts)
        }
    return by_page


def page_name(name: str) -> str:
    """Return the name that `explain` takes: `key-refused` for `KeyRefused`.

    Args:
        name: the name of the error's class.
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
