"""State that machines share in a folder on a file system with locks."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from errno import ENOENT
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors.outcomes import SharedStateUnavailable
from pulumi_snapshots.locked_file import LockedFile
from pulumi_snapshots.shared_state.content import FORMAT, NEWEST, parsed
from pulumi_snapshots.shared_state.own_clock import OwnClock

T = TypeVar("T")
CLOCK = "clock"
"""The file from which machines learn the file system's clock."""


class Folder(OwnClock):
    """A folder.

    Args:
        path: absolute; it must exist, since one that is not mounted would be another one on each machine.
        clock: this machine's time.

    Attributes:
        where: names it in texts.
    """

    conditional = False

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(clock)
        self.where = str(path)
        self.path = path

    def file(self, name: str) -> FolderFile:
        """One file of it."""
        return FolderFile(self, name)

    async def open(self) -> None:
        """Make sure that it can be written, and learn its clock; raises `SharedStateUnavailable` if it cannot."""
        if self._ahead is not None:
            return
        file = self.path / f"{CLOCK}-{secrets.token_hex(4)}"
        try:
            file.write_bytes(b"")
            written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            file.unlink()
        except OSError as error:
            raise SharedStateUnavailable(self.where, error.strerror or str(error)) from error
        self._ahead = (written - self.clock.utc()).total_seconds()


class FolderFile(LockedFile):
    """A `SharedFile` in a folder: what cannot be used is an error, since other machines would not see what is sent."""

    patience: ClassVar[float] = 30.0

    def __init__(self, folder: Folder, name: str) -> None:
        super().__init__(folder.path / name, folder.clock)
        self._folder = folder

    async def ready(self) -> None:
        """Make sure that the place is usable; raises `SharedStateUnavailable` if it is not."""
        try:
            await self._folder.open()
        except SharedStateUnavailable as error:
            self.trouble = error.trouble
            raise

    def now(self) -> float:
        """Seconds since 1970 by the file system's clock."""
        return self._folder.now()

    async def change(self, edit: Callable[[dict[str, Any]], T], *, durable: bool = False) -> T:
        """Change the file under its lock."""
        await self.ready()

        def marked(content: dict[str, Any]) -> T:
            result = edit(content)
            if content:
                content[FORMAT] = NEWEST
            return result

        return await super().change(marked, durable=durable)

    def _fail(self, error: OSError) -> None:
        raise self._unavailable(error) from error

    def _make_folder(self) -> None:
        pass  # it must exist

    def _read(self) -> dict[str, Any]:
        try:
            data = self.path.read_bytes() if self.path.parent.is_dir() else None
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unavailable(error) from error
        if data is None:
            raise self._unavailable(FileNotFoundError(ENOENT, "there is no such folder"))
        try:
            return parsed(str(self.path), data)
        except SharedStateUnavailable as error:
            self.trouble = error.trouble
            raise

    def _unavailable(self, error: OSError) -> SharedStateUnavailable:
        unavailable = SharedStateUnavailable(self._folder.where, error.strerror or str(error))
        self.trouble = unavailable.trouble
        return unavailable
