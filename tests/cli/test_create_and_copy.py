"""`create` takes a snapshot and copies it in one step, with one exit code."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.typed import Desk, at_desk
from tests.support.world import DATABASE, OTHER_DATABASE, START, World


def zips_below(folder: Path) -> list[Path]:
    return [*folder.rglob("*.zip")]


@at_desk(snapshot_seconds=60)
async def test_output_downloads_the_snapshot_that_was_taken(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    w.emulator.add_snapshot(DATABASE)
    file = tmp_path / "shop.zip"
    ended = (await desk.types("create", DATABASE, "--output", str(file), "--json")).done
    assert ended.json["id"] == f"{DATABASE}/{w.started()}"
    assert file.read_bytes() == w.emulator.archive_of(w.started())
    assert zips_below(tmp_path) == [file], "no manifest, and nothing half done"
    assert "http" not in ended.out
    assert len(w.posts) == 1


@at_desk(snapshot_seconds=200)
async def test_archive_archives_the_snapshot_that_was_taken(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    folder = f"{tmp_path}/backups/"
    ended = (await desk.types("create", DATABASE, "--archive", folder)).done
    (file,) = zips_below(Path(folder))
    assert file.read_bytes() == w.emulator.archive_of(w.started())
    assert str(file) in ended.out
    shelf = (await desk.types("archives", folder, "--expect", DATABASE)).done
    assert DATABASE in shelf.out


@at_desk(databases=(DATABASE, OTHER_DATABASE))
async def test_archives_are_listed_in_the_order_of_their_snapshots(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    place = f"{tmp_path}/backups/"
    databases = (DATABASE, OTHER_DATABASE) * 2
    for hours, database_id in enumerate(databases):
        w.emulator.execute(database_id, f"CREATE TABLE at_{hours} (a)")
        taken_at = START + timedelta(hours=hours - 5)
        w.emulator.add_snapshot(database_id, modified=taken_at)
    listed = (await desk.types("list", "--json")).done.json
    for each in sorted(listed, key=lambda one: str(one["version_id"])):
        await desk.types("archive", str(each["id"]), place)
    archives = (await desk.types("archives", place, "--json")).done.json
    snapshots = [f"{one['database_id']}/{one['version_id']}" for one in listed]
    manifests = [each["manifest"] for each in archives]
    assert snapshots == [
        f"{one['database_id']}/{one['version_id']}" for one in manifests
    ]
    assert [one["database_id"] for one in listed] == [*databases[::-1]]


@at_desk(cache_world="invalidated")
async def test_archive_latest_archives_the_newest_snapshot_and_says_which(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    w.emulator.add_snapshot(DATABASE)
    w.emulator.execute(DATABASE, "CREATE TABLE newer (a)")
    newest = str(w.emulator.add_snapshot(DATABASE).version_id)
    place = f"{tmp_path}/backups/"
    ended = (await desk.types("archive", f"{DATABASE}/latest", place)).done
    (file,) = zips_below(tmp_path)
    assert newest in file.name
    assert file.read_bytes() == w.emulator.archive_of(newest)
    assert str(file) in ended.out
    assert w.posts == []


WRONG = {
    "no folder": (
        ("--output", "/none/such/shop.zip"),
        "must be in a folder that exists",
    ),
    "standard output": (("--output", "-"), "--output must be a file"),
    "a bucket": (
        ("--output", "s3://bucket/shop.zip"),
        "must be a file of this machine",
    ),
    "no store": (("--archive", "ftp://host/shop.zip"), "--archive"),
    "both": (("--output", "a.zip", "--archive", "b/"), "exclude each other"),
    "force alone": (("--force",), "needs --output or --archive"),
}


@pytest.mark.parametrize("wrong", WRONG)
@at_desk()
async def test_a_wrong_place_is_refused_before_a_snapshot_is_taken(
    desk: Desk, w: World, wrong: str
) -> None:
    options, says = WRONG[wrong]
    (await desk.types("create", DATABASE, *options)).failed(says, code=2)
    assert not w.emulator.journal


@at_desk(snapshot_seconds=60)
async def test_a_copy_that_fails_names_the_snapshot_that_is_there(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    file = tmp_path / "shop.zip"
    w.fault(kind="download", status=403, times=None)
    ended = (await desk.types("create", DATABASE, "--output", str(file))).failed(
        f"snapshot {DATABASE}/{w.started()} was taken and not downloaded",
        f"`squarecloud-snapshots download {DATABASE}/{w.started()} --output FILE` repeats that",
    )
    assert not file.exists()
    assert ended.out == ""
    assert len(w.posts) == 1


@at_desk(snapshot_seconds=300)
async def test_a_snapshot_that_is_not_there_in_time_is_not_copied(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    file = tmp_path / "shop.zip"
    command = ("create", DATABASE, "--output", str(file), "--timeout", "150s")
    (await desk.types(*command)).failed("--reuse-within 1h")
    assert not file.exists()
    assert not w.requests("download")
