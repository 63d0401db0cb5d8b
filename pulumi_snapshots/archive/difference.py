"""The values that inputs can have, and the effect of changed inputs or a refresh on an archive.

Sends no request.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any

from pulumi_snapshots.archive.record import (
    ARCHIVE,
    OBJECT_NAME,
    TIER_LIMIT,
    ArchiveInputs,
    ArchiveMemory,
    ArchiveRecord,
    ArchiveSuccessor,
    Keep,
    StoredObject,
    which_snapshot,
)
from pulumi_snapshots.archive.retention import kept_of
from pulumi_snapshots.clock import rfc3339, system_utc
from pulumi_snapshots.errors import AnyMessage, Message
from pulumi_snapshots.late import late
from pulumi_snapshots.properties.catalogue import Values
from pulumi_snapshots.properties.checks import UNKNOWN, Problem
from pulumi_snapshots.run.calls import (
    Changes,
    EngineCall,
    Rules,
    changed,
    differs,
    holds_unknown,
    undecided,
)
from pulumi_snapshots.storage.destination import (
    Destination,
    name_of,
    place_text,
)

INPUTS_OF_NEXT = ("keep_last", "keep", "pin", "delete_object")
"""Inputs whose change only the next object needs."""


class ArchiveRules(Rules):
    """The rules of an archive."""

    schema = ARCHIVE

    def uses(self, values: Values) -> dict[str, Any]:
        """Return the snapshot's database, which a download URL may show.

        Args:
            values: the inputs.
        """
        return {"database_id": which_snapshot(values)[0]}

    @cached_property
    def calls(self) -> Any:
        """Create, read, update and delete."""
        return late("archive.calls:ArchiveCalls")()

    def check(
        self,
        call: EngineCall,
        values: Values,
        *,
        in_state: bool = False,
    ) -> list[Problem]:
        """Find what is wrong with the inputs, or with two resources that archive to one place."""
        problems = super().check(call, values, in_state=in_state)
        place = _place(values.get("destination"))
        if problems or not isinstance(place, Destination):
            return problems
        snapshot = which_snapshot(values)
        if place.folder and UNKNOWN in snapshot:
            return problems
        name = (*snapshot, bool(values.get("recipients"))) if place.folder else ()
        declared = call.shared.of(ArchiveMemory).declared
        first = declared.setdefault((place.uri, name), call.owner)
        if first != call.owner:
            other = (first or "").rpartition("::")[2]
            problems.append(
                Problem(
                    "destination",
                    Message("is also the place of {other}", other=other),
                )
            )
        return problems

    async def hold_imported(self, call: EngineCall) -> None:
        """Note in the manifest that the importer holds the object."""
        record = call.shared.of(ArchiveMemory).looked_up.get(call.owner)
        if record is not None:
            await self.calls.hold(call, record)

    def compare(
        self,
        call: EngineCall,
        record: ArchiveRecord,
        state: Values,
        values: Values,
    ) -> Changes:
        """Compare the state with the inputs, and remember the state's record for this run.

        A preview says that the archive of a snapshot is replaced if the snapshot is about to be.

        Args:
            call: the engine's call.
            record: the archive in the state.
            state: the outputs in the state.
            values: the inputs now.

        Returns:
            The differences, and what they do to the archive.
        """
        counts = bool(state.get("keep") or state.get("keep_last"))
        call.shared.of(ArchiveMemory).current[call.owner] = ArchiveSuccessor(
            record, counts
        )
        changes = archive_difference(record, state, values)
        is_unknown = which_snapshot(values)[1] is UNKNOWN
        if is_unknown and not changes.replaces and _is_being_replaced(call, record):
            name = _version_input(values)
            changes = Changes((name,), reason="its snapshot is replaced")
        is_new = is_unknown or bool(changes.replaces) or record.lost is not None
        removal = _removal(record, values) if is_new else None
        if removal is None:
            return changes
        reason = Message("{why}; {removal}", why=changes.reason, removal=removal)
        return replace(changes, reason=reason if changes.reason else removal)


def _is_being_replaced(call: EngineCall, record: ArchiveRecord) -> bool:
    """Tell whether this run is about to replace the snapshot that was archived."""
    if record.database_id is None:
        return False
    return call.shared.memory.is_replaced(f"{record.database_id}/{record.version_id}")


def archive_difference(
    record: ArchiveRecord,
    old: Values,
    new: Values,
) -> Changes:
    """Compare old and new inputs by value.

    Another version or place replaces the archive, unless the value is `UNKNOWN`: then an update
    decides.

    Args:
        record: the archive in the state.
        old: the inputs in the state.
        new: the inputs now.

    Returns:
        The differences, and what they do to the archive.
    """
    replaces = _replacing(record, old, new)
    if replaces:
        return Changes(tuple(replaces))
    if record.lost is not None:
        again = f"{place_text(record.uri)} is {record.lost}: to be archived again"
        return Changes(updates=("lost",), reason=again)
    deciding = ["destination", "recipients"]
    if which_snapshot(new)[1] is UNKNOWN:
        deciding.insert(0, _version_input(new))
    updates = [name for name in INPUTS_OF_NEXT if changed(name, old, new)]
    unknown = undecided(new, *deciding)
    if record.owner is None:
        updates.append("owner")
        unknown = unknown or Message(
            "to be entered in the manifest as an owner, after an import"
        )
    return Changes(updates=tuple(updates), reason=unknown)


def _version_input(values: Values) -> str:
    """Name the input that shows the version."""
    return "download_url" if values.get("version_id") is None else "version_id"


def _replacing(
    record: ArchiveRecord,
    old: Values,
    new: Values,
) -> list[str]:
    """Name the inputs because of which another archive is made."""
    names = _other_snapshot(record, new)
    place = _place(new.get("destination"))
    is_moved = differs(_place(old.get("destination")), place)
    if is_moved and not _is_in(record, place):
        names.append("destination")
    if differs(
        _recipients(old.get("recipients")),
        _recipients(new.get("recipients")),
    ):
        names.append("recipients")
    return names


def _other_snapshot(record: ArchiveRecord, new: Values) -> list[str]:
    """Name the inputs that show another snapshot; one that only the URL shows is the URL's."""
    database_id, version_id = which_snapshot(new)
    # The URL of an unusual host does not show its database; the version alone decides then.
    is_known = None not in {record.database_id, database_id}
    names = []
    if is_known and differs(record.database_id, database_id):
        names.append("database_id")
    if differs(record.version_id, version_id):
        names.append("version_id")
    inputs = (name if new.get(name) is not None else "download_url" for name in names)
    return list(dict.fromkeys(inputs))


# What a preview says of removals ----------------------------------------------------------------


def _removal(record: ArchiveRecord, values: Values) -> AnyMessage | None:
    """Name the objects that the next archive's rule would remove; None if that is not known."""
    rule = _rule(values)
    coming = _next_object(record, values)
    is_full = len(record.earlier) >= TIER_LIMIT  # manifests may show more then
    if rule is None or coming is None or is_full:
        return None
    beyond = _beyond(rule, coming, record.all_objects)
    named = ", ".join(each.uri.rpartition("/")[2] for each in beyond)
    if not named:
        return None
    what = "of a snapshot that is taken now, " if _is_taken_now(values) else ""
    return (
        f"a new archive, {what}once it is whole and proved, removes {named}, except for what a "
        "drill or another owner keeps"
    )


def _beyond(
    rule: Keep, coming: StoredObject, before: list[StoredObject]
) -> list[StoredObject]:
    """List the objects that a rule does not keep any more after the next object."""
    objects = [coming, *(each for each in before if each.uri != coming.uri)]
    kept = kept_of(objects, rule)
    return [each for each in objects if each not in kept]


def _rule(values: Values) -> Keep | None:
    """Get the rule; None if there is none, or a part of it is not known."""
    if holds_unknown(values.get("keep")) or holds_unknown(values.get("keep_last")):
        return None
    inputs = ArchiveInputs.known(values, "keep", "keep_last")
    last = inputs.get("keep_last")
    keep: Keep | None = inputs.get("keep")
    return Keep(last=last) if keep is None and last else keep


def _is_taken_now(values: Values) -> bool:
    """Tell whether the snapshot is not taken yet, so that a preview knows nothing of it."""
    version_id = which_snapshot(values)[1]
    return version_id is UNKNOWN and values.get("created_at") is UNKNOWN


def _next_object(record: ArchiveRecord, values: Values) -> StoredObject | None:
    """Say which object the next archive will write; None if its place or time is not known.

    Its URI is empty if its name is not known yet, and a new one. Ids alone do not show when a
    snapshot was taken.
    """
    place = _place(values.get("destination"))
    if not isinstance(place, Destination):
        return None
    version_id = which_snapshot(values)[1]
    is_same = version_id == record.version_id
    uri = "" if place.folder else place.uri
    if is_same and _is_in(record, place):
        uri = record.uri
    if _is_taken_now(values):
        # A snapshot that is not taken yet is newer than all earlier ones.
        latest = max([system_utc(), *(each.taken for each in record.all_objects)])
        return StoredObject(uri, "", rfc3339(latest))
    inputs = ArchiveInputs.known(values, "created_at")
    created_at = inputs.get("created_at", record.created_at if is_same else None)
    return StoredObject(uri, "", created_at) if created_at else None


def _recipients(given: Any) -> Any:
    """Sort recipients, whose order means nothing."""
    if holds_unknown(given):
        return UNKNOWN
    return given and sorted(set(given))


def _is_in(record: ArchiveRecord, place: Any) -> bool:
    """Tell whether this folder gives the object the very name that it has, as after an import."""
    if not isinstance(place, Destination) or not place.folder:
        return False
    folder = record.uri.rpartition("/")[0]
    is_beside = folder == f"{place.uri}/{record.database_id}"
    return is_beside and OBJECT_NAME.fullmatch(name_of(record.uri)) is not None


def _place(destination: Any) -> Any:
    """Parse a destination, so that two spellings of one place are equal."""
    if not isinstance(destination, str):
        return destination
    try:
        return Destination.parse(destination)
    except ValueError:
        return destination
