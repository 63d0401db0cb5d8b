"""The lookups, as programs call them; the HTTP stack is loaded only once something is looked up."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import pulumi
from pulumi.runtime import get_root_resource
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor

from pulumi_snapshots.dynamic import this_run
from pulumi_snapshots.engine.wording import PYTHON, debugged
from pulumi_snapshots.errors import AnyMessage, ProviderError
from pulumi_snapshots.late import late
from pulumi_snapshots.lookup.results import Lookup
from pulumi_snapshots.program import (
    PROGRAM_CONFIG,
    LookupFailed,
    warn_of_plain_key,
    warn_once,
)
from pulumi_snapshots.program.lookups import Lookups
from pulumi_snapshots.run.settings import Settings

T = TypeVar("T")
# when each made its first lookup
_programs: WeakKeyDictionary[pulumi.Resource, float] = WeakKeyDictionary()


def _question(
    lookup: Lookup[T],
    function: str,
    arguments: Mapping[str, Any],
    *,
    lately: bool,
) -> Callable[[], Awaitable[tuple[T, AnyMessage]]]:
    """Find the answer, and what the user should know besides, on the run's event loop."""
    problems = lookup.query.problems(arguments)
    if problems:
        told = "; ".join(
            f"{problem.property} {PYTHON.text(problem.with_value())}"
            for problem in problems
        )
        raise LookupFailed(function, f"{told}.")
    warn_of_plain_key()
    settings = Settings.read(PROGRAM_CONFIG, os.environ)
    program = get_root_resource()
    settings.required_key()

    async def ask() -> tuple[T, AnyMessage]:
        session = this_run().shared.session(settings)
        since = recent = session.listings.recent
        if program is not None:
            begun = _programs.setdefault(program, session.clock.monotonic())
            # An older listing does not show what the resources have done that the arguments come
            # from.
            since = max(begun, recent) if lately else begun
        tell = lambda text: pulumi.log.info(f"{function}: {text}")  # noqa: E731
        answer: T = await late("lookup.find:answer_lookup")(
            lookup, session, arguments, since, tell
        )
        return answer, session.take_note()

    return ask


def _noted(answered: tuple[T, AnyMessage]) -> T:
    answer, note = answered
    if note:
        warn_once(PYTHON.text(note))
    return answer


@contextmanager
def _asking(function: str, opts: Any = None) -> Iterator[None]:
    """Fail as a lookup does."""
    if opts is not None:
        raise LookupFailed(
            function, "opts are for the plugin: import it from pulumi_snapshots.plugin."
        )
    try:
        yield
    except ProviderError as error:
        raise LookupFailed(
            function,
            debugged(PYTHON.error_text(error), error),
            why=error,
        ) from None


def _are_mocked() -> bool:
    """Whether a test runs the program with mocks instead of an engine.

    They must answer all that leaves it.
    """
    return isinstance(get_monitor(), MockMonitor)


class _Direct(Lookups):
    """Asks the service, in the program itself."""

    def _answer(
        self,
        lookup: Lookup[T],
        arguments: Mapping[str, Any],
        opts: Any,
    ) -> T:
        if _are_mocked():
            return super()._answer(lookup, arguments, opts)
        with _asking(lookup.function, opts):
            return _noted(
                this_run().carry_out(
                    _question(lookup, lookup.function, arguments, lately=False)
                )
            )

    def _answer_later(
        self,
        lookup: Lookup[T],
        arguments: Mapping[str, Any],
        opts: Any,
    ) -> pulumi.Output[T]:
        if _are_mocked():
            return super()._answer_later(lookup, arguments, opts)
        function = f"{lookup.function}_output"

        async def find(known: dict[str, Any]) -> T:
            for name, value in known.items():
                if value is None:
                    raise LookupFailed(
                        function, f"{name} is an output whose value is None."
                    )
            with _asking(function):
                ask = _question(lookup, function, known, lately=True)
                return _noted(await asyncio.wrap_future(this_run().begin(ask)))

        with _asking(function, opts):
            return pulumi.Output.from_input(dict(arguments)).apply(find)


__getattr__ = _Direct().__getattribute__  # the functions of programs
