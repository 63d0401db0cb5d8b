"""The last error that a user of this machine read, for `explain --last`."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pulumi_snapshots.state_directory import state_directory
from pulumi_snapshots.whole_file import written_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "last-error.txt"


def keep_last(text: str, environment: Mapping[str, str] = os.environ) -> None:
    """Keep an error as it is shown; one that cannot be written is not kept."""
    folder = state_directory(environment)
    with suppress(OSError):
        if folder.is_absolute():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with written_whole(folder / FILE) as file:
                file.write(text.encode("utf-8", "replace"))


def last_error(environment: Mapping[str, str]) -> tuple[str, datetime] | None:
    """The last error and when it was shown; None if there was none."""
    file = state_directory(environment) / FILE
    with suppress(OSError):
        return file.read_text(encoding="utf-8"), datetime.fromtimestamp(file.stat().st_mtime, UTC)
    return None
