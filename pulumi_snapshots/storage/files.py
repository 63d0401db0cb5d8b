"""Archives in files of this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pulumi_snapshots.errors import Next, Step
from pulumi_snapshots.storage.store import READ_SIZE, Buffer, Held, Mark, Overtaken, Seen, Store, StoreTrouble, trouble

PART = ".squarecloud-archive-"
"""The beginning of a part's name; a file with another name is not ours to remove."""


class FileStore(Store):
    """A file of this machine, by its absolute path."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    def write(self, blocks: Iterator[Buffer], size: int | None = None) -> Seen:  # noqa: ARG002  of no use to a disk
        """Write a part file beside it, in folders that are made as needed, flush it to the disk, and rename it."""
        folder = self._path.parent
        with trouble(self._path):
            if self._path.is_dir():
                raise StoreTrouble(f"{self._path} is a folder", then=[Next(Step.NAME_OBJECT)])
            if self._path.exists() and not self._path.is_file():
                raise StoreTrouble(f"{self._path} is not a file")
            made = [each for each in (folder, *folder.parents) if not each.exists()]
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _remove_stale_parts(folder)
                with _part_in(folder) as file:
                    for block in blocks:
                        file.write(block)
                    file.flush()
                    os.fsync(file.fileno())
                    seen = _seen(os.fstat(file.fileno()))
                    Path(file.name).replace(self._path)
            except BaseException:
                with contextlib.suppress(OSError):  # another process uses it
                    for each in made:
                        each.rmdir()
                raise
        # It exists now; if a file system cannot flush a folder, nothing more can be done.
        with contextlib.suppress(OSError), _opened(folder) as file:
            os.fsync(file)
        return seen

    def stat(self) -> Seen | None:
        """The file."""
        with trouble(self._path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return _seen(self._path.stat())
        return None

    def load(self, most: int | None = None) -> Held | None:
        """The file with its content, which is empty if it has more than `most` bytes; None if there is none."""
        with trouble(self._path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = self._path.stat()
            wanted = stat.S_ISREG(found.st_mode) and (most is None or found.st_size <= most)
            return Held(self._path.read_bytes() if wanted else b"", _seen(found).mark)
        return None

    def replace(self, content: bytes, mark: Mark | None) -> Mark:
        """Write the file if it still has this mark; as far as this machine's processes and its file system's locks go."""
        with trouble(self._path), _opened(self._path.parent) as folder:
            _locks(folder, waits=True)
            seen = self.stat()
            if (seen.mark if seen else None) != mark:
                raise Overtaken(self.where)
            return self.write(iter([content])).mark

    def listing(self) -> dict[str, int]:
        """The files below this folder, or this file."""

        def fail(error: OSError) -> None:  # else a folder that cannot be read would count as an empty one
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise StoreTrouble(f"{error.filename}: {error.strerror}")

        with trouble(self._path):
            if not self._path.exists():
                raise StoreTrouble(f"{self._path} does not exist", then=[Next(Step.CHECK_PLACE)])
            every = [self._path] if self._path.is_file() else []
            for folder, _, names in os.walk(self._path, onerror=fail):
                every += [Path(folder) / name for name in names]
            found = {}
            for path in every:
                with contextlib.suppress(FileNotFoundError):  # it has vanished, or is a link to nothing
                    about = path.stat()
                    if stat.S_ISREG(about.st_mode):
                        found[path.as_uri()] = about.st_size
            return found

    def _pieces(self, size: int) -> Iterator[bytes]:  # noqa: ARG002  a file is read to its end
        with self._path.open("rb") as file:
            yield from iter(lambda: file.read(READ_SIZE), b"")

    def _remove(self) -> None:
        self._path.unlink(missing_ok=True)


def _seen(found: os.stat_result) -> Seen:
    return Seen(found.st_size, f"{found.st_ino}:{found.st_mtime_ns}")


@contextlib.contextmanager
def _opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _locks(file: int, *, waits: bool = False) -> bool:
    """Lock an open file or folder until its process ends: False if another one has, or the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _part_in(folder: Path) -> Iterator[Any]:
    """A new file, which is as private as the database, and locked so that no other writer removes it as a stale one."""
    while True:
        with tempfile.NamedTemporaryFile(prefix=PART, suffix=".part", dir=folder, delete=False) as file:
            part = Path(file.name)
            _locks(file.fileno(), waits=True)
            if part.exists():  # else one did, before it was locked
                try:
                    yield file
                finally:
                    part.unlink(missing_ok=True)
                return


def _remove_stale_parts(folder: Path) -> None:
    """Remove the parts of runs that were killed; those of living ones are locked."""
    for part in folder.glob(f"{PART}*.part"):
        with contextlib.suppress(OSError), _opened(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK) as file:
            if stat.S_ISREG(os.fstat(file).st_mode) and _locks(file):
                part.unlink()
