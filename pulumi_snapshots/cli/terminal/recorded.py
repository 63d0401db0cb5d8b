"""Requests that the ledger remembers, so that a later run of the same command resumes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, Invocation
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.drill.drill import DrillFailed
from pulumi_snapshots.errors import Unresolved
from pulumi_snapshots.run.session import Session


async def recorded(
    invocation: Invocation,
    operation: Callable[..., Awaitable[Any]],
    prepared: Callable[[Session], Awaitable[Any]],
    again: Callable[[Any], str],
    *,
    new: bool,
) -> tuple[Any, int, float]:
    """The record of an operation, the exit code, and the age of its request in seconds when the command began.

    `prepared` gives the inputs with whole ids. With what `again` gives as its arguments the command resumes the operation.
    """
    owner, age = invocation.name, 0.0
    try:
        async with invocation.session() as session:
            begun = session.clock.monotonic()
            inputs = await prepared(session)
            machines = "any machine with this shared state" if session.ledger.place.is_shared else "this machine"
            invocation.wording = invocation.wording.about(command=f"{owner} {again(inputs)}", machines=machines)
            with invocation.working(session):
                record = await operation(session, inputs, invocation, owner, fresh=new)
            if record.requested_at is not None:
                since = session.service_clock.now() - parse_rfc3339(record.requested_at)
                age = since.total_seconds() - (session.clock.monotonic() - begun)
            return record, DONE, age
    except (Unresolved, DrillFailed) as pending:
        invocation.fail(invocation.wording.report(pending))
        return pending.record, FAILED, age
