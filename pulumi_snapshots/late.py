"""Loads modules late.

The modules that speak HTTP cost a program half a second, and few programs need them.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as at the top, which loads this before ^C has its one line
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


def late(name: str) -> Any:
    """Return a name of a module of this package, which is loaded at the first use.

    Args:
        name: such as `run.session:Session`.
    """
    module, _, attribute = name.partition(":")
    return getattr(import_module(f"pulumi_snapshots.{module}"), attribute)


def at_first_use(
    homes: Mapping[str, Iterable[str]], package: str = "pulumi_snapshots"
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return a package's `__getattr__`, `__dir__` and `__all__`, which load names late.

    Args:
        homes: the names in each module of this package.
        package: the package whose names these are.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"pulumi_snapshots.{home[name]}"), name)

    return load, lambda: sorted(home), sorted(home)
