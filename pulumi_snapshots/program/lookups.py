"""The lookups, as programs call them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pulumi
from pulumi.runtime import invoke, invoke_output

from pulumi_snapshots.lookup import results
from pulumi_snapshots.program import LookupFailed, bound, given_values, with_arguments
from pulumi_snapshots.program.declaration import signature_of_lookup
from pulumi_snapshots.properties.catalogue import in_camel, in_python
from pulumi_snapshots.resources import LOOKUPS
from pulumi_snapshots.run.settings import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pulumi_snapshots.lookup.results import Lookup


T = TypeVar("T")
FAILS = (
    "`LookupFailed` is raised if an argument cannot be used, there is no such database, or the "
    "service gives no complete answer."
)
SECRETS = "What holds a download URL is a secret."


class Lookups:
    """The functions that a package gives to programs: each is a method of its one object.

    The engine asks the plugin.

    All take `opts`, such as an explicit provider, which is for the plugin only.
    """

    def _now(
        self,
        lookup: Lookup[T],
        given: dict[str, Any],
    ) -> T:
        """Ask with the plain arguments of a method's call, and wait for the answer."""
        opts = given.pop("opts", None)
        for name, value in given.items():
            if isinstance(value, pulumi.Output):
                text = (
                    f"{name} is an output, whose value is not known yet. Call "
                    f"{lookup.function}_output instead."
                )
                raise LookupFailed(lookup.function, text)
        return self._answer(lookup, given, opts)

    def _later(
        self,
        lookup: Lookup[T],
        given: dict[str, Any],
    ) -> pulumi.Output[T]:
        """Ask once the arguments of a method's call are known.

        What holds a download URL is a secret.
        """
        opts = given.pop("opts", None)
        output = self._answer_later(lookup, given, opts)
        if given.get("with_url") is True:
            return pulumi.Output.secret(output)

        # `with_url` may be an output, too.
        def marked(answer: T) -> pulumi.Input[T]:
            if lookup.holds_url(answer):
                return pulumi.Output.secret(answer)
            return answer

        return output.apply(marked)

    def _answer(
        self,
        lookup: Lookup[T],
        arguments: Mapping[str, Any],
        opts: Any,
    ) -> T:
        token, asked = _asked(lookup, arguments)
        try:
            values = invoke(token, asked, opts).value
        except Exception as error:  # noqa: BLE001  the SDK raises nothing else
            # The text has its page's address already. What the engine and the SDK put before the
            # text of the plugin goes.
            text = str(error).removeprefix(f"invoke of {token} failed: ")
            text = text.removeprefix(f"invocation of {token} returned an error: ")
            raise LookupFailed(lookup.function, text, why=error) from None
        return answer_of(lookup, values)

    def _answer_later(
        self,
        lookup: Lookup[T],
        arguments: Mapping[str, Any],
        opts: Any,
    ) -> pulumi.Output[T]:
        token, asked = _asked(lookup, arguments)
        values: pulumi.Output[Any] = invoke_output(token, asked, opts)
        return values.apply(lambda known: answer_of(lookup, known))


def _method(
    lookup: Lookup[Any],
    name: str,
    *,
    of_outputs: bool,
) -> Callable[..., Any]:
    """Make the function of a lookup, as a method of `Lookups`."""
    wanted = signature_of_lookup(lookup)

    def method(self: Lookups, *arguments: Any, **named: Any) -> Any:
        given = bound(name, wanted, (self, *arguments), named)
        ask = self._later if of_outputs else self._now
        return ask(lookup, given_values(given))

    doc = lookup.doc
    if of_outputs:
        doc = f"`{lookup.function}` for arguments that are outputs.\n\n{SECRETS}"
    method.__doc__ = with_arguments(f"{doc}\n\n{FAILS}", wanted, lookup.query)
    method.__name__ = name
    method.__signature__ = wanted  # type: ignore[attr-defined]  # what `inspect` looks for
    return method


for _name, _definition in LOOKUPS.items():
    _lookup: Lookup[Any] = getattr(results, _definition)
    for _function in (_name, f"{_name}_output"):
        _made = _method(_lookup, _function, of_outputs=_function != _name)
        setattr(Lookups, _function, _made)


def _asked(
    lookup: Lookup[Any], arguments: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the plugin's function and its arguments.

    In Python a latest snapshot may be None; in other languages a program must say so.
    """
    in_camels = {in_camel(name): value for name, value in arguments.items()}
    if lookup is results.LATEST:
        in_camels["optional"] = True
    return f"{PACKAGE}:index:{in_camel(lookup.function)}", in_camels


def answer_of(
    lookup: Lookup[T],
    values: Mapping[str, Any] | None,
) -> T:
    """Return the plugin's answer as the lookup's result declares it.

    Args:
        lookup: the lookup.
        values: the answer; None without one.
    """
    properties = lookup.result.properties()
    return lookup.answer(in_python(properties, values or {}))


if not TYPE_CHECKING:
    __getattr__ = Lookups().__getattribute__  # the plugin's functions
