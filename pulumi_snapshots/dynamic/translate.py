"""What every provider here translates: values and outcomes to the engine's, its calls to operations on the run's loop.

Programs load this file with the providers, so it loads nothing that speaks HTTP.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pulumi.dynamic import ResourceProvider
from pulumi.output import Unknown

from pulumi_snapshots.dynamic import engine_access
from pulumi_snapshots.operations.inputs import UNKNOWN
from pulumi_snapshots.operations.outcomes import sentence
from pulumi_snapshots.operations.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from pulumi.dynamic import ConfigureRequest

    from pulumi_snapshots.dynamic.run import Run

__all__ = ["Provider", "Row", "as_secret", "carry_out", "failing_with", "with_unknowns"]

T = TypeVar("T")
WIDTH = 256
"""Calls served at a time, beyond any `--parallel` in use: each of them only waits."""
NARROW = (
    "the installed Pulumi SDK has no known way to serve more than four resources at a time: more snapshots wait for a place, "
    "and each for those before it"
)
"""Said once in a run."""
_SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
"""What marks a secret on the wire between engine and provider."""


class Provider(ResourceProvider):
    """A provider without attributes until it is configured: they would stand in every state."""

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """Keep the stack's config; it is read where it is needed, so that a destroy works with a bad one."""
        self._config = req.config
        engine_access.end_with_engine()

    def _settings(self) -> Settings:
        return Settings.read(self._config, os.environ)


class Row:
    """A resource's row on the terminal; what is to stay waits for the end, since the event loop must not wait for it.

    Args:
        call: the engine's.
        lasting: whether the last progress stays under Diagnostics, as the call's result.
    """

    def __init__(self, call: engine_access.EngineCall, *, lasting: bool = False) -> None:
        self._call = call
        self._lasting = lasting
        self._last = ""
        self._warnings: list[str] = []
        self._can_keep = engine_access.features().partial_state

    def progress(self, text: str) -> None:
        """What goes on now."""
        self._last = text
        self._call.progress(text)

    def warn(self, text: str) -> None:
        """Something that the user should know afterwards."""
        self._warnings.append(text)

    def will_keep(self, *, pending: bool) -> bool:
        """Whether the end of the operation reaches the state."""
        return engine_access.engine_listens() and (self._can_keep or not pending)

    def end(self) -> None:
        """Leave what is to stay; in the call's own thread."""
        self._call.flush()
        for text in self._warnings:
            self._call.warn(text)
        if self._lasting and self._last:
            self._call.info(self._last)


def carry_out(
    call: engine_access.EngineCall, operation: Callable[[Run, Row], Awaitable[T]], *, lasting: bool = False
) -> T:
    """Run an operation on the run's event loop, shown on the resource's row; the calling thread only waits.

    Args:
        call: the engine's.
        operation: gets what the resources of this process share, and who hears how it goes.
        lasting: whether the last progress stays under Diagnostics.
    """
    from pulumi_snapshots.dynamic.run import this_run  # noqa: PLC0415  not for programs

    run = this_run()
    if not engine_access.widen(WIDTH) and run.is_first("narrow"):
        call.warn(NARROW)
    engine_access.on_cancel(run.stop)
    row = Row(call, lasting=lasting)
    try:
        return run.carry_out(lambda: operation(run, row))
    finally:
        row.end()


@contextmanager
def failing_with(call: engine_access.EngineCall, *expected: type[Exception], addition: str = "") -> Iterator[None]:
    """Tell the engine how the body failed: one paragraph, without a traceback.

    Args:
        call: the engine's.
        expected: errors whose texts are for users.
        addition: one more sentence.
    """
    try:
        yield
    except expected as error:
        call.fail(f"{sentence(error)} {addition}".rstrip())


def with_unknowns(value: Any) -> Any:
    """The value with the SDK's unknowns as `operations` knows them."""
    if isinstance(value, Unknown):
        return UNKNOWN
    if isinstance(value, dict):
        return {key: with_unknowns(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_unknowns(item) for item in value]
    return value


def as_secret(value: Any) -> Any:
    """A value that the state encrypts and nothing shows; None stays None, which does not exist there."""
    return None if value is None else {**_SECRET, "value": value}
