"""Pulumi's language host for YAML programs: the installed one, or one built from its Go module and kept in the user's cache."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tools.engine import (
    MARKER,
    Kind,
    build,
    cache_directory,
    compiled,
    compiled_with_borrowed_go,
    keep,
    module,
    needing,
    remove,
    say,
)

if TYPE_CHECKING:
    from tools.engine import Environment

__all__ = ["ensure"]

VERSION = "1.25.0"
PROGRAM = "pulumi-language-yaml"
MODULE = "github.com/pulumi/pulumi-yaml"


def ensure(environment: Environment) -> Path:
    """The directory of the language host, made if need be: a minute and a half on two cores, once.

    Raises:
        Closed: no way led to it.
    """
    found = shutil.which(PROGRAM, path=environment.get("PATH", os.defpath))
    if found is not None:
        return Path(found).parent
    home = cache_directory(environment) / f"yaml-host-{VERSION}-{platform.system()}-{platform.machine()}".lower()
    keep(home, KEPT, environment, (_built, _built_with_borrowed_go))
    return home


def _flaw(home: Path) -> str:
    return "" if os.access(home / PROGRAM, os.X_OK) and (home / MARKER).exists() else "it was not finished"


KEPT = Kind(lambda _: (PROGRAM,), _flaw, "install Pulumi (https://www.pulumi.com/docs/install/)", say)


def _built(into: Path, environment: Environment) -> str:
    return compiled(into, environment, _compile)


def _built_with_borrowed_go(into: Path, environment: Environment) -> str:
    return compiled_with_borrowed_go(into, environment, _compile)


def _compile(into: Path, go: Path, environment: Environment) -> None:
    package = f"{MODULE}/cmd/{PROGRAM}"
    folder = module(into / "work" / "yaml", f"require {MODULE} v{VERSION}\n", needing(package))
    build(go, folder, package, into / PROGRAM, VERSION, environment)
    remove(into / "work")
