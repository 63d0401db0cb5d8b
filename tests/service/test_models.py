"""Listings and accounts with odd fields: a bad field costs itself, never the snapshots beside it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from pulumi_snapshots.service.models import Account, Finished, ListedSnapshot, read_entries, version_of_url_or_key

VERSION = "45ec0b49-9af6-445e-a55c-abd7ec5278b2"
KEY = f"AWSAccessKeyId=accesskey&Expires=1757683751&Signature=VZ03%3D&versionId={VERSION}"
ENTRY: dict[str, Any] = {
    "name": "a14b8d5e1cb7405a851eb4c075506121",
    "size": 10644463,
    "modified": "2025-08-13T13:29:11.263Z",
    "key": KEY,
    "version_id": VERSION,
    "url": f"https://snapshots.example/databases/acc/a14b.zip?{KEY}",
    "runtime": "postgres",
    "origin": "manual",
}
OLD = {name: ENTRY[name] for name in ("name", "size", "modified", "key")}


def read(**changes: Any) -> ListedSnapshot:
    (entry,), unreadable = read_entries([{**ENTRY, **changes}])
    assert unreadable == 0
    return entry


def test_the_documented_entry_is_read_whole() -> None:
    entry = read(some_new_field={"a": [1]})
    assert entry.model_dump() == {**ENTRY, "modified": datetime(2025, 8, 13, 13, 29, 11, 263000, UTC)}
    assert entry.version == VERSION


def test_an_old_entry_has_its_version_in_its_key() -> None:
    (entry,), _ = read_entries([OLD])
    assert entry.version == VERSION
    assert (entry.url, entry.origin, entry.runtime) == (None, None, None)


@pytest.mark.parametrize("field", [name for name in ENTRY if name not in {"name", "version_id"}])
@pytest.mark.parametrize("value", [None, {}, ["x"], object()])
def test_a_field_of_a_wrong_type_does_not_cost_the_entry(field: str, value: object) -> None:
    assert getattr(read(**{field: value}), field) is None


@pytest.mark.parametrize("size", [-1, 2**53, 10**4000, "9" * 5000, math.inf, math.nan], ids=lambda it: str(it)[:9])
def test_a_size_that_no_snapshot_has_is_not_shown(size: object) -> None:
    assert read(size=size).size is None


@pytest.mark.parametrize("value", [None, 7, {}, ""])
def test_an_odd_version_id_is_replaced_by_the_one_in_the_key(value: object) -> None:
    assert read(version_id=value).version == VERSION
    assert read(version_id=value, key=None).version == VERSION, "or from the url"


UNREADABLE: list[object] = [
    None,
    7,
    "x",
    [],
    {},
    {**ENTRY, "name": None},
    {**ENTRY, "name": ""},
    {"name": "x"},
    {**OLD, "key": "a=b"},
]


@pytest.mark.parametrize("item", UNREADABLE)
def test_an_unreadable_entry_is_counted_and_costs_no_other(item: object) -> None:
    entries, unreadable = read_entries([ENTRY, item, OLD])
    assert len(entries) == 2
    assert unreadable == 1


@pytest.mark.parametrize(
    ("modified", "moment"),
    [
        ("2025-08-13T13:29:11Z", datetime(2025, 8, 13, 13, 29, 11, tzinfo=UTC)),
        ("2025-08-13T13:29:11", datetime(2025, 8, 13, 13, 29, 11, tzinfo=UTC)),
        ("2025-08-13 13:29:11", datetime(2025, 8, 13, 13, 29, 11, tzinfo=UTC)),
        ("2025-08-13T15:29:11+02:00", datetime(2025, 8, 13, 13, 29, 11, tzinfo=UTC)),
        ("2025-08-13T13:29:11.123456789Z", datetime(2025, 8, 13, 13, 29, 11, 123456, UTC)),
        (1755091751, datetime(2025, 8, 13, 13, 29, 11, tzinfo=UTC)),
        (1755091751263, datetime(2025, 8, 13, 13, 29, 11, 263000, UTC)),
        ("yesterday", None),
        ("", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("9999-12-31T00:00:00Z", None),
        (float("inf"), None),
        (10**30, None),
    ],
)
def test_dates_are_read_in_every_usual_form(modified: object, moment: datetime | None) -> None:
    assert read(modified=modified).modified == moment


@pytest.mark.parametrize(
    ("address", "version"),
    [
        (None, None),
        ("", None),
        ("versionId=", None),
        ("?versionId=a", "a"),
        ("versionId=a%2Bb%2Fc%3D", "a+b/c="),
        ("versionId=a+b", "a+b"),
        ("https://host/x?a=b&versionId=3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY", "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY"),
        ("https://host/versionId=a", None),
        ("https://[broken?versionId=a", None),
    ],
)
def test_a_version_is_found_in_a_signed_address(address: str | None, version: str | None) -> None:
    assert version_of_url_or_key(address) == version


@pytest.mark.parametrize("url", ["https://[broken", "javascript:alert(1)", "snapshots/x.zip", "https://", 7])
def test_a_bad_url_costs_no_entry_and_no_finished_snapshot(url: object) -> None:
    assert read(url=url).url is None
    finished = Finished.model_validate({"url": url, "key": KEY})
    assert (finished.url, finished.version) == (None, VERSION)


def test_ten_thousand_entries_are_read() -> None:
    entries, unreadable = read_entries([ENTRY] * 10_000)
    assert (len(entries), unreadable) == (10_000, 0)


ACCOUNT: dict[str, Any] = {
    "user": {"id": "acc", "name": "x", "plan": {"name": "pro", "memory": {"limit": 2048, "used": 1}, "duration": 1}},
    "databases": [{"id": "d1", "name": "one", "ram": 512, "type": "postgres", "cluster": "c", "created_at": "x"}],
    "applications": [{"odd": True}],
}


def test_an_account_has_its_plan_and_databases() -> None:
    account = Account.model_validate(ACCOUNT)
    assert (account.id, account.plan_memory) == ("acc", 2048)
    assert [(database.id, database.ram, database.type) for database in account.databases] == [("d1", 512, "postgres")]


@pytest.mark.parametrize("bad", [None, {}, "x", {"id": 7}, {"id": None}, {"id": ""}])
def test_one_unreadable_database_does_not_cost_the_account(bad: object) -> None:
    account = Account.model_validate({**ACCOUNT, "databases": [bad, *ACCOUNT["databases"]]})
    assert [database.id for database in account.databases] == ["d1"]


@pytest.mark.parametrize("databases", [None, {}, "x", 7])
def test_a_bad_list_of_databases_does_not_cost_the_account(databases: object) -> None:
    assert Account.model_validate({**ACCOUNT, "databases": databases}).databases == ()


@pytest.mark.parametrize("plan", [None, "pro", {}, {"memory": None}, {"memory": {"limit": "much"}}])
def test_an_unreadable_plan_does_not_cost_the_account(plan: object) -> None:
    assert Account.model_validate({"user": {"id": "acc", "plan": plan}}).plan_memory is None
