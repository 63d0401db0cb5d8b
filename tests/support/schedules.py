"""How random schedules are played: a few, the same at each run; or as many as are asked for, others each time."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["schedules"]

ASKED_FOR = os.environ.get("SCHEDULES")


def schedules(usual: int) -> settings:
    """The settings of a test of random schedules.

    Args:
        usual: how many, unless `SCHEDULES` says so. These are the same at each run, so that a change is judged by itself.
    """
    return settings(
        max_examples=int(ASKED_FOR or usual),
        derandomize=ASKED_FOR is None,
        deadline=None,  # of real time, which is not what is tested
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
