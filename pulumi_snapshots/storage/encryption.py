"""Encryption with age: on the way into a store, and back with the private key, which nothing else here ever sees."""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pulumi_snapshots.errors import Explained, not_installed
from pulumi_snapshots.errors.secrets import shown_file
from pulumi_snapshots.properties.checks import Unfit
from pulumi_snapshots.storage.flow import Flow, file_of
from pulumi_snapshots.storage.store import READ_SIZE, Buffer

LIBRARY, EXTRA = "pyrage", "encrypt"
SUFFIX = ".age"
PRIVATE = "AGE-SECRET-KEY-"


class NotDecrypted(Explained):
    """It was not decrypted; nothing was written."""

    def __init__(self, happened: str) -> None:
        super().__init__(happened, "Nothing was written.")


def recipients(given: object) -> list[str]:
    """Public keys of age; raises Unfit."""
    if not isinstance(given, list | tuple) or not given:
        raise Unfit("must be a list of public keys of age, which begin with age1")
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
            raise Unfit(
                f"must be public keys of age, which begin with age1 ({error})", one
            ) from None
    return sorted(set(given))


def _recipient(one: str) -> Any:
    return import_module(LIBRARY).x25519.Recipient.from_str(one)


def encrypt(blocks: Iterator[Buffer], keys: Iterable[str], take: Callable[[bytes], None]) -> None:
    """Encrypt blocks for these public keys; `take` gets what is to be written. Plain bytes are in memory only."""
    to = [_recipient(one) for one in keys]
    _through(import_module(LIBRARY).encrypt_io, to, blocks, take)


def _through(
    work: Callable[..., None], keys: Any, blocks: Iterator[Buffer], take: Callable[[bytes], None]
) -> None:
    """Let the library read the blocks and write to `take`; it hides their errors and may try again, so the first one is kept."""
    errors: list[BaseException] = []
    file, waiting = file_of(blocks), bytearray()

    def noted(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def called(argument: Any) -> Any:
            try:
                return call(argument)
            except BaseException as error:
                errors.append(error)
                raise

        return called

    def write(data: bytes) -> int:
        waiting.extend(data)
        if len(waiting) >= READ_SIZE:  # small blocks would cost more than they are worth
            end()
        return len(data)

    def end() -> None:
        block = bytes(waiting)
        waiting.clear()
        take(block)

    pipe = SimpleNamespace(read=noted(file.read), write=noted(write), flush=lambda: None)
    try:
        work(pipe, pipe, keys)
        end()
    except BaseException:
        if errors:
            raise errors[0] from None
        raise


def identities(file: Path) -> list[Any]:
    """The private keys of a file, as `age-keygen` writes it; raises `NotDecrypted`."""
    try:
        lines = file.read_text().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = (
            getattr(error, "strerror", None)
            or "it is no text; if it is itself encrypted, decrypt it with age first"
        )
        raise NotDecrypted(f"the identity file {shown_file(file)} cannot be read: {why}") from None
    try:
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        found = [import_module(LIBRARY).x25519.Identity.from_str(key) for key in keys]
    except ImportError as error:
        raise NotDecrypted(f"decrypting {not_installed(LIBRARY, EXTRA)} ({error})") from error
    except Exception:  # noqa: BLE001  the library's own, whose text may show the key
        found = []
    if not found:
        raise NotDecrypted(
            f"the file {shown_file(file)} is no identity file of age: its lines must begin with "
            f"{PRIVATE}"
        )
    return found


def opened(
    blocks: Iterator[Buffer],
    write: Callable[[Iterator[Buffer]], object],
    keys: list[Any] | None,
    *,
    name: str,
    stopping: Callable[[], bool] = lambda: False,
) -> tuple[int, str]:
    """Let `write` take the blocks of an object, decrypted unless `keys` is None, and fail if it is not whole or is `stopping`.

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
            for block in blocks:
                take(block)
        else:
            try:
                _through(import_module(LIBRARY).decrypt_io, keys, blocks, take)
            except (
                import_module(LIBRARY).DecryptError,
                OSError,
            ) as error:  # errors of the stores are StoreTrouble
                if str(error).startswith("No matching keys"):
                    why = "is encrypted for other recipients than the identity file's keys"
                else:
                    why = f"is not encrypted with age, or was altered or cut short: {error}"
                raise NotDecrypted(f"{name} {why}") from None
        writing.finish()
    except BaseException:
        writing.stop()
        raise
    return size, hasher.hexdigest()
