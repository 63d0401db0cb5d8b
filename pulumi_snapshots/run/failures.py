"""The failures of resources and guards, of which the monitor of the setting `notify` hears."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.ledger.attempt import is_resource, owner_of
from pulumi_snapshots.run.calls import EngineCall, ResourceNotFinished
from pulumi_snapshots.run.notices import Notice, tell_monitor
from pulumi_snapshots.run.settings import SettingsError

T = TypeVar("T")


async def telling_of_failure(
    call: EngineCall,
    name: str,
    report: Callable[[ProviderError], str],
    operation: Callable[[], Awaitable[T]],
) -> T:
    """Carry out an operation, and tell the monitor if it fails, or succeeds again.

    Args:
        call: The call of the engine.
        name: What fails, such as `Snapshot 'nightly'`.
        report: Words an error.
        operation: The operation.

    Returns:
        The operation's result.
    """
    job = call.owner or name
    title = name + _stack_of(call.owner)
    try:
        result = await operation()
    except (ProviderError, ResourceNotFinished) as end:
        error = end.error if isinstance(end, ResourceNotFinished) else end
        kind = type(error).__name__
        failed = Notice("failed", job, f"{title}: failed", report(error), kind)
        await _tell(call, failed)
        raise
    await _tell(call, Notice("done", job, f"{title}: done"))
    return result


async def _tell(call: EngineCall, notice: Notice) -> None:
    with suppress(SettingsError):
        shared = call.shared
        await tell_monitor(
            notice,
            call.settings(),
            shared.memory,
            call.listener.warn,
            clock=shared.clock,
        )


def _stack_of(urn: str | None) -> str:
    """The stack of a resource, in words; empty if it is not known."""
    owner = owner_of(urn)
    if owner is None or not is_resource(owner):
        return ""
    project, stack, *_ = owner.split("::")
    return f" of {project}/{stack}"
