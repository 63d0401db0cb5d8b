"""Lookups by the engine: it asks the plugin, or in a test of a program the mocks, for both ways."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pulumi.runtime import invoke, invoke_output
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor

from pulumi_snapshots.program import LookupFailed, hidden, refuse_outputs
from pulumi_snapshots.properties.catalogue import in_camel, in_python
from pulumi_snapshots.run.settings import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pulumi

    from pulumi_snapshots.lookup.results import Lookup


T = TypeVar("T")


def are_mocked() -> bool:
    """Whether a test runs the program with mocks instead of an engine; they must answer all that leaves it."""
    return isinstance(get_monitor(), MockMonitor)


def now(lookup: Lookup[T], opts: pulumi.InvokeOptions | None, **arguments: Any) -> T:
    """Ask, and wait for the answer."""
    refuse_outputs(lookup.function, arguments)
    token = token_of(lookup)
    try:
        found = invoke(token, arguments_of(arguments), opts).value
    except Exception as error:  # noqa: BLE001  the SDK raises nothing else
        raise LookupFailed(
            lookup.function, text_of(error, token), why=error
        ) from None  # the text has its page's address already
    return answer_of(lookup, found)


def later(lookup: Lookup[T], opts: pulumi.InvokeOutputOptions | None, **arguments: Any) -> pulumi.Output[T]:
    """Ask once the arguments are known."""
    found: pulumi.Output[Any] = invoke_output(token_of(lookup), arguments_of(arguments), opts)
    return hidden(lookup, found.apply(partial(answer_of, lookup)), arguments)


def token_of(lookup: Lookup[Any]) -> str:
    """The name of a function in every language."""
    return f"{PACKAGE}:index:{in_camel(lookup.function)}"


def text_of(error: Exception, token: str) -> str:
    """What the plugin says, without what the engine and the SDK put before it."""
    text = str(error).removeprefix(f"invoke of {token} failed: ")
    return text.removeprefix(f"invocation of {token} returned an error: ")


def arguments_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as the plugin takes them; None is left out."""
    return {in_camel(name): value for name, value in arguments.items() if value is not None}


def answer_of(lookup: Lookup[T], found: Mapping[str, Any] | None) -> T:
    """What the plugin answers, as its result declares it."""
    return lookup.answer(in_python(lookup.result.properties(), found or {}))
