"""Programs that tests need, built from their Go modules at their first use and kept in the user's cache, as the engine is."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from tools import engine

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AGE", "age", "compiled", "say"]

AGE = "1.3.2"


def age() -> Path:
    """The folder of age's own `age` and `age-keygen`: seconds to build.

    Raises:
        Closed: this machine cannot have them.
    """
    packages = {name: f"filippo.io/age/cmd/{name}" for name in ("age", "age-keygen")}
    return compiled(packages, "filippo.io/age", AGE)


def compiled(packages: dict[str, str], module: str, version: str) -> Path:
    """The folder of a Go module's programs.

    Args:
        packages: of each program, by its name; the first names the folder.
        module: that they are in.
        version: of the module.

    Raises:
        Closed: this machine cannot have them.
    """
    first = next(iter(packages))

    def make(into: Path, environment: engine.Environment) -> None:
        # With what the engine is made of in its versions, which Go's cache has compiled already: that halves the longest build.
        requires = f"require {module} v{version}\n{engine.MODULES}"
        work = engine.module(into / "work" / first, requires, engine.needing(packages[first]))
        go = engine.new_enough(work, environment)
        say(f"building {first} {version}: up to two minutes, once")
        for name, package in packages.items():
            engine.build(go, work, package, into / name, version, environment)
        engine.remove(into / "work")

    return engine.kept(os.environ, f"{first}-{version}", tuple(packages), make)


def say(text: str) -> None:
    """Tell who runs the tests."""
    print(f"programs for tests: {text}", file=sys.stderr, flush=True)  # noqa: T201
