"""A drill: its inputs, where its connection leads, and what the state keeps of it. Programs load it, so it loads no HTTP stack."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pulumi_snapshots.archive.record import Drilled, archive_uri, hidden_problem
from pulumi_snapshots.clock import parse_rfc3339, to_the_second
from pulumi_snapshots.databases.kinds import KINDS, keywords, kind_of, lacking
from pulumi_snapshots.drill.check import Check, CheckResult, filled, read_checks
from pulumi_snapshots.errors import Text, Words
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.properties import checks as fit
from pulumi_snapshots.properties.catalogue import (
    Choices,
    Duration,
    Inputs,
    Moment,
    Record,
    ResourceSchema,
    declare,
)
from pulumi_snapshots.properties.checks import UNKNOWN, Problem, Unfit, parse_duration
from pulumi_snapshots.restore.record import RestoreInputs, said, with_snapshot_missing
from pulumi_snapshots.run.memory import DRILLS_OVERWRITE, id_at
from pulumi_snapshots.snapshot.record import DATABASE_ENGINE
from pulumi_snapshots.storage import encryption

# What can show that the scratch database was asked: its own host and port, that its server has started since the request, and
# that this run has itself emptied and loaded it over the same connection.
ADDRESS, RESTART, LOAD = "address", "restart", "load"
# The output whose change says what an update has to do: drill again, watch a restore, run the checks.
DRILLS, RESUMES, ASKS = "drilled_at", "attempt", "results"
OWN_HOST = re.compile(r"square-cloud-db-([a-z0-9_-]+)\.squareweb\.app\.?", re.IGNORECASE)
ANOTHER = "must be to the scratch database, and its host is that of another database"
DEFAULT_TIMEOUT = 30 * 60.0  # seconds: those of a restore, and as many for the checks
PURPOSE = "drill a snapshot of"
NEEDED = {
    "database_id": f"the id of the database to {PURPOSE}",
    "version_id": "which snapshot (a Snapshot that is pending has none yet)",
    "scratch_database_id": "the id of the database to restore onto, which only drills use",
}
YEAR = 365 * 86400.0
ON_FAILURE = Choices(
    "OnFailure",
    {
        "error": "It fails the update.",
        "warn": "It only warns, at each update until a drill passes.",
    },
)


def _connection(given: object) -> str:
    dsn = fit.text(given)
    if missing := lacking(kind_of(dsn)):
        raise Unfit(missing)
    return dsn


def _identity_file(given: object) -> str:
    if encryption.PRIVATE in fit.text(given).upper():
        raise Unfit(
            "must be the path of the private key's file, not the key: change this one, it was seen"
        )
    return str(Path(str(given)).expanduser())


class DrillInputs(Inputs):
    """The inputs of a drill; durations in seconds."""

    database_id: str = declare(
        "The database whose snapshot is drilled.",
        default="",
        read=fit.database_id(PURPOSE),
        repeats=True,
    )
    version_id: str = declare(
        "The snapshot's version id. Another one is drilled.",
        default="",
        read=fit.version_id,
        repeats=True,
    )
    _: KW_ONLY
    archive: str | None = declare(
        "In place of a snapshot, the path or URI of an archive of one: it is loaded into the database of `connection`, at any "
        "host, by its engine's own programs. Another one is drilled.",
        default=None,
        read=archive_uri,
        repeats=True,
    )
    identity_file: str | None = declare(
        "The file of the private key that opens an encrypted archive, as `age-keygen` writes it, on the machine that runs "
        "`pulumi`.",
        default=None,
        read=_identity_file,
    )
    scratch_database_id: str = declare(
        "The database that is overwritten: yours, of the same engine, and for drills only. Required, unless an archive is "
        "drilled.",
        default="",
        read=fit.database_id("restore onto"),
        repeats=True,
    )
    checks: list[Check] = declare(
        "What the restored database is asked, and what it must answer. Changed ones are run at once if the scratch database "
        "still holds the restore, otherwise with the next drill.",
        read=read_checks,
        needed="what the restored database is asked",
    )
    overwrite_scratch: bool = declare(
        "Must be true, else the preview fails: everything that the scratch database holds is overwritten.",
        read=said(DRILLS_OVERWRITE),
    )
    password: str | None = declare(
        "The password of the scratch database, as the service shows it: host, port, user and client certificate follow from "
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
    every: Duration | None = declare(
        "An update this long after the last drill drills again, also if nothing else has changed.",
        default=None,
        read=fit.duration(most=YEAR),
    )
    triggers: list[Any] | None = declare(
        "Any values. A change of any drills again.", default=None, read=fit.triggers, repeats=True
    )
    on_failure: str = declare(
        "What a drill that fails does: `error` fails the update, `warn` only warns.",
        default="error",
        read=ON_FAILURE.read,
        choices=ON_FAILURE,
    )
    timeout: Duration = declare(
        "How long the restore and the checks may take, and each resume again. The resource's custom timeout for creates "
        "wins.",
        default=DEFAULT_TIMEOUT,
        read=fit.timeout,
    )
    name: str | None = declare(
        "The snapshot's storage object, as a Snapshot or a lookup gives it; looked up unless given.",
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
    def problems(cls, values: Mapping[str, Any]) -> list[Problem]:
        """All problems of these values, also of those that must fit each other."""
        alone = super().problems(values)
        found = [hidden_problem(each, values.get(each.property)) for each in alone]
        connection, password, scratch = map(
            values.get, ("connection", "password", "scratch_database_id")
        )
        if values.get("archive") is not None:
            beside = Text("cannot be given beside {archive}, which is loaded over {connection}")
            found += [Problem("scratch_database_id", beside)] if scratch is not None else []
            found += [Problem("password", beside)] if password is not None else []
            required = "is required: how to connect to the database that the archive is loaded into"
            another = f"must be to another database than the archive's own: {DRILLS_OVERWRITE}"
            is_own = values.get("database_id") in list(Address.of(connection).databases)
            reason = required if connection is None else another if is_own else ""
            return [*found, Problem("connection", reason)] if reason else found
        missing = {name: why for name, why in NEEDED.items() if values.get(name) is None}
        found += [Problem(name, f"is required: {why}") for name, why in missing.items()]
        found = with_snapshot_missing(found, values)
        wrong, kind = missing.keys() | {each.property for each in alone}, str(values.get("runtime"))
        if (
            "scratch_database_id" not in wrong
            and scratch is not UNKNOWN
            and scratch == values.get("database_id")
        ):
            another = f"must be another database than the snapshot's own: {DRILLS_OVERWRITE}"
            found.append(Problem("scratch_database_id", another))
        if connection is None and password is None:
            way = Text("is required, or {connection}: how to connect to the scratch database")
            found.append(Problem("password", way))
        elif connection is not None and password is not None:
            found.append(
                Problem("password", Text("must not be given beside {connection}, which holds one"))
            )
        if password is not None and kind in KINDS and (no_library := lacking(kind)):
            found.append(Problem("password", no_library))
        if "connection" not in wrong and isinstance(connection, str):
            reason = misfit(connection, kind) or Address.of(connection).misfit(
                scratch if isinstance(scratch, str) else ""
            )
            found += [Problem("connection", reason)] if reason else []
        return found

    @property
    def snapshot(self) -> str:
        """The snapshot's id, as DATABASE_ID/VERSION_ID."""
        return f"{self.database_id}/{self.version_id}"

    @property
    def restore(self) -> RestoreInputs:
        """The restore that it begins with."""
        same: Any = {
            each: getattr(self, each)
            for each in ("database_id", "version_id", "timeout", "name", "runtime")
        }
        target, triggers = self.scratch_database_id, marks(self.snapshot, self.triggers)
        return RestoreInputs(**same, target_database_id=target, overwrite=True, triggers=triggers)


def marks(snapshot: str, triggers: list[Any] | None) -> list[Any]:
    """What a drill's restore is for; another snapshot or other triggers are another drill. No Restore's triggers equal it."""
    return ["drill", snapshot, triggers or []]


def misfit(connection: str, runtime: str | None) -> str:
    """Why a connection cannot be to the engine of a snapshot; empty if it can, or if that is not known."""
    if runtime not in KINDS or (given := kind_of(connection)) == runtime:
        return ""
    return (
        f"must be to {KINDS[runtime].title}, as the snapshot is of it, not to {KINDS[given].title}"
    )


def own_host(database_id: str) -> str:
    """The service's host of a database."""
    return f"square-cloud-db-{database_id}.squareweb.app"


@dataclass(frozen=True)
class Address:
    """The hosts and ports of a connection, and ids in the service's own; `is_direct` if nothing else finds the server."""

    places: tuple[tuple[str, int, str], ...]
    is_direct: bool

    @classmethod
    def of(cls, dsn: object) -> Address:
        """Read a connection string; what `kind_of` does not take leads nowhere."""
        try:
            dsn = fit.text(dsn)
            usual, more, names, numbers = KINDS[kind_of(dsn)].port, dict(keywords(dsn)), [""], [""]
        except Unfit:
            return cls((), is_direct=False)
        if "://" in dsn:
            parts = urlsplit(dsn)
            more, places = dict(parse_qsl(parts.query)), parts.netloc.rpartition("@")[2].split(",")
            names = [re.sub(r":\d+$", "", place) for place in places]
            numbers = [place[len(name) + 1 :] for place, name in zip(places, names, strict=True)]
        # PostgreSQL takes both from the parameters too.
        hosts = [unquote(host).strip() for host in (more.get("host") or ",".join(names)).split(",")]
        ports = [port.strip() for port in (more.get("port") or ",".join(numbers)).split(",")]
        ports *= len(hosts) if len(ports) == 1 else 1  # one for all
        own = [(OWN_HOST.fullmatch(host) or [""] * 2)[1].lower() for host in hosts]
        found = [int(port) if port.isdecimal() else usual for port in ports]
        is_direct = not dsn.startswith("mongodb+srv:") and not {"hostaddr", "service"} & more.keys()
        return cls((*zip(hosts, found, own, strict=False),), is_direct)

    @property
    def databases(self) -> set[str]:
        """The ids of the service's databases to whose own hosts it leads."""
        return {own for _, _, own in self.places if own}

    def misfit(self, database_id: str, port: int | None = None) -> str:
        """Why it cannot lead to a database, or one whose id begins so, at its port, if that is known; empty if it may."""
        if any(not own.startswith(database_id.lower()) for own in self.databases):
            return ANOTHER
        if (
            self.is_direct
            and port is not None
            and any(own and at != port for _, at, own in self.places)
        ):
            return f"must be to port {port} of the scratch database, as the service says"
        return ""

    def is_own(self, database_id: str) -> bool:
        """Whether it can only lead to this database, if its port is right too."""
        return self.is_direct and all(own == database_id.lower() for _, _, own in self.places)


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
    scratch_database_id: str = declare(
        "The database that was overwritten; empty if an archive was drilled."
    )
    requested_at: Moment = declare(
        "When the restore was requested, by the service's clock; of an archive, when its load began, by this machine's."
    )
    restored_at: Moment | None = declare(
        "When the scratch database was seen running again, by the service's clock; absent until then.",
        default=None,
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
    passed: bool | None = declare(
        "Whether all checks passed; absent until they were run.", default=None, settled=True
    )
    results: list[CheckResult] | None = declare(
        "What each check found; absent until then, and empty if none could be run.",
        default=None,
        settled=True,
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
    archive: str | None = declare(
        "The URI of the archive that was drilled; absent for a snapshot.", default=None
    )
    last_good: GoodDrill | None = declare(
        "The last drill that has passed, this one or an earlier one; absent if none has.",
        default=None,
    )
    attempt: Request | None = declare("The request, only until its end is known.", default=None)

    @property
    def id(self) -> str:
        """`SCRATCH_ID/drill:TIME`, of the first drill; it stays. The snapshot's id stands there for an archive's."""
        return id_at(self.scratch_database_id or self.snapshot, "drill:", self.requested_at)

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
            return Text(
                "with the next drill, which another snapshot, other {triggers} or {every} begin"
            )
        due = parse_rfc3339(self.restored_at or self.requested_at) + timedelta(
            seconds=parse_duration(every)
        )
        return f"with the next drill, which is due at {to_the_second(due)}"

    @property
    def drilled(self) -> Drilled | None:
        """What it proves; None if it has not passed."""
        return (
            Drilled(self.drilled_at, self.restore_seconds)
            if self.passed and self.drilled_at
            else None
        )

    def judged(
        self,
        results: Iterable[CheckResult] = (),
        proofs: list[str] | None = None,
        failure: str | None = None,
    ) -> Self:
        """With what its checks have found, and what shows that the right database was asked; or why none could be run."""
        found, at = [*results], self.restored_at
        passed = failure is None and all(each.passed for each in found)
        ended = replace(
            self,
            drilled_at=at,
            passed=passed,
            results=found,
            failure=failure,
            proved_by=proofs,
            attempt=None,
        )
        return (
            replace(ended, last_good=GoodDrill.from_outputs(ended.to_outputs()))
            if passed
            else ended
        )


DRILL = ResourceSchema("Drill", DrillInputs, DrillRecord)
