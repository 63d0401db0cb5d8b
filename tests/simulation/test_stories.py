"""Random stories of several runs with the real providers of both ways to the engine, in virtual time.

`STORIES=5000 pytest tests/simulation/test_stories.py` plays more of them, and `STORY=123 pytest -s …` plays only that one and
prints it step by step. The seed is the number in the name of a failing test.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

import pytest

from pulumi_snapshots.errors.outcomes import LedgerUnavailable
from pulumi_snapshots.ledger.pacing import Pacing
from pulumi_snapshots.run.memory import RunMemory
from pulumi_snapshots.run.settings import Settings
from tests.simulation.stories import Story, Violation, played
from tests.support.inside import run_inside

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_snapshots.ledger.ledger import Ledger
    from pulumi_snapshots.ledger.pacing import Sent
    from pulumi_snapshots.ledger.place import Document
    from pulumi_snapshots.run.calls import Call

T = TypeVar("T")
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


def _with_key(call: Call) -> Ledger | None:
    settings = call.settings()
    return call.shared.ledger(settings) if settings.api_key else None


async def _fails_open(self: Pacing, decide: Callable[[Document], tuple[T, Sent | None]]) -> T:
    try:
        return await _claim(self, decide)
    except LedgerUnavailable:
        return decide({})[0]


def _forgets(self: RunMemory, kind: str, owner: str | None, _kept: object) -> None:
    _note_diff(self, kind, owner, None)


_claim, _note_diff = Pacing.claim, RunMemory.note_diff
ATTEMPT, MEMORY = "pulumi_snapshots.ledger.attempt", "pulumi_snapshots.run.memory.RunMemory"
MISTAKES: dict[str, tuple[int, dict[str, Any]]] = {
    "what the engine could not save is sent again": (
        17,
        {"pulumi_snapshots.ledger.ledger.is_resource": lambda _: False},
    ),
    "what is deleted upstream is sent again": (43, {f"{MEMORY}.note_delete": lambda *_: None}),
    "what a killed run has deleted upstream is sent again": (108, {f"{MEMORY}.note_diff": _forgets}),
    "what was destroyed without a key is handed out": (
        52,
        {"pulumi_snapshots.run.calls.Rules._ledger": staticmethod(_with_key)},
    ),
    "without a ledger it is sent all the same": (22, {"pulumi_snapshots.ledger.pacing.Pacing.claim": _fails_open}),
    "another key has another ledger": (52, {"pulumi_snapshots.run.settings.Settings.service": Settings.fingerprint}),
    "a machine that slept sends all the same": (75, {"pulumi_snapshots.run.once.CLAIM_LASTS": timedelta(days=1)}),
    "the delete of the old one proves the new one": (
        8,
        {f"{ATTEMPT}.Proof.shows": lambda self, attempt: self.database_id == attempt.database_id},
    ),
    "two of one database do not wait for each other": (15, {f"{ATTEMPT}.Attempt.is_in_the_way": lambda *_: False}),
}
"""Mistakes that once were made, each with a seed that shows it."""


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
