"""Pulumi's language host for YAML programs: the installed one, or one built from its Go module and kept in the user's cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tools.engine import build, kept, module, needing, new_enough, remove

if TYPE_CHECKING:
    from tools.engine import Environment

__all__ = ["ensure"]

VERSION = "1.25.0"
PROGRAM = "pulumi-language-yaml"
MODULE = "github.com/pulumi/pulumi-yaml"


def ensure(environment: Environment) -> Path:
    """The directory of the language host, made if need be: a minute and a half on two cores, once.

    Raises:
        Closed: It cannot be built.
    """
    found = shutil.which(PROGRAM, path=environment.get("PATH", os.defpath))
    if found is not None:
        return Path(found).parent
    return kept(environment, f"yaml-host-{VERSION}", (PROGRAM,), _build)


def _build(into: Path, environment: Environment) -> None:
    package = f"{MODULE}/cmd/{PROGRAM}"
    folder = module(into / "work" / "yaml", f"require {MODULE} v{VERSION}\n", needing(package))
    build(new_enough(folder, environment), folder, package, into / PROGRAM, VERSION, environment)
    remove(into / "work")
