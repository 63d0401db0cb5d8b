"""A process that raises a number in a shared place again and again; arguments: the place, how often."""

from __future__ import annotations

import sys
from functools import partial

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.shared_state.state import shared_state

__all__ = ["raise_it"]


async def raise_it(setting: str, times: int) -> None:
    file = shared_state(setting, Clock()).file("number.json")
    for _ in range(times):
        await file.change(lambda content: content.update(number=content.get("number", 0) + 1))


if __name__ == "__main__":
    anyio.run(partial(raise_it, sys.argv[1], int(sys.argv[2])))
