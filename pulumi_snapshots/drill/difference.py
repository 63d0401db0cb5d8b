"""What inputs may be, and what a change of them means for a drill that has acted. Sends no request."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import system_utc
from pulumi_snapshots.drill.address import Address
from pulumi_snapshots.drill.due import drill_difference
from pulumi_snapshots.drill.inputs import databases_of, purpose_of
from pulumi_snapshots.drill.record import DRILL, DrillRecord
from pulumi_snapshots.late import late
from pulumi_snapshots.ledger.attempt import Proof
from pulumi_snapshots.properties.unfit import Problem
from pulumi_snapshots.run.calls import Changes, Rules
from pulumi_snapshots.run.memory import InState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pulumi_snapshots.run.calls import Call, Calls


class DrillRules(Rules):
    """The rules of a drill."""

    schema = DRILL
    kind = "restore"

    def check(self, call: Call, values: Mapping[str, Any], *, in_state: bool = False) -> list[Problem]:
        """What is wrong with the inputs, and with overwriting the scratch database as far as this run knows the stack."""
        problems = super().check(call, values, in_state=in_state)
        scratch, memory = values.get("scratch_database_id"), call.shared.memory
        if isinstance(scratch, str) and scratch != values.get("database_id"):
            reason = memory.uses.remember_overwriting(scratch, self.about(call))
            problems += [Problem("scratch_database_id", reason)] if reason else []
        for each in databases_of(values.get("connection")) if values.get("archive") is not None else ():
            reason = memory.uses.remember_overwriting(each, self.about(call), loads=True)
            problems += [Problem("connection", reason)] if reason and each != values.get("database_id") else []
        return problems

    def asks(self, call: Call, values: Mapping[str, Any]) -> Callable[[], Awaitable[list[Problem]]] | None:
        """Ask for the scratch database's port, if the connection is to the service's own host of it."""
        connection, scratch = values.get("connection"), values.get("scratch_database_id")
        if isinstance(connection, str) and isinstance(scratch, str) and Address.of(connection).is_own(scratch):
            ask: Callable[..., Awaitable[list[Problem]]] = late("drill.calls:wrong_port")
            return partial(ask, call, connection, scratch)
        return None

    def in_state(self, state: Mapping[str, Any]) -> InState | None:
        """The drill, or the wait for its restore's end."""
        if "requested_at" not in state or state.get("archive"):  # looked up by its id, or no request of the service
            return None
        record = DrillRecord.from_outputs(state)
        request = record.attempt if record.pending else None
        proof = Proof("restore", record.scratch_database_id, record.restored_at, request, record.requested_at)
        return InState(record, purpose_of(record.snapshot, state.get("triggers")), proof, record.snapshot)

    @property
    def calls(self) -> Calls:
        """Create, read, update and delete."""
        calls: Calls = late("drill.calls:DrillCalls")()
        return calls

    def compare(self, call: Call, record: DrillRecord, state: Mapping[str, Any], values: Mapping[str, Any]) -> Changes:
        """Compare."""
        return drill_difference(record, state, values, system_utc(), call.shared.memory.is_same_snapshot)
