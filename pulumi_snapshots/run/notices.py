"""What a run tells the monitor that the setting `notify` names, such as a channel of Discord."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import AnyMessage, Message
from pulumi_snapshots.late import late
from pulumi_snapshots.run.memory import RunMemory
from pulumi_snapshots.run.settings import Settings

if TYPE_CHECKING:  # speaks HTTP, which most runs need not
    from pulumi_snapshots.hosts.monitor import Monitor
    from pulumi_snapshots.hosts.monitor_message import Event

UNHEARD = "the URL of {notify} did not hear of this: {why}"
PLAN = "The end of the account's plan"


@dataclass(frozen=True)
class Notice:
    """What a monitor hears.

    Attributes:
        event: What has happened to the job.
        job: Names the job among all of this user, such as a URN.
        title: One line.
        text: Further text.
        kind: What makes a trouble of the job another one; the words of the text unless given.
    """

    event: Event
    job: str
    title: str
    text: str = ""
    kind: str = ""


async def tell_monitor(  # noqa: PLR0913  each is a fact of its own
    notice: Notice,
    settings: Settings,
    memory: RunMemory,
    warn: Callable[[AnyMessage], None],
    *,
    clock: Clock,
    monitor: Monitor | None = None,
) -> None:
    """Tell the monitor of the setting `notify`, if there is one, of what it has not heard yet.

    A monitor that does not hear it only causes a warning, one in a run, without its URL.

    Args:
        notice: What it hears.
        settings: The settings.
        memory: What the run remembers.
        warn: Shows the warning.
        clock: The process's clock.
        monitor: Sends the message; over the network unless it is given.
    """
    if settings.notify is None:
        return
    told: Any = late("hosts.monitor:TroubleMonitor")
    sends = monitor or late("hosts.monitor:Monitor")()
    troubles = told(settings.notify, settings.state_directory(), clock, sends)
    why = await troubles.tell(**vars(notice))
    if why and memory.is_first(UNHEARD):
        warn(Message(UNHEARD, why=why))
