"""Whether the files of the project that an engine runs show the API key: a plugin learns only its value."""

import re
from contextlib import suppress
from pathlib import Path

from pulumi_snapshots.run.settings import project_files

PLAIN_KEY = "the API key is configured in plain text; set it again with `pulumi config set --secret`"


def is_in_files(secret: str, stack: str, folder: Path) -> bool:
    """Whether a file of the project of this folder, or of one above it, shows a secret; an encrypted one is in none."""
    whole = re.compile(rf"(?<![\w+/=-]){re.escape(secret)}(?![\w+/=-])")
    for project in project_files(folder):  # it may hold config of all its stacks
        for file in (project, project.with_name(f"Pulumi.{stack}{project.suffix}")):
            with suppress(OSError):
                if whole.search(file.read_text(encoding="utf-8", errors="replace")):
                    return True
    return False
