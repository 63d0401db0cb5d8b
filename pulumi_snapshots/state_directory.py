"""The directory for files that outlive a run, and how they are written."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

VARIABLE = "SQUARECLOUD_STATE_DIR"


def state_directory(environment: Mapping[str, str]) -> Path:
    """Choose the directory for files that outlive a run.

    It is `SQUARECLOUD_STATE_DIR`, or `pulumi-snapshots` in `XDG_STATE_HOME` or in `~/.local/state`.

    Args:
        environment: the environment of the process.

    Returns:
        The directory; a relative path, which no file can be in, if there is no home directory.
    """
    own, base = (
        Path(environment.get(name) or "") for name in (VARIABLE, "XDG_STATE_HOME")
    )
    if own.is_absolute():
        return own
    # The XDG specification says that a relative path is to be ignored.
    root = base if base.is_absolute() else home_directory(environment) / ".local/state"
    return root / "pulumi-snapshots"


def home_directory(environment: Mapping[str, str]) -> Path:
    """Return the user's home directory; `~` if the system does not know it.

    Args:
        environment: the environment of the process.
    """
    try:
        return Path(environment.get("HOME") or "~").expanduser()
    except (
        RuntimeError
    ):  # there is no HOME, and the system does not list the user, as in some containers
        return Path("~")


def file_in_the_way(folder: Path) -> Path | None:
    """Find the file that stands where a folder, or a part of its path, should be.

    Args:
        folder: the path.

    Returns:
        The file; None if there is none.
    """
    return next((each for each in (folder, *folder.parents) if each.is_file()), None)


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that replaces `path` when the block ends.

    The earlier file stays if the block fails or the machine dies.

    Args:
        path: the file to replace.

    Yields:
        The new file, open for writing.
    """
    unfinished = path.with_suffix(".part")
    with unfinished.open("w+b") as target:
        yield target
        target.flush()
        os.fsync(target.fileno())
    unfinished.replace(path)
