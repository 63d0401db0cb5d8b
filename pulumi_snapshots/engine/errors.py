"""The text of an error, as it can be sent to a Pulumi engine."""

import os
import traceback

from pulumi_snapshots.errors.pages import keep_last


def debugging() -> bool:
    """Whether the user asked for tracebacks."""
    return os.environ.get("SQUARECLOUD_DEBUG", "").lower() in {"1", "true", "yes", "on"}


def debugged(text: str, cause: BaseException | None) -> str:
    """The text; with `SQUARECLOUD_DEBUG=1` followed by the traceback of its cause."""
    if cause is None or not debugging():
        return text
    return text + "\n" + "".join(traceback.format_exception(cause))


def readable(text: str) -> str:
    """`text` without half surrogate pairs: they cannot be sent, and an error that cannot be sent ends no call."""
    return text.encode("utf-8", "replace").decode()


def final(text: str, cause: BaseException | None = None) -> str:
    """The text of an error that ends a call, as it can be sent; `explain --last` shows it again."""
    text = debugged(text, cause)
    keep_last(text)
    return readable(text)
