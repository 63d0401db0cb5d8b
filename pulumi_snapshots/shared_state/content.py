"""The content of what machines share: a JSON object that says which versions of this package can read it."""

from __future__ import annotations

import json
from typing import Any

from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import SharedStateUnavailable

FORMAT = "format"
NEWEST = 1
"""The format that this version writes, and the newest that it can read."""


def parsed(where: str, data: bytes) -> dict[str, Any]:
    """The object in a file.

    Args:
        where: names the file in an error.
        data: the content of the file.

    Raises:
        SharedStateUnavailable: it is something else, or of a later version: it must stay as it is.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):  # the latter from deeply nested brackets
        content = None
    if not isinstance(content, dict):
        raise SharedStateUnavailable(where, "it holds something else", [Next(Step.REMOVE_SHARED_FILE, file=where)])
    written = content.get(FORMAT, NEWEST)
    if not isinstance(written, int) or written > NEWEST:
        raise SharedStateUnavailable(where, "a later version of this package has written it", [Next(Step.UPGRADE)])
    return content


def packed(content: dict[str, Any]) -> bytes:
    """The content of the file that holds an object."""
    return json.dumps({**content, FORMAT: NEWEST}).encode()
