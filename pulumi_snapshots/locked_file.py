"""A small JSON file that the processes of one machine share, under a lock. Knows nothing of what is in it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pulumi_snapshots.clock import Clock

__all__ = ["LockedFile", "replace_atomically", "state_directory"]

T = TypeVar("T")

LOCK_PATIENCE = 2.0
"""Seconds to wait for the lock. It is held for a millisecond at a time, so who holds it longer is stopped or stuck."""
LOCK_POLL = 0.02


def state_directory(environment: Mapping[str, str]) -> Path:
    """The user's directory for state that outlives a run."""
    base = environment.get("XDG_STATE_HOME") or ""
    # A relative path in the variable is to be ignored, says the specification that defines it.
    root = (
        Path(base) if Path(base).is_absolute() else Path(environment.get("HOME") or "~").expanduser() / ".local/state"
    )
    return root / "pulumi-snapshots"


class LockedFile:
    """A JSON object in a file. A file that is missing, corrupt or not to be used counts as empty.

    Args:
        path: the file; its directory is made when needed.
        clock: for waiting for the lock.

    Attributes:
        trouble: why the file cannot be used, for a note to the user; empty while it can.
        damage: why what was in it is lost, though it can be used; empty while nothing is.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.trouble = ""
        self.damage = ""
        self._clock = clock

    async def read(self) -> dict[str, Any]:
        """The object as it stands, for callers that change nothing; the file appears whole, so no lock is needed."""
        return self._read()

    async def change(self, edit: Callable[[dict[str, Any]], T]) -> T:
        """Read the object, let `edit` change it in place, and write it back if it did, while no other process does the same.

        Args:
            edit: gets the object; must not wait. Its result is returned.
        """
        try:
            lock = await self._locked()
        except OSError as error:
            self._cannot_be_used(error)
            return edit({})
        with lock:
            content = self._read()
            before = json.dumps(content)
            result = edit(content)
            if (after := json.dumps(content)) != before:
                try:
                    replace_atomically(self.path, after)
                except OSError as error:
                    self._cannot_be_used(error)
            return result

    def _cannot_be_used(self, error: OSError) -> None:
        self.trouble = f"{self.path}: {error.strerror or error}"

    async def _locked(self) -> IO[bytes]:
        """The lock file, locked; the operating system unlocks it when the process ends, however it does."""
        try:
            import fcntl  # noqa: PLC0415  not on every system
        except ImportError:
            raise OSError("this system has no file locks that are known here") from None
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self.path.with_suffix(".lock").open("ab")
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(file.close)
            waited = 0.0
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if waited >= LOCK_PATIENCE:
                        raise OSError("another process holds its lock and does not let go") from None
                    await self._clock.sleep(LOCK_POLL)
                    waited += LOCK_POLL
                else:
                    on_failure.pop_all()
                    return file

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            self.damage = f"{self.path}: {error.strerror or error}"
            return {}
        except (ValueError, RecursionError):  # the latter where brackets are nested without end
            content = None
        if not isinstance(content, dict):
            self.damage = f"{self.path}: not what a run writes"
            return {}
        return content


def replace_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that whoever reads it finds the old content or the new, whole, also after a kill in the middle.

    The draft has one name, so that drafts of killed runs do not pile up: only one writer at a time is expected.

    Raises:
        OSError: it cannot be written; the old content is untouched.
    """
    draft = path.with_suffix(".draft")
    draft.write_bytes(content.encode() if isinstance(content, str) else content)
    draft.replace(path)
