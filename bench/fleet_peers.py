"""Other clients that take snapshots of many databases, with the same requests in order.

Their own code cannot run under the virtual clock, since it blocks a thread while it waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from pulumi_snapshots.clock import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.simulation.fleet import Fleet

READ_TIMEOUT = 120.0
NAIVE_POLL = 10.0
EXAMPLE_POLL = 30.0
AGAIN_AFTER = {"KEEP_CALM": 60.0, "RATE_LIMITED": 1800.0}
"""Seconds until the user runs it again: a minute by the message of KEEP_CALM, half an hour by the
vendor.
"""


class Refused(Exception):
    """An answer for which both clients raise an error."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Peer:
    """A process without a rate limiter."""

    def __init__(self, fleet: Fleet) -> None:
        self._clock = fleet.clock
        self._http = httpx.AsyncClient(
            base_url=fleet.emulator.api_url,
            headers={"Authorization": fleet.emulator.settings.api_key},
            transport=fleet.wire(),
            timeout=READ_TIMEOUT,
        )

    async def naive(self, database_id: str) -> str:
        """A simple dynamic provider: POST, then poll until any entry is newer than the POST."""
        began = self._clock.utc()
        await self._ask("POST", database_id)
        while True:
            await self._clock.sleep(NAIVE_POLL)
            entries = await self._ask("GET", database_id)
            if entries and parse_rfc3339(entries[0]["modified"]) > began:
                return str(entries[0]["version_id"])

    async def example(self, database_id: str) -> str:
        """List, create, then list every 30 s until one is new.

        As `examples/snapshots.py` of the vendor's Python SDK 5.0.0.
        """
        known = {entry["version_id"] for entry in await self._ask("GET", database_id)}
        await self._ask("POST", database_id)
        while True:
            await self._clock.sleep(EXAMPLE_POLL)
            fresh = [
                entry
                for entry in await self._ask("GET", database_id)
                if entry["version_id"] not in known
            ]
            if fresh:
                return str(fresh[0]["version_id"])

    async def _ask(self, method: str, database_id: str) -> Any:
        answer = await self._http.request(method, f"databases/{database_id}/snapshots")
        if not answer.is_success:
            raise Refused(answer.json()["code"])
        return answer.json().get("response")


def until_it_works(
    take: Callable[[str], Awaitable[str]], fleet: Fleet
) -> Callable[[str], Awaitable[str]]:
    """Run a client again after each 429, since neither of them continues by itself."""

    async def again(database_id: str) -> str:
        while True:
            try:
                return await take(database_id)
            except Refused as refusal:
                await fleet.clock.sleep(AGAIN_AFTER[refusal.code])

    return again
