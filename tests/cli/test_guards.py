"""What `guards` shows to somebody who has to choose a snapshot to go back to."""

import re
from pathlib import Path

from tests.cli.typed import Desk
from tests.support.guarding import Machine
from tests.support.memory import Memory
from tests.support.virtual import staged
from tests.support.world import DATABASE, World, world


@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_guards_shows_what_has_changed_after_each_snapshot_and_what_has_failed(
    w: World, tmp_path: Path
) -> None:
    place = Memory(w.clock)
    machine = Machine(w, place)
    await machine.program().changes(5, guard="acme/shop/prod/before-release")
    await w.clock.sleep(600.0)
    await machine.program().change(
        "delete of Server old", fails=True, guard="acme/shop/prod/before-release"
    )
    await machine.program().change(
        "update of Server dev", guard="acme/shop/dev/before-release"
    )
    desk = Desk(w, tmp_path, place=lambda: place)
    del desk.environment["SQUARECLOUD_API_KEY"]
    requests = len(w.emulator.journal)
    versions = [post.version_id for post in w.posts]
    ended = (await desk.types("guards")).done
    heading, newest, failed, first = ended.out.splitlines()
    assert re.split(" {2,}", heading) == [
        "SNAPSHOT",
        "GUARD",
        "GUARDING SINCE",
        "CHANGED",
    ]
    assert newest.startswith(f"{DATABASE}/{versions[1]}  acme/shop/dev/before-release")
    assert newest.endswith("UTC  update of Server dev")
    assert failed.endswith("UTC  nothing: the change failed, or did not happen")
    assert re.search(
        r"update of Server \d, update of Server \d, update of Server \d and 2 more$",
        first,
    )
    ended = (await desk.types("guards", "prod/before-release", "--json")).done
    assert [each["snapshot"] for each in ended.json] == [
        f"{DATABASE}/{each}" for each in reversed(versions)
    ]
    ended = (await desk.types("guards", "release")).failed(
        "Those that have: acme/shop/dev/before-release, acme/shop/prod/before-release."
    )
    assert ended.out == ""
    assert len(w.emulator.journal) == requests
