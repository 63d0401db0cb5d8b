"""The virtual clock of async tests, under which hours of waiting take no real time."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import trio
from trio.testing import MockClock

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


def staged(
    make: Callable[..., AbstractAsyncContextManager[S]], **service: Any
) -> Callable[[Any], Callable[..., None]]:
    """Decorate an async test so that it runs under the virtual clock, and first gets what `make` has made of these settings.

    A `make` with a parameter `tmp_path` gets the test's.
    """
    in_folder = "tmp_path" in inspect.signature(make).parameters

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        about = inspect.signature(test)
        _, *wanted = about.parameters.values()
        names = {each.name for each in wanted}

        @functools.wraps(test)
        def run(**given: Any) -> None:
            async def body() -> None:
                own = {"tmp_path": given["tmp_path"]} if in_folder else {}
                async with make(**own, **service) as stage:
                    await test(
                        stage,
                        **{
                            name: value
                            for name, value in given.items()
                            if name in names
                        },
                    )

            run_virtual(body)

        if in_folder and "tmp_path" not in names:
            wanted.append(inspect.Parameter("tmp_path", inspect.Parameter.KEYWORD_ONLY))
        run.__signature__ = about.replace(parameters=wanted)  # type: ignore[attr-defined]  # for pytest
        return run

    return decorate
