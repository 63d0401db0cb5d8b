"""The dynamic provider of snapshots: translates between the engine and `operations`, and decides nothing itself.

Programs import this file, so it loads the HTTP stack only inside the methods that the provider's process runs.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, UpdateResult

from pulumi_snapshots.clock import system_utc
from pulumi_snapshots.dynamic import engine_access
from pulumi_snapshots.dynamic.translate import Provider, as_secret, carry_out, failing_with, with_unknowns
from pulumi_snapshots.operations.difference import difference
from pulumi_snapshots.operations.inputs import SnapshotInputs, problems_of
from pulumi_snapshots.operations.outcomes import (
    OLD_CONFIGURATION,
    NoSuchSnapshot,
    NothingSent,
    Pending,
    forgotten,
    sentence,
    still_pending,
)
from pulumi_snapshots.operations.record import SnapshotRecord
from pulumi_snapshots.operations.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from pulumi_snapshots.dynamic.run import Run
    from pulumi_snapshots.dynamic.translate import Row
    from pulumi_snapshots.operations.session import Listener, Session

__all__ = ["SnapshotProvider"]

INPUTS = ("database_id", "triggers", "rotate_after", "reuse_within", "timeout")


class SnapshotProvider(Provider):
    """The class's path stands in every state, so it never moves."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Validate inputs and configuration, without a request."""
        with failing_with(engine_access.current_call(), SettingsError):
            self._settings()
        failures = [CheckFailure(problem.property, problem.reason) for problem in problems_of(with_unknowns(news))]
        return CheckResult(news, failures)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare; remember what is about to be replaced, since create is not told."""
        from pulumi_snapshots.dynamic.run import this_run  # noqa: PLC0415  not for programs

        call = engine_access.current_call()
        record = SnapshotRecord.from_outputs(_olds)
        found = difference(record, _olds, with_unknowns(_news), system_utc())
        this_run().memory.saw(record, call.urn, replaced=bool(found.replaces))
        if found.warning:
            call.warn(found.warning)
        if found.reason:
            call.progress(found.reason)
            call.flush()
        return DiffResult(
            changes=bool(found.replaces) or found.resumes, replaces=list(found.replaces), delete_before_replace=False
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Take a snapshot and wait for it."""
        from pulumi_snapshots.operations.create import create  # noqa: PLC0415  not for programs

        call, inputs = engine_access.current_call(), SnapshotInputs.of(props)

        async def operation(session: Session, listener: Listener) -> SnapshotRecord:
            return await create(session, inputs, listener, owner=call.urn)

        record = self._carry_out(call, operation, props)
        return CreateResult(record.id, _outputs(record, props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Go on waiting for a pending snapshot; there is nothing else to update."""
        from pulumi_snapshots.operations.create import resume  # noqa: PLC0415  not for programs

        call, inputs = engine_access.current_call(), SnapshotInputs.of(_news)
        record = SnapshotRecord.from_outputs(_olds)
        if record.pending:

            async def operation(session: Session, listener: Listener) -> SnapshotRecord:
                return await resume(session, record, inputs, listener, owner=call.urn)

            record = self._carry_out(call, operation, _news, kept=(_id, record))
        return UpdateResult(_outputs(record, _news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Refresh a snapshot in the state, or get an existing one by its id."""
        from pulumi_snapshots.operations.read import get, read  # noqa: PLC0415  not for programs

        call = engine_access.current_call()
        if "available" not in props:

            async def lookup(session: Session, _listener: Listener) -> SnapshotRecord:
                return await get(session, id_)

            found = self._carry_out(call, lookup, props)
            return ReadResult(found.id, _outputs(found, props))

        record = SnapshotRecord.from_outputs(props)

        async def refresh(session: Session, listener: Listener) -> SnapshotRecord:
            return await read(session, record, listener, owner=call.urn)

        if not record.pending:
            renewed = self._carry_out(call, refresh, props, refreshes=True)
            # Its own id: a snapshot that was resumed still has the provisional one.
            return ReadResult(renewed.id, _outputs(renewed, props))
        try:
            seen = self._operate(call, refresh)
        except SettingsError:
            # The engine reads with the configuration of the last run; the update that follows has the current one.
            seen = record
        if not seen.pending:
            return ReadResult(seen.id, _outputs(seen, props))
        if engine_access.features().partial_state:
            call.keep(id_, _outputs(seen, props), [still_pending(seen)])
        return ReadResult(id_, _outputs(seen, props))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Forget it: the service has no delete, so nothing is sent."""
        engine_access.current_call().info(forgotten(SnapshotRecord.from_outputs(_props)))

    def _carry_out(
        self,
        call: engine_access.EngineCall,
        operation: Callable[[Session, Listener], Awaitable[SnapshotRecord]],
        inputs: dict[str, Any],
        *,
        kept: tuple[str, SnapshotRecord] | None = None,
        refreshes: bool = False,
    ) -> SnapshotRecord:
        """Run an operation; however it fails, the engine is told in one paragraph, and what must be kept is kept."""
        with _outcomes(call, inputs, kept=kept, refreshes=refreshes):
            return self._operate(call, operation)
        raise AssertionError  # a failed operation has ended the call

    def _operate(
        self, call: engine_access.EngineCall, operation: Callable[[Session, Listener], Awaitable[SnapshotRecord]]
    ) -> SnapshotRecord:
        settings = self._settings()
        settings.required_key()

        async def with_session(run: Run, row: Row) -> SnapshotRecord:
            return await operation(run.session(settings), row)

        return carry_out(call, with_session)


@contextmanager
def _outcomes(
    call: engine_access.EngineCall,
    inputs: dict[str, Any],
    *,
    kept: tuple[str, SnapshotRecord] | None = None,
    refreshes: bool = False,
) -> Iterator[None]:
    """Tell the engine how the body failed: as partial state where something must be kept, else as a plain error.

    Args:
        call: the engine's.
        inputs: of the resource.
        kept: what the state holds already and must go on holding: id and record.
        refreshes: whether it is a refresh of a snapshot that is there.
    """
    from pulumi_snapshots.api.errors import SquareCloudError  # noqa: PLC0415  standard library, but not for programs

    try:
        yield
    except Pending as pending:
        if kept is None:
            if not engine_access.features().partial_state:
                call.fail(pending.reason_unkept(call.urn))
            kept = pending.record.id, pending.record
        _stays_pending(call, inputs, kept[0], pending)
    except (SquareCloudError, NothingSent, NoSuchSnapshot, SettingsError) as error:
        if kept is not None:  # a resume that could not even begin (no key)
            _stays_pending(call, inputs, kept[0], Pending(kept[1], sentence(error)))
        call.fail(f"{sentence(error)} {OLD_CONFIGURATION}" if refreshes else sentence(error))


def _stays_pending(call: engine_access.EngineCall, inputs: dict[str, Any], id_: str, pending: Pending) -> NoReturn:
    """End the call, which leaves a pending snapshot in the state."""
    reason = pending.reason(call.urn)
    if not engine_access.features().partial_state:
        call.fail(reason)  # the state holds it already, and goes on holding it
    call.keep(id_, _outputs(pending.record, inputs), [reason])


def _outputs(record: SnapshotRecord, inputs: dict[str, Any]) -> dict[str, Any]:
    """All outputs, inputs among them: what is left out would be lost from the state. The URL is a secret."""
    outputs = {name: inputs[name] for name in INPUTS if name in inputs} | record.to_outputs()
    return outputs | {"download_url": as_secret(outputs["download_url"])}
