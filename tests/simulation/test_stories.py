"""Random stories of several runs with the real providers of both ways to the engine, in virtual time.

`STORIES=5000 pytest tests/simulation/test_stories.py` plays more of them, and `STORY=123 pytest -s …` plays only that one and
prints it step by step. The seed is the number in the name of a failing test.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from pulumi_snapshots.attempt.journal import AttemptJournal
from tests.simulation.stories import Story, Violation, played
from tests.support.inside import run_inside

if TYPE_CHECKING:
    from pulumi_snapshots.attempt.journal import Entry, Found

STORIES = int(os.environ.get("STORIES", "15"))
ONLY = os.environ.get("STORY")
SEEDS = range(STORIES) if ONLY is None else [int(ONLY)]
ENOUGH = 100
"""Stories within which a mistake is found, if the story that once showed it is another one by now."""


@pytest.mark.parametrize("seed", SEEDS)
def test_no_story_of_several_runs_breaks_a_promise(seed: int) -> None:
    story = Story(seed)
    try:
        run_inside(story.play)
    except BaseException:
        print(f"replay: STORY={seed} python -m pytest -s tests/simulation/test_stories.py")  # noqa: T201
        print("\n".join(story.told))  # noqa: T201
        raise
    if ONLY is not None:
        print("\n".join(story.told))  # noqa: T201


def test_a_seed_gives_the_same_story_again() -> None:
    first, second = (played(SEEDS[-1]).told for _ in range(2))
    assert first == second


async def _ends_with_the_answer(self: AttemptJournal, entry: Entry, found: Found | None = None, **_: Any) -> None:
    await self.erase(entry, found)


async def _nothing(*_: Any, **__: Any) -> None:
    pass


ROOM = "pulumi_snapshots"
MISTAKES: dict[str, tuple[int, dict[str, Any]]] = {
    "what the engine could not save is sent again": (
        51,
        {f"{ROOM}.attempt.journal.AttemptJournal.conclude": _ends_with_the_answer},
    ),
    "what is deleted upstream is sent again": (23, {f"{ROOM}.attempt.journal.AttemptJournal.let_go": _nothing}),
    "what a killed run has deleted upstream is sent again": (
        183,
        {f"{ROOM}.attempt.memory.RunMemory.stays": lambda *_: None},
    ),
    "what was destroyed without a key is handed out": (
        284,
        {"tests.support.inside._Shared.journals_of_all_keys": lambda *_: []},
    ),
}
"""Mistakes that once were in the code, each with a seed that shows it."""


def breaks_a_promise(seed: int) -> bool:
    try:
        played(seed)
    except Violation:
        return True
    return False


@pytest.mark.skipif(ONLY is not None, reason="only one story is asked for")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_that_was_once_made_is_found(mistake: str) -> None:
    shown_by, patches = MISTAKES[mistake]
    with ExitStack() as patched:
        for name, value in patches.items():
            patched.enter_context(mock.patch(name, value))
        assert any(breaks_a_promise(seed) for seed in (shown_by, *range(ENOUGH)))
