"""What is known of each database's snapshots, archives and drills, and whether that is enough.

Ages are counted from the time of each snapshot, never from that of the page that shows it, and by
whichever clock is later, the service's or this machine's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from pulumi_snapshots.archive.manifest import Manifest
from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.archive.shelf import Shelved, shelved
from pulumi_snapshots.cli.terminal.account import (
    AccountPage,
    databases_of_account,
    snapshots_of_databases,
)
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.whole_ids import whole_database
from pulumi_snapshots.clock import parse_rfc3339, to_the_second
from pulumi_snapshots.drill.last import last_drills
from pulumi_snapshots.drill.record import DrillRecord
from pulumi_snapshots.errors import LedgerUnavailable, ProviderError
from pulumi_snapshots.errors.secrets import shown_file
from pulumi_snapshots.guard.book import KEPT_BY_RESTORE, Guarded, consult
from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.listing.listings import CLOCK_ROOM
from pulumi_snapshots.properties.catalogue import Duration, Inputs, Record, declare
from pulumi_snapshots.properties.checks import RETENTION, duration, spoken
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import Patience
from pulumi_snapshots.service.errors import NotAllowed
from pulumi_snapshots.service.models import ListedSnapshot
from pulumi_snapshots.snapshot.read import newest as newest_of
from pulumi_snapshots.snapshot.record import ORIGIN, SnapshotRecord
from pulumi_snapshots.storage.destination import Destination, place_text

USUAL = 26 * 3600.0
"""Seconds: a day, and two hours in which the next snapshot is taken and listed."""
PERIOD = timedelta(seconds=RETENTION)
"""The period of the longest gap, unless another is asked for: the service keeps a snapshot as long.
"""
BRIEF_PATIENCE = Patience((1.0,), within=5.0)
"""How long a service that does not answer is asked again, so that cron hears of it within 15 s."""
_up_to_retention = duration(
    most=RETENTION, because="the service keeps no snapshot longer"
)
_up_to_ten_years = duration(most=10 * 365 * 86400.0)


class AgeLimits(Inputs):
    """How old things may be, in seconds."""

    max_age: Duration = declare(
        "How old the newest snapshot may be; 26h by default.",
        default=USUAL,
        read=_up_to_retention,
    )
    max_archive_age: Duration | None = declare(
        "How old the newest archive's snapshot may be.",
        default=None,
        read=_up_to_ten_years,
    )
    origin: str | None = declare(
        "Only snapshots of this origin count.",
        default=None,
        read=ORIGIN.read,
        choices=ORIGIN,
    )
    max_drill_age: Duration | None = declare(
        "How long ago the last drill may be.", default=None, read=_up_to_ten_years
    )


@dataclass(frozen=True)
class Gap:
    """A time without a new snapshot of a database: what its loss would have cost at its end."""

    since: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.until - self.since).total_seconds()


def longest_gap(
    taken: Iterable[datetime], start: datetime, now: datetime
) -> Gap | None:
    """Find the longest gap that ends in a period.

    A gap lies between two snapshots that follow each other, of which the first can be older than
    the period, or between the newest snapshot and the present.

    Args:
        taken: When each snapshot was taken. What lies in the future does not count.
        start: The beginning of the period.
        now: Its end.

    Returns:
        The gap; None without a snapshot.
    """
    known = sorted(each for each in taken if each <= now)
    before = [each for each in known if each < start]
    ends = [*before[-1:], *known[len(before) :], now]
    gaps = [Gap(*two) for two in pairwise(ends)]
    return max(gaps, key=lambda gap: gap.seconds, default=None)


@dataclass(frozen=True)
class DatabaseHealth:
    """What is known of one database; times are RFC 3339, None for what there is not."""

    id: str
    name: str | None
    problems: Sequence[str]
    """What is not certainly recent enough."""
    snapshot: SnapshotRecord | None
    """The newest good snapshot."""
    archive: str | None
    """The URI of the archive with the newest snapshot."""
    drill: Drilled | None
    """The last drill that passed."""
    guarded: Guarded | None
    """The snapshot from before the last guarded change."""
    kept: Guarded | None
    """The snapshot of what the last restore has overwritten."""
    pending_since: str | None
    """When the snapshot was requested that is not listed yet."""
    times: Mapping[str, str | None]
    """When the `snapshot`, the `archive`'s snapshot and the `drill` were made."""
    ages: Mapping[str, float | None]
    """The seconds since then."""
    gap: Gap | None
    """The longest time of the period without a new snapshot."""
    known_since: datetime | None
    """When the oldest snapshot was taken of which anything is known."""

    @property
    def recovery_seconds(self) -> float | None:
        """How long the last drill that passed took, from its request to its last check."""
        return self.drill.recovery_seconds if self.drill else None

    def fields(self) -> dict[str, Any]:
        """Return what programs read of the database."""
        return {
            "id": self.id,
            "name": self.name,
            "ok": not self.problems,
            "problems": self.problems,
            "before_last_change": self.guarded and self.guarded.id,
            "before_last_restore": self.kept and self.kept.id,
            "snapshot": self.snapshot and self.snapshot.id,
            "archive": self.archive,
            "pending_since": self.pending_since,
            "snapshot_created_at": self.times["snapshot"],
            "archive_created_at": self.times["archive"],
            "drilled_at": self.times["drill"],
            **{f"{kind}_age": seconds for kind, seconds in self.ages.items()},
            "longest_gap": self.gap and self.gap.seconds,
            "recovery_seconds": self.recovery_seconds,
        }


@dataclass(frozen=True)
class Findings:
    """What `status` has found."""

    page: AccountPage
    """The account's snapshots as they were listed; empty if the service was not asked."""
    databases: Sequence[DatabaseHealth]
    plan_ends: datetime | None
    """When the account's plan ends; None if the service does not say so, or not to this key."""
    evidence: Evidence
    """What the findings rest on."""
    shelf: Sequence[Shelved]
    """All archives, also those that are not good."""

    @property
    def bad(self) -> list[DatabaseHealth]:
        """The databases with a problem."""
        return [each for each in self.databases if each.problems]


@dataclass(frozen=True)
class Evidence:
    """What the account, the archives and the ledger say of all databases."""

    limits: AgeLimits
    page: AccountPage | None
    """The account's snapshots as they were listed; None if the service was not asked."""
    names: Mapping[str, str | None] | None
    """The account's databases with their names; None if the key may not list them."""
    now: datetime
    """The later one of the service's and this machine's time."""
    since: datetime
    """The beginning of the period."""
    archives: Sequence[tuple[Manifest, str]]
    """The good archives, each with its URI."""
    guarded: Sequence[Guarded]
    """The snapshots of guards, newest first."""
    attempts: Sequence[Attempt]
    last_drills: Mapping[str, Drilled]
    records: Sequence[Record]
    """What states hold of resources."""

    @property
    def databases(self) -> set[str]:
        """All databases that archives, the ledger and states are about."""
        archived = {manifest.database_id for manifest, _ in self.archives}
        guarded = {each.database_id for each in self.guarded}
        stated = {str(vars(each).get("database_id") or "") for each in self.records}
        return {
            each for each in archived | guarded | stated | {*self.last_drills} if each
        }

    async def of_database(self, session: Session, database_id: str) -> DatabaseHealth:
        """Judge one database.

        Args:
            session: The service, which describes the newest snapshot.
            database_id: The database, whole.

        Returns:
            The findings about the database.

        Raises:
            CannotTell: The listing does not show when the newest snapshot was taken.
        """
        snapshot = await self._newest_snapshot(session, database_id)
        archives = [
            (each, uri)
            for each, uri in self.archives
            if each.database_id == database_id
        ]
        drill = self._last_drill(database_id, archives)
        archived_at = {
            each.created_at: uri for each, uri in archives if each.created_at
        }
        newest = max(archived_at, key=parse_rfc3339, default="")
        times = {
            "snapshot": snapshot.created_at if snapshot else None,
            "archive": newest or None,
            "drill": drill.drilled_at if drill else None,
        }
        ages = {kind: self._age(at) for kind, at in times.items()}
        taken = self._taken(database_id, archived_at)
        is_undated = bool(archives) and not newest
        return DatabaseHealth(
            id=database_id,
            name=self._name(database_id),
            problems=list(self._problems(database_id, ages, is_undated=is_undated)),
            snapshot=snapshot,
            archive=archived_at.get(newest),
            drill=drill,
            guarded=self._last_guarded(database_id, by_restore=False),
            kept=self._last_guarded(database_id, by_restore=True),
            pending_since=self._pending_since(database_id, times["snapshot"]),
            times=times,
            ages=ages,
            gap=longest_gap(taken, self.since, self.now),
            known_since=min(taken, default=None),
        )

    def _taken(self, database_id: str, archived_at: Iterable[str]) -> list[datetime]:
        """List when the snapshots that count were taken."""
        listed = [each.modified for each in self.listed(database_id) if each.size != 0]
        taken = [each for each in listed if each is not None]
        if (
            self.limits.origin is None
        ):  # manifests do not say of which origin a snapshot is
            taken += [parse_rfc3339(each) for each in archived_at]
        for each in self.records:
            if isinstance(each, SnapshotRecord) and each.database_id == database_id:
                is_counted = (
                    self.limits.origin in {None, each.origin} and each.size != 0
                )
                taken += (
                    [parse_rfc3339(each.created_at)]
                    if each.created_at and is_counted
                    else []
                )
        return taken

    def listed(self, database_id: str) -> list[ListedSnapshot]:
        """List the snapshots at the service that count.

        Args:
            database_id: The database.

        Returns:
            The snapshots; none if the service was not asked.
        """
        entries = self.page.of_each.get(database_id, {}).values() if self.page else ()
        return [each for each in entries if self.limits.origin in {None, each.origin}]

    async def _newest_snapshot(
        self, session: Session, database_id: str
    ) -> SnapshotRecord | None:
        """Describe the newest good snapshot that counts."""
        entries = self.listed(database_id)
        return await newest_of(session, database_id, entries, may_be_empty=False)

    def _last_drill(
        self, database_id: str, archives: Iterable[tuple[Manifest, str]]
    ) -> Drilled | None:
        """Find the last drill that archives or this machine's runs have noted."""
        proofs = [manifest.drill for manifest, _ in archives]
        proofs.append(self.last_drills.get(database_id))
        for each in self.records:
            good = each.last_good if isinstance(each, DrillRecord) else None
            if good and good.database_id == database_id:
                proofs.append(Drilled.from_outputs(good.to_outputs()))
        known = [each for each in proofs if each]
        return max(
            known, key=lambda proof: parse_rfc3339(proof.drilled_at), default=None
        )

    def _name(self, database_id: str) -> str | None:
        return self.names.get(database_id) if self.names else None

    def _age(self, at: str | None) -> float | None:
        return (self.now - parse_rfc3339(at)).total_seconds() if at else None

    def _problems(
        self, database_id: str, ages: Mapping[str, float | None], *, is_undated: bool
    ) -> Iterator[str]:
        """Say what is not certainly recent enough."""
        limits = self.limits
        if self.names is not None and database_id not in self.names:
            yield "the account has no such database"
        elif self.page is None:
            yield "whether the service has a recent snapshot is not known"
        else:
            snapshot = f"{limits.origin} snapshot" if limits.origin else "snapshot"
            yield from _too_old(ages["snapshot"], limits.max_age, "newest", snapshot)
        archive = "archive of a known age" if is_undated else "archive"
        yield from _too_old(ages["archive"], limits.max_archive_age, "newest", archive)
        yield from _too_old(
            ages["drill"], limits.max_drill_age, "last", "drill that passed"
        )

    def _last_guarded(self, database_id: str, *, by_restore: bool) -> Guarded | None:
        """Find the snapshot from before the last change that has happened, or the last restore."""
        for each in self.guarded:
            is_wanted = (each.guard == KEPT_BY_RESTORE) is by_restore
            if (
                is_wanted
                and each.database_id == database_id
                and each.id
                and each.changed_at
            ):
                return each
        return None

    def _pending_since(self, database_id: str, taken_at: str | None) -> str | None:
        """Say when the last pending snapshot was requested that is newer than `taken_at`."""
        requested = []
        for each in self.attempts:
            is_waited_for = not each.is_over and self.now < each.waited_for_until
            if (
                each.kind != "snapshot"
                or each.database_id != database_id
                or not is_waited_for
            ):
                continue
            if not taken_at or parse_rfc3339(taken_at) < each.request.requested:
                requested.append(to_the_second(each.request.posted_at))
        return max(requested, default=None)


@dataclass
class Examination:
    """Gathers what is known of databases, for `status` and `report`.

    Attributes:
        invocation: The command, which shows its progress.
        session: The service and the ledger.
        limits: How old things may be.
        places: The places of archives.
        since: The beginning of the period; None for 30 days ago.
        records: What states hold of resources.
        troubles: Gets a sentence for each source that cannot be read; None to raise its error.
    """

    invocation: Invocation
    session: Session
    limits: AgeLimits
    places: Sequence[Destination]
    since: datetime | None = None
    records: Sequence[Record] = ()
    troubles: list[str] | None = None

    @contextmanager
    def reading(self, unknown: str) -> Iterator[None]:
        """Read a source in the body.

        Args:
            unknown: What is not known if it cannot be read, as a clause.

        Yields:
            Nothing.
        """
        try:
            yield
        except ProviderError as error:
            if self.troubles is None:
                raise
            why = self.invocation.wording.text(error.happened).rstrip(".")
            self.troubles.append(f"{unknown}: {why}.")

    async def examine(self, typed: Sequence[str]) -> Findings:
        """Judge each database that is typed, or all that are known.

        Args:
            typed: The databases as they are typed; none for all.

        Returns:
            What was found.

        Raises:
            UnclearId: What was typed names no single database.
            NotAllowed: The key may not list what must be listed.
        """
        session = self.session
        # Silently: cron would mail it.
        wanted = [await whole_database(session, each) for each in typed]
        account = _Account()
        with self.reading(
            "the service was not asked which snapshots and databases there are"
        ):
            await self._ask_service(wanted, account)
        shelf = await self._archives()
        guarded, attempts = await self._noted()
        good = [
            (each.manifest, each.uri)
            for each in shelf
            if each.manifest and each.is_good
        ]
        # By the earlier clock, what is old could seem young.
        now = max(session.service_clock.now(), session.clock.utc())
        evidence = Evidence(
            limits=self.limits,
            page=account.page,
            names=account.names,
            now=now,
            since=self.since or now - PERIOD,
            archives=good,
            guarded=guarded,
            attempts=attempts,
            last_drills=await last_drills(session.ledger),
            records=self.records,
        )
        chosen = wanted or account.names or ()
        if not wanted and self.troubles is not None:
            chosen = [*chosen, *sorted(evidence.databases)]
        healths = list[DatabaseHealth]()
        for database_id in dict.fromkeys(chosen):
            with self.reading(f"what database {database_id} has is not known"):
                healths.append(await evidence.of_database(session, database_id))
        page = account.page or AccountPage({}, 0.0, kept=False)
        return Findings(page, healths, account.plan_ends, evidence, shelf)

    async def _ask_service(self, wanted: Sequence[str], account: _Account) -> None:
        """Ask for the account, its databases and their snapshots."""
        await check_answers(self.session)
        listings = self.session.listings
        try:
            databases = await databases_of_account(self.session)
            account.names = {each.id: each.name for each in databases}
            account.plan_ends = (await listings.account(listings.recent)).plan_ends
        except NotAllowed:
            # The listing still shows whether the databases that were typed have a snapshot.
            if not wanted:
                raise
        names = account.names
        existing = [each for each in wanted if names is None or each in names]
        origin = self.limits.origin
        account.page = await snapshots_of_databases(
            self.session, existing, origin=origin
        )

    async def _archives(self) -> list[Shelved]:
        """List the archives in all places."""
        found = list[Shelved]()
        for place in self.places:
            name = shown_file(place_text(place.uri))
            self.invocation.progress(f"listing {name}")
            with self.reading(f"the archives in {name} are not known"):
                found += await shelved(self.invocation.transfers, place)
        return found

    async def _noted(self) -> tuple[Sequence[Guarded], Sequence[Attempt]]:
        """Read what guards and requests the ledger has; none if it cannot be read."""
        unknown = "the guarded changes, restores and drills in the ledger are not known"
        with suppress(LedgerUnavailable), self.reading(unknown):
            return await consult(
                self.session.ledger, lambda book: (book.history(), book.attempts)
            )
        return [], []


@dataclass
class _Account:
    """What the service says of the account, as far as it was asked."""

    names: Mapping[str, str | None] | None = None
    plan_ends: datetime | None = None
    page: AccountPage | None = None


async def check_answers(session: Session) -> None:
    """Ask for the account; raises the service's own error soon on an outage."""
    with suppress(NotAllowed):
        await session.listings.account(
            session.clock.monotonic(), patience=BRIEF_PATIENCE
        )


def _too_old(
    age: float | None, most: float | None, which: str, what: str
) -> Iterator[str]:
    """Say why something is not certainly as young as it must be.

    Args:
        age: Its age in seconds; None if there is none.
        most: The seconds that it may be old; None if that is not asked.
        which: `newest` or `last`.
        what: Its name.
    """
    if most is None:
        return
    if age is None:
        yield f"no {what}"
        return
    # To the second: rounded, an age could read as if it were young enough.
    exact = spoken(round(abs(age)), exact=True)
    if age < -CLOCK_ROOM:
        yield f"the {which} {what} is {exact} in the future: a clock is wrong"
    elif age > most:
        limit = spoken(round(most), exact=True)
        yield f"the {which} {what} is {exact} old, more than {limit}"
