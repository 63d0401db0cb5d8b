"""Fleets in virtual time: each snapshot is found, without a refusal, and almost as fast as the service's limits allow."""

import random
from datetime import timedelta

import pytest

from tests.simulation.fleet import SOFT_DEADLINE, measure, ours

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("cache_world", ["invalidated", "kept"])
@pytest.mark.parametrize(
    "databases", [1, 10, pytest.param(50, marks=pytest.mark.nightly)]
)
def test_a_fleet_gets_the_right_versions_without_a_refusal(
    databases: int, cache_world: str
) -> None:
    one = measure(ours(), databases, cache_world=cache_world, automatic=True)
    assert (one.refused, one.wrong, one.lost, one.unfinished) == (0, 0, 0, 0)


@pytest.mark.parametrize("cache_world", ["invalidated", "kept"])
@pytest.mark.parametrize(
    ("databases", "over_the_limit"),
    [(50, 1.10), pytest.param(200, 1.05, marks=pytest.mark.nightly)],
)
def test_a_fleet_is_almost_as_fast_and_frugal_as_possible(
    databases: int, over_the_limit: float, cache_world: str
) -> None:
    one = measure(ours(), databases, cache_world=cache_world)
    assert (one.refused, one.wrong, one.lost, one.unfinished) == (0, 0, 0, 0)
    assert one.makespan <= over_the_limit * one.limit
    assert one.requests_per_snapshot <= 2.1


def test_the_last_few_of_a_fleet_are_found_soon() -> None:
    """On average over some seeds, and at worst, since a single fleet may be lucky."""
    fleets = [
        measure(ours(), 24, seed=seed, automatic=bool(seed % 2)) for seed in range(1, 5)
    ]
    assert max(one.requests_per_snapshot for one in fleets) <= 1.7
    fleets.append(measure(ours(), 24, seed=3, cache_world="kept"))
    assert max(one.makespan / one.limit for one in fleets) <= 1.08


def test_a_fleet_of_slow_snapshots_costs_no_more_than_two_requests_each() -> None:
    """They are listed 120 to 180 s after a 202: one poll of the account's page shows most."""
    fleets = []
    for seed in range(1, 9):
        chance = random.Random(seed)
        durations = [SOFT_DEADLINE + chance.uniform(120, 180) for _ in range(24)]
        fleets.append(measure(ours(), 24, seed=seed, durations=durations))
    assert sum(one.requests_per_snapshot for one in fleets) / len(fleets) <= 2
    assert sum(one.makespan / one.limit for one in fleets) / len(fleets) <= 1.06


@pytest.mark.parametrize(
    ("cache_world", "over_that_of_its_slots", "requests"),
    [("invalidated", 1.16, 2), ("kept", 1.4, 2.6)],
)
def test_a_fleet_that_waits_for_slots_of_the_engine_loses_little(
    cache_world: str, over_that_of_its_slots: float, requests: float
) -> None:
    one = measure(ours(parallel=8), 50, cache_world=cache_world)
    assert one.makespan <= over_that_of_its_slots * one.limit_at_parallel
    assert one.requests_per_snapshot <= requests


@pytest.mark.parametrize(
    "databases", [50, pytest.param(100, marks=pytest.mark.nightly)]
)
def test_two_fleets_on_two_machines_keep_the_limits_together(databases: int) -> None:
    one = measure(ours(), databases, machines=(HOUR, -HOUR), delay=0.05)
    assert (one.refused, one.wrong, one.lost, one.unfinished) == (0, 0, 0, 0)
    assert one.closest >= 5, "the service's limit between two creates"
    assert one.busiest <= 27, "what one machine alone may send in a minute"
    assert one.makespan <= 1.15 * one.limit, (
        "in which order the two send decides by 4 %"
    )


def test_shared_state_delays_a_fleet_by_less_than_3_percent() -> None:
    alone, shared = (
        measure(ours(), 50, delay=delay).makespan for delay in (None, 0.05)
    )
    assert alone < shared <= 1.03 * alone


def test_twenty_machines_at_a_store_that_takes_a_second_all_end_right() -> None:
    """On average over some seeds: who posts last decides by 10 %."""
    clocks = [timedelta(minutes=7 * number) - HOUR for number in range(20)]
    fleets = [
        measure(ours(), 20, seed=seed, machines=clocks, delay=1.0)
        for seed in range(1, 4)
    ]
    for one in fleets:
        assert (one.refused, one.wrong, one.lost, one.unfinished) == (0, 0, 0, 0)
        assert one.posts == [1] * 20
        assert one.closest >= 5
        assert one.busiest <= 27
    assert sum(one.makespan / one.limit for one in fleets) / len(fleets) <= 1.25


def test_what_a_machine_had_sent_when_it_died_is_found_on_another() -> None:
    one = measure(
        ours(), 24, machines=(timedelta(), HOUR), delay=0.05, dies_after=100.0
    )
    assert (one.wrong, one.lost, one.unfinished) == (0, 0, 0)
    assert one.posts == [1] * 24, "no snapshot is paid for twice"
