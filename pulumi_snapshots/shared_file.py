"""What several processes remember together: one JSON object, which each reads, and changes only as it then is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
AGAIN_AFTER = 60.0
"""Seconds after which a place that failed is tried again for what can do without: each try may take as long as its time-outs."""


class SharedFile(Protocol):
    """A JSON object that several processes read and change; one that does not exist yet is empty.

    Attributes:
        trouble: why it is unusable, for a warning; empty if it is usable.
        damage: why the content was lost, for a warning; empty if it was not lost.
    """

    trouble: str
    damage: str

    async def ready(self) -> None:
        """Make sure, before something is sent, that the object can be read and changed.

        Raises:
            SharedStateUnavailable: several machines share it, and it cannot be used.
        """

    def now(self) -> float:
        """Seconds since 1970 by the clock that all its processes go by; for an `edit`, or after `ready`."""

    async def read(self) -> dict[str, Any]:
        """Read the object.

        Raises:
            SharedStateUnavailable: several machines share it, and it cannot be read.
        """

    async def change(self, edit: Callable[[dict[str, Any]], T], *, durable: bool = False) -> T:
        """Read the object, let `edit` change it in place, and write it unless another process has written it meanwhile.

        In that case all begins again. So `edit` may be called several times: it must not wait, and nothing but its last
        result may have an effect. That is returned when the content is written.

        Args:
            edit: changes the object.
            durable: whether what was written must outlive the end of the machine.

        Raises:
            SharedStateUnavailable: several machines share it, and it cannot be written.
        """
