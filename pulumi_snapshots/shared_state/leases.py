"""Which processes of all machines are alive: a number means nothing on another machine, so each renews a lease."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from pulumi_snapshots.attempt.process import Process

LEASES = "leases"
LEASE = 120.0
"""Seconds for which a process counts as alive after it has last said so."""
RUN_LEASE = 86400.0
"""Seconds for which a run of the engine counts as alive: what it has deleted is kept that long for it."""
LATEST = 1e12
"""Seconds since 1970. A later time in the file is nonsense, and could overflow."""


@dataclass(frozen=True)
class LeasedProcess(Process):
    """A process on one of several machines.

    Attributes:
        now: seconds since 1970 by the clock of all machines.
        machine: names this one in the names of the engine's runs.
        until: when the lease of each process ends, as far as it was seen.
        seen: how each lease was written that was learnt from, so that none lasts longer because it is read again.
        knows_time: whether `now` is right by now.
    """

    now: Callable[[], float] = field(kw_only=True)
    machine: str = field(kw_only=True)
    until: dict[str, float] = field(kw_only=True)
    seen: dict[str, float] = field(default_factory=dict, kw_only=True)
    knows_time: Callable[[], bool] = field(default=lambda: True, kw_only=True)
    renew_every = LEASE / 3

    @classmethod
    def here(
        cls,
        now: Callable[[], float],
        name: str = "",
        machine: str = "",
        knows_time: Callable[[], bool] = lambda: True,
    ) -> LeasedProcess:
        """This process, under a name that no other one has."""
        until: dict[str, float] = {}

        def is_alive(name: str) -> bool:
            return now() < until.get(name, 0.0)

        name, machine = name or secrets.token_hex(8), machine or _this_machine()
        return cls(name, is_alive, now=now, machine=machine, until=until, knows_time=knows_time)

    def run_name(self, engine: str) -> str:
        """A name of the engine's run that no run on another machine has."""
        return f"{self.machine} {engine or self.name}"  # a process alone has no space in its name

    def see(self, content: dict[str, Any]) -> None:
        """Learn which processes are alive: none for longer than a lease from now, whatever was written."""
        for name, until in _leases(content).items():
            if not self.knows_time():
                self.until[name] = max(until, self.until.get(name, 0.0))
            elif until != self.seen.get(name):
                longest = self.now() + (RUN_LEASE if " " in name else LEASE)
                known = self.until.get(name, 0.0) if name in self.seen else 0.0
                self.until[name] = max(min(until, longest), known)
                self.seen[name] = until

    def sign(self, content: dict[str, Any], runs: set[str]) -> None:
        """Renew the lease, and those of runs of the engine that have none yet; forget what has ended."""
        now = self.now()
        self.until[self.name] = now + LEASE
        for run in runs:
            self.until.setdefault(run, now + RUN_LEASE)
        mine = {name: self.until[name] for name in (self.name, *runs)}
        others = {name: min(at, self.until.get(name, at)) for name, at in _leases(content).items()}
        content[LEASES] = {name: at for name, at in {**others, **mine}.items() if at > now}


def _leases(content: dict[str, Any]) -> dict[str, float]:
    leases = content.get(LEASES)
    return {
        name: float(until)
        for name, until in (leases.items() if isinstance(leases, dict) else ())
        if isinstance(until, int | float) and -LATEST < until < LATEST
    }


def _this_machine() -> str:
    """The same for all processes of this machine until it is started again; containers of one are machines of their own."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        started = ""
    return sha256(f"{platform.node()} {started}".encode()).hexdigest()[:12]
