"""When each database's last drill was passed, and each scratch database restored, as the runs of this machine, or of all, know it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors.outcomes import SharedStateUnavailable
from pulumi_snapshots.properties.catalogue import Moment, Record, declare

if TYPE_CHECKING:
    from pulumi_snapshots.shared_file import SharedFile

RESTORED = "restored"
"""The part of the file with the scratch databases."""
MOST = 1000
"""Databases that are remembered; those whose drills are the longest ago are forgotten."""
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)


class Drilled(Record):
    """What a drill has proved: this snapshot was restored, and its checks passed."""

    drilled_at: Moment = declare("When.")
    restore_seconds: float | None = declare("How long the restore took; absent if that is not known.", default=None)


class Drills:
    """The last drill of each database.

    Args:
        file: where they are remembered; without one they are not.
    """

    def __init__(self, file: SharedFile | None) -> None:
        self.file = file

    async def note(self, database_id: str, drilled: Drilled, version_id: str) -> None:
        """Remember a drill that has passed; one that is older than the last changes nothing. It may be lost: it is no proof."""

        def edit(content: dict[str, Any]) -> None:
            known = _read(content)
            if database_id in known and _time(known[database_id]) > _time(drilled):
                return
            content[database_id] = {**drilled.to_outputs(), "version_id": version_id}
            known[database_id] = drilled
            for each in sorted(known, key=lambda one: _time(known[one]))[:-MOST]:
                del content[each]

        if self.file is not None:
            with suppress(SharedStateUnavailable):
                await self.file.change(edit)

    async def note_restored(self, scratch_database_id: str, at: str) -> None:
        """Remember that a drill has restored a scratch database, so that no other drill takes its content for its own."""

        def edit(content: dict[str, Any]) -> None:
            times = {**_restored(content), scratch_database_id: at}
            content[RESTORED] = dict(sorted(times.items(), key=lambda each: parse_rfc3339(each[1]))[-MOST:])

        if self.file is not None:
            with suppress(SharedStateUnavailable):
                await self.file.change(edit)

    async def last_restored(self, scratch_database_id: str) -> str | None:
        """When a drill has last restored a scratch database, by the service's clock; None if that is not known."""
        if self.file is not None:
            with suppress(SharedStateUnavailable):
                return _restored(await self.file.read()).get(scratch_database_id)
        return None

    async def all(self) -> dict[str, Drilled]:
        """The last drill of each database by its id; none if they cannot be read."""
        if self.file is not None:
            with suppress(SharedStateUnavailable):
                return _read(await self.file.read())
        return {}


def _time(drilled: Drilled) -> float:
    return parse_rfc3339(drilled.drilled_at).timestamp()


def _restored(content: dict[str, Any]) -> dict[str, str]:
    """What can be read of the scratch databases' times."""
    known = {}
    with suppress(*UNREADABLE):
        for scratch, at in content.get(RESTORED, {}).items():
            with suppress(*UNREADABLE):
                parse_rfc3339(at)
                known[scratch] = at
    return known


def _read(content: dict[str, Any]) -> dict[str, Drilled]:
    """What can be read of it; the rest stays as it is."""
    known = {}
    for database_id, each in content.items():
        with suppress(*UNREADABLE):
            drilled = Drilled.from_outputs(each)
            _time(drilled)
            known[database_id] = drilled
    return known
