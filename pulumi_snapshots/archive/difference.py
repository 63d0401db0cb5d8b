"""What inputs may be, and what a change of them, or a refresh, means for an archive that exists. Sends no request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_snapshots.archive.destination import Destination
from pulumi_snapshots.archive.inputs import which_snapshot
from pulumi_snapshots.archive.record import ARCHIVE, ArchiveMemory, ArchiveRecord
from pulumi_snapshots.late import late
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.run.calls import Changes, Rules
from pulumi_snapshots.snapshot.difference import changed, differs, undecided

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.run.calls import Call, Calls


class ArchiveRules(Rules):
    """The rules of an archive."""

    thing = ARCHIVE

    @property
    def calls(self) -> Calls:
        """Create, read, update and delete."""
        calls: Calls = late("archive.calls:ArchiveCalls")()
        return calls

    def compare(
        self, call: Call, record: ArchiveRecord, state: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Changes:
        """Compare, and remember what the state holds."""
        kept = state.get("keep_last")
        call.shared.of(ArchiveMemory).keep(call.owner, record, None if kept is None else int(kept))
        return archive_difference(record, state, values)


def archive_difference(record: ArchiveRecord, old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
    """Compare by value: another version or place replaces; another signature, expiry or time-out changes nothing.

    Args:
        record: the archive in the state.
        old: its inputs.
        new: the inputs now; a value that is `UNKNOWN` is no change, since an update decides it.
    """
    database_id, version_id = which_snapshot(new)
    # The URL of an unusual host does not show its database; the version alone decides then.
    other_database = None not in {record.database_id, database_id} and differs(record.database_id, database_id)
    others = {"database_id": other_database, "version_id": differs(record.version_id, version_id)}
    # A change that only the URL shows is shown as the URL's.
    names = (name if new.get(name) is not None else "download_url" for name, other in others.items() if other)
    replaces = list(dict.fromkeys(names))
    if differs(_place(old.get("destination")), _place(new.get("destination"))):
        replaces.append("destination")
    if replaces:
        return Changes(tuple(replaces))
    if record.lost is not None:
        return Changes(updates=("lost",), reason=f"{record.uri} is {record.lost}: archiving again")
    which = ("download_url" if new.get("version_id") is None else "version_id") if version_id is UNKNOWN else ""
    later = undecided(new, *filter(None, (which, "destination")))
    return Changes(
        updates=tuple(name for name in ("keep_last", "delete_object") if changed(name, old, new)), reason=later
    )


def _place(destination: Any) -> Any:
    """Two spellings of one place are equal."""
    try:
        return Destination.parse(destination) if isinstance(destination, str) else destination
    except ValueError:
        return destination
