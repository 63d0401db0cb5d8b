"""The files of the project that an engine runs, as far as they show whether the API key is a secret.

The engine tells a plugin the value of a setting, and not whether the stack's config encrypts it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_snapshots.run.backend import project_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PLAIN_KEY = (
    "squarecloud:apiKey is configured in plain text; set it with `pulumi config set --secret squarecloud:apiKey`"
)
"""The warning for a key of the stack's config."""


def file_with(secret: str, stack: str, folder: Path, others: Iterable[str] = ()) -> str | None:
    """The name of the project's file that shows a secret in plain text; None if none does.

    Args:
        secret: the value. An encrypted one is in no file.
        stack: the stack's name.
        folder: where the program runs: the project's folder, or one below it.
        others: files of config that the engine was given.
    """
    whole = re.compile(rf"(?<![\w+/=-]){re.escape(secret)}(?![\w+/=-])")
    for file in _files(stack, folder, others):
        try:
            found = whole.search(file.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if found:
            return file.name
    return None


def _files(stack: str, folder: Path, others: Iterable[str]) -> Iterator[Path]:
    yield from (folder / each for each in others)
    for project in project_files(folder):  # it may hold config of all its stacks
        yield from (project, project.with_name(f"Pulumi.{stack}{project.suffix}"))
