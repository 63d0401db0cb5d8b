"""Which entry matches a POST: a table of listings, each with the matching entry or the error."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.listing.polling import AmbiguousSnapshot, earliest, may_be_ours
from pulumi_snapshots.service.models import ListedSnapshot

POSTED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE, HOUR = 60, 3600


def entry(version: str, after: float | None, origin: str | None = "manual") -> ListedSnapshot:
    modified = None if after is None else POSTED + timedelta(seconds=after)
    return ListedSnapshot(name="x", size=1, modified=modified, version_id=version, origin=origin)


def post(answered: str = "202", offset: float = 0.0, timeout: float = 2700) -> Request:
    """A request; with an offset, as versions kept it that wrote the machine's time."""
    kept = {
        "posted_at": rfc3339(POSTED),
        "service_clock_offset": offset,
        "answered": answered,
        "timeout": timeout,
    }
    return Request.from_outputs(kept)


@pytest.mark.parametrize(
    ("listed", "search", "ours"),
    [
        pytest.param([], {}, None, id="nothing is listed yet"),
        pytest.param([("a", 90)], {}, "a", id="the only entry"),
        pytest.param([("b", 500), ("a", 90)], {}, "a", id="the earliest, not the newest"),
        pytest.param(
            [("b", 90, "automatic"), ("a", 100)], {}, "a", id="never an automatic snapshot"
        ),
        pytest.param([("b", 90, "automatic")], {}, None, id="not even as the only entry"),
        pytest.param([("a", 90, None)], {}, "a", id="old entries have no origin"),
        pytest.param([("a", 90, "scheduled-by-hand")], {}, "a", id="only `automatic` is automatic"),
        pytest.param([("a", -5)], {}, "a", id="5 s before the POST is skew"),
        pytest.param([("a", -5.1)], {}, None, id="more than 5 s before is an older snapshot"),
        pytest.param(
            [("a", HOUR + 30)], {"offset": 3600.0}, "a", id="the service's clock is an hour ahead"
        ),
        pytest.param(
            [("a", 30)],
            {"offset": 3600.0},
            None,
            id="an older one by a clock that is an hour ahead",
        ),
        pytest.param(
            [("a", -HOUR + 30)],
            {"offset": -3600.0},
            "a",
            id="the service's clock is an hour behind",
        ),
        pytest.param([("a", None), ("b", 90)], {}, "b", id="an entry without a time never matches"),
        pytest.param(
            [("b", 30), ("a", 90)],
            {"excluded": {"b"}},
            "a",
            id="another resource's snapshot never matches",
        ),
        pytest.param(
            [("b", 15 * MINUTE)], {"answered": "502"}, "b", id="answer lost: up to 15 minutes later"
        ),
        pytest.param(
            [("b", 15 * MINUTE + 1)],
            {"answered": "502"},
            None,
            id="answer lost: never later than that",
        ),
        pytest.param(
            [("b", 15 * MINUTE)],
            {"answered": "not awaited"},
            "b",
            id="answer not awaited: up to 15 minutes later",
        ),
        pytest.param(
            [("b", 15 * MINUTE + 1)],
            {"answered": "unreadable 200"},
            None,
            id="an unreadable 200 counts as lost",
        ),
        pytest.param([("a", HOUR)], {}, "a", id="accepted: it may be late"),
        pytest.param(
            [("a", 2 * HOUR + 1)], {}, None, id="accepted: but not later than its failure"
        ),
        pytest.param(
            [("a", 3 * HOUR)],
            {"timeout": 4 * HOUR},
            "a",
            id="accepted: a longer time-out allows more",
        ),
        pytest.param([("b", 200), ("a", 20)], {}, "a", id="180 s apart: no ambiguity"),
        pytest.param([("b", 199), ("a", 20)], {}, AmbiguousSnapshot, id="closer: ambiguous"),
        pytest.param(
            [("b", 20), ("a", 20)], {}, AmbiguousSnapshot, id="at the same time: ambiguous"
        ),
        pytest.param(
            [("b", 15 * MINUTE + 9), ("a", 15 * MINUTE - 9)],
            {"answered": "502"},
            "a",
            id="an entry that is too late makes nothing ambiguous",
        ),
    ],
)
def test_the_matched_entry_is_the_one_that_the_post_started(
    listed: list[Any], search: dict[str, Any], ours: Any
) -> None:
    excluded = search.pop("excluded", ())
    entries, request = [entry(*one) for one in listed], post(**search)
    if ours is AmbiguousSnapshot:
        with pytest.raises(AmbiguousSnapshot) as error:
            earliest(entries, request)
        assert all(str(one.version) in str(error.value) for one in entries)
        return
    found = earliest(entries, request, excluded)
    assert (found and found.version) == ours


@pytest.mark.parametrize(("answered", "latest"), [("202", 2 * HOUR), ("502", 15 * MINUTE)])
def test_a_snapshot_from_after_the_time_of_a_request_lets_no_run_wait_for_it(
    answered: str, latest: int
) -> None:
    assert may_be_ours([entry("b", latest)], post(answered))
    assert not may_be_ours([entry("b", latest + 1)], post(answered))
