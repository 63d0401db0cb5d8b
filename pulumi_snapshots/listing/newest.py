"""The newest answer to one question, shared by all callers."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Newest(Generic[T]):
    """Keeps the newest answer. A caller that comes while the question is under way waits for its answer.

    Attributes:
        answer: the answer; None until there is one.
        asked_at: when it was requested (monotonic seconds); minus infinity until there is one.
    """

    def __init__(self) -> None:
        self.answer: T | None = None
        self.asked_at = -math.inf
        self._lock = anyio.Lock()

    async def ask(self, since: float, question: Callable[[], Awaitable[tuple[T, float]]]) -> T:
        """Get an answer that was requested at `since` or later, if need be by `question`, which also returns when it asked."""
        async with self._lock:
            if self.answer is None or self.asked_at < since:
                self.answer, self.asked_at = await question()
            return self.answer
