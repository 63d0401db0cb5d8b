"""Random stories of several runs with the real providers of both ways to the engine, in virtual time.

`STORIES=5000 pytest tests/simulation/test_stories.py` plays more of them, and `STORY=123 pytest -s …` plays only that one and
prints it step by step. The seed is the number in the name of a failing test.
"""

import os

import pytest

from tests.simulation.invariants import switched_on
from tests.simulation.stories import played

STORIES = int(os.environ.get("STORIES", "16"))
ONLY = os.environ.get("STORY")
SEEDS = range(STORIES) if ONLY is None else [int(ONLY)]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_story_of_several_runs_breaks_a_promise(seed: int) -> None:
    story = played(seed, switched_on())
    if ONLY is not None:
        print("\n".join(story.told))  # noqa: T201


def test_a_seed_gives_the_same_story_again() -> None:
    first, second = (played(SEEDS[-1]).told for _ in range(2))
    assert first == second
