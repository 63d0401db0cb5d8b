"""What a story begins with, drawn from its seed: the service, the machines, the stacks and their programs."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import Clock
from squarecloud_emulator import Emulator, EmulatorSettings
from squarecloud_emulator.service.resources import Restore
from tests.simulation.model_engine import Declared, Ref, Stack
from tests.support.inside import Computer, MachineClock
from tests.support.memory import Memory
from tests.support.world import START

if TYPE_CHECKING:
    from tests.simulation.stories import Story

MINUTE = 60.0
HOUR = 3600.0
SLOW_CALL = (0.05, 0.3)
"""For how many seconds a slow place is slow in each call."""
PROGRAMS = [
    ("before",),
    ("back",),
    ("before", "back"),
    ("before", "second"),
    ("before", "second", "back"),
]
"""The roles of a program's resources: Snapshots of one database, and a Restore of another one's."""
PROOF = "proof"
"""The role of a Drill."""


def draw_service(chance: random.Random) -> dict[str, Any]:
    """Draw how the service behaves, as settings of the emulator."""
    return {
        "snapshot_seconds": chance.choice([5.0, 60.0, 100.0, 200.0, 500.0]),
        "cache_world": chance.choice(["invalidated", "kept"]),
        "modified_is": chance.choice(["start", "end"]),
        "key_of_200_has_version": chance.random() < 0.7,
        "restore_seconds": chance.choice([5.0, 60.0, 60.0, 400.0]),
        "restore_queue_seconds": chance.choice([0.0, 0.0, 0.0, 150.0, 400.0]),
        "restore_holds": chance.random() < 0.3,
        "restore_stops_database": chance.random() < 0.7,
        "restore_tail_seconds": chance.choice([0.0, 120.0, 200.0]),
        "restore_status_route": chance.choice(
            ["there", "there", "there", "there", "404", "405"]
        ),
        "refusals_start_cooldown": chance.random() < 0.3,
        "clock_offset_seconds": chance.choice([0.0, 0.0, 0.7, -20.0, HOUR]),
        "plan_memory_mb": 256_000,
        "plan": chance.choice(["paid", "paid", "free"]),
        "name_style": chance.choice(["id", "id_type", "id_type_origin"]),
        "version_style": chance.choice(["uuid", "opaque"]),
        "old_style_entries": chance.random() < 0.25,
        "retry_after_header": chance.random() < 0.3,
    }


class ObservedEmulator(Emulator):
    """An emulator that remembers every restore which a request has started."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(
            EmulatorSettings(**settings),
            clock=MachineClock(0.0),
            base_url="http://127.0.0.1:1",
        )
        self.restores: list[tuple[str, Restore]] = []
        self.start_unobserved = self.account.start_restore
        self.account.start_restore = self._start_restore  # type: ignore[method-assign, assignment]

    def _start_restore(self, resource: Any, *args: Any) -> Restore:
        restore = self.start_unobserved(resource, *args)
        self.restores.append((resource.id, restore))
        return restore


def draw_computers(chance: random.Random, emulator: Emulator) -> list[Computer]:
    """Draw two machines, with ledgers of their own or with shared state."""
    computers = [
        Computer(
            name, emulator, place=Memory(Clock(START), where=name, is_shared=False)
        )
        for name in ("laptop", "runner")
    ]
    if chance.random() < 0.3:
        shared = Memory(Clock(START), where="shared")
        for computer in computers:
            computer.place = shared
            computer.places = computers[0].places
    if chance.random() < 0.4:
        for computer in computers:
            computer.place.delay = SLOW_CALL
    return computers


def draw_roles(chance: random.Random, service: dict[str, Any]) -> tuple[str, ...]:
    """Draw what a program declares."""
    roles = chance.choice(PROGRAMS)
    # If nothing shows that a restore has acted, a drill fails.
    has_status = service["restore_status_route"] == "there"
    has_outcome = has_status or not service["restore_queue_seconds"]
    is_seen = has_outcome and service["restore_stops_database"]
    if is_seen and chance.random() < 0.4:
        roles += (PROOF,)
    return roles


@dataclass
class Programs:
    """Writes the programs of a story's stacks."""

    emulator: Emulator
    roles: tuple[str, ...]
    upstream: bool  # whether something upstream is in the triggers
    follows: bool  # whether the snapshot is a trigger of the restore

    def write(self, stack: Stack, like: list[Declared]) -> None:
        """Write a stack's program: about the same databases as another one's, if there is one."""
        stack.program = list(like)
        if like:
            return
        source = self.emulator.add_database().id
        version = self.emulator.add_snapshot(source).version_id
        if self.upstream:
            stack.program.append(Declared("Upstream", "upstream", {"size": 1}))
        database = self.emulator.add_database().id
        for role in self.roles:
            stack.program.append(self._resource(role, database, source, version))
        self.set_triggers(stack)

    def _resource(
        self, role: str, database: str, source: str, version: str
    ) -> Declared:
        if role not in {"back", PROOF}:
            inputs: dict[str, Any] = {"database_id": database, "timeout": 45 * MINUTE}
            return Declared("Snapshot", role, inputs, role=role)
        target = self.emulator.add_database().id
        inputs = {"database_id": source, "version_id": version, "timeout": 15 * MINUTE}
        if role == "back":
            inputs |= {"target_database_id": target, "overwrite": True}
            return Declared("Restore", role, inputs, role=role)
        inputs |= {"scratch_database_id": target, "overwrite_scratch": True}
        inputs["connection"] = (
            f"postgresql://driller:never-shown@tunnel.example:6000/{target}"
        )
        inputs["checks"] = [{"query": "the version", "equals": version}]
        return Declared("Drill", role, inputs, role=role)

    def set_triggers(self, stack: Stack) -> None:
        """Write the stack's release into the triggers of everything in its program."""
        usual: list[Any] = [f"v{stack.release}"]
        if self.upstream:
            usual.append(Ref("upstream", "same"))
        snapshots = [
            Ref(one.name, "id") for one in stack.program if one.role == "before"
        ]
        for one in list(stack.program):
            if one.kind == "Upstream":
                stack.declare(one, inputs={"size": stack.size})
                continue
            depends = self.follows and one.kind == "Restore"
            triggers = [*usual, *snapshots] if depends else usual
            stack.declare(one, inputs={**one.inputs, "triggers": triggers})


class Scratch:
    """Stands for the library that speaks to a drill's scratch database, which says what it holds, and since when it runs."""

    def __init__(self, story: Story, dsn: str, *, timeout: float) -> None:
        assert timeout > 0
        self._story = story
        self._id = dsn.rpartition("/")[2]

    async def age(self) -> float | None:
        """Seconds for which the database runs."""
        await asyncio.sleep(0)
        at = self._story.emulator.existing(self._id)
        return (
            self._story.emulator.now() - (at.started_at or at.created_at)
        ).total_seconds()

    async def ask(self, _: str) -> str | None:
        """The version that was restored last."""
        await asyncio.sleep(10.0)
        mine = [
            restore for of, restore in self._story.emulator.restores if of == self._id
        ]
        done = [one for one in mine if one.error is None and not one.in_progress]
        return done[-1].version_id if done else None
