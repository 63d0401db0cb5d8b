"""The guarded changes of a preview: which would wait for a snapshot, and which would not."""

from collections.abc import Collection
from datetime import timedelta

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Message
from pulumi_snapshots.guard.book import GuardBook
from pulumi_snapshots.guard.inputs import (
    FIRST_UP,
    SNAPSHOT_TYPES,
    GuardInputs,
    change_of,
)
from pulumi_snapshots.ledger.attempt import NEVER, last_restored
from pulumi_snapshots.run.memory import Listener

NEW_SNAPSHOT = ", which would be a new one"
NEW_ONE_FIRST = Message(
    "the new resource is created before the snapshot, since only the delete "
    "of the old resource waits for it. If creating it changes data, as a "
    "migration does, give the guard "
    '{before}=["create", "update", "delete"]'
)
UNGUARDED = (
    "{count} would be deleted without a snapshot, since the state does not have this guard for it "
    "yet: {names}. Add the guard in a {run} of its own first"
)
BESIDE = (
    "{names} and this guard can each take a snapshot of database {of}, 3 min apart: a Snapshot "
    "uses the guard's only if the guard guards all changes of the whole stack. Remove the "
    "Snapshot, unless it is to show the data after the changes"
)
NAMED = 5  # resources that a warning names


class PreviewedChanges:
    """The guarded changes of one preview, and what their snapshot would be."""

    def __init__(self, database_id: str | None, inputs: GuardInputs) -> None:
        self._database = database_id or "that is not known yet"
        self._inputs = inputs
        self._before = inputs.changes
        self._snapshot = NEW_SNAPSHOT
        self._waiting = set[str]()
        self._created = set[str]()
        self._deleted = set[str]()
        # names of Snapshots of the database that would be created
        self._snapshots = set[str]()
        # why a snapshot is taken before all changes; None if none is
        self.first_up: str | None = None
        # URNs that the state had before; None if the state is not known
        self.in_state: Collection[str] | None = None

    def learn(self, book: GuardBook, database_id: str, reuse_within: float) -> None:
        """Learn what the ledger knows of the snapshot that the changes would wait for.

        Args:
            book: The ledger's book.
            database_id: The guard's database.
            reuse_within: For how many seconds a snapshot can be used again.
        """
        oldest = max(
            book.now - timedelta(seconds=reuse_within),
            book.spent(database_id) or NEVER,
            last_restored(book.attempts, database_id),
        )
        fitting = [
            each
            for each in book.attempts
            if each.database_id == database_id
            and each.has_snapshot
            and each.request.posted_at >= oldest
        ]
        if fitting:
            at = to_the_second(fitting[-1].request.posted_at)
            version = f"{database_id}/{fitting[-1].result}"
            self._snapshot = f": {version}, requested at {at}, would be used again"
        elif book.used_up:
            until = to_the_second(book.used_up)
            self._snapshot = (
                f"{NEW_SNAPSHOT}; the daily quota is used up until about {until}"
            )

    def show(self, change: str, urn: str, row: Listener) -> None:
        """Show at a resource what its change would wait for.

        Args:
            change: `create`, `update` or `delete`.
            urn: The resource.
            row: Its row.
        """
        if urn.rpartition("::")[0].endswith(SNAPSHOT_TYPES):
            self._snapshots.add(urn.rpartition("::")[2])
            return
        if change == "create":
            self._created.add(urn)
        if change == "delete":
            self._deleted.add(urn)
        passes = self._inputs.lets_pass(change, self.in_state)
        if change in self._before and not passes:
            self._waiting.add(urn)
            # With `--diff`, the engine prints the text without the resource.
            what = change_of(urn, change)
            row.progress(f"{what} waits for a snapshot of database {self._database}")
            is_replaced = change == "delete" and urn in self._created
            if is_replaced and "create" not in self._before:
                row.warn(NEW_ONE_FIRST)

    def summary(self) -> str | None:
        """Sum up in one line what would wait.

        Returns:
            The line; None if nothing would wait.
        """
        snapshot = f"a snapshot of database {self._database}{self._snapshot}"
        if self.first_up:
            return f"the {FIRST_UP} takes {snapshot} before anything changes, as {self.first_up}"
        count = len(self._waiting)
        changes = "1 change" if count == 1 else f"{count} changes"
        return f"{changes} will wait for {snapshot}" if count else None

    def warnings(self) -> list[Message]:
        """Warn of what may not be guarded, or not be needed.

        Returns:
            The warnings; empty if all is well.
        """
        return [*filter(None, (self.unguarded(), self.beside()))]

    def beside(self) -> Message | None:
        """Warn of Snapshots that may not share the snapshot of a guard of a part of the stack.

        Returns:
            The warning; None without such a Snapshot.
        """
        if not self._snapshots or not (self._waiting or self.first_up):
            return None
        named = [f"Snapshot {each}" for each in sorted(self._snapshots)[:NAMED]]
        return Message(BESIDE, names=" and ".join(named), of=self._database)

    def unguarded(self) -> Message | None:
        """Warn of replaced resources whose delete the guard has not heard of.

        Returns:
            The warning; None without such a resource.
        """
        if self.first_up or "delete" not in self._before:
            return None
        silent = sorted(self._created & {*(self.in_state or ())} - self._deleted)
        if not silent:
            return None
        names = [urn.rpartition("::")[2] for urn in silent[:NAMED]]
        more = [f"{len(silent) - NAMED} more"] if len(silent) > NAMED else []
        return Message(UNGUARDED, count=len(silent), names=", ".join([*names, *more]))
