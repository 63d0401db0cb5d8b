"""A process that raises a number in a ledger again and again; arguments: the setting, or a state directory, and how often."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.ledger.bucket import place_of

__all__ = ["count", "raise_it"]


def count(document: dict[str, Any]) -> int:
    """Raise the number in a document."""
    number: int = document.get("number", 0) + 1
    document["number"] = number
    return number


async def raise_it(setting: str, state: Path, times: int) -> None:
    place = place_of(setting or None, state, "service", Clock())
    for _ in range(times):
        await place.edit(count)


if __name__ == "__main__":
    anyio.run(partial(raise_it, sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
