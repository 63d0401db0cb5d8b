"""Files that are written whole.

A reader, or a run after a crash, finds the old content or the new, never a part.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that replaces `path` when the block ends, unless the block fails."""
    unfinished = path.with_suffix(".part")
    with unfinished.open("w+b") as target:
        yield target
        target.flush()
        os.fsync(target.fileno())
    unfinished.replace(path)
