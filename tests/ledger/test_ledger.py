"""What runs know of each other's requests: it is written before they leave, and stays as long as somebody may need it."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from pulumi_snapshots.clock import Clock, ServiceClock
from pulumi_snapshots.errors import HintKind, LedgerUnavailable
from pulumi_snapshots.ledger.attempt import (
    FOUND_KEPT,
    KEPT,
    LEAVES_WITHIN,
    NEVER,
    SAVED,
    SECOND,
    Attempt,
    Kind,
    Request,
    Status,
    last_restored,
)
from pulumi_snapshots.ledger.decision import Claim, Wish
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import ATTEMPTS, Document
from tests.support.memory import Memory
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START

OURS = "shop::dev::ours"
OTHER = "shop::dev::other"
COMMAND = "squarecloud-snapshots create"
RESTORED = "2026-03-01T12:00:00Z"
MINUTE = timedelta(minutes=1)
ANSWERED_WITHIN = timedelta(seconds=150)


class Service:
    """A place, and the runs that use it."""

    def __init__(self, **memory: Any) -> None:
        self.clock = Clock(START)
        self.clock.utc()
        self.place = Memory(self.clock, chance=random.Random(1), **memory)
        self._claims = 0

    def run(self, *, asked: bool = True) -> Ledger:
        """A run that knows the service's time, unless it has not `asked`."""
        run = Ledger(self.place, ServiceClock(self.clock))
        if asked:
            now = self.clock.utc()
            run.clock.observe(now.replace(microsecond=0), now, now)
        return run

    def wish(
        self,
        owner: str | None = OURS,
        purpose: str = "v1",
        kind: Kind = "snapshot",
        **changes: Any,
    ) -> Wish:
        self._claims += 1
        wanted = Wish(
            kind, owner, DATABASE, purpose, 600.0, id=f"request {self._claims}"
        )
        return replace(wanted, **changes)

    async def claim(self, run: Ledger, *about: Any, **changes: Any) -> Claim:
        wanted = self.wish(*about, **changes)
        return await run.edit(lambda document: run.decided(document, wanted))

    async def claimed(self, run: Ledger, *about: Any, **changes: Any) -> Attempt:
        claim = await self.claim(run, *about, **changes)
        assert claim.role == "new"
        return claim.attempt

    async def leave(self, run: Ledger, attempt: Attempt) -> Attempt | None:
        return await run.edit(
            lambda document: run.left(document, attempt, ANSWERED_WITHIN)
        )

    async def sent(self, run: Ledger, *about: Any, **changes: Any) -> Attempt:
        """A request that has left."""
        attempt = await self.leave(run, await self.claimed(run, *about, **changes))
        assert attempt is not None
        return attempt

    async def only(self) -> Attempt:
        (attempt,) = await self.run().attempts()
        return attempt


def answered(attempt: Attempt, how: str = "202") -> Attempt:
    """The attempt as its run knows it once it was answered like that."""
    request = replace(attempt.request, answered=how)
    return replace(attempt, request=request, status=request.status)


# Claims ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contended", [0.0, 0.6])
@virtual
async def test_of_many_that_claim_at_once_one_sends(contended: float) -> None:
    service = Service(delay=(0.0, 0.3))
    service.place.contended = contended
    claims = list[Claim]()

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
async def test_a_claim_whose_own_write_had_no_answer_is_not_waited_for() -> None:
    service = Service()
    wanted = service.wish()
    run = service.run()
    claims = [
        await run.edit(lambda document: run.decided(document, wanted)) for _ in range(2)
    ]
    assert [claim.role for claim in claims] == ["new", "new"]
    assert len({claim.attempt.id for claim in claims}) == 1
    await service.only()


@pytest.mark.parametrize(
    ("late", "leaves"),
    [(LEAVES_WITHIN, True), (LEAVES_WITHIN + SECOND, False)],
    ids=str,
)
@virtual
async def test_a_request_leaves_only_in_time(late: timedelta, *, leaves: bool) -> None:
    service = Service()
    run = service.run()
    claim = await service.claimed(run)
    await anyio.sleep(late.total_seconds())
    sent = await service.leave(run, claim)
    if not leaves:
        assert sent is None
        assert await service.only() == claim, "it is refused, and changes nothing"
        return
    assert sent is not None
    assert (sent.status, sent.due) == (Status.SENT, run.clock.now() + ANSWERED_WITHIN)
    assert await service.only() == sent


@virtual
async def test_no_request_leaves_twice_on_one_claim_or_on_one_that_is_gone() -> None:
    service = Service()
    run = service.run()
    claim = await service.claimed(run)
    assert await service.leave(run, claim) is not None
    assert await service.leave(run, claim) is None, "it has left"
    assert await run.withdraw(claim)
    assert await service.leave(run, claim) is None, "it is not there"
    assert await run.attempts() == []


@virtual
async def test_a_claim_of_a_killed_run_costs_others_seconds() -> None:
    service = Service()
    await service.claimed(service.run(), OTHER)
    assert (await service.claim(service.run())).role == "in the way"
    await anyio.sleep((LEAVES_WITHIN + 2 * SECOND).total_seconds())
    await service.claimed(service.run())
    assert (await service.only()).owner == OURS, "what was never sent is not kept"


# An attempt only moves forward -------------------------------------------------------------------

CLAIM = Attempt(
    "restore",
    OURS,
    DATABASE,
    "v1",
    Request(START, "not answered", 600.0, "a"),
    Status.CLAIMED,
    due=START + LEAVES_WITHIN,
)
SENT = replace(CLAIM, status=Status.SENT, due=START + ANSWERED_WITHIN)
LOST = answered(SENT, "502")
ACCEPTED = answered(SENT)
BEGUN = replace(ACCEPTED, request=replace(ACCEPTED.request, began=START + SECOND))
ENDED = replace(ACCEPTED, request=replace(ACCEPTED.request, outcome="success"))
FOUND = replace(ACCEPTED, status=Status.FOUND, result=RESTORED, ended_at=START + MINUTE)
FORWARD = [CLAIM, SENT, LOST, ACCEPTED, FOUND]


@pytest.mark.parametrize("behind", FORWARD[:-1], ids=lambda each: each.status)
@pytest.mark.parametrize("ahead", FORWARD, ids=lambda each: each.status)
def test_an_attempt_only_moves_forward(behind: Attempt, ahead: Attempt) -> None:
    if FORWARD.index(behind) >= FORWARD.index(ahead):
        return
    assert behind.joined(ahead) == ahead.joined(behind) == ahead


@pytest.mark.parametrize(
    ("one", "other"), [(BEGUN, ENDED), (BEGUN, FOUND), (ENDED, LOST), (BEGUN, SENT)]
)
def test_two_views_of_an_attempt_give_the_same_in_both_orders(
    one: Attempt, other: Attempt
) -> None:
    joined = one.joined(other)
    assert joined == other.joined(one)
    assert joined.request.began == (one.request.began or other.request.began)
    assert joined.request.outcome == (one.request.outcome or other.request.outcome)


def test_what_one_view_lacks_of_states_stays() -> None:
    there = replace(ACCEPTED, in_state="run")
    assert there.joined(FOUND) == replace(FOUND, in_state="run")
    assert there.joined(replace(FOUND, in_state=SAVED)).is_dropped
    assert FOUND.joined(replace(FOUND, in_state=SAVED)).saved
    stale = replace(FOUND, in_state="run")
    assert not FOUND.joined(stale).is_dropped, "only a drop drops it"


def test_a_first_result_stays() -> None:
    failed = replace(FOUND, status=Status.FAILED, result="SNAPSHOT_CORRUPT")
    assert FOUND.joined(failed) == FOUND
    assert failed.joined(FOUND) == failed


@virtual
async def test_an_end_that_another_run_has_seen_is_not_taken_back() -> None:
    service = Service()
    one = service.run()
    other = service.run()
    attempt = await service.sent(one)
    found = await other.end(attempt, "version")
    assert (found.status, found.result) == (Status.FOUND, "version")
    assert await one.enter(answered(attempt, "502")) == found
    assert await one.end(attempt, "another") == found
    assert await one.end(attempt, "CODE", failed=True) == found
    assert await service.only() == found


@virtual
async def test_a_withdrawal_leaves_what_another_run_has_found() -> None:
    service = Service()
    attempt = await service.sent(service.run())
    await service.run().end(attempt, "version")
    assert not await service.run().withdraw(attempt)
    assert (await service.only()).result == "version"


@virtual
async def test_a_withdrawal_leaves_what_another_run_knows_to_be_accepted() -> None:
    service = Service()
    attempt = await service.sent(service.run())
    lost = answered(attempt, "timeout")
    await service.run().enter(answered(attempt))
    assert not await service.run().withdraw(lost)
    assert (await service.only()).request.accepted


@virtual
async def test_a_withdrawal_takes_what_the_ledger_knows_less_of() -> None:
    service = Service()
    attempt = await service.sent(service.run())
    assert await service.run().withdraw(answered(attempt))
    assert await service.run().attempts() == []


@virtual
async def test_what_was_withdrawn_does_not_come_back_without_an_answer() -> None:
    service = Service()
    run = service.run()
    attempt = await service.sent(run)
    assert await run.withdraw(attempt)
    assert await run.withdraw(attempt), "it is gone"
    assert await run.enter(answered(attempt, "502")) == answered(attempt, "502")
    assert await run.attempts() == [], "what has started nothing is back"
    await run.hold(attempt, service.clock.utc() + MINUTE)
    assert await run.attempts() == []
    await run.enter(answered(attempt))
    assert (await service.only()).status is Status.ACCEPTED, (
        "what was accepted must be known"
    )


@virtual
async def test_a_database_was_last_restored_when_its_own_last_restore_ended() -> None:
    service = Service()
    run = service.run()
    assert last_restored(await run.attempts(), DATABASE) == NEVER
    restore = await service.sent(run, kind="restore")
    await service.clock.sleep(100)
    await run.end(restore, RESTORED)
    ended_at = run.clock.now()
    await service.clock.sleep(600)
    other = service.wish(kind="restore", database_id=OTHER_DATABASE)
    await run.edit(lambda document: run.decided(document, other))
    attempts = await run.attempts()
    assert last_restored(attempts, DATABASE) == ended_at
    assert last_restored(attempts, OTHER_DATABASE) > ended_at


@virtual
async def test_what_only_a_state_has_is_in_the_way_of_others() -> None:
    service = Service()
    request = Request(START, "502", 600.0, "of another machine")
    theirs = Attempt(
        "snapshot", OTHER, DATABASE, "v1", request, Status.LOST, in_state=SAVED
    )
    for _ in range(2):
        assert await service.run().enter(theirs, is_new=True) == theirs
    assert await service.only() == theirs
    assert (await service.claim(service.run())).role == "in the way"


@virtual
async def test_a_database_is_held_as_long_as_somebody_asks_for_it() -> None:
    service = Service()
    run = service.run()
    attempt = await service.sent(run, kind="restore")
    attempt = await run.end(attempt, RESTORED, holds=timedelta(seconds=90))

    async def role() -> str:
        return (
            await service.claim(service.run(), OTHER, kind="restore", purpose="v2")
        ).role

    await anyio.sleep(80)
    assert await role() == "in the way"
    await run.hold(attempt, service.clock.utc() + timedelta(seconds=90))
    await anyio.sleep(80)
    assert await role() == "in the way"
    await run.hold(attempt, None)
    assert await role() == "new"


# What is kept ------------------------------------------------------------------------------------


async def _end_two(service: Service) -> None:
    """One whose state was not saved, and one of a command, to which nobody returns."""
    run = service.run()
    await run.end(await service.sent(run, OTHER), "unsaved")
    await run.end(await service.sent(run, COMMAND), "a command's")


@virtual
async def test_a_claim_drops_what_is_past_and_nothing_else() -> None:
    service = Service()
    await _end_two(service)
    run = service.run()
    await anyio.sleep((FOUND_KEPT + MINUTE).total_seconds())
    await service.sent(run)
    assert [each.owner for each in await run.attempts()] == [OTHER, OURS]
    await anyio.sleep((KEPT + MINUTE).total_seconds())
    await service.claimed(run, database_id=OTHER_DATABASE)
    assert [each.database_id for each in await run.attempts()] == [OTHER_DATABASE]


@virtual
async def test_a_clock_that_no_answer_has_confirmed_drops_nothing() -> None:
    service = Service()
    await _end_two(service)
    await service.claimed(service.run(), database_id=OTHER_DATABASE)
    await anyio.sleep((2 * KEPT).total_seconds())
    run = service.run(asked=False)
    await service.claimed(run)
    assert len(await run.attempts()) == 4, (
        "a machine that is weeks ahead deletes what others know"
    )


# What states have --------------------------------------------------------------------------------


@virtual
async def test_what_states_have_is_marked_with_the_next_edit_and_costs_none() -> None:
    service = Service()
    run = service.run()
    found = await run.end(await service.sent(run), "version")
    for name in found.names:
        later = service.run()
        before = service.place.writes
        later.seen = {name}
        await later.attempts()
        assert service.place.writes == before, "a run without a change writes"
        assert not (await service.only()).saved
        await later.hold(found, None)
        assert (await service.only()).saved
        assert service.place.writes == before + 1
        await later.enter_seen()
        assert service.place.writes == before + 1, "it is marked already"
        await service.place.edit(
            lambda document: document[ATTEMPTS][found.id].pop("in_state", None)
        )


@virtual
async def test_what_is_not_in_a_state_is_not_marked_as_saved() -> None:
    service = Service()
    run = service.run()
    await run.end(await service.sent(run, OTHER), "version")
    before = service.place.writes
    later = service.run()
    later.seen = {"another", f"snapshot of {OTHER_DATABASE} at {RESTORED}"}
    await later.enter_seen()
    assert service.place.writes == before
    assert not (await service.only()).saved


@virtual
async def test_what_a_state_has_again_was_not_dropped() -> None:
    """The engine makes again what it has deleted because of something upstream."""
    service = Service()
    run = service.run()
    done = await run.end(await service.sent(run, kind="restore"), RESTORED)
    await run.drop(done.names, "run")
    assert (await service.only()).in_state == "run"
    await run.hold(done, None)
    assert (await service.only()).in_state == "run"
    run.seen = done.names
    await run.enter_seen()
    assert (await service.only()).in_state == SAVED


@pytest.mark.parametrize(
    ("kind", "many"),
    [("snapshot", 300), pytest.param("restore", 1000, marks=pytest.mark.nightly)],
)
@virtual
async def test_a_destroy_right_after_an_up_of_many_takes_few_edits(
    kind: Kind, many: int
) -> None:
    service = Service(delay=(0.1, 0.1))
    run = service.run()
    databases = [f"{number:032x}" for number in range(many)]

    def fill(document: Document) -> None:
        for database_id in databases:
            request = Request(START, "202", 600.0, database_id)
            done = Attempt(
                kind,
                OURS,
                database_id,
                "v1",
                request,
                Status.FOUND,
                result="v1",
                ended_at=START,
            )
            document.setdefault(ATTEMPTS, {})[database_id] = done.to_outputs()

    await service.place.edit(fill)
    before = service.place.writes
    began = service.clock.monotonic()
    turns = anyio.Semaphore(16)  # as many as the engine deletes at once

    async def delete(database_id: str) -> None:
        async with turns:
            await run.drop({database_id}, "run" if kind == "restore" else None)

    async with anyio.create_task_group() as group:
        for database_id in databases:
            group.start_soon(delete, database_id)
    assert service.place.writes - before <= 0.3 * many
    assert service.clock.monotonic() - began < 0.3 * many
    there = await run.attempts()
    wanted = "run" if kind == "restore" else SAVED
    assert {each.in_state for each in there} == {wanted}


@virtual
async def test_what_could_not_be_entered_of_a_state_is_entered_by_the_next_call() -> (
    None
):
    service = Service()
    run = service.run()
    done = [
        await run.end(await service.sent(run, owner), owner) for owner in (OURS, OTHER)
    ]
    later = service.run()
    service.place.refuses_writes = "the disk is full"
    with pytest.raises(LedgerUnavailable):
        await later.drop(done[0].names, None)
    assert later.trouble == "memory: the disk is full"
    service.place.refuses_writes = ""
    await later.drop(done[1].names, None)
    assert all(each.saved for each in await run.attempts())
    assert not later.trouble


# Entries that no run has written like that -------------------------------------------------------

STRANGE: dict[str, Any] = {
    "": [7, [], "x", {"a": 7}, {"a": None}, {"a": []}],
    "kind": ["archive"],
    "owner": [7],
    "database_id": [7],
    "purpose": [None],
    "status": ["over"],
    "source": [7],
    "result": [7],
    "due": ["soon"],
    "in_state": [7],
    "ended_at": ["9999-12-31T23:59:59Z"],
    "held_until": ["yesterday"],
    "request": [{}],
    "more": [1],
    "posted_at": ["9999-12-31T23:59:59Z"],
    "timeout": ["long"],
    "answered": [[]],
    "id": [None, 7],
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
    attempt = (await service.sent(service.run())).to_outputs()
    id_ = attempt["request"]["id"]
    (attempt["request"] if name in attempt["request"] else attempt)[name] = value
    strange = {id_: attempt} if name else value
    await service.place.edit(lambda document: document.update({ATTEMPTS: strange}))
    before = service.place.data
    run = service.run()
    whatever = replace(CLAIM, status=Status.ACCEPTED)
    uses = (
        run.attempts(),
        service.claim(run),
        run.enter(whatever),
        run.withdraw(whatever),
        run.drop({"a"}, "run"),
    )
    for use in uses:
        with pytest.raises(
            LedgerUnavailable, match="memory: it holds an entry that cannot be read"
        ) as unavailable:
            await use
        assert HintKind.MOVE_LEDGER_ASIDE in [
            each.step for each in unavailable.value.then
        ]
    assert service.place.data == before
