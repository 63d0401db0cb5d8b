"""Fleets in virtual time: each snapshot is found, without a refusal, and almost as fast as the service's limits allow."""

from __future__ import annotations

import pytest

from tests.simulation.fleet_measure import measure, ours


@pytest.mark.parametrize("cache_world", ["invalidated", "kept"])
@pytest.mark.parametrize("databases", [1, 10, 50])
def test_a_fleet_gets_the_right_versions_without_a_refusal(databases: int, cache_world: str) -> None:
    one = measure(ours(), databases, cache_world=cache_world, automatic=True)
    assert (one.refused, one.wrong, one.lost, one.unfinished) == (0, 0, 0, 0)


@pytest.mark.parametrize("cache_world", ["invalidated", "kept"])
@pytest.mark.parametrize(("databases", "over_the_limit"), [(50, 1.10), (200, 1.05)])
def test_a_fleet_is_almost_as_fast_and_frugal_as_possible(
    databases: int, over_the_limit: float, cache_world: str
) -> None:
    one = measure(ours(), databases, cache_world=cache_world)
    assert one.makespan <= over_the_limit * one.limit
    assert one.requests_per_snapshot <= 2.5


def test_the_last_few_of_a_fleet_are_found_soon() -> None:
    """On average over some seeds, and at worst, since a single fleet may be lucky."""
    fleets = [measure(ours(), 24, seed=seed, automatic=bool(seed % 2)) for seed in range(1, 7)]
    assert max(one.makespan / one.limit for one in fleets) <= 1.08
    assert max(one.requests_per_snapshot for one in fleets) <= 2.6
    kept = [measure(ours(), 24, seed=seed, cache_world="kept") for seed in (1, 3)]
    assert max(one.makespan / one.limit for one in kept) <= 1.08


@pytest.mark.parametrize(
    ("cache_world", "over_that_of_its_slots", "requests"), [("invalidated", 1.16, 2), ("kept", 1.4, 2.6)]
)
def test_a_fleet_that_waits_for_slots_of_the_engine_loses_little(
    cache_world: str, over_that_of_its_slots: float, requests: float
) -> None:
    one = measure(ours(parallel=8), 50, cache_world=cache_world)
    assert one.makespan <= over_that_of_its_slots * one.limit_at_parallel
    assert one.requests_per_snapshot <= requests
