"""The rules of pacing, at one moment each; and the page that says them."""

import re
from pathlib import Path

import pytest

from pulumi_snapshots.service.limits import (
    BUDGET_WINDOW,
    CHECK,
    CREATE,
    READ,
    RESTORE_LANE,
    Lane,
)
from pulumi_snapshots.service.pacing import (
    FEW_NINTHS,
    LONGEST_RESERVED,
    REQUEST_AHEAD,
    RESERVED_BY_ALL_NINTHS,
    RESERVED_NINTHS,
    OwnRequest,
    Pacing,
    QueuedRequest,
    ReservedRead,
    Sent,
    Traffic,
)

NOW = 1000.0
PAGE = Path(__file__).parents[2] / "docs" / "dev" / "pacing.md"


def reads_of_others(*ago: float) -> list[Sent]:
    return [Sent(NOW - each, "another", []) for each in ago]


def own_reads(
    many: int, ago: float = 1.0, *, is_entered: bool = True
) -> list[OwnRequest]:
    return [
        OwnRequest(NOW - ago, is_entered=is_entered, enters_later=not is_entered)
        for _ in range(many)
    ]


def traffic(
    own: list[OwnRequest],
    others: list[Sent],
    *reserved: ReservedRead,
    waiting_reads: int = 0,
) -> Traffic:
    return Traffic(NOW, 27, others, own, reserved, waiting_reads=waiting_reads)


def every(seconds: float, lasting: float) -> list[float]:
    """So many seconds ago each, back to the beginning."""
    return [seconds * number for number in range(int(lasting / seconds))]


@pytest.mark.parametrize(
    ("ahead", "limits", "counts"),
    [
        (-199.0, [CREATE.name], True),
        (-201.0, [CREATE.name], False),
        (9.0, [CREATE.name], True),
        (11.0, [CREATE.name], False),
        (11.0, [], True),
        (LONGEST_RESERVED + REQUEST_AHEAD + 1, [], False),
    ],
)
def test_what_is_old_or_nonsense_does_not_count(
    ahead: float, limits: list[str], *, counts: bool
) -> None:
    sent = Sent(NOW + ahead, "run", limits)
    assert Pacing(sent=[sent]).current(NOW).sent == [sent] * counts


@pytest.mark.parametrize(("many", "is_free"), [(17, True), (18, False)])
def test_reads_leave_room_for_few_of_three_runs_unseen_and_posts_need_not(
    many: int, *, is_free: bool
) -> None:
    at = traffic(own_reads(many), [])
    assert (at.reads_free_at <= NOW) is is_free
    assert at.posts_free_at <= NOW


@pytest.mark.parametrize(
    ("ago", "is_free"),
    [
        (every(2.5, 130), True),
        ([*every(2.5, 30), *every(10, 130)], True),
        (every(2.5, 59), False),
        ([each for each in every(2.5, 190) if not 55 < each < 118], False),
    ],
    ids=["busy for long", "sparse before", "not yet for a minute", "with a pause"],
)
def test_no_run_reads_unseen_once_the_ledger_was_busy_for_a_minute(
    ago: list[float], *, is_free: bool
) -> None:
    at = traffic([], reads_of_others(*ago))
    assert sum(each < BUDGET_WINDOW for each in ago) < 27
    assert (at.reads_free_at <= NOW) is is_free


def test_reserved_reads_count_until_their_end_for_reads_and_not_for_posts() -> None:
    others = reads_of_others(*every(2.5, 190))
    reserved = [ReservedRead(NOW, NOW + 10 + each) for each in range(2)]
    assert traffic([], others, *reserved[:1]).reads_free_at <= NOW
    assert traffic([], others, *reserved).reads_free_at > NOW
    assert traffic([], others, *reserved).posts_free_at <= NOW


def leaves(at: Traffic, lane: Lane) -> bool:
    """Whether a request may leave at once."""
    return at.earliest(QueuedRequest("X", lane, NOW)) <= NOW


@pytest.mark.parametrize(("many", "is_free"), [(25, True), (26, False)])
def test_a_restore_leaves_once_there_is_room_for_its_check_too(
    many: int, *, is_free: bool
) -> None:
    at = traffic(own_reads(many), [])
    assert leaves(at, RESTORE_LANE) is is_free
    assert leaves(at, CHECK)
    assert leaves(at, CREATE)
    assert not leaves(at, READ)


def test_a_restore_leaves_though_a_minute_has_one_request() -> None:
    assert leaves(Traffic(NOW, 1, [], []), RESTORE_LANE)


def test_a_restore_needs_room_beside_the_reads_that_its_claim_gives_up() -> None:
    reserved = [ReservedRead(NOW, NOW + 10)] * 2
    at = traffic(own_reads(26), [], *reserved)
    assert not leaves(at, RESTORE_LANE)
    assert leaves(at, CREATE)
    assert leaves(at, CHECK)


@pytest.mark.parametrize(("many", "must"), [(3, False), (4, True)])
def test_more_than_few_reads_that_the_ledger_lacks_must_be_entered(
    many: int, *, must: bool
) -> None:
    assert traffic(own_reads(many, is_entered=False), []).must_be_entered is must
    old = own_reads(many, BUDGET_WINDOW + 1, is_entered=False)
    assert not traffic(old, []).must_be_entered


@pytest.mark.parametrize(
    ("recent", "waiting", "reserved"),
    [(0, 0, 0), (1, 0, 0), (2, 0, 4), (3, 0, 6), (6, 0, 6), (0, 2, 2), (1, 30, 6)],
)
def test_how_many_reads_are_reserved(recent: int, waiting: int, reserved: int) -> None:
    at = traffic(own_reads(recent), [], waiting_reads=waiting)
    found = at.reserve(OwnRequest(NOW), waiting=waiting)
    assert len(found) == reserved
    assert [each.closes for each in found] == sorted(each.closes for each in found)
    assert all(
        each.opens == NOW < each.closes <= NOW + LONGEST_RESERVED for each in found
    )


@pytest.mark.parametrize(("by_others", "reserved"), [(9, 6), (11, 4), (15, 0), (17, 0)])
def test_all_runs_together_reserve_at_most_five_ninths(
    by_others: int, reserved: int
) -> None:
    others = [Sent(NOW + 5, "another", []) for _ in range(by_others)]
    at = traffic(own_reads(3), others)
    assert len(at.reserve(OwnRequest(NOW), waiting=0)) == reserved
    assert len(at.reserve(None, waiting=0, at_least=1)) == max(reserved, 1)


def test_what_is_reserved_opens_when_the_budget_is_free() -> None:
    others = reads_of_others(*every(BUDGET_WINDOW / 27, 190))
    found = traffic([], others).reserve(None, waiting=3)
    assert [round(each.opens - NOW, 1) for each in found] == [2.2, 4.5, 6.7]


def test_the_page_says_the_numbers_of_the_code() -> None:
    page = PAGE.read_text()
    shares = [
        27 * each // 9 for each in (FEW_NINTHS, RESERVED_NINTHS, RESERVED_BY_ALL_NINTHS)
    ]
    assert [int(each) for each in re.findall(r"(\d+) of 27", page)] == shares
