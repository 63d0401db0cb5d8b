"""Archives in buckets, through obstore."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import cache
from importlib import import_module
from typing import Any

from pulumi_snapshots.errors import Next, Step, pip_install
from pulumi_snapshots.storage.credentials import access
from pulumi_snapshots.storage.destination import EXTRA, LIBRARY, Destination
from pulumi_snapshots.storage.store import Buffer, Held, Mark, Overtaken, Seen, Store, StoreTrouble, trouble

PART_SIZE = 8 * 1024 * 1024
"""Bytes of one part of an upload: S3 and Google allow 10,000 of them, so an object has 80 GB at most."""
PARTS_AT_ONCE = 3
"""Parts that are under way; each is in memory."""
CLIENT: dict[str, Any] = {
    "allow_http": True,  # for an endpoint that says so; the stores' own addresses have https
    "connect_timeout": timedelta(seconds=10),
    "read_timeout": timedelta(seconds=45),  # of silence, not of a request
    "timeout": timedelta(hours=1),
}
LONGEST_PART = timedelta(minutes=15)
"""The most time of a part of an upload, after which it is sent again: all parts of all transfers get through at 115 kB/s."""
RETRIES: dict[str, Any] = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(seconds=0.25), "max_backoff": timedelta(seconds=10), "base": 2},
}
"""About 15 s, and less than the patience of a refresh."""
REFUSED = re.compile(r"status code: (4\d\d)")
"""The status in the library's errors."""
SET_RIGHT = {
    Step.SET_REGION: r"^s3:.*(AuthorizationHeaderMalformed|PermanentRedirect|IllegalLocationConstraint|configured region)",
    Step.SET_CLOCK: "RequestTimeTooSkewed|RequestExpired|Request date header",
}
"""What a store says about something that is to be set right, after the address."""
CLASSES = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}


class Buckets:
    """The buckets of a process, each opened once, with the credentials of the environment and of further variables."""

    def __init__(
        self,
        client: Mapping[str, Any] | None = None,
        retries: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._client, self._retries, self._environment = client, retries, environment or {}
        self.bucket: Callable[..., tuple[Any, str]] = cache(self._open)

    def _open(self, scheme: str, name: str, *, uploads: bool = False) -> tuple[Any, str]:
        """The library's store, for parts of uploads or for everything else, and its credentials in words; raises `StoreTrouble`."""
        with trouble(f"{scheme}://{name}"):
            try:
                store = getattr(import_module(f"{LIBRARY}.store"), CLASSES[scheme])
                found, options = access(scheme, {**os.environ, **self._environment})
            except ImportError as error:
                then = [Next(Step.INSTALL_EXTRA, pip=pip_install(EXTRA))]
                raise StoreTrouble(f"{scheme}:// needs {LIBRARY} ({error})", then=then) from error
            client, retries = dict(self._client or CLIENT), dict(self._retries or RETRIES)
            if uploads:
                client["read_timeout"], retries["retry_timeout"] = LONGEST_PART, 8 * LONGEST_PART
            return store(name, client_options=client, retry_config=retries, **options), found


class BucketStore(Store):
    """An object of a bucket."""

    def __init__(self, buckets: Buckets, place: Destination) -> None:
        super().__init__(place.uri)
        self._buckets = buckets
        self._scheme = place.scheme
        self._name, _, self._key = place.path.partition("/")

    def write(self, blocks: Iterator[Buffer]) -> Seen | None:
        """Let it appear once the blocks end, or end the unfinished upload; None if the key may not read it."""
        if self._is_folder():
            raise StoreTrouble(f"{self.where} is a folder", then=[Step.NAME_OBJECT])
        with self._reached(uploads=True) as (library, bucket):
            library.put(bucket, self._key, blocks, chunk_size=PART_SIZE, max_concurrency=PARTS_AT_ONCE)
        with contextlib.suppress(StoreTrouble):
            return self.stat()
        return None

    def stat(self) -> Seen | None:
        """The object."""
        with self._reached() as (library, bucket), contextlib.suppress(FileNotFoundError):
            found = library.head(bucket, self._key)
            version = found["version"] if self._scheme == "gs" else None
            words = (version, found["e_tag"], found["last_modified"])
            return Seen(found["size"], " ".join(str(word) for word in words if word is not None))
        return None

    def load(self, most: int | None = None) -> Held | None:
        """The object with its content, which is empty if it has more than `most` bytes; None without one, or a bucket."""
        with self._reached() as (library, bucket), contextlib.suppress(FileNotFoundError):
            found = library.get(bucket, self._key)
            content = b"" if most is not None and found.meta["size"] > most else bytes(found.bytes())
            return Held(content, _mark(found.meta))
        return None

    def replace(self, content: bytes, mark: Mark | None) -> Mark:
        """Write the object if it still has this mark, or does not exist without one, else raise `Overtaken`; trouble proves nothing."""
        return self._put(content, "create" if mark is None else mark)

    def overwrite(self, content: bytes) -> Mark:
        """Write the object, whatever is there."""
        try:
            return self._put(content, "overwrite")
        except Overtaken as kept:  # it must stay as it is, by a rule of the bucket
            raise StoreTrouble(f"{self.where} cannot be overwritten", then=[Step.ALLOW_OVERWRITING]) from kept.__cause__

    def listing(self) -> dict[str, int]:
        """The objects below this place, or this one."""
        with self._reached() as (library, bucket):
            every = [each for page in library.list(bucket, self._key or None) for each in page]
        if self._key and not every:
            if (one := self.stat()) is None:
                raise StoreTrouble(f"{self.where} does not exist: nothing is stored there", then=[Step.CHECK_PLACE])
            return {str(self.where): one.size}
        return {f"{self._scheme}://{self._name}/{each['path']}": each["size"] for each in every}

    def _is_folder(self) -> bool:
        """Whether only names that begin with this one and a slash exist; a key that may only write proves nothing."""
        try:
            with self._reached() as (library, bucket):
                return self.stat() is None and any(library.list(bucket, f"{self._key}/", chunk_size=1))
        except StoreTrouble as refusal:
            if refusal.forbidden:
                return False
            raise

    def _put(self, content: bytes, mode: Any) -> Mark:
        with self._reached() as (library, bucket):
            try:
                return _mark(library.put(bucket, self._key, content, mode=mode, use_multipart=False))
            except (library.exceptions.AlreadyExistsError, library.exceptions.PreconditionError) as error:
                raise Overtaken(self.where) from error

    def _pieces(self, size: int) -> Iterator[Buffer]:
        with self._reached() as (library, bucket):
            for start in range(0, size, PART_SIZE):  # a request for each, since the time-out is of a request
                yield library.get_range(bucket, self._key, start=start, end=min(start + PART_SIZE, size))

    def _remove(self) -> None:
        with self._reached() as (library, bucket):
            library.delete(bucket, self._key)

    @contextlib.contextmanager
    def _reached(self, *, uploads: bool = False) -> Iterator[tuple[Any, Any]]:
        """The library, and its store; raises `StoreTrouble` for every error of the body, in few words."""
        with trouble(self.where):
            bucket, credentials = self._buckets.bucket(self._scheme, self._name, uploads=uploads)
            library = import_module(LIBRARY)
            try:
                yield library, bucket
            except (FileNotFoundError, library.exceptions.BaseError) as error:
                words, said = _words(error), str(error)
                what = f"the bucket or the object does not exist ({words})" * isinstance(error, FileNotFoundError)
                # Whatever it is: most often these are not the credentials, the region or the endpoint that were meant.
                then = [step for step, sign in SET_RIGHT.items() if re.search(sign, f"{self.where} {said}", re.DOTALL)]
                failed = StoreTrouble(f"{self.where}: {what or words} (credentials: {credentials})", then=then)
                # After a lost answer the library asks again, and the upload is over then.
                if (status := REFUSED.search(said)) and "NoSuchUpload" not in said:
                    failed.status = int(status[1])
                raise failed from error


def _mark(facts: Mapping[str, Any]) -> Mark:
    """The mark in what the library says of an object, or of a write."""
    return {name: facts[name] for name in ("e_tag", "version") if facts.get(name) is not None}


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
