"""The Hypothesis settings of random schedules: the same few at each run, or a number of others on request."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, register_random, settings
from trio._core._run import _r as task_order

# Trio wakes tasks that are due together in random order. Hypothesis's seed decides it, so that a failure can be replayed.
register_random(task_order)
REQUESTED = os.environ.get("SCHEDULES")


def schedules(usual: int) -> settings:
    """The settings of a test of random schedules.

    Args:
        usual: the number of schedules if `SCHEDULES` is not set. They are the same at each run, so that a failure comes from
            a change of the code.
    """
    return settings(
        max_examples=int(REQUESTED or usual),
        derandomize=REQUESTED is None,
        deadline=None,  # it would be real time, which is not tested
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
