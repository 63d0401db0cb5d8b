"""What an account owns: databases, applications, their snapshots, and work in progress. Data without rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal

__all__ = [
    "DATABASE_TYPES",
    "ID",
    "Application",
    "Database",
    "Family",
    "Origin",
    "Resource",
    "RunningRestore",
    "RunningSnapshot",
    "StoredSnapshot",
]

Family = Literal["databases", "applications"]
Origin = Literal["manual", "automatic"]
# Ids in the OpenAPI document are 32 hex digits, except in one of its examples; an application's may name a workspace.
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
DATABASE_TYPES = ("mongo", "mysql", "redis", "postgres")  # the engines that the service has


@dataclass(kw_only=True)
class Resource:
    """A database or an application."""

    family: ClassVar[Family]

    id: str
    name: str
    ram: int  # MB
    created_at: datetime
    cluster: str = "emulator-1"
    running: bool = True
    snapshot_seconds: float | None = None  # None: as the settings say
    next_snapshot_seconds: float | None = None  # for the next snapshot only
    next_snapshot_fails: bool = False
    next_restore_fails: bool = False

    @property
    def runtime(self) -> str:
        """The engine, as listings show it."""
        raise NotImplementedError


@dataclass(kw_only=True)
class Database(Resource):
    """A database."""

    family: ClassVar[Family] = "databases"

    type: str = "postgres"  # one of DATABASE_TYPES
    port: int = 7058

    @property
    def runtime(self) -> str:
        """The engine, as listings show it."""
        return self.type


@dataclass(kw_only=True)
class Application(Resource):
    """An application; only its snapshots are emulated."""

    family: ClassVar[Family] = "applications"

    language: str = "python"

    @property
    def runtime(self) -> str:
        """The engine, as listings show it."""
        return self.language


@dataclass(kw_only=True)
class StoredSnapshot:
    """One version of a resource's backup object in storage."""

    version_id: str
    database_id: str  # or an application's
    family: Family
    name: str  # of the storage object; several versions share it
    size: int  # bytes
    modified: datetime
    stored_at: datetime  # when the object got this version; the latest one is what an unpinned URL serves
    runtime: str | None
    origin: Origin | None
    listed: bool = True


@dataclass(kw_only=True, order=True)
class RunningSnapshot:
    """A snapshot in progress: its time must pass, and the store must write its zip. Ordered by `ready_at`."""

    ready_at: datetime
    version_id: str
    database_id: str = field(compare=False)
    name: str = field(compare=False)
    size: int | None = field(compare=False)  # bytes; None until the zip is written
    started_at: datetime = field(compare=False)
    fails: bool = field(compare=False)
    origin: Origin = field(compare=False, default="manual")


@dataclass(kw_only=True)
class RunningRestore:
    """A restore in progress: the database is down until it ends, and then holds the version's data."""

    ends_at: datetime
    database_id: str
    version_id: str
