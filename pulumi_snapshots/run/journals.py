"""The journals of one API key; without the service, since a preview needs them too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.attempt.journal import AttemptJournal
from pulumi_snapshots.locked_file import LockedFile

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi_snapshots.attempt.process import Process
    from pulumi_snapshots.clock import Clock
    from pulumi_snapshots.run.settings import Settings
    from pulumi_snapshots.shared_file import SharedFile

Journals = dict[str, AttemptJournal]
"""By what a POST starts: `snapshot` or `restore`."""
FILES = {"snapshot": "attempts", "restore": "restores"}


def shared_file(settings: Settings, name: str, clock: Clock, state: Path | None) -> SharedFile | None:
    """A file that all runs with this key share; None without a directory for it."""
    return LockedFile(state / f"{settings.fingerprint()}.{name}.json", clock) if state else None


def journals_of(settings: Settings, clock: Clock, state: Path | None, process: Process) -> Journals:
    """The journals of a key.

    Args:
        settings: with an API key.
        clock: for waiting for their locks.
        state: the directory of their files; without one they keep nothing.
        process: this process.
    """
    return {
        what: AttemptJournal(shared_file(settings, name, clock, state), process, clock) for what, name in FILES.items()
    }
