"""One request on its way through the service, as its route sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio

from squarecloud_emulator.data.store import finished
from squarecloud_emulator.service.json_body import json_of
from squarecloud_emulator.service.refusals import refusal

if TYPE_CHECKING:
    from concurrent.futures import Future

    from starlette.requests import Request

    from squarecloud_emulator.service.faults import Fault
    from squarecloud_emulator.service.request_journal import JournalEntry
    from squarecloud_emulator.service.resources import Database
    from squarecloud_emulator.service.service import EmulatedService


class FaultTakesOverError(Exception):
    """The request has been applied, and a fault answers instead of the service."""


@dataclass
class Exchange:
    """A request, its entry in the journal, and the fault that strikes it."""

    service: EmulatedService
    request: Request
    entry: JournalEntry
    fault: Fault | None
    now: datetime  # the service's time on arrival, then after each hold

    def resource(self) -> Database:
        """The database in its path; RefusedError if it does not exist."""
        found = self.service.account.databases.get(self.entry.database_id or "")
        if found is None:
            raise refusal("DATABASE_NOT_FOUND")
        return found

    def usable(self) -> list[Database]:
        """The account's databases that the key may use."""
        return [
            one
            for one in self.service.account.databases.values()
            if self.service.settings.key_may_use(one.id)
        ]

    async def body(self) -> dict[str, Any]:
        """The request's JSON object; empty for any other JSON.

        Raises:
            RefusedError: It is no JSON.
        """
        try:
            body = json_of(await self.request.body())
        except ValueError:
            raise refusal("INVALID_JSON_BODY") from None
        return body if isinstance(body, dict) else {}

    def started(self, version_id: str, *, joined: bool = False) -> None:
        """Note what this POST has started or joined, and let a later fault take over.

        Raises:
            FaultTakesOverError: There is such a fault.
        """
        self.entry.accepted = not joined
        self.entry.version_id = version_id
        self.service.save_changes()
        if (
            self.fault is not None
            and self.fault.when == "after"
            and not self.fault.needs_the_answer
        ):
            raise FaultTakesOverError

    async def hold(self, seconds: float) -> None:
        """Hold the request open for so many seconds of the service's time."""
        if seconds > 0:
            await self.hold_until(self.service.now() + timedelta(seconds=seconds))

    async def hold_until(self, moment: datetime) -> None:
        """Hold the request open until the service's clock shows `moment`."""
        await self.service.clock.sleep_until(moment)
        self.now = self.service.settle()

    async def hold_for(
        self,
        work: Future[Any] | None,
        *,
        until: datetime | None = None,
    ) -> None:
        """Hold the request open until a store's work is done, or the clock shows `until`."""
        if work is not None and not work.done():
            left = math.inf
            if until is not None:
                left = max(
                    0.0,
                    (until - self.service.now()).total_seconds()
                    / self.service.settings.speed,
                )
            with anyio.move_on_after(left):
                await finished(work)
        self.now = self.service.settle()
