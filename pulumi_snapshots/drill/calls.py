"""What the engine's calls do with a drill, of a snapshot or of an archive."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pulumi_snapshots.archive.manifest import note_drill
from pulumi_snapshots.archive.record import ArchiveMemory
from pulumi_snapshots.archive.shelf import Shelved, find, opened
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.archive.zip_check import BrokenZip
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.databases.database import Database, load
from pulumi_snapshots.databases.dumps import NotLoaded, dump_in
from pulumi_snapshots.databases.kinds import KINDS, kind_of
from pulumi_snapshots.drill import drill
from pulumi_snapshots.drill.check import Check, CheckResult
from pulumi_snapshots.drill.record import (
    ASKS,
    DRILL,
    DRILLS,
    LOAD,
    RESUMES,
    Address,
    DrillInputs,
    DrillRecord,
    GoodDrill,
)
from pulumi_snapshots.errors import Explained, Next, Step, Text, Words
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.run.calls import (
    Changes,
    EngineCall,
    Resource,
    Unfinished,
    ending_unfinished,
    enter,
)
from pulumi_snapshots.run.memory import DRILLS_OVERWRITE
from pulumi_snapshots.storage.destination import Destination, place_text
from pulumi_snapshots.storage.encryption import identities

# seconds that connecting to the database of an archive, or one check of it, may take
PATIENCE = 60.0
NOT_OVERWRITTEN = "Nothing was overwritten."


class ArchiveNotDrilled(Explained):
    """The drill of an archive did not come to its end; it has proved nothing."""


class DrillCalls:
    """Create, read, update and delete; `compare` says what a change of inputs means."""

    def __init__(self, compare: Callable[..., Changes]) -> None:
        self.compare = compare

    async def create(self, call: EngineCall, values: Mapping[str, Any]) -> Resource:
        """Restore onto the scratch database, and check what came back."""
        inputs, memory = DrillInputs.of(values), call.shared.memory
        course = memory.course("restore", call.owner)
        carried = (
            None
            if inputs.archive
            else course.carried_over(memory.purposes(inputs.restore.triggers))
        )
        kept: Any = carried.record if carried else None
        # The engine makes again what is to stay.
        if (
            carried
            and kept.scratch_database_id == inputs.scratch_database_id
            and not kept.failed_to_restore
        ):
            await enter(call, carried)  # its delete has let it go
            if _is_settled(kept, values):
                return _resource(kept, values, None)
            return await _ended(call, values, _continued(call, kept, inputs), kept.id, kept)
        return await _ended(call, values, _drilled(call, inputs, fresh=course.is_forced))

    async def read(self, _call: EngineCall, id_: str, state: Mapping[str, Any]) -> Resource:
        """Return what the state holds; no request is sent, since a drill is an act."""
        record = DrillRecord.from_outputs(state)
        resource = _resource(record, state, id_)
        if _is_settled(record, state):
            return resource
        if record.passed is False:
            raise Unfinished(resource, drill.failed(record))
        unseen = f"The end of the restore that was requested at {record.requested_at} was not seen."
        unchecked = (
            f"Snapshot {record.snapshot} was restored at {record.restored_at}, and not checked."
        )
        raise Unfinished(
            resource, drill.unfinished(record, unseen if record.pending else unchecked)
        )

    async def update(
        self, call: EngineCall, id_: str, state: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Resource:
        """Drill again, watch a restore whose end was not seen, or run the checks; or only keep the new inputs."""
        record, inputs = DrillRecord.from_outputs(state), DrillInputs.of(values)
        todo = self.compare(call, record, state, values).updates
        if DRILLS in todo:
            return await _ended(call, values, _drilled(call, inputs, record.last_good), id_)
        if not {RESUMES, ASKS} & {*todo}:
            return _resource(record, values, id_)
        then, kept = (
            (record.next_drill(values.get("every")), None) if record.passed else (None, record)
        )
        return await _ended(call, values, _continued(call, record, inputs, then), id_, kept)

    async def delete(self, call: EngineCall, _id: str, state: Mapping[str, Any]) -> None:
        """Forget it: nothing is sent, and the scratch database keeps what it holds."""
        record = DrillRecord.from_outputs(state)
        scratch = (
            f"database {record.scratch_database_id}"
            if record.scratch_database_id
            else "the scratch database"
        )
        call.listener.note(
            f"forgotten: the drill of {record.snapshot}; {scratch} keeps what it holds"
        )


def _is_settled(record: DrillRecord, values: Mapping[str, Any]) -> bool:
    """Whether it has passed, or has failed and only warns."""
    return bool(record.passed) or (record.passed is False and values.get("on_failure") == "warn")


async def _drilled(
    call: EngineCall,
    inputs: DrillInputs,
    last_good: GoodDrill | None = None,
    *,
    fresh: bool = False,
) -> DrillRecord:
    if inputs.archive is not None:
        return await drill_archive(call, inputs, last_good)
    return await drill.Drilling(
        call.session(), inputs, call.listener, call.owner, last_good
    ).carry_out(fresh=fresh)


async def _continued(
    call: EngineCall, record: DrillRecord, inputs: DrillInputs, then: Words | None = None
) -> DrillRecord:
    """Watch a restore whose end was not seen, or run the checks again; `then` is as in `Drilling.check_again`."""
    # The inputs may name another snapshot by now.
    restored = {
        name: getattr(record, name) for name in ("database_id", "version_id", "scratch_database_id")
    }
    drilling = drill.Drilling(
        call.session(), replace(inputs, **restored), call.listener, call.owner, record.last_good
    )
    return await (
        drilling.carry_out(record) if record.pending else drilling.check_again(record, then)
    )


async def _ended(
    call: EngineCall,
    values: Mapping[str, Any],
    operation: Awaitable[DrillRecord],
    id_: str | None = None,
    kept: DrillRecord | None = None,
) -> Resource:
    """The resource after an operation; `kept` is what the state must keep, also if that could not even begin."""
    with ending_unfinished(call, DRILL, values, drill.DrillPending, id_, kept, drill.unfinished):
        try:
            record = await operation
        except drill.DrillFailed as error:
            record = error.record
            if not _is_settled(record, values):
                raise Unfinished(_resource(record, values, id_), error, error.then) from error
            call.listener.warn(record.still_failed)
    if record.passed:
        await note_in_archives(call, record)
    return _resource(record, values, id_)


async def note_in_archives(call: EngineCall, record: DrillRecord) -> None:
    """Note a drill that has passed in the manifests of this snapshot's archives of the stack."""
    if (drilled := record.drilled) is not None:
        snapshot, current = (
            (record.database_id or None, record.version_id),
            call.shared.of(ArchiveMemory).current,
        )
        known = (
            each for each, _ in current.values() if (each.database_id, each.version_id) == snapshot
        )
        uris = {*filter(None, [record.archive, *(each.uri for each in known if not each.lost)])}
        await note_drill(call.shared.of(Transfers), uris, snapshot, drilled, call.listener)


def _resource(record: DrillRecord, values: Mapping[str, Any], id_: str | None) -> Resource:
    return Resource(id_ or record.id, DRILL.state(record, values))


# An archive, which is loaded into an emptied database of any host by its server's own programs ------------------------------


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
) -> tuple[float, int, list[CheckResult]]:
    """Load an archive into a database that is emptied first or partly overwritten; returns how long it took, how much there is, and the results."""
    kind, began = kind_of(dsn), transfers.clock.monotonic()
    title, things, database = KINDS[kind].title, KINDS[kind].things, Database(dsn, timeout=PATIENCE)
    keys = identities(Path(identity)) if found.sealed and identity else []
    async with opened(transfers, found, keys) as zipped:
        dump = await transfers.reading(dump_in, zipped, kind)
        if empties:
            progress(f"emptying the {title} database")
            await Database(dsn, timeout=drill.LONGEST).empty()
            if left := await database.holds():
                raise NotLoaded(
                    f"the {title} database could not be emptied: {left} {things} are left"
                )
        progress(f"loading {dump.member or 'the dump'} into {title}")
        await load(dump, dsn, environment, overwrite=overwrite)
    seconds = round(transfers.clock.monotonic() - began, 1)
    progress("checking it")
    if not (holds := await database.holds()):
        raise NotLoaded(f"the dump was loaded, and the database has no {things}")
    return seconds, holds, await drill.results_of(database, checks, progress)


async def drill_archive(
    call: EngineCall, inputs: DrillInputs, last_good: GoodDrill | None = None
) -> DrillRecord:
    """Load an archive into the database of the connection, which is emptied, and check it; raises as `Drilling.carry_out`."""
    transfers, ledger, listener = (
        call.shared.of(Transfers),
        call.shared.ledger(call.settings()),
        call.listener,
    )
    dsn, place = inputs.connection or "", Destination.parse(inputs.archive or "")
    name, address = place_text(place.uri), Address.of(dsn)
    with transfers.until(inputs.timeout):
        listener.progress(f"reading {name}")
        found = await find(transfers, place)
        if reason := await _refused(found, inputs, address, call, ledger):
            raise ArchiveNotDrilled(reason, NOT_OVERWRITTEN)
        about = found.manifest
        of = (about.database_id or "", about.version_id) if about else ("", "")
        async with transfers.targets[address.places, dsn.partition("?")[0].rpartition("@")[2]]:
            if await _is_restored(ledger, address, began := ledger.clock.now()):
                why = Text("{connection} leads to a database that is being restored")
                raise ArchiveNotDrilled(why, NOT_OVERWRITTEN, [Next(Step.RUN_AGAIN)])
            listener.progress("connecting to the database")
            await Database(
                dsn, timeout=PATIENCE
            ).age()  # a wrong password is said before much is read
            at = rfc3339(transfers.clock.utc())
            record = DrillRecord(*of, "", at, archive=place.uri, last_good=last_good)
            given = transfers, found, inputs.identity_file, dsn, inputs.checks, listener.progress
            try:
                seconds, _, results = await loaded(*given, empties=True)
            except (BrokenZip, NotLoaded) as error:
                raise drill.failed(record.judged(failure=str(error.happened)), error) from error
            if await _is_restored(ledger, address, began):
                why = Text("{connection} leads to a database that was restored meanwhile")
                raise ArchiveNotDrilled(why, then=[Next(Step.RUN_AGAIN)])
        ended = replace(record, restored_at=rfc3339(transfers.clock.utc()), restore_seconds=seconds)
        return await drill.concluded(ledger, listener, ended.judged(results, [LOAD]))
    why = (
        "it was interrupted"
        if transfers.stopping
        else f"it took longer than {spoken(inputs.timeout)} (timeout)"
    )
    happened = f"The drill of archive {name} did not come to its end: {why}"
    raise ArchiveNotDrilled(
        happened, "The database may hold a part of it.", [Next(Step.DRILLS_NEXT)]
    )


async def _refused(
    found: Shelved, inputs: DrillInputs, address: Address, call: EngineCall, ledger: Ledger
) -> Words:
    """Why an archive is not the one that is meant, or the database must not be overwritten by it; empty if it may be drilled."""
    about, name = found.manifest, place_text(found.uri)
    if about is None:
        return f"{name} has no manifest, so nothing says which snapshot it holds"
    wanted = inputs.database_id or about.database_id, inputs.version_id or about.version_id
    if wanted != (about.database_id, about.version_id):
        meant, there = (
            "/".join(filter(None, each)) for each in (wanted, (about.database_id, about.version_id))
        )
        return f"{name} is an archive of snapshot {there}, not of {meant}"
    for database_id in address.databases:
        if database_id == about.database_id:
            return Text(
                "{connection} leads to the archive's own database: {why}", why=DRILLS_OVERWRITE
            )
        if why := await drill.misuse(call.shared.memory.uses, ledger, database_id):
            return Text("{connection} {why}", why=why)
    if found.sealed and inputs.identity_file is None:
        return Text("{name} is encrypted, and {identity_file} is not given", name=name)
    return ""


async def _is_restored(ledger: Ledger, address: Address, since: datetime) -> bool:
    """Whether a run is restoring the database, or checks what it has restored there, or has begun that since."""
    now, there = ledger.clock.now(), await drill.restores(ledger, address.databases)
    return any(now < each.waited_for_until or since <= each.request.posted_at for each in there)
