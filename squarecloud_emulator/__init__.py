"""Square Cloud's snapshots on this machine, for tests and demos."""

from squarecloud_emulator.data.damage import Damage
from squarecloud_emulator.emulator import Emulator
from squarecloud_emulator.service.faults import Fault
from squarecloud_emulator.service.request_journal import JournalEntry
from squarecloud_emulator.service.settings import EmulatorSettings

__all__ = ["Damage", "Emulator", "EmulatorSettings", "Fault", "JournalEntry"]
