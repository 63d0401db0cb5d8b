"""Encryption with age: on the way into a store, and back with the private key.

No other module sees a private key.
"""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pulumi_snapshots.errors import HintKind, ProviderError, not_installed
from pulumi_snapshots.errors.secrets import shortened, shown_file
from pulumi_snapshots.properties.checks import Unfit
from pulumi_snapshots.storage.flow import Flow, file_of
from pulumi_snapshots.storage.store import READ_SIZE, Buffer

AGE_LIBRARY = "pyrage"
AGE_EXTRA = "encrypt"
"""The extra of this package that brings the library."""
AGE_SUFFIX = ".age"
PRIVATE = "AGE-SECRET-KEY-"
"""The beginning of a private key."""


class NotDecrypted(ProviderError):
    """An object was not decrypted; nothing was written."""

    def __init__(self, happened: str, then: Iterable[HintKind] = ()) -> None:
        super().__init__(happened, "Nothing was written.", then)


def recipients(given: object) -> list[str]:
    """Read public keys of age.

    Args:
        given: the value that a program gave.

    Returns:
        The keys, each once, sorted.

    Raises:
        Unfit: the value holds something else than public keys, or the library is missing.
    """
    if not isinstance(given, list | tuple) or not given:
        raise Unfit("must be a list of public keys of age, which begin with age1")
    if any(PRIVATE in str(key).upper() for key in given):
        raise Unfit(
            "holds a private key: give the public key, which begins with age1, and "
            "make a new pair of keys: this private key was seen"
        )
    if find_spec(AGE_LIBRARY) is None:
        raise Unfit(not_installed(AGE_LIBRARY, AGE_EXTRA))
    for key in given:
        try:
            _recipient(key)
        except Exception as error:  # noqa: BLE001  the library's own
            reason = f"must be public keys of age, which begin with age1 ({error})"
            raise Unfit(reason, key) from None
    return sorted(set(given))


def _recipient(key: str) -> Any:
    return import_module(AGE_LIBRARY).x25519.Recipient.from_str(key)


def encrypt(
    blocks: Iterator[Buffer],
    keys: Iterable[str],
    take: Callable[[bytes], None],
) -> None:
    """Encrypt blocks. Plain bytes are in memory only.

    Args:
        blocks: the plain bytes.
        keys: public keys, each of which can decrypt.
        take: gets the encrypted bytes.
    """
    encrypt_io = import_module(AGE_LIBRARY).encrypt_io
    _convert(encrypt_io, [_recipient(key) for key in keys], blocks, take)


def _convert(
    convert: Callable[..., None],
    keys: Any,
    blocks: Iterator[Buffer],
    take: Callable[[bytes], None],
) -> None:
    """Let a function of the library read the blocks, and give what it writes to `take`.

    The library hides the errors of both and may try again, so the first error is kept.
    """
    errors: list[BaseException] = []
    file = file_of(blocks)
    waiting = bytearray()

    def keeping_errors(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def called(argument: Any) -> Any:
            try:
                return call(argument)
            except BaseException as error:
                errors.append(error)
                raise

        return called

    def write(data: bytes) -> int:
        waiting.extend(data)
        if len(waiting) >= READ_SIZE:  # handing over small blocks would take too long
            flush()
        return len(data)

    def flush() -> None:
        block = bytes(waiting)
        waiting.clear()
        take(block)

    pipe = SimpleNamespace(
        read=keeping_errors(file.read),
        write=keeping_errors(write),
        flush=lambda: None,
    )
    try:
        convert(pipe, pipe, keys)
        flush()
    except BaseException:
        if errors:
            raise errors[0] from None
        raise


def identities(file: Path) -> list[Any]:
    """Read the private keys of a file, as `age-keygen` writes it.

    Args:
        file: the path of the file.

    Returns:
        The private keys.

    Raises:
        NotDecrypted: the file holds no private key.
    """
    try:
        lines = file.read_text().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from None
    try:
        keys = [
            line.strip() for line in lines if line.strip() and not line.startswith("#")
        ]
        private_keys = [
            import_module(AGE_LIBRARY).x25519.Identity.from_str(key) for key in keys
        ]
    except ImportError as error:
        raise NotDecrypted(
            f"decrypting {not_installed(AGE_LIBRARY, AGE_EXTRA)} ({error})"
        ) from error
    except Exception:  # noqa: BLE001  the library's own, whose text may show the key
        private_keys = []
    if not private_keys:
        raise NotDecrypted(
            f"the file {shown_file(file)} is no identity file of age: its lines must begin with "
            f"{PRIVATE}"
        )
    return private_keys


def _unreadable(file: Path, error: OSError | UnicodeDecodeError) -> NotDecrypted:
    """Make the error of an identity file that cannot be read."""
    reason = (
        getattr(error, "strerror", None)
        or "it is not a text file; if it is encrypted, decrypt it with age first"
    )
    # A bare word that names no file is as likely the password of the key.
    is_bare = not file.exists() and file.name == str(file) and not file.suffix
    name = shortened(file.name) if is_bare else shown_file(file)
    happened = f"the identity file {name} cannot be read: {reason}"
    return NotDecrypted(happened, then=[HintKind.NAME_IDENTITY])


def decrypt_object(
    blocks: Iterator[Buffer],
    write: Callable[[Iterator[Buffer]], object],
    keys: list[Any],
    *,
    name: str,
    stopping: Callable[[], bool] = lambda: False,
) -> tuple[int, str]:
    """Decrypt an object, whole or not at all.

    Args:
        blocks: the encrypted bytes.
        write: takes the plain bytes, and lets them appear once they end.
        keys: private keys, one of which opens the object.
        name: the object's, for errors.
        stopping: whether the user wants to stop.

    Returns:
        How many plain bytes there are, and their SHA-256, hexadecimal.

    Raises:
        NotDecrypted: the object is not encrypted with age, is not whole, is for other keys, or was
            stopped.
        StoreTrouble: the object could not be read or written.
    """
    hasher = sha256()
    size = 0
    writing = Flow(write)

    def take(data: Buffer) -> None:
        nonlocal size
        if stopping():
            raise NotDecrypted(f"{name} was not decrypted: it was interrupted")
        hasher.update(data)
        size += len(data)
        writing.push(data)

    try:
        _decrypt_to(take, blocks, keys, name)
        writing.finish()
    except BaseException:
        writing.stop()
        raise
    return size, hasher.hexdigest()


def _decrypt_to(
    take: Callable[[Buffer], None],
    blocks: Iterator[Buffer],
    keys: list[Any],
    name: str,
) -> None:
    """Give the plain bytes to `take`; raises `NotDecrypted` for the library's errors."""
    library = import_module(AGE_LIBRARY)
    try:
        _convert(library.decrypt_io, keys, blocks, take)
    except (library.DecryptError, OSError) as error:  # stores raise StoreTrouble
        reason = f"is not encrypted with age, or was altered or cut short: {error}"
        if str(error).startswith("No matching keys"):
            reason = "is encrypted for other recipients than the identity file's keys"
        raise NotDecrypted(f"{name} {reason}") from None
