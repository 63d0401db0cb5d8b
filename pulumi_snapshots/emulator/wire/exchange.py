"""One request on its way through the service: what its route has to know and to tell; no route's own rules."""

from __future__ import annotations

import math
from concurrent.futures import wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio

from pulumi_snapshots.emulator.service.refusals import refusal

if TYPE_CHECKING:
    from concurrent.futures import Future

    from starlette.requests import Request

    from pulumi_snapshots.emulator.service.faults import Fault
    from pulumi_snapshots.emulator.service.request_journal import JournalEntry
    from pulumi_snapshots.emulator.service.resources import Resource
    from pulumi_snapshots.emulator.service.service import EmulatedService

__all__ = ["Exchange", "FaultTakesOverError"]


class FaultTakesOverError(Exception):
    """The request has been applied, and a fault answers in the service's place."""


@dataclass
class Exchange:
    """A request, with the journal's entry for it and the fault that strikes it."""

    service: EmulatedService
    request: Request
    entry: JournalEntry
    fault: Fault | None
    now: datetime  # when it was let in, by the service's clock

    @property
    def resource_id(self) -> str:
        """The id in its path."""
        return self.entry.database_id or ""

    def resource(self) -> Resource:
        """The database or application in its path.

        Raises:
            RefusedError: There is none.
        """
        account = self.service.account
        family = account.applications if "/apps/" in self.entry.path else account.databases
        resource = family.get(self.resource_id)
        if resource is None:
            raise refusal("APP_NOT_FOUND" if family is account.applications else "DATABASE_NOT_FOUND")
        return resource

    def started(self, version_id: str, *, anew: bool = True) -> None:
        """This POST has started something, or joined it; a fault that comes after that comes now.

        Raises:
            FaultTakesOverError: There is such a fault.
        """
        self.entry.accepted = anew
        self.entry.version_id = version_id
        self.service.save_changes()
        if self.fault is not None and self.fault.when == "after" and not self.fault.needs_the_answer:
            raise FaultTakesOverError

    async def hold_until(self, moment: datetime) -> None:
        """Hold the request open until the service's clock shows `moment`, then catch up."""
        await self.service.clock.sleep_until(moment)
        self.now = self.service.settle()

    async def hold_for(self, work: Future[Any] | None, *, until: datetime | None = None) -> None:
        """Hold the request open for a store's work, if it goes on; at most until the service's clock shows `until`."""
        if work is None or work.done():
            self.now = self.service.settle()
            return
        left = math.inf
        if until is not None:
            left = max(0.0, (until - self.service.now()).total_seconds() / self.service.settings.speed)
        with anyio.move_on_after(left):
            await anyio.to_thread.run_sync(wait, [work], abandon_on_cancel=True)
        self.now = self.service.settle()

    async def hold(self, seconds: float) -> None:
        """Hold the request open for so long."""
        if seconds > 0:
            await self.hold_until(self.service.now() + timedelta(seconds=seconds))
