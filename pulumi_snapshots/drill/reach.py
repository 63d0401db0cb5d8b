"""How the checks of a drill reach the scratch database: as the user says, or from its id, its password and its certificate."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pulumi_snapshots.databases.errors import DatabaseUnreachable
from pulumi_snapshots.databases.kinds import missing_extra
from pulumi_snapshots.drill.address import Address, own_host
from pulumi_snapshots.drill.inputs import DrillInputs, lacks, misfit
from pulumi_snapshots.errors import Text, Words
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import DatabaseMissing, KeyRefused, RestoreRunning, SquareCloudError

DATABASE = "squarecloud"
# The server's certificate is not checked: who signs it is not published.
FORMS = {
    "postgres": "postgresql://squarecloud:{password}@{host}:{port}/{database}?sslmode=require&sslcert={file}&sslkey={file}",
    "mysql": "mysql://squarecloud:{password}@{host}:{port}/{database}?ssl-mode=REQUIRED&ssl-cert={file}",
    "mongo": "mongodb://default:{password}@{host}:{port}/{database}?authSource=admin&directConnection=true&tls=true"
    "&tlsAllowInvalidCertificates=true&tlsCertificateKeyFile={file}",
    "redis": "rediss://default:{password}@{host}:{port}/0?ssl_cert_reqs=none&ssl_check_hostname=False"
    "&ssl_certfile={file}&ssl_keyfile={file}",
}
"""The service's own users and names, and a client certificate, as each kind's connection string has them."""
NOT_SAID = Text(
    "{password} is not enough, since the service does not say the scratch database's engine and port: give {connection}"
)
DESCRIPTORS = Path("/proc/self/fd")


def own_connection(kind: str, host: str, port: int, password: str, file: str) -> str:
    """The connection string of a database of the service; `file` has the private key and the certificate."""
    secret = quote(password, safe="")
    return FORMS[kind].format(host=host, port=port, password=secret, database=DATABASE, file=quote(file, safe="/"))


@contextmanager
def held(content: bytes) -> Iterator[str]:
    """The path of a file with this content, for as long as the block runs: in memory only, if this machine can do that."""
    if hasattr(os, "memfd_create") and DESCRIPTORS.exists():
        descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o600)
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
            yield str(DESCRIPTORS / str(descriptor))
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as folder:  # only this user can enter it
        path = Path(folder) / "certificate.pem"
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:  # noqa: PTH123
            file.write(content)
        yield str(path)


class Unfitting(Exception):
    """The connection cannot be to the scratch database; `why` for users."""

    def __init__(self, why: Words) -> None:
        super().__init__(str(why))
        self.why = why


@dataclass
class Reach:
    """The way to the scratch database of one drill.

    Attributes:
        session: the service.
        inputs: of the drill.
        kind: the scratch database's; None until it is known.
        port: likewise.
        certificate: for its client; likewise.
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
        return connection is None or Address.of(connection).is_own(self.inputs.scratch_database_id)

    async def check(self, runtime: str | None) -> None:
        """Find out, before anything is overwritten, whether the checks will be able to ask the scratch database.

        Raises:
            Unfitting: the connection is to another kind of database or another database, or a library is missing.
            SquareCloudError: the service refuses what is needed.
        """
        connection, scratch = self.inputs.connection, self.inputs.scratch_database_id
        if connection is None:
            try:
                await self._fetched(runtime)
            except SquareCloudError as error:
                if not _passes(error):
                    raise
            return
        reason = misfit(connection, runtime) or Address.of(connection).misfit(scratch)
        if not reason and self.is_own:
            reason = Address.of(connection).misfit(scratch, await self._port())
        if reason:
            raise Unfitting(Text("{connection} {reason}", reason=reason))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[str]:
        """The connection string, for as long as the block runs.

        Raises:
            DatabaseUnreachable: the service does not say how the database is reached.
        """
        if self.inputs.connection is not None:
            yield self.inputs.connection
            return
        failed: DatabaseUnreachable | None = None
        try:
            await self._fetched(self.inputs.runtime)
        except SquareCloudError as error:
            why = f"the service did not give its address and certificate ({error.happened})"
            failed = DatabaseUnreachable("scratch", why, error.then, lasting=not _passes(error))
            failed.__cause__ = error
        except Unfitting as error:
            failed = DatabaseUnreachable("scratch", str(error), lasting=True)
        if failed is not None or self.kind is None or self.port is None or self.certificate is None:
            raise failed or AssertionError
        with held(self.certificate) as file:
            host = own_host(self.inputs.scratch_database_id)
            try:
                yield own_connection(self.kind, host, self.port, self.inputs.password or "", file)
            except DatabaseUnreachable:
                self.port = None  # the restore may have moved it: the next try asks again
                raise

    async def _port(self) -> int | None:
        """The port that the service says; None if it does not."""
        try:
            return (await self.session.client.database(self.inputs.scratch_database_id, patience=BRIEF)).port
        except (KeyRefused, DatabaseMissing):
            raise
        except SquareCloudError:
            return None

    async def _fetched(self, runtime: str | None) -> None:
        scratch, client = self.inputs.scratch_database_id, self.session.client
        if self.kind is None or self.port is None:
            database = await client.database(scratch, patience=BRIEF)
            self.port, kind = database.port, database.type or runtime
            self.kind = kind if kind in FORMS else None
        if self.kind is None or self.port is None:
            raise Unfitting(NOT_SAID)
        if (extra := missing_extra(self.kind)) is not None:
            raise Unfitting(Text("{password} {why}", why=lacks(self.kind, extra)))
        if self.certificate is None:
            self.certificate = await client.database_certificate(scratch, patience=BRIEF)


def _passes(error: SquareCloudError) -> bool:
    """Whether the service may say it a little later, as when the database runs again."""
    return error.passing or isinstance(error, RestoreRunning) or error.code == "DATABASE_NOT_RUNNING"
