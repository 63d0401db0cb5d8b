"""A small JSON file that the processes of one machine share, under a lock."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar, TypeVar

from pulumi_snapshots.clock import Clock

T = TypeVar("T")

LOCK_PATIENCE = 2.0
"""Seconds to wait for the lock. A process holds it for a millisecond, unless it is suspended or stuck."""
LOCK_POLL = 0.02
"""Seconds between two tries to get the lock."""


def state_directory(environment: Mapping[str, str]) -> Path:
    """The directory for files that outlive a run; a relative path, which no file can be in, if there is no home directory."""
    base = environment.get("XDG_STATE_HOME") or ""
    # The XDG specification says that a relative path is to be ignored.
    root = Path(base) if Path(base).is_absolute() else home_directory(environment) / ".local/state"
    return root / "pulumi-snapshots"


def home_directory(environment: Mapping[str, str]) -> Path:
    """The user's home directory; `~` if the system does not know it."""
    try:
        return Path(environment.get("HOME") or "~").expanduser()
    except RuntimeError:  # there is no HOME, and the system does not list the user, as in some containers
        return Path("~")


class LockedFile:
    """A `SharedFile` of one machine's processes. A file that is missing, corrupt or unusable counts as empty.

    Args:
        path: the file; its directory is made if needed.
        clock: for waiting for the lock.

    Attributes:
        trouble: why the file is unusable, for a warning; empty if it is usable.
        damage: why the content was lost, for a warning; empty if it was not lost.
    """

    patience: ClassVar[float] = LOCK_PATIENCE

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.trouble = ""
        self.damage = ""
        self._clock = clock

    async def ready(self) -> None:
        """Nothing has to be prepared."""

    def now(self) -> float:
        """Seconds since 1970 by this machine's clock."""
        return self._clock.utc().timestamp()

    async def read(self) -> dict[str, Any]:
        """Read the object. No lock is needed, since the file is replaced as a whole."""
        return self._read()

    async def change(self, edit: Callable[[dict[str, Any]], T], *, durable: bool = False) -> T:
        """Under the lock, read the object, let `edit` change it in place, and write it if it has changed.

        If `durable`, the disk has what was written when this returns.
        """
        try:
            lock = await self._locked()
        except OSError as error:
            self._fail(error)
            return edit({})
        with lock:
            content = self._read()
            before = json.dumps(content)
            result = edit(content)
            if (after := json.dumps(content)) != before:
                try:
                    replace_atomically(self.path, after, durable=durable)
                except OSError as error:
                    self._fail(error)
            return result

    def _fail(self, error: OSError) -> None:
        """Handle that the file cannot be written; the processes continue without it."""
        self.trouble = f"{self.path}: {error.strerror or error}"

    def _lose(self, why: str) -> None:
        """Handle that the content cannot be read; it counts as empty."""
        self.damage = f"{self.path}: {why}"

    def _make_folder(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def _locked(self) -> IO[bytes]:
        if not self.path.is_absolute():  # it would be another file in each working directory
            raise OSError("there is no home directory with an absolute path: set XDG_STATE_HOME to one")
        self._make_folder()
        file = self.path.with_suffix(".lock").open("ab")
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(file.close)
            waited = 0.0
            while not try_lock(file.fileno()):
                if waited >= self.patience:
                    raise OSError("another process holds its lock")
                await self._clock.sleep(LOCK_POLL)
                waited += LOCK_POLL
            on_failure.pop_all()
        return file

    def _read(self) -> dict[str, Any]:
        if not self.path.is_absolute():
            return {}
        try:
            content = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._lose(error.strerror or str(error))
            return {}
        except (ValueError, RecursionError):  # the latter from deeply nested brackets
            content = None
        if not isinstance(content, dict):
            self._lose("unreadable")
            return {}
        return content


def try_lock(file: int) -> bool:
    """Lock a file unless another process has. The operating system unlocks it when the process ends, even by a kill.

    Args:
        file: its descriptor.

    Returns:
        Whether it is locked.

    Raises:
        OSError: this system, or its file system, has no locks.
    """
    try:
        import fcntl  # noqa: PLC0415  not on every system

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        raise OSError("this system has no file locks") from None
    except BlockingIOError:
        return False
    return True


def replace_atomically(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Replace the content of a file as a whole: readers find the old or the new content, even after a kill or an error.

    Only one process may write at a time. The draft always has the same name, so that the drafts of killed runs do not pile up.
    If `durable`, the disk has the new content afterwards, so that it outlives a power failure.
    """
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    draft.replace(path)
    if durable:
        _flush_name(path.parent)


def _flush_name(folder: Path) -> None:
    """Flush a folder's names of files to the disk."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # a system that opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
