"""Bad inputs fail in the preview, on the right property, with a text that names what would be right."""

import math
from typing import Any

import pytest

from pulumi_snapshots.properties.checks import (
    UNKNOWN,
    duration_text,
    parse_duration,
    problem_of_url,
    spoken,
)
from pulumi_snapshots.snapshot.record import SnapshotInputs, SnapshotRecord, split_id

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
DURATION = "must be a duration in d, h, m or s such as 90s, 45m, 1h30m or 7d, not "
BARE = "must be a bare id, of letters, digits, - and _ only"

BAD_DURATIONS: list[Any] = [
    *(
        -1,
        -0.5,
        math.nan,
        math.inf,
        -math.inf,
        10**400,
        True,
        False,
        [],
        {},
        b"45m",
        "",
        " ",
        "9" * 400,
    ),
    *(
        "soon",
        "45 m",
        "-45m",
        "+45m",
        "1e3",
        "45min",
        "m",
        "1h-30m",
        "\u0664\u0665m",
        "nan",
        "inf",
    ),
]

BAD: list[tuple[str, Any, str]] = [
    ("database_id", None, "is required: the id of the database"),
    ("database_id", "", "the id of the database"),
    ("database_id", 7, "must be a string, not int"),
    ("database_id", ["x"], "must be a string, not list"),
    *(
        ("database_id", value, BARE)
        for value in (
            *(
                ".",
                "..",
                "/",
                "a/b",
                "a\\b",
                "../x",
                "a?b",
                "a#b",
                "a%2Fb",
                " a",
                "a\n",
                "a b",
                "a\x00",
            ),
            *(
                "a\u200bb",
                "a\uff0fb",
                "\u2025",
                "caf\u00e9",
                "a\ud800",
            ),  # a path's parts in disguise, other scripts
            *(
                "<DATABASE_ID>",
                "${database.id}",
                "$DATABASE",
                "{id}",
                "x" * 101,
            ),  # never filled in
        )
    ),
    ("triggers", "x", "must be a list, not str"),
    ("triggers", {"a": 1}, "must be a list, not dict"),
    (
        "triggers",
        ["x" * 2**26],
        "must be 1 MiB at most, as JSON, not 64: give a digest",
    ),
    *(
        (name, value, DURATION)
        for name in ("timeout", "reuse_within", "rotate_after")
        for value in BAD_DURATIONS
    ),
    ("timeout", 0, "must be longer than zero"),
    ("timeout", "0s", "must be longer than zero"),
    ("timeout", "8d", "must be at most 7d, not '8d'"),
    ("timeout", 1e300, "must be at most 7d"),
    ("reuse_within", "31d", "must be at most 30d"),
    ("reuse_within", "720h1s", "must be at most 30d"),
    ("rotate_after", 0, "must be longer than zero"),
    ("rotate_after", "31d", "must be at most 30d"),
]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    BAD,
    ids=lambda value: ascii(value)[:40] if isinstance(value, str) else None,
)
def test_a_bad_input_is_reported_on_its_property(
    name: str, value: Any, says: str
) -> None:
    (problem,) = SnapshotInputs.problems({"database_id": DATABASE, name: value})
    assert problem.property == name
    told = str(problem.with_value())
    assert says in told
    assert len(told) < 250


GOOD: list[tuple[str, Any]] = [
    *(
        ("database_id", value)
        for value in (DATABASE, "db_abc123def456abc123def4", "a.b", "a_b-C")
    ),
    *(("triggers", value) for value in (None, [], ["x", {"a": [1]}], ())),
    *(
        ("timeout", value)
        for value in (
            None,
            1,
            0.5,
            "90",
            "1h30m",
            "1.5h",
            "500ms",
            ".5m",
            "7d",
            " 45m ",
            "1d12h",
        )
    ),
    *(("reuse_within", value) for value in (0, "0s", "30d", 30 * 86400)),
    *(("rotate_after", value) for value in ("1s", "30d")),
    *(
        (name, UNKNOWN)
        for name in (
            "database_id",
            "triggers",
            "timeout",
            "reuse_within",
            "rotate_after",
        )
    ),
]


@pytest.mark.parametrize(("name", "value"), GOOD, ids=ascii)
def test_a_good_or_unknown_input_is_no_problem(name: str, value: Any) -> None:
    assert SnapshotInputs.problems({"database_id": DATABASE, name: value}) == []


@pytest.mark.parametrize(
    ("reuse", "rotate", "right"),
    [
        *(("1h", "1h", False), ("2h", "1h", False), ("1h", "61m", True)),
        *((0, "1s", True), (UNKNOWN, "1h", True), ("1h", UNKNOWN, True)),
    ],
)
def test_a_rotation_must_not_adopt_what_it_should_renew(
    reuse: Any,
    rotate: Any,
    right: bool,  # noqa: FBT001
) -> None:
    problems = SnapshotInputs.problems(
        {"database_id": DATABASE, "reuse_within": reuse, "rotate_after": rotate}
    )
    assert [problem.property for problem in problems] == (
        [] if right else ["rotate_after"]
    )
    assert right or "longer than reuse_within" in str(problems[0].reason)


def test_every_problem_is_reported_at_once() -> None:
    bad = {
        "database_id": "",
        "triggers": 1,
        "timeout": "x",
        "reuse_within": "x",
        "rotate_after": "x",
    }
    assert [problem.property for problem in SnapshotInputs.problems(bad)] == [*bad]


def test_checked_inputs_are_seconds() -> None:
    values = {
        "database_id": DATABASE,
        "timeout": "1h30m",
        "reuse_within": "1d",
        "rotate_after": 90000.0,
    }
    assert SnapshotInputs.of(values) == SnapshotInputs(
        DATABASE, timeout=5400, reuse_within=86400, rotate_after=90000
    )
    assert SnapshotInputs.of({"database_id": DATABASE}) == SnapshotInputs(
        DATABASE, timeout=2700, reuse_within=0, rotate_after=None
    )


@pytest.mark.parametrize(
    "text",
    ["9" * 20_000 + "x", "1h" * 20_000 + "x", "." * 20_000],
    ids=lambda text: text[:2],
)
def test_a_text_of_thousands_of_digits_ends_at_once(text: str) -> None:
    with pytest.raises(
        ValueError, match="must be a duration in d, h, m or s such as"
    ):  # it took hours
        parse_duration(text)


DURATIONS: list[tuple[float, str, str]] = [
    *(
        (0, "0s", "0 s"),
        (0.46, "0.46s", "0.5 s"),
        (1.5, "1.5s", "2 s"),
        (40, "40s", "40 s"),
        (60, "1m", "1 min"),
    ),
    *(
        (150, "2m30s", "2 min 30 s"),
        (754, "12m34s", "13 min"),
        (6900, "1h55m", "1 h 55 min"),
        (604800, "7d", "7 days"),
    ),
    *(
        (86_399, "23h59m59s", "1 day"),
        (172_845, "2d45s", "2 days"),
        (300_000, "3d11h20m", "3 days 11 h"),
    ),
]


@pytest.mark.parametrize(("seconds", "written", "said"), DURATIONS)
def test_a_duration_is_shown_as_a_person_writes_or_says_it(
    seconds: float, written: str, said: str
) -> None:
    assert (duration_text(seconds), spoken(seconds)) == (written, said)


@pytest.mark.parametrize(
    "version",
    [
        "45ec0b49-9af6-445e-a55c-abd7ec5278b2",
        "a+b/c=_-",
        "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
    ],
)
def test_an_id_is_split_at_its_first_slash(version: str) -> None:
    assert split_id(f"{DATABASE}/{version}") == (DATABASE, version)
    assert SnapshotRecord(DATABASE, version_id=version).id == f"{DATABASE}/{version}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        DATABASE,
        f"{DATABASE}/",
        "/v",
        "../v",
        "./v",
        "a b/v",
        "a?b/v",
        "a\uff0fb/v",
    ],
)
def test_a_malformed_id_is_reported_with_the_right_form(text: str) -> None:
    with pytest.raises(
        ValueError, match="the id of a snapshot is DATABASE_ID/VERSION_ID, or "
    ):
        split_id(text)


def test_a_record_survives_the_state_and_hides_its_url() -> None:
    record = SnapshotRecord(
        DATABASE,
        "v",
        download_url="https://h/x?Signature=secret",
        size=7,
        available=True,
    )
    stored = {
        name: value for name, value in record.to_outputs().items() if value is not None
    }
    assert SnapshotRecord.from_outputs({**stored, "size": 7.0, "unknown": 1}) == record
    assert "secret" not in repr(record)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://user:" + "pw@h.example/x.zip", "must not hold a user or a password"),
        ("https://user@h.example/x.zip", "must not hold a user or a password"),
        (
            "http://h.example/x.zip",
            "must use https: over http the data could be read on the way",
        ),
        ("http://localhost/x.zip", None),
        ("https://h.example/x.zip?Signature=a@b", None),
    ],
)
def test_a_url_that_must_not_be_downloaded_says_why(
    url: str, problem: str | None
) -> None:
    found = problem_of_url(url)
    assert (found is None) is (problem is None)
    assert problem is None or str(found).startswith(problem)
