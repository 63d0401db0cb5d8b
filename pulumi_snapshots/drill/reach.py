"""How the checks of a drill reach the scratch database, and what shows that they have, and that its restore has acted."""

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import quote

from pulumi_snapshots.clock import parse_rfc3339, to_the_second
from pulumi_snapshots.databases.database import DatabaseUnreachable
from pulumi_snapshots.databases.kinds import lacking
from pulumi_snapshots.drill.record import (
    ADDRESS,
    RESTART,
    Address,
    DrillInputs,
    DrillRecord,
    misfit,
    own_host,
)
from pulumi_snapshots.errors import Explained, Next, Step, Text, Words
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import (
    DatabaseMissing,
    KeyRefused,
    NotAllowed,
    RestoreRunning,
    SquareCloudError,
)

# The server's certificate is not checked: who signs it is not published.
FORMS = {
    "postgres": "postgresql://squarecloud:{password}@{place}/squarecloud?sslmode=require&sslcert={file}&sslkey={file}",
    "mysql": "mysql://squarecloud:{password}@{place}/squarecloud?ssl-mode=REQUIRED&ssl-cert={file}",
    "mongo": "mongodb://default:{password}@{place}/squarecloud?authSource=admin&directConnection=true&tls=true"
    "&tlsAllowInvalidCertificates=true&tlsCertificateKeyFile={file}",
    "redis": "rediss://default:{password}@{place}/0?ssl_cert_reqs=none&ssl_check_hostname=False"
    "&ssl_certfile={file}&ssl_keyfile={file}",
}
"""The service's own users and names, and a client certificate, as each kind's connection string has them."""
# how far two times may be wrong: servers say whole seconds, and an answer takes time
SLACK = timedelta(seconds=5)
# between the start of a database, as the service has it, and that of its server's process
APART = timedelta(minutes=5)
STAYS = 60.0  # seconds for which the service must say that a database has not started again, to be believed
DESCRIPTORS = Path("/proc/self/fd")


def own_connection(kind: str, place: str, password: str, file: str) -> str:
    """The connection string of a database of the service at HOST:PORT; `file` has the private key and the certificate."""
    return FORMS[kind].format(
        place=place, password=quote(password, safe=""), file=quote(file, safe="/")
    )


@contextmanager
def held(content: bytes) -> Iterator[str]:
    """The path of a file with this content, for as long as the block runs: in memory only, if this machine can do that."""
    in_memory = hasattr(os, "memfd_create") and DESCRIPTORS.exists()
    made: Any = (
        os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb")
        if in_memory
        else NamedTemporaryFile()  # noqa: SIM115
    )
    with made as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        yield str(DESCRIPTORS / str(file.fileno())) if in_memory else file.name


class ProvesNothing(Explained):
    """A drill's checks would prove nothing: another database was asked, or nothing was restored."""

    def __init__(self, why: str, then: Iterable[Next] = (Next(Step.CHECK_CONNECTION),)) -> None:
        super().__init__(f"The drill would prove nothing: {why}", "No check was run.", then)
        self.why = why


@dataclass
class Reach:
    """The way to the scratch database of one drill; its kind, port and client certificate, once they are known."""

    session: Session
    inputs: DrillInputs
    kind: str | None = None
    port: int | None = None
    certificate: bytes | None = None

    @property
    def is_own(self) -> bool:
        """Whether its address can only lead to the scratch database."""
        connection = self.inputs.connection
        return connection is None or Address.of(connection).is_own(self.inputs.scratch_database_id)

    async def misfit(self, runtime: str | None) -> Words:
        """Why the checks cannot ask the scratch database, found out before anything is overwritten; empty if they can."""
        connection, scratch, port = self.inputs.connection, self.inputs.scratch_database_id, None
        if connection is None:
            try:
                return await self._lacking(runtime)
            except SquareCloudError as error:
                if _passes(error):
                    return ""
                raise
        if self.is_own:
            try:
                port = (await self.session.client.database(scratch, patience=BRIEF)).port
            except SquareCloudError as error:  # most often it does not say
                if isinstance(error, KeyRefused | DatabaseMissing):
                    raise
        reason = misfit(connection, runtime) or Address.of(connection).misfit(scratch, port)
        return Text("{connection} {reason}", reason=reason) if reason else ""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[str]:
        """The connection string while the block runs; raises `DatabaseUnreachable` or `ProvesNothing` if the service does not say it."""
        if self.inputs.connection is not None:
            yield self.inputs.connection
            return
        try:
            lacking = await self._lacking(self.inputs.runtime)
        except SquareCloudError as error:
            why = f"the service did not give its address and certificate ({error.happened})"
            if _passes(error):
                raise DatabaseUnreachable("scratch", why, error.then) from error
            raise ProvesNothing(why, error.then) from error
        if lacking:
            raise ProvesNothing(str(lacking))
        with held(self.certificate or b"") as file:
            place = f"{own_host(self.inputs.scratch_database_id)}:{self.port}"
            try:
                yield own_connection(self.kind or "", place, self.inputs.password or "", file)
            except DatabaseUnreachable:
                self.port = None  # the restore may have moved it: the next try asks again
                raise

    async def _lacking(self, runtime: str | None) -> Words:
        """Ask the service for what is not known yet; returns what is lacking to connect, empty if nothing is."""
        scratch, client = self.inputs.scratch_database_id, self.session.client
        if self.kind is None or self.port is None:
            database = await client.database(scratch, patience=BRIEF)
            self.port, self.kind = database.port, database.type or runtime
        if self.kind not in FORMS or self.port is None:
            not_said = "since the service does not say the scratch database's engine and port: give {connection}"
            return Text(f"{{password}} is not enough, {not_said}")
        if missing := lacking(self.kind):
            return Text("{password} {why}", why=missing)
        if self.certificate is None:
            self.certificate = await client.database_certificate(scratch, patience=BRIEF)
        return ""

    async def proofs(self, record: DrillRecord, age: float | None) -> list[str]:
        """Find what shows that the scratch database is asked, and was restored, as the server's `age` tells; raises `ProvesNothing`."""
        requested = parse_rfc3339(record.requested_at) - SLACK
        theirs = None if age is None else self.session.service_clock.now() - timedelta(seconds=age)
        started, restarts = await self._started(requested)
        if started is not None and started < requested:
            raise ProvesNothing(
                f"the restore has done nothing: the service says that the scratch database has run since {to_the_second(started)}, "
                "which is before the request"
            )
        shown = [ADDRESS] if self.is_own else []
        if theirs is None:
            return shown
        another = "the connection leads to another database"
        asked = f"the server that was asked has run since {to_the_second(theirs)}"
        if started is not None and (
            theirs < started - APART or (theirs > started + APART and not self.is_own)
        ):
            since = f"the service has started the scratch database at {to_the_second(started)}"
            raise ProvesNothing(f"{another}: {since}, and {asked}")
        if theirs < requested and restarts:
            raise ProvesNothing(
                f"{another}, or the restore has done nothing: {asked}, which is before the request"
            )
        return [*shown, RESTART] if theirs >= requested else shown

    async def _started(self, since: datetime) -> tuple[datetime | None, bool]:
        """When the database was last started, if the service says it; and whether a restore, which starts it, starts its server."""
        until = self.session.clock.monotonic() + STAYS
        while True:  # a time from before the restore, and that it does not run, must stay: the status may be old
            over = self.session.clock.monotonic() >= until
            try:
                # Not one that another caller has asked for in the same moment, before the restore was over.
                status = await self.session.client.database_status(
                    self.inputs.scratch_database_id, patience=BRIEF
                )
            except NotAllowed:
                return None, True
            except SquareCloudError as error:
                if over or not error.passing:
                    why = f"the service does not say how the scratch database is ({error.happened})"
                    raise ProvesNothing(why, error.then) from error
            else:
                if status.running and (over or status.uptime is None or status.uptime >= since):
                    # Only an emulator, which does not start a server of yours again, has it and leaves it empty.
                    return (
                        status.uptime,
                        status.uptime is not None or "uptime" not in status.model_fields_set,
                    )
                if over:
                    raise ProvesNothing(
                        "the scratch database does not run, and another one has accepted the connection"
                    )
            await self.session.clock.sleep(self.session.settings.poll_every)


def _passes(error: SquareCloudError) -> bool:
    """Whether the service may say it a little later, as when the database runs again."""
    return (
        error.passing or isinstance(error, RestoreRunning) or error.code == "DATABASE_NOT_RUNNING"
    )
