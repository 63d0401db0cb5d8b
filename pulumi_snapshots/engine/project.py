"""The files of the project that an engine runs, as far as they show whether the API key is a secret.

The engine tells a plugin the value of a setting, and not whether the stack's config encrypts it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from pulumi_snapshots.run.backend import project_files

if TYPE_CHECKING:
    from pathlib import Path

PLAIN_KEY = (
    "squarecloud:apiKey is configured in plain text; set it with `pulumi config set --secret squarecloud:apiKey`"
)
"""The warning for a key of the stack's config."""


def file_with(secret: str, stack: str, folder: Path) -> str | None:
    """The name of the project's file that shows a secret in plain text; None if none does.

    Args:
        secret: the value. An encrypted one is in no file.
        stack: the stack's name.
        folder: where the program runs: the project's folder, or one below it.
    """
    whole = re.compile(rf"(?<![\w+/=-]){re.escape(secret)}(?![\w+/=-])")
    for project in project_files(folder):  # it may hold config of all its stacks
        for file in (project, project.with_name(f"Pulumi.{stack}{project.suffix}")):
            with suppress(OSError):
                if whole.search(file.read_text(encoding="utf-8", errors="replace")):
                    return file.name
    return None
