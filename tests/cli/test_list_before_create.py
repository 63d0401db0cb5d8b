"""What is looked at before a `create` delays it by no half hour, though the service keeps its pages."""

from datetime import timedelta

import pytest

from tests.cli.typed import Desk, at_desk
from tests.support.world import DATABASE, World

MINUTE = 60


@pytest.mark.parametrize(
    "looks",
    [
        [("list", DATABASE)],
        [("status",), ("list", DATABASE)],
        [("list", DATABASE), ("status",)],
        [("list",), ("show", f"{DATABASE}/latest")],
        [("list", DATABASE[:9])],
    ],
    ids=str,
)
@at_desk(cache_world="kept", snapshot_seconds=200)
async def test_a_create_after_status_and_list_takes_no_longer_than_alone(
    desk: Desk, w: World, looks: list[tuple[str, ...]]
) -> None:
    w.emulator.add_snapshot(DATABASE, modified=w.emulator.now() - timedelta(hours=1))
    for look in looks:
        _ = await desk.types(*look)
    began = w.clock.monotonic()
    ended = (await desk.types("create", DATABASE, "--quiet")).done
    assert ended.out.strip() == f"{DATABASE}/{w.posts[0].version_id}"
    assert w.clock.monotonic() - began <= 5 * MINUTE


@pytest.mark.parametrize(
    "looks",
    [
        [("status", DATABASE), ("list", DATABASE)],
        [("list", DATABASE), ("doctor",), ("status",)],
    ],
    ids=str,
)
@at_desk(cache_world="kept", snapshot_seconds=100)
async def test_the_first_create_of_a_database_is_not_delayed_by_an_empty_list(
    desk: Desk, w: World, looks: list[tuple[str, ...]]
) -> None:
    for look in looks:
        _ = await desk.types(*look)
    began = w.clock.monotonic()
    _ = (await desk.types("create", DATABASE, "--quiet")).done
    assert w.clock.monotonic() - began <= 5 * MINUTE


@at_desk(cache_world="kept", snapshot_seconds=100)
async def test_status_and_list_after_a_create_delay_neither_themselves_nor_the_next_one(
    desk: Desk, w: World
) -> None:
    w.emulator.add_snapshot(DATABASE, modified=w.emulator.now() - timedelta(hours=30))
    first = (await desk.types("create", DATABASE, "--quiet")).done.out.strip()
    for look in [("status", DATABASE), ("list", DATABASE), ("status",), ("list",)]:
        began = w.clock.monotonic()
        assert first in (await desk.types(*look)).done.out
        assert w.clock.monotonic() - began <= 2
        await w.clock.sleep(1)
    adopted = await desk.types("create", DATABASE, "--reuse-within", "1h", "--quiet")
    assert adopted.done.out.strip() == first


@at_desk(cache_world="kept", snapshot_seconds=100)
async def test_status_and_list_leave_the_page_that_the_next_create_needs(
    desk: Desk, w: World
) -> None:
    seconds = dict[bool, float]()
    for looks in (False, True):
        await w.clock.sleep(2 * 3600)
        _ = (await desk.types("create", DATABASE, "--quiet")).done
        await w.clock.sleep(8 * MINUTE)
        for look in [("status", DATABASE), ("list", DATABASE)] if looks else []:
            _ = (await desk.types(*look)).done
        began = w.clock.monotonic()
        _ = (await desk.types("create", DATABASE, "--quiet")).done
        seconds[looks] = w.clock.monotonic() - began
    assert seconds[True] <= seconds[False] + 1 < 10 * MINUTE
