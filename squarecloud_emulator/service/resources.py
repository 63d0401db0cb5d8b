"""What an account owns: databases, their snapshots, and work in progress. Data without rules."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from squarecloud_emulator.data.damage import Damage
from squarecloud_emulator.service.ranges import COUNT, SECONDS, refuse_any_outside

Origin = Literal["manual", "automatic"]
# Ids in the OpenAPI document are 32 hex digits, except in one of its examples.
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
ADDRESSES = {
    "mongo": ("mongodb", "default"),
    "mysql": ("mysql", "squarecloud"),
    "redis": ("rediss", "default"),
    "postgres": ("postgresql", "squarecloud"),
}
"""The engines that the service has, with the scheme and the user of their addresses."""


_RANGES = {"ram": COUNT, "snapshot_seconds": SECONDS, "next_snapshot_seconds": SECONDS}
"""The least and the largest right number of each attribute of a database."""


@dataclass(kw_only=True)
class Database:
    """A database."""

    id: str
    name: str
    type: str = "postgres"  # one of ADDRESSES
    ram: int  # MB
    created_at: datetime
    cluster: str = "emulator-1"
    running: bool = True
    started_at: datetime | None = None  # None: when it was created
    snapshot_seconds: float | None = None  # None: as the settings say
    next_snapshot_seconds: float | None = None  # for the next snapshot only
    next_snapshot_fails: bool = False
    # it succeeds, and its data is not the database's
    next_snapshot_damage: Damage | None = None
    next_restore_fails: bool = False  # the POST is refused
    # the code with which it fails after it was accepted
    next_restore_error: str | None = None
    next_restore_does_nothing: bool = False  # it succeeds, and the data stays as it is
    # it succeeds, and the database does not come up
    next_restore_leaves_down: bool = False
    version: str = ""
    port: int = 7058
    # how often "password" and "certificate" were made again
    resets: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse numbers that no service has.

        Raises:
            ValueError: A number is out of its range.
        """
        refuse_any_outside(self, _RANGES)

    def credential(self, kind: str) -> str:
        """Its password, or what its certificate is made of; another one after each reset."""
        return hashlib.sha256(
            f"{kind} {self.resets.get(kind, 0)} of {self.id}".encode()
        ).hexdigest()

    @property
    def address(self) -> str:
        """How a client connects to it: the service's form of host, user and database."""
        scheme, user = ADDRESSES[self.type]
        return f"{scheme}://{user}:{self.credential('password')}@square-cloud-db-{self.id}.squareweb.app:{self.port}/squarecloud"


@dataclass(kw_only=True)
class StoredSnapshot:
    """One version of a resource's backup object in storage."""

    version_id: str
    database_id: str
    name: str  # of the storage object; several versions share it
    size: int  # bytes
    modified: datetime
    # when the object got this version; the latest one is what an unpinned URL serves
    stored_at: datetime
    runtime: str | None
    origin: Origin | None
    listed: bool = True

    @property
    def names(self) -> set[str]:
        """The names by which a restore finds it.

        Its own, its resource's id, and that with the engine.
        """
        return {self.name, self.database_id, f"{self.database_id}_{self.runtime}"}


@dataclass(kw_only=True, order=True)
class RunningSnapshot:
    """A snapshot in progress: its time must pass, and the store must write its zip.

    Ordered by `ready_at`.
    """

    ready_at: datetime
    version_id: str
    database_id: str = field(compare=False)
    name: str = field(compare=False)
    size: int | None = field(compare=False)  # bytes; None until the zip is written
    started_at: datetime = field(compare=False)
    fails: bool = field(compare=False)
    origin: Origin = field(compare=False, default="manual")


@dataclass(kw_only=True)
class Restore:
    """The last restore of a resource: in progress, or over and remembered for a while."""

    database_id: str
    version_id: str
    started_at: datetime
    queued: bool = False  # whether it waits until `started_at`
    ends_at: datetime  # when its time has passed; the store may still be working on the data then
    error: str | None = None  # the code with which it fails; the data stays as it is
    does_nothing: bool = False  # it succeeds all the same
    leaves_down: bool = False  # it succeeds, and its database stays down
    worked_until: datetime | None = None  # when the store was done, if that takes time
    finished_at: datetime | None = None  # None while it is queued or running

    @property
    def in_progress(self) -> bool:
        """Whether it is queued or running."""
        return self.finished_at is None

    def state(self, now: datetime) -> str:
        """How it stands, in the service's words."""
        if self.in_progress:
            return "queued" if self.queued and now < self.started_at else "running"
        return "success" if self.error is None else "error"

    def step(self, now: datetime) -> str | None:
        """What it is doing, or was doing when it failed, in the service's words."""
        state = self.state(now)
        if state == "error":
            return "interrupted" if self.error == "RESTORE_INTERRUPTED" else "unzip"
        if state == "running":
            return (
                "download"
                if now - self.started_at < (self.ends_at - self.started_at) / 2
                else "unzip"
            )
        return None
