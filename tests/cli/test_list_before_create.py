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
