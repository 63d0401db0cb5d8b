"""The ledger in a bucket that is slow, contended, failing, or loses its answers."""

import threading
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest

from pulumi_snapshots.clock import Clock, ServiceClock
from pulumi_snapshots.errors import HintKind, LedgerUnavailable
from pulumi_snapshots.ledger.bucket import BUCKET_PATIENCE, LONGEST_PAUSE
from pulumi_snapshots.ledger.decision import Wish
from pulumi_snapshots.ledger.ledger import Ledger
from tests.ledger.racing import count
from tests.support.ledger_places import NAME, Store
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START


@pytest.fixture
def store() -> Store:
    return Store(Clock(START))


@virtual
async def test_twenty_machines_at_a_slow_store_can_all_write(store: Store) -> None:
    store.delay = 1.0
    began = store.clock.monotonic()

    async def write(number: int) -> None:
        await store.bucket().edit(partial(dict.update, **{str(number): True}))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(write, number)
    assert store.clock.monotonic() - began < BUCKET_PATIENCE
    assert len(await store.bucket().read()) == store.writes == 20, (
        "each wrote what it had to"
    )
    assert store.calls < 20 * 20, (
        "they would refuse each other all the time without pauses"
    )


@virtual
async def test_others_who_write_all_the_time_end_an_edit_with_a_reason(
    store: Store,
) -> None:
    bucket = store.bucket()
    await bucket.edit(count)

    def change(
        document: dict[str, Any],
    ) -> None:  # while it is made, somebody else writes
        store.overwrite(NAME, store.held[NAME].content)
        count(document)

    began = store.clock.monotonic()
    with pytest.raises(LedgerUnavailable, match="it has not answered within"):
        await bucket.edit(change)
    assert store.clock.monotonic() - began == pytest.approx(BUCKET_PATIENCE)
    assert await bucket.edit(count) == 2


async def claim(store: Store, database_id: str = DATABASE) -> str:
    """The role of a request that a new machine is about to send."""
    run = Ledger(store.bucket(), ServiceClock(store.clock))
    wish = Wish(
        "snapshot", "shop::dev::ours", database_id, "v1", 600.0, id=f"of {database_id}"
    )
    return (await run.edit(lambda document: run.decided(document, wish))).role


@pytest.mark.parametrize(
    "trouble", [{"loses": 1}, {"loses": 2}, {"repeats": 1}, {"delay": 20.0}], ids=str
)
@virtual
async def test_a_claim_counts_once_whose_answer_is_lost_or_late_or_that_arrives_twice(
    store: Store, trouble: dict[str, Any]
) -> None:
    await store.bucket().edit(count)
    vars(store).update(trouble)
    assert await claim(store) == "new"
    assert len((await store.bucket().read())["attempts"]) == 1


@virtual
async def test_a_lost_answer_is_settled_although_another_machine_wrote_since(
    store: Store,
) -> None:
    roles = list[str]()
    await store.bucket().edit(count)

    async def claim_too() -> None:
        await anyio.sleep(0.1)
        roles.append(await claim(store, OTHER_DATABASE))

    store.loses = 1
    async with anyio.create_task_group() as group:
        group.start_soon(claim_too)
        roles.append(await claim(store))
    assert roles == ["new", "new"]
    assert len((await store.bucket().read())["attempts"]) == 2


@virtual
async def test_a_store_that_fails_for_two_seconds_costs_no_edit(store: Store) -> None:
    bucket = store.bucket()
    await bucket.edit(count)
    store.refuses = "SlowDown"

    async def recover() -> None:
        await anyio.sleep(2)
        store.refuses = ""

    async with anyio.create_task_group() as group:
        group.start_soon(recover)
        assert await bucket.edit(count) == 2


@virtual
async def test_a_store_that_fails_before_anything_is_written_ends_an_edit_at_once(
    store: Store,
) -> None:
    bucket = store.bucket()
    await bucket.edit(count)
    calls = store.calls
    store.fails = "ExpiredToken"
    with pytest.raises(LedgerUnavailable, match="ExpiredToken"):
        await bucket.edit(count)
    assert store.calls == calls + 1, "each may take 10 s, also after ^C"


@virtual
async def test_a_store_that_never_answers_ends_reads_and_edits(store: Store) -> None:
    bucket = store.bucket()
    await bucket.edit(count)
    store.hangs = True
    for work in (bucket.read, partial(bucket.edit, count)):
        began = store.clock.monotonic()
        with pytest.raises(
            LedgerUnavailable, match=f"has not answered within {BUCKET_PATIENCE:.0f} s"
        ):
            await work()
        assert store.clock.monotonic() - began == pytest.approx(BUCKET_PATIENCE)
    store.hangs = False
    assert await bucket.edit(count) == 2


@virtual
async def test_an_edit_that_is_cancelled_while_it_writes_is_known_to_be_in(
    store: Store,
) -> None:
    bucket = store.bucket()
    ends = list[int]()
    await bucket.edit(count)
    with anyio.move_on_after(0.06):  # after the read of 0.05 s
        ends.append(await bucket.edit(count))
    assert ends == [2]
    assert await bucket.read() == {"number": 2}


@pytest.mark.parametrize("hangs", ["from the beginning", "after the check"])
@virtual
async def test_an_interrupt_ends_an_edit_at_once_that_has_written_nothing(
    store: Store, hangs: str
) -> None:
    bucket = store.bucket()
    if hangs == "after the check":
        await bucket.edit(count)
    writes = store.writes
    store.hangs = True
    began = store.clock.monotonic()
    with anyio.move_on_after(1) as interrupted:
        await bucket.edit(count)
    assert interrupted.cancelled_caught
    assert store.clock.monotonic() - began == 1
    assert store.writes == writes


@virtual
async def test_an_interrupt_ends_an_edit_soon_that_others_overtake_all_the_time(
    store: Store,
) -> None:
    bucket = store.bucket()
    await bucket.edit(count)

    def change(
        document: dict[str, Any],
    ) -> None:  # while it is made, somebody else writes
        store.overwrite(NAME, store.held[NAME].content)
        count(document)

    began = store.clock.monotonic()
    with anyio.move_on_after(30) as interrupted:
        await bucket.edit(change)
    assert interrupted.cancelled_caught
    assert store.clock.monotonic() - began < 30 + LONGEST_PAUSE + 1
    assert await bucket.edit(count) == 2


@virtual
async def test_an_interrupt_waits_for_a_write_whose_answer_was_lost(
    store: Store,
) -> None:
    bucket = store.bucket()
    ends = list[int]()
    await bucket.edit(count)
    store.loses = 1

    def change(document: dict[str, Any]) -> int:
        return document.setdefault("mine", len(document))  # type: ignore[no-any-return]

    with anyio.move_on_after(0.5):  # between the write and the next try
        ends.append(await bucket.edit(change))
    assert ends == [1], "the caller would not know that it is in"
    assert (await bucket.read())["mine"] == 1


@virtual
async def test_an_interrupt_waits_for_a_write_that_may_still_arrive(
    store: Store,
) -> None:
    bucket = store.bucket()
    ends = list[int]()
    await bucket.edit(count)
    store.refuses = "no answer"

    async def recover() -> None:
        await anyio.sleep(0.6)
        store.refuses = ""

    async with anyio.create_task_group() as group:
        group.start_soon(recover)
        with anyio.move_on_after(0.5):
            ends.append(await bucket.edit(count))
    assert ends == [2], "it may be in, and no run would know"


def test_a_thread_that_hangs_in_the_library_does_not_keep_a_read() -> None:
    answer = threading.Event()

    class Hanging(Store):
        def load(self, name: str) -> None:  # noqa: ARG002
            answer.wait()

    async def run() -> None:
        with anyio.move_on_after(0.01) as waited:
            await (
                Hanging(Clock())
                .bucket(partial(anyio.to_thread.run_sync, abandon_on_cancel=True))
                .read()
            )
        answer.set()
        assert waited.cancelled_caught

    # which would never return: the thread waits for what comes after the read
    anyio.run(run)


@virtual
async def test_a_store_without_conditional_writes_takes_no_ledger(store: Store) -> None:
    store.ignores_marks = True
    bucket = store.bucket()
    with pytest.raises(
        LedgerUnavailable, match="although another one has written it meanwhile"
    ) as unavailable:
        await bucket.edit(count)
    assert unavailable.value.then[0].step == HintKind.USE_OTHER_STORE
    assert NAME not in store.held
    store.ignores_marks = False
    assert await bucket.edit(count) == 1
