"""Square Cloud's snapshots on this machine, for tests and demos."""

from pulumi_snapshots.emulator.data.damage import Damage
from pulumi_snapshots.emulator.emulator import Emulator
from pulumi_snapshots.emulator.service.faults import Fault
from pulumi_snapshots.emulator.service.request_journal import JournalEntry
from pulumi_snapshots.emulator.service.settings import EmulatorSettings

Settings = EmulatorSettings
"""The shorter name, for programs that import it from here."""

__all__ = ["Damage", "Emulator", "EmulatorSettings", "Fault", "JournalEntry", "Settings"]
