"""Tiers of archives: which objects they keep, by restic's rules, and which are never removed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

from pulumi_snapshots.archive.difference import ArchiveRules
from pulumi_snapshots.archive.inputs import ArchiveInputs, Keep
from pulumi_snapshots.archive.record import ArchiveRecord, StoredObject, kept_by, kept_of
from pulumi_snapshots.clock import rfc3339, system_utc
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.storage.destination import place_text
from pulumi_snapshots.storage.files import FileStore
from pulumi_snapshots.storage.store import StoreTrouble
from tests.archive.scene import Scene, file_of, scene
from tests.support.virtual import virtual

if TYPE_CHECKING:
    from collections.abc import Sequence

STORED = Path(__file__).parent.parent / "fixtures" / "retention.json"
"""Histories, tiers, and what restic kept: `python -m bench.restic_oracle --store` writes such a file."""
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def kept(keep: Keep, times: Sequence[str]) -> list[int]:
    return sorted(kept_by(keep, range(len(times)), lambda number: times[number]))


def test_tiers_keep_what_restic_keeps() -> None:
    for case in json.loads(STORED.read_text()):
        times = [rfc3339(datetime.fromtimestamp(seconds, UTC)) for seconds in case["times"]]
        assert kept(Keep(**case["keep"]), times) == case["kept"], case


def test_a_pinned_one_and_one_of_unknown_time_stay() -> None:
    objects = [StoredObject(f"{day}", "", rfc3339(NOON - timedelta(days=day))) for day in range(6)]
    objects[3] = StoredObject("3", "", objects[3].created_at, pinned=True)
    objects[4] = StoredObject("4", "")
    assert [each.uri for each in kept_of(objects, Keep(daily=2))] == ["0", "1", "3", "4"]
    assert [each.uri for each in kept_of(objects, Keep(last=1))] == ["0", "3", "4"]
    assert kept_of(objects, None) == objects


async def archived(at: Scene, count: int, hours: float = 24.0, **values: Any) -> list[ArchiveRecord]:
    """So many archives of one resource, one after another."""
    records = [await at.archive(**values)]
    for _ in range(count - 1):
        at.here.emulator.advance(hours * 3600 - 3600)
        at.newer(size=1000)
        records.append(await at.archive(previous=ArchiveRecord.from_outputs(records[-1].to_outputs()), **values))
    return records


def there(records: Sequence[ArchiveRecord]) -> list[int]:
    return [number for number, each in enumerate(records) if file_of(each).exists()]


@virtual
async def test_only_what_no_tier_keeps_is_removed(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        records = await archived(at, 6, keep={"last": 1, "daily": 3})
        assert there(records) == [3, 4, 5]
        assert [each.uri for each in records[-1].earlier] == [records[4].uri, records[3].uri]
        assert any(text.startswith(f"removed {place_text(records[0].uri)}: beyond keep") for text in at.row.notes)


@virtual
async def test_a_pinned_archive_outlives_its_tiers(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        pinned = await at.archive(keep={"last": 1}, pin=True)
        at.newer(size=1000)
        second = await at.archive(keep={"last": 1}, previous=ArchiveRecord.from_outputs(pinned.to_outputs()))
        at.newer(size=1000)
        third = await at.archive(keep_last=1, previous=ArchiveRecord.from_outputs(second.to_outputs()))
        assert there([pinned, second, third]) == [0, 2]


@virtual
async def test_an_older_snapshot_that_is_archived_later_does_not_cost_the_newest_one(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        older = at.snapshot
        at.newer(size=1000)
        newest = await at.archive(keep_last=1)
        at.snapshot = older
        record = await at.archive(keep_last=1, previous=newest)
        assert there([newest, record]) == [0, 1], "the newest data, and what was just written"
        at.newer(size=1000)
        last = await at.archive(keep_last=1, previous=record)
        assert there([newest, record, last]) == [2]


@virtual
async def test_a_missing_object_takes_no_place(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        records = await archived(at, 3, keep={"last": 3})
        file_of(records[2]).unlink()
        file_of(records[1]).write_bytes(b"changed")
        at.newer(size=1000)
        last = await at.archive(keep={"last": 2}, previous=records[-1])
        # The oldest is the only good one beside the new one.
        assert file_of(records[0]).exists()
        assert file_of(last).exists()
        assert file_of(records[1]).read_bytes() == b"changed", "what another program wrote is kept"
        assert file_of(records[1]).with_name(f"{file_of(records[1]).name}.json").exists()


@pytest.mark.parametrize("method", ["holds", "load"])
@virtual
async def test_a_store_that_does_not_answer_loses_nothing(tmp_path: Path, method: str) -> None:
    async with scene(tmp_path / "a") as at:
        records = await archived(at, 3)
        mine = {each.uri for each in records}

        class Silent(FileStore):
            def __getattribute__(self, name: str) -> Any:
                if name == method and self._path.as_uri().removesuffix(".json") in mine:
                    raise StoreTrouble("no route to it")
                return super().__getattribute__(name)

        at.transfers.store = lambda place: Silent(place.file)  # type: ignore[method-assign]
        at.newer(size=1000)
        last = await at.archive(keep={"last": 1}, previous=records[-1])
        assert there(records) == [0, 1, 2]
        assert len(last.earlier) == 3
        assert "no earlier archive was removed: no route to it" in at.row.warnings[-1]


def drill(record: ArchiveRecord) -> None:
    """Note in its manifest that a drill has restored it."""
    manifest = file_of(record).with_name(f"{file_of(record).name}.json")
    said = json.loads(manifest.read_text())
    said["drill"] = {"drilled_at": "2026-11-26T12:00:00Z", "restore_seconds": 61.5}
    manifest.write_text(json.dumps(said))


@pytest.mark.parametrize("rule", [{"keep": {"last": 2}}, {"keep_last": 2}])
@virtual
async def test_the_last_archive_that_a_drill_has_proved_is_kept(tmp_path: Path, rule: dict[str, Any]) -> None:
    async with scene(tmp_path / "a") as at:
        records = await archived(at, 2, **rule)

        async def another() -> list[int]:
            at.newer(size=1000)
            before = ArchiveRecord.from_outputs(records[-1].to_outputs())
            records.append(await at.archive(previous=before, **rule))
            return there(records)

        drill(records[0])
        drill(records[1])
        assert await another() == [1, 2]  # the second is newer than the first, and proved too
        assert await another() == [1, 2, 3]
        assert await another() == [1, 3, 4]
        assert removed_by(ArchiveRecord.from_outputs(records[-1].to_outputs()), **rule) == file_of(records[3]).name
        drill(records[3])
        assert await another() == [3, 4, 5]


@virtual
async def test_states_of_the_earlier_version_still_work(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        records = await archived(at, 3)
        state = records[-1].to_outputs()
        for name in ("created_at", "pinned", "plain_size", "plain_sha256"):
            del state[name]
        state["earlier"] = [{"uri": each["uri"], "mark": each["mark"]} for each in state["earlier"]]
        at.newer(size=1000)
        last = await at.archive(keep_last=2, previous=ArchiveRecord.from_outputs(state))
        assert there([*records, last]) == [0, 1, 2, 3], "nothing says how old those are"


@virtual
async def test_a_preview_names_what_would_be_removed(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        records = await archived(at, 3)
        named = removed_by(records[-1], keep={"last": 2})
        assert named == ", ".join(file_of(each).name for each in (records[1], records[0]))
        assert removed_by(records[-1], keep_last=3) == file_of(records[0]).name
        assert removed_by(records[-1], keep_last=4) == ""
        assert removed_by(records[-1]) == ""


def test_a_preview_takes_a_snapshot_that_is_not_taken_yet_for_one_of_today() -> None:
    days = [system_utc() - timedelta(days=day) for day in (0, 1)]
    today, yesterday = (StoredObject(f"/b/{day}", "", rfc3339(time)) for day, time in enumerate(days))
    record = ArchiveRecord(
        today.uri, 1, "00", rfc3339(days[0]), "d", "v", "", created_at=today.created_at, earlier=(yesterday,)
    )
    assert removed_by(record, keep={"daily": 2}) == "0", "the new one takes its day"


def test_a_preview_names_no_object_that_is_only_written_over() -> None:
    times = [rfc3339(NOON - timedelta(days=day)) for day in (0, 1)]
    fixed, sealed = ArchiveInputs.of({"destination": "/b/x.zip"}).destination.uri, "file:///backups/" + "d" * 32
    before = StoredObject("file:///b/old.zip", "", times[1])
    record = ArchiveRecord(fixed, 1, "00", times[0], "d" * 32, "v1", "", created_at=times[0], earlier=(before,))
    assert removed_by(record, destination="/b/x.zip", keep_last=1) == "old.zip"
    uri = f"{sealed}/20261126T120000Z-v1.zip.age"
    record = replace(record, uri=uri, plain_sha256="00")
    changed = {"version_id": "v1", "recipients": ["new"], "destination": "/backups/"}
    found = ArchiveRules().compare(
        MagicMock(),
        record,
        {**record.to_outputs(), **changed, "recipients": ["old"]},
        {"database_id": record.database_id, "keep_last": 1, **changed},
    )
    assert (found.replaces, str(found.reason)) == (("recipients",), "a new archive, once it is whole, removes old.zip")


def removed_by(record: ArchiveRecord, **values: Any) -> str:
    state = {"destination": values.get("destination", "/backups/"), **record.to_outputs()}
    inputs = {"destination": "/backups/", "database_id": record.database_id, "version_id": UNKNOWN, **values}
    found = ArchiveRules().compare(MagicMock(), record, state, inputs)
    decided = "decided in the update, since a preview does not know version_id"
    assert str(found.reason).startswith(decided)
    return str(found.reason).removeprefix(decided).removeprefix("; a new archive, once it is whole, removes ")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "must be an object with some of last, daily"),
        ({"hourly": 1}, "must be an object with some of last, daily"),
        ({"daily": None}, "must be an object with some of"),
        ({"daily": 0}, "has daily, which must be a whole number from 1 to 500"),
        ({"daily": 1.5}, "has daily, which must be a whole number"),
        ({"daily": 501}, "has daily, which must be a whole number"),
        ({"daily": "7"}, "has daily, which must be a whole number"),
        (7, "must be an object with some of"),
    ],
)
def test_wrong_tiers_fail_in_preview(given: Any, told: str) -> None:
    good = {"database_id": "a" * 32, "version_id": "v", "destination": "/backups/"}
    (problem,) = ArchiveInputs.problems({**good, "keep": given})
    assert problem.property == "keep"
    assert told in PYTHON.text(problem.told())
    (both,) = ArchiveInputs.problems({**good, "keep": {"daily": 1}, "keep_last": 1})
    assert PYTHON.text(both.told()).endswith("cannot be given beside keep_last: give it last: 1 instead")
    assert ArchiveInputs.problems({**good, "keep": {"daily": UNKNOWN, "weekly": 2.0}, "pin": True}) == []
