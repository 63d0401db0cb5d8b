"""An emulator on a virtual clock, and clients that send it requests. No assertions."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any

import httpx

from pulumi_snapshots.clock import Clock
from squarecloud_emulator import Emulator, EmulatorSettings, JournalEntry
from squarecloud_emulator.data.store import Store
from tests.support.virtual import run_virtual
from tests.support.wire import EmulatorTransport

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class Visit:
    emulator: Emulator
    api: httpx.AsyncClient
    files: httpx.AsyncClient
    clock: Clock

    async def create(self, database_id: str = DATABASE, **options: Any) -> httpx.Response:
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
        """The version of another snapshot."""
        return self.emulator.add_snapshot(database_id, **options).version_id

    def sql(self, *statements: str) -> Any:
        """The rows of the last statement."""
        return self.emulator.execute(DATABASE, *statements)[-1]

    async def restore(self, version_id: str, *, name: str = DATABASE, to: str = DATABASE) -> httpx.Response:
        body = {"snapshotId": name, "versionId": version_id}
        return await self.api.post(f"databases/{to}/snapshots/restore", json=body)

    async def running(self, database_id: str = DATABASE) -> bool:
        return bool((await self.api.get(f"databases/{database_id}/status")).json()["response"]["running"])

    def change(self, **settings: Any) -> None:
        self.emulator.settings = replace(self.emulator.settings, **settings)

    @property
    def last(self) -> JournalEntry:
        return self.emulator.journal[-1]


def told(answer: httpx.Response) -> str:
    """Its status with its code, or with `success`: `429 KEEP_CALM`."""
    body = answer.json()
    return f"{answer.status_code} {body.get('code', body['status'])}"


@asynccontextmanager
async def visit(
    *, data_folder: Path | None = None, store: Store | None = None, **settings: Any
) -> AsyncIterator[Visit]:
    clock = Clock(START)
    emulator = Emulator(EmulatorSettings(**settings), clock=clock, data_folder=data_folder, store=store)
    if DATABASE not in emulator.databases:
        emulator.add_database(DATABASE)
    transport = EmulatorTransport(emulator)
    headers = {"Authorization": emulator.settings.api_key}
    async with (
        httpx.AsyncClient(transport=transport, base_url=emulator.api_url, headers=headers, timeout=120) as api,
        httpx.AsyncClient(transport=transport, timeout=120) as files,
    ):
        yield Visit(emulator, api, files, clock)


def visited(**settings: Any) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Run an async test in virtual time with an emulator of these settings, which is its first argument."""

    def of(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        @wraps(test)
        def run(**values: Any) -> None:
            async def body() -> None:
                async with visit(**settings) as at:
                    await test(at, **values)

            run_virtual(body)

        signature = inspect.signature(test)
        run.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
        return run

    return of
