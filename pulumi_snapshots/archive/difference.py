"""What inputs may be, and what a change of them, or a refresh, means for an archive that exists. Sends no request."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from pulumi_snapshots.archive.record import (
    ARCHIVE,
    OURS,
    ArchiveInputs,
    ArchiveMemory,
    ArchiveRecord,
    Keep,
    StoredObject,
    history,
    kept_of,
    which_snapshot,
)
from pulumi_snapshots.clock import rfc3339, system_utc
from pulumi_snapshots.errors import Text
from pulumi_snapshots.late import late
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
from pulumi_snapshots.storage.destination import Destination, name_of, place_text

WISHES = ("keep_last", "keep", "pin", "delete_object")  # inputs that are kept for the next object


class ArchiveRules(Rules):
    """The rules of an archive."""

    schema = ARCHIVE

    def uses(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The snapshot's database, which a URL may name."""
        return {"database_id": which_snapshot(values)[0]}

    @cached_property
    def calls(self) -> Any:
        """Create, read, update and delete."""
        return late("archive.archive:ArchiveCalls")()

    def check(
        self, call: EngineCall, values: Mapping[str, Any], *, in_state: bool = False
    ) -> list[Problem]:
        """What is wrong with the inputs, or with two resources that would archive to one place."""
        problems = super().check(call, values, in_state=in_state)
        place, which = _place(values.get("destination")), which_snapshot(values)
        if problems or not isinstance(place, Destination) or (place.folder and UNKNOWN in which):
            return problems
        name = (*which, bool(values.get("recipients"))) if place.folder else ()
        first = call.shared.of(ArchiveMemory).declared.setdefault((place.uri, name), call.owner)
        if first != call.owner:
            other = (first or "").rpartition("::")[2]
            problems.append(Problem("destination", Text("is also that of {other}", other=other)))
        return problems

    def compare(
        self,
        call: EngineCall,
        record: ArchiveRecord,
        state: Mapping[str, Any],
        values: Mapping[str, Any],
    ) -> Changes:
        """Compare, and remember what the state holds."""
        counts = bool(state.get("keep") or state.get("keep_last"))
        call.shared.of(ArchiveMemory).current[call.owner] = record, counts
        found = archive_difference(record, state, values)
        another = found.replaces or which_snapshot(values)[1] is UNKNOWN
        if another and (named := _would_go(record, values)):
            text = "{why}; a new archive, once it is whole, removes {named}"
            return replace(
                found,
                reason=Text(text if found.reason else text[7:], why=found.reason, named=named),
            )
        return found


def archive_difference(
    record: ArchiveRecord, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Changes:
    """Compare by value: another version or place replaces, unless it is `UNKNOWN`: an update decides that."""
    database_id, version_id = which_snapshot(new)
    # The URL of an unusual host does not show its database; the version alone decides then.
    other_database = None not in {record.database_id, database_id} and differs(
        record.database_id, database_id
    )
    others = {"database_id": other_database, "version_id": differs(record.version_id, version_id)}
    # A change that only the URL shows is shown as the URL's.
    names = (
        name if new.get(name) is not None else "download_url"
        for name, other in others.items()
        if other
    )
    replaces = list(dict.fromkeys(names))
    place = _place(new.get("destination"))
    if differs(_place(old.get("destination")), place) and not _is_in(record, place):
        replaces.append("destination")
    if differs(_keys(old.get("recipients")), _keys(new.get("recipients"))):
        replaces.append("recipients")
    if replaces:
        return Changes(tuple(replaces))
    if record.lost is not None:
        return Changes(
            updates=("lost",),
            reason=f"{place_text(record.uri)} is {record.lost}: to be archived again",
        )
    which = (
        ("download_url" if new.get("version_id") is None else "version_id")
        if version_id is UNKNOWN
        else ""
    )
    later = undecided(new, *filter(None, (which, "destination", "recipients")))
    return Changes(updates=tuple(name for name in WISHES if changed(name, old, new)), reason=later)


def _would_go(record: ArchiveRecord, values: Mapping[str, Any]) -> str:
    """The names of the objects that the next one's retention would remove, as far as a preview knows."""
    known = ArchiveInputs.known(values, "keep", "keep_last", "created_at")
    # A snapshot that is not taken yet is of today, and newer than all that there is.
    latest = max([system_utc(), *(each.taken for each in history(record))])
    new = StoredObject(_next_uri(record, values), "", known.get("created_at") or rfc3339(latest))
    objects = [new, *(each for each in history(record) if each.uri != new.uri)]
    last = known.get("keep_last")
    kept = kept_of(objects, known.get("keep") or (Keep(last=last) if last else None))
    return ", ".join(each.uri.rpartition("/")[2] for each in objects if each not in kept)


def _next_uri(record: ArchiveRecord, values: Mapping[str, Any]) -> str:
    """The URI of the next object, which is written over what has it; empty if a preview does not know it."""
    place = _place(values.get("destination"))
    if isinstance(place, Destination) and not place.folder:
        return place.uri
    return (
        record.uri
        if which_snapshot(values)[1] == record.version_id and _is_in(record, place)
        else ""
    )


def _keys(recipients: Any) -> Any:
    """The order of recipients means nothing."""
    return UNKNOWN if holds_unknown(recipients) else recipients and sorted(set(recipients))


def _is_in(record: ArchiveRecord, place: Any) -> bool:
    """Whether this folder gives the object the very name that it has, as after an import."""
    folder = record.uri.rpartition("/")[0]
    is_beside = (
        isinstance(place, Destination)
        and place.folder
        and folder == f"{place.uri}/{record.database_id}"
    )
    return is_beside and OURS.fullmatch(name_of(record.uri)) is not None


def _place(destination: Any) -> Any:
    """Two spellings of one place are equal."""
    try:
        return Destination.parse(destination) if isinstance(destination, str) else destination
    except ValueError:
        return destination
