"""The newest answer to one question, for everybody who wants to know it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Newest"]

T = TypeVar("T")


class Newest(Generic[T]):
    """Keeps the newest answer; callers that come while the question is under way wait for its answer.

    Attributes:
        answer: None until there was one.
        asked_at: when it was asked for (monotonic); minus infinity until then.
    """

    def __init__(self) -> None:
        self.answer: T | None = None
        self.asked_at = -math.inf
        self._lock = anyio.Lock()

    def since(self, since: float) -> T | None:
        """The answer, if it was asked for at `since` (monotonic) or later."""
        return self.answer if self.asked_at >= since else None

    async def ask(self, since: float, question: Callable[[], Awaitable[tuple[T, float]]]) -> T:
        """The answer, asked for at `since` (monotonic) or later; asked for now unless there is one.

        Args:
            since: what was asked for then is new enough.
            question: brings an answer, and when it was asked for.
        """
        async with self._lock:
            answer = self.since(since)
            if answer is None:
                answer, self.asked_at = await question()
                self.answer = answer
            return answer
