"""Which entry is ours: a table of listings, each with the one that must be taken, or the error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pulumi_snapshots.api.models import ListedSnapshot
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.listing.match import AmbiguousSnapshot, Search, find_ours

POSTED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE, HOUR = 60, 3600


def entry(version: str, after: float | None, origin: str | None = "manual") -> ListedSnapshot:
    modified = None if after is None else POSTED + timedelta(seconds=after)
    return ListedSnapshot(name="x", size=1, modified=modified, version_id=version, origin=origin)


def attempt(answered: str = "202", offset: float | None = 0.0, timeout: float = 2700) -> Post:
    return Post(POSTED, offset, answered, timeout)


@pytest.mark.parametrize(
    ("listed", "search", "ours"),
    [
        pytest.param([], {}, None, id="nothing is listed yet"),
        pytest.param([("a", 90)], {}, "a", id="the only one"),
        pytest.param([("b", 500), ("a", 90)], {}, "a", id="the earliest, not the newest"),
        pytest.param([("b", 90, "automatic"), ("a", 100)], {}, "a", id="never an automatic one"),
        pytest.param([("b", 90, "automatic")], {}, None, id="not even if it is alone"),
        pytest.param([("a", 90, None)], {}, "a", id="old entries do not say their origin"),
        pytest.param([("a", 90, "scheduled-by-hand")], {}, "a", id="only `automatic` is automatic"),
        pytest.param([("a", -5)], {}, "a", id="5 s before the POST is skew"),
        pytest.param([("a", -5.1)], {}, None, id="more is an older one"),
        pytest.param([("a", -60)], {"offset": None}, "a", id="60 s where no Date was seen"),
        pytest.param([("a", -60.1)], {"offset": None}, None, id="more is an older one there too"),
        pytest.param([("a", HOUR + 30)], {"offset": 3600.0}, "a", id="the service's clock is an hour ahead"),
        pytest.param([("a", 30)], {"offset": 3600.0}, None, id="an old one by a clock that is an hour ahead"),
        pytest.param([("a", -HOUR + 30)], {"offset": -3600.0}, "a", id="the service's clock is an hour behind"),
        pytest.param([("a", None), ("b", 90)], {}, "b", id="one without a time is not ours"),
        pytest.param([("b", 30), ("a", 90)], {"excluded": {"b"}}, "a", id="another resource's is not ours"),
        pytest.param([("b", 15 * MINUTE)], {"answered": "502"}, "b", id="a lost one within 15 minutes"),
        pytest.param([("b", 15 * MINUTE + 1)], {"answered": "502"}, None, id="a lost one is never later"),
        pytest.param([("b", 15 * MINUTE)], {"answered": "not awaited"}, "b", id="one that was not awaited was lost"),
        pytest.param([("b", 15 * MINUTE + 1)], {"answered": "unreadable 200"}, None, id="an unreadable 200 was lost"),
        pytest.param([("a", HOUR)], {}, "a", id="an accepted one may be late"),
        pytest.param([("a", 2 * HOUR + 1)], {}, None, id="what comes after it has failed is another's"),
        pytest.param([("a", 3 * HOUR)], {"timeout": 4 * HOUR}, "a", id="unless the user waits that long"),
        pytest.param([("b", 200), ("a", 20)], {}, "a", id="180 s apart they cannot be mistaken"),
        pytest.param([("b", 199), ("a", 20)], {}, AmbiguousSnapshot, id="closer they can"),
        pytest.param([("b", 20), ("a", 20)], {}, AmbiguousSnapshot, id="at the same moment too"),
        pytest.param(
            [("b", 15 * MINUTE + 9), ("a", 15 * MINUTE - 9)], {"answered": "502"}, "a", id="one too late is no rival"
        ),
        pytest.param([("b", 60), ("a", 20)], {"finished": 30}, "a", id="a 200's was whole when it was answered"),
        pytest.param([("b", 60)], {"finished": 30}, None, id="what ended after the 200 is another's"),
        pytest.param([("a", 35)], {"finished": 30}, "a", id="but for the skew"),
    ],
)
def test_entry_that_is_taken_is_the_one_that_the_post_started(
    listed: list[Any], search: dict[str, Any], ours: Any
) -> None:
    finished = search.pop("finished", None)
    excluded = search.pop("excluded", set())
    wanted = Search.of(
        attempt(**search),
        None,
        finished=None if finished is None else POSTED + timedelta(seconds=finished),
        excluded=excluded,
    )
    entries = [entry(*one) for one in listed]
    if ours is AmbiguousSnapshot:
        with pytest.raises(AmbiguousSnapshot) as error:
            find_ours(entries, wanted)
        assert all(str(one.version) in str(error.value) for one in entries)
        return
    found = find_ours(entries, wanted)
    assert (found and found.version) == ours


def test_difference_of_the_clocks_that_was_seen_at_the_post_wins_over_a_later_one() -> None:
    search = Search.of(attempt(offset=10.0), 99.0)
    assert search.posted == POSTED + timedelta(seconds=10)
    assert Search.of(attempt(offset=None), 99.0).posted == POSTED + timedelta(seconds=99)
