"""What is known of a drill, as the state keeps it. It loads no HTTP stack."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, replace
from datetime import timedelta
from typing import Any, Self

from pulumi_snapshots.clock import parse_rfc3339, to_the_second
from pulumi_snapshots.drill.check import CheckResult
from pulumi_snapshots.drill.inputs import DrillInputs
from pulumi_snapshots.errors import Text, Words
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.ledger.ledger import Drilled
from pulumi_snapshots.properties.catalogue import Moment, Record, ResourceSchema, declare
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.properties.durations import parse_duration

# What can show that the scratch database was asked: its own host and port, that its server has started since the request, and
# that this run has itself emptied and loaded it over the same connection.
ADDRESS, RESTART, LOAD = "address", "restart", "load"
# The output whose change says what an update has to do: drill again, watch a restore, run the checks.
DRILLS, RESUMES, ASKS = "drilled_at", "attempt", "results"


class GoodDrill(Record, sparse=True):
    """A drill that has passed."""

    drilled_at: Moment = declare("When the restored database was seen running again, by the service's clock.")
    database_id: str = declare("The database whose snapshot it was.")
    version_id: str = declare("The snapshot's version id.")
    restore_seconds: float | None = declare("How long the restore took; absent if that is not known.", default=None)
    results: list[CheckResult] = declare("What each check found.", kw_only=True)


class DrillRecord(Record):
    """Proof that a snapshot or an archive restores: it is put into a scratch database, and checks ask what came back.

    `pulumi up` sends one restore, waits until the service says that it succeeded, connects to the scratch database, and
    runs the checks. One that fails fails the update. Afterwards only another snapshot, other triggers, another scratch
    database or `every` drill again. Nothing that the program uses is written to but the scratch database. An archive is
    loaded without the service.
    """

    database_id: str = declare("The database whose snapshot was drilled.")
    version_id: str = declare("The snapshot's version id.")
    scratch_database_id: str = declare("The database that was overwritten; empty if an archive was drilled.")
    requested_at: Moment = declare(
        "When the restore was requested, by the service's clock; of an archive, when its load began, by this machine's."
    )
    restored_at: Moment | None = declare(
        "When the scratch database was seen running again, by the service's clock; absent until then.", default=None
    )
    _: KW_ONLY
    drilled_at: Moment | None = declare(
        "The time of the restore that was checked; absent until the checks were run.", default=None
    )
    restore_seconds: float | None = declare(
        "How long the restore took, as a real recovery would. Absent until then, and if an interrupted run does not "
        "know.",
        default=None,
    )
    passed: bool | None = declare("Whether all checks passed; absent until they were run.", default=None, settled=True)
    results: list[CheckResult] | None = declare(
        "What each check found; absent until then, and empty if none could be run.", default=None, settled=True
    )
    failure: str | None = declare(
        "The code with which the restore failed, or why the scratch database could not be reached; absent otherwise.",
        default=None,
    )
    proved_by: list[str] | None = declare(
        "What shows that the scratch database was asked. `address` is the service's own host and port of it, and `restart` a "
        "server that has started since the restore was requested, `load` that an archive was loaded over the same connection. "
        "Absent until then, and empty if nothing does.",
        default=None,
    )
    archive: str | None = declare("The URI of the archive that was drilled; absent for a snapshot.", default=None)
    last_good: GoodDrill | None = declare(
        "The last drill that has passed, this one or an earlier one; absent if none has.", default=None
    )
    attempt: Request | None = declare("The request, only until its end is known.", default=None)

    @property
    def id(self) -> str:
        """`SCRATCH_ID/drill:TIME`, of the first drill; it stays. The snapshot's id stands there for an archive's."""
        return (
            f"{self.scratch_database_id or self.snapshot}/drill:{self.requested_at.replace('-', '').replace(':', '')}"
        )

    @property
    def snapshot(self) -> str:
        """The snapshot's id."""
        return "/".join(filter(None, (self.database_id, self.version_id)))

    @property
    def pending(self) -> bool:
        """Whether the restore's end was not seen yet."""
        return self.restored_at is None and not self.failed_to_restore

    @property
    def failed_to_restore(self) -> bool:
        """Whether the service could not restore the snapshot."""
        return self.restored_at is None and self.failure is not None

    @property
    def told(self) -> str:
        """Why it has failed: each check that did not pass, or why none was run."""
        if self.failed_to_restore:
            return f"it could not be restored ({self.failure})"
        failed = [each.told for each in self.results or () if not each.passed]
        return "; ".join(failed) or self.failure or "its checks were not run"

    @property
    def still_failed(self) -> str:
        """The warning of each run after a drill that failed and only warned."""
        when = to_the_second(self.drilled_at or self.requested_at)
        return f"the last drill, of snapshot {self.snapshot} at {when}, failed: {self.told}."

    def next_drill(self, every: Any) -> Words:
        """With which drill checks run that cannot run now."""
        if every is None or every is UNKNOWN:
            return Text("with the next drill, which another snapshot, other {triggers} or {every} begin")
        due = parse_rfc3339(self.restored_at or self.requested_at) + timedelta(seconds=parse_duration(every))
        return f"with the next drill, which is due at {to_the_second(due)}"

    @property
    def drilled(self) -> Drilled | None:
        """What it proves; None if it has not passed."""
        return Drilled(self.drilled_at, self.restore_seconds) if self.passed and self.drilled_at else None

    def judged(
        self, results: Iterable[CheckResult] = (), proofs: list[str] | None = None, failure: str | None = None
    ) -> Self:
        """With what its checks have found, and what shows that the right database was asked; or why none could be run."""
        found, at = [*results], self.restored_at
        passed = failure is None and all(each.passed for each in found)
        ended = replace(
            self, drilled_at=at, passed=passed, results=found, failure=failure, proved_by=proofs, attempt=None
        )
        return replace(ended, last_good=GoodDrill.from_outputs(ended.to_outputs())) if passed else ended


DRILL = ResourceSchema("Drill", DrillInputs, DrillRecord)
