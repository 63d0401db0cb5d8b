"""Archives in buckets, through fsspec."""

from __future__ import annotations

import contextlib
import threading
from importlib import import_module
from typing import IO, Any

from pulumi_snapshots.archive.destination import LIBRARIES, Destination
from pulumi_snapshots.archive.stores import Draft, Seen, Store, StoreTrouble, trouble
from pulumi_snapshots.errors.next_step import Next, Step

PART_SIZE = 6 * 1024 * 1024
"""Bytes of one part of an upload; it is in memory about three times while it is sent."""
PARTS_LIMIT = 9_000
"""Parts of one upload that are used; S3 allows 10,000."""


class Buckets:
    """The fsspec file systems of a process, each made once: one takes 20 MB and half a second."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    def file_system(self, scheme: str) -> Any:
        """The file system of a scheme, with the credentials of its own environment.

        Raises:
            StoreTrouble: its library is missing, or finds no credentials.
        """
        with self._lock, trouble(f"{scheme}://"):
            if scheme not in self._made:
                # A cached listing must not answer for the present.
                options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
                if scheme == "s3":
                    options["config_kwargs"] = {"connect_timeout": 10, "read_timeout": 60}
                try:
                    self._made[scheme] = import_module("fsspec").filesystem(scheme, **options)
                except ImportError as error:
                    library, extra = LIBRARIES[scheme]
                    then = [Next(Step.INSTALL_EXTRA, extra=extra)]
                    raise StoreTrouble(f"{scheme}:// needs {library} ({error})", then=then) from error
            return self._made[scheme]


class BucketStore(Store):
    """An object of a bucket.

    Args:
        buckets: the process's file systems.
        place: scheme, bucket and key.
    """

    def __init__(self, buckets: Buckets, place: Destination) -> None:
        super().__init__(place.uri)
        self._buckets = buckets
        self._place = place

    def begin(self, size: int | None) -> Draft:
        """Begin an upload in parts."""
        with trouble(self.where):
            before = None
            with contextlib.suppress(PermissionError):  # a key that may only write proves nothing
                before = self._info()
            if before is not None and before.get("type") == "directory":
                raise StoreTrouble(f"{self.where} is a folder", then=[Next(Step.NAME_OBJECT)])
            # The number of parts is limited, so a larger object needs larger ones.
            part_size = max(PART_SIZE, -(-(size or 0) // PARTS_LIMIT))
            file = self._system.open(self._place.path, "wb", block_size=part_size)
        return _BucketDraft(self, file, before and _seen(before))

    def stat(self) -> Seen | None:
        """The object."""
        with trouble(self.where):
            found = self._info()
        return _seen(found) if found and found.get("type") == "file" else None

    def _open(self) -> IO[bytes]:
        file: IO[bytes] = self._system.open(self._place.path, "rb", block_size=PART_SIZE, cache_type="readahead")
        return file

    def _remove(self) -> None:
        self._system.rm_file(self._place.path)

    def _info(self) -> Any:
        with contextlib.suppress(FileNotFoundError):
            return self._system.info(self._place.path, refresh=True)
        return None

    @property
    def _system(self) -> Any:
        return self._buckets.file_system(self._place.scheme)


def _seen(found: dict[str, Any]) -> Seen:
    names = ("ETag", "etag", "generation", "LastModified", "last_modified", "mtime")  # each store has some of them
    return Seen(int(found["size"]), " ".join(str(found[name]) for name in names if found.get(name) is not None))


class _BucketDraft(Draft):
    """An upload in parts. fsspec would complete it whenever its file is closed, so it is never left open."""

    def __init__(self, store: BucketStore, file: Any, before: Seen | None) -> None:
        self._store = store
        self._file = file
        self._before = before

    def write(self, data: bytes | bytearray) -> None:
        with trouble(self._store.where):
            self._file.write(data)

    def commit(self) -> Seen:
        written: int = self._file.tell()
        try:
            with trouble(self._store.where):
                self._file.flush(force=True)  # the last one lets the object appear
        except StoreTrouble:
            # Perhaps only the answer was lost.
            seen = self._stat()
            if seen is None or seen == self._before or seen.size != written:
                raise
        else:
            seen = self._stat() or Seen(written, "")
        self._file.closed = True
        if seen.size != written:
            raise StoreTrouble(f"{self._store.where}: {written} bytes were written, but {seen.size} are there")
        return seen

    def _stat(self) -> Seen | None:
        with contextlib.suppress(StoreTrouble):  # a key that may only write
            return self._store.stat()
        return None

    def discard(self) -> None:
        try:
            with trouble(self._store.where):
                self._file.discard()
        finally:
            self._file.closed = True  # or its finaliser would complete the upload
