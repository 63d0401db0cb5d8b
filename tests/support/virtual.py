"""The virtual clock of async tests, under which hours of waiting take no real time."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from trio.testing import MockClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

S = TypeVar("S")
LONGEST = 1000 * 86400.0
"""Virtual seconds after which a test fails."""


def run_virtual(body: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run `body` on trio. Whenever all tasks sleep, the clock jumps to the next wake-up."""

    async def bounded() -> Any:
        # In a deadlock the clock jumps to this time, so that the test fails instead of hanging.
        with trio.fail_after(LONGEST):
            return await body(*args)

    return trio.run(bounded, clock=MockClock(autojump_threshold=0))


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Decorate an async test so that pytest runs it under the virtual clock; fixtures work as usual."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def body() -> None:
            await test(*args, **kwargs)

        run_virtual(body)

    return run


def staged(make: Callable[..., AbstractAsyncContextManager[S]], **service: Any) -> Callable[[Any], Callable[..., None]]:
    """Decorate an async test so that it runs under the virtual clock, and first gets what `make` has made of these settings."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            async def body() -> None:
                async with make(**service) as stage:
                    await test(stage, *args, **kwargs)

            run_virtual(body)

        about = inspect.signature(test)
        run.__signature__ = about.replace(parameters=list(about.parameters.values())[1:])  # type: ignore[attr-defined]  # for pytest
        return run

    return decorate
