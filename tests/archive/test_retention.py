"""Tiers of archives: which objects they keep, by restic's rules, and which are never removed."""

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import pyrage
import pytest

from pulumi_snapshots.archive import removal
from pulumi_snapshots.archive.difference import ArchiveRules, archive_difference
from pulumi_snapshots.archive.listed import ListedArchive, list_archives
from pulumi_snapshots.archive.record import (
    ArchiveInputs,
    ArchiveRecord,
    ArchiveSuccessor,
    Keep,
    StoredObject,
)
from pulumi_snapshots.archive.removal import forget_archives
from pulumi_snapshots.archive.retention import kept_by
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.cli.archives.archive import COMMAND_OWNER
from pulumi_snapshots.clock import rfc3339, system_utc
from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.run.calls import EngineCall, Shared
from pulumi_snapshots.run.settings import Settings
from pulumi_snapshots.storage.destination import Destination
from pulumi_snapshots.storage.store import FileStore, StoredContent, StoreTrouble
from tests.archive.scene import (
    Declared,
    Scene,
    file_of,
    manifest_of,
    put,
    rewrite_manifest,
    scene,
)
from tests.cli.typed import Desk, at_desk
from tests.support.virtual import staged
from tests.support.world import DATABASE, OTHER_DATABASE, Row, World

STORED = Path(__file__).parent.parent / "fixtures" / "retention.json"
"""Histories, tiers, and what restic kept: `python -m bench.restic_oracle --store` writes such a file."""
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def test_tiers_keep_what_restic_keeps() -> None:
    for case in json.loads(STORED.read_text()):
        times = [datetime.fromtimestamp(seconds, UTC) for seconds in case["times"]]
        assert sorted(kept_by(Keep(**case["keep"]), times)) == case["kept"], case


async def archived(at: Scene, count: int, **values: Any) -> list[ArchiveRecord]:
    """So many archives of one resource, each of another day."""
    records = [await at.archive(**values)]
    for _ in range(count - 1):
        at.here.emulator.advance(23 * 3600)
        at.newer(size=1000)
        records.append(await at.archive(previous=records[-1], **values))
    return records


def there(records: Sequence[ArchiveRecord]) -> list[int]:
    return [number for number, each in enumerate(records) if file_of(each).exists()]


LAST = {"keep": {"last": 1}}
TIERS = {"keep": {"last": 1, "daily": 3}}
HISTORIES: dict[str, list[tuple[int, dict[str, Any], list[int]]]] = {
    "what no tier keeps is removed": [
        *((day, TIERS, list(range(day + 1))) for day in range(3)),
        *((day, TIERS, [day - 2, day - 1, day]) for day in range(3, 6)),
    ],
    "a pinned one outlives its tiers": [
        (0, {**LAST, "pin": True}, [0]),
        (1, LAST, [0, 1]),
        (2, {"keep_last": 1}, [0, 2]),
    ],
    "an older one that is archived later does not cost the newest one": [
        (1, {"keep_last": 1}, [0]),
        (0, {"keep_last": 1}, [0, 1]),
        (2, {"keep_last": 1}, [2]),
    ],
}
"""Days of snapshots that are archived one after another, with these inputs, and which archives are there after each."""


@pytest.mark.parametrize("history", HISTORIES)
@staged(scene)
async def test_archives_that_a_rule_keeps_stay_and_others_go(
    at: Scene, history: str
) -> None:
    taken = [at.snapshot]
    records = list[ArchiveRecord]()
    for _ in HISTORIES[history]:
        at.here.emulator.advance(23 * 3600)
        taken.append(at.newer(size=1000))
    for day, inputs, left in HISTORIES[history]:
        at.snapshot = taken[day]
        records.append(
            await at.archive(previous=records[-1] if records else None, **inputs)
        )
        assert there(records) == left
        assert {each.uri for each in records[-1].earlier} == {
            records[each].uri for each in left[:-1]
        }
    assert any(
        text.startswith("removed /") and ": beyond " in text for text in at.row.notes
    )


@staged(scene)
async def test_a_missing_object_takes_no_place(at: Scene) -> None:
    records = await archived(at, 3, keep={"last": 3})
    file_of(records[2]).unlink()
    file_of(records[1]).write_bytes(b"changed")
    at.newer(size=1000)
    last = await at.archive(keep={"last": 2}, previous=records[-1])
    # The oldest is the only good one beside the new one.
    assert file_of(records[0]).exists()
    assert file_of(last).exists()
    assert file_of(records[1]).read_bytes() == b"changed", (
        "what another program wrote is kept"
    )
    assert manifest_of(records[1]).exists()


@pytest.mark.parametrize("method", ["holds", "load"])
@staged(scene)
async def test_a_store_that_does_not_answer_loses_nothing(
    at: Scene, method: str
) -> None:
    records = await archived(at, 3)
    at.refuses(method, *map(file_of, records), *map(manifest_of, records))
    at.newer(size=1000)
    last = await at.archive(keep={"last": 1}, previous=records[-1])
    assert there(records) == [0, 1, 2]
    assert len(last.earlier) == 3
    assert "no earlier archive was removed: no route to it" in at.row.warnings[-1]


def drill(record: ArchiveRecord) -> None:
    """Note in its manifest that a drill has restored it."""
    proof = {"drilled_at": "2026-11-26T12:00:00Z", "restore_seconds": 61.5}
    rewrite_manifest(record, drill=proof)


@pytest.mark.parametrize("rule", [{"keep": {"last": 2}}, {"keep_last": 2}])
@staged(scene)
async def test_the_last_archive_that_a_drill_has_proved_is_kept(
    at: Scene, rule: dict[str, Any]
) -> None:
    records = await archived(at, 2, **rule)

    async def another() -> list[int]:
        at.newer(size=1000)
        records.append(await at.archive(previous=records[-1], **rule))
        return there(records)

    drill(records[0])
    drill(records[1])
    assert await another() == [
        1,
        2,
    ]  # the second is newer than the first, and proved too
    await at.remove(
        records[1],
        delete_object=True,
        successor=ArchiveSuccessor(records[2], counts=True),
    )
    assert there(records) == [1, 2], "the rule counts what was replaced"
    assert await another() == [1, 2, 3]
    assert await another() == [1, 3, 4]
    assert removed_by(records[-1], **rule) == file_of(records[3]).name
    drill(records[3])
    assert await another() == [3, 4, 5]


@staged(scene)
async def test_a_refresh_says_which_earlier_archives_are_gone(at: Scene) -> None:
    records = await archived(at, 3, keep_last=5)
    file_of(records[0]).unlink()
    seen = await at.refresh(records[-1])
    assert [each.uri for each in seen.earlier] == [records[1].uri]
    assert at.row.warnings == [f"1 earlier archive is gone: {file_of(records[0])}."]
    at.refuses("stat", file_of(records[1]))
    assert await at.refresh(seen) == seen, "what cannot be asked is not gone"


@staged(scene)
async def test_a_preview_names_what_would_be_removed(at: Scene) -> None:
    records = await archived(at, 3)
    named = removed_by(records[-1], keep={"last": 2})
    assert named == ", ".join(file_of(each).name for each in (records[1], records[0]))
    assert removed_by(records[-1], keep_last=3) == file_of(records[0]).name
    assert removed_by(records[-1], keep_last=4) == ""
    assert removed_by(records[-1]) == ""


def test_a_preview_takes_a_snapshot_that_is_not_taken_yet_for_one_of_today() -> None:
    days = [system_utc() - timedelta(days=day) for day in (0, 1)]
    today, yesterday = (
        StoredObject(f"/b/{day}", "", rfc3339(time)) for day, time in enumerate(days)
    )
    record = ArchiveRecord(
        today.uri,
        1,
        "00",
        archived_at=rfc3339(days[0]),
        database_id="d",
        version_id="v",
        mark="",
        created_at=today.created_at,
        earlier=(yesterday,),
    )
    assert removed_by(record, keep={"daily": 2}) == "0", "the new one takes its day"


def test_a_preview_names_no_object_that_is_only_written_over() -> None:
    times = [rfc3339(NOON - timedelta(days=day)) for day in (0, 1)]
    fixed = ArchiveInputs.of({"destination": "/b/x.zip"}).destination.uri
    sealed = "file:///backups/" + "d" * 32
    before = StoredObject("file:///b/old.zip", "", times[1])
    record = ArchiveRecord(
        fixed,
        1,
        "00",
        archived_at=times[0],
        database_id="d" * 32,
        version_id="v1",
        mark="",
        created_at=times[0],
        earlier=(before,),
    )
    assert removed_by(record, destination="/b/x.zip", keep_last=1) == "old.zip"
    uri = f"{sealed}/20261126T120000Z-v1.zip.age"
    record = replace(record, uri=uri, plain_sha256="00")
    changed = {"version_id": "v1", "recipients": ["new"], "destination": "/backups/"}
    found = ArchiveRules().compare(
        EngineCall("urn:a", Settings, Shared(), Row()),
        record,
        {**record.to_outputs(), **changed, "recipients": ["old"]},
        {"database_id": record.database_id, "keep_last": 1, **changed},
    )
    assert (found.replaces, str(found.reason)) == (
        ("recipients",),
        (
            "a new archive, once it is whole and proved, removes old.zip, "
            "except for what a drill or another owner keeps"
        ),
    )


def removed_by(record: ArchiveRecord, **values: Any) -> str:
    record = replace(record, owner="0123456789abcdef")
    state = {
        "destination": values.get("destination", "/backups/"),
        **record.to_outputs(),
    }
    inputs = {
        "destination": "/backups/",
        "database_id": record.database_id,
        "version_id": UNKNOWN,
        "created_at": UNKNOWN,
        **values,
    }
    found = ArchiveRules().compare(
        EngineCall("urn:a", Settings, Shared(), Row()), record, state, inputs
    )
    decided = "decided in the update, since a preview does not know version_id"
    assert str(found.reason).startswith(decided)
    return (
        str(found.reason)
        .removeprefix(decided)
        .removeprefix(
            "; a new archive, of a snapshot that is taken now, once it is whole and proved, removes "
        )
        .removesuffix(", except for what a drill or another owner keeps")
    )


# The store as the truth -----------------------------------------------------------------------------------------------


def left(folder: Path, database: str = DATABASE) -> list[int]:
    """The days of the archives that are there."""
    days = [
        int(file.stem.rpartition("-v")[2]) for file in (folder / database).glob("*.zip")
    ]
    assert len(days) == len(list((folder / database).glob("*.zip.json")))
    return sorted(days)


@at_desk()
async def test_cron_keeps_what_its_tiers_keep_of_each_database(
    desk: Desk, tmp_path: Path
) -> None:
    for day in range(10):
        put(tmp_path / "kept", day)
        put(tmp_path / "kept", 2 * day, OTHER_DATABASE)
    del desk.environment["SQUARECLOUD_API_KEY"]
    typed = ("forget", f"{tmp_path}/kept/", "--keep-daily", "3", "--keep-last", "1")
    shown = (await desk.types(*typed, "--dry-run")).done.out
    assert shown.count("would be removed") == 14
    with patch.object(FileStore, "_remove", side_effect=StoreTrouble("AccessDenied")):
        refused = await desk.types(*typed)
    assert (refused.code, refused.out.count("was not removed: AccessDenied")) == (1, 14)
    assert left(tmp_path / "kept") == list(range(10))
    ended = (await desk.types(*typed, "--json")).done.json
    assert sum(each["removed"] for each in ended["archives"]) == 14
    assert left(tmp_path / "kept") == [0, 1, 2]
    assert left(tmp_path / "kept", OTHER_DATABASE) == [0, 2, 4]
    assert (await desk.types("forget", f"{tmp_path}/kept/")).code == 2


@at_desk()
async def test_what_is_not_the_commands_own_is_not_forgotten(
    desk: Desk, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    proof = {"drilled_at": "2026-11-26T12:00:00Z"}
    mine = COMMAND_OWNER.to_outputs()
    theirs = {"id": "0123456789abcdef", "name": "urn:pulumi:a::b::c::d", "pin": False}
    said: list[dict[str, Any]] = [
        {},
        {},
        {"owners": [theirs]},
        {"owners": [mine, theirs]},
    ]
    said += [
        {"owners": [{**mine, "pin": True}]},
        {"owners": []},
        {"drill": proof},
        {"drill": proof},
        {"created_at": None},
    ]
    for day, each in enumerate(said):
        put(kept, day, **each)
    put(kept, -1).write_bytes(b"of another size, so it takes no good one's place")
    typed = ("forget", f"{kept}/", "--keep-last", "1")
    assert (await desk.types(*typed, "--dry-run")).done.out.count(
        "would be removed"
    ) == 2
    ended = await desk.types(*typed)
    assert left(kept) == [-1, 0, 2, 3, 4, 5, 6, 8]
    assert "its owner is a::b::c::d" in ended.done.out
    assert "its owner is unknown" in ended.out


@staged(scene)
async def test_an_archive_that_took_the_name_of_one_that_was_to_go_stays(
    at: Scene, tmp_path: Path
) -> None:
    put(tmp_path, 0)
    old = put(tmp_path, 1)
    listed = list_archives

    async def listed_before(*given: Any) -> list[ListedArchive]:
        found = await listed(*given)
        put(tmp_path, 1, version_id="newer")
        return found

    with patch.object(removal, "list_archives", listed_before):
        ended, _ = await forget_archives(
            at.transfers,
            Destination.parse(f"{tmp_path}/{DATABASE}/"),
            Keep(last=1),
            COMMAND_OWNER.id,
        )
    assert (ended.goes, ended.why) == (False, "it was changed since it was listed")
    assert old.exists()


@at_desk()
async def test_a_database_without_a_good_archive_is_missed(
    w: World, desk: Desk, tmp_path: Path
) -> None:
    put(tmp_path / "kept", 0)
    put(tmp_path / "kept", 1, OTHER_DATABASE, size=8)
    ended = (
        await desk.types(
            "archives",
            f"{tmp_path}/kept/",
            "--expect",
            DATABASE,
            "--expect",
            OTHER_DATABASE,
        )
    ).failed()
    hint = f"\nhint: `squarecloud-snapshots archive {OTHER_DATABASE}/latest {tmp_path}/kept/` writes an archive there."
    assert f"has no good archive of database {OTHER_DATABASE}.{hint}" in ended.err
    assert f"database {DATABASE}" not in ended.err
    w.emulator.add_database("c" * 32, name="my shop")
    named = await desk.types("archives", f"{tmp_path}/kept/", "--expect", "my shop")
    assert f"my shop is database {'c' * 32}" in named.err
    assert f"has no good archive of database {'c' * 32}" in named.err
    del desk.environment["SQUARECLOUD_API_KEY"]
    assert (
        await desk.types(
            "archives", f"{tmp_path}/kept/{DATABASE}/", "--expect", DATABASE
        )
    ).code == 0


@staged(scene)
async def test_an_import_brings_recipients_back_and_takes_no_damaged_archive(
    at: Scene,
) -> None:
    key = str(pyrage.x25519.Identity.generate().to_public())
    record = await at.archive(owner="0123456789abcdef", recipients=[key])
    importer = Declared(at, "urn:pulumi:dev::shop::squarecloud:index:Archive::a")
    back = await importer.imports(record.uri)
    assert back == replace(record, owner=None)
    assert (importer.state or {})["recipients"] == [key]
    assert "replaces" not in await importer.preview(recipients=[key])
    here = {
        "database_id": DATABASE,
        "version_id": back.version_id,
        "destination": f"{at.folder}/",
    }
    before = {"destination": back.uri, "recipients": [key]}
    assert (
        archive_difference(back, before, {**here, "recipients": [key]}).replaces == ()
    )
    file_of(record).write_bytes(b"x")
    with pytest.raises(ProviderError, match="has 1 bytes, not"):
        await importer.imports(record.uri)
    with pytest.raises(ProviderError, match="does not exist"):
        await importer.imports(f"{at.folder}/none.zip")


@staged(scene)
async def test_an_importer_owns_an_archive_once_its_manifest_says_so(
    at: Scene,
) -> None:
    """The store refuses the change of the manifest in one run, and takes it in the next one."""
    record = await at.archive(owner="0123456789abcdef")
    importer = Declared(at, "urn:pulumi:dev::shop::squarecloud:index:Archive::a")
    await importer.imports(record.uri)
    manifest = manifest_of(record)
    at.refuses("write", manifest, why="AccessDenied")
    was = manifest.read_text()
    assert (await importer.up()).owner is None
    assert manifest.read_text() == was
    name = record.uri.removeprefix("file://")
    warning = f"this resource is not entered yet as an owner of {name}."
    assert warning in at.row.warnings
    at.stores(FileStore)
    owner = (await importer.up()).owner
    entered = [each["id"] for each in json.loads(manifest.read_text())["owners"]]
    assert owner in entered


def test_many_archives_are_listed_in_parallel(tmp_path: Path) -> None:
    together = threading.Barrier(20)

    class Slow(FileStore):
        def load(self, most: int | None = None) -> StoredContent | None:
            together.wait(30)
            return super().load(most)

    for day in range(20):
        put(tmp_path, day)
    transfers = Transfers()
    transfers.store = lambda place: Slow(place.file)  # type: ignore[method-assign]
    assert (
        len(anyio.run(list_archives, transfers, Destination.parse(f"{tmp_path}/")))
        == 20
    )
