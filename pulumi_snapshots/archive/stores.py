"""Where archives are kept: files of this machine, and buckets through fsspec. Blocking: call it in a worker thread.

An object appears under its name whole or not at all. Credentials come from each store's own environment.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from pulumi_snapshots.archive.destination import LIBRARIES, Destination
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

__all__ = ["BucketStore", "Buckets", "Draft", "FileStore", "Seen", "Store", "StoreTrouble"]

PART_SIZE = 6 * 1024 * 1024
"""Bytes of one part of an upload; it is in memory about three times while it is sent."""
PARTS_LIMIT = 9_000
"""Parts of one upload that are used; S3 allows 10,000."""
READ_SIZE = 1024 * 1024
WRITE_BACK = 64 * 1024 * 1024
"""Bytes after which what was written is brought to the disk meanwhile, so that little is left for the end."""
PART_NAME = (".archive-", ".part")
PART_DIGITS = 16
"""Hexadecimal digits between the two: what has another name is not ours to clear away."""


class StoreTrouble(Explained):
    """The store did not do it. It proves nothing about the object."""


@dataclass(frozen=True)
class Seen:
    """An object that is there.

    Attributes:
        size: bytes.
        mark: changes whenever the object is written anew.
    """

    size: int
    mark: str


class Draft(Protocol):
    """An object that is not there yet."""

    def write(self, data: bytes | bytearray) -> None:
        """Add to its end.

        Raises:
            StoreTrouble: the store has no room, or does not take it.
        """

    def commit(self) -> Seen:
        """Let it appear under its name, in place of what was there.

        Raises:
            StoreTrouble: it does not appear.
        """

    def discard(self) -> None:
        """Leave nothing of it.

        Raises:
            StoreTrouble: something may be left.
        """


class Store(Protocol):
    """The place of one object."""

    def begin(self, size: int | None) -> Draft:
        """Begin to write it.

        Raises:
            StoreTrouble: it cannot be written there.
        """

    def look(self) -> Seen | None:
        """What is there; None only where certainly nothing is.

        Raises:
            StoreTrouble: the store does not answer.
        """

    def hash(self, go_on: Callable[[], bool]) -> str | None:
        """The SHA-256 of what is there, hexadecimal; None where it is not to go on.

        Raises:
            StoreTrouble: it cannot be read.
        """

    def remove(self, mark: str) -> bool:
        """Remove it if it still has this mark; whether it did.

        Raises:
            StoreTrouble: it may still be there.
        """


# Files ---------------------------------------------------------------------------------------------------------------


class FileStore:
    """A file of this machine.

    Args:
        path: absolute.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, size: int | None) -> Draft:
        """Begin a part file beside it; folders are made as needed."""
        with _trouble_of_file(self._path):
            kind = _kind_of(self._path)
            if kind == stat.S_IFDIR:
                raise StoreTrouble(f"{self._path} is a folder", then=[Next(Step.NAME_OBJECT)])
            if kind not in {None, stat.S_IFREG}:
                raise StoreTrouble(f"{self._path} is no file")
            made = _make_folders(self._path.parent)
            try:
                _clear_stale(self._path.parent)
                _check_room(self._path.parent, size)
                return _FileDraft(self._path, made)
            except BaseException:
                _remove_folders(made)
                raise

    def look(self) -> Seen | None:
        """What is there."""
        with _trouble_of_file(self._path):
            try:
                return _seen(self._path.stat())
            except (FileNotFoundError, NotADirectoryError):
                return None

    def hash(self, go_on: Callable[[], bool]) -> str | None:
        """The SHA-256 of what is there."""
        with _trouble_of_file(self._path), self._path.open("rb") as file:
            return _hash(file.read, go_on)

    def remove(self, mark: str) -> bool:
        """Remove it if it still has this mark."""
        with _trouble_of_file(self._path):
            seen = self.look()
            if seen is None or seen.mark != mark:
                return False
            self._path.unlink(missing_ok=True)
            return True


class _FileDraft:
    """A part file, locked while its process lives: what is not locked was left by one that was killed."""

    def __init__(self, path: Path, made: list[Path]) -> None:
        self._path = path
        self._made = made
        self._written = self._sent = 0
        self._beside = ThreadPoolExecutor(1)
        self._syncing: Future[None] | None = None
        while True:
            self._part = path.with_name(secrets.token_hex(PART_DIGITS // 2).join(PART_NAME))
            # The data is as private as the database.
            self._file = os.open(self._part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            _lock(self._file)
            # Another process may have taken it for a stale one before it was locked.
            if _kind_of(self._part) is not None:
                return
            os.close(self._file)

    def write(self, data: bytes | bytearray) -> None:
        with _trouble_of_file(self._path), memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.write(self._file, view[done:])
            self._written += len(view)
            if self._written - self._sent >= WRITE_BACK and (self._syncing is None or self._syncing.done()):
                self._await_sync()
                self._sent = self._written
                self._syncing = self._beside.submit(os.fsync, self._file)

    def commit(self) -> Seen:
        with _trouble_of_file(self._path):
            self._await_sync()
            os.fsync(self._file)
            seen = _seen(os.fstat(self._file))
            self._part.replace(self._path)
        self._close()
        # It is there; where a folder cannot be synchronised, no more can be done.
        with contextlib.suppress(OSError):
            _sync_folder(self._path.parent)
        return seen

    def discard(self) -> None:
        with _trouble_of_file(self._part):
            self._part.unlink(missing_ok=True)
            self._close()
            _remove_folders(self._made)

    def _await_sync(self) -> None:
        """A disk that fails says so once, to whoever asks first."""
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            syncing.result()

    def _close(self) -> None:
        self._beside.shutdown(cancel_futures=True)
        with contextlib.suppress(OSError):
            os.close(self._file)


def _seen(found: os.stat_result) -> Seen:
    return Seen(found.st_size, f"{found.st_ino}:{found.st_mtime_ns}")


def _kind_of(path: Path) -> int | None:
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _make_folders(folder: Path) -> list[Path]:
    """Make it and what is above it; returns what was made, the innermost first."""
    missing = []
    for each in (folder, *folder.parents):
        if _kind_of(each) is not None:
            break
        missing.append(each)
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_folders(made: list[Path]) -> None:
    with contextlib.suppress(OSError):  # somebody else uses it
        for folder in made:
            folder.rmdir()


def _check_room(folder: Path, size: int | None) -> None:
    """Say so before hours of transfer, not after them."""
    if size is None or not hasattr(os, "statvfs"):
        return
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if found.f_blocks and free < size:
        raise StoreTrouble(f"{folder} has {free} bytes free, and the archive has {size}")


def _clear_stale(folder: Path) -> None:
    """Remove part files of processes that were killed; those of living ones are locked."""
    for part in folder.glob(("[0-9a-f]" * PART_DIGITS).join(PART_NAME)):
        with contextlib.suppress(OSError):
            file = os.open(part, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if stat.S_ISREG(os.fstat(file).st_mode) and _lock(file):
                    part.unlink()
            finally:
                os.close(file)


def _lock(file: int) -> bool:
    """Whether it could be locked; the operating system unlocks it when the process ends, however it does."""
    try:
        import fcntl  # noqa: PLC0415  not on every system

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _hash(read: Callable[[int], bytes], go_on: Callable[[], bool]) -> str | None:
    hasher = sha256()
    while go_on():
        data = read(READ_SIZE)
        if not data:
            return hasher.hexdigest()
        hasher.update(data)
    return None


@contextlib.contextmanager
def _trouble_of_file(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreTrouble(f"{path}: {error.strerror or error}") from error


# Buckets -------------------------------------------------------------------------------------------------------------


class Buckets:
    """The fsspec file systems of a process, each made once: one takes 20 MB and half a second."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    def file_system(self, scheme: str) -> Any:
        """The one of this scheme, with the credentials of its own environment.

        Raises:
            StoreTrouble: its library is missing, or finds no credentials.
        """
        with self._lock, _trouble_of_bucket(f"{scheme}://"):
            if scheme not in self._made:
                self._made[scheme] = _make(scheme)
            return self._made[scheme]


def _make(scheme: str) -> Any:
    library, extra = LIBRARIES[scheme]
    try:
        module = import_module(library)
    except ImportError as error:
        then = [Next(Step.INSTALL_EXTRA, extra=extra)]
        raise StoreTrouble(f"{scheme}:// needs {library} ({error})", then=then) from error
    # What is listed once must not answer for what is there now.
    plain = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme == "s3":
        return module.S3FileSystem(config_kwargs={"connect_timeout": 10, "read_timeout": 60}, **plain)
    if scheme == "gs":
        return module.GCSFileSystem(**plain)
    return module.AzureBlobFileSystem(**plain)


class BucketStore:
    """An object of a bucket.

    Args:
        buckets: the process's file systems.
        place: scheme, bucket and key.
    """

    def __init__(self, buckets: Buckets, place: Destination) -> None:
        self._buckets = buckets
        self._place = place

    def begin(self, size: int | None) -> Draft:
        """Begin an upload in parts."""
        system = self._system()
        with _trouble_of_bucket(self.uri):
            before = None
            with contextlib.suppress(PermissionError):  # a key that may only write proves nothing
                before = self._info()
            if before is not None and before.get("type") == "directory":
                raise StoreTrouble(f"{self.uri} is a folder", then=[Next(Step.NAME_OBJECT)])
            # Larger objects need larger parts: their number is limited.
            part_size = max(PART_SIZE, -(-(size or 0) // PARTS_LIMIT))
            file = system.open(self._place.path, "wb", block_size=part_size)
        return _BucketDraft(self, file, None if before is None else _seen_in_bucket(before))

    def look(self) -> Seen | None:
        """What is there."""
        with _trouble_of_bucket(self.uri):
            found = self._info()
            return _seen_in_bucket(found) if found is not None and found.get("type") == "file" else None

    def hash(self, go_on: Callable[[], bool]) -> str | None:
        """The SHA-256 of what is there."""
        system = self._system()
        with (
            _trouble_of_bucket(self._place.uri),
            system.open(self._place.path, "rb", block_size=PART_SIZE, cache_type="readahead") as file,
        ):
            return _hash(file.read, go_on)

    def remove(self, mark: str) -> bool:
        """Remove it if it still has this mark."""
        seen = self.look()
        if seen is None or seen.mark != mark:
            return False
        with _trouble_of_bucket(self._place.uri):
            self._system().rm_file(self._place.path)
        return True

    def _system(self) -> Any:
        return self._buckets.file_system(self._place.scheme)

    def _info(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._system().info(self._place.path, refresh=True)
        except FileNotFoundError:
            return None
        return found

    @property
    def uri(self) -> str:
        """Where it is."""
        return self._place.uri


def _seen_in_bucket(found: dict[str, Any]) -> Seen:
    names = ("ETag", "etag", "generation", "LastModified", "last_modified", "mtime")  # each store has some of them
    return Seen(int(found["size"]), " ".join(str(found[name]) for name in names if found.get(name) is not None))


class _BucketDraft:
    """An upload in parts; fsspec would complete it whenever its file is closed, so that file is never left open."""

    def __init__(self, store: BucketStore, file: Any, before: Seen | None) -> None:
        self._store = store
        self._file = file
        self._before = before
        self._written = 0

    def write(self, data: bytes | bytearray) -> None:
        with _trouble_of_bucket(self._store.uri):
            self._file.write(data)
            self._written += len(data)

    def commit(self) -> Seen:
        try:
            with _trouble_of_bucket(self._store.uri):
                self._file.flush(force=True)  # the last one lets the object appear
        except StoreTrouble:
            # Perhaps only the answer was lost.
            seen = self._look()
            if seen is None or seen == self._before or seen.size != self._written:
                raise
        else:
            seen = self._look() or Seen(self._written, "")
        self._file.closed = True
        if seen.size != self._written:
            raise StoreTrouble(f"{self._store.uri}: {self._written} bytes were written, but {seen.size} are there")
        return seen

    def _look(self) -> Seen | None:
        try:
            return self._store.look()
        except StoreTrouble:  # a key that may only write
            return None

    def discard(self) -> None:
        try:
            with _trouble_of_bucket(self._store.uri):
                self._file.discard()
        finally:
            self._file.closed = True  # or its finaliser would complete what there is


@contextlib.contextmanager
def _trouble_of_bucket(where: str) -> Iterator[None]:
    try:
        yield
    except StoreTrouble:
        raise
    except FileNotFoundError as error:
        raise StoreTrouble(f"{where}: the bucket does not exist ({_words(error)})") from error
    except Exception as error:  # each library has errors of its own
        raise StoreTrouble(f"{where}: {_words(error)}") from error


def _words(error: Exception) -> str:
    text = " ".join((str(error) or type(error).__name__).split())
    return text[:300]
