"""Measures a client with a fleet of the standard scenario: its time, its requests and its mistakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from tests.simulation.fleet import each, fleet, limit_of, play, standard_durations
from tests.support.world import Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Self

    from pulumi_snapshots.listing.poll_plan import PollPlan
    from squarecloud_emulator import JournalEntry
    from tests.simulation.fleet import Fleet

__all__ = ["PARALLEL", "Client", "Measure", "Track", "measure", "ours"]

REQUESTS_PER_MINUTE = 30
PARALLEL = 64
LONGEST = 7 * 86400.0
"""Seconds after which a measurement ends; snapshots without a version count as unfinished."""
BLOCKS = {"list account": 300.0}
BLOCK = 1800.0
"""Seconds that a block lasts: for the kinds of requests in `BLOCKS`, and for all others."""


@dataclass(frozen=True)
class Client:
    """A client that takes snapshots.

    Attributes:
        name: shown in the results.
        begin: gets the fleet, and returns a function that takes a snapshot of a database and returns its version.
        parallel: how many snapshots it takes at a time.
    """

    name: str
    begin: Callable[[Fleet], Callable[[str], Awaitable[str]]]
    parallel: int


def ours(
    name: str = "this provider",
    parallel: int = PARALLEL,
    polls: Callable[..., PollPlan] | None = None,
    **settings: Any,
) -> Client:
    """This provider as a client.

    Args:
        name: shown in the results.
        parallel: how many snapshots it takes at a time.
        polls: the class of another poll plan.
        settings: the provider's settings.
    """

    def begin(here: Fleet) -> Callable[[str], Awaitable[str]]:
        session = here.session(requests_per_minute=REQUESTS_PER_MINUTE, **settings)
        if polls is not None:
            chosen = session.settings
            session.poll_plan = polls(
                session.listings, session.clock, first_poll_after=chosen.first_poll_after, poll_every=chosen.poll_every
            )

        async def take(database_id: str) -> str:
            record = await create(session, SnapshotInputs(database_id), Row(), database_id)
            return record.version_id or ""

        return take

    return Client(name, begin, parallel)


@dataclass(frozen=True)
class Track:
    """The times of one database, in seconds from the start.

    Attributes:
        posted: when its last accepted POST was sent.
        answered: when that POST was answered.
        ready: when its snapshot was ready.
        done: when the client got the version; None if it never did.
    """

    posted: float
    answered: float
    ready: float
    done: float | None


@dataclass
class Measure:
    """The result of a measurement.

    Attributes:
        client: the client's name.
        databases: the number of databases.
        makespan: seconds until the last snapshot was done.
        limit: the shortest possible makespan.
        limit_at_parallel: the shortest possible makespan with as many snapshots at a time as this client takes.
        requests: the number of requests of each kind.
        refused: the number of answers with status 429.
        blocked: seconds in which the account was blocked.
        wrong: the number of databases whose version is not that of their POST.
        lost: the number of accepted POSTs whose snapshot no client got.
        unfinished: the number of databases without a version after a week.
        tracks: the times of each database.
    """

    client: str
    databases: int
    makespan: float
    limit: float
    limit_at_parallel: float
    requests: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    blocked: float = 0.0
    wrong: int = 0
    lost: int = 0
    unfinished: int = 0
    tracks: list[Track] = field(default_factory=list)

    @property
    def requests_per_snapshot(self) -> float:
        return sum(self.requests.values()) / self.databases

    @classmethod
    def of(cls, client: Client, here: Fleet, durations: Sequence[float], done: dict[str, tuple[float, str]]) -> Self:
        """Compute the result from the service's journal (times from the start) and the client's versions."""
        journal = here.emulator.journal
        accepted: dict[str, list[JournalEntry]] = {}
        kinds: dict[str, int] = {}
        for entry in journal:
            kinds[entry.kind] = kinds.get(entry.kind, 0) + 1
            if entry.accepted:
                accepted.setdefault(entry.database_id or "", []).append(entry)
        finished = len(done) == len(durations)
        result = cls(
            client.name,
            len(durations),
            max(at for at, _ in done.values()) if finished else LONGEST,
            limit_of(durations),
            limit_of(durations, client.parallel),
            kinds,
            refused=sum(entry.status == 429 for entry in journal),
            unfinished=len(durations) - len(done),
        )
        result.blocked = blocked_seconds(journal, result.makespan)
        for database_id, seconds in zip(here.databases, durations, strict=True):
            posts = accepted.get(database_id, [])
            at, version = done.get(database_id, (None, None))
            right = version is not None and bool(posts) and version == posts[-1].version_id
            result.wrong += version is not None and not right
            result.lost += max(0, len(posts) - right)
            if posts:
                last = posts[-1]
                answered = last.monotonic
                if last.answered_at is not None:
                    answered += (last.answered_at - last.at).total_seconds()
                result.tracks.append(Track(last.monotonic, answered, last.monotonic + seconds, at))
        return result


def blocked_seconds(journal: Sequence[JournalEntry], end: float) -> float:
    """Seconds in which the account was blocked, from its answers."""
    total = until = 0.0
    for entry in journal:
        if entry.code == "RATE_LIMITED" and entry.monotonic >= until:
            until = entry.monotonic + BLOCKS.get(entry.kind, BLOCK)
            total += max(0.0, min(until, end) - entry.monotonic)
    return total


def measure(  # noqa: PLR0913
    client: Client,
    databases: int,
    *,
    seed: int = 1,
    cache_world: str = "invalidated",
    automatic: bool = False,
    durations: Sequence[float] | None = None,
    **service: Any,
) -> Measure:
    """Measure a client that takes a snapshot of each database, in virtual time."""
    seconds = standard_durations(databases, seed) if durations is None else durations

    async def run() -> Measure:
        chosen = {"requests_per_minute": REQUESTS_PER_MINUTE, "cache_world": cache_world, **service}
        async with fleet(seconds, seed=seed, automatic=automatic, **chosen) as here:
            take, done, begin = client.begin(here), dict[str, tuple[float, str]](), here.clock.monotonic()

            async def work(database_id: str) -> None:
                version = await take(database_id)
                done[database_id] = (here.clock.monotonic() - begin, version)

            with anyio.move_on_after(LONGEST):
                await each(work, here.databases, client.parallel)
            for entry in here.emulator.journal:
                entry.monotonic -= begin
            return Measure.of(client, here, seconds, done)

    result: Measure = play(run, seed=seed)
    return result
