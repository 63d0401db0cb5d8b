"""The ledger in memory plays what tests ask of it: a slow place, one that refuses, other writers, and lost answers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors.outcomes import LedgerUnavailable
from tests.ledger.racing import count
from tests.support.memory import Memory
from tests.support.virtual import virtual
from tests.support.world import START


@virtual
async def test_a_call_takes_as_long_as_asked_for() -> None:
    clock = Clock(START)
    memory = Memory(clock, delay=(2.0, 2.0))
    began = clock.monotonic()
    await memory.edit(count)
    assert clock.monotonic() - began == 2


@pytest.mark.parametrize(("read", "edit"), [(True, False), (False, True)], ids=["reads", "writes"])
@virtual
async def test_it_refuses_reads_or_writes(*, read: bool, edit: bool) -> None:
    memory = Memory(Clock(START))
    await memory.edit(count)
    memory.refuses_reads, memory.refuses_writes = "gone" * read, "full" * edit
    with pytest.raises(LedgerUnavailable, match=r"memory: (gone|full)"):
        await memory.edit(count)
    assert memory.writes == 1
    if edit:
        assert await memory.read() == {"number": 1}


@virtual
async def test_a_lost_answer_is_of_a_write_that_is_in() -> None:
    memory = Memory(Clock(START))
    memory.accident = lambda document: "the answer was lost" if document["number"] == 1 else ""
    with pytest.raises(LedgerUnavailable, match="the answer was lost"):
        await memory.edit(count)
    assert await memory.edit(count) == 2


@virtual
async def test_a_change_is_made_again_when_others_are_faster() -> None:
    memory, calls = Memory(Clock(START), chance=random.Random(1)), list[int]()
    memory.contended = 0.5

    def change(document: dict[str, Any]) -> None:
        calls.append(count(document))

    for _ in range(20):
        await memory.edit(change)
    assert len(calls) > 25
    assert await memory.read() == {"number": 20}
