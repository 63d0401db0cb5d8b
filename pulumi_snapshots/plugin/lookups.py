"""The plugin's functions, as Python programs call them; results and arguments are those of the top level."""

from __future__ import annotations

from typing import Any

from pulumi_snapshots.program.lookups import Lookups

_lookups = Lookups()


def __getattr__(name: str) -> Any:
    return getattr(_lookups, name)
