"""`python -m tools.actionlint`: check the workflows in .github/workflows with actionlint.

It is compiled from its Go module, in some seconds, and kept in the user's cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tools import engine
from tools.engine import Closed

if TYPE_CHECKING:
    from tools.engine import Environment

PROJECT = Path(__file__).resolve().parent.parent
WORKFLOWS = PROJECT / ".github" / "workflows"
MODULE, VERSION = "github.com/rhysd/actionlint", "1.7.12"
PROGRAM = "actionlint"


def ensure(environment: Environment) -> Path:
    """The program, made if need be.

    Raises:
        Closed: It cannot be built.
    """

    def build(into: Path, environment: Environment) -> None:
        package = f"{MODULE}/cmd/{PROGRAM}"
        work = engine.module(into / "work" / "check", f"require {MODULE} v{VERSION}\n", engine.needing(package))
        engine.build(engine.new_enough(work, environment), work, package, into / PROGRAM, VERSION, environment)
        engine.remove(into / "work")

    return engine.kept(environment, f"{PROGRAM}-{VERSION}", (PROGRAM,), build) / PROGRAM


def problems(program: Path, files: list[Path]) -> str:
    """What is wrong with these workflows; empty if nothing is."""
    # Without the linters of other languages, which one machine has and another has not.
    options = ["-shellcheck=", "-pyflakes=", "-oneline", "-no-color"]
    done = subprocess.run([program, *options, *files], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout + done.stderr


def main() -> int:
    """Print what is wrong."""
    try:
        found = problems(ensure(os.environ), sorted(WORKFLOWS.glob("*.yml")))
    except Closed as reason:
        print(f"actionlint: {reason}", file=sys.stderr)
        return 1
    print(found, end="")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
