"""How the checks of a drill reach the scratch database: as the user says, or from its id, its password and its certificate."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pulumi_snapshots.databases.answers import DatabaseUnreachable
from pulumi_snapshots.databases.kinds import missing_extra
from pulumi_snapshots.drill.address import Address, own_host
from pulumi_snapshots.drill.evidence import ProvesNothing
from pulumi_snapshots.drill.inputs import DrillInputs, lacks, misfit
from pulumi_snapshots.errors import Text, Words
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import DatabaseMissing, KeyRefused, RestoreRunning, SquareCloudError

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
DESCRIPTORS = Path("/proc/self/fd")


def own_connection(kind: str, place: str, password: str, file: str) -> str:
    """The connection string of a database of the service at HOST:PORT; `file` has the private key and the certificate."""
    return FORMS[kind].format(place=place, password=quote(password, safe=""), file=quote(file, safe="/"))


@contextmanager
def held(content: bytes) -> Iterator[str]:
    """The path of a file with this content, for as long as the block runs: in memory only, if this machine can do that."""
    if hasattr(os, "memfd_create") and DESCRIPTORS.exists():
        with open(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb", buffering=0) as file:  # noqa: PTH123
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            yield str(DESCRIPTORS / str(file.fileno()))
        return
    with tempfile.TemporaryDirectory() as folder:  # only this user can enter it
        path = Path(folder) / "certificate.pem"
        path.touch(mode=0o600)
        path.write_bytes(content)
        yield str(path)


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
        connection, scratch = self.inputs.connection, self.inputs.scratch_database_id
        if connection is None:
            try:
                return await self._lacking(runtime)
            except SquareCloudError as error:
                if _passes(error):
                    return ""
                raise
        address, port = Address.of(connection), None
        if self.is_own:
            try:
                port = (await self.session.client.database(scratch, patience=BRIEF)).port
            except (KeyRefused, DatabaseMissing):
                raise
            except SquareCloudError:
                pass  # it does not say
        reason = misfit(connection, runtime) or address.misfit(scratch, port)
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
        if (extra := missing_extra(self.kind)) is not None:
            return Text("{password} {why}", why=lacks(self.kind, extra))
        if self.certificate is None:
            self.certificate = await client.database_certificate(scratch, patience=BRIEF)
        return ""


def _passes(error: SquareCloudError) -> bool:
    """Whether the service may say it a little later, as when the database runs again."""
    return error.passing or isinstance(error, RestoreRunning) or error.code == "DATABASE_NOT_RUNNING"
