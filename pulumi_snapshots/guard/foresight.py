"""What a preview says about a guard: each change that will wait, and all of them in one line."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Text, Words
from pulumi_snapshots.ledger.attempt import Status

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_snapshots.guard.book import GuardBook
    from pulumi_snapshots.progress import Listener

NEW_ONE_FIRST = Text(
    "the new one is created before the snapshot, since only the delete of the old one waits for it. If creating it changes data, "
    'as a migration does, give the guard {before}=["create", "update", "delete"]'
)


class Foresight:
    """The guarded changes of one preview. Sends no request.

    Args:
        database: the database; empty if it is not known yet.
        before: which changes wait.

    """

    def __init__(self, database: str, before: tuple[str, ...]) -> None:
        self._reused: str | None = None
        self._used_up: datetime | None = None
        self._of = f"a snapshot of database {database or 'that is not known yet'}"
        self._before = before
        self._waiting: set[str] = set()
        self._created: set[str] = set()

    def learn(self, book: GuardBook, database_id: str, reuse_within: float) -> None:
        """Learn what the ledger knows, without a request, of the snapshot that the changes would wait for."""
        young = book.now - timedelta(seconds=reuse_within)
        oldest, self._used_up = max(young, book.spent(database_id) or young), book.used_up
        for each in book.attempts:
            at = each.request.posted_at
            if each.database_id == database_id and each.kind == "restore":
                oldest, self._reused = max(oldest, each.ended_at or at), None
            elif each.database_id == database_id and each.status is Status.FOUND and at >= oldest:
                self._reused = f"{database_id}/{each.result}, requested at {to_the_second(at)},"

    def show(self, change: str, urn: str, row: Listener) -> None:
        """Show at a resource what its change waits for."""
        if change == "create":
            self._created.add(urn)
        if change in self._before:
            self._waiting.add(urn)
            row.progress(f"waits for {self._of}")
            if change == "delete" and urn in self._created and "create" not in self._before:
                row.warn(NEW_ONE_FIRST)

    def summary(self) -> Words:
        """All of it in one line; empty if nothing waits."""
        if not self._waiting:
            return ""
        count = len(self._waiting)
        told = f"{count} change{'s' * (count > 1)} will wait for {self._of}"
        if self._reused:
            return f"{told}: {self._reused} would be used again"
        full = f"; the daily quota is used up until about {to_the_second(self._used_up)}" if self._used_up else ""
        return f"{told}, which would be a new one{full}"
