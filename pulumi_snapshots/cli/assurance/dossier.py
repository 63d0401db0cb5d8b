"""What happened to one database in a period: its drills, guarded changes and restores.

Each is given as fields, of which both forms of the report are made.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.cli.assurance.health import (
    LEDGER,
    NOT_ASKED,
    DatabaseHealth,
    Gap,
    GoodArchive,
)
from pulumi_snapshots.cli.terminal.invocation import NAME
from pulumi_snapshots.clock import parse_rfc3339, rfc3339, to_the_second
from pulumi_snapshots.drill.history import RESULT_FIELDS
from pulumi_snapshots.drill.record import DrillRecord
from pulumi_snapshots.drill.tables import NOT_COMPARED
from pulumi_snapshots.ledger.attempt import Attempt, Status, owner_kind
from pulumi_snapshots.ledger.wording import requester
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.restore.record import SUCCESS, RestoreRecord
from pulumi_snapshots.restore.undo import kept_before

DRILL_FIELDS = (
    "version_id",
    "scratch_database_id",
    "requested_at",
    "drilled_at",
    "passed",
    "restore_seconds",
    "recovery_seconds",
    "failure",
    "proved_by",
)
ARCHIVE_FIELDS = (
    "archived_at",
    "archive_size",
    "archive_sha256",
    "archive_recipients",
    "archive_kept",
)
Fields = dict[str, Any]


@dataclass(frozen=True)
class Dossier:
    """All that is known of one database, for a report.

    Attributes:
        health: What `status` says of it, and what that rests on.
        ended: The drills that the ledger has, of any database.
    """

    health: DatabaseHealth
    ended: Sequence[DrillRecord]

    def fields(self, broken: Iterable[str]) -> Fields:
        """Return what programs read of the database.

        Args:
            broken: What is wrong with its archives, as sentences without an end.
        """
        health = self.health
        drills = self._drills()
        restores = self._restores()
        gap = health.gap
        problems = [*health.problems, *broken, *self._problems_of_period(drills)]
        snapshot = health.snapshot
        return {
            **health.fields(),
            "ok": not problems,
            "problems": problems,
            "unknown": [*self._unknown(drills, restores)],
            "snapshot_size": snapshot and snapshot.size,
            "snapshot_expires_at": snapshot and snapshot.expires_at,
            **_archive_fields(health.newest_archive),
            "longest_gap_from": gap and rfc3339(gap.since),
            "longest_gap_until": gap and rfc3339(gap.until),
            "drills": drills,
            "changes": self._changes(),
            "restores": restores,
        }

    # Drills ---------------------------------------------------------------------------------------

    def _drills(self) -> list[Fields]:
        """List the drills of the period and the last one that passed, newest first."""
        drills = sorted(
            self._known_drills(),
            key=lambda each: parse_rfc3339(_time_of(each)),
            reverse=True,
        )
        taken = self._taken_at()
        for each in drills:
            each["version_created_at"] = taken.get(each["version_id"])
        last_good = next((each for each in drills if each["passed"]), None)
        return [
            each
            for each in drills
            if each is last_good or self._is_in_period(_time_of(each))
        ]

    def _known_drills(self) -> Sequence[Fields]:
        """Give each drill once, as the source has it that says most."""
        drills = list[Fields]()
        for source, outputs in self._noted_drills():
            drill = _drill_fields(source, outputs)
            if not any(_is_same_drill(drill, other) for other in drills):
                drills.append(drill)
        return drills

    def _noted_drills(self) -> Iterator[tuple[str, Fields]]:
        """Give each drill with its source, those first that say most."""
        ended = [(LEDGER, drill) for drill in reversed(self.ended)]
        stated = self.health.evidence.stated_as(DrillRecord)
        ended += [(f"state of {name}", drill) for name, drill in stated]
        for source, drill in ended:
            if drill.database_id == self.health.id:
                yield source, drill.to_outputs()
        for source, outputs in self.health.proofs():
            yield source, {**outputs, "passed": True}

    def _taken_at(self) -> Mapping[Any, str | None]:
        """Give the time of each snapshot whose version is known."""
        manifests = [each.manifest for each in self.health.archives]
        dates = {each.version_id: each.created_at for each in manifests}
        for each in self.health.all_listed:
            if each.version and each.modified:
                dates[each.version] = rfc3339(each.modified)
        return dates

    def _is_in_period(self, time: str) -> bool:
        return parse_rfc3339(time) >= self.health.evidence.since

    # Changes and restores -------------------------------------------------------------------------

    def _changes(self) -> list[Fields]:
        """List what guards have noted in the period, newest first."""
        return [
            {
                "guard": each.guard,
                "noted_at": each.noted_at,
                "changed_at": each.changed_at,
                "changes": each.changes,
                **self._way_back(each.id),
            }
            for each in self.health.history
            if each.touched_at >= self.health.evidence.since
        ]

    def _restores(self) -> list[Fields]:
        """List the restores onto the database in the period, newest first."""
        restores = {
            to_the_second(each["requested_at"]): each
            for each in self._stated_restores()
        }
        for attempt in self.health.attempts:
            if attempt.kind == "restore":
                requested_at = to_the_second(attempt.request.posted_at)
                stated = restores.get(requested_at, {})
                before = stated.get("way_back") or self._before(attempt)
                restores[requested_at] = {
                    "snapshot": attempt.source,
                    "requested_at": requested_at,
                    "ended_at": attempt.ended_at and rfc3339(attempt.ended_at),
                    "result": _result_of(attempt),
                    "by": requester(attempt),
                    **self._way_back(before),
                }
        times = sorted(filter(self._is_in_period, restores), reverse=True)
        return [restores[time] for time in times]

    def _stated_restores(self) -> Iterator[Fields]:
        for name, record in self.health.evidence.stated_as(RestoreRecord):
            if record.target_database_id == self.health.id:
                yield {
                    "snapshot": record.snapshot,
                    "requested_at": record.requested_at,
                    "ended_at": record.restored_at,
                    "result": SUCCESS if record.restored_at else record.failure,
                    "by": name,
                    **self._way_back(record.previous),
                }

    def _before(self, restore: Attempt) -> str | None:
        """Find the newest snapshot of what the database held before a restore."""
        kept = kept_before(self.health.attempts, restore)
        if kept is not None:
            return kept
        requested = restore.request.posted_at
        before = [
            (each.modified, each.version)
            for each in self.health.all_listed
            if each.modified is not None and each.modified < requested
            if each.version and each.size != 0
        ]
        return f"{self.health.id}/{max(before)[1]}" if before else None

    def _way_back(self, snapshot: str | None) -> Fields:
        """Say to which snapshot one can go back, and whether the service still lists it."""
        is_listed = None
        is_asked = self.health.evidence.account.page is not NOT_ASKED
        if snapshot is not None and is_asked:
            versions = {each.version for each in self.health.all_listed}
            is_listed = snapshot.partition("/")[2] in versions
        return {"way_back": snapshot, "way_back_listed": is_listed}

    # What falls short, and what is not known ------------------------------------------------------

    def _problems_of_period(self, drills: Sequence[Fields]) -> Iterator[str]:
        """Say what fell short in the period, beside what falls short now."""
        gap = self.health.gap
        evidence = self.health.evidence
        most = evidence.limits.max_age
        if gap is not None and gap.seconds > most and gap.until != evidence.now:
            limit = spoken(round(most), exact=True)
            yield f"the longest time without a new snapshot was {gap_text(gap)}, more than {limit}"
        if drills and drills[0]["passed"] is False:
            yield f"the last drill, at {to_the_second(_time_of(drills[0]))}, failed"

    def _unknown(
        self, drills: Sequence[Fields], restores: Sequence[Fields]
    ) -> Iterator[str]:
        """Say what is not known of the database."""
        yield from self._unknown_snapshots()
        if not any(each["passed"] for each in drills):
            yield "no drill is known that has proved a restore"
        for each in drills:
            yield from self._unknown_of_drill(each)
        yield from self._drills_without_end(drills)
        for each in restores:
            if each["result"] is None:
                yield f"how the restore of {each['requested_at']} ended is not known"

    def _unknown_snapshots(self) -> Iterator[str]:
        evidence = self.health.evidence
        since = self.health.known_since
        if since is not None and since > evidence.since:
            yield f"which snapshots there were before {to_the_second(since)} is not known"
        checked = {each.uri for each in evidence.archives}
        for name, record in evidence.stated_as(ArchiveRecord):
            if record.database_id == self.health.id and record.uri not in checked:
                yield f"the archive of {name} was not found whole in a place that was given"

    def _unknown_of_drill(self, drill: Fields) -> Iterator[str]:
        time = _time_of(drill)
        name = f"the drill of {to_the_second(time)}"
        if not self._is_in_period(time):
            yield f"{name}, the last one that passed, is older than the period"
        if not drill["passed"]:
            return
        results = drill["results"]
        if any(each["expected"] == NOT_COMPARED for each in results or ()):
            little = "its count only shows that a row was there"
            yield f"{name} compared its tables with nothing: {little}"
        if results is None:
            yield f"what {name} checked is not known"
        elif not drill["proved_by"]:
            yield f"nothing but its checks shows that {name} asked the right database"
        if drill["recovery_seconds"] is None:
            yield f"how long {name} took until its checks had passed is not known"

    def _drills_without_end(self, drills: Sequence[Fields]) -> Iterator[str]:
        """Name the drills of the period that the ledger only has as restores."""
        times = [each["requested_at"] for each in drills]
        ended = {to_the_second(each) for each in times if each}
        for attempt in self.health.evidence.attempts:
            database_id, _, version_id = (attempt.source or "").partition("/")
            time = to_the_second(attempt.request.posted_at)
            is_new = time not in ended and self._is_in_period(time)
            if is_new and database_id == self.health.id and _is_of_drill(attempt):
                name = f"the drill of version {version_id}, requested at {time},"
                yield f"how {name} ended is not known"


def gap_text(gap: Gap) -> str:
    """Say how long a gap is, and when it was.

    Args:
        gap: The gap.
    """
    between = f"from {to_the_second(gap.since)} until {to_the_second(gap.until)}"
    return f"{spoken(round(gap.seconds), exact=True)}, {between}"


def _is_of_drill(attempt: Attempt) -> bool:
    is_typed = attempt.owner == f"{NAME} drill"
    return is_typed or owner_kind(attempt.owner) == "drill"


def _time_of(drill: Fields) -> Any:
    return drill["drilled_at"] or drill["requested_at"]


def _is_same_drill(drill: Fields, other: Fields) -> bool:
    """Tell whether two sources speak of one drill, of which each can lack some fields."""
    times = {to_the_second(_time_of(each)) for each in (drill, other)}
    return len(times) == 1 and all(
        drill[name] == other[name] or None in {drill[name], other[name]}
        for name in ("version_id", "scratch_database_id", "passed")
    )


def _drill_fields(source: str, outputs: Mapping[str, Any]) -> Fields:
    """Give the fields of a drill, whichever of them its source has."""
    results = outputs.get("results")
    if results is not None:
        results = [{name: each.get(name) for name in RESULT_FIELDS} for each in results]
    fields = {name: outputs.get(name) for name in DRILL_FIELDS}
    return {**fields, "results": results, "known_from": source}


def _result_of(restore: Attempt) -> str | None:
    """Say how a restore ended: `success`, the code of its failure, or None if that is not known."""
    if restore.status is Status.FOUND:
        return SUCCESS
    if restore.status is Status.FAILED:
        return restore.result
    return restore.request.outcome


def _archive_fields(archive: GoodArchive | None) -> Fields:
    """Give the fields of the newest archive, and until when it is kept, as its manifest says."""
    if archive is None:
        return dict.fromkeys(ARCHIVE_FIELDS)
    manifest = archive.manifest
    owners = manifest.others_text(None) or "its owner"
    kept = f"without an end date, until it is removed by {owners}"
    if manifest.pinned_by():
        kept = "for good"
    facts = (manifest.archived_at, manifest.size, manifest.sha256, manifest.recipients)
    return dict(zip(ARCHIVE_FIELDS, (*facts, kept), strict=True))
