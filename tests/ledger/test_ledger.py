"""What runs know of each other's requests: it is written before they leave, and stays as long as somebody may need it."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from pulumi_snapshots.clock import Clock, ServiceClock, rfc3339
from pulumi_snapshots.errors import HintKind, LedgerUnavailable
from pulumi_snapshots.ledger.attempt import (
    KEPT,
    Attempt,
    Claim,
    Intent,
    Kind,
    Proof,
    Request,
    Status,
)
from pulumi_snapshots.ledger.ledger import ATTEMPTS, Ledger
from pulumi_snapshots.ledger.place import Document
from tests.support.memory import Memory
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START

OURS, OTHER = "shop::dev::ours", "shop::dev::other"
COMMAND = "squarecloud-snapshots create"
HOUR = timedelta(hours=1)


class Service:
    """A place, and the runs that use it."""

    def __init__(self, **memory: Any) -> None:
        self.clock = Clock(START)
        self.clock.utc()
        self.place = Memory(self.clock, chance=random.Random(1), **memory)

    def run(self) -> Ledger:
        return Ledger(self.place, ServiceClock(self.clock))

    def intent(
        self, owner: str | None = OURS, purpose: str = "v1", kind: Kind = "snapshot", **changes: Any
    ) -> Intent:
        return replace(Intent(kind, owner, DATABASE, purpose, 600.0), **changes)

    async def claim(self, run: Ledger, *about: Any, **changes: Any) -> Claim:
        wanted = self.intent(*about, **changes)
        return await run.edit(lambda document: run.decided(document, wanted))

    async def claimed(self, run: Ledger, *about: Any, **changes: Any) -> Attempt:
        claim = await self.claim(run, *about, **changes)
        assert claim.role == "new"
        return claim.attempt

    async def only(self) -> Attempt:
        (attempt,) = await self.run().attempts()
        return attempt


@pytest.mark.parametrize("contended", [0.0, 0.6])
@virtual
async def test_of_many_that_claim_at_once_one_sends(contended: float) -> None:
    service, claims = Service(delay=(0.0, 0.3)), list[Claim]()
    service.place.contended = contended

    async def claim(owner: str) -> None:
        claims.append(await service.claim(service.run(), owner))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(claim, OURS if number % 2 else OTHER)
    (new,) = [claim.attempt for claim in claims if claim.role == "new"]
    assert {claim.attempt.id for claim in claims} == {new.id}
    assert sorted(claim.role for claim in claims).count("in the way") == 10
    assert await service.only() == new


@virtual
async def test_an_end_that_another_run_has_seen_is_not_taken_back() -> None:
    service = Service()
    one, other = service.run(), service.run()
    attempt = await service.claimed(one)
    found = await other.ended(attempt, "version")
    assert (
        await one.update(
            attempt, request=replace(attempt.request, answered="502"), status=Status.LOST
        )
        == found
    )
    assert await one.update(attempt, result="another") == found
    assert await one.ended(attempt, "another") == found
    assert await service.only() == found


@virtual
async def test_what_calls_show_while_the_ledger_is_read_is_proved_too() -> None:
    service = Service(delay=(0.3, 0.3))
    run, shown = service.run(), list[tuple[str, Proof]]()
    for owner in (OTHER, OURS):
        found = await run.ended(await service.claimed(run, owner), owner)
        requested = rfc3339(found.request.requested)
        shown.append((owner, Proof("snapshot", DATABASE, owner, requested_at=requested)))
        await anyio.sleep(600)
    later = service.run()

    async def show(owner: str, proof: Proof) -> None:
        await later.note(proof, owner)

    async with anyio.create_task_group() as group:
        for owner, proof in shown:
            group.start_soon(show, owner, proof)
            await anyio.sleep(0.1)
    assert all(each.proved for each in await later.attempts())


@virtual
async def test_a_database_is_held_as_long_as_somebody_asks_for_it() -> None:
    service = Service()
    run = service.run()
    attempt = await service.claimed(run, kind="restore")
    attempt = await run.ended(attempt, "2026-03-01T12:00:00Z", holds=timedelta(seconds=90))

    async def role() -> str:
        return (await service.claim(service.run(), OTHER, kind="restore", purpose="v2")).role

    await anyio.sleep(80)
    assert await role() == "in the way"
    await run.update(attempt, held_until=service.clock.utc() + timedelta(seconds=90))
    await anyio.sleep(80)
    assert await role() == "in the way"
    await run.update(attempt, held_until=None)
    assert await role() == "new"
    withdrawn = replace(attempt, request=replace(attempt.request, id="gone"), status=Status.LOST)
    await run.update(withdrawn, account="a")
    assert len(await run.attempts()) == 2, "what has started nothing is back"


@virtual
async def test_a_claim_drops_what_is_past_and_nothing_else() -> None:
    service = Service()
    run = service.run()
    await run.ended(await service.claimed(run, OTHER), "unproved")
    await run.ended(await service.claimed(run, COMMAND), "proved")
    await anyio.sleep(3 * 3600)
    await service.claimed(run)
    assert [each.owner for each in await run.attempts()] == [OTHER, OURS]
    await anyio.sleep(KEPT.total_seconds() + 60)
    await service.claimed(run, database_id=OTHER_DATABASE)
    assert [each.database_id for each in await run.attempts()] == [OTHER_DATABASE]


# What states have


REQUESTED = "2026-03-01T12:00:00Z"
"""When all of them were requested, as a state has it."""


async def noted(run: Ledger, **proof: Any) -> None:
    await run.note(
        Proof("snapshot", DATABASE, **{"requested_at": REQUESTED, "purpose": "v1", **proof}), OURS
    )


@virtual
async def test_a_version_in_a_state_proves_its_attempt_by_one_write() -> None:
    service = Service()
    run = service.run()
    await run.ended(await service.claimed(run), "version")
    later, before = service.run(), service.place.writes
    await noted(later, result="version")
    assert (await service.only()).proved
    assert service.place.writes == before + 1
    service.place.refuses_reads = "it was read again"
    await noted(later, result="version")
    service.place.refuses_reads = ""
    assert (await service.claim(later)).role == "new"


@virtual
async def test_calls_that_prove_nothing_cost_one_read_of_a_process() -> None:
    service = Service()
    run = service.run()
    await run.ended(await service.claimed(run, OTHER), "another")
    later, before = service.run(), service.place.writes
    await noted(later, result="version", requested_at="2026-03-01T11:00:00Z")
    service.place.refuses_reads = "it was read again"
    for number in range(1000):
        await noted(later, result=f"version {number}", requested_at="2026-03-01T11:00:00Z")
    await noted(later, result="another", requested_at=None)
    assert service.place.writes == before, "a state that has adopted it"


@virtual
async def test_a_pending_request_that_only_a_state_has_is_in_the_way_of_others_and_is_not_resumed_twice() -> (
    None
):
    service = Service()
    request = Request(START, "202", 600.0, "of another machine")
    for _ in range(2):
        await noted(service.run(), request=request)
    there = await service.only()
    assert (there.request, there.status, there.owner, there.proved) == (
        request,
        Status.ACCEPTED,
        OURS,
        True,
    )
    assert (await service.claim(service.run(), OTHER)).role == "in the way"


@pytest.mark.parametrize(
    ("kind", "many"), [("snapshot", 300), pytest.param("restore", 1000, marks=pytest.mark.nightly)]
)
@virtual
async def test_a_destroy_right_after_an_up_of_many_takes_few_edits(kind: Kind, many: int) -> None:
    service = Service(delay=(0.1, 0.1))
    run, databases = service.run(), [f"{number:032x}" for number in range(many)]

    def fill(document: Document) -> None:
        for database_id in databases:
            request = Request(START, "202", 600.0, database_id)
            done = Attempt(kind, OURS, database_id, "v1", request, Status.FOUND, None, "v1", START)
            document.setdefault(ATTEMPTS, {})[database_id] = done.to_outputs()

    await service.place.edit(fill)
    before, began = service.place.writes, service.clock.monotonic()
    turns = anyio.Semaphore(16)  # as many as the engine deletes at once

    async def delete(database_id: str) -> None:
        async with turns:
            proof = Proof(kind, database_id, "v1", requested_at=REQUESTED)
            await run.note(proof, OURS, "run" if kind == "restore" else None)

    async with anyio.create_task_group() as group:
        for database_id in databases:
            group.start_soon(delete, database_id)
    assert service.place.writes - before <= 0.3 * many
    assert service.clock.monotonic() - began < 0.3 * many
    there = await run.attempts()
    assert all(each.proved and (each.let_go == "run") is (kind == "restore") for each in there)


@virtual
async def test_what_could_not_be_entered_of_a_state_is_entered_by_the_next_call() -> None:
    service = Service()
    run = service.run()
    for owner in (OURS, OTHER):
        await run.ended(await service.claimed(run, owner), owner)
    later = service.run()
    service.place.refuses_writes = "the disk is full"
    with pytest.raises(LedgerUnavailable):
        await noted(later, result=OURS)
    service.place.refuses_writes = ""
    for owner in (OURS, OTHER):
        await noted(later, result=owner)
    assert all(each.proved for each in await run.attempts())


# Entries that no run has written like that

STRANGE: dict[str, Any] = {
    "": [7, [], "x", {"a": 7}, {"a": None}, {"a": []}],
    "kind": ["archive"],
    "owner": [7],
    "database_id": [7],
    "purpose": [None],
    "status": ["over"],
    "source": [7],
    "result": [7],
    "ended_at": ["9999-12-31T23:59:59Z"],
    "held_until": ["yesterday"],
    "request": [{}],
    "more": [1],
    "posted_at": ["9999-12-31T23:59:59Z"],
    "timeout": ["long"],
    "answered": [[]],
    "service_clock_offset": [1e300],
}
"""By the field of an attempt, or of its request, what no run writes there; without a name, in the place of all attempts."""


@pytest.mark.parametrize(
    ("name", "value"), [(name, each) for name in STRANGE for each in STRANGE[name]]
)
@virtual
async def test_an_entry_that_no_run_writes_stays_as_it_is_and_nothing_is_sent(
    name: str, value: Any
) -> None:
    service = Service()
    attempt = (await service.claimed(service.run())).to_outputs()
    (attempt["request"] if name in attempt["request"] else attempt)[name] = value
    await service.place.edit(
        lambda document: document.update({ATTEMPTS: {"a": attempt} if name else value})
    )
    before, run = service.place.data, service.run()
    for use in (run.attempts(), service.claim(run), noted(run, result="version")):
        with pytest.raises(
            LedgerUnavailable, match="memory: it holds an entry that cannot be read"
        ) as unavailable:
            await use
        assert HintKind.MOVE_LEDGER_ASIDE in [each.step for each in unavailable.value.then]
    assert service.place.data == before
