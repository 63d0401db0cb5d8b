"""How an error reaches a Pulumi engine: a text that can be sent, and the status with the resource to keep."""

from __future__ import annotations

import os
import traceback
from typing import Any

from pulumi_snapshots.errors.pages import keep_last

DETAILS_HEADER = "grpc-status-details-bin"
"""The trailer in which gRPC carries a status with details."""


def debugging() -> bool:
    """Whether the user asked for tracebacks."""
    return os.environ.get("SQUARECLOUD_DEBUG", "").lower() in {"1", "true", "yes", "on"}


def debugged(text: str, cause: BaseException | None) -> str:
    """The text; with `SQUARECLOUD_DEBUG=1` followed by the traceback of its cause."""
    if cause is None or not debugging():
        return text
    return text + "\n" + "".join(traceback.format_exception(cause))


def listed(reason: str) -> str:
    """A reason as an item of the engine's list: its further lines are indented below the star of the first."""
    return reason.replace("\n", "\n\t  ")


def readable(text: str) -> str:
    """`text` without half surrogate pairs: they cannot be sent, and an error that cannot be sent ends no call."""
    return text.encode("utf-8", "replace").decode()


def final(text: str) -> str:
    """The text of an error that ends a call, as it can be sent; `explain --last` shows it again."""
    keep_last(text)
    return readable(text)


def status(code: int, text: str, detail: Any) -> bytes:
    """A google.rpc.Status with at most one detail, a protobuf message.

    It is written by hand: the generated class exists twice (in the SDK, and in googleapis-common-protos, which Google's
    own clients use), and a process that loads one of them can never load the other. The engine believes the detail only
    if `code` is that of the call.
    """
    message = b"\x08" + _varint(code) + _field(2, text.encode())
    if detail is None:
        return message
    type_url = f"type.googleapis.com/{detail.DESCRIPTOR.full_name}".encode()
    return message + _field(3, _field(1, type_url) + _field(2, detail.SerializeToString()))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits a byte
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
