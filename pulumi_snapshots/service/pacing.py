"""What runs know of each other's requests: how the ledger has it, and when the next request may leave by it. Nothing here waits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from pulumi_snapshots.ledger.place import Document
from pulumi_snapshots.service.limits import BUDGET_WINDOW, CREATE, RESTORE, Lane

ACCOUNTS = "accounts"
"""The ledger's key for what is remembered of each account here."""
LONGEST_BLOCK = 86400.0
"""Seconds: no setting lets a block last longer, so a later end is nonsense."""
KEPT = 200.0
"""Seconds that a request is kept: longer than the longest limit, the 180 s of a database."""
LISTED_KEPT = 30 * 60.0
"""Seconds that the request of a database's listing is kept: as long as the service may serve the page that it brought."""
AHEAD = 10.0
"""Seconds that a request may seem to be in the future: it is entered a little before it leaves, by a clock that is unsure. A
later one is nonsense."""
Time = Annotated[float, Field(gt=0, lt=1e12)]
"""Seconds since 1970, by the service's clock; a later one could overflow."""

Entry = tuple[Time, str, list[str], bool]
"""A request in the ledger: when it left, which run has sent it, its limits as in `Sent`, and a value that is not used any more."""


class Pacing(BaseModel):
    """What runs have entered in the ledger about one account.

    Attributes:
        sent: the requests that count.
        listed: when the listing of each database was requested last.
        blocks: when the block of each lane ends, of the whole account under an empty name.
    """

    sent: list[Entry] = []
    listed: dict[str, Time] = {}
    blocks: dict[str, Time] = {}

    def current(self, now: float, run: str) -> Pacing:
        """What still counts at this time, without the requests of one run, which knows them better."""
        return Pacing(
            sent=[each for each in self.sent if each[1] != run and now - KEPT < each[0] < now + AHEAD],
            listed={name: min(at, now) for name, at in self.listed.items() if at > now - LISTED_KEPT},
            blocks={lane: at for lane, at in self.blocks.items() if now < at < now + LONGEST_BLOCK},
        )


def pacings(document: Document) -> dict[str, Pacing]:
    """What a document has of each account; without an account of which no run has written it like that."""
    there, found = document.get(ACCOUNTS), dict[str, Pacing]()
    for account, part in there.items() if isinstance(there, dict) else ():
        with suppress(ValidationError):
            found[account] = Pacing.model_validate(part)
    return found


def blocks_in(document: Document, now: datetime) -> list[tuple[str, datetime]]:
    """Every block in a document that lasts at this time of the service: the account's name and its end."""
    ends = [(name, at) for name, each in pacings(document).items() for at in each.blocks.values()]
    return [(name, datetime.fromtimestamp(at, UTC)) for name, at in ends if at > now.timestamp()]


class Sent(NamedTuple):
    """A request that counts: when it leaves, and the names of the spacings that count from it."""

    at: float
    limits: list[str]


class Slots:
    """When requests may leave, by all that have been sent and the account's block; all times are seconds of one clock.

    Args:
        sent: the requests that count.
        blocked_until: when the account's block ends.
        budget: the most requests in any minute.
        waiting: for each request that waits, whether it starts something. While both kinds wait, each leaves to the other what
            that can use, up to half of the budget.
    """

    def __init__(self, sent: Iterable[Sent], blocked_until: float, budget: int, waiting: list[bool]) -> None:
        sent = sorted(sent)
        self._last = {limit: each.at for each in sent for limit in each.limits}
        self._free = dict[bool, float]()
        for starts in (True, False):
            same = [at for at, limits in sent if starts is not {CREATE.name, RESTORE.name}.isdisjoint(limits)]
            share = budget - min(waiting.count(not starts), budget // 2)
            self._free[starts] = max(blocked_until, _frees([at for at, _ in sent], budget), _frees(same, share))

    def free(self, lane: Lane, database_id: str | None) -> float:
        """When the next request of a lane may leave."""
        account = self._last.get(lane.name, -math.inf) + lane.per_account
        return max(account, self.cooldown(lane, database_id), self._free[lane.starts])

    def cooldown(self, lane: Lane, database_id: str | None) -> float:
        """When the spacing between two requests of a database ends."""
        return self._last.get(f"{lane.name} {database_id}", -math.inf) + lane.per_database


def _frees(times: list[float], most: int) -> float:
    return times[-most] + BUDGET_WINDOW if len(times) >= most else -math.inf
