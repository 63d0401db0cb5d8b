"""Pulumi's language host for Go programs: the installed one, or one built from its Go module and kept in the user's cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tools.engine import SDK, build, kept, module, needing, new_enough, remove

if TYPE_CHECKING:
    from tools.engine import Environment

__all__ = ["ensure"]

VERSION = "3.60.0"
"""A Go language host that is part of a Go module; it works with later engines."""
PROGRAM = "pulumi-language-go"


def ensure(environment: Environment) -> Path:
    """The directory of the language host, made if need be: half a minute on two cores, once.

    Raises:
        Closed: It cannot be built.
    """
    found = shutil.which(PROGRAM, path=environment.get("PATH", os.defpath))
    if found is not None:
        return Path(found).parent
    return kept(environment, f"go-host-{VERSION}", (PROGRAM,), _build)


def _build(into: Path, environment: Environment) -> None:
    package = f"{SDK}/go/{PROGRAM}"
    folder = module(into / "work" / "host", f"require {SDK} v{VERSION}\n", needing(package))
    build(new_enough(folder, environment), folder, package, into / PROGRAM, VERSION, environment)
    remove(into / "work")
