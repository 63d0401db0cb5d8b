"""What a program may say of a guard, and what it remembers of the last one; without an engine."""

from __future__ import annotations

import inspect
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from pulumi_snapshots import Guard
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.guard.book import GuardBook
from pulumi_snapshots.guard.inputs import GuardInputs
from pulumi_snapshots.guard.once import change_of
from pulumi_snapshots.locked_file import LockedFile
from pulumi_snapshots.properties.durations import parse_duration
from pulumi_snapshots.snapshot.record import SnapshotRecord
from tests.support.virtual import virtual
from tests.support.world import DATABASE, START

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi_snapshots.lookup.results import SnapshotInfo


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"database_id": ""}, "database_id must not be empty"),
        ({"database_id": "a/b"}, "database_id must be a bare id"),
        ({"database_id": None}, "database_id is required"),
        ({"reuse_within": "soon"}, "reuse_within must be"),
        ({"reuse_within": "31d"}, "reuse_within must be at most 30d"),
        ({"timeout": 0}, "timeout must be longer than zero"),
        ({"before": []}, "before must not be empty"),
        ({"before": ["replace"]}, "before must be a list of 'create', 'update', 'delete', not 'replace'"),
        ({"before": "update"}, "before must be a list"),
        ({"name": " "}, "name must be a text"),
    ],
)
def test_a_wrong_argument_fails_where_the_guard_is_made(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(pulumi.RunError, match=r"^Guard") as refused:
        Guard(**{"name": "shop", "database_id": DATABASE, **wrong})
    assert named in str(refused.value)


def test_a_wrong_setting_fails_where_the_guard_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUARECLOUD_LOOK_EVERY", "often")
    with pytest.raises(pulumi.RunError, match="SQUARECLOUD_LOOK_EVERY must be"):
        Guard("shop", DATABASE)


def test_the_signature_shows_the_defaults_that_are_used() -> None:
    given = inspect.signature(Guard).parameters
    declared = GuardInputs.properties()
    assert set(given) - {"name"} == set(declared)
    assert parse_duration(given["reuse_within"].default) == declared["reuse_within"].default
    assert parse_duration(given["timeout"].default) == declared["timeout"].default
    assert given["before"].default == declared["before"].default


@pytest.mark.parametrize(
    ("urn", "said"),
    [
        ("urn:pulumi:dev::app::aws:ec2/instance:Instance::shop", "update of Instance shop"),
        ("urn:pulumi:dev::app::my:shop:Shop$servers:index:Server::a::b", "update of Server a::b"),
        ("strange", "update of strange"),
    ],
)
def test_an_error_names_the_change_as_a_reader_would(urn: str, said: str) -> None:
    assert change_of(urn, "update") == said


def book(folder: Path, clock: Clock) -> GuardBook:
    return GuardBook(LockedFile(folder / "guards.json", clock))


@virtual
async def test_the_last_snapshot_of_a_guard_is_known_for_its_30_days(tmp_path: Path) -> None:
    clock = Clock(START)
    taken = SnapshotRecord(DATABASE, "v1", download_url="https://x.test/?Signature=s3cret", available=True).created(
        START
    )
    assert await book(tmp_path, clock).last("app::dev::guard::shop") is None
    await book(tmp_path, clock).note("app::dev::guard::shop", taken)
    await book(tmp_path, clock).note("app::dev::guard::other", SnapshotRecord(DATABASE, "v2", available=True))
    last: SnapshotInfo | None = await book(tmp_path, clock).last("app::dev::guard::shop")
    assert last is not None
    assert (last.id, last.available, last.created_at) == (f"{DATABASE}/v1", True, taken.created_at)
    assert "s3cret" not in (tmp_path / "guards.json").read_text()
    await clock.sleep(timedelta(days=31).total_seconds())
    assert await book(tmp_path, clock).last("app::dev::guard::shop") is None
    await book(tmp_path, clock).note("app::dev::guard::other", taken)
    assert list(json.loads((tmp_path / "guards.json").read_text())["guards"]) == ["app::dev::guard::other"]


@pytest.mark.parametrize(
    "content", ["[]", '{"guards": 1}', '{"guards": {"g": 1}}', '{"guards": {"g": {"version_id": "v"}}}', "{"]
)
@virtual
async def test_an_unreadable_book_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "guards.json").write_text(content)
    assert await book(tmp_path, Clock(START)).last("g") is None
