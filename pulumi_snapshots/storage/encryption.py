"""Encryption with age: on the way into a store, and back with the private key, which nothing else here ever sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pulumi_snapshots.errors import Explained, not_installed
from pulumi_snapshots.properties.unfit import Unfit
from pulumi_snapshots.storage.flow import Flow, file_of
from pulumi_snapshots.storage.store import READ_SIZE, Buffer, Store

LIBRARY, EXTRA = "pyrage", "encrypt"
SUFFIX = ".age"
RECIPIENTS_LIMIT = 20
"""Each adds about 100 bytes to every object."""
PRIVATE = "AGE-SECRET-KEY-"


class NotDecrypted(Explained):
    """It was not decrypted; nothing was written."""

    def __init__(self, happened: str) -> None:
        super().__init__(happened, "Nothing was written.")


def recipients(given: object) -> list[str]:
    """Public keys of age; raises Unfit."""
    if not isinstance(given, list | tuple) or not 1 <= len(given) <= RECIPIENTS_LIMIT:
        raise Unfit(f"must be a list of 1 to {RECIPIENTS_LIMIT} public keys of age, which begin with age1")
    if any(PRIVATE in str(one).upper() for one in given):
        raise Unfit(
            "holds a private key: give the public one, which begins with age1, and change this one: it was seen"
        )
    if find_spec(LIBRARY) is None:
        raise Unfit(not_installed(LIBRARY, EXTRA))
    for one in given:
        try:
            _recipient(one)
        except Exception as error:  # noqa: BLE001  the library's own
            raise Unfit(f"must be public keys of age, which begin with age1 ({error})", one) from None
    return sorted(set(given))


def _recipient(one: str) -> Any:
    return import_module(LIBRARY).x25519.Recipient.from_str(one)


def encrypt(blocks: Iterator[Buffer], keys: Iterable[str], take: Callable[[bytes], None]) -> None:
    """Encrypt blocks for these public keys; `take` gets what is to be written. Plain bytes are in memory only."""
    to = [_recipient(one) for one in keys]
    _through(import_module(LIBRARY).encrypt_io, to, blocks, take)


class _Pipe:
    """The library's file: it reads the blocks, and what it writes is taken. It hides the error of either, which is kept here."""

    error: BaseException | None = None

    def __init__(self, blocks: Iterator[Buffer], take: Callable[[bytes], None]) -> None:
        self._blocks, self._take, self._waiting = file_of(blocks), take, bytearray()

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._noted(self._blocks.read, size)
        return data

    def write(self, data: bytes) -> int:
        self._waiting += data
        if len(self._waiting) >= READ_SIZE:
            self.end()
        return len(data)

    def flush(self) -> None:
        """The library flushes often: small blocks would cost more than they are worth."""

    def end(self) -> None:
        block, self._waiting = bytes(self._waiting), bytearray()
        self._noted(self._take, block)

    def _noted(self, call: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return call(argument)
        except BaseException as error:
            self.error = self.error or error  # the library may try again
            raise


def _through(work: Callable[..., None], keys: Any, blocks: Iterator[Buffer], take: Callable[[bytes], None]) -> None:
    """Let the library read the blocks and write to `take`; an error of either stays what it is."""
    pipe = _Pipe(blocks, take)
    try:
        work(pipe, pipe, keys)
        pipe.end()
    except BaseException:
        if pipe.error is not None:
            raise pipe.error from None
        raise


def identities(file: Path) -> list[Any]:
    """The private keys of a file, as `age-keygen` writes it; raises `NotDecrypted`."""
    try:
        lines = file.read_text().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text; if it is itself encrypted, decrypt it with age first"
        raise NotDecrypted(f"the identity file {file} cannot be read: {why}") from None
    try:
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        found = [import_module(LIBRARY).x25519.Identity.from_str(key) for key in keys]
    except ImportError as error:
        raise NotDecrypted(f"decrypting {not_installed(LIBRARY, EXTRA)} ({error})") from error
    except Exception:  # noqa: BLE001  the library's own, whose text may show the key
        found = []
    if not found:
        raise NotDecrypted(f"the file {file} is no identity file of age: its lines must begin with {PRIVATE}")
    return found


def opened(
    source: Store,
    write: Callable[[Iterator[Buffer]], object],
    keys: list[Any] | None,
    *,
    name: str,
    stopping: Callable[[], bool] = lambda: False,
) -> tuple[int, str]:
    """Let `write` take what an object holds, decrypted unless `keys` is None, and fail if it is not whole or is `stopping`.

    Returns the bytes and their SHA-256; raises `NotDecrypted`, which calls the object by `name`, or `StoreTrouble`.
    """
    hasher, size, writing = sha256(), 0, Flow(write)

    def take(data: Buffer) -> None:
        nonlocal size
        if stopping():
            raise NotDecrypted(f"{name} was not decrypted: it was interrupted")
        hasher.update(data)
        size += len(data)
        writing.push(data)

    try:
        if keys is None:
            for piece in source.read():
                take(piece)
        else:
            _decrypt(source.read(), keys, take, name)
        writing.finish()
    except BaseException:
        writing.stop()
        raise
    return size, hasher.hexdigest()


def _decrypt(blocks: Iterator[Buffer], keys: list[Any], take: Callable[[bytes], None], name: str) -> None:
    try:
        _through(import_module(LIBRARY).decrypt_io, keys, blocks, take)
    except (import_module(LIBRARY).DecryptError, OSError) as error:  # errors of the stores are StoreTrouble
        if str(error).startswith("No matching keys"):
            raise NotDecrypted(f"{name} is encrypted for other recipients than the identity file's keys") from None
        raise NotDecrypted(f"{name} is not encrypted with age, or was altered or cut short: {error}") from None
