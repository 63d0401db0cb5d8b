"""The engine's process: which run it is, and what its user asked for, as its command line says."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from functools import cache
from itertools import pairwise
from pathlib import Path

from pulumi_snapshots.attempt.owner import EngineRun
from pulumi_snapshots.attempt.process import name_of, parent_of

FORCING = ("--replace", "--target-replace")
"""Options whose resources get another one whatever the state holds. The engine tells a provider nothing of them."""
GENERATIONS = 8
"""How far up the engine is looked for: launchers and shells may stand between."""


def engine_run(urn: str | None) -> EngineRun:
    """The run of the engine, and whether its user forces another one of this resource; nothing if it is not found."""
    process, arguments = _engine()
    name = name_of(process) if process else ""
    return EngineRun(name, urn is not None and any(_names(forced, urn) for forced in forced_in(arguments)))


def engine_process() -> int | None:
    """The number of the engine's process; None if it is not found, or if it is a child of this one."""
    return _engine()[0] or None


def forced_in(arguments: tuple[str, ...]) -> list[str]:
    """The URNs, or patterns of them, that a command line forces to be replaced."""
    return [value.replace("**", "*") for value in _values(arguments, *FORCING)]


def config_files() -> list[str]:
    """The files of config that the engine was given on its command line."""
    return _values(_engine()[1], "--config-file")


def _values(arguments: tuple[str, ...], *options: str) -> list[str]:
    """The values of options on a command line."""
    found = []
    for argument, following in pairwise((*arguments, "")):
        option, equals, value = argument.partition("=")
        if option in options:
            found.append(value if equals else following)
    return found


def _names(pattern: str, urn: str) -> bool:
    """Whether a pattern names a URN, as the engine reads it: only `*` stands for anything, not `?` or brackets."""
    return fnmatchcase(urn, pattern.replace("[", "[[]").replace("?", "[?]"))


@cache
def _engine() -> tuple[int, tuple[str, ...]]:
    """The number and the command line of the nearest ancestor that is called `pulumi`; 0 and empty without one."""
    process = os.getpid()
    for _ in range(GENERATIONS):
        process = parent_of(process)
        arguments = _command_line(process)
        if arguments and Path(arguments[0]).stem == "pulumi":
            return process, arguments
    return 0, ()


def _command_line(process: int) -> tuple[str, ...]:
    try:
        return tuple(Path(f"/proc/{process}/cmdline").read_text(errors="replace").split("\0")[:-1])
    except OSError:  # a system without it, or a process that has ended
        return ()
