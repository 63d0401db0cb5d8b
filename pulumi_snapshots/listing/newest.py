"""The newest answer to each question, for which one request serves all callers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.service.client import ONCE, Patience
from pulumi_snapshots.service.errors import SquareCloudError, Unavailable

T = TypeVar("T")
FAILURE_LASTS = 60.0
"""Seconds for which a failure may serve later callers, too."""
TOO_LONG = 5.0
"""Seconds after which a request that is given up counts as failed: the service takes too long."""


@dataclass(eq=False)
class _Asked:
    """The newest answer and a failure since; times in monotonic seconds."""

    answer: Any = None
    at: float = -math.inf
    failure: SquareCloudError | None = None
    failed_at: float = -math.inf
    patience: Patience = ONCE
    asking: anyio.Lock = field(default_factory=anyio.Lock)


class Newest:
    """The newest answers.

    Args:
        clock: the time.
        announce: called after each new answer.
    """

    def __init__(self, clock: Clock, announce: Callable[[], None] = lambda: None) -> None:
        self._clock = clock
        self._announce = announce
        self._asked: dict[str, _Asked] = defaultdict(_Asked)

    def known(self, request: str, since: float = -math.inf) -> Any:
        """The newest answer; None without one that was requested at `since` or later."""
        asked = self._asked[request]
        return asked.answer if asked.at >= since else None

    async def get(self, request: str, since: float, ask: Callable[..., Awaitable[T]], patience: Patience) -> T:
        """Get the newest answer; `ask` the client now, with this patience, unless that was done at `since` or later.

        A request that failed, or was given up because the service takes too long, also serves all callers that are as patient.
        Otherwise each of hundreds of reads would wait for a service that is down.
        """
        asked = self._asked[request]
        async with asked.asking:
            if asked.answer is not None and asked.at >= since:
                known: T = asked.answer
                return known
            began, failure = self._clock.monotonic(), asked.failure
            if failure and asked.failed_at >= max(since, began - FAILURE_LASTS) and asked.patience == patience:
                raise failure.with_traceback(None)
            asked.failure, asked.patience = None, patience
            try:
                answer = asked.answer = await ask(patience=patience)
            except SquareCloudError as error:
                asked.failure = error if error.passing else None
                raise
            except anyio.get_cancelled_exc_class():
                asked.failure = Unavailable(request) if self._clock.monotonic() - began >= TOO_LONG else None
                raise
            finally:
                asked.failed_at = self._clock.monotonic()
            asked.at = getattr(answer, "sent_at", began)  # a listing may have waited for its slot
        self._announce()
        return answer
