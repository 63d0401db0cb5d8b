"""The last passed drill of each database, as the ledger has it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.properties.catalogue import Moment, Record, declare

if TYPE_CHECKING:
    from pulumi_snapshots.ledger.ledger import Ledger

DRILLS = "drills"
"""The part of the ledger with them."""
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
        ledger: where they are remembered.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def note(self, database_id: str, drilled: Drilled, version_id: str) -> None:
        """Remember a drill that has passed; one that is older than the last changes nothing. It may be lost: it is no proof."""

        def edit(document: dict[str, Any]) -> None:
            known = _read(content := document.get(DRILLS))
            content = document[DRILLS] = content if isinstance(content, dict) else {}
            if database_id in known and _time(known[database_id]) > _time(drilled):
                return
            content[database_id] = {**drilled.to_outputs(), "version_id": version_id}
            known[database_id] = drilled
            for each in sorted(known, key=lambda one: _time(known[one]))[:-MOST]:
                del content[each]

        with suppress(LedgerUnavailable):
            await self._ledger.edit(edit)

    async def all(self) -> dict[str, Drilled]:
        """The last drill of each database by its id; none if they cannot be read."""
        with suppress(LedgerUnavailable):
            return _read((await self._ledger.read()).get(DRILLS))
        return {}


def _time(drilled: Drilled) -> float:
    return parse_rfc3339(drilled.drilled_at).timestamp()


def _read(content: Any) -> dict[str, Drilled]:
    """What can be read of it; the rest stays as it is."""
    known = {}
    for database_id, each in content.items() if isinstance(content, dict) else ():
        with suppress(*UNREADABLE):
            drilled = Drilled.from_outputs(each)
            _time(drilled)
            known[database_id] = drilled
    return known
