"""What happened to one database in a period: its drills, guarded changes and restores.

Each is given as fields, of which both forms of the report are made.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi_snapshots.archive.manifest import Manifest
from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.cli.assurance.health import DatabaseHealth, Evidence, Gap
from pulumi_snapshots.cli.assurance.states import StateEntry
from pulumi_snapshots.clock import parse_rfc3339, rfc3339, to_the_second
from pulumi_snapshots.drill.history import RESULT_FIELDS
from pulumi_snapshots.drill.record import DrillRecord
from pulumi_snapshots.ledger.attempt import Attempt, Status
from pulumi_snapshots.ledger.wording import requester
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.restore.record import SUCCESS, RestoreRecord
from pulumi_snapshots.restore.undo import kept_before
from pulumi_snapshots.storage.destination import place_text

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
LEDGER = "ledger"
"""Says of a drill that the ledger has it."""
Fields = dict[str, Any]


@dataclass(frozen=True)
class Dossier:
    """All that is known of one database, for a report.

    Attributes:
        health: What `status` says of it.
        evidence: What that rests on.
        manifest: The manifest of its newest archive; None without one.
        drills: The drills that the ledger has, of any database.
        stated: The resources in states.
    """

    health: DatabaseHealth
    evidence: Evidence
    manifest: Manifest | None
    drills: Sequence[DrillRecord]
    stated: Sequence[StateEntry]

    def fields(self, broken: Iterable[str]) -> Fields:
        """Return what programs read of the database.

        Args:
            broken: What is wrong with its archives, as sentences without an end.
        """
        drills = self._drills()
        restores = self._restores()
        gap = self.health.gap
        problems = [*self.health.problems, *broken, *self._problems_of_period(drills)]
        snapshot = self.health.snapshot
        manifest = self.manifest
        return {
            **self.health.fields(),
            "ok": not problems,
            "problems": problems,
            "unknown": self._unknown(drills, restores),
            "snapshot_size": snapshot and snapshot.size,
            "snapshot_expires_at": snapshot and snapshot.expires_at,
            "archived_at": manifest and manifest.archived_at,
            "archive_size": manifest and manifest.size,
            "archive_sha256": manifest and manifest.sha256,
            "archive_recipients": manifest and manifest.recipients,
            "archive_kept": manifest and _kept(manifest),
            "longest_gap_from": gap and rfc3339(gap.since),
            "longest_gap_until": gap and rfc3339(gap.until),
            "drills": drills,
            "changes": self._changes(),
            "restores": restores,
        }

    # Drills ---------------------------------------------------------------------------------------

    def _drills(self) -> list[Fields]:
        """List the drills of the period and the last one that passed, newest first."""
        known = dict[tuple[str | None, str], Fields]()
        for source, outputs in self._noted_drills():
            entry = _drill_fields(source, outputs)
            version_id = entry["version_id"]
            time = _time_of(entry) and to_the_second(_time_of(entry))
            is_known = version_id is None and time in {each for _, each in known}
            if time and not is_known:
                known.setdefault((version_id, time), entry)
        found = sorted(
            known.values(), key=lambda each: parse_rfc3339(_time_of(each)), reverse=True
        )
        last_good = next((each for each in found if each["passed"]), None)
        return [
            each
            for each in found
            if each is last_good or self._is_in_period(_time_of(each))
        ]

    def _noted_drills(self) -> Iterable[tuple[str, Fields]]:
        """Give each drill with its source, those first that say most."""
        database_id = self.health.id
        for drill in self.drills:
            if drill.database_id == database_id:
                yield LEDGER, drill.to_outputs()
        for name, record in self.stated:
            if not isinstance(record, DrillRecord):
                continue
            if record.database_id == database_id:
                yield f"state of {name}", record.to_outputs()
            good = record.last_good
            if good is not None and good.database_id == database_id:
                yield f"state of {name}", {**good.to_outputs(), "passed": True}
        for manifest, uri in self.evidence.archives:
            if manifest.database_id == database_id and manifest.drill is not None:
                proof = {
                    **manifest.drill.to_outputs(),
                    "version_id": manifest.version_id,
                }
                yield f"manifest of {place_text(uri)}", {**proof, "passed": True}
        last = self.evidence.last_drills.get(database_id)
        if last is not None:  # of which version, the ledger does not say
            yield LEDGER, {**last.to_outputs(), "passed": True}

    def _is_in_period(self, time: str) -> bool:
        return parse_rfc3339(time) >= self.evidence.since

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
            for each in self.evidence.guarded
            if each.database_id == self.health.id
            and each.touched_at >= self.evidence.since
        ]

    def _restores(self) -> list[Fields]:
        """List the restores onto the database in the period, newest first."""
        known = dict[str, Fields]()
        for name, record in self.stated:
            if (
                isinstance(record, RestoreRecord)
                and record.target_database_id == self.health.id
            ):
                result = SUCCESS if record.restored_at else record.failure
                entry = _restore_fields(
                    record.snapshot, record.requested_at, name, result
                )
                entry["ended_at"] = record.restored_at
                entry |= self._way_back(record.previous)
                known[to_the_second(record.requested_at)] = entry
        for attempt in self.evidence.attempts:
            requested_at = to_the_second(attempt.request.posted_at)
            if attempt.kind != "restore" or attempt.database_id != self.health.id:
                continue
            by = requester(attempt)
            entry = _restore_fields(
                attempt.source, requested_at, by, _result_of(attempt)
            )
            entry["ended_at"] = attempt.ended_at and rfc3339(attempt.ended_at)
            stated = known.get(requested_at, {})
            entry |= self._way_back(stated.get("way_back") or self._before(attempt))
            known[requested_at] = entry
        in_period = {
            time: each for time, each in known.items() if self._is_in_period(time)
        }
        return [each for _, each in sorted(in_period.items(), reverse=True)]

    def _before(self, restore: Attempt) -> str | None:
        """Find the newest snapshot of what the database held before a restore."""
        kept = kept_before(self.evidence.attempts, restore)
        if kept is not None:
            return kept
        requested = restore.request.posted_at
        before = [
            (each.modified, each.version)
            for each in self.evidence.listed(self.health.id)
            if each.modified is not None and each.modified < requested and each.version
        ]
        return f"{self.health.id}/{max(before)[1]}" if before else None

    def _way_back(self, snapshot: str | None) -> Fields:
        """Say to which snapshot one can go back, and whether the service still lists it."""
        is_listed = None
        if snapshot is not None and self.evidence.page is not None:
            versions = {each.version for each in self.evidence.listed(self.health.id)}
            is_listed = snapshot.partition("/")[2] in versions
        return {"way_back": snapshot, "way_back_listed": is_listed}

    # What falls short, and what is not known ------------------------------------------------------

    def _problems_of_period(self, drills: Sequence[Fields]) -> Iterable[str]:
        """Say what fell short in the period, beside what falls short now."""
        gap = self.health.gap
        most = self.evidence.limits.max_age
        if gap is not None and gap.seconds > most and gap.until != self.evidence.now:
            limit = spoken(round(most), exact=True)
            yield f"the longest gap between snapshots was {gap_text(gap)}, more than {limit}"
        if drills and drills[0]["passed"] is False:
            yield f"the last drill, at {to_the_second(_time_of(drills[0]))}, failed"

    def _unknown(
        self, drills: Sequence[Fields], restores: Sequence[Fields]
    ) -> list[str]:
        """Say what is not known of the database."""
        return [
            *self._unknown_snapshots(),
            *self._unknown_drills(drills),
            *(
                f"how the restore of {each['requested_at']} ended is not known"
                for each in restores
                if each["result"] is None
            ),
        ]

    def _unknown_snapshots(self) -> Iterable[str]:
        since = self.health.known_since
        if since is not None and since > self.evidence.since:
            yield f"which snapshots there were before {to_the_second(since)} is not known"
        checked = {uri for _, uri in self.evidence.archives}
        for name, record in self.stated:
            is_of_database = vars(record).get("database_id") == self.health.id
            if (
                isinstance(record, ArchiveRecord)
                and is_of_database
                and record.uri not in checked
            ):
                yield f"the archive of {name} was not found whole in a place that was given"

    def _unknown_drills(self, drills: Sequence[Fields]) -> Iterable[str]:
        if not any(each["passed"] for each in drills):
            yield "no drill is known that has proved a restore"
        for each in drills:
            time = _time_of(each)
            name = f"the drill of {to_the_second(time)}"
            if not self._is_in_period(time):
                yield f"{name}, the last one that passed, is older than the period"
            if each["passed"] and each["results"] is None:
                yield f"what {name} checked is not known"
            elif each["passed"] and not each["proved_by"]:
                yield f"nothing but its checks shows that {name} asked the right database"
            if each["passed"] and each["recovery_seconds"] is None:
                yield f"how long {name} took until its checks had passed is not known"


def gap_text(gap: Gap) -> str:
    """Say how long a gap is, and when it was.

    Args:
        gap: The gap.
    """
    between = f"from {to_the_second(gap.since)} until {to_the_second(gap.until)}"
    return f"{spoken(round(gap.seconds), exact=True)}, {between}"


def _time_of(drill: Mapping[str, Any]) -> str:
    """When a drill was made; empty if that is not known."""
    return drill["drilled_at"] or drill["requested_at"] or ""


def _drill_fields(source: str, outputs: Mapping[str, Any]) -> Fields:
    """Give the fields of a drill, whichever of them its source has."""
    results = outputs.get("results")
    if results is not None:
        results = [{name: each.get(name) for name in RESULT_FIELDS} for each in results]
    known = {name: outputs.get(name) for name in DRILL_FIELDS}
    return {**known, "results": results, "known_from": source}


def _restore_fields(
    source: str | None, requested_at: str, by: str, result: str | None
) -> Fields:
    return {
        "snapshot": source,
        "requested_at": requested_at,
        "ended_at": None,
        "result": result,
        "by": by,
    }


def _result_of(restore: Attempt) -> str | None:
    """Say how a restore ended: `success`, the code of its failure, or None if that is not known."""
    if restore.status is Status.FOUND:
        return SUCCESS
    if restore.status is Status.FAILED:
        return restore.result
    return restore.request.outcome


def _kept(manifest: Manifest) -> str:
    """Say until when an archive is kept, as far as its manifest says."""
    if manifest.pinned_by():
        return "for good"
    return f"until {manifest.others_text(None) or 'its owner'} removes it"
