"""What is known of each database's snapshots, archives and drills, and whether that is enough.

Ages are counted from the time of each snapshot, never from that of the page that shows it, and by
whichever clock is later, the service's or this machine's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from pulumi_snapshots.archive.listed import ListedArchive, list_archives
from pulumi_snapshots.archive.manifest import Manifest
from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.cli.assurance.states import StateEntry
from pulumi_snapshots.cli.terminal.account import (
    AccountPage,
    databases_of_account,
    snapshots_of_databases,
)
from pulumi_snapshots.cli.terminal.arguments import checked
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
from pulumi_snapshots.properties.checks import (
    RETENTION,
    age_at_service,
    duration,
    spoken,
)
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import Patience
from pulumi_snapshots.service.errors import NotAllowed
from pulumi_snapshots.service.models import AccountDatabase, ListedSnapshot
from pulumi_snapshots.snapshot.read import newest
from pulumi_snapshots.snapshot.record import ORIGIN, SnapshotRecord
from pulumi_snapshots.storage.destination import Destination, place_text

USUAL = 26 * 3600.0
"""Seconds: a day, and two hours in which the next snapshot is taken and listed."""
PERIOD = timedelta(seconds=RETENTION)
"""The period of the longest gap, unless another is asked for: the service keeps a snapshot as long.
"""
NOT_ASKED = AccountPage({}, 0.0, kept=False)
"""In place of the account's snapshots if the service was not asked."""
LEDGER = "ledger"
"""Says of a drill that the ledger has it."""
BRIEF_PATIENCE = Patience((1.0,), within=5.0)
"""How long a service that does not answer is asked again, so that cron hears of it within 15 s."""
Stated = TypeVar("Stated", bound=Record)
OfDatabase = TypeVar("OfDatabase", Guarded, Attempt)
_up_to_ten_years = duration(most=10 * 365 * 86400.0)


class AgeLimits(Inputs):
    """How old things may be, in seconds."""

    max_age: Duration = declare(
        "How old the newest snapshot may be; 26h by default.",
        default=USUAL,
        read=age_at_service,
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


def typed_limits(invocation: Invocation, typed: Mapping[str, Any]) -> AgeLimits:
    """Return the checked limits that were typed.

    Args:
        invocation: The command.
        typed: The arguments as they were typed.

    Raises:
        click.ClickException: An argument is wrong.
    """
    limits = checked(invocation, AgeLimits, typed)
    if limits.max_archive_age and not typed["archives"]:
        invocation.wrong("--max-archive-age needs --archives.")
    return limits


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
    taken: Iterable[datetime],
    start: datetime,
    now: datetime,
    listed_since: datetime | None = None,
) -> Gap | None:
    """Find the longest gap that ends in a period.

    A gap lies between two snapshots that follow each other, of which the first can be older than
    the period, between the newest snapshot and the present, or before the first snapshot.

    Args:
        taken: When each snapshot was taken. What lies in the future does not count.
        start: The beginning of the period.
        now: Its end.
        listed_since: Since when there was a database whose snapshots are all known; None if that is
            not known.

    Returns:
        The gap; None without a snapshot.
    """
    times = sorted(each for each in taken if each <= now)
    if times and listed_since is not None and listed_since < times[0]:
        times.insert(0, listed_since)
    before = [each for each in times if each < start]
    ends = [*before[-1:], *times[len(before) :], now]
    gaps = [Gap(since, until) for since, until in pairwise(ends)]
    return max(gaps, key=lambda gap: gap.seconds, default=None)


class GoodArchive(NamedTuple):
    """An archive that is as its manifest says."""

    manifest: Manifest
    uri: str


@dataclass(frozen=True)
class DatabaseHealth:
    """What is known of one database; times are RFC 3339, and None stands for unknown."""

    id: str
    evidence: Evidence
    listed: Sequence[ListedSnapshot]
    """The snapshots at the service that count; none if the service was not asked."""
    snapshot: SnapshotRecord | None
    """The newest good snapshot."""
    archives: Sequence[GoodArchive]
    history: Sequence[Guarded]
    """The snapshots of guards and restores, newest first."""
    attempts: Sequence[Attempt]

    @property
    def name(self) -> str | None:
        """The database's name in the account."""
        return self._account_entry.name if self._account_entry else None

    @cached_property
    def _account_entry(self) -> AccountDatabase | None:
        return (self.evidence.account.databases or {}).get(self.id)

    @cached_property
    def newest_archive(self) -> GoodArchive | None:
        """The archive with the newest snapshot."""
        dated = {
            each.manifest.created_at: each
            for each in self.archives
            if each.manifest.created_at
        }
        return dated[max(dated, key=parse_rfc3339)] if dated else None

    @property
    def archive(self) -> str | None:
        """The URI of the archive with the newest snapshot."""
        return self.newest_archive and self.newest_archive.uri

    def proofs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the outputs of each drill that is known to have passed.

        Yields:
            The source of each and its outputs; those first that say most.
        """
        for name, record in self.evidence.stated_as(DrillRecord):
            good = record.last_good
            if good is not None and good.database_id == self.id:
                yield f"state of {name}", good.to_outputs()
        for manifest, uri in self.archives:
            if manifest.drill is not None:
                version = {"version_id": manifest.version_id}
                outputs = manifest.drill.to_outputs() | version
                yield f"manifest of {place_text(uri)}", outputs
        last = self.evidence.last_drills.get(self.id)
        if last is not None:  # of which version, the ledger does not say
            yield LEDGER, last.to_outputs()

    @cached_property
    def drill(self) -> Drilled | None:
        """The last drill that passed."""
        passed = [Drilled.from_outputs(outputs) for _, outputs in self.proofs()]
        return max(
            passed, key=lambda proof: parse_rfc3339(proof.drilled_at), default=None
        )

    @property
    def recovery_seconds(self) -> float | None:
        """How long the last drill that passed took, from its request to its last check."""
        return self.drill.recovery_seconds if self.drill else None

    @property
    def guarded(self) -> Guarded | None:
        """The snapshot from before the last guarded change that has happened."""
        return self._last_guarded(by_restore=False)

    @property
    def kept(self) -> Guarded | None:
        """The snapshot of what the last restore has overwritten."""
        return self._last_guarded(by_restore=True)

    def _last_guarded(self, *, by_restore: bool) -> Guarded | None:
        for each in self.history:
            is_wanted = (each.guard == KEPT_BY_RESTORE) is by_restore
            if is_wanted and each.id and each.changed_at:
                return each
        return None

    @property
    def pending_since(self) -> str | None:
        """When the last snapshot was requested that is newer than all, and not listed yet."""
        taken_at = self.snapshot and self.snapshot.created_at
        return max(
            (
                to_the_second(each.request.posted_at)
                for each in self.attempts
                if each.kind == "snapshot"
                and not each.is_over
                and self.evidence.now < each.waited_for_until
                and (not taken_at or parse_rfc3339(taken_at) < each.request.requested)
            ),
            default=None,
        )

    @cached_property
    def times(self) -> dict[str, str | None]:
        """When the `snapshot`, the `archive`'s snapshot and the `drill` were made."""
        archive = self.newest_archive
        return {
            "snapshot": self.snapshot.created_at if self.snapshot else None,
            "archive": archive.manifest.created_at if archive else None,
            "drill": self.drill.drilled_at if self.drill else None,
        }

    @cached_property
    def ages(self) -> dict[str, float | None]:
        """The seconds since the `times`."""
        now = self.evidence.now
        return {
            kind: (now - parse_rfc3339(at)).total_seconds() if at else None
            for kind, at in self.times.items()
        }

    @cached_property
    def taken(self) -> Sequence[datetime]:
        """When the snapshots that count were taken."""
        listed = [each.modified for each in self.listed if each.size != 0]
        dates = [*self._stated_dates()]
        # Manifests do not say of which origin a snapshot is.
        if self.evidence.limits.origin is None:
            dates += [each.manifest.created_at for each in self.archives]
        times = [parse_rfc3339(each) for each in dates if each]
        return [*filter(None, listed), *times]

    def _stated_dates(self) -> Iterator[str | None]:
        origin = self.evidence.limits.origin
        for _, record in self.evidence.stated_as(SnapshotRecord):
            is_own = record.database_id == self.id and record.size != 0
            if is_own and origin in {None, record.origin}:
                yield record.created_at

    @cached_property
    def gap(self) -> Gap | None:
        """The longest time of the period without a new snapshot."""
        evidence = self.evidence
        return longest_gap(self.taken, evidence.since, evidence.now, self._listed_since)

    @property
    def known_since(self) -> datetime | None:
        """Since when the database's snapshots are known; None if all of them are, or none is."""
        created_at = self._account_entry and self._account_entry.created_at
        if created_at is not None and self._listed_since == created_at:
            return None
        times = [*self.taken, self._listed_since] if self.taken else []
        return min(filter(None, times), default=None)

    @cached_property
    def _listed_since(self) -> datetime | None:
        """Since when the service lists each snapshot of the database; None if that is not known.

        The service does so for 30 days, or since the database was made.
        """
        entry = self._account_entry
        is_asked = self.evidence.account.page is not NOT_ASKED
        if entry is None or entry.created_at is None or not is_asked:
            return None
        return max(entry.created_at, self.evidence.now - PERIOD)

    @property
    def all_listed(self) -> Collection[ListedSnapshot]:
        """The snapshots at the service, of any origin; none if the service was not asked."""
        return self.evidence.account.page.of_each.get(self.id, {}).values()

    @cached_property
    def problems(self) -> Sequence[str]:
        """Say what is not certainly recent enough, a clause for each problem."""
        return [*self._problems()]

    def _problems(self) -> Iterator[str]:
        limits = self.evidence.limits
        account = self.evidence.account
        ages = self.ages
        if account.databases is not None and self.id not in account.databases:
            yield "the account has no such database"
        elif account.page is NOT_ASKED:
            yield "whether the service has a recent snapshot is not known"
        else:
            snapshot = f"{limits.origin} snapshot" if limits.origin else "snapshot"
            yield from _too_old(ages["snapshot"], limits.max_age, "newest", snapshot)
        is_undated = self.archives and not self.newest_archive
        archive = "archive of a known age" if is_undated else "archive"
        yield from _too_old(ages["archive"], limits.max_archive_age, "newest", archive)
        yield from _too_old(
            ages["drill"], limits.max_drill_age, "last", "drill that passed"
        )

    def fields(self) -> dict[str, Any]:
        """Return what programs read of the database."""
        times = self.times
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
            "snapshot_created_at": times["snapshot"],
            "archive_created_at": times["archive"],
            "drilled_at": times["drill"],
            **{f"{kind}_age": seconds for kind, seconds in self.ages.items()},
            "longest_gap": self.gap and self.gap.seconds,
            "recovery_seconds": self.recovery_seconds,
        }


@dataclass
class AccountFacts:
    """What the service says of the account, as far as it was asked."""

    databases: Mapping[str, AccountDatabase] | None = None
    """The databases by their ids; None if the key may not list them."""
    plan_ends: datetime | None = None
    """When the plan ends; None if the service does not say so, or not to this key."""
    page: AccountPage = NOT_ASKED
    """The snapshots as they were listed."""


@dataclass(frozen=True)
class Evidence:
    """What the account, the archives and the ledger say of all databases."""

    limits: AgeLimits
    account: AccountFacts
    now: datetime
    """The later one of the service's and this machine's time."""
    since: datetime
    """The beginning of the period."""
    shelf: Sequence[ListedArchive]
    """All archives, also those that are not good."""
    history: Sequence[Guarded]
    """The snapshots of guards and restores, newest first."""
    attempts: Sequence[Attempt]
    last_drills: Mapping[str, Drilled]
    stated: Sequence[StateEntry]
    """What states hold of resources."""

    @cached_property
    def archives(self) -> Sequence[GoodArchive]:
        """The good archives."""
        return [
            GoodArchive(each.manifest, each.uri)
            for each in self.shelf
            if each.manifest and each.is_good
        ]

    def stated_as(self, kind: type[Stated]) -> Iterator[tuple[str, Stated]]:
        """Give the resources of one kind in states.

        Args:
            kind: Their records' class.

        Yields:
            The name of each for people, and its record.
        """
        for name, record in self.stated:
            if isinstance(record, kind):
                yield name, record

    @property
    def databases(self) -> set[str]:
        """All databases that archives, the ledger and states are about."""
        records: list[Any] = [each.manifest for each in self.archives]
        records += self.history
        records += [record for _, record in self.stated]
        ids = {getattr(each, "database_id", None) for each in records}
        return {each for each in ids | {*self.last_drills} if each}

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
        listed = [
            each
            for each in self.account.page.of_each.get(database_id, {}).values()
            if self.limits.origin in {None, each.origin}
        ]

        def own(entries: Sequence[OfDatabase]) -> Sequence[OfDatabase]:
            return [each for each in entries if each.database_id == database_id]

        return DatabaseHealth(
            id=database_id,
            evidence=self,
            listed=listed,
            snapshot=await newest(session, database_id, listed, may_be_empty=False),
            archives=[
                each
                for each in self.archives
                if each.manifest.database_id == database_id
            ],
            history=own(self.history),
            attempts=own(self.attempts),
        )


@dataclass
class Examination:
    """Gathers what is known of databases, for `status` and `report`.

    Attributes:
        invocation: The command, which shows its progress.
        session: The service and the ledger.
        limits: How old things may be.
        places: The places of archives.
        since: The beginning of the period, or how long ago it was.
        stated: What states hold of resources.
        troubles: Gets a sentence for each source that cannot be read; None to raise its error.
    """

    invocation: Invocation
    session: Session
    limits: AgeLimits
    places: Sequence[Destination]
    since: datetime | timedelta = PERIOD
    stated: Sequence[StateEntry] = ()
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

    async def examine(
        self, typed: Sequence[str]
    ) -> tuple[Evidence, Sequence[DatabaseHealth]]:
        """Judge each database that is typed, or all that are known.

        Args:
            typed: The databases as they are typed; none for all.

        Returns:
            What was found, of all databases and of each.

        Raises:
            UnclearId: What was typed names no single database.
            NotAllowed: The key may not list what must be listed.
        """
        session = self.session
        # Silently: cron would mail it.
        note = self.invocation.note
        wanted = [await whole_database(session, each, note) for each in typed]
        account = AccountFacts()
        with self.reading(
            "the service was not asked which snapshots and databases there are"
        ):
            await self._ask_service(wanted, account)
        shelf = await self._archives()
        history, attempts = await self._noted()
        # By the earlier clock, what is old could seem young; by the later one, a period could begin
        # too late.
        times = (session.service_clock.now(), session.clock.utc())
        now = max(times)
        since = self.since
        if isinstance(since, timedelta):
            since = min(times) - since
        evidence = Evidence(
            limits=self.limits,
            account=account,
            now=now,
            since=since,
            shelf=shelf,
            history=history,
            attempts=attempts,
            last_drills=await last_drills(session.ledger),
            stated=self.stated,
        )
        healths = list[DatabaseHealth]()
        for database_id in dict.fromkeys(wanted or self._known(evidence)):
            with self.reading(
                f"which snapshots database {database_id} has is not known"
            ):
                healths.append(await evidence.of_database(session, database_id))
        return evidence, healths

    def _known(self, evidence: Evidence) -> Sequence[str]:
        """The databases of the account, and in a report also those that only others show."""
        others = () if self.troubles is None else sorted(evidence.databases)
        return [*(evidence.account.databases or ()), *others]

    async def _ask_service(self, wanted: Sequence[str], account: AccountFacts) -> None:
        """Ask for the account, its databases and their snapshots."""
        listings = self.session.listings
        # During an outage this raises the service's own error soon.
        with suppress(NotAllowed):
            now = self.session.clock.monotonic()
            await listings.account(now, patience=BRIEF_PATIENCE)
        try:
            databases = await databases_of_account(self.session)
            account.databases = {each.id: each for each in databases}
            account.plan_ends = (await listings.account(listings.recent)).plan_ends
        except NotAllowed:
            # The listing still shows whether the databases that were typed have a snapshot.
            if not wanted:
                raise
        # The listings of a database that the account does not have are not requested.
        existing = wanted
        if account.databases is not None:
            existing = [each for each in wanted if each in account.databases]
        account.page = await snapshots_of_databases(
            self.session, existing, origin=self.limits.origin
        )

    async def _archives(self) -> list[ListedArchive]:
        """List the archives in all places."""
        archives = list[ListedArchive]()
        for place in self.places:
            name = shown_file(place_text(place.uri))
            self.invocation.progress(f"listing {name}")
            with self.reading(f"the archives in {name} are not known"):
                archives += await list_archives(self.invocation.transfers, place)
        return archives

    async def _noted(self) -> tuple[Sequence[Guarded], Sequence[Attempt]]:
        """Read what guards and requests the ledger has; none if it cannot be read."""
        unknown = "the guarded changes, restores and drills in the ledger are not known"
        with suppress(LedgerUnavailable), self.reading(unknown):
            return await consult(
                self.session.ledger, lambda book: (book.history(), book.attempts)
            )
        return [], []


def _too_old(
    age: float | None,
    most: float | None,
    which: str,
    what: str,
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
