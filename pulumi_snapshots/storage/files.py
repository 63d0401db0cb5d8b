"""Archives in files of this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pulumi_snapshots.errors import Next, Step
from pulumi_snapshots.storage.store import READ_SIZE, Draft, Held, Mark, Overtaken, Seen, Store, StoreTrouble, trouble

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None  # type: ignore[assignment]

WRITE_BACK = 64 * 1024 * 1024
"""Bytes after which the disk begins to write them, so that little is left for the end."""
PART_DIGITS = 16
"""Hexadecimal digits in a part's name; a file with another name is not ours to remove."""


class FileStore(Store):
    """A file of this machine.

    Args:
        path: absolute.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    def begin(self, size: int | None) -> Draft:
        """Begin a part file beside it, in folders that are made as needed."""
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
                _check_room(folder, size or 0)
                return _FileDraft(self._path, made)
            except BaseException:
                _remove_folders(made)
                raise

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
            content = self._path.read_bytes() if wanted else b""
            return Held(content, Mark(_seen(found).mark, None), datetime.fromtimestamp(found.st_mtime, UTC))
        return None

    def replace(self, content: bytes, mark: Mark | None) -> Mark:
        """Write the file if it still has this mark; as far as this machine's processes and its file system's locks go."""
        draft = self.begin(len(content))
        try:
            draft.write(content)
            with trouble(self._path), self._alone():
                self._check_mark(mark)
                return Mark(draft.commit(sha256(content).hexdigest()).mark, None)
        except BaseException:
            draft.discard()
            raise

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from writing conditionally in its folder meanwhile, as far as its file system has locks."""
        file = os.open(self._path.parent, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):
                _is_locked(file, waits=True)
            yield
        finally:
            os.close(file)

    def _check_mark(self, mark: Mark | None) -> None:
        held = self.load(0)
        if (held.mark if held else None) != mark:
            raise Overtaken(self.where)

    def is_at(self, other: Store) -> bool:
        """Whether both are the same file, also through links."""
        with contextlib.suppress(OSError):
            return isinstance(other, FileStore) and self._path.samefile(other._path)  # noqa: SLF001  of its class
        return False

    def listing(self) -> dict[str, int]:
        """The files below this folder, or this file."""

        def fail(error: OSError) -> None:  # else a folder that cannot be read would count as an empty one
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise StoreTrouble(f"{error.filename}: {error.strerror}")

        with trouble(self._path):
            if not self._path.exists():
                raise StoreTrouble(f"{self._path} does not exist")
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


class _FileDraft(Draft):
    """A part file, locked while its process lives, flushed to the disk and renamed at the end."""

    def __init__(self, path: Path, made: Iterable[Path] = ()) -> None:
        self._path = path
        self._made = made
        self._unflushed = 0
        while True:
            self._part = path.with_name(f".archive-{secrets.token_hex(PART_DIGITS // 2)}.part")
            # The data is as private as the database.
            self._file = os.open(self._part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with contextlib.suppress(OSError):  # no locks there, so nothing is removed as stale either
                _is_locked(self._file)
            # Another process may have removed it as a stale one before it was locked.
            if self._part.exists():
                return
            os.close(self._file)

    def write(self, data: bytes | bytearray) -> None:
        with trouble(self._path):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        self._unflushed += len(data)
        if self._unflushed >= WRITE_BACK:
            self._unflushed = 0
            with contextlib.suppress(OSError, AttributeError):  # a hint, which not every system takes
                os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def commit(self, sha256: str) -> Seen:  # noqa: ARG002  a rename has no answer that can be lost
        with trouble(self._path):
            os.fsync(self._file)
            seen = _seen(os.fstat(self._file))
            self._part.replace(self._path)
        # It exists now; if a file system cannot flush a folder, nothing more can be done.
        with contextlib.suppress(OSError):
            os.close(self._file)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return seen

    def discard(self) -> None:
        with trouble(self._part):
            self._part.unlink(missing_ok=True)
            os.close(self._file)
            _remove_folders(self._made)


def _seen(found: os.stat_result) -> Seen:
    return Seen(found.st_size, f"{found.st_ino}:{found.st_mtime_ns}")


def _is_locked(file: int, *, waits: bool = False) -> bool:
    """Lock an open file or folder unless another process has. The system unlocks it when the process ends, even by a kill."""
    if fcntl is None:
        raise OSError("this system has no file locks")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _remove_folders(made: Iterable[Path]) -> None:
    with contextlib.suppress(OSError):  # another process uses it
        for folder in made:
            folder.rmdir()


def _check_room(folder: Path, size: int) -> None:
    disk = shutil.disk_usage(folder)
    if disk.total and disk.free < size:
        raise StoreTrouble(f"{folder} has {disk.free} bytes free, and the archive has {size}")


def _remove_stale_parts(folder: Path) -> None:
    """Remove the parts of runs that were killed; those of living ones are locked."""
    for part in folder.glob(f".archive-{'[0-9a-f]' * PART_DIGITS}.part"):
        with contextlib.suppress(OSError):
            file = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if stat.S_ISREG(os.fstat(file).st_mode) and _is_locked(file):
                    part.unlink()
            finally:
                os.close(file)
