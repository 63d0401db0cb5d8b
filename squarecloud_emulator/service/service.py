"""The emulated service.

One account, its clock, its rate limits, and the requests that it has seen. No HTTP.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from squarecloud_emulator.data.folder_store import FolderStore
from squarecloud_emulator.data.memory_store import MemoryStore
from squarecloud_emulator.service.account import Account
from squarecloud_emulator.service.emulated_clock import (
    Clock,
    EmulatedClock,
    MachineClock,
)
from squarecloud_emulator.service.faults import Faults
from squarecloud_emulator.service.limits import RateLimit, RouteLimits
from squarecloud_emulator.service.ranges import SECONDS, refuse_outside
from squarecloud_emulator.service.saved_state import SavedState, StateFile
from squarecloud_emulator.service.settings import EmulatorSettings

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from squarecloud_emulator.data.store import Store
    from squarecloud_emulator.service.request_journal import JournalEntry


A_YEAR = 365 * 86400
"""Seconds."""
LAST_YEAR = 2200
"""No test needs a later time, and some systems count no further."""


class EmulatedService:
    """The service's state, which changes only as its clock advances and as requests come.

    Nothing runs in the background: `settle` does what has become due. Exchange methods from the
    event loop's own thread. You may also call them before the loop runs; time stands still until
    it does.

    Args:
        settings: How the service and its account behave; as documented unless given.
        clock: The machine's time; a virtual clock in tests.
        data_folder: Keeps everything across restarts and gives each database an SQLite file; None:
            all in memory.
        base_url: The address in the service's answers; set it again once you know the port.
        store: Keeps the databases' data somewhere other than in the folder or in memory.

    Raises:
        ValueError: The data folder holds something else.

    """

    def __init__(
        self,
        settings: EmulatorSettings | None = None,
        *,
        clock: Clock | None = None,
        data_folder: Path | None = None,
        base_url: str = "http://emulator.test",
        store: Store | None = None,
    ) -> None:
        self._settings = EmulatorSettings() if settings is None else settings
        self._state_file = None if data_folder is None else StateFile(data_folder)
        saved = SavedState() if self._state_file is None else self._state_file.read()
        store = store or (
            MemoryStore() if data_folder is None else FolderStore(data_folder)
        )
        self.base_url = base_url
        self.clock = EmulatedClock(
            clock or MachineClock(),
            self._settings,
            timedelta(seconds=saved.lead_seconds),
        )
        self.account = Account(store, self._settings, saved.account)
        self.faults = Faults(self._settings.seed)
        self.journal: list[JournalEntry] = []
        self.rate_limit = RateLimit()
        self.account_listing_limit = RateLimit()
        self.route_limits = RouteLimits()
        self.wrong_key_limits: dict[str, RateLimit] = {}  # by the client's address

    @property
    def api_url(self) -> str:
        """The API's address, which clients call their base URL."""
        return f"{self.base_url}/v2"

    @property
    def snapshots_url(self) -> str:
        """The address of the emulated snapshot host."""
        return f"{self.base_url}/files"

    @property
    def settings(self) -> EmulatorSettings:
        """Replace them at any time.

        `emulator.settings = dataclasses.replace(emulator.settings, speed=10)`.
        """
        return self._settings

    @settings.setter
    def settings(self, settings: EmulatorSettings) -> None:
        self.settle()
        self._settings = settings
        self.account.settings = settings
        self.clock.use(settings)

    def now(self) -> datetime:
        """The service's time, UTC."""
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        """Jump the service's clock forward, which wakes requests whose moment has passed.

        Raises:
            ValueError: The jump is negative, longer than ten years, or beyond the last year.
        """
        if seconds < 0:
            raise ValueError(f"the service's time cannot go back by {-seconds} seconds")
        refuse_outside("advance", seconds, SECONDS)
        if self.now().year + seconds / A_YEAR > LAST_YEAR:
            raise ValueError(f"the service's time ends in the year {LAST_YEAR}")
        self.clock.advance(seconds)
        self.save()

    def settle(self) -> datetime:
        """Do what has become due; return the time up to which it was done."""
        now = self.clock.now()
        self.account.settle(now)
        return now

    def stop(self) -> None:
        """End the requests held open, save the state, and abandon work on data."""
        self.clock.stop()
        self.settle()
        self.save()
        self.account.store.close()

    def save(self) -> None:
        """Save the state in the data folder, if there is one."""
        self.account.changed = False
        if self._state_file is not None:
            lead = self.clock.lead().total_seconds()
            self._state_file.write(
                SavedState(lead_seconds=lead, account=self.account.state())
            )

    def save_changes(self) -> None:
        """Save the state if it has changed since it was last saved."""
        if self.account.changed:
            self.save()
