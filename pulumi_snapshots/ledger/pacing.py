"""The requests of the last minutes, of all runs with one account, and the blocks of the service.

It knows no limits: the rate limiter decides what the times mean.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeGuard, TypeVar

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors.outcomes import LedgerUnavailable
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import Document

T = TypeVar("T")
ACCOUNTS = "accounts"
AHEAD_HERE = "service_ahead"
"""The seconds that the service's clock was ahead of this machine's, in a ledger that only this machine uses."""
KEPT = 200.0
"""Seconds that a request is kept: longer than the longest limit, the 180 s of a database."""
LISTED_KEPT = 30 * 60.0
"""Seconds that the request of a database's listing is kept: as long as the service may serve the page that it brought."""
AHEAD = 10.0
"""Seconds that a request may seem to be in the future: it is entered a little before it leaves, by a clock that is unsure. A
later one is nonsense."""
LONGEST_BLOCK = 86400.0
"""Seconds: no setting lets a block last longer, so a later end is nonsense."""
FADES, LONGEST_TOOK = 0.8, 5.0
"""How fast a slow change is forgotten, and the longest one that is expected again, in seconds."""
PATIENCE = 5.0
"""Seconds that a read request waits for the ledger. After that it is sent with this process's own pacing."""
AGAIN_AFTER = 60.0
"""Seconds after which a ledger that failed a read request is tried again for one."""


@dataclass(frozen=True)
class Sent:
    """A request that is about to be sent.

    Attributes:
        lane: its kind.
        database_id: its database, if it has one.
        at: when it is sent (monotonic seconds); the limits count from then.
        lists: whether it requests the listing of its database.
    """

    lane: str
    database_id: str | None
    at: float
    lists: bool = False


def key_of(lane: str, database_id: str | None) -> str:
    """The name of a limit, of the account or of a database."""
    return lane if database_id is None else f"{lane} {database_id}"


def is_time(value: Any) -> TypeGuard[float]:
    """Whether a value in the ledger is a time, in seconds since 1970."""
    return isinstance(value, int | float) and 0 < value < 1e12  # noqa: PLR2004  a later one could overflow


_Request = list[Any]
"""A request in the ledger: when it was sent, and the run that sent it."""


class Pacing:
    """What was sent lately; times are monotonic seconds of this process.

    Args:
        clock: the time.
        ledger: shared with other runs; without one only this process counts.
        account: names the account in it.
        shares_blocks: whether runs know of each other's blocks.

    Attributes:
        blocks: when the block of each lane ends; of the whole account under an empty name.
        listed: when any run last requested the listing of a database.
        is_untold: whether this process has sent a request of which others cannot know, since it does not know the service's time.
        took: how long a change of the ledger takes at most, as far as the last ones show; seconds.
    """

    def __init__(self, clock: Clock, ledger: Ledger | None, account: str, *, shares_blocks: bool = True) -> None:
        self.blocks: dict[str, float] = {}
        self.listed: dict[str, float] = {}
        self.is_untold = False
        self.took = 0.0
        self._clock = clock
        self._ledger = ledger
        self._account = account
        self._shares_blocks = shares_blocks
        self._name = secrets.token_hex(4)
        self._requests: list[float] = []
        self._last: dict[str, float] = {}
        self._others: list[float] = []
        self._others_last: dict[str, float] = {}
        self._new_blocks: dict[str, float] = {}  # which the ledger does not have yet
        self._exchanging = anyio.Lock(fast_acquire=True)
        self._again_at = -math.inf

    # What others have sent, and what this process sends -------------------------------------------------------------------

    async def claim(self, decide: Callable[[Document], tuple[T, Sent | None]]) -> T:
        """Decide in one edit whether something is sent, and enter it there.

        Args:
            decide: decides on the document, and may change it; called again if another run was faster. Returns the decision,
                and what is sent by it, if anything.

        Raises:
            LedgerUnavailable: nothing may be sent.
        """

        def change(document: Document) -> tuple[T, Sent | None]:
            told.update(self._new_blocks)
            others = self._read(document)
            decision, sends = decide(document)
            self._write(document, sends, *others)
            return decision, sends

        async with self._exchanging:  # the next decision needs the result of this one
            began, told = self._clock.monotonic(), dict[str, float]()
            decision, sends = change({}) if self._ledger is None else await self._ledger.edit(change)
            self.took = min(max(self._clock.monotonic() - began, FADES * self.took), LONGEST_TOOK)
            if self._ledger is not None and self._ledger.clock.offset is not None:
                self._new_blocks = dict(self._new_blocks.items() - told.items())
                self.is_untold = False
            self._add(sends)
            return decision

    async def exchange(self, decide: Callable[[], Sent | None] = lambda: None) -> Sent | None:
        """Decide whether a read request is sent now; by this process's own pacing if the ledger cannot be used."""
        if self._clock.monotonic() >= self._again_at:
            with anyio.move_on_after(PATIENCE):
                try:
                    return await self.claim(lambda _: 2 * (decide(),))
                except LedgerUnavailable:
                    pass
            self._again_at = self._clock.monotonic() + AGAIN_AFTER
        sent = decide()
        self._add(sent)
        return sent

    def _add(self, sent: Sent | None) -> None:
        if sent is None:
            return
        self.is_untold |= self._ledger is not None and self._ledger.clock.offset is None
        self._requests = [*(at for at in self._requests if at > sent.at - KEPT), sent.at]
        self.note(sent.lane, None, sent.at)
        self.note(sent.lane, sent.database_id, sent.at)
        if sent.lists and sent.database_id is not None:
            self.listed[sent.database_id] = sent.at

    def note(self, lane: str, database_id: str | None, at: float) -> None:
        """Let a limit count from `at`, if that is later."""
        key = key_of(lane, database_id)
        self._last[key] = max(at, self._last.get(key, -math.inf))

    def forget(self, lane: str, database_id: str, at: float, *, earlier: float) -> None:
        """Let the limit of a database count from an earlier request again, if it counts from the one at `at`."""
        if self.own(lane, database_id) == at:
            self._last[key_of(lane, database_id)] = earlier

    def block(self, until: float, lane: str = "") -> None:
        """Note that the service refuses all requests until then, or those of one lane."""
        self.blocks[lane] = self._new_blocks[lane] = max(until, self.blocks.get(lane, -math.inf))

    async def forget_blocks(self) -> float:
        """Forget every block, and return when the last of them was to end; minus infinity if there was none."""
        ends: list[float] = []

        def forget(document: Document) -> tuple[None, None]:
            ends.extend(self.blocks.values())
            self.blocks.clear()
            self._new_blocks.clear()
            _account(document, self._account)["blocks"] = {}
            return None, None

        await self.claim(forget)
        return max(ends, default=-math.inf)

    # What is known ---------------------------------------------------------------------------------------------------------

    def own(self, lane: str, database_id: str | None = None) -> float:
        """When this process sent the last request, of the account or for a database; minus infinity for never."""
        return self._last.get(key_of(lane, database_id), -math.inf)

    def last(self, lane: str, database_id: str | None = None) -> float:
        """When any run sent the last request, of the account or for a database; minus infinity for never."""
        return max(self.own(lane, database_id), self._others_last.get(key_of(lane, database_id), -math.inf))

    @property
    def unsure(self) -> float:
        """How much later another run may see a request than the one that has sent it; seconds."""
        return 2 * self._ledger.clock.unsure if self._ledger else 0.0

    def was_own(self, lane: str) -> bool:
        """Whether this process sent the last request in a lane, and other runs sent requests lately."""
        return bool(self._others) and -math.inf < self.own(lane) >= self.last(lane)

    def since(self, begin: float) -> list[float]:
        """When each request after `begin` was sent, by any run, oldest first."""
        return sorted(at for at in (*self._requests, *self._others) if at > begin)

    def blocked_until(self, lane: str = "") -> float:
        """When the block of the account, or of one lane, ends; minus infinity if there was none."""
        return self.blocks.get(lane, -math.inf)

    # The document ----------------------------------------------------------------------------------------------------------

    @property
    def _shift(self) -> float:
        """Seconds from monotonic time to the service's."""
        if self._ledger is None:
            return 0.0
        return (self._ledger.clock.now() - datetime.fromtimestamp(0, UTC)).total_seconds() - self._clock.monotonic()

    def _read(self, document: Document) -> tuple[list[_Request], dict[str, _Request]]:
        """Learn from the document; return the requests of other runs that still count, and the last one of each limit."""
        if (
            self._ledger
            and not self._ledger.place.is_shared
            and isinstance(ahead := document.get(AHEAD_HERE), int | float)
        ):
            self._ledger.clock.assume(ahead)  # or blocks seem to be over until the first answer
        stored = _dict(_dict(document.get(ACCOUNTS)).get(self._account))
        now, shift = self._clock.monotonic(), self._shift
        # A time is written and read as late as it can have been.
        unsure = self._ledger.clock.unsure if self._ledger else 0.0

        def here(at: float) -> float:
            return min(at - shift + unsure, now)

        def counts(each: Any) -> bool:
            return _is_pair(each) and each[1] != self._name and now - KEPT < each[0] - shift < now + AHEAD

        found, known_last = stored.get("requests"), _dict(stored.get("last"))
        requests = [each for each in found if counts(each)] if isinstance(found, list) else []
        last = {key: each for key, each in known_last.items() if counts(each)}
        self._others = [here(at) for at, _ in requests]
        self._others_last = {key: here(at) for key, (at, _) in last.items()}
        for database_id, at in _dict(stored.get("listed")).items():
            if is_time(at):
                self.listed[database_id] = max(min(at - shift, now), self.listed.get(database_id, -math.inf))
        if self._shares_blocks:
            known = {lane: at - shift for lane, at in _dict(stored.get("blocks")).items() if is_time(at)}
            known = {lane: at for lane, at in known.items() if now < at < now + LONGEST_BLOCK}
            self.blocks = known | self._new_blocks
        return requests, last

    def _write(
        self, document: Document, sent: Sent | None, others: list[_Request], theirs: dict[str, _Request]
    ) -> None:
        clock = self._ledger.clock if self._ledger else None
        if clock is None or clock.offset is None:
            return  # the next request enters this one too, with a time that others know
        if self._ledger and not self._ledger.place.is_shared:
            document[AHEAD_HERE] = round(clock.offset)
        stored, now = _account(document, self._account), self._clock.monotonic()
        service = self._shift
        shift = service + clock.unsure
        own = [*self._requests, *([sent.at] if sent else [])]
        stored["requests"] = [*others, *([round(at + shift, 3), self._name] for at in own if at > now - KEPT)]
        last = dict(self._last)
        if sent is not None:
            last[key_of(sent.lane, None)] = last[key_of(sent.lane, sent.database_id)] = sent.at
        mine = {key: [round(at + shift, 3), self._name] for key, at in last.items() if at > now - KEPT}
        later = {key: each for key, each in theirs.items() if key not in mine or each[0] > mine[key][0]}
        stored["last"] = mine | later
        listed = self.listed | ({sent.database_id: sent.at} if sent and sent.lists and sent.database_id else {})
        listed = {database_id: at for database_id, at in listed.items() if at > now - LISTED_KEPT}
        stored["listed"] = {database_id: round(at + service, 3) for database_id, at in listed.items()}
        if self._shares_blocks:
            stored["blocks"] = {lane: round(at + service, 3) for lane, at in self.blocks.items() if at > now}


def accounts_in(document: Document) -> set[str]:
    """The names of the accounts whose requests a document has."""
    return {name for name, each in _dict(document.get(ACCOUNTS)).items() if _dict(each).get("requests")}


def blocks_in(document: Document, now: datetime) -> list[tuple[str, datetime]]:
    """Every block in a document that lasts at this time of the service: the account's name and its end."""
    accounts = _dict(document.get(ACCOUNTS)).items()
    ends = [(name, at) for name, each in accounts for at in _dict(_dict(each).get("blocks")).values() if is_time(at)]
    lasting = [(name, datetime.fromtimestamp(at, UTC)) for name, at in ends]
    return [(name, until) for name, until in lasting if now < until]


def _account(document: Document, account: str) -> dict[str, Any]:
    """What an account's requests have left; what no run has written like that counts as nothing."""
    document[ACCOUNTS] = accounts = _dict(document.get(ACCOUNTS))
    accounts[account] = stored = _dict(accounts.get(account))
    return stored


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and is_time(value[0])  # noqa: PLR2004  a time and a name
