"""Stores of one object, which appears whole or not at all; and files on this machine.

Their methods block: call them in a worker thread.
"""

import contextlib
import fcntl
import os
import stat
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_snapshots.clock import system_monotonic
from pulumi_snapshots.errors import HintKind, ProviderError
from pulumi_snapshots.errors.secrets import shown_file
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.state_directory import file_in_the_way

READ_SIZE = 1024 * 1024
"""Bytes of one piece of a file."""
PART = ".squarecloud-archive-"
"""The beginning of a part's name; no file with another name is removed."""
LOCK_SECONDS = 60.0
"""How long a writer waits for a lock, whose holder writes one small file."""
LOCK_PAUSE = 0.05
"""Seconds between two tries to lock."""
_NEVER = threading.Event()
"""No code sets this event, so waiting for it is a sleep."""
Buffer = Any
"""Bytes, or an object with which a library replaces them.

`collections.abc.Buffer` is newer than the oldest Python that this package supports.
"""
Mark = (
    Any  # a value that differs whenever the content does; conditional writes compare it
)


class StoreTrouble(ProviderError):
    """A store failed. Only a refusal proves something about the object.

    Attributes:
        status: the HTTP status of a refusal, from 400 to 499; 0 for any other trouble.
    """

    status = 0

    @property
    def forbidden(self) -> bool:
        """Whether the key lacks the right."""
        return self.status in {401, 403}


class Overtaken(Exception):
    """An object was not written, because another writer was faster."""


@dataclass(frozen=True)
class StoredContent:
    """An object and its whole content.

    Attributes:
        content: the bytes; empty if there are more than were wanted.
        mark: the value that a conditional write compares.
    """

    content: bytes
    mark: Mark


@dataclass(frozen=True)
class ObjectStat:
    """An object that exists.

    Attributes:
        size: the object's bytes.
        mark: a text that changes with each write of the object, as states keep it.
    """

    size: int
    mark: str


class Store(ABC):
    """The place of one object. Every method raises `StoreTrouble` if the store fails.

    Attributes:
        where: the place, for errors.
    """

    def __init__(self, where: object) -> None:
        self.where = where

    @abstractmethod
    def stat(self) -> ObjectStat | None:
        """Return the object's size and mark; None only if it certainly does not exist."""

    @abstractmethod
    def _pieces(self, size: int) -> Iterator[Buffer]: ...

    @abstractmethod
    def _remove(self) -> None: ...

    def read(self) -> Iterator[Buffer]:
        """Read the object in pieces.

        Yields:
            The bytes, in pieces.

        Raises:
            StoreTrouble: there is no object, or another writer replaced it, so that the pieces are
                a mixture.
        """
        before = self.stat()
        pieces = 0
        if before is None:
            raise StoreTrouble(f"{shown_file(self.where)} does not exist")
        with store_trouble(self.where):
            for piece in self._pieces(before.size):
                pieces += 1
                yield piece
        if pieces > 1 and self.stat() != before:
            raise StoreTrouble(f"{self.where} was replaced while it was read")

    def holds(self, mark: str) -> bool:
        """Tell whether the object still has this mark.

        Args:
            mark: the mark from when the object was written or read.
        """
        seen = self.stat()
        return seen is not None and seen.mark == mark

    def remove(self, mark: str) -> bool:
        """Remove the object if it still has a mark.

        Args:
            mark: the mark from when the object was written or read.

        Returns:
            Whether the object was removed.
        """
        if not self.holds(mark):
            return False
        with store_trouble(self.where):
            self._remove()
        return True


@contextlib.contextmanager
def store_trouble(where: object) -> Iterator[None]:
    """Raise `StoreTrouble` for every error of the body.

    Args:
        where: the place, for the error.

    Yields:
        Nothing.

    Raises:
        StoreTrouble: the body failed.
    """
    try:
        yield
    except (ProviderError, Overtaken):
        raise
    except (NotADirectoryError, FileExistsError) as error:
        file = file_in_the_way(Path(error.filename or "/"))
        reason = (
            f"{shown_file(file)} is a file, not a folder" if file else error.strerror
        )
        raise StoreTrouble(f"{where}: {reason}") from error
    except Exception as error:  # each library has errors of its own
        text = " ".join(str(error).split())[:300]
        reason = getattr(error, "strerror", None) or text or type(error).__name__
        raise StoreTrouble(f"{where}: {reason}") from error


# Files ----------------------------------------------------------------------------------------


def refuse_file_in_the_way(folder: Path) -> None:
    """Refuse a folder if it, or a part of its path, is a file.

    Args:
        folder: the folder, which need not exist.

    Raises:
        StoreTrouble: a file is in the way.
    """
    file = file_in_the_way(folder)
    if file is not None:
        raise StoreTrouble(f"{shown_file(file)} is a file, not a folder")


class FileStore(Store):
    """A file of this machine.

    Args:
        path: an absolute path.
        lock_seconds: how long a write waits for the lock of another process.
        pause: sleeps for a number of seconds.
        now: returns monotonic seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        lock_seconds: float = LOCK_SECONDS,
        pause: Callable[[float], object] = _NEVER.wait,
        now: Callable[[], float] = system_monotonic,
    ) -> None:
        super().__init__(path)
        self._path = path
        self._lock_seconds = lock_seconds
        self._pause = pause
        self._now = now

    def write(self, blocks: Iterator[Buffer]) -> ObjectStat:
        """Let the file appear once the blocks end, in place of the earlier file, or leave nothing.

        Missing folders are created.

        Args:
            blocks: the bytes of the file.

        Returns:
            The size and the mark of the file.
        """
        folder = self._path.parent
        with store_trouble(self._path):
            if self._path.exists() and not self._path.is_file():
                raise StoreTrouble(
                    f"{self._path} is not a file",
                    then=[HintKind.NAME_OBJECT],
                )
            with _new_folder(folder):
                _remove_stale_parts(folder)
                seen = self._write_part(folder, blocks)
        # The file exists now. Some file systems cannot flush a folder, which changes nothing.
        with contextlib.suppress(OSError), _open_file(folder) as file:
            os.fsync(file)
        return seen

    def _write_part(self, folder: Path, blocks: Iterator[Buffer]) -> ObjectStat:
        """Write a part, and give it the file's name once the blocks end."""
        with _new_part(folder) as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            seen = _object_stat(os.fstat(file.fileno()))
            Path(file.name).replace(self._path)
        return seen

    def stat(self) -> ObjectStat | None:
        """Return the file's size and mark; None only if it certainly does not exist."""
        with (
            store_trouble(self._path),
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
        ):
            return _object_stat(self._path.stat())
        return None

    def load(self, most: int | None = None) -> StoredContent | None:
        """Read the file whole.

        Args:
            most: the most bytes that are read; None for no limit.

        Returns:
            The file, without content if it has more bytes or is no regular file; None if there is
            none.
        """
        with (
            store_trouble(self._path),
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
        ):
            status = self._path.stat()
            is_wanted = stat.S_ISREG(status.st_mode) and (
                most is None or status.st_size <= most
            )
            content = self._path.read_bytes() if is_wanted else b""
            return StoredContent(content, _object_stat(status).mark)
        return None

    def replace(self, content: bytes, mark: Mark | None) -> Mark:
        """Write the file if it is unchanged. A lock on its folder keeps others out.

        Args:
            content: the bytes.
            mark: the mark of the file when it was read; None if there was none.

        Returns:
            The mark of the file.

        Raises:
            Overtaken: the file has another mark.
            StoreTrouble: the file was not written, or the folder stayed locked.
        """
        with store_trouble(self._path), _open_file(self._path.parent) as folder:
            self._lock(folder)
            seen = self.stat()
            if (seen.mark if seen else None) != mark:
                raise Overtaken(self.where)
            return self.write(iter([content])).mark

    def _lock(self, folder: int) -> None:
        """Lock the open folder until it is closed; raises `StoreTrouble` if others keep it locked.

        A file system without locks does not delay a write.
        """
        until = self._now() + self._lock_seconds
        while _is_lock_refused(folder):
            if self._now() >= until:
                raise StoreTrouble(
                    f"{self._path.parent} is locked, for more than {spoken(self._lock_seconds)}. "
                    "What holds the lock is probably another `pulumi` or `squarecloud-snapshots` "
                    "that archives there, on this machine or on one that mounts the folder too: "
                    f"`lsof '{self._path.parent}'` names those of this machine"
                )
            self._pause(LOCK_PAUSE)

    def listing(self) -> dict[str, int]:
        """List the files below this folder, also in linked folders, or this file.

        A folder that several links lead to is listed once.

        Returns:
            The bytes of each file by its URI.

        Raises:
            StoreTrouble: there is no such place, or a folder cannot be read.
        """
        with store_trouble(self._path):
            if not self._path.exists():
                raise StoreTrouble(
                    _why_missing(self._path), then=[HintKind.CHECK_PLACE]
                )
            files = [self._path] if self._path.is_file() else _files_below(self._path)
            sizes = {}
            for path in files:
                with contextlib.suppress(FileNotFoundError):  # the file has vanished
                    seen = path.stat()
                    if stat.S_ISREG(seen.st_mode):
                        sizes[path.as_uri()] = seen.st_size
            return sizes

    def _pieces(self, size: int) -> Iterator[bytes]:  # noqa: ARG002  a file is read to its end
        with self._path.open("rb") as file:
            yield from iter(lambda: file.read(READ_SIZE), b"")

    def _remove(self) -> None:
        self._path.unlink(missing_ok=True)


def _object_stat(found: os.stat_result) -> ObjectStat:
    return ObjectStat(found.st_size, f"{found.st_ino}:{found.st_mtime_ns}")


@contextlib.contextmanager
def _open_file(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _is_lock_refused(file: int) -> bool:
    """Lock an open file or folder until it is closed; returns whether another process has the lock.

    On a file system without locks, nothing is locked and no lock is refused.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _files_below(top: Path) -> list[Path]:
    """List the files below a folder, also in linked folders, each folder once.

    A folder that is below `top` is listed under its own name rather than that of a link.
    """
    files: list[Path] = []
    seen: set[tuple[int, int]] = set()
    folders = [top]
    links: list[Path] = []
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):  # the folder has vanished
            continue
        except OSError as error:  # without an error, the folder would count as empty
            raise StoreTrouble(f"{folder}: {error.strerror}") from error
        for entry in entries:
            if not entry.is_dir():
                files.append(Path(entry.path))
            elif entry.is_symlink():
                links.append(Path(entry.path))
            else:
                folders.append(Path(entry.path))
    return files


def _why_missing(path: Path) -> str:
    """Say that a path does not exist, and which part of it is a file in place of a folder."""
    missing = f"{shown_file(path)} does not exist"
    file = file_in_the_way(path.parent)
    return f"{missing}: {shown_file(file)} is a file, not a folder" if file else missing


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Make a folder for the body; if the body fails, remove the folders that were made."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # another process uses it
            for each in made:
                each.rmdir()
        raise


@contextlib.contextmanager
def _new_part(folder: Path) -> Iterator[Any]:
    """Make a new file, as private as the database, and locked against removal as a stale part."""
    while True:
        with tempfile.NamedTemporaryFile(
            prefix=PART, suffix=".part", dir=folder, delete=False
        ) as file:
            part = Path(file.name)
            is_refused = _is_lock_refused(file.fileno())  # another run removes the part
            if part.exists() and not is_refused:
                try:
                    yield file
                finally:
                    part.unlink(missing_ok=True)
                return


def _remove_stale_parts(folder: Path) -> None:
    """Remove the parts of runs that were killed; those of living runs are locked."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    for part in folder.glob(f"{PART}*.part"):
        with contextlib.suppress(OSError), _open_file(part, flags) as file:
            if _is_abandoned(file):
                part.unlink()


def _is_abandoned(part: int) -> bool:
    """Lock an open part; returns whether the part is a file that no living run has locked."""
    if not stat.S_ISREG(os.fstat(part).st_mode):
        return False
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # without locks, nothing shows that its run is dead
        return False
    return True
