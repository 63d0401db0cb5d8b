"""Drill an archive: load it into an emptied database of any host by its server's own programs, and check what came back.

Needs neither the service nor a key of it. Whatever ends a drill, the next one begins with an emptied database.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from pulumi_snapshots.archive.shelf import Found, find, opened
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.archive.zip_check import BrokenZip
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.databases.dumps import NotLoaded, dump_in
from pulumi_snapshots.databases.kinds import KINDS, kind_of
from pulumi_snapshots.databases.loading import empty, load
from pulumi_snapshots.databases.opening import open_database
from pulumi_snapshots.drill.address import Address
from pulumi_snapshots.drill.asking import results_of
from pulumi_snapshots.drill.check import Check, CheckResult
from pulumi_snapshots.drill.drill import concluded, failed, guard_of
from pulumi_snapshots.drill.record import LOAD, DrillRecord, GoodDrill
from pulumi_snapshots.errors import Explained, LedgerUnavailable, Next, Step, Text
from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.memory import DRILLS_OVERWRITE, in_use
from pulumi_snapshots.storage.destination import Destination, place_text
from pulumi_snapshots.storage.encryption import identities

if TYPE_CHECKING:
    from pulumi_snapshots.archive.manifest import Manifest
    from pulumi_snapshots.drill.inputs import DrillInputs
    from pulumi_snapshots.ledger.ledger import Ledger
    from pulumi_snapshots.run.calls import Call
    from pulumi_snapshots.run.memory import Uses

PATIENCE = 60.0
"""Seconds that connecting, or one check, may take."""


class ArchiveNotDrilled(Explained):
    """The drill of an archive did not come to its end; it has proved nothing."""


class Targets:
    """The databases that drills of this process load into: one drill at a time for each."""

    def __init__(self) -> None:
        self.locks: defaultdict[Any, anyio.Lock] = defaultdict(anyio.Lock)


@dataclass(frozen=True)
class Loaded:
    """An archive in a database.

    Attributes:
        seconds: that reading and loading it took.
        holds: the tables, collections or keys that the database has now.
        results: of the checks.
    """

    seconds: float
    holds: int
    results: list[CheckResult]


async def loaded(  # noqa: PLR0913  each is a fact of its own
    transfers: Transfers,
    found: Found,
    keys: list[Any],
    *,
    dsn: str,
    checks: Sequence[Check],
    environment: Mapping[str, str],
    progress: Callable[[str], None],
    empties: bool,
    overwrite: bool = False,
) -> Loaded:
    """Load an archive into a database, and ask the checks.

    Args:
        transfers: of the process.
        found: the archive.
        keys: private keys, for one that is encrypted.
        dsn: the database's connection string.
        checks: what it is asked afterwards.
        environment: of the server's programs.
        progress: hears how it goes.
        empties: whether everything that the database holds is removed first.
        overwrite: whether what the dump holds replaces what the database has of it.

    Raises:
        BrokenZip: the archive is damaged.
        NotDecrypted: no key opens it.
        NotLoaded: the database did not take it.
        DatabaseUnreachable: there is no connection to the database.
        StoreTrouble: the archive cannot be read.
    """
    kind, began = kind_of(dsn), transfers.clock.monotonic()
    title, things = KINDS[kind].title, KINDS[kind].things
    async with opened(transfers, found, keys) as zipped:
        dump = await transfers.reading(dump_in, zipped, kind)
        if empties:
            progress(f"emptying the {title} database")
            await empty(dsn)
            async with open_database(dsn, timeout=PATIENCE) as database:
                if left := await database.holds():
                    raise NotLoaded(f"the {title} database could not be emptied: {left} {things} are left")
        progress(f"loading {dump.member or 'the dump'} into {title}")
        await load(dump, dsn, environment, overwrite=overwrite)
    seconds = round(transfers.clock.monotonic() - began, 1)
    progress("checking it")
    async with open_database(dsn, timeout=PATIENCE) as database:
        if not (holds := await database.holds()):
            raise NotLoaded(f"the dump was loaded, and the database has no {things}")
        return Loaded(seconds, holds, await results_of(database, checks, progress))


async def drill_archive(call: Call, inputs: DrillInputs, last_good: GoodDrill | None = None) -> DrillRecord:
    """Load an archive into the database of the connection, which is emptied, and check it.

    Args:
        call: what surrounds it.
        inputs: checked.
        last_good: the last drill that has passed.

    Raises:
        DrillFailed: the archive cannot be loaded, or a check failed; keep the record.
        Explained: it could not begin, or come to its end.
    """
    transfers, ledger, listener = call.shared.of(Transfers), call.shared.ledger(call.settings()), call.listener
    dsn = inputs.connection or ""
    place = Destination.parse(inputs.archive or "")
    name, address = place_text(place.uri), Address.of(dsn)
    with transfers.until(inputs.timeout):
        listener.progress(f"reading {name}")
        found = await find(transfers, place)
        manifest = await _checked(found, inputs, address, ledger, call.shared.memory.uses)
        if found.sealed and inputs.identity_file is None:
            raise ArchiveNotDrilled(
                Text("{name} is encrypted, and {identity_file} is not given", name=name), NOT_DRILLED
            )
        keys = identities(Path(inputs.identity_file)) if found.sealed and inputs.identity_file else []
        # Two drills of one database at a time would check each other's data.
        async with call.shared.of(Targets).locks[
            address.hosts, address.ports, dsn.partition("?")[0].rpartition("@")[2]
        ]:
            if await _restored(ledger, address, began := ledger.clock.now()):
                raise ArchiveNotDrilled(
                    Text("{connection} leads to a database that is being restored"), NOT_DRILLED, RUN_AGAIN
                )
            listener.progress("connecting to the database")
            async with open_database(dsn, timeout=PATIENCE):
                pass
            record = DrillRecord(
                manifest.database_id or "",
                manifest.version_id,
                "",
                rfc3339(transfers.clock.utc()),
                archive=place.uri,
                last_good=last_good,
            )
            try:
                ended = await loaded(
                    transfers,
                    found,
                    keys,
                    dsn=dsn,
                    checks=inputs.checks,
                    environment=os.environ,
                    progress=listener.progress,
                    empties=True,
                )
            except (BrokenZip, NotLoaded) as error:
                raise failed(replace(record, failure=str(error.happened), passed=False, results=[]), error) from error
            if await _restored(ledger, address, began):
                raise ArchiveNotDrilled(
                    Text("{connection} leads to a database that was restored meanwhile"), then=RUN_AGAIN
                )
        now = rfc3339(transfers.clock.utc())
        passed = all(each.passed for each in ended.results)
        record = replace(record, restored_at=now, drilled_at=now, restore_seconds=ended.seconds, proved_by=[LOAD])
        record = replace(record, passed=passed, results=ended.results)
        return await concluded(ledger, listener, replace(record, last_good=record.good or last_good))
    why = "it was interrupted" if transfers.stopping else f"it took longer than {spoken(inputs.timeout)} (timeout)"
    raise ArchiveNotDrilled(
        f"The drill of archive {name} did not come to its end: {why}",
        "The database may hold a part of it.",
        [Next(Step.DRILLS_NEXT)],
    )


async def _checked(found: Found, inputs: DrillInputs, address: Address, ledger: Ledger, uses: Uses) -> Manifest:
    """The archive's manifest, if the archive is the one that is meant, and the database may be overwritten."""
    about, name = found.manifest, place_text(found.place.uri)
    if about is None:
        raise ArchiveNotDrilled(f"{name} has no manifest, so nothing says which snapshot it holds", NOT_DRILLED)
    wanted = inputs.database_id or about.database_id, inputs.version_id or about.version_id
    if wanted != (about.database_id, about.version_id):
        meant, there = ("/".join(filter(None, each)) for each in (wanted, (about.database_id, about.version_id)))
        raise ArchiveNotDrilled(f"{name} is an archive of snapshot {there}, not of {meant}", NOT_DRILLED)
    for database_id in address.databases:
        if database_id == about.database_id:
            raise ArchiveNotDrilled(
                Text("{connection} leads to the archive's own database: {why}", why=DRILLS_OVERWRITE), NOT_DRILLED
            )
        if (user := uses.used_by(database_id) or await guard_of(ledger, database_id)) is not None:
            raise ArchiveNotDrilled(Text("{connection} {why}", why=in_use(user)), NOT_DRILLED)
    return about


async def _restored(ledger: Ledger, address: Address, since: datetime) -> bool:
    """Whether a run is restoring the database, or checks what it has restored there, or has begun that since."""
    there, now = list[Attempt](), ledger.clock.now()
    with suppress(LedgerUnavailable):
        there = await ledger.attempts()
    return any(
        each.kind == "restore"
        and each.database_id in address.databases
        and (now < each.waited_for_until or since <= each.request.posted_at)
        for each in there
    )


NOT_DRILLED = "Nothing was overwritten."
RUN_AGAIN = [Next(Step.RUN_AGAIN)]
