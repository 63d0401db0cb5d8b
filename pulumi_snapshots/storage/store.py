"""Stores of one object, which appears whole or not at all; and files of this machine. They block: call them in a worker thread."""

import contextlib
import fcntl
import os
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_snapshots.errors import Explained, Step

READ_SIZE = 1024 * 1024
PART = ".squarecloud-archive-"
"""The beginning of a part's name; a file with another name is not ours to remove."""
Buffer = Any
"""Bytes, or what libraries have in their place; `collections.abc.Buffer` is newer than the oldest Python here."""
Mark = Any  # what a conditional write compares: it differs whenever the content does


class StoreTrouble(Explained):
    """A store failed. That proves nothing about the object, but for a `status` from 400 to 499, which is a refusal."""

    status = 0

    @property
    def forbidden(self) -> bool:
        """Whether the key lacks the right."""
        return self.status in {401, 403}


class Overtaken(Exception):
    """An object was not written, since somebody else has written it meanwhile."""


@dataclass(frozen=True)
class Held:
    """An object and its content, whole."""

    content: bytes
    mark: Mark


@dataclass(frozen=True)
class Seen:
    """An object that exists: its bytes, and what changes whenever it is written, as states keep it."""

    size: int
    mark: str


class Store(ABC):
    """The place of one object; `where` is for errors. Every method raises `StoreTrouble` if the store fails."""

    def __init__(self, where: object) -> None:
        self.where = where

    @abstractmethod
    def stat(self) -> Seen | None:
        """The object; None only if it certainly does not exist."""

    @abstractmethod
    def _pieces(self, size: int) -> Iterator[Buffer]: ...

    @abstractmethod
    def _remove(self) -> None: ...

    def read(self) -> Iterator[Buffer]:
        """The bytes of one object, in pieces: an object that is replaced meanwhile is an error, not a mixture."""
        before, pieces = self.stat(), 0
        if before is None:
            raise StoreTrouble(f"{self.where} does not exist")
        with trouble(self.where):
            for piece in self._pieces(before.size):
                pieces += 1
                yield piece
        if pieces > 1 and self.stat() != before:
            raise StoreTrouble(f"{self.where} was replaced while it was read")

    def holds(self, mark: str) -> bool:
        """Whether the object still has this mark."""
        seen = self.stat()
        return seen is not None and seen.mark == mark

    def remove(self, mark: str) -> bool:
        """Remove the object if it still has this mark; returns whether it had."""
        if not self.holds(mark):
            return False
        with trouble(self.where):
            self._remove()
        return True


@contextlib.contextmanager
def trouble(where: object) -> Iterator[None]:
    """Raise `StoreTrouble` for every error of the body."""
    try:
        yield
    except (StoreTrouble, Overtaken):
        raise
    except Exception as error:  # each library has errors of its own
        reason = (
            getattr(error, "strerror", None)
            or " ".join(str(error).split())[:300]
            or type(error).__name__
        )
        raise StoreTrouble(f"{where}: {reason}") from error


# Files ----------------------------------------------------------------------------------------------------------------


class FileStore(Store):
    """A file of this machine, by its absolute path."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    def write(self, blocks: Iterator[Buffer]) -> Seen:
        """Let it appear once the blocks end, in place of what was there, or leave nothing; missing folders are made."""
        folder = self._path.parent
        with trouble(self._path):
            if self._path.exists() and not self._path.is_file():
                raise StoreTrouble(f"{self._path} is not a file", then=[Step.NAME_OBJECT])
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
        """Write the file if it still has this mark, or does not exist without one, else raise `Overtaken`; locks keep others out."""
        with trouble(self._path), _opened(self._path.parent) as folder:
            _locks(folder, waits=True)
            seen = self.stat()
            if (seen.mark if seen else None) != mark:
                raise Overtaken(self.where)
            return self.write(iter([content])).mark

    def listing(self) -> dict[str, int]:
        """The files below this folder, or this file."""

        def fail(
            error: OSError,
        ) -> None:  # else a folder that cannot be read would count as an empty one
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise StoreTrouble(f"{error.filename}: {error.strerror}")

        with trouble(self._path):
            if not self._path.exists():
                raise StoreTrouble(f"{self._path} does not exist", then=[Step.CHECK_PLACE])
            every = [self._path] if self._path.is_file() else []
            for folder, _, names in os.walk(self._path, onerror=fail):
                every += [Path(folder) / name for name in names]
            found = {}
            for path in every:
                with contextlib.suppress(
                    FileNotFoundError
                ):  # it has vanished, or is a link to nothing
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
        with tempfile.NamedTemporaryFile(
            prefix=PART, suffix=".part", dir=folder, delete=False
        ) as file:
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
        with (
            contextlib.suppress(OSError),
            _opened(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK) as file,
        ):
            if stat.S_ISREG(os.fstat(file).st_mode) and _locks(file):
                part.unlink()
