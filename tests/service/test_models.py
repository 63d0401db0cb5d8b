"""Listings and accounts with odd fields: a bad field costs itself, never the snapshots beside it."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from pulumi_snapshots.service.models import (
    Account,
    Finished,
    ListedSnapshot,
    read_entries,
    version_of_url_or_key,
)

VERSION = "45ec0b49-9af6-445e-a55c-abd7ec5278b2"
KEY = (
    f"AWSAccessKeyId=accesskey&Expires=1757683751&Signature=VZ03%3D&versionId={VERSION}"
)
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


def test_documented_entries_are_read_whole_however_many() -> None:
    entries, unreadable = read_entries(
        [{**ENTRY, "some_new_field": {"a": [1]}}] * 10_000
    )
    assert (len(entries), unreadable) == (10_000, 0)
    assert {name: getattr(entries[0], name) for name in ENTRY} == {
        **ENTRY,
        "modified": datetime(2025, 8, 13, 13, 29, 11, 263000, UTC),
    }
    assert entries[0].version == VERSION


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            (name, bad)
            for name in ENTRY
            if name not in {"name", "version_id"}
            for bad in (None, {}, ["x"], object())
        ),
        *(
            ("size", bad)
            for bad in (-1, 2**53, 10**4000, "9" * 5000, math.inf, math.nan)
        ),
        *(
            ("url", bad)
            for bad in (
                "https://[broken",
                "javascript:alert(1)",
                "snapshots/x.zip",
                "https://",
                7,
            )
        ),
    ],
    ids=lambda it: str(it)[:12],
)
def test_a_field_that_no_snapshot_has_does_not_cost_the_entry(
    field: str, value: object
) -> None:
    assert getattr(read(**{field: value}), field) is None
    assert (
        field != "url"
        or Finished.model_validate({"url": value, "key": KEY}).version == VERSION
    )


@pytest.mark.parametrize("value", [None, 7, {}, ""])
def test_an_odd_version_id_is_replaced_by_the_one_in_the_key(value: object) -> None:
    assert read(version_id=value).version == VERSION
    assert read(version_id=value, key=None).version == VERSION, "or from the url"


UNREADABLE: tuple[object, ...] = (
    *(
        None,
        7,
        "x",
        [],
        {},
        {**ENTRY, "name": None},
        {**ENTRY, "name": ""},
        {"name": "x"},
    ),
    {**OLD, "key": "a=b"},
)


@pytest.mark.parametrize("item", UNREADABLE)
def test_an_unreadable_entry_is_counted_and_costs_no_other(item: object) -> None:
    (_, old), unreadable = read_entries([ENTRY, item, OLD])
    assert unreadable == 1
    assert (old.version, old.url, old.origin, old.runtime) == (
        VERSION,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("modified", "moment"),
    [
        ("2025-08-13T13:29:11Z", datetime(2025, 8, 13, 13, 29, 11, tzinfo=UTC)),
        ("2025-08-13T13:29:11", datetime(2025, 8, 13, 13, 29, 11, tzinfo=UTC)),
        ("2025-08-13 13:29:11", datetime(2025, 8, 13, 13, 29, 11, tzinfo=UTC)),
        ("2025-08-13T15:29:11+02:00", datetime(2025, 8, 13, 13, 29, 11, tzinfo=UTC)),
        (
            "2025-08-13T13:29:11.123456789Z",
            datetime(2025, 8, 13, 13, 29, 11, 123456, UTC),
        ),
        (1755091751263, datetime(2025, 8, 13, 13, 29, 11, 263000, UTC)),
        *(
            (bad, None)
            for bad in ("yesterday", "", "9999-12-31T00:00:00Z", math.inf, 10**30)
        ),
        *(
            (bad, None)
            for bad in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")
        ),
    ],
)
def test_dates_are_read_in_every_usual_form(
    modified: object, moment: datetime | None
) -> None:
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
        (
            "https://host/x?a=b&versionId=3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
            "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
        ),
        ("https://host/versionId=a", None),
        ("https://[broken?versionId=a", None),
    ],
)
def test_a_version_is_found_in_a_signed_address(
    address: str | None, version: str | None
) -> None:
    assert version_of_url_or_key(address) == version


PLAN = {"name": "pro", "memory": {"limit": 2048, "used": 1}, "duration": 1}
BAD_PLANS: tuple[Any, ...] = (
    None,
    "pro",
    {},
    {"memory": None},
    {"memory": {"limit": "much"}},
)
BAD_DATABASES: tuple[Any, ...] = (None, {}, "x", {"id": 7}, {"id": None}, {"id": ""})
DATABASES = [
    {
        "id": "d1",
        "name": "one",
        "ram": 512,
        "type": "postgres",
        "cluster": "c",
        "created_at": "x",
    }
]


@pytest.mark.parametrize(
    ("plan", "databases", "memory", "unreadable"),
    [
        (PLAN, DATABASES, 2048, 0),
        *((bad, DATABASES, None, 0) for bad in BAD_PLANS),
        *((PLAN, [bad, *DATABASES], 2048, 1) for bad in BAD_DATABASES),
    ],
)
def test_an_account_is_read_as_far_as_it_can_be(
    plan: Any, databases: Any, memory: int | None, unreadable: int
) -> None:
    content = {
        "user": {"id": "acc", "name": "x", "plan": plan},
        "databases": databases,
        "applications": [{"odd": 1}],
    }
    account = Account.model_validate(content)
    assert (account.id, account.plan_memory, account.unreadable) == (
        "acc",
        memory,
        unreadable,
    )
    read = [(one.id, one.ram, one.type) for one in account.databases]
    assert read == [("d1", 512, "postgres")]


ENDS: dict[object, datetime] = {
    1_798_718_400_000: datetime(2026, 12, 31, 12, 0, tzinfo=UTC),
    1_798_718_400_000.5: datetime(2026, 12, 31, 12, 0, 0, 500, UTC),
}
SECONDS = 1_798_718_400
A_MONTH = 2_592_000_000
"""Milliseconds: no time, but how long a plan lasts."""
NO_END: tuple[object, ...] = (
    *(None, 0, -5, 30, A_MONTH, SECONDS, True, "1798718400000", {}, []),
    *(10**30, 10**400, math.inf, math.nan),
)


@pytest.mark.parametrize(
    ("duration", "ends"),
    [*ENDS.items(), *((each, None) for each in NO_END)],
    ids=lambda it: str(it)[:20],
)
def test_only_a_time_of_this_age_is_the_end_of_a_plan(
    duration: object, ends: datetime | None
) -> None:
    plan = {"name": "standard-4", "memory": {"limit": 4096}, "duration": duration}
    account = Account.model_validate(
        {"user": {"id": "x", "plan": plan}, "databases": []}
    )
    assert (account.plan_ends, account.plan_memory) == (ends, 4096)


def test_a_plan_without_a_duration_has_no_known_end() -> None:
    for plan in (None, {}, {"name": "free"}, "free"):
        account = Account.model_validate(
            {"user": {"id": "x", "plan": plan}, "databases": []}
        )
        assert account.plan_ends is None
