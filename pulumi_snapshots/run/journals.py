"""The journals of one API key; without the service, since a preview needs them too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.attempt.journal import AttemptJournal
from pulumi_snapshots.attempt.process import Process, this_process
from pulumi_snapshots.late import late
from pulumi_snapshots.locked_file import LockedFile

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi_snapshots.clock import Clock
    from pulumi_snapshots.run.settings import Settings
    from pulumi_snapshots.shared_file import SharedFile
    from pulumi_snapshots.shared_state.state import SharedState

Journals = dict[str, AttemptJournal]
"""By what a POST starts: `snapshot` or `restore`."""
FILES = {"snapshot": "attempts", "restore": "restores"}


def shared_state_of(settings: Settings, clock: Clock) -> SharedState | None:
    """The place that the machines of the account share; None if the settings name none."""
    if settings.shared_state is None:
        return None
    state: SharedState = late("shared_state.state:shared_state")(settings.shared_state, clock)
    return state


def process_of(state: SharedState | None) -> Process:
    """This process, as others see it."""
    if state is None:
        return this_process()
    process: Process = late("shared_state.leases:LeasedProcess").here(
        state.now, knows_time=lambda: state.ahead is not None
    )
    return process


def requests_file(
    settings: Settings, clock: Clock, folder: Path | None, state: SharedState | None
) -> SharedFile | None:
    """The file of what was sent lately; None without a place for it. It is for pacing only, so there is always a way."""
    own = _own_file(settings, "requests", clock, folder)
    if state is None:
        return own
    file: SharedFile = late("shared_state.state:WithFallback")(_file_of(settings, "requests", state), own, clock)
    return file


def guards_file(settings: Settings, clock: Clock, folder: Path, state: SharedState | None = None) -> SharedFile:
    """The file of what the guards of programs have taken last. Not by the key, so that a preview without one reads it."""
    state = state or shared_state_of(settings, clock)
    if state is not None:
        return _file_of(settings, "guards", state)
    return LockedFile(folder / f"{settings.service()}.guards.json", clock)


def drills_file(settings: Settings, clock: Clock, folder: Path | None, state: SharedState | None) -> SharedFile | None:
    """The file of the last drills; None without a place for it."""
    return _own_file(settings, "drills", clock, folder) if state is None else _file_of(settings, "drills", state)


def journals_here(what: str, clock: Clock, state: Path, process: Process) -> list[AttemptJournal]:
    """The journals of all keys on this machine of what POSTs start; none if they start nothing."""
    files = sorted(state.glob(f"*.{FILES[what]}.json")) if what in FILES else []
    return [AttemptJournal(LockedFile(file, clock), process, clock) for file in files]


def journals_of(
    settings: Settings, clock: Clock, folder: Path | None, process: Process, state: SharedState | None = None
) -> Journals:
    """The journals of a key.

    Args:
        settings: with an API key.
        clock: for waiting for their locks.
        folder: for the files that the runs of this machine share; without one they keep nothing.
        process: this process.
        state: what the machines of the account share, which is used in place of the folder.
    """
    own = {name: _own_file(settings, name, clock, folder) for name in FILES.values()}
    if state is None:
        return {what: AttemptJournal(own[name], process, clock) for what, name in FILES.items()}
    here = this_process()  # as the runs before shared state was turned on wrote it
    return {
        what: AttemptJournal(
            _file_of(settings, name, state),
            process,
            clock,
            AttemptJournal(own[name], here, clock) if own[name] else None,
        )
        for what, name in FILES.items()
    }


def _own_file(settings: Settings, name: str, clock: Clock, folder: Path | None) -> LockedFile | None:
    """The file of this machine; None without a place for it, or without a key, which names it."""
    if folder is None or settings.api_key is None:
        return None
    return LockedFile(folder / f"{settings.fingerprint()}.{name}.json", clock)


def _file_of(settings: Settings, name: str, state: SharedState) -> SharedFile:
    # Not by the key, since each member of a team may have their own.
    return state.file(f"{settings.service()}.{name}.json")
