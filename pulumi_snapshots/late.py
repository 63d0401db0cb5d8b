"""The one door to modules that are loaded late.

What speaks HTTP costs a program half a second, and few programs need it.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as at the top, which loads this before ^C has its one line
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


def late(name: str) -> Any:
    """What a module of this package has, by a name such as `run.session:Session`.

    It is loaded at the first use.
    """
    module, _, attribute = name.partition(":")
    return getattr(import_module(f"pulumi_snapshots.{module}"), attribute)


def at_first_use(
    homes: Mapping[str, Iterable[str]], package: str = "pulumi_snapshots"
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make a package's `__getattr__`, `__dir__` and `__all__`, which load names late.

    `homes` are the names that each module of this package has, and `package` is whose names these
    are.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"pulumi_snapshots.{home[name]}"), name)

    return load, lambda: sorted(home), sorted(home)
