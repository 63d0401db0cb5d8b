"""Processes of this machine: which one this is, and whether another one is still running."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Process", "this_process"]


@dataclass(frozen=True)
class Process:
    """A process of this machine.

    Attributes:
        name: tells it from every other, also from a later one with the same number.
        is_running: whether the process of a name is running.
    """

    name: str
    is_running: Callable[[str], bool]


def this_process() -> Process:
    """The one that runs this."""
    return Process(_process(os.getpid()), _is_running)


def _process(pid: int) -> str:
    return f"{pid} {_started(pid)}"


def _is_running(process: str) -> bool:
    pid = process.partition(" ")[0]
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True  # somebody else's
    return _process(int(pid)) == process and _stat(int(pid))[:1] not in (["Z"], ["X"])


def _started(pid: int) -> str:
    """When a process started, in the system's own unit; empty where that is not to be had."""
    return "".join(_stat(pid)[19:20])


def _stat(pid: int) -> list[str]:
    """What the system says of a process, from its state (field 3) on; empty where that is not to be had.

    State `Z` is one that has ended and that nobody has taken note of: for ever, in a container whose first process does not
    care for orphans.
    """
    try:
        # The name before the last ")" may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
