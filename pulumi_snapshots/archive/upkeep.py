"""What becomes of archived objects afterwards: a refresh looks, `keep_last` and a delete remove this resource's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi_snapshots.archive.destination import Destination
from pulumi_snapshots.archive.stores import StoreTrouble
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.text import Text
from pulumi_snapshots.stopping import REFRESH_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_snapshots.archive.record import ArchiveRecord
    from pulumi_snapshots.archive.stores import Store
    from pulumi_snapshots.archive.transfers import Transfers
    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.progress import Listener

__all__ = ["HISTORY_LIMIT", "NotRemoved", "check_archived", "prune", "remove"]

PRUNING = 120.0
"""Seconds for removing older objects; those left over are removed the next time."""
HISTORY_LIMIT = 500
"""Earlier objects that a record holds, with about 200 bytes each."""


class NotRemoved(Explained):
    """The object that was to be deleted may still be there."""


async def check_archived(transfers: Transfers, record: ArchiveRecord, listener: Listener) -> ArchiveRecord:
    """What a refresh learns about an object.

    Args:
        transfers: of the process.
        record: as the state keeps it.
        listener: hears warnings.

    Returns:
        The record; `lost` where the object is certainly missing or altered; as it was where nothing could be learnt.
    """
    store = _store(transfers, record.uri)
    why: Words = "it was interrupted" if transfers.stopping else "the store did not answer in time"
    with transfers.until(REFRESH_PATIENCE) as scope:
        try:
            return await _checked(transfers, store, record, listener, lambda: not scope.cancel_called)
        except StoreTrouble as trouble:
            why = trouble.happened
    listener.warn(f"the archive {record.uri} was not checked and stays as it was: {why}.")
    return record


async def _checked(
    transfers: Transfers, store: Store, record: ArchiveRecord, listener: Listener, go_on: Callable[[], bool]
) -> ArchiveRecord:
    seen = await transfers.blocking(store.look)
    if seen is not None and seen.size == record.size:
        if seen.mark == record.mark:
            return replace(record, lost=None)
        # Written anew, or only copied back from somewhere: its bytes decide.
        listener.progress("the archive was touched since: reading it")
        digest = await transfers.blocking(store.hash, go_on)
        if digest is None:
            raise StoreTrouble("it was touched since, and reading it took too long")
        if digest == record.sha256:
            return replace(record, mark=seen.mark, lost=None)
    lost = "missing" if seen is None else "altered"
    again = Next(Step.ARCHIVE_AGAIN)
    listener.warn(Text("the archive {uri} is {lost}. {then}", uri=record.uri, lost=lost, then=again))
    return replace(record, lost=lost)


async def prune(
    transfers: Transfers,
    record: ArchiveRecord,
    previous: ArchiveRecord | None,
    keep_last: int | None,
    listener: Listener,
) -> ArchiveRecord:
    """Give a new record the history of its resource, and remove what is more than `keep_last` objects.

    Only what this resource has written and nobody has written anew is removed, never another object of the folder.
    """
    before = () if previous is None else previous.earlier if previous.lost else (previous.object, *previous.earlier)
    earlier = [each for each in before if each.uri != record.uri]
    kept = len(earlier) if keep_last is None else keep_last - 1
    left = list(earlier[kept:])
    with transfers.until(PRUNING):
        for each in earlier[kept:]:
            try:
                removed = await transfers.blocking(_store(transfers, each.uri).remove, each.mark)
            except StoreTrouble as trouble:
                listener.warn(f"{each.uri} is older than the last {keep_last} but was not removed: {trouble.happened}.")
                continue
            left.remove(each)
            if removed:
                listener.progress(f"removed {each.uri}: older than the last {keep_last}")
    return replace(record, earlier=(*earlier[:kept], *left)[:HISTORY_LIMIT])


async def remove(  # noqa: PLR0913  what decides about an object
    transfers: Transfers,
    record: ArchiveRecord,
    listener: Listener,
    *,
    delete_object: bool,
    keep_last: int | None = None,
    successor: ArchiveRecord | None = None,
) -> None:
    """What a delete, or a replacement once its successor is there, does with the object.

    Args:
        transfers: of the process.
        record: of what is deleted.
        listener: hears what became of it.
        delete_object: whether it is to be removed; else it is kept.
        keep_last: of the successor: an object that it still counts is kept.
        successor: the record that replaced this one, where it is known.

    Raises:
        NotRemoved: it may still be there.
    """
    if not delete_object:
        # What was replaced may have been pruned or overwritten since.
        if record.lost is None and (successor is None or record.object in successor.earlier):
            listener.progress(f"kept: {record.uri}")
        return
    if successor is not None and (
        successor.uri == record.uri or (keep_last is not None and record.object in successor.earlier)
    ):
        listener.progress(f"kept: {record.uri}, which the archive that replaced this one holds or counts")
        return
    removed = False
    with transfers.until(REFRESH_PATIENCE):
        try:
            removed = await transfers.blocking(_store(transfers, record.uri).remove, record.mark)
            there = removed or await transfers.blocking(_store(transfers, record.uri).look) is not None
        except StoreTrouble as trouble:
            raise NotRemoved(
                f"The archive {record.uri} was not deleted: {trouble.happened}",
                then=[*trouble.then, Next(Step.KEEP_OBJECT)],
            ) from trouble
        if removed:
            listener.progress(f"deleted {record.uri}")
        elif there:
            listener.warn(f"{record.uri} was kept: it is not what this resource wrote, or was written anew since.")
        return
    raise NotRemoved(f"The archive {record.uri} was not deleted: it was interrupted, or the store did not answer")


def _store(transfers: Transfers, uri: str) -> Store:
    return transfers.store(Destination.parse(uri))
