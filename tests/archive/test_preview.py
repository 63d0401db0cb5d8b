"""A preview says what happens to archives, or nothing where it cannot know."""

from dataclasses import replace

import pytest

from pulumi_snapshots.archive.difference import ArchiveRules
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.snapshot.difference import SnapshotRules
from tests.archive.scene import Declared, Scene, file_of, scene
from tests.support.virtual import staged
from tests.support.world import DATABASE, OTHER_DATABASE

URN = "urn:pulumi:prod::shop::squarecloud:index:Archive::nightly"
NOT_TAKEN = {"version_id": UNKNOWN, "created_at": UNKNOWN, "download_url": None}


@staged(scene)
async def test_ids_alone_name_no_object_for_removal(at: Scene) -> None:
    """A snapshot of before is archived: its time is not known until then, and it is not the newest."""
    one = Declared(at, URN)
    older = at.snapshot
    at.newer(size=1000)
    await one.up(keep_last=1)
    ids = {"version_id": older.version_id, "created_at": None, "download_url": None}
    said = await one.preview(keep_last=1, **ids)
    assert said == "version_id"
    dated = {**ids, "created_at": "2026-03-01T12:00:00Z"}
    assert await one.preview(keep_last=1, **dated) == "version_id", (
        "the newer one stays"
    )
    elsewhere = await one.preview(
        keep_last=1, destination=f"{at.folder}/y.zip", **dated
    )
    assert "removes" not in elsewhere, "what is just written stays"


@staged(scene)
async def test_ids_alone_name_none_of_several_earlier_objects(at: Scene) -> None:
    """Whether the oldest of them or the next one goes depends on a time that is not known."""
    one = Declared(at, URN)
    oldest = at.snapshot
    for _ in range(2):
        at.newer(size=1000)
        await one.up(keep_last=3)
    ids = {"version_id": oldest.version_id, "created_at": None, "download_url": None}
    assert await one.preview(keep_last=1, **ids) == "version_id"
    dated = {**ids, "created_at": "2030-03-01T12:00:00Z"}
    assert "removes" in await one.preview(keep_last=1, **dated)


@pytest.mark.parametrize(
    "rule",
    [
        {"keep": UNKNOWN},
        {"keep_last": UNKNOWN},
        {"keep": {"last": 1, "daily": UNKNOWN}},
    ],
    ids=str,
)
@staged(scene)
async def test_a_rule_that_is_not_known_names_no_object(
    at: Scene, rule: dict[str, object]
) -> None:
    one = Declared(at, URN)
    await one.up()
    assert "removes" not in await one.preview(**NOT_TAKEN, **rule)


@staged(scene)
async def test_a_destination_that_is_not_known_names_no_object(at: Scene) -> None:
    one = Declared(at, URN)
    await one.up()
    assert "removes" not in await one.preview(
        **NOT_TAKEN, keep_last=1, destination=UNKNOWN
    )


@staged(scene)
async def test_a_snapshot_that_is_taken_now_shows_what_goes(at: Scene) -> None:
    one = Declared(at, URN)
    record = await one.up()
    said = await one.preview(**NOT_TAKEN, keep_last=1)
    assert "of a snapshot that is taken now" in said
    assert f"removes {file_of(record).name}" in said


@staged(scene)
async def test_a_preview_says_what_can_keep_an_object_that_it_names(at: Scene) -> None:
    """Manifests name other owners and drills; a preview reads none."""
    one = Declared(at, URN)
    other = Declared(at, URN.replace("nightly", "weekly"))
    record = await one.up(keep_last=1)
    await other.up(keep_last=1)
    said = await one.preview(**NOT_TAKEN, keep_last=1)
    name = file_of(record).name
    assert said.endswith(
        f"removes {name}, except for what a drill or another owner keeps"
    )
    at.newer(size=1000)
    await one.up(keep_last=1)
    assert file_of(record).exists()


@staged(scene)
async def test_an_archive_of_a_snapshot_that_is_replaced_is_replaced(at: Scene) -> None:
    one = Declared(at, URN)
    record = await one.up()
    given = await one.given(**NOT_TAKEN)
    assert ArchiveRules().diff(at.call(URN), one.state or {}, given).replaces == ()
    call = at.call(URN)
    snapshot = f"{DATABASE}/{record.version_id}"
    call.shared.memory.calls_of("snapshot", "urn:of:a::snapshot").replaces = snapshot
    found = ArchiveRules().diff(call, one.state or {}, given)
    assert found.replaces == ("version_id",)
    assert "its snapshot is replaced" in str(found.reason)


@staged(scene)
async def test_an_archive_of_a_snapshot_that_replace_names_is_replaced(
    at: Scene,
) -> None:
    one = Declared(at, URN)
    await one.up()
    given = await one.given(**NOT_TAKEN)
    call = at.call(URN)
    owner = "urn:pulumi:dev::app::squarecloud:index:Snapshot::of"
    of = replace(call, owner=owner)
    SnapshotRules().check(of, {"database_id": OTHER_DATABASE})
    assert ArchiveRules().diff(call, one.state or {}, given).replaces == ()
    SnapshotRules().check(of, {"database_id": DATABASE})
    assert ArchiveRules().diff(call, one.state or {}, given).replaces == ("version_id",)
