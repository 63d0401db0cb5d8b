"""Archives in buckets, through obstore."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from typing import Any

from pulumi_snapshots.errors import Next, Step, pip_install
from pulumi_snapshots.storage.credentials import Access, NoCredentials, access
from pulumi_snapshots.storage.destination import EXTRA, LIBRARY, Destination
from pulumi_snapshots.storage.flow import Flow
from pulumi_snapshots.storage.store import Buffer, Draft, Held, Mark, Overtaken, Seen, Store, StoreTrouble, trouble

PART_SIZE = 5 * 1024 * 1024
"""Bytes of one part of an upload: the least that S3 and Google allow."""
PARTS_AT_ONCE = 3
"""Parts that are under way; each is in memory."""
PARTS_LIMIT = 9_000
"""Parts of one upload that are used; S3 and Google allow 10,000, Azure 50,000."""
CLIENT: dict[str, Any] = {
    "allow_http": True,  # for an endpoint that says so; the stores' own addresses have https
    "connect_timeout": timedelta(seconds=10),
    "read_timeout": timedelta(seconds=45),  # of silence, not of a request
    "timeout": timedelta(hours=1),
}
LONGEST_PART = timedelta(minutes=15)
"""The most time of a part of an upload, after which it is sent again: all parts of all transfers get through at 70 kB/s."""
SILENCE = 120.0
"""Seconds without progress of an upload after which the store is asked whether it still answers: the library cannot tell a
slow upload from a silent store."""
RETRIES: dict[str, Any] = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(seconds=0.25), "max_backoff": timedelta(seconds=10), "base": 2},
}
"""About 15 s, and less than the patience of a refresh."""
CLASSES = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}


class Buckets:
    """The buckets of a process, each opened once, with the credentials of its store's own environment.

    Args:
        client: options of the connections; `CLIENT` if not given.
        retries: how requests that fail are repeated; `RETRIES` if not given.
        environment: variables that are as if they were set so in the process's own environment.
    """

    def __init__(
        self,
        client: Mapping[str, Any] | None = None,
        retries: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._retries = retries
        self._environment = environment or {}
        self._opened: dict[tuple[str, str, bool], tuple[Any, Access]] = {}
        self._lock = threading.Lock()

    def bucket(self, scheme: str, name: str, *, uploads: bool = False) -> tuple[Any, Access]:
        """The library's store of a bucket, for parts of uploads or for everything else, and how it is reached.

        Raises:
            StoreTrouble: the library is missing, or finds no credentials.
        """
        with self._lock, trouble(f"{scheme}://{name}"):
            if (scheme, name, uploads) not in self._opened:
                try:
                    stores = import_module(f"{LIBRARY}.store")
                    found = access(scheme, {**os.environ, **self._environment})
                except ImportError as error:
                    then = [Next(Step.INSTALL_EXTRA, pip=pip_install(EXTRA))]
                    raise StoreTrouble(f"{scheme}:// needs {LIBRARY} ({error})", then=then) from error
                except NoCredentials as error:
                    raise StoreTrouble(f"{scheme}://{name}: {error.happened}", then=error.then) from error
                client, retries = dict(self._client or CLIENT), dict(self._retries or RETRIES)
                if uploads:
                    client["read_timeout"], retries["retry_timeout"] = LONGEST_PART, 8 * LONGEST_PART
                made = getattr(stores, CLASSES[scheme])(
                    name, client_options=client, retry_config=retries, **found.options
                )
                self._opened[scheme, name, uploads] = made, found
            return self._opened[scheme, name, uploads]


class BucketStore(Store):
    """An object of a bucket.

    Args:
        buckets: the process's.
        place: scheme, bucket and key.
    """

    def __init__(self, buckets: Buckets, place: Destination) -> None:
        super().__init__(place.uri)
        self._buckets = buckets
        self._scheme = place.scheme
        self._name, _, self._key = place.path.partition("/")

    def begin(self, size: int | None) -> Draft:
        """Begin an upload in parts."""
        bucket, _ = self._bucket()
        before = None
        with self.trouble(), contextlib.suppress(*_refusal()):  # a key that may only write proves nothing
            before = self._stat()
            if before is None and any(import_module(LIBRARY).list(bucket, f"{self._key}/", chunk_size=1)):
                raise StoreTrouble(f"{self.where} is a folder", then=[Next(Step.NAME_OBJECT)])
        # The number of parts is limited, so a larger object needs larger ones.
        part_size = max(PART_SIZE, -(-(size or 0) // PARTS_LIMIT))
        return _BucketDraft(self, part_size, before)

    def stat(self) -> Seen | None:
        """The object."""
        with self.trouble():
            return self._stat()

    def listing(self) -> dict[str, int]:
        """The objects below this place, or this one."""
        bucket, _ = self._bucket()
        with self.trouble():
            found = [each for page in import_module(LIBRARY).list(bucket, self._key or None) for each in page]
            one = self._stat() if self._key and not found else None
            if self._key and not found and one is None:
                raise StoreTrouble(f"{self.where} does not exist: nothing is stored there")
        start = f"{self._scheme}://{self._name}/"
        return {start + each["path"]: each["size"] for each in found} | ({self.where: one.size} if one else {})

    def load(self, most: int | None = None) -> Held | None:
        """The object with its content, which is empty if it has more than `most` bytes; None without one, or a bucket."""
        bucket, _ = self._bucket()
        with self.trouble():
            try:
                found = import_module(LIBRARY).get(bucket, self._key)
            except FileNotFoundError:
                return None
            content = b"" if most is not None and found.meta["size"] > most else bytes(found.bytes())
            return Held(content, Mark.of(found.meta), found.meta["last_modified"])

    def replace(self, content: bytes, mark: Mark | None) -> Mark:
        """Write the object if it still has this mark, or does not exist if there is no mark.

        Raises:
            Overtaken: it was not written: it has another mark.
            StoreTrouble: the store failed; the object may have been written all the same.
        """
        mode = "create" if mark is None else {name: value for name, value in vars(mark).items() if value is not None}
        return self._write(content, mode)

    def overwrite(self, content: bytes) -> Mark:
        """Write the object, whatever is there."""
        try:
            return self._write(content, "overwrite")
        except Overtaken as kept:  # it must stay as it is, by a rule of the bucket
            raise StoreTrouble(
                f"{self.where} cannot be overwritten", then=[Next(Step.ALLOW_OVERWRITING)]
            ) from kept.__cause__

    def _write(self, content: bytes, mode: Any) -> Mark:
        bucket, _ = self._bucket()
        exceptions = import_module(f"{LIBRARY}.exceptions")
        with self.trouble():
            try:
                written = import_module(LIBRARY).put(bucket, self._key, content, mode=mode, use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
                overtaken = error
            else:
                return Mark.of(written)
        raise Overtaken(self.where) from overtaken

    def put(self, blocks: Iterator[Buffer], part_size: int) -> None:
        """Write it in parts; if the blocks or the store fail, the unfinished upload is ended."""
        bucket, _ = self._buckets.bucket(self._scheme, self._name, uploads=True)
        import_module(LIBRARY).put(bucket, self._key, blocks, chunk_size=part_size, max_concurrency=PARTS_AT_ONCE)

    def check_alive(self) -> None:
        """Raise StoreTrouble if the store does not answer; a refusal is an answer too."""
        try:
            self.stat()
        except StoreTrouble as silence:
            if not silence.status:
                raise

    @contextlib.contextmanager
    def trouble(self) -> Iterator[None]:
        """Raise `StoreTrouble` for every error of the body, in few words."""
        with trouble(self.where):
            try:
                yield
            except (FileNotFoundError, import_module(f"{LIBRARY}.exceptions").BaseError) as error:
                _, found = self._bucket()
                words, missing = _words(error), isinstance(error, FileNotFoundError)
                what = f"the bucket or the object does not exist ({words})" if missing else words
                # Whatever it is: most often these are not the credentials, the region or the endpoint that were meant.
                text = f"{self.where}: {what} (credentials: {found.found})"
                failed = StoreTrouble(text, then=_steps(self._scheme, str(error)))
                # After a lost answer the library asks again, and the upload is over then.
                if (status := REFUSED.search(str(error))) and "NoSuchUpload" not in str(error):
                    failed.status = int(status[1])
                raise failed from error

    def _stat(self) -> Seen | None:
        bucket, _ = self._bucket()
        try:
            found = import_module(LIBRARY).head(bucket, self._key)
        except FileNotFoundError:
            return None
        version = found["version"] if self._scheme == "gs" else None
        words = (version, found["e_tag"], found["last_modified"])
        return Seen(found["size"], " ".join(str(word) for word in words if word is not None))

    def _pieces(self, size: int) -> Iterator[Buffer]:
        bucket, _ = self._bucket()
        with self.trouble():
            for start in range(0, size, PART_SIZE):  # a request for each, since the time-out is of a request
                end = min(start + PART_SIZE, size)
                yield import_module(LIBRARY).get_range(bucket, self._key, start=start, end=end)

    def _remove(self) -> None:
        bucket, _ = self._bucket()
        with self.trouble():
            import_module(LIBRARY).delete(bucket, self._key)

    def _bucket(self) -> tuple[Any, Access]:
        return self._buckets.bucket(self._scheme, self._name)


class _BucketDraft(Draft):
    """An upload in parts, which a thread of its own carries out."""

    def __init__(self, store: BucketStore, part_size: int, before: Seen | None) -> None:
        self._store = store
        self._before = before
        self._written = 0
        self._flow = Flow(lambda blocks: store.put(blocks, part_size), SILENCE, store.check_alive)

    def write(self, data: bytes | bytearray) -> None:
        with self._store.trouble():
            self._flow.push(data)
        self._written += len(data)

    def commit(self, sha256: str) -> Seen:
        try:
            with self._store.trouble():
                self._flow.finish()
        except StoreTrouble as trouble:
            # Perhaps only the answer was lost. Another writer's object may be as large, so the bytes prove it.
            seen = None if trouble.status else self._stat()
            if seen is None or seen == self._before or seen.size != self._written or not self._is_ours(sha256):
                raise
        else:
            seen = self._stat() or Seen(self._written, "")
        if seen.size != self._written:
            raise Overtaken(f"{self._store.where}: {self._written} bytes were written, but {seen.size} are there")
        return seen

    def _stat(self) -> Seen | None:
        with contextlib.suppress(StoreTrouble):  # a key that may only write
            return self._store.stat()
        return None

    def _is_ours(self, sha256: str) -> bool:
        with contextlib.suppress(StoreTrouble):
            return self._store.digest() == sha256
        return False

    def hurry(self) -> None:
        self._flow.hurry()

    def discard(self) -> None:
        with self._store.trouble():
            self._flow.stop()


def _refusal() -> tuple[type[Exception], ...]:
    """The library's errors of a key that may not do it."""
    exceptions = import_module(f"{LIBRARY}.exceptions")
    return exceptions.PermissionDeniedError, exceptions.UnauthenticatedError


REFUSED = re.compile(r"status code: (4\d\d)")
"""The status in the library's errors."""


REGION = (
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "IllegalLocationConstraint",
    "incorrectly configured region",
)
CLOCK = ("RequestTimeTooSkewed", "RequestExpired", "Request date header")
"""What a store says about something that is to be set right."""


def _steps(scheme: str, said: str) -> list[Next]:
    steps = {Step.SET_REGION: REGION if scheme == "s3" else (), Step.SET_CLOCK: CLOCK}
    return [Next(step) for step, marks in steps.items() if any(mark in said for mark in marks)]


def _words(error: Exception) -> str:
    """The library's error without addresses, whose queries may open the data, and without its inner structure."""
    text, _, inner = str(error).partition("\n\nDebug source")
    code, said = re.search(r"<Code>(.*?)</Code>", text), re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
    if code:
        lines = said[1].strip().splitlines() if said else []  # Azure's others are for its support
        return f"{code[1]}: {lines[0]}" if lines else code[1]
    if " credential provider: " in text:  # what boto3 or google-auth says
        text = text.rpartition(" credential provider: ")[2]
    words = " ".join(text.rpartition(" - ")[2].split()).removeprefix("Server returned non-2xx status code: ")
    words = words[:300].rstrip(": ")
    causes = re.findall(r'message: "([^"]*)"', inner)
    return f"{words} ({causes[-1]})" if causes and causes[-1] not in words else words
