"""What one run knows without asking: versions in the state, versions taken, attempts under way. Needs no API key."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_snapshots.clock import parse_rfc3339

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_snapshots.attempt.record import Attempt
    from pulumi_snapshots.snapshot.record import SnapshotRecord

__all__ = ["KnownAttempt", "RunMemory"]


@dataclass(frozen=True)
class KnownAttempt:
    """A POST that is not resolved yet.

    Attributes:
        owner: whose it is; None where that is not known.
        attempt: the POST.
        orphaned: whether nobody will claim its snapshot, so that `reuse_within` may adopt it.
    """

    owner: str | None
    attempt: Attempt
    orphaned: bool = False


class RunMemory:
    """Shared by every resource of a process; filled by diff and read, asked by create."""

    def __init__(self) -> None:
        self._known: dict[str, set[str]] = defaultdict(set)
        self._replaced: dict[str, set[str]] = defaultdict(set)
        self._claimed: dict[str, set[str]] = defaultdict(set)
        self._reserved: dict[str, set[str]] = defaultdict(set)
        self._newest: dict[str, datetime] = {}
        self._appeared: dict[str, datetime] = {}
        self._attempts: dict[str, list[KnownAttempt]] = defaultdict(list)
        self._restored: dict[str, str] = {}

    def saw(self, record: SnapshotRecord, owner: str | None, *, replaced: bool = False) -> None:
        """Take note of a record in the state.

        Its version is nobody's new one, its POST started a cooldown, and if it is pending its attempt is under way.

        Args:
            record: what the state holds.
            owner: the resource's name (its URN), None where unknown.
            replaced: whether a new snapshot is about to take its place.
        """
        database_id = record.database_id
        if record.version_id is not None:
            self._known[database_id].add(record.version_id)
            if replaced:
                self._replaced[database_id].add(record.version_id)
            if record.created_at is not None and record.origin != "automatic":
                created = parse_rfc3339(record.created_at)
                self._newest[database_id] = max(created, self._newest.get(database_id, created))
                self.appeared(database_id, created)
        elif record.attempt is not None and record.attempt.missing_since is None:
            known = KnownAttempt(owner, record.attempt)
            if known not in self._attempts[database_id]:
                self._attempts[database_id].append(known)

    def claim(self, database_id: str, version_id: str) -> None:
        """This version belongs to a resource of this process from now on."""
        self._claimed[database_id].add(version_id)

    def is_claimed(self, database_id: str, version_id: str) -> bool:
        """Whether a resource of this process has got this version in this run."""
        return version_id in self._claimed[database_id]

    def restored(self, database_id: str, snapshot: str) -> str | None:
        """A snapshot was put back into this database; which one this run had put back into it before, None if none."""
        earlier = self._restored.get(database_id)
        self._restored[database_id] = snapshot
        return earlier

    def is_of_another(self, database_id: str, version_id: str) -> None:
        """This version belongs to a resource of another process: no POST of this one has started it."""
        self._known[database_id].add(version_id)

    def reserve(self, database_id: str, version_id: str) -> None:
        """This version is what an earlier attempt has started: its resource will find it, so nobody may adopt it."""
        self._reserved[database_id].add(version_id)

    def not_new(self, database_id: str) -> frozenset[str]:
        """Versions that no new POST can have started: in the state, or another resource's, of this process or not."""
        return frozenset(self._known[database_id] | self._claimed[database_id])

    def not_reusable(self, database_id: str) -> frozenset[str]:
        """Versions that `reuse_within` must not adopt: about to be replaced, or another resource's."""
        return frozenset(self._replaced[database_id] | self._claimed[database_id] | self._reserved[database_id])

    def newest_creation(self, database_id: str) -> datetime | None:
        """When the newest manual snapshot in the state was created, by the service's clock."""
        return self._newest.get(database_id)

    def appeared(self, database_id: str, modified: datetime | None) -> None:
        """A manual snapshot of this time is known, by the service's clock."""
        if modified is not None:
            self._appeared[database_id] = max(modified, self._appeared.get(database_id, modified))

    def newest_appearance(self, database_id: str) -> datetime | None:
        """The time of the newest manual snapshot that is known, in the state or in a listing."""
        return self._appeared.get(database_id)

    def attempts(self, database_id: str) -> list[KnownAttempt]:
        """The unresolved attempts on this database, in the order in which they became known."""
        return list(self._attempts[database_id])

    def begin(self, database_id: str, known: KnownAttempt) -> None:
        """A POST is about to be sent."""
        self._attempts[database_id].append(known)

    def resolve(self, database_id: str, known: KnownAttempt) -> None:
        """Its end is known: found, refused, never sent, or given up."""
        if known in self._attempts[database_id]:
            self._attempts[database_id].remove(known)
