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
    reasons_of,
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
        raise LookupFailed(function, reasons_of(problems))
    warn_of_plain_key()
    settings = Settings.read(PROGRAM_CONFIG, os.environ)
    program = get_root_resource()
    settings.required_key()

    async def ask() -> tuple[T, AnyMessage]:
        session = this_run().shared.session(settings)
        since = recent = session.listings.recent
        if program is not None:
            begun = _programs.setdefault(program, session.clock.monotonic())
            # The arguments can come from resources, whose work an older listing does not show.
            since = max(begun, recent) if lately else begun

        def show_progress(text: str) -> None:
            pulumi.log.info(f"{function}: {text}")

        answer: T = await late("lookup.find:answer_lookup")(
            lookup, session, arguments, since, show_progress
        )
        return answer, session.take_note()

    return ask


def _warned(answered: tuple[T, AnyMessage]) -> T:
    """Show the warning of an answer, and return the answer alone."""
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
        text = debugged(PYTHON.error_text(error), error)
        raise LookupFailed(function, text, why=error) from None


def _are_mocked() -> bool:
    """Whether a test runs the program with mocks, which must answer all that leaves the program."""
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
            ask = _question(lookup, lookup.function, arguments, lately=False)
            return _warned(this_run().carry_out(ask))

    def _answer_later(
        self,
        lookup: Lookup[T],
        arguments: Mapping[str, Any],
        opts: Any,
    ) -> pulumi.Output[T]:
        if _are_mocked():
            return super()._answer_later(lookup, arguments, opts)
        function = f"{lookup.function}_output"

        async def find(values: dict[str, Any]) -> T:
            for name, value in values.items():
                if value is None:
                    raise LookupFailed(
                        function, f"{name} is an output whose value is None."
                    )
            with _asking(function):
                ask = _question(lookup, function, values, lately=True)
                return _warned(await asyncio.wrap_future(this_run().begin(ask)))

        with _asking(function, opts):
            return pulumi.Output.from_input(dict(arguments)).apply(find)


__getattr__ = _Direct().__getattribute__  # the functions of programs
