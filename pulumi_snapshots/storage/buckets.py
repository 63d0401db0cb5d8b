"""Objects in buckets, through obstore."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import cache
from importlib import import_module
from typing import Any

from pulumi_snapshots.errors import Hint, HintKind, pip_install
from pulumi_snapshots.storage.credentials import access
from pulumi_snapshots.storage.destination import (
    EXTRA,
    LIBRARY,
    Destination,
)
from pulumi_snapshots.storage.store import (
    Buffer,
    Mark,
    ObjectStat,
    Overtaken,
    Store,
    StoredContent,
    StoreTrouble,
    store_trouble,
)

PART_SIZE = 8 * 1024 * 1024
"""Bytes of one part of an upload.

S3 and Google allow 10,000 parts, so an object has 80 GB at most.
"""
PARTS_AT_ONCE = 3  # parts that are under way; each is in memory
CLIENT: dict[str, Any] = {
    "allow_http": True,  # for an endpoint that says so; the stores' own addresses have https
    "connect_timeout": timedelta(seconds=10),
    "read_timeout": timedelta(seconds=45),  # of silence, not of a request
    "timeout": timedelta(hours=1),
}
LONGEST_PART = timedelta(minutes=15)
"""The most time of a part of an upload, after which it is sent again.

All parts of all transfers get through at 115 kB/s.
"""
RETRIES: dict[str, Any] = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {
        "init_backoff": timedelta(seconds=0.25),
        "max_backoff": timedelta(seconds=10),
        "base": 2,
    },
}
"""About 15 s, and less than the patience of a refresh."""
# the status in the library's errors
REFUSED_STATUS = re.compile(r"status code: (4\d\d)")
SET_RIGHT = {
    HintKind.SET_REGION: (
        r"^s3:.*(AuthorizationHeaderMalformed|PermanentRedirect|IllegalLocationConstraint"
        r"|configured region)"
    ),
    HintKind.SET_CLOCK: "RequestTimeTooSkewed|RequestExpired|Request date header",
}
"""The step that helps, by what a store says after the object's address."""
CLASSES = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}


class Buckets:
    """The buckets of a process, each opened once, with the credentials of the environment.

    Args:
        client: the library's options of requests; None for `CLIENT`.
        retries: the library's options of retries; None for `RETRIES`.
        environment: variables in addition to those of the process.
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
        self.bucket: Callable[..., tuple[Any, str]] = cache(self._open)

    def _open(
        self, scheme: str, name: str, *, uploads: bool = False
    ) -> tuple[Any, str]:
        """Open a bucket, for parts of uploads or for everything else; raises `StoreTrouble`.

        Returns the library's store, and its credentials in words.
        """
        with store_trouble(f"{scheme}://{name}"):
            try:
                store = getattr(import_module(f"{LIBRARY}.store"), CLASSES[scheme])
                credentials, options = access(
                    scheme, {**os.environ, **self._environment}
                )
            except ImportError as error:
                happened = f"{scheme}:// needs {LIBRARY} ({error})"
                then = [Hint(HintKind.INSTALL_EXTRA, pip=pip_install(EXTRA))]
                raise StoreTrouble(happened, then=then) from error
            client = dict(self._client or CLIENT)
            retries = dict(self._retries or RETRIES)
            if uploads:
                client["read_timeout"] = LONGEST_PART
                retries["retry_timeout"] = 8 * LONGEST_PART
            bucket = store(name, client_options=client, retry_config=retries, **options)
            return bucket, credentials


class BucketStore(Store):
    """An object of a bucket."""

    def __init__(self, buckets: Buckets, place: Destination) -> None:
        super().__init__(place.uri)
        self._buckets = buckets
        self._scheme = place.scheme
        self._name, _, self._key = place.path.partition("/")

    def write(self, blocks: Iterator[Buffer]) -> ObjectStat | None:
        """Let the object appear once the blocks end, or end the unfinished upload.

        Args:
            blocks: the bytes of the object.

        Returns:
            The object; None if the key may not read it.
        """
        if self._is_folder():
            raise StoreTrouble(f"{self.where} is a folder", then=[HintKind.NAME_OBJECT])
        with self._reached(uploads=True) as (library, bucket):
            library.put(
                bucket,
                self._key,
                blocks,
                chunk_size=PART_SIZE,
                max_concurrency=PARTS_AT_ONCE,
            )
        with contextlib.suppress(StoreTrouble):
            return self.stat()
        return None

    def stat(self) -> ObjectStat | None:
        """Return the object's size and mark; None only if it certainly does not exist."""
        with (
            self._reached() as (library, bucket),
            contextlib.suppress(FileNotFoundError),
        ):
            facts = library.head(bucket, self._key)
            version = facts["version"] if self._scheme == "gs" else None
            words = (version, facts["e_tag"], facts["last_modified"])
            return ObjectStat(
                facts["size"],
                " ".join(str(word) for word in words if word is not None),
            )
        return None

    def load(self, most: int | None = None) -> StoredContent | None:
        """Read the object whole.

        Args:
            most: the most bytes that are read; None for no limit.

        Returns:
            The object, without content if it has more bytes; None if there is no such object or
            bucket.
        """
        with (
            self._reached() as (library, bucket),
            contextlib.suppress(FileNotFoundError),
        ):
            response = library.get(bucket, self._key)
            is_larger = most is not None and response.meta["size"] > most
            content = b"" if is_larger else bytes(response.bytes())
            return StoredContent(content, _mark(response.meta))
        return None

    def replace(self, content: bytes, mark: Mark | None) -> Mark:
        """Write the object if it is unchanged.

        Args:
            content: the bytes.
            mark: the mark of the object when it was read; None if there was none.

        Returns:
            The mark of the object.

        Raises:
            Overtaken: the object has another mark.
            StoreTrouble: nothing shows whether the object was written.
        """
        return self._put(content, "create" if mark is None else mark)

    def overwrite(self, content: bytes) -> Mark:
        """Write the object whether or not it exists.

        Args:
            content: the bytes.

        Returns:
            The object's mark.
        """
        try:
            return self._put(content, "overwrite")
        except Overtaken as refusal:  # by a rule of the bucket, such as a legal hold
            happened = f"{self.where} cannot be overwritten"
            then = [HintKind.ALLOW_OVERWRITING]
            raise StoreTrouble(happened, then=then) from refusal.__cause__

    def listing(self) -> dict[str, int]:
        """List the objects below this place, or this object.

        Returns:
            The bytes of each object by its URI.
        """
        with self._reached() as (library, bucket):
            sizes = {
                f"{self._scheme}://{self._name}/{each['path']}": each["size"]
                for page in library.list(bucket, self._key or None)
                for each in page
            }
        if self._key and not sizes:
            stat = self.stat()
            if stat is None:
                happened = f"{self.where} does not exist: nothing is stored there"
                raise StoreTrouble(happened, then=[HintKind.CHECK_PLACE])
            sizes[str(self.where)] = stat.size
        return sizes

    def _is_folder(self) -> bool:
        """Tell whether no object has this name, and some object's name continues it with a slash.

        A key that may only write proves nothing.
        """
        try:
            with self._reached() as (library, bucket):
                return self.stat() is None and any(
                    library.list(bucket, f"{self._key}/", chunk_size=1)
                )
        except StoreTrouble as refusal:
            if refusal.forbidden:
                return False
            raise

    def _put(self, content: bytes, mode: Any) -> Mark:
        with self._reached() as (library, bucket):
            try:
                return _mark(
                    library.put(
                        bucket,
                        self._key,
                        content,
                        mode=mode,
                        use_multipart=False,
                    )
                )
            except (
                library.exceptions.AlreadyExistsError,
                library.exceptions.PreconditionError,
            ) as error:
                raise Overtaken(self.where) from error

    def _pieces(self, size: int) -> Iterator[Buffer]:
        with self._reached() as (library, bucket):
            # A request for each part, since the time-out is that of a request.
            for start in range(0, size, PART_SIZE):
                end = min(start + PART_SIZE, size)
                yield library.get_range(bucket, self._key, start=start, end=end)

    def _remove(self) -> None:
        with self._reached() as (library, bucket):
            library.delete(bucket, self._key)

    @contextlib.contextmanager
    def _reached(self, *, uploads: bool = False) -> Iterator[tuple[Any, Any]]:
        """Give the body the library and its store.

        Raises `StoreTrouble` for every error of the body, in few words.
        """
        with store_trouble(self.where):
            bucket, credentials = self._buckets.bucket(
                self._scheme, self._name, uploads=uploads
            )
            library = import_module(LIBRARY)
            try:
                yield library, bucket
            except (
                FileNotFoundError,
                library.exceptions.BaseError,
            ) as error:
                raise self._trouble(error, credentials) from error

    def _trouble(self, error: Exception, credentials: str) -> StoreTrouble:
        """Make the error that a user reads of an error of the library.

        The text names the credentials: often they, the region or the endpoint are not the intended
        ones.
        """
        text = str(error)
        problem = _words(error)
        if isinstance(error, FileNotFoundError):
            problem = f"the bucket or the object does not exist ({problem})"
        placed = f"{self.where} {text}"
        then = [
            step
            for step, sign in SET_RIGHT.items()
            if re.search(sign, placed, re.DOTALL)
        ]
        happened = f"{self.where}: {problem} (credentials: {credentials})"
        failed = StoreTrouble(happened, then=then)
        status = REFUSED_STATUS.search(text)
        # After a lost answer the library sends the request again, when the upload may be over.
        if status and "NoSuchUpload" not in text:
            failed.status = int(status[1])
        return failed


def _mark(facts: Mapping[str, Any]) -> Mark:
    """Take the mark out of the library's description of an object, or of a write."""
    names = ("e_tag", "version")
    return {name: facts[name] for name in names if facts.get(name) is not None}


def _words(error: Exception) -> str:
    """Shorten the library's error, without addresses, whose queries may open the data."""
    text, _, inner = str(error).partition("\n\nDebug source")
    code = re.search(r"<Code>(.*?)</Code>", text)
    message = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
    if code:
        # Azure's further lines are for its support.
        lines = message[1].strip().splitlines() if message else []
        return f"{code[1]}: {lines[0]}" if lines else code[1]
    if " credential provider: " in text:  # what boto3 or google-auth says
        text = text.rpartition(" credential provider: ")[2]
    words = " ".join(text.rpartition(" - ")[2].split()).removeprefix(
        "Server returned non-2xx status code: "
    )
    words = words[:300].rstrip(": ")
    causes = re.findall(r'message: "([^"]*)"', inner)
    return f"{words} ({causes[-1]})" if causes and causes[-1] not in words else words
