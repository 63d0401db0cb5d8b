"""Which snapshot on a page is that of a request, and when a page proves that there is none."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.listing.listings import Page
from pulumi_snapshots.listing.matching import (
    NOT_WHOLE,
    NOT_YET,
    AmbiguousSnapshot,
    find_match,
    why_not_absent,
)
from pulumi_snapshots.listing.polling import AwaitedSnapshot
from pulumi_snapshots.service.models import ListedSnapshot, Listing

POSTED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = 60
HOUR = 3600
DAY = 86400


def entry(
    version: str, after: float | None, origin: str | None = "manual"
) -> ListedSnapshot:
    modified = None if after is None else POSTED + timedelta(seconds=after)
    return ListedSnapshot(
        name="x", size=1, modified=modified, version_id=version, origin=origin
    )


def post(answered: str = "202", timeout: float = 2700) -> Request:
    return Request(POSTED, answered, timeout, "the post")


def page_of(
    entries: Sequence[ListedSnapshot],
    after: float,
    *,
    own: bool = True,
    unreadable: int = 0,
) -> Page:
    """A page that the service answered with so many seconds after the request."""
    answered = POSTED + timedelta(seconds=after)
    return Page(
        tuple(entries), Listing(tuple(entries), unreadable, 0.0, answered, is_own=own)
    )


@pytest.mark.parametrize(
    ("listed", "search", "ours"),
    [
        pytest.param([], {}, None, id="nothing is listed yet"),
        pytest.param([("a", 90)], {}, "a", id="the only entry"),
        pytest.param(
            [("b", 500), ("a", 90)], {}, "a", id="the earliest, not the newest"
        ),
        pytest.param(
            [("b", 90, "automatic"), ("a", 100)],
            {},
            "a",
            id="never an automatic snapshot",
        ),
        pytest.param(
            [("b", 90, "automatic")], {}, None, id="not even as the only entry"
        ),
        pytest.param([("a", 90, None)], {}, "a", id="old entries have no origin"),
        pytest.param(
            [("a", 90, "scheduled-by-hand")],
            {},
            "a",
            id="only `automatic` is automatic",
        ),
        pytest.param([("a", -5)], {}, "a", id="5 s before the POST is skew"),
        pytest.param(
            [("a", -5.1)], {}, None, id="more than 5 s before is an older snapshot"
        ),
        pytest.param(
            [("a", None), ("b", 90)],
            {},
            "b",
            id="an entry without a time never matches",
        ),
        pytest.param(
            [("b", 30), ("a", 90)],
            {"excluded": {"b"}},
            "a",
            id="another resource's snapshot never matches",
        ),
        pytest.param(
            [("b", 15 * MINUTE)],
            {"answered": "502"},
            "b",
            id="answer lost: up to 15 minutes later",
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
            [("a", 2 * HOUR + 1)],
            {},
            None,
            id="accepted: but not later than its failure",
        ),
        pytest.param(
            [("a", 3 * HOUR)],
            {"timeout": 4 * HOUR},
            "a",
            id="accepted: a longer time-out allows more",
        ),
        pytest.param([("b", 200), ("a", 20)], {}, "a", id="180 s apart: no ambiguity"),
        pytest.param(
            [("b", 199), ("a", 20)], {}, AmbiguousSnapshot, id="closer: ambiguous"
        ),
        pytest.param(
            [("b", 20), ("a", 20)],
            {},
            AmbiguousSnapshot,
            id="at the same time: ambiguous",
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
    claimed = search.pop("excluded", ())
    entries = [entry(*one) for one in listed]
    request = post(**search)
    assert why_not_absent(page_of(entries, MINUTE), request, claimed, {}) == NOT_YET
    if ours is AmbiguousSnapshot:
        with pytest.raises(AmbiguousSnapshot) as error:
            find_match(entries, request)
        assert all(str(one.version) in str(error.value) for one in entries)
    else:
        found = find_match(entries, request, claimed)
        assert (found and found.version) == ours


OLD = entry("old", -2 * DAY)
LATER = entry("later", 15 * MINUTE + 1)
AFTER_ALL = entry("after all", 2 * HOUR + 1)
UNDATED = entry("undated", None)
OUTCOMES: dict[str, tuple[Request, Page, str | None, list[ListedSnapshot]]] = {
    "lost, not listed: it still can be": (
        *(post("502"), page_of([OLD], 50 * MINUTE - 1)),
        *(NOT_YET, []),
    ),
    "lost, not listed 50 minutes later: there is none": (
        *(post("502"), page_of([OLD], 50 * MINUTE)),
        *(None, []),
    ),
    "lost, one 15 minutes later: it may be that one": (
        *(post("502"), page_of([LATER, OLD], 50 * MINUTE)),
        *("may be it", [LATER]),
    ),
    "lost, one days later: it may be that one": (
        *(post("502"), page_of([entry("b", 3 * DAY), OLD], 4 * DAY)),
        *("may be it", [entry("b", 3 * DAY)]),
    ),
    "lost, an automatic one later: there is none": (
        *(post("502"), page_of([entry("b", 16 * MINUTE, "automatic"), OLD], HOUR)),
        *(None, []),
    ),
    "lost, another request's later: there is none": (
        *(post("502"), page_of([entry("claimed", 16 * MINUTE), OLD], HOUR)),
        *(None, []),
    ),
    "accepted, not listed: it still can be": (
        *(post(), page_of([OLD], 2 * HOUR - 1)),
        *(NOT_YET, []),
    ),
    "accepted, not listed 2 hours later: there is none": (
        *(post(), page_of([OLD], 2 * HOUR)),
        *(None, []),
    ),
    "accepted, one after that: it may be that one": (
        *(post(), page_of([AFTER_ALL, OLD], 3 * HOUR)),
        *("may be it", [AFTER_ALL]),
    ),
    "one without a time may be it": (
        *(post(), page_of([UNDATED, OLD], 3 * HOUR)),
        *("may be it", [UNDATED]),
    ),
    "one in time is it, whatever comes later": (
        *(post(), page_of([AFTER_ALL, UNDATED, entry("a", 90), OLD], 3 * HOUR)),
        *(NOT_YET, [entry("a", 90)]),
    ),
    "two in time are ambiguous for ever": (
        *(post(), page_of([entry("b", 100), entry("a", 90)], 3 * HOUR)),
        *(NOT_YET, [entry("a", 90), entry("b", 100)]),
    ),
    "a page of the account proves nothing": (
        *(post(), page_of([OLD], 3 * HOUR, own=False)),
        *(NOT_WHOLE, []),
    ),
    "an unreadable entry may be it": (
        *(post(), page_of([OLD], 3 * HOUR, unreadable=1)),
        *(NOT_WHOLE, []),
    ),
    "a page that lacks what it must list proves nothing": (
        *(post(), page_of([], 3 * HOUR)),
        *(NOT_WHOLE, []),
    ),
}


def found_among(page: Page, request_: Request) -> list[str | None]:
    """The version of the request's snapshot on a page, or the two that could be it."""
    try:
        found = find_match(page.entries, request_, {"claimed"})
    except AmbiguousSnapshot as error:
        return [
            each.version
            for each in page.entries[::-1]
            if f"{each.version} (" in str(error)
        ]
    return [found.version] if found is not None else []


@pytest.mark.parametrize(
    ("request_", "page", "outcome", "named"), OUTCOMES.values(), ids=OUTCOMES
)
def test_a_request_is_taken_for_failed_only_if_no_snapshot_can_be_its_own(
    request_: Request, page: Page, outcome: str | None, named: list[ListedSnapshot]
) -> None:
    kept_until = {"old": POSTED + timedelta(days=28)}
    why = why_not_absent(page, request_, {"claimed"}, kept_until)
    if outcome != "may be it":
        assert why == outcome
        assert found_among(page, request_) == [each.version for each in named]
        return
    assert why is not None
    assert "could be this snapshot" in why
    assert all(str(each.version) in why for each in named)
    assert str(OLD.version) not in why


def test_a_version_on_its_last_day_may_be_missing_from_a_whole_page() -> None:
    page = page_of([], 3 * HOUR)
    ends = POSTED + timedelta(seconds=27 * HOUR)
    assert why_not_absent(page, post(), (), {"old": ends}) is None
    later = ends + timedelta(seconds=1)
    assert why_not_absent(page, post(), (), {"old": later}) == NOT_WHOLE


def test_a_guard_takes_the_first_snapshot_since_its_request_and_a_named_one_is_itself() -> (
    None
):
    page = page_of([entry("b", 500), entry("a", 90), entry("c", 900)], HOUR)
    assert AwaitedSnapshot(post(), "db", is_any=True).find_on(page) == page.entries[1]
    assert AwaitedSnapshot(post(), "db", "b").find_on(page) == page.entries[0]


def test_a_snapshot_that_ended_just_before_a_refused_request_is_not_taken_for_its_own() -> (
    None
):
    before = [entry("a", -3)]
    assert find_match(before, post()) == before[0]
    assert find_match(before, post(), is_behind=True) is None
