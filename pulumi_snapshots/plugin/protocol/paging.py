"""Pages of the snapshots that a list has found, and the token by which the next one is asked for.

A token names the last snapshot of its page: what is new since then comes before it, and is on no later page.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pulumi_snapshots.clock import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulumi_snapshots.lookup.results import SnapshotInfo

Place = tuple[float, str]
"""The place of a snapshot in a list: newest first, those without a time last."""


def page_of(
    found: Iterable[SnapshotInfo], *, limit: int = 0, size: int = 0, token: str = ""
) -> tuple[list[SnapshotInfo], str]:
    """The part of what was found that a call gets.

    Args:
        found: in any order.
        limit: how many the caller wants on all pages from here on; no limit below 1.
        size: how many it wants on this page; all below 1.
        token: of the page before; empty for the first one.

    Returns:
        The snapshots, and the token of the next page; empty if there is none.

    Raises:
        ValueError: the token is not of this provider.
    """
    after, left = _read(token) if token else (None, 0)
    rest = sorted((each for each in found if after is None or _place(each) > after), key=_place)
    wanted = min((each for each in (limit, left) if each > 0), default=0)
    page = rest[: min((each for each in (wanted, size) if each > 0), default=None)]
    if len(page) == len(rest) or len(page) == wanted:
        return page, ""
    return page, json.dumps([_place(page[-1]), max(0, wanted - len(page))])


def name_of(snapshot: SnapshotInfo) -> str:
    """A name for a resource that takes a snapshot over: its database and its time; empty if the time is not known."""
    if snapshot.created_at is None:
        return ""
    return f"{snapshot.database_id}-{parse_rfc3339(snapshot.created_at):%Y%m%dT%H%M%SZ}"


def _place(snapshot: SnapshotInfo) -> Place:
    newest = 0.0 if snapshot.created_at is None else -parse_rfc3339(snapshot.created_at).timestamp()
    return newest, snapshot.id


def _read(token: str) -> tuple[Place, int]:
    try:
        (newest, id_), left = json.loads(token)
        return (float(newest), str(id_)), int(left)
    except (TypeError, ValueError):
        raise ValueError("The continuation token is none that this provider has given out.") from None
