"""The service on this machine, for tests and demos: its public names, nothing else."""

from pulumi_snapshots.emulator.emulator import Emulator
from pulumi_snapshots.emulator.faults import Fault
from pulumi_snapshots.emulator.journal import JournalEntry
from pulumi_snapshots.emulator.settings import Settings

__all__ = ["Emulator", "Fault", "JournalEntry", "Settings"]
