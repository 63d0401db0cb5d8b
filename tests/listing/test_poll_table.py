"""The table of polls is what its page says, and answers for snapshots in every situation."""

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from pulumi_snapshots.listing.listings import EXPIRED
from pulumi_snapshots.listing.poll_table import (
    TABLE,
    PendingGroup,
    PolledPage,
    PolledSnapshot,
    PollMoment,
    PollSettings,
    Situation,
    next_poll,
    situation_of,
)
from tests.simulation.fleet import measure, ours

PAGE = Path(__file__).parents[2] / "docs" / "dev" / "polling.md"
UNKNOWN = PollSettings(120.0, 30.0)
ENDS = PollSettings(120.0, 30.0, snapshot_ends_cache=True)
KEPT = PollSettings(120.0, 30.0, snapshot_ends_cache=False)
OWN = PolledPage.OWN
ACCOUNT = PolledPage.ACCOUNT


def rows_of(title: str) -> list[list[str]]:
    """The cells of the only table below a title of the page, without its head."""
    section = PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def rule_text(rule: object) -> str:
    summary = (rule.__doc__ or "").splitlines()[0]
    first = summary.removeprefix("Return ").removesuffix(".")
    return first[:1].lower() + first[1:]


def test_the_page_has_the_rows_of_the_table_in_their_order() -> None:
    assert rows_of("The table") == [
        [
            situation.value,
            rule_text(TABLE[situation].own),
            rule_text(TABLE[situation].account),
        ]
        for situation in Situation
    ]
    assert list(TABLE) == list(Situation)


def polls_of(
    snapshots: int, listed_after: float, cache_world: str
) -> dict[str, list[int]]:
    one = measure(
        ours(), snapshots, durations=[listed_after] * snapshots, cache_world=cache_world
    )
    numbers = [entry.database_id for entry in one.journal if entry.kind == "create"]
    polls = defaultdict[str, list[int]](list)
    for entry in one.journal:
        if entry.kind == "list":
            polls[f"own {numbers.index(entry.database_id) + 1}"].append(
                int(entry.monotonic)
            )
        elif entry.kind == "list account":
            polls["account"].append(int(entry.monotonic))
    return dict(polls)


def polls_in(text: str) -> dict[str, list[int]]:
    polls = {}
    for part in text.split("; "):
        page, _, times = part.partition(" at ")
        polls[page] = [int(time) for time in times.split(", ")]
    return polls


@pytest.mark.parametrize("row", rows_of("One, four and fifty"), ids=" ".join)
def test_what_the_page_says_of_one_four_and_fifty_is_what_happens(
    row: list[str],
) -> None:
    snapshots, listed_after, pages, text = row
    for world, word in (("invalidated", "renewed"), ("kept", "kept")):
        if word not in pages:
            continue
        polls = polls_of(int(snapshots), float(listed_after.removesuffix(" s")), world)
        series = re.fullmatch(
            r"own 1 at (\d+) and so on every 5 s to own (\d+) at (\d+); (.+)", text
        )
        if series is None:
            assert polls == polls_in(text)
            continue
        first, last_number, last, rest = series.groups()
        assert polls["own 1"] == [int(first)]
        assert polls[f"own {last_number}"] == [int(last)]
        own = [page for page in polls if page.startswith("own")]
        assert own == [f"own {number + 1}" for number in range(int(last_number))]
        assert {page: polls[page] for page in polls if page not in own} == polls_in(
            rest
        )


def group_of(
    *snapshots: PolledSnapshot, at_once: int = 4, **facts: float | bool
) -> PendingGroup:
    group = PendingGroup(snapshots, most_at_once=at_once)
    return replace(group, **facts)  # type: ignore[arg-type]


FIRST = PolledSnapshot(began=90.0, answered=90.0)
LAST = PolledSnapshot(began=105.0, answered=105.0)
MISSED = PolledSnapshot(
    began=90.0, answered=90.0, own_polled_at=240.0, own_new_at=240.0
)
MISSED_TWICE = replace(MISSED, own_polled_at=300.0)
QUICK = PolledSnapshot(began=3.0, answered=3.0, is_finished=True)
LOST = PolledSnapshot(
    began=9.0, answered=9.0, is_in_turn=True, own_polled_at=130.0, own_new_at=130.0
)
ROWS = {
    "alone": (FIRST, group_of(FIRST, at_once=1), UNKNOWN, 210.0, OWN),
    "alone, missed": (MISSED, group_of(MISSED, at_once=1), UNKNOWN, 270.0, OWN),
    "alone, known to end the cache": (
        FIRST,
        group_of(FIRST, at_once=1),
        ENDS,
        120.0,
        OWN,
    ),
    "alone, known to be kept": (
        MISSED,
        group_of(MISSED, at_once=1),
        KEPT,
        450.0,
        ACCOUNT,
    ),
    "alone, a 200": (QUICK, group_of(at_once=1), UNKNOWN, 3.0, OWN),
    "alone, both pages are polled": (
        *(
            MISSED,
            group_of(MISSED, at_once=1, account_new_at=100.0, account_polled_at=100.0),
        ),
        *(UNKNOWN, 270.0, ACCOUNT),
    ),
    "alone, without the account's page": (
        *(MISSED, group_of(MISSED, at_once=1, account_is_usable=False)),
        *(KEPT, 240.0 + EXPIRED, OWN),
    ),
    "alone, an answer that was lost": (
        LOST,
        group_of(LOST, at_once=1),
        UNKNOWN,
        160.0,
        ACCOUNT,
    ),
    "all sent": (FIRST, group_of(FIRST, LAST), UNKNOWN, 225.0, ACCOUNT),
    "all sent, the last one missed": (MISSED, group_of(MISSED), UNKNOWN, 270.0, OWN),
    "all sent, the last one missed twice": (
        *(MISSED_TWICE, group_of(MISSED_TWICE), UNKNOWN, 360.0, OWN),
    ),
    "posts to come": (
        FIRST,
        group_of(FIRST, LAST, posts_to_come=1),
        UNKNOWN,
        240.0,
        OWN,
    ),
    "no account page": (
        FIRST,
        group_of(FIRST, LAST, account_is_usable=False),
        UNKNOWN,
        210.0,
        OWN,
    ),
    "no account page, posts to come": (
        *(FIRST, group_of(FIRST, LAST, account_is_usable=False, posts_to_come=1)),
        *(UNKNOWN, 240.0, OWN),
    ),
    "short of slots": (
        *(FIRST, group_of(FIRST, LAST, posts_to_come=1, is_refilled=True)),
        *(UNKNOWN, 210.0, OWN),
    ),
    "short of slots, one missed": (
        *(MISSED, group_of(MISSED, LAST, posts_to_come=1, is_refilled=True)),
        *(UNKNOWN, 240.0, ACCOUNT),
    ),
    "the account's page lacked a young one": (
        *(LAST, group_of(FIRST, LAST, account_new_at=225.0, account_polled_at=225.0)),
        *(UNKNOWN, 255.0, OWN),
    ),
    "the account's page has just lacked it": (
        *(LAST, group_of(FIRST, LAST, account_new_at=250.0, account_polled_at=250.0)),
        *(UNKNOWN, 265.0, OWN),
    ),
    "the account's page lacked an old one": (
        *(FIRST, group_of(FIRST, LAST, account_new_at=300.0, account_polled_at=300.0)),
        *(UNKNOWN, 360.6, ACCOUNT),
    ),
    "the account's page lacked an old one, and is kept": (
        *(FIRST, group_of(FIRST, LAST, account_new_at=300.0, account_polled_at=300.0)),
        *(KEPT, 450.0, OWN),
    ),
    "both are kept, and lack it": (
        *(MISSED, group_of(MISSED, account_new_at=225.0, account_polled_at=225.0)),
        *(KEPT, 225.0 + EXPIRED, ACCOUNT),
    ),
    "known to end the cache": (FIRST, group_of(FIRST, LAST), ENDS, 120.0, ACCOUNT),
}


@pytest.mark.parametrize(
    ("mine", "group", "settings", "at", "page"), ROWS.values(), ids=ROWS
)
def test_each_situation_has_its_page_and_its_time(
    mine: PolledSnapshot,
    group: PendingGroup,
    settings: PollSettings,
    at: float,
    page: PolledPage,
) -> None:
    poll = next_poll(PollMoment(mine, group, settings))
    assert poll.page is page
    assert poll.at == pytest.approx(at)


def test_every_situation_is_met() -> None:
    met = {
        situation_of(PollMoment(mine, group, settings))
        for mine, group, settings, *_ in ROWS.values()
    }
    assert met == set(Situation)
