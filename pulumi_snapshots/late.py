"""The one door to modules that are loaded late: what speaks HTTP costs a program half a second, and few need it."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any


@cache
def late(name: str) -> Any:
    """What a module of this package has, which is loaded at the first use.

    Args:
        name: of module and attribute, such as `run.session:Session`, in the caller's own folder or below it.
    """
    module, _, attribute = name.partition(":")
    return getattr(import_module(f"pulumi_snapshots.{module}"), attribute)
