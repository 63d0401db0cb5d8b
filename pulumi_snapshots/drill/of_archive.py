"""Drill an archive: load it into an emptied database of any host by its server's own programs, and check what came back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_snapshots.archive.shelf import Shelved, find, opened
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.archive.zip_check import BrokenZip
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.databases.database import Database, empty, load
from pulumi_snapshots.databases.dumps import NotLoaded, dump_in
from pulumi_snapshots.databases.kinds import KINDS, kind_of
from pulumi_snapshots.drill.check import Check, CheckResult, results_of
from pulumi_snapshots.drill.drill import concluded, failed, misuse, restores
from pulumi_snapshots.drill.inputs import Address
from pulumi_snapshots.drill.record import LOAD, DrillRecord, GoodDrill
from pulumi_snapshots.errors import Explained, Next, Step, Text, Words
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.memory import DRILLS_OVERWRITE
from pulumi_snapshots.storage.destination import Destination, place_text
from pulumi_snapshots.storage.encryption import identities

if TYPE_CHECKING:
    from pulumi_snapshots.drill.inputs import DrillInputs
    from pulumi_snapshots.ledger.ledger import Ledger
    from pulumi_snapshots.run.calls import EngineCall

PATIENCE = 60.0
"""Seconds that connecting, or one check, may take."""
Loaded = tuple[float, int, list[CheckResult]]
"""The seconds that reading and loading took, how many tables, collections or keys the database has now, and the checks' results."""


class ArchiveNotDrilled(Explained):
    """The drill of an archive did not come to its end; it has proved nothing."""


async def loaded(  # noqa: PLR0913, PLR0917  each is a fact of its own
    transfers: Transfers,
    found: Shelved,
    identity: str | None,
    dsn: str,
    checks: Sequence[Check],
    progress: Callable[[str], None],
    *,
    environment: Mapping[str, str] = os.environ,
    empties: bool = False,
    overwrite: bool = False,
) -> Loaded:
    """Load an archive, opened by the private key's file, into a database that is emptied first or partly overwritten, and check it."""
    kind, began = kind_of(dsn), transfers.clock.monotonic()
    title, things, database = KINDS[kind].title, KINDS[kind].things, Database(dsn, timeout=PATIENCE)
    keys = identities(Path(identity)) if found.sealed and identity else []
    async with opened(transfers, found, keys) as zipped:
        dump = await transfers.reading(dump_in, zipped, kind)
        if empties:
            progress(f"emptying the {title} database")
            await empty(dsn)
            if left := await database.holds():
                raise NotLoaded(f"the {title} database could not be emptied: {left} {things} are left")
        progress(f"loading {dump.member or 'the dump'} into {title}")
        await load(dump, dsn, environment, overwrite=overwrite)
    seconds = round(transfers.clock.monotonic() - began, 1)
    progress("checking it")
    if not (holds := await database.holds()):
        raise NotLoaded(f"the dump was loaded, and the database has no {things}")
    return seconds, holds, await results_of(database, checks, progress)


async def drill_archive(call: EngineCall, inputs: DrillInputs, last_good: GoodDrill | None = None) -> DrillRecord:
    """Load an archive into the database of the connection, which is emptied, and check it; raises as `Drilling.carry_out`."""
    transfers, ledger, listener = call.shared.of(Transfers), call.shared.ledger(call.settings()), call.listener
    dsn, place = inputs.connection or "", Destination.parse(inputs.archive or "")
    name, address = place_text(place.uri), Address.of(dsn)
    with transfers.until(inputs.timeout):
        listener.progress(f"reading {name}")
        found = await find(transfers, place)
        if reason := await _refused(found, inputs, address, call, ledger):
            raise ArchiveNotDrilled(reason, "Nothing was overwritten.")
        about = found.manifest
        of = (about.database_id or "", about.version_id) if about else ("", "")
        async with transfers.targets[address.places, dsn.partition("?")[0].rpartition("@")[2]]:
            if await _is_restored(ledger, address, began := ledger.clock.now()):
                why = Text("{connection} leads to a database that is being restored")
                raise ArchiveNotDrilled(why, "Nothing was overwritten.", [Next(Step.RUN_AGAIN)])
            listener.progress("connecting to the database")
            await Database(dsn, timeout=PATIENCE).age()
            at = rfc3339(transfers.clock.utc())
            record = DrillRecord(*of, "", at, archive=place.uri, last_good=last_good)
            given = transfers, found, inputs.identity_file, dsn, inputs.checks, listener.progress
            try:
                seconds, _, results = await loaded(*given, empties=True)
            except (BrokenZip, NotLoaded) as error:
                raise failed(replace(record, failure=str(error.happened), passed=False, results=[]), error) from error
            if await _is_restored(ledger, address, began):
                why = Text("{connection} leads to a database that was restored meanwhile")
                raise ArchiveNotDrilled(why, then=[Next(Step.RUN_AGAIN)])
        now, passed = rfc3339(transfers.clock.utc()), all(each.passed for each in results)
        record = replace(record, restored_at=now, drilled_at=now, restore_seconds=seconds, proved_by=[LOAD])
        record = replace(record, passed=passed, results=results)
        return await concluded(ledger, listener, replace(record, last_good=record.good or last_good))
    ended = "it was interrupted" if transfers.stopping else f"it took longer than {spoken(inputs.timeout)} (timeout)"
    happened, done = (
        f"The drill of archive {name} did not come to its end: {ended}",
        "The database may hold a part of it.",
    )
    raise ArchiveNotDrilled(happened, done, [Next(Step.DRILLS_NEXT)])


async def _refused(found: Shelved, inputs: DrillInputs, address: Address, call: EngineCall, ledger: Ledger) -> Words:
    """Why an archive is not the one that is meant, or the database must not be overwritten by it; empty if it may be drilled."""
    about, name = found.manifest, place_text(found.uri)
    if about is None:
        return f"{name} has no manifest, so nothing says which snapshot it holds"
    wanted = inputs.database_id or about.database_id, inputs.version_id or about.version_id
    if wanted != (about.database_id, about.version_id):
        meant, there = ("/".join(filter(None, each)) for each in (wanted, (about.database_id, about.version_id)))
        return f"{name} is an archive of snapshot {there}, not of {meant}"
    for database_id in address.databases:
        if database_id == about.database_id:
            return Text("{connection} leads to the archive's own database: {why}", why=DRILLS_OVERWRITE)
        if why := await misuse(call.shared.memory.uses, ledger, database_id):
            return Text("{connection} {why}", why=why)
    if found.sealed and inputs.identity_file is None:
        return Text("{name} is encrypted, and {identity_file} is not given", name=name)
    return ""


async def _is_restored(ledger: Ledger, address: Address, since: datetime) -> bool:
    """Whether a run is restoring the database, or checks what it has restored there, or has begun that since."""
    now, there = ledger.clock.now(), await restores(ledger, address.databases)
    return any(now < each.waited_for_until or since <= each.request.posted_at for each in there)
