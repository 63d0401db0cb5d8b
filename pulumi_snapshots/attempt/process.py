"""The processes that share a journal: the name of this one, and whether another one is still running."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Process:
    """A process of this machine, whose system knows which others are running.

    Attributes:
        name: unique on this machine, even if a later process gets the same number.
        is_running: whether the process, or the engine's run, with a name is running.
    """

    name: str
    is_running: Callable[[str], bool]
    renew_every = 0.0
    """Seconds between two renewals of its lease; 0 if it has none."""

    def run_name(self, engine: str) -> str:
        """The name of a run of the engine; the process stands for an engine that is not found, as without `/proc`."""
        return engine or self.name

    def see(self, content: dict[str, Any]) -> None:
        """Learn from a journal which processes are running; the system tells."""

    def sign(self, content: dict[str, Any], runs: set[str]) -> None:
        """Write into a journal that this process and runs of its engine are running; the system tells."""


def this_process() -> Process:
    """The process that runs this code."""
    return Process(name_of(os.getpid()), _is_running)


def name_of(pid: int) -> str:
    """The name of a process, see `Process`."""
    return f"{pid} {_started(pid)}"


def _is_running(name: str) -> bool:
    pid = name.partition(" ")[0]
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True  # it belongs to another user
    return name_of(int(pid)) == name and _stat(int(pid))[:1] not in (["Z"], ["X"])


def parent_of(pid: int) -> int:
    """The number of a process's parent; 0 if the system does not say."""
    return int("".join(_stat(pid)[1:2]) or 0)


def _started(pid: int) -> str:
    """When a process started, in the system's own unit; empty if the system does not say."""
    return "".join(_stat(pid)[19:20])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat, from the state (field 3) on; empty if the system has no such file.

    State `Z` is a process that has ended and was not waited for by its parent. In a container whose first process does not
    wait for orphans, it stays in that state.
    """
    try:
        # The program's name, which ends at the last ")", may contain anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
