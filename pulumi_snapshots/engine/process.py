"""The engine's process, and what its command line says."""

from __future__ import annotations

import os
from functools import cache
from itertools import pairwise
from pathlib import Path

GENERATIONS = 8
"""How far up the engine is looked for: launchers and shells may stand between."""


def engine_process() -> int | None:
    """The number of the engine's process; None if it is not found, or if it is a child of this one."""
    return _engine()[0] or None


def config_files() -> list[str]:
    """The files of config that the engine was given on its command line."""
    found = []
    for argument, following in pairwise((*_engine()[1], "")):
        option, equals, value = argument.partition("=")
        if option == "--config-file":
            found.append(value if equals else following)
    return found


@cache
def _engine() -> tuple[int, tuple[str, ...]]:
    """The number and the command line of the nearest ancestor that is called `pulumi`; 0 and empty without one."""
    process = os.getpid()
    for _ in range(GENERATIONS):
        process = _parent_of(process)
        arguments = _command_line(process)
        if arguments and Path(arguments[0]).stem == "pulumi":
            return process, arguments
    return 0, ()


def _parent_of(process: int) -> int:
    """The number of a process's parent; 0 if the system does not say."""
    try:
        # The program's name, which ends at the last ")", may contain anything.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # a system without it, or a process that has ended
        return 0
    return int(fields[1]) if len(fields) > 1 else 0


def _command_line(process: int) -> tuple[str, ...]:
    try:
        return tuple(Path(f"/proc/{process}/cmdline").read_text(errors="replace").split("\0")[:-1])
    except OSError:
        return ()
