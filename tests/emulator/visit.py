"""An emulator on a virtual clock, and clients that send it requests. No assertions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from pulumi_snapshots.clock import Clock
from squarecloud_emulator import Emulator, EmulatorSettings, JournalEntry
from squarecloud_emulator.data.store import Store
from tests.support.virtual import staged
from tests.support.wire import EmulatorTransport
from tests.support.world import DATABASE, START

__all__ = ["DATABASE", "START", "Visit", "told", "visit", "visited"]


@dataclass
class Visit:
    emulator: Emulator
    api: httpx.AsyncClient
    files: httpx.AsyncClient
    clock: Clock

    async def create(
        self, database_id: str = DATABASE, **options: Any
    ) -> httpx.Response:
        return await self.api.post(f"databases/{database_id}/snapshots", **options)

    async def listing(self, database_id: str = DATABASE) -> httpx.Response:
        return await self.api.get(f"databases/{database_id}/snapshots")

    async def entries(self, database_id: str = DATABASE) -> list[dict[str, Any]]:
        return list((await self.listing(database_id)).json()["response"])

    async def versions(self, database_id: str = DATABASE) -> list[str]:
        return [entry["version_id"] for entry in await self.entries(database_id)]

    async def everything(self, query: str = "?scope=databases") -> httpx.Response:
        return await self.api.get(f"users/snapshots{query}")

    def added(self, database_id: str = DATABASE, **options: Any) -> str:
        return self.emulator.add_snapshot(database_id, **options).version_id

    def sql(self, *statements: str) -> Any:
        return self.emulator.execute(DATABASE, *statements)[-1]

    async def restore(
        self, version_id: str, *, name: str = DATABASE, to: str = DATABASE
    ) -> httpx.Response:
        body = {"snapshotId": name, "versionId": version_id}
        return await self.api.post(f"databases/{to}/snapshots/restore", json=body)

    async def asked(self, method: str, path: str = "") -> httpx.Response:
        return await self.api.request(
            method, f"databases/{DATABASE}{path}", json={"reset": "password"}
        )

    async def started(self) -> list[JournalEntry]:
        return [entry for entry in self.emulator.journal if entry.accepted]

    async def spent(self) -> list[Any]:
        return list(self.emulator.account.quota.uses)

    async def wrong(self) -> httpx.Response:
        return await self.api.get("users/me", headers={"Authorization": "wrong"})

    async def me(self) -> httpx.Response:
        return await self.api.get("users/me")

    async def running(self, database_id: str = DATABASE) -> bool:
        return bool(
            (await self.api.get(f"databases/{database_id}/status")).json()["response"][
                "running"
            ]
        )

    def change(self, **settings: Any) -> None:
        self.emulator.settings = replace(self.emulator.settings, **settings)

    async def again(self, database_id: str = DATABASE) -> httpx.Response:
        """Restore a database to its newest snapshot, which is made unless there is one."""
        stored = self.emulator.snapshots(database_id) or [
            self.emulator.add_snapshot(database_id)
        ]
        return await self.restore(
            stored[0].version_id, name=database_id, to=database_id
        )

    async def plays(self, story: str) -> None:
        """Play a story: `create other: 429 KEEP_CALM 1r/5s; +4; stop_database; versions: 1`.

        A request has words of its answer after it, or how many it shows; `+` has seconds; all else is the emulator's own.
        """
        for move in story.split("; "):
            asked, _, expected = move.partition(": ")
            word, *given = asked.split()
            if word.startswith("+"):
                await self.clock.sleep(float(word))
            elif expected:
                seen = await (
                    self.asked(word, *given)
                    if word.isupper()
                    else getattr(self, word)(*given)
                )
                text = (
                    str(len(seen))
                    if isinstance(seen, list)
                    else f"{told(seen)} {seen.text} {waits(seen)}"
                )
                assert [each for each in expected.split() if each not in text] == [], (
                    move,
                    text,
                )
            else:
                getattr(self.emulator, word)(*given or [DATABASE])

    @property
    def last(self) -> JournalEntry:
        return self.emulator.journal[-1]


def told(answer: httpx.Response) -> str:
    """Its status with its code, or with `success`: `429 KEEP_CALM`."""
    body = answer.json()
    return f"{answer.status_code} {body.get('code', body['status'])}"


def waits(answer: httpx.Response) -> str:
    return f"retry-after:{answer.headers.get('retry-after')}"


@asynccontextmanager
async def visit(
    *, data_folder: Path | None = None, store: Store | None = None, **settings: Any
) -> AsyncIterator[Visit]:
    clock = Clock(START)
    emulator = Emulator(
        EmulatorSettings(**settings), clock=clock, data_folder=data_folder, store=store
    )
    if DATABASE not in emulator.databases:
        emulator.add_database(DATABASE)
    transport = EmulatorTransport(emulator)
    headers = {"Authorization": emulator.settings.api_key}
    async with (
        httpx.AsyncClient(
            transport=transport, base_url=emulator.api_url, headers=headers, timeout=120
        ) as api,
        httpx.AsyncClient(transport=transport, timeout=120) as files,
    ):
        yield Visit(emulator, api, files, clock)


visited = partial(staged, visit)
"""Decorate an async test that runs in virtual time with an emulator of these settings, which is its first argument."""
