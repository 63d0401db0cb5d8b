"""Fleets on several machines that share a place: the limits, the makespan, and a machine that dies."""

from __future__ import annotations

from datetime import timedelta

from tests.simulation.fleet_machines import measure_machines

HOUR = timedelta(hours=1)


def test_two_fleets_of_50_on_two_machines_keep_the_limits_together() -> None:
    one = measure_machines(100, (HOUR, -HOUR))
    assert (one.measure.refused, one.measure.wrong, one.measure.lost, one.measure.unfinished) == (0, 0, 0, 0)
    assert one.closest >= 5, "the service's limit between two creates"
    assert one.busiest <= 27, "what one machine alone may send in a minute"
    assert one.measure.makespan <= 1.10 * one.measure.limit


def test_shared_state_delays_a_fleet_by_less_than_3_percent() -> None:
    alone, shared = (measure_machines(50, delay=delay).measure.makespan for delay in (None, 0.05))
    assert alone < shared <= 1.03 * alone


def test_twenty_machines_at_a_store_that_takes_a_second_all_end_right() -> None:
    one = measure_machines(20, [timedelta(minutes=7 * number) - HOUR for number in range(20)], delay=1.0)
    assert (one.measure.refused, one.measure.wrong, one.measure.lost, one.measure.unfinished) == (0, 0, 0, 0)
    assert one.posts == [1] * 20
    assert one.closest >= 5
    assert one.busiest <= 27
    assert one.measure.makespan <= 1.25 * one.measure.limit


def test_what_a_machine_had_sent_when_it_died_is_found_on_another() -> None:
    one = measure_machines(24, (timedelta(), HOUR), dies_after=100.0)
    assert (one.measure.wrong, one.measure.lost, one.measure.unfinished) == (0, 0, 0)
    assert one.posts == [1] * 24, "no snapshot is paid for twice"
