"""A drill: its inputs, and what the state keeps of it.

Programs load this module, so it loads no HTTP stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, replace
from datetime import timedelta
from typing import Any, Self

from pulumi_snapshots.archive.record import RECOVERY_DOC, Drilled, hidden_problem
from pulumi_snapshots.clock import parse_rfc3339, to_the_second
from pulumi_snapshots.databases.kinds import ENGINES, kind_of, lacking
from pulumi_snapshots.drill.address import ServerAddress, engine_misfit, is_same_place
from pulumi_snapshots.drill.check import Check, CheckResult, filled, read_checks
from pulumi_snapshots.drill.tables import TableRows
from pulumi_snapshots.errors import AnyMessage, Message
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.properties import checks as fit
from pulumi_snapshots.properties.catalogue import (
    Choices,
    Duration,
    Inputs,
    Moment,
    Record,
    ResourceSchema,
    Values,
    declare,
)
from pulumi_snapshots.properties.checks import UNKNOWN, Problem, Unfit, parse_duration
from pulumi_snapshots.restore.record import RestoreInputs, said, with_snapshot_missing
from pulumi_snapshots.run.memory import DRILLS_OVERWRITE, id_at, is_same_database
from pulumi_snapshots.snapshot.record import DATABASE_ENGINE

# The proofs that the scratch database was asked: its own host and port, or a server that has
# started since the request.
ADDRESS = "address"
RESTART = "restart"
# The output that an update changes says what the update does.
DRILLS = "drilled_at"  # drills again
RESUMES = "attempt"  # watches a restore
ASKS = "results"  # runs the checks
DRILL_TIMEOUT = 30 * 60.0  # seconds: those of a restore, and as many for the checks
DRILL_PURPOSE = "drill a snapshot of"
YEAR = 365 * 86400.0
ON_FAILURE = Choices(
    "OnFailure",
    {
        "error": "It fails the update.",
        "warn": "It only warns, at each update until a drill passes.",
    },
)


def _connection(given: object) -> str:
    """Read a connection string; raises `Unfit` also if its library is not installed."""
    dsn = fit.text(given)
    missing = lacking(kind_of(dsn))
    if missing:
        raise Unfit(missing)
    return dsn


class DrillInputs(Inputs):
    """The inputs of a drill; durations in seconds."""

    database_id: str = declare(
        "The database whose snapshot is drilled.",
        read=fit.database_id(DRILL_PURPOSE),
        needed=f"the id of the database to {DRILL_PURPOSE}",
        repeats=True,
    )
    version_id: str = declare(
        "The snapshot's version id. Another version is drilled.",
        read=fit.version_id,
        needed="which snapshot (a Snapshot that is pending has none yet)",
        repeats=True,
    )
    _: KW_ONLY
    scratch_database_id: str = declare(
        "The database that is overwritten: yours, of the same engine, and for drills only.",
        read=fit.database_id("restore onto"),
        needed="the id of the database to restore onto, which only drills use",
        repeats=True,
    )
    checks: list[Check] | None = declare(
        "The queries to the restored database, and what each must return; without any, the rows of "
        "each table are counted, as by `Check.tables()`. Changed checks run at once if the "
        "scratch database still holds the restore, otherwise with the next drill.",
        default=None,
        read=read_checks,
    )
    overwrite_scratch: bool = declare(
        "Must be true, else the preview fails: everything that the scratch database holds is "
        "overwritten.",
        read=said(DRILLS_OVERWRITE),
    )
    password: str | None = declare(
        "The password of the scratch database, as the service shows it: host, port, user and "
        "client certificate follow from "
        "its id. To connect otherwise, or as another user, give `connection`.",
        default=None,
        secret=True,
        kept=False,
        read=filled,
    )
    connection: str | None = declare(
        "How to connect to the scratch database, in place of `password`, such as "
        "`postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; its own parameters choose TLS.",
        default=None,
        secret=True,
        kept=False,
        read=_connection,
    )
    source_connection: str | None = declare(
        "A read-only connection to the snapshot's own database. Until a drill "
        "has passed, the restored tables are compared with the tables there. "
        "Nothing is written there.",
        default=None,
        secret=True,
        kept=False,
        read=_connection,
    )
    every: Duration | None = declare(
        "The time after the last drill from which on an update drills again, "
        "even if nothing else has changed.",
        default=None,
        read=fit.duration(most=YEAR),
    )
    triggers: list[Any] | None = declare(
        "Any values. Changed values drill again.",
        default=None,
        read=fit.triggers,
        repeats=True,
        shown=True,
    )
    on_failure: str = declare(
        "What a drill that fails does: `error` fails the update, `warn` only warns.",
        default="error",
        read=ON_FAILURE.read,
        choices=ON_FAILURE,
    )
    timeout: Duration = declare(
        "How long the restore and the checks may take, and each later run that "
        "resumes them. The resource's "
        "custom timeout for creates "
        "wins.",
        default=DRILL_TIMEOUT,
        read=fit.timeout,
    )
    name: str | None = declare(
        "The snapshot's storage object, as a Snapshot or a lookup gives it; looked up unless "
        "given.",
        default=None,
        kept=False,
    )
    runtime: str | None = declare(
        "The snapshot's engine, as a Snapshot or a lookup gives it: the connection must fit it.",
        default=None,
        kept=False,
        choices=DATABASE_ENGINE,
    )

    @classmethod
    def problems(cls, values: Values) -> list[Problem]:
        """Find all problems of these values, also of values that must fit each other."""
        alone = super().problems(values)
        shown_problems = [
            hidden_problem(each, values.get(each.property)) for each in alone
        ]
        wrong = {each.property for each in alone}
        readable = {**values, **dict.fromkeys(wrong, UNKNOWN)}
        return [*with_snapshot_missing(shown_problems, values), *_conflicts(readable)]

    @property
    def snapshot(self) -> str:
        """The snapshot's id, as DATABASE_ID/VERSION_ID."""
        return f"{self.database_id}/{self.version_id}"

    @property
    def questions(self) -> list[Check]:
        """The checks; without any, the check that counts tables."""
        return self.checks or [Check.tables()]

    @property
    def restore(self) -> RestoreInputs:
        """The inputs of the restore that the drill begins with."""
        same: Any = {
            each: getattr(self, each)
            for each in ("database_id", "version_id", "timeout", "name", "runtime")
        }
        return RestoreInputs(
            **same,
            target_database_id=self.scratch_database_id,
            overwrite=True,
            triggers=marks(self.snapshot, self.triggers),
        )


def marks(snapshot: str, triggers: list[Any] | None) -> list[Any]:
    """Return what a drill's restore is for: another snapshot or other triggers are another drill.

    Args:
        snapshot: The snapshot's id, as DATABASE_ID/VERSION_ID.
        triggers: The drill's triggers; None is the same as no triggers.

    Returns:
        The triggers of the restore. No triggers of a Restore equal them.
    """
    return ["drill", snapshot, triggers or []]


def _conflicts(values: Values) -> Iterator[Problem]:
    """Find inputs that do not fit each other. A value that is wrong by itself must be `UNKNOWN`."""
    database_id = values.get("database_id")
    scratch = values.get("scratch_database_id")
    if isinstance(scratch, str) and is_same_database(scratch, database_id):
        own = f"must be another database than the snapshot's own: {DRILLS_OVERWRITE}"
        yield Problem("scratch_database_id", own)
    yield from _password_problems(values)
    connection = values.get("connection")
    if isinstance(connection, str):
        scratch_id = scratch if isinstance(scratch, str) else ""
        wrong_engine = engine_misfit(connection, values.get("runtime"))
        misfit = wrong_engine or ServerAddress.of(connection).misfit(scratch_id)
        if misfit:
            yield Problem("connection", misfit)
    source = values.get("source_connection")
    if isinstance(source, str):
        reason = _source_misfit(source, values)
        if reason:
            yield Problem("source_connection", reason)


def _source_misfit(source: str, values: Values) -> AnyMessage | None:
    """Say why a connection cannot be to the snapshot's own database; None if it may be."""
    connection = values.get("connection")
    if isinstance(connection, str) and is_same_place(source, connection):
        return Message(
            "must be to the snapshot's own database, not to that of {connection}"
        )
    database_id = values.get("database_id")
    if ServerAddress.of(source).misfit(
        database_id if isinstance(database_id, str) else ""
    ):
        return "must be to the snapshot's own database, and its host is that of another database"
    return engine_misfit(source, values.get("runtime"))


def _password_problems(values: Values) -> Iterator[Problem]:
    """Find what is wrong with the password; either a password or a connection must be given."""
    password = values.get("password")
    connection = values.get("connection")
    if password is None:
        if connection is None:
            way = "is required, or {connection}: how to connect to the scratch database"
            yield Problem("password", Message(way))
        return
    if connection is not None:
        yield Problem(
            "password",
            Message("must not be given beside {connection}, which holds one"),
        )
    kind = values.get("runtime")
    missing = lacking(kind) if kind in ENGINES else None
    if missing is not None:
        yield Problem("password", missing)


def counted_tables(results: Iterable[CheckResult] | None) -> list[TableRows]:
    """Return the rows of each table that a check has counted.

    Args:
        results: The results of a drill's checks; None if they were not run.

    Returns:
        The tables, each once, as the first check that has counted it; none if no check has.
    """
    tables = dict[str, TableRows]()
    for result in results or ():
        for each in result.tables or ():
            tables.setdefault(each.table, each)
    return list(tables.values())


class GoodDrill(Record, sparse=True):
    """A drill that has passed."""

    drilled_at: Moment = declare(
        "When the restored database was seen running again, by the service's clock."
    )
    database_id: str = declare("The database whose snapshot it was.")
    version_id: str = declare("The snapshot's version id.")
    restore_seconds: float | None = declare(
        "How long the restore took; absent if that is not known.", default=None
    )
    recovery_seconds: float | None = declare(RECOVERY_DOC, default=None)
    _: KW_ONLY
    results: list[CheckResult] = declare("What each check found.")


class DrillRecord(Record):
    """Proof that a snapshot restores: it is restored onto a scratch database, and checks ask it.

    `pulumi up` sends one restore, waits until the service says that it succeeded, connects to the
    scratch database, and
    runs the checks. One that fails fails the update. Afterwards only another snapshot, other
    triggers, another scratch
    database or `every` drill again. Nothing that the program uses is written to but the scratch
    database.
    """

    database_id: str = declare("The database whose snapshot was drilled.")
    version_id: str = declare("The snapshot's version id.")
    scratch_database_id: str = declare("The database that was overwritten.")
    requested_at: Moment = declare(
        "When the restore was requested, by the service's clock."
    )
    restored_at: Moment | None = declare(
        "When the scratch database was seen running again, by the service's clock; absent until "
        "then.",
        default=None,
    )
    _: KW_ONLY
    drilled_at: Moment | None = declare(
        "The time of the restore that was checked; absent until the checks were run.",
        default=None,
    )
    restore_seconds: float | None = declare(
        "How long the restore took, as a real recovery would. Absent until then, and if an "
        "interrupted run does not "
        "know.",
        default=None,
    )
    recovery_seconds: float | None = declare(RECOVERY_DOC, default=None)
    passed: bool | None = declare(
        "Whether all checks passed; absent until they were run.",
        default=None,
        settled=True,
    )
    results: list[CheckResult] | None = declare(
        "What each check found; absent until then, and empty if none could be run.",
        default=None,
        settled=True,
    )
    failure: str | None = declare(
        "The code with which the restore failed, or why the scratch database could not be "
        "reached; absent otherwise.",
        default=None,
    )
    proved_by: list[str] | None = declare(
        "What shows that the checks asked the scratch database: `address`, if "
        "the host and port are the service's own, and `restart`, if the server "
        "has started since the restore was requested. Absent until the checks "
        "were run, and empty if nothing shows it.",
        default=None,
    )
    last_good: GoodDrill | None = declare(
        "The last drill that has passed, this one or an earlier one; absent if none has.",
        default=None,
    )
    attempt: Request | None = declare(
        "The request, only until its end is known.", default=None
    )

    @property
    def id(self) -> str:
        """`SCRATCH_ID/drill:TIME`, of the first drill; later drills do not change the id."""
        return id_at(self.scratch_database_id, "drill:", self.requested_at)

    @property
    def snapshot(self) -> str:
        """The snapshot's id, as DATABASE_ID/VERSION_ID."""
        return f"{self.database_id}/{self.version_id}"

    @property
    def pending(self) -> bool:
        """Whether the restore's end was not seen yet."""
        return self.restored_at is None and not self.failed_to_restore

    @property
    def failed_to_restore(self) -> bool:
        """Whether the service could not restore the snapshot."""
        return self.restored_at is None and self.failure is not None

    @property
    def reason(self) -> str:
        """Why the drill has failed: each check that did not pass, or why none was run."""
        if self.failed_to_restore:
            return f"it could not be restored ({self.failure})"
        failed = [each.summary for each in self.results or () if not each.passed]
        return "; ".join(failed) or self.failure or "its checks were not run"

    @property
    def warning(self) -> str:
        """The warning of each run after a drill that failed and only warned."""
        when = to_the_second(self.drilled_at or self.requested_at)
        return f"the last drill, of snapshot {self.snapshot} at {when}, failed: {self.reason}."

    def next_drill(self, every: Any) -> AnyMessage:
        """Say with which drill checks run that cannot run now.

        Args:
            every: The input, a duration; None or `UNKNOWN` if no drill is due by age.

        Returns:
            The words, which follow "they run".
        """
        if every is None or every is UNKNOWN:
            return Message(
                "with the next drill, which another snapshot, other {triggers} or {every} begin"
            )
        last = parse_rfc3339(self.restored_at or self.requested_at)
        due = last + timedelta(seconds=parse_duration(every))
        return f"with the next drill, which is due at {to_the_second(due)}"

    @property
    def tables(self) -> list[TableRows]:
        """The rows of each table, of the check that has counted them; empty without one."""
        return counted_tables(self.results)

    @property
    def proof(self) -> Drilled | None:
        """What manifests and the ledger keep of the drill; None if it has not passed."""
        if not self.passed or self.drilled_at is None:
            return None
        return Drilled(self.drilled_at, self.restore_seconds, self.recovery_seconds)

    def with_results(
        self,
        results: Sequence[CheckResult],
        proofs: list[str],
        seconds: float | None = None,
    ) -> Self:
        """Return the drill once its checks were run.

        Args:
            results: What each check has found. Without any, the drill has not passed.
            proofs: What shows that the right database was asked, as `proved_by` has it.
            seconds: How long ago the restore was requested; None if that is not the recovery time.
        """
        passed = bool(results) and all(each.passed for each in results)
        ended = replace(
            self._ended(passed=passed),
            results=list(results),
            failure=None,
            proved_by=proofs,
            recovery_seconds=seconds if passed else None,
        )
        if not passed:
            return ended
        return replace(ended, last_good=GoodDrill.from_outputs(ended.to_outputs()))

    def with_failure(self, failure: str) -> Self:
        """Return the drill once it is known why no check can be run.

        Args:
            failure: The code with which the restore failed, or why the database could not be asked.

        Returns:
            The drill, which has not passed; it has no results.
        """
        return replace(
            self._ended(passed=False),
            results=[],
            failure=failure,
            proved_by=None,
            recovery_seconds=None,
        )

    def _ended(self, *, passed: bool) -> Self:
        return replace(
            self,
            drilled_at=self.restored_at,
            passed=passed,
            attempt=None,
        )


DRILL = ResourceSchema(
    "Drill",
    DrillInputs,
    DrillRecord,
    scopes=("snapshots:read", "snapshots:write", "databases:read"),
)
