"""The dynamic provider of archives: translates between the engine and `operations`, and decides nothing itself.

Programs import this file, so it loads the HTTP stack and the stores only inside the methods that the provider's process runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, UpdateResult

from pulumi_snapshots.dynamic import engine_access
from pulumi_snapshots.dynamic.translate import Provider, carry_out, failing_with, with_unknowns
from pulumi_snapshots.operations.archive_difference import archive_difference
from pulumi_snapshots.operations.archive_inputs import ArchiveInputs, archive_problems_of
from pulumi_snapshots.operations.archive_record import ArchiveRecord
from pulumi_snapshots.operations.settings import SettingsError

if TYPE_CHECKING:
    from pulumi_snapshots.dynamic.run import Run
    from pulumi_snapshots.dynamic.translate import Row

__all__ = ["ArchiveProvider"]

WISHES = ("destination", "keep_last", "delete_object", "timeout")
"""Inputs that the outputs repeat. The URL is not among them: once the object is whole nobody needs it."""
NO_LOOKUP = "An Archive cannot be looked up or imported: declare it, and it archives its snapshot."


class ArchiveProvider(Provider):
    """The class's path stands in every state, so it never moves."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Validate inputs and configuration, without a request."""
        with failing_with(engine_access.current_call(), SettingsError):
            self._settings()
        problems = archive_problems_of(with_unknowns(news))
        return CheckResult(news, [CheckFailure(problem.property, problem.reason) for problem in problems])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare; remember what the state holds, since create is not told what it replaces."""
        from pulumi_snapshots.dynamic.run import this_run  # noqa: PLC0415  not for programs

        call, record = engine_access.current_call(), ArchiveRecord.from_outputs(_olds)
        found = archive_difference(record, _olds, with_unknowns(_news))
        this_run().archives.has(call.urn, record, _keep_last(_olds))
        if found.reason:
            call.progress(found.reason)
            call.flush()
        return DiffResult(
            changes=bool(found.replaces) or found.archives_again or found.saves,
            replaces=list(found.replaces),
            delete_before_replace=False,
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Archive it, after what this resource has archived before."""
        record = self._archive(engine_access.current_call(), props)
        return CreateResult(record.id, _outputs(record, props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Archive again what a refresh has found lost; else only the wishes have changed, and the state keeps them."""
        record = ArchiveRecord.from_outputs(_olds)
        if record.lost is not None:
            record = self._archive(engine_access.current_call(), _news, record)
        return UpdateResult(_outputs(record, _news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Look whether the object is there, as it was written."""
        from pulumi_snapshots.operations.archive_upkeep import check_archived  # noqa: PLC0415  not for programs

        call = engine_access.current_call()
        if "mark" not in props:
            call.fail(NO_LOOKUP)
        record = ArchiveRecord.from_outputs(props)

        async def look(run: Run, row: Row) -> ArchiveRecord:
            return await check_archived(run.transfers, record, row)

        return ReadResult(id_, _outputs(carry_out(call, look), props))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Keep the object, or delete it, as the resource says."""
        from pulumi_snapshots.operations.archive_upkeep import NotRemoved, remove  # noqa: PLC0415  not for programs

        call, record = engine_access.current_call(), ArchiveRecord.from_outputs(_props)

        async def tidy(run: Run, row: Row) -> None:
            successor, keep_last = run.archives.successor(call.urn, record)
            delete_object = bool(_props.get("delete_object"))
            await remove(
                run.transfers, record, row, delete_object=delete_object, keep_last=keep_last, successor=successor
            )

        with failing_with(call, NotRemoved):
            carry_out(call, tidy, lasting=True)

    def _archive(
        self, call: engine_access.EngineCall, values: dict[str, Any], lost: ArchiveRecord | None = None
    ) -> ArchiveRecord:
        from pulumi_snapshots.operations.archive import NotArchived, archive  # noqa: PLC0415  not for programs

        inputs = ArchiveInputs.of(values)

        async def transfer(run: Run, row: Row) -> ArchiveRecord:
            # Without a key a URL is enough; whoever needs the service says so.
            session = None if settings.api_key is None else run.session(settings)
            previous = lost or run.archives.previous(call.urn)
            record = await archive(session, run.transfers, inputs, row, previous=previous)
            run.archives.has(call.urn, record, inputs.keep_last)
            return record

        with failing_with(call, NotArchived, SettingsError):
            settings = self._settings()
            return carry_out(call, transfer)
        raise AssertionError  # a failed operation has ended the call


def _keep_last(values: dict[str, Any]) -> int | None:
    kept = values.get("keep_last")
    return None if kept is None else int(kept)


def _outputs(record: ArchiveRecord, inputs: dict[str, Any]) -> dict[str, Any]:
    """All outputs, wishes among them: what is left out would be lost from the state."""
    return {name: inputs[name] for name in WISHES if name in inputs} | record.to_outputs()
