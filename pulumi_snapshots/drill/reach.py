"""The connection of a drill's checks to the scratch database, and what it proves.

The connection shows whether the checks ask the scratch database, and whether the restore has acted.
"""

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple
from urllib.parse import quote

from pulumi_snapshots.clock import parse_rfc3339, to_the_second
from pulumi_snapshots.databases.database import DatabaseUnreachable
from pulumi_snapshots.databases.kinds import lacking
from pulumi_snapshots.drill.address import ServerAddress, engine_misfit, own_host
from pulumi_snapshots.drill.record import ADDRESS, RESTART, DrillInputs, DrillRecord
from pulumi_snapshots.errors import AnyMessage, Hint, HintKind, Message, ProviderError
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import (
    NotAllowed,
    RestoreRunning,
    SquareCloudError,
)
from pulumi_snapshots.service.models import DatabaseStatus

# The server's certificate is not checked: who signs it is not published.
CONNECTION_FORMS = {
    "postgres": "postgresql://squarecloud:{password}@{place}/squarecloud"
    "?sslmode=require&sslcert={file}&sslkey={file}",
    "mysql": "mysql://squarecloud:{password}@{place}/squarecloud?ssl-mode=REQUIRED&ssl-cert={file}",
    "mongo": "mongodb://default:{password}@{place}/squarecloud"
    "?authSource=admin&directConnection=true&tls=true&tlsAllowInvalidCertificates=true"
    "&tlsCertificateKeyFile={file}",
    "redis": "rediss://default:{password}@{place}/0?ssl_cert_reqs=none&ssl_check_hostname=False"
    "&ssl_certfile={file}&ssl_keyfile={file}",
}
"""Connection strings with the service's own user and database names, and a client certificate."""
SLACK = timedelta(seconds=5)
"""How far two times may be apart: servers say whole seconds, and an answer takes time."""
STARTS_APART = timedelta(minutes=5)
"""How far the service's start of a database and the start of the server in it may be apart."""
SETTLED_AFTER = 60.0
"""Seconds for which the service must say that a database has not started again, to be believed."""
DESCRIPTORS = Path("/proc/self/fd")
ANOTHER_DATABASE = "the connection leads to another database"
NOT_RUNNING = (
    "the scratch database does not run, and another one has accepted the connection"
)
NOT_ENOUGH = (
    "{password} is not enough, since the service does not say the scratch database's engine and "
    "port: give {connection}"
)


def own_connection(kind: str, place: str, password: str, file: str) -> str:
    """Make the connection string of a database of the service.

    Args:
        kind: The engine, as the service names it.
        place: HOST:PORT.
        password: The password, as it is.
        file: The path of a file with the private key and the certificate.
    """
    return CONNECTION_FORMS[kind].format(
        place=place, password=quote(password, safe=""), file=quote(file, safe="/")
    )


@contextmanager
def held(content: bytes) -> Iterator[str]:
    """Keep content in a file that only this user can read, while the block runs.

    Args:
        content: The content, such as a private key with its certificate.

    Yields:
        The file's path. The file is in memory only if the system can, else in the folder for
        temporary files.
    """
    in_memory = hasattr(os, "memfd_create") and DESCRIPTORS.exists()
    made: Any
    if in_memory:
        made = os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb")
    else:
        made = NamedTemporaryFile()  # noqa: SIM115  the next line closes it
    with made as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        yield str(DESCRIPTORS / str(file.fileno())) if in_memory else file.name


class ProvesNothing(ProviderError):
    """A drill's checks would prove nothing: another database was asked, or nothing was restored."""

    def __init__(
        self, why: str, then: Iterable[Hint] = (Hint(HintKind.CHECK_CONNECTION),)
    ) -> None:
        super().__init__(
            f"The drill would prove nothing: {why}", "No check was run.", then
        )
        self.why = why


class Started(NamedTuple):
    """The last start of a database by the service.

    Attributes:
        at: The time; None if the service does not say.
        with_server: Whether the server starts with the database.
    """

    at: datetime | None
    with_server: bool


@dataclass
class Reach:
    """The way to the scratch database of one drill.

    Attributes:
        session: What the run shares.
        inputs: The drill's inputs.
        kind: The database's engine, once it is known.
        port: The database's port, once it is known.
        certificate: The database's client certificate with its private key, once it is known.
    """

    session: Session
    inputs: DrillInputs
    kind: str | None = None
    port: int | None = None
    certificate: bytes | None = None

    @property
    def is_own(self) -> bool:
        """Whether its address can only lead to the scratch database."""
        connection = self.inputs.connection
        if connection is None:
            return True
        return ServerAddress.of(connection).is_own(self.inputs.scratch_database_id)

    async def misfit(self, runtime: str | None) -> AnyMessage | None:
        """Find out before the restore why the checks cannot connect to the scratch database.

        Args:
            runtime: The snapshot's engine, if that is known.

        Returns:
            The reason; None if they can.

        Raises:
            SquareCloudError: The service does not give the address or the certificate, and will not
                later either.
        """
        connection = self.inputs.connection
        if connection is None:
            try:
                return await self._missing(runtime)
            except SquareCloudError as error:
                if _passes(error):
                    return None  # The checks ask again after the restore.
                raise
        scratch = self.inputs.scratch_database_id
        port: int | None = None
        if self.is_own:
            # If the error matters, the request of the restore fails too.
            with suppress(SquareCloudError):
                database = await self.session.client.database(scratch, patience=BRIEF)
                port = database.port
        address = ServerAddress.of(connection)
        reason = engine_misfit(connection, runtime) or address.misfit(scratch, port)
        return Message("{connection} {reason}", reason=reason) if reason else None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[str]:
        """Keep the client certificate in a file while the block runs.

        Yields:
            The connection string.

        Raises:
            DatabaseUnreachable: The service does not give the address or the certificate now.
            ProvesNothing: The service will not give them later either.
        """
        if self.inputs.connection is not None:
            yield self.inputs.connection
            return
        try:
            missing = await self._missing(self.inputs.runtime)
        except SquareCloudError as error:
            reason = f"the service did not give its address and certificate ({error.happened})"
            if _passes(error):
                raise DatabaseUnreachable("scratch", reason, error.then) from error
            raise ProvesNothing(reason, error.then) from error
        if missing is not None:
            raise ProvesNothing(str(missing))
        with held(self.certificate or b"") as file:
            place = f"{own_host(self.inputs.scratch_database_id)}:{self.port}"
            password = self.inputs.password or ""
            try:
                yield own_connection(self.kind or "", place, password, file)
            except DatabaseUnreachable:
                # The restore may have moved the database: the next try asks again.
                self.port = None
                raise

    async def _missing(self, runtime: str | None) -> AnyMessage | None:
        """Ask the service for the engine, the port and the certificate, unless they are known.

        Returns what is missing to connect by the password; None if nothing is.
        """
        scratch = self.inputs.scratch_database_id
        client = self.session.client
        if self.kind is None or self.port is None:
            database = await client.database(scratch, patience=BRIEF)
            self.port = database.port
            self.kind = database.type or runtime
        if self.kind not in CONNECTION_FORMS or self.port is None:
            return Message(NOT_ENOUGH)
        library = lacking(self.kind)
        if library is not None:
            return Message("{password} {why}", why=library)
        if self.certificate is None:
            self.certificate = await client.database_certificate(
                scratch, patience=BRIEF
            )
        return None

    async def proofs(self, record: DrillRecord, age: float | None) -> list[str]:
        """Find the proofs that the scratch database is asked, and was restored.

        Args:
            record: The drill, whose restore has ended.
            age: The seconds for which the server that is asked has run; None if it does not say.

        Returns:
            `ADDRESS`, `RESTART`, both or neither.

        Raises:
            ProvesNothing: Another database is asked, or the restore has done nothing.
        """
        requested = parse_rfc3339(record.requested_at) - SLACK
        started = await self._started(requested)
        if started.at is not None and started.at < requested:
            raise ProvesNothing(
                "the restore has done nothing: the service says that the scratch database has run "
                f"since {to_the_second(started.at)}, which is before the request"
            )
        proved_by = [ADDRESS] if self.is_own else []
        if age is None:
            return proved_by
        server_started = self.session.service_clock.now() - timedelta(seconds=age)
        self._refuse_another(started.at, server_started)
        if server_started >= requested:
            return [*proved_by, RESTART]
        if started.with_server:
            raise ProvesNothing(
                f"{ANOTHER_DATABASE}, or the restore has done nothing: the server that was asked "
                f"has run since {to_the_second(server_started)}, which is before the request"
            )
        return proved_by

    def _refuse_another(
        self, started: datetime | None, server_started: datetime
    ) -> None:
        """Raise `ProvesNothing` if the server that is asked did not start with the database.

        Args:
            started: When the service has started the scratch database; None if the service does not
                say.
            server_started: When the server that is asked has started, by its own word.
        """
        if started is None:
            return
        is_older = server_started < started - STARTS_APART
        # The server of the right address may have been started again since.
        is_newer = server_started > started + STARTS_APART and not self.is_own
        if is_older or is_newer:
            raise ProvesNothing(
                f"{ANOTHER_DATABASE}: the service has started the scratch database at "
                f"{to_the_second(started)}, and the server that was asked has run since "
                f"{to_the_second(server_started)}"
            )

    async def _started(self, since: datetime) -> Started:
        """Ask the service when the scratch database was last started.

        The status may be an old one. A time before `since`, the restore, or a database that does
        not run is therefore believed only if the status stays the same for a while.
        """
        until = self.session.clock.monotonic() + SETTLED_AFTER
        while True:
            is_last = self.session.clock.monotonic() >= until
            try:
                status = await self._status(is_last=is_last)
            except NotAllowed:
                return Started(None, with_server=True)
            if status is not None and status.running:
                is_new = status.uptime is None or status.uptime >= since
                if is_new or is_last:
                    # Only an emulator leaves the field empty, for a server that it does not start.
                    is_empty = (
                        "uptime" in status.model_fields_set and status.uptime is None
                    )
                    return Started(status.uptime, with_server=not is_empty)
            elif is_last:
                raise ProvesNothing(NOT_RUNNING)
            await self.session.clock.sleep(self.session.settings.poll_every)

    async def _status(self, *, is_last: bool) -> DatabaseStatus | None:
        """Ask the service for the scratch database's status; None if it gives none this time.

        Raises:
            NotAllowed: The key may not read the status.
            ProvesNothing: The service gives no status, although this is the last time to ask.
        """
        try:
            # The answer to an earlier request does not do: it may be from before the restore's end.
            return await self.session.client.database_status(
                self.inputs.scratch_database_id, patience=BRIEF
            )
        except NotAllowed:
            raise
        except SquareCloudError as error:
            if not is_last:
                return None
            reason = (
                "the service does not say whether the scratch database runs "
                f"({error.happened})"
            )
            raise ProvesNothing(reason, error.then) from error


def _passes(error: SquareCloudError) -> bool:
    """Whether the service may answer later, as once the database runs again."""
    if error.passing or isinstance(error, RestoreRunning):
        return True
    return error.code == "DATABASE_NOT_RUNNING"
