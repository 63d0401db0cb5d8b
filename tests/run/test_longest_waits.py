"""What a user waits for at the edges of a request: its answer, a bucket that hangs, a check that checks nothing."""

from pulumi_snapshots.service.client import (
    CONNECT_TIMEOUT,
    LONGEST_POST,
    POST_READ_TIMEOUT,
    WHOLE_ANSWER_EXTRA,
)
from tests.ledger.play import on_stage
from tests.support.ledger_places import Store
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, World, world


def test_an_answer_counts_as_lost_no_sooner_than_its_client_gives_up() -> None:
    longest = CONNECT_TIMEOUT + POST_READ_TIMEOUT + WHOLE_ANSWER_EXTRA
    assert longest <= LONGEST_POST


@staged(world, snapshot_seconds=30)
async def test_an_interrupt_ends_a_run_whose_bucket_hardly_answers(w: World) -> None:
    store = Store(w.clock, delay=40.0)
    session = w.another_run(store.bucket())
    ending = await w.interrupted(60, w.create(session=session), session)
    assert ending.error is not None
    assert not w.posts
    assert w.clock.monotonic() <= 80


@virtual
async def test_a_restore_does_not_claim_to_check_that_a_stopped_database_runs() -> None:
    async with on_stage("wait 1") as stage:
        stage.at.here.emulator.stop_database(DATABASE)
        await stage.move("R up v1 anyhow timeout=10m")
        shown = " ".join(stage.stack("R").row.shown)
        was_sent = bool(stage.at.posts)
    assert not (was_sent and "checking that the database runs" in shown)
