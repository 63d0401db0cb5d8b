"""The provider of each resource, which translates between the engine and the resources.

A class's path is part of every state that the class made, so the path never changes.
"""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, ClassVar, TypeVar

from pulumi.asset import Archive, Asset
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)
from pulumi.output import Unknown

from pulumi_snapshots.dynamic import engine_access, this_run
from pulumi_snapshots.engine import SECRET, SIGNATURE, rules_of
from pulumi_snapshots.engine.messages import MessageRow
from pulumi_snapshots.engine.state import read_state, refuse_unusable
from pulumi_snapshots.engine.wording import PYTHON, nothing_sent
from pulumi_snapshots.errors import ProviderError, is_later
from pulumi_snapshots.errors.secrets import looks_secret
from pulumi_snapshots.properties.catalogue import in_python
from pulumi_snapshots.properties.checks import FILE, UNKNOWN, Problem
from pulumi_snapshots.resources import RESOURCES
from pulumi_snapshots.run.calls import EngineCall, Resource, ResourceNotFinished, Rules
from pulumi_snapshots.run.failures import telling_of_failure
from pulumi_snapshots.run.settings import Settings

T = TypeVar("T")
WIDTH = 256
"""Calls served at a time, beyond any `--parallel` in use: each of them only waits."""


class Provider(ResourceProvider):
    """A provider without attributes until it is configured, because states would keep them."""

    serialize_as_secret_always = False
    rules: ClassVar[Rules]

    def configure(self, req: ConfigureRequest) -> None:
        """Keep the stack's config.

        The config is read when a call first needs it, so that a destroy works with a bad one.

        Args:
            req: the engine's request.
        """
        self._settings = cache(partial(Settings.read, req.config, os.environ))
        engine_access.end_with_engine()

    def check(
        self,
        _olds: dict[str, Any],
        news: dict[str, Any],
    ) -> CheckResult:
        """Validate inputs and configuration, without a request.

        Args:
            news: the inputs, on the wire.

        Returns:
            The inputs and what is wrong with them.
        """
        with self._call() as call:
            problems = self.rules.check(
                call, _with_unknowns(news), in_state=bool(_olds)
            )
        failures = _failures(news, problems) if problems else []
        return CheckResult(news, failures)

    def diff(
        self,
        _id: str,
        _olds: dict[str, Any],
        _news: dict[str, Any],
    ) -> DiffResult:
        """Find what new inputs change.

        Returns:
            What the new inputs change.
        """
        olds = self._own(_olds)
        with self._call() as call:
            refuse_unusable(self.rules.schema, olds)
            changes = self.rules.diff(call, olds, _with_unknowns(_news))
        # A resource of the plugin is updated once, to Python's names.
        has_other_names = olds.keys() != _olds.keys()
        has_changes = bool(changes.replaces or changes.updates)
        return DiffResult(
            changes=has_changes or has_other_names,
            replaces=list(changes.replaces),
            delete_before_replace=False,
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make the resource.

        Args:
            props: the inputs, on the wire.

        Returns:
            The id and the outputs.
        """
        made = self._resource(lambda call: self.rules.calls.create(call, props))
        return CreateResult(made.id, made.outputs)

    def read(
        self,
        id_: str,
        props: dict[str, Any],
    ) -> ReadResult:
        """Refresh a resource in the state, or get an existing one by its id.

        Args:
            id_: the resource's id.
            props: the outputs in the state; empty for a lookup.

        Returns:
            The id and the outputs.
        """
        state = self._own(props)
        seen = self._resource(lambda call: read_state(self.rules, call, id_, state))
        return ReadResult(seen.id, seen.outputs)

    def update(
        self,
        _id: str,
        _olds: dict[str, Any],
        _news: dict[str, Any],
    ) -> UpdateResult:
        """Resume an unfinished resource, or keep its new inputs.

        Returns:
            The outputs.
        """
        olds = self._own(_olds)

        async def update(call: EngineCall) -> Resource:
            refuse_unusable(self.rules.schema, olds)
            updated: Resource = await self.rules.calls.update(call, _id, olds, _news)
            return updated

        return UpdateResult(self._resource(update).outputs)

    def delete(
        self,
        _id: str,
        _props: dict[str, Any],
    ) -> None:
        """Delete or forget the resource."""
        state = self._own(_props)
        with self._call() as call:
            refuse_unusable(self.rules.schema, state)
            _carry_out(lambda: self.rules.delete(call, _id, state))

    def _own(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state with Python's names, also if the plugin has left it."""
        schema = self.rules.schema
        if schema.foreign & state.keys():
            return in_python(schema.properties, state)
        return state

    def _resource(
        self, operation: Callable[[EngineCall], Awaitable[Resource]]
    ) -> Resource:
        """The operation's result; a monitor hears of a failure.

        An unfinished resource is kept in the state, if the SDK has a way.
        """
        try:
            with self._call() as call:
                report = PYTHON.about(resource=call.owner).report
                name = self.rules.about(call)
                work = partial(operation, call)
                made = _carry_out(partial(telling_of_failure, call, name, report, work))
        except ResourceNotFinished as end:
            engine = engine_access.current_call()
            made = self._hidden(end.resource)
            wording = PYTHON.about(resource=engine.urn)
            engine.keep(made.id, made.outputs, wording.report(end.error))
            if end.steps_if_not_saved is not None:
                engine.fail(wording.report(end.error, end.steps_if_not_saved))
            return made
        return self._hidden(made)

    def _hidden(self, resource: Resource) -> Resource:
        """The resource with its secrets as the wire has them.

        Encrypted in the state, and never shown.
        """
        hidden = {
            name: {SIGNATURE: SECRET, "value": resource.outputs[name]}
            for name in self.rules.schema.secrets
            if resource.outputs.get(name)
            is not None  # None does not exist in the state
        }
        return Resource(resource.id, resource.outputs | hidden)

    @contextmanager
    def _call(self) -> Iterator[EngineCall]:
        """The engine's call, as operations know it; a failure reaches the engine as one text."""
        engine = engine_access.current_call()
        row = MessageRow(engine_access.messages, engine.urn or "", PYTHON)
        try:
            yield EngineCall(engine.urn, self._settings, this_run().shared, row)
        except ProviderError as error:
            engine.fail(row.wording.report(error), later=is_later(error))
        finally:
            engine_access.messages.wait()


def _carry_out(operation: Callable[[], Awaitable[T]]) -> T:
    """Run an operation on the run's event loop; the calling thread only waits."""
    run = this_run()
    engine_access.widen(WIDTH)
    engine_access.on_cancel(run.stop)
    return run.carry_out(operation)


def _failures(
    news: dict[str, Any],
    problems: list[Problem],
) -> list[CheckFailure]:
    """What is wrong with inputs, in the form that the engine takes."""
    # The engine prints the value of a property that a failure names: a secret must not be
    # printed, and Go's form of anything but a text would puzzle.
    shown = {
        name
        for name, value in news.items()
        if isinstance(value, str) and not looks_secret(value)
    }
    failures = []
    for number, problem in enumerate(problems, 1):
        is_shown = problem.property in shown
        reason = PYTHON.text(problem.reason if is_shown else problem.with_value())
        if number == len(problems):
            reason = nothing_sent(reason)
        if is_shown:
            failures.append(CheckFailure(problem.property, reason))
        else:
            text = f"{problem.property} {reason}".lstrip()
            failures.append(CheckFailure("", text))
    return failures


def _with_unknowns(value: Any) -> Any:
    """The value with the SDK's unknowns as operations know them."""
    if isinstance(value, Unknown):
        return UNKNOWN
    if isinstance(value, Asset | Archive):
        return FILE
    if isinstance(value, dict):
        return {key: _with_unknowns(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_unknowns(item) for item in value]
    return value


def __getattr__(name: str) -> type[Provider]:
    """The class of a resource's provider, such as `SnapshotProvider`, made at its first use."""
    kind = name.removesuffix("Provider")
    if kind == name or kind not in RESOURCES:
        raise AttributeError(name)
    body = {"__module__": __name__, "rules": rules_of(kind)}
    provider = type(name, (Provider,), body)
    return globals().setdefault(name, provider)  # type: ignore[no-any-return]  # globals are Any
