"""The store as the truth: what tiers keep of a destination, what is missing there, and what a refresh finds gone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import anyio
import pyrage
import pytest

from pulumi_snapshots.archive import shelf
from pulumi_snapshots.archive.calls import ArchiveCalls
from pulumi_snapshots.archive.difference import archive_difference
from pulumi_snapshots.archive.inputs import Keep
from pulumi_snapshots.archive.shelf import Shelved, forget, imported, shelved
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.cli.archives.download import OWNER
from pulumi_snapshots.errors import Explained
from pulumi_snapshots.run.calls import Call
from pulumi_snapshots.run.settings import Settings
from pulumi_snapshots.run.shared import Shared
from pulumi_snapshots.storage.destination import Destination
from pulumi_snapshots.storage.files import FileStore
from pulumi_snapshots.storage.store import Held, Seen, StoreTrouble
from tests.archive.scene import file_of, put, scene
from tests.cli.typed import Desk
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, world

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi_snapshots.archive.record import ArchiveRecord


def left(folder: Path, database: str = DATABASE) -> list[int]:
    """The days of the archives that are there."""
    days = [int(file.stem.rpartition("-v")[2]) for file in (folder / database).glob("*.zip")]
    assert len(days) == len(list((folder / database).glob("*.zip.json")))
    return sorted(days)


@virtual
async def test_cron_keeps_what_its_tiers_keep_of_each_database(tmp_path: Path) -> None:
    for day in range(10):
        put(tmp_path / "kept", day)
        put(tmp_path / "kept", 2 * day, OTHER_DATABASE)
    async with world() as w:
        desk = Desk(w, tmp_path / "state")
        del desk.environment["SQUARECLOUD_API_KEY"]
        typed = ("forget", f"{tmp_path}/kept/", "--keep-daily", "3", "--keep-last", "1")
        shown = (await desk.types(*typed, "--dry-run")).done.out
        assert shown.count("would be removed") == 14
        assert left(tmp_path / "kept") == list(range(10))
        ended = (await desk.types(*typed, "--json")).done.json
        assert sum(each["removed"] for each in ended["archives"]) == 14
        assert left(tmp_path / "kept") == [0, 1, 2]
        assert left(tmp_path / "kept", OTHER_DATABASE) == [0, 2, 4]
        assert (await desk.types("forget", f"{tmp_path}/kept/")).code == 2


@virtual
async def test_what_is_not_the_commands_own_is_not_forgotten(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    mine = {"name": OWNER, "pin": False}
    put(kept, 0)
    put(kept, 1)
    put(kept, 2, owners=[{"name": "urn:pulumi:a::b::c::d", "pin": False}])
    put(kept, 3, owners=[mine, {"name": "urn:pulumi:a::b::c::d", "pin": False}])
    put(kept, 4, owners=[{**mine, "pin": True}])
    put(kept, 5, owners=[])
    put(kept, 6, drill={"drilled_at": "2026-11-26T12:00:00Z"})
    put(kept, 7, drill={"drilled_at": "2026-11-26T12:00:00Z"})
    put(kept, 8, created_at=None)
    put(kept, -1).write_bytes(b"of another size, so it takes no good one's place")
    async with world() as w:
        typed = ("forget", f"{kept}/", "--keep-last", "1")
        shown = await Desk(w, tmp_path / "state").types(*typed, "--dry-run")
        assert shown.done.out.count("would be removed") == 2
        ended = await Desk(w, tmp_path / "state").types(*typed)
        assert left(kept) == [-1, 0, 2, 3, 4, 5, 6, 8]
        assert "its owner is urn:pulumi:a::b::c::d" in ended.done.out
        assert "its owner is unknown" in ended.out


@virtual
async def test_an_archive_that_took_the_name_of_one_that_was_to_go_stays(tmp_path: Path) -> None:
    put(tmp_path, 0)
    old = put(tmp_path, 1)
    async with scene(tmp_path / "a") as at:
        listed = shelf.shelved

        async def listed_before(*given: Any) -> list[Shelved]:
            found = await listed(*given)
            put(tmp_path, 1, version_id="newer")
            return found

        with patch.object(shelf, "shelved", listed_before):
            ended, _ = await forget(at.transfers, Destination.parse(f"{tmp_path}/{DATABASE}/"), Keep(last=1), OWNER)
        assert (ended.goes, ended.why) == (False, "it was changed since it was listed")
        assert old.exists()


@virtual
async def test_an_archive_that_cannot_be_removed_fails_forget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept"
    for day in range(3):
        put(kept, day)

    def refused(_store: FileStore) -> None:
        raise StoreTrouble("AccessDenied")

    monkeypatch.setattr(FileStore, "_remove", refused)
    async with world() as w:
        ended = await Desk(w, tmp_path / "state").types("forget", f"{kept}/", "--keep-last", "1")
        assert (ended.code, ended.out.count("was not removed: AccessDenied")) == (1, 2)
    assert left(kept) == [0, 1, 2]


@virtual
async def test_a_database_without_a_good_archive_is_missed(tmp_path: Path) -> None:
    put(tmp_path / "kept", 0)
    put(tmp_path / "kept", 1, OTHER_DATABASE, size=8)
    async with world() as w:
        desk = Desk(w, tmp_path / "state")
        ended = await desk.types("archives", f"{tmp_path}/kept/", "--expect", DATABASE, "--expect", OTHER_DATABASE)
        assert ended.code == 1
        assert f"has no good archive of database {OTHER_DATABASE}" in ended.err
        assert f"database {DATABASE}" not in ended.err
        w.emulator.add_database("c" * 32, name="my shop")
        named = await desk.types("archives", f"{tmp_path}/kept/", "--expect", "my shop")
        assert f"my shop is database {'c' * 32}" in named.err
        assert f"has no good archive of database {'c' * 32}" in named.err
        del desk.environment["SQUARECLOUD_API_KEY"]
        assert (await desk.types("archives", f"{tmp_path}/kept/{DATABASE}/", "--expect", DATABASE)).code == 0


@virtual
async def test_a_refresh_says_which_earlier_archives_are_gone(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        records = [await at.archive(keep_last=5)]
        for _ in range(2):
            at.newer(size=1000)
            records.append(await at.archive(keep_last=5, previous=records[-1]))
        file_of(records[0]).unlink()
        seen = await at.refresh(records[-1])
        assert [each.uri for each in seen.earlier] == [records[1].uri]
        assert at.row.warnings == [f"1 earlier archives of this resource are gone: {file_of(records[0])}."]

        class Away(FileStore):
            def stat(self) -> Seen | None:
                if self.where == file_of(records[1]):
                    raise StoreTrouble("no route to it")
                return super().stat()

        at.transfers.store = lambda place: Away(place.file)  # type: ignore[method-assign]
        assert await at.refresh(seen) == seen, "what cannot be asked is not gone"


@virtual
async def test_a_lost_state_is_found_again_by_the_manifests(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        mine, theirs = "urn:pulumi:dev::shop::squarecloud:index:Archive::nightly", "urn:pulumi:dev::else::x::y"
        other = await at.archive(owner=theirs)
        records: list[ArchiveRecord] = []
        for _ in range(3):
            at.newer(size=1000)
            records.append(await at.archive(owner=mine, keep_last=5, previous=records[-1] if records else None))
        # Imported, it is what the state had, and counts what it counted.
        back, _ = await imported(at.transfers, records[-1].uri, mine, at.row)
        assert back == replace(records[-1], earlier=tuple(replace(each, drilled=False) for each in back.earlier))
        assert [each.uri for each in back.earlier] == [records[1].uri, records[0].uri]
        here = {"database_id": DATABASE, "version_id": back.version_id, "destination": f"{at.folder}/"}
        assert archive_difference(back, {"destination": back.uri}, here).replaces == ()
        with pytest.raises(Explained, match="does not exist"):
            await imported(at.transfers, f"{at.folder}/none.zip", mine, at.row)
        # Without an import the next archive finds them too.
        at.newer(size=1000)
        last = await at.archive(owner=mine, keep_last=2)
        assert [each.uri for each in last.earlier] == [records[-1].uri]
        assert {file_of(each).exists() for each in (other, records[-1], last)} == {True}
        assert not any(file_of(each).exists() for each in records[:-1])


@virtual
async def test_an_import_brings_pin_and_recipients_back_and_takes_no_damaged_archive(tmp_path: Path) -> None:
    mine, key = "urn:pulumi:dev::shop::squarecloud:index:Archive::a", str(pyrage.x25519.Identity.generate().to_public())
    async with scene(tmp_path / "a") as at:
        record = await at.archive(owner=mine, pin=True, recipients=[key])
        put(at.folder, 3, database_id=OTHER_DATABASE, owners=[{"name": mine, "pin": False}])
        shared = Shared(lambda _: None)
        shared._made[Transfers] = at.transfers
        call = Call(mine, Settings, shared, at.row)
        back = (await ArchiveCalls().read(call, record.uri, {})).outputs
        assert [back[name] for name in ("pin", "pinned", "recipients")] == [True, True, [key]]
        assert back["earlier"] == [], "one of another database is not counted"
        file_of(record).write_bytes(b"x")
        with pytest.raises(Explained, match="has 1 bytes, not"):
            await ArchiveCalls().read(call, record.uri, {})


def test_many_archives_are_listed_in_parallel(tmp_path: Path) -> None:
    for day in range(200):
        put(tmp_path, day)
    waiting, most = 0, 0

    class Slow(FileStore):
        def load(self, largest: int | None = None) -> Held | None:
            nonlocal waiting, most
            waiting += 1
            most = max(most, waiting)
            anyio.from_thread.run(anyio.sleep, 0.01)
            waiting -= 1
            return super().load(largest)

    transfers = Transfers()
    transfers.store = lambda place: Slow(place.file)  # type: ignore[method-assign]
    found = anyio.run(shelved, transfers, Destination.parse(f"{tmp_path}/"))
    assert len(found) == 200
    assert most > 20
