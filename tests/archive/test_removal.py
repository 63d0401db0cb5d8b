"""Removals that fail once are made good by the next run, and what cannot be told apart is not counted together."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from pulumi_snapshots.archive.record import TIER_LIMIT
from pulumi_snapshots.storage.store import FileStore, StoreTrouble
from tests.archive.scene import Declared, Scene, file_of, manifest_of, put, scene
from tests.cli.typed import Desk, at_desk
from tests.support.virtual import staged
from tests.support.world import DATABASE, OTHER_DATABASE

URN = "urn:pulumi:prod::shop::squarecloud:index:Archive::nightly"
KEEP_ONE = ("--keep-last", "1")


def failing_once(method: str, suffix: str) -> Any:
    """Let a method of stores fail for the first file with this suffix."""
    failures = ["AccessDenied"]
    real = getattr(FileStore, method)

    def fails(store: FileStore, *given: Any) -> Any:
        if failures and store._path.name.endswith(suffix):
            raise StoreTrouble(f"{store.where}: {failures.pop()}")
        return real(store, *given)

    return patch.object(FileStore, method, fails)


@pytest.mark.parametrize("suffix", [".zip", ".json"])
@at_desk()
async def test_what_could_not_be_removed_once_is_forgotten_by_the_next(
    desk: Desk, tmp_path: Path, suffix: str
) -> None:
    put(tmp_path, 0)
    old = put(tmp_path, 1)
    with failing_once("_remove", suffix):
        ended = await desk.types("forget", f"{tmp_path}/", *KEEP_ONE)
    assert (ended.code, "AccessDenied" in ended.out) == (1, True)
    assert old.with_name(f"{old.name}.json").exists()
    ended = await desk.types("forget", f"{tmp_path}/", *KEEP_ONE)
    assert ended.code == 0
    assert sorted(path.name for path in old.parent.glob(f"{old.name}*")) == []
    assert (await desk.types("archives", f"{tmp_path}/")).code == 0


@pytest.mark.parametrize("suffix", [".zip", ".json"])
@staged(scene)
async def test_an_archive_that_could_not_be_removed_once_goes_with_the_next(
    at: Scene, suffix: str
) -> None:
    one = Declared(at, URN)
    first = await one.up(keep_last=1)
    at.newer(size=1000)
    with failing_once("_remove", suffix):
        await one.up(keep_last=1)
    assert "was not removed" in at.row.warnings[-1]
    assert manifest_of(first).exists()
    at.newer(size=1000)
    last = await one.up(keep_last=1)
    assert {path.name for path in file_of(last).parent.iterdir()} == {
        file_of(last).name,
        manifest_of(last).name,
    }


@staged(scene)
async def test_an_object_that_is_lost_is_not_said_to_be_kept(at: Scene) -> None:
    record = await at.archive(owner="urn:a")
    file_of(record).unlink()
    lost = await at.refresh(record)
    assert lost.lost == "missing"
    notes = len(at.row.notes)
    await at.remove(lost, delete_object=False)
    assert at.row.notes[notes:] == []
    await at.remove(record, delete_object=False)
    assert len(at.row.notes) == notes + 1


@at_desk()
async def test_forget_counts_databases_that_it_cannot_tell_apart_as_several(
    desk: Desk, tmp_path: Path
) -> None:
    kept = [put(tmp_path, day, database_id=None) for day in range(3)]
    put(tmp_path, 0, OTHER_DATABASE)
    gone = put(tmp_path, 1, OTHER_DATABASE)
    ended = (await desk.types("forget", f"{tmp_path}/", *KEEP_ONE)).done
    assert all(each.exists() for each in kept)
    assert ended.out.count("its database is not known") == 3
    assert not gone.exists()


@staged(scene)
async def test_a_rule_finds_the_archives_that_a_full_state_does_not_hold(
    at: Scene,
) -> None:
    one = Declared(at, URN)
    first = await one.up()
    assert one.state is not None
    owner = json.loads(manifest_of(first).read_text())["owners"]
    older = [put(at.folder, day, owners=owner) for day in (300, 330)]
    theirs = put(at.folder, 400)
    one.state["earlier"] = _full(at)
    assert "removes" not in await one.preview(version_id="another", keep_last=1)
    at.newer(size=1000)
    await one.up(keep_last=1)
    assert not any(each.exists() for each in (file_of(first), *older))
    assert theirs.exists()
    assert not any(
        "squarecloud-snapshots archive" in text for text in map(str, at.row.notes)
    )


def _full(at: Scene) -> list[dict[str, str]]:
    """As many earlier archives as a state holds; none of their objects exists any more."""
    gone = {"mark": "", "created_at": "2026-01-01T00:00:00Z"}
    return [
        {"uri": f"{at.folder.as_uri()}/{number}.zip", **gone}
        for number in range(TIER_LIMIT)
    ]


@staged(scene)
async def test_a_full_state_holds_the_newest_archives(at: Scene) -> None:
    one = Declared(at, URN)
    first = await one.up()
    assert one.state is not None
    one.state["earlier"] = full = _full(at)
    at.newer(size=1000)
    record = await one.up()
    held = [each.uri for each in record.earlier]
    assert held == [first.uri, *(each["uri"] for each in full[:-1])]


@at_desk()
async def test_archives_in_a_linked_folder_are_listed_once(
    desk: Desk, tmp_path: Path
) -> None:
    real = put(tmp_path / "elsewhere", 0)
    kept = tmp_path / "kept"
    own = put(kept, 1)
    (kept / "linked").symlink_to(tmp_path / "elsewhere")
    (kept / "again").symlink_to(kept)
    (kept / "nothing").symlink_to(tmp_path / "nowhere")
    ended = (await desk.types("archives", f"{kept}/", "--json")).done
    names = [each["uri"].rpartition("/")[2] for each in ended.json]
    assert sorted(names) == sorted([own.name, real.name])
    assert (await desk.types("archives", f"{kept}/", "--expect", DATABASE)).code == 0
