"""What runs with one account know of each other's requests, in this process and the ledger."""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import anyio

from pulumi_snapshots.clock import Clock, Stamp
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import AHEAD_HERE, Document
from pulumi_snapshots.service.pacing import (
    ACCOUNTS,
    REQUEST_KEPT,
    OwnRequest,
    Pacing,
    QueuedRequest,
    ReservedRead,
    Sent,
    Traffic,
    pacing_of,
)

T = TypeVar("T")
EDIT_FADES = 0.8
"""How fast a slow edit of the ledger is forgotten."""
LONGEST_EDIT = 5.0
"""The most seconds that an edit of the ledger is expected to take."""
LEDGER_RETRIED = 60.0
"""Seconds after which a ledger that failed for a read is tried again for another read."""


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A decision within an edit, and what the edit enters because of it.

    Attributes:
        result: The decision.
        sent: A request that leaves; None for none.
        departs: The earlier form of `sent`, which the edit leaves out; None for a new request.
        reserved: The reads that are reserved from now on; None changes nothing.
    """

    result: T
    sent: OwnRequest | None = None
    departs: OwnRequest | None = None
    reserved: tuple[ReservedRead, ...] | None = None

    @property
    def is_news(self) -> bool:
        """Whether there is anything to enter."""
        return self.sent is not None or self.reserved is not None


NO_ENTRY = Entry(None)


class _Others(NamedTuple):
    """What the ledger has of other runs.

    Attributes:
        stored: As it is stored, by the service's time.
        known: The same by this process's time.
        ahead: The seconds that the service's time, since 1970, is ahead of this process's.
    """

    stored: Pacing
    known: Pacing
    ahead: float


@dataclass(frozen=True)
class _Edited(Generic[T]):
    """What one edit of the ledger has read and written.

    Attributes:
        others: What other runs have sent, and the blocks, by this process's time.
        entry: What was decided; None for nothing.
        limits: Those of this process's requests as the ledger has them now; None if it has none,
            since the service's time is not known.
        blocks: The blocks of this process that the ledger has now.
        reserved_at: When reads were reserved, also by the clocks that see a pause of the machine;
            None if none were.
    """

    others: Pacing
    entry: Entry[T] | None = None
    limits: dict[OwnRequest, list[str]] | None = None
    blocks: dict[str, float] = field(default_factory=dict)
    reserved_at: tuple[float, Stamp] | None = None


Decide = Callable[[Document, Traffic], Entry[T] | None]
"""Decides within an edit, from the document and the traffic; None if nothing is decided yet."""


class SharedPacing:
    """The requests of an account: this process's, and those of other runs in the ledger.

    Args:
        clock: The process's clock.
        ledger: The ledger.
        account: Names the account in the ledger.
        budget: The requests that all runs may send in a minute.
        waiting: The requests that wait in this process, at any time.

    Attributes:
        edit_takes: Seconds that an edit of the ledger takes at most, as far as the last ones show.
    """

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        account: str,
        *,
        budget: int,
        waiting: Sequence[QueuedRequest],
    ) -> None:
        self.edit_takes = 0.0
        self._clock = clock
        self._ledger = ledger
        self._account = account
        self._budget = budget
        self._waiting = waiting
        self._run = secrets.token_hex(4)
        self._own: list[OwnRequest] = []
        self._reserved: tuple[ReservedRead, ...] = ()
        # When the reads were reserved, by two clocks: monotonic time stands still while the
        # machine is paused.
        self._reserved_at = -math.inf, clock.stamp()
        self._own_blocks: dict[
            str, float
        ] = {}  # blocks that the ledger does not have yet
        self._others = Pacing()
        self._using_ledger = anyio.Lock(fast_acquire=True)
        self._failed_until = -math.inf

    # What is known --------------------------------------------------------------------------------

    @property
    def is_usable(self) -> bool:
        """Whether the ledger can be used for reads, as far as the last try shows."""
        return self._clock.monotonic() >= self._failed_until

    @property
    def blocks(self) -> dict[str, float]:
        """When the block of each lane ends, of the whole account under an empty name."""
        return self._others.blocks | self._own_blocks

    @property
    def traffic(self) -> Traffic:
        """The traffic, as far as this process knows it."""
        return self._traffic(self._others)

    def _traffic(self, others: Pacing) -> Traffic:
        clock = self._ledger.clock
        posts = sum(each.lane.starts for each in self._waiting)
        return Traffic(
            now=self._clock.monotonic(),
            budget=self._budget,
            others=others.sent,
            own=self._own,
            reserved=self._still_reserved(),
            waiting_posts=posts,
            waiting_reads=len(self._waiting) - posts,
            unsure=clock.unsure,
            blocks=others.blocks | self._own_blocks,
            knows_time=clock.offset is not None,
        )

    def _still_reserved(self) -> tuple[ReservedRead, ...]:
        """The reserved reads whose time is not over, also by the clocks that see a pause."""
        if not self._reserved:
            return ()
        at, stamp = self._reserved_at
        passed = max(self._clock.age_of(stamp), self._clock.monotonic() - at)
        return tuple(each for each in self._reserved if at + passed < each.closes)

    # What this process does -----------------------------------------------------------------------

    def note_sent(self, sent: OwnRequest) -> None:
        """Note a request that the ledger lacks, or that takes the place of the first reserved read.

        Args:
            sent: The request.
        """
        if sent.is_entered:
            self._reserved = self._still_reserved()[1:]
        oldest = self._clock.monotonic() - REQUEST_KEPT
        self._own = [*(each for each in self._own if each.at > oldest), sent]

    def note_block(self, name: str, until: float) -> None:
        """Note a block of a lane, or of the whole account under an empty name.

        Args:
            name: The lane; empty for the whole account.
            until: When the block ends.
        """
        self._own_blocks[name] = until

    async def forget_blocks(self) -> float:
        """Let all runs forget every block.

        Returns:
            When the longest block was to end, in monotonic seconds; 0 if there was no block.
        """
        await self.edit(_nothing)
        longest = max(self.blocks.values(), default=0.0)
        self._others = self._others.model_copy(update={"blocks": {}})
        self._own_blocks = {}
        await self._ledger.edit(
            lambda document: (
                document.get(ACCOUNTS, {}).get(self._account, {}).pop("blocks", None)
            )
        )
        return longest

    # The ledger -----------------------------------------------------------------------------------

    async def exchange(self) -> None:
        """Share with other runs what they must know and the ledger lacks, if it can be used."""
        async with self.for_reads():
            if self.is_usable and (self._own_blocks or self.traffic.must_be_entered):
                await self.edit_alone(_nothing)

    async def reserve_place(self) -> None:
        """Reserve a place for a request that waits for the budget, if the ledger can be used."""
        async with self.for_reads():
            await self.edit_alone(_reserved_place)

    @asynccontextmanager
    async def for_reads(self) -> AsyncIterator[None]:
        """Use the ledger alone while the body runs; if it fails, this process's own pacing serves.

        Yields:
            Nothing.
        """
        async with self._using_ledger:
            try:
                yield
            except LedgerUnavailable:
                self._failed_until = self._clock.monotonic() + LEDGER_RETRIED

    async def look(self) -> None:
        """Read what other runs have sent, without an edit.

        Raises:
            LedgerUnavailable: The ledger cannot be read.
        """
        self._others = self._others_in(await self._looked()).known

    async def _looked(self) -> Document:
        """Read the ledger's document, and its time if the service has shown none."""
        document = await self._ledger.look()
        if not self._ledger.place.is_shared:
            # Without a time, blocks would seem to be over until the first answer.
            self._ledger.clock.assume(document.get(AHEAD_HERE))
        return document

    def _others_in(self, document: Document) -> _Others:
        """What a document has of other runs."""
        clock = self._ledger.clock
        now = clock.now().timestamp()
        ahead = now - self._clock.monotonic()
        pacing = pacing_of(self._account, document, self._ledger)
        stored = pacing.current(now, without=self._run)
        return _Others(stored, stored.moved(-ahead, clock.unsure), ahead)

    async def edit(self, decide: Decide[T]) -> Entry[T] | None:
        """Share in one edit of the ledger what this process knows and what it decides.

        Args:
            decide: Called again if another run was faster, so that it must have no effect but its
                result and the document.

        Returns:
            The last result of `decide`.

        Raises:
            LedgerUnavailable: The ledger cannot be read or written.
        """
        async with self._using_ledger:  # the next decision needs this result
            return await self.edit_alone(decide)

    async def edit_alone(self, decide: Decide[T]) -> Entry[T] | None:
        """Do the same as `edit` in `for_reads`.

        Args:
            decide: See `edit`.

        Returns:
            See `edit`.
        """
        if self._ledger.clock.offset is None:
            await self._looked()
        began = self._clock.monotonic()
        edited = await self._ledger.edit(partial(self._edited, decide))
        takes = self._clock.monotonic() - began
        self.edit_takes = min(max(takes, EDIT_FADES * self.edit_takes), LONGEST_EDIT)
        self._keep(edited)
        return edited.entry

    def _edited(self, decide: Decide[T], document: Document) -> _Edited[T]:
        """Change a document in an edit; nothing else changes, since the edit may be made again."""
        others = self._others_in(document)
        traffic = self._traffic(others.known)
        decided = decide(document, traffic)
        # While the service's time is unknown, an entry that seems to be over may still count.
        if not traffic.knows_time:
            return _Edited(others.known, decided)
        entry = decided or NO_ENTRY
        is_news = bool(self._own_blocks) or entry.is_news or self._lacks_own
        own = self._own_with(entry)
        if is_news:
            reserved = traffic.reserved if entry.reserved is None else entry.reserved
            requests = [*own, *(OwnRequest(each.closes) for each in reserved)]
            self._write(document, others, requests)
        return _Edited(
            others.known,
            decided,
            {each: each.limits for each in own},
            dict(self._own_blocks),
            (traffic.now, self._clock.stamp()) if entry.reserved else None,
        )

    def _own_with(self, entry: Entry[Any]) -> list[OwnRequest]:
        """This process's requests once something is entered."""
        own = [each for each in self._own if each is not entry.departs]
        return own if entry.sent is None else [*own, entry.sent]

    @property
    def _lacks_own(self) -> bool:
        """Whether the ledger lacks some of this process's requests."""
        return not all(each.is_entered for each in self._own)

    def _write(
        self, document: Document, others: _Others, own: list[OwnRequest]
    ) -> None:
        """Write this process's requests and blocks into a document, beside those of other runs."""
        clock = self._ledger.clock
        mine = Pacing.model_construct(
            sent=[Sent(each.at, self._run, each.limits) for each in own],
            blocks=self._own_blocks,
        ).moved(others.ahead, clock.unsure)
        pacing = Pacing.model_construct(
            sent=others.stored.sent + mine.sent,
            blocks=others.stored.blocks | mine.blocks,
        )
        document.setdefault(ACCOUNTS, {})[self._account] = pacing.model_dump()
        if not self._ledger.place.is_shared and clock.offset is not None:
            document[AHEAD_HERE] = round(clock.offset)

    def _keep(self, edited: _Edited[Any]) -> None:
        """Keep what an edit has read and written."""
        # The ledger has these blocks now; once it forgets them, so does this process.
        blocks = edited.others.blocks | edited.blocks
        self._others = edited.others.model_copy(update={"blocks": blocks})
        self._own_blocks = dict(self._own_blocks.items() - edited.blocks.items())
        entry = edited.entry or NO_ENTRY
        if entry.sent is not None:
            if entry.departs is None:
                self.note_sent(entry.sent)
            else:
                entry.departs.leave_again(entry.sent)
        if edited.limits is None:
            return
        for each in self._own:
            if edited.limits.get(each) is each.limits:
                each.is_entered = True
        if entry.reserved is not None:
            self._reserved = entry.reserved
        if edited.reserved_at is not None:
            self._reserved_at = edited.reserved_at


def _nothing(_document: Document, _traffic: Traffic) -> None:
    """Decide nothing, in an edit that only shares what is known."""


def _reserved_place(_document: Document, traffic: Traffic) -> Entry[None]:
    """Reserve a place for a request that waits for the budget, in an edit."""
    reserved = traffic.reserve(None, waiting=traffic.waiting_reads, at_least=1)
    return Entry(None, reserved=reserved)
