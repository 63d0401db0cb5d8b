"""An id that no page shows yet: whose snapshot it may be, and until when a page can lack it."""

from datetime import timedelta

import pytest

from pulumi_snapshots.errors import Hint, HintKind, NoSuchSnapshot
from pulumi_snapshots.listing.listings import SERVICE_CACHE
from pulumi_snapshots.listing.polling import wait_for_version
from pulumi_snapshots.snapshot.read import get
from tests.support.virtual import staged
from tests.support.world import DATABASE, World, world


@staged(world, cache_world="kept")
async def test_an_id_of_another_machine_is_not_called_wrong_while_the_page_is_old(
    w: World,
) -> None:
    early = w.another_run()
    await early.listings.own_page(DATABASE, w.clock.monotonic())
    await early.listings.account_listing(w.clock.monotonic())
    stored = w.emulator.add_snapshot(DATABASE)
    id_ = f"{DATABASE}/{stored.version_id}"
    run = w.another_run()
    until = f"{w.clock.utc() + timedelta(seconds=SERVICE_CACHE):%H:%M:%S} UTC"
    for _ in range(2):
        with pytest.raises(
            NoSuchSnapshot, match="its page can be 30 minutes old"
        ) as failed:
            await get(run, id_)
        assert list(failed.value.then) == [Hint(HintKind.RUN_AGAIN_AFTER, time=until)]
        await w.clock.sleep(60)
    await w.clock.sleep(SERVICE_CACHE)
    assert (await get(run, id_)).version_id == stored.version_id


@staged(world, cache_world="kept")
async def test_an_id_that_no_new_page_has_is_to_be_checked(w: World) -> None:
    run = w.another_run()
    with pytest.raises(NoSuchSnapshot):
        await get(run, f"{DATABASE}/mistyped")
    await w.clock.sleep(SERVICE_CACHE + 1)
    with pytest.raises(NoSuchSnapshot) as failed:
        await get(run, f"{DATABASE}/mistyped")
    assert list(failed.value.then) == [Hint(HintKind.CHECK_ID)]


@staged(world, cache_world="kept")
async def test_nothing_waits_half_an_hour_for_an_id_that_may_be_mistyped(
    w: World,
) -> None:
    began = w.clock.monotonic()
    run = w.another_run()
    waits: list[object] = []

    def note(*what: object, **_: object) -> None:
        waits.append(what)

    found = await wait_for_version(
        run.poll_plan, DATABASE, "mistyped", note, patience=2700
    )
    entry, listed_by = found
    assert entry is None
    assert listed_by == w.clock.utc() + timedelta(seconds=SERVICE_CACHE) - timedelta(
        seconds=w.clock.monotonic() - began
    )
    assert w.clock.monotonic() - began <= 60
    assert not waits
