"""What one run knows without a request: versions in the state, versions taken, attempts under way. Needs no API key."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pulumi_snapshots.clock import parse_rfc3339

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_snapshots.attempt.post import Post

__all__ = ["DatabaseMemory", "RunMemory", "SnapshotInState", "UnresolvedPost"]


class SnapshotInState(Protocol):
    """What the state holds of a snapshot, as far as other snapshots of its database need to know it."""

    @property
    def database_id(self) -> str:
        """The snapshot's database."""

    @property
    def version_id(self) -> str | None:
        """The service's version id; None while it is pending."""

    @property
    def created_at(self) -> str | None:
        """RFC 3339, UTC."""

    @property
    def origin(self) -> str | None:
        """`manual` or `automatic`."""

    @property
    def attempt(self) -> Post | None:
        """The POST, while it is pending."""


@dataclass(frozen=True)
class UnresolvedPost:
    """A POST that is not resolved yet.

    Attributes:
        owner: the resource's URN; None if unknown.
        post: the POST.
        orphaned: whether no resource will claim its snapshot, so that `reuse_within` may adopt it.
    """

    owner: str | None
    post: Post
    orphaned: bool = False


@dataclass
class DatabaseMemory:
    """What the run knows of one database; times are by the service's clock.

    Attributes:
        known: versions in the state, or of a resource of another process: no POST of this run has started them.
        claimed: versions that a resource of this process has got in this run.
        replaced: versions that are about to be replaced.
        reserved: versions that an earlier attempt has started: its resource will find them, so no other may adopt them.
        unresolved: the POSTs whose end is not known, in the order in which they became known.
        newest_creation: when the newest manual snapshot in the state was created.
        newest_appearance: the time of the newest manual snapshot that is known, in the state or in a listing.
        restored: the snapshot that this run has put back into the database last.
    """

    known: set[str] = field(default_factory=set)
    claimed: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    reserved: set[str] = field(default_factory=set)
    unresolved: list[UnresolvedPost] = field(default_factory=list)
    newest_creation: datetime | None = None
    newest_appearance: datetime | None = None
    restored: str | None = None

    @property
    def not_new(self) -> frozenset[str]:
        """Versions that no new POST can have started: in the state, or another resource's, of this process or not."""
        return frozenset(self.known | self.claimed)

    @property
    def not_reusable(self) -> frozenset[str]:
        """Versions that `reuse_within` must not adopt: about to be replaced, or another resource's."""
        return frozenset(self.replaced | self.claimed | self.reserved)

    def appeared(self, modified: datetime | None) -> None:
        """A manual snapshot of this time is known."""
        if modified is not None:
            self.newest_appearance = max(modified, self.newest_appearance or modified)

    def begin(self, known: UnresolvedPost) -> None:
        """A POST is about to be sent, or is known to be unresolved."""
        if known not in self.unresolved:
            self.unresolved.append(known)

    def resolve(self, known: UnresolvedPost) -> None:
        """The end of a POST is known: found, refused, never sent, or given up."""
        if known in self.unresolved:
            self.unresolved.remove(known)


class RunMemory:
    """Shared by every resource of a process; filled by diff and read, used by create."""

    def __init__(self) -> None:
        self._databases: dict[str, DatabaseMemory] = defaultdict(DatabaseMemory)

    def of(self, database_id: str) -> DatabaseMemory:
        """What is known of a database."""
        return self._databases[database_id]

    def saw(self, record: SnapshotInState, owner: str | None, *, replaced: bool = False) -> None:
        """Take note of a snapshot in the state.

        No POST of this run has started its version, its own POST started a cooldown, and while it is pending its attempt
        is under way.

        Args:
            record: what the state holds.
            owner: the resource's URN; None if unknown.
            replaced: whether a new snapshot is about to take its place.
        """
        memory = self.of(record.database_id)
        if record.version_id is not None:
            memory.known.add(record.version_id)
            if replaced:
                memory.replaced.add(record.version_id)
            if record.created_at is not None and record.origin != "automatic":
                created = parse_rfc3339(record.created_at)
                memory.newest_creation = max(created, memory.newest_creation or created)
                memory.appeared(created)
        elif record.attempt is not None and record.attempt.missing_since is None:
            memory.begin(UnresolvedPost(owner, record.attempt))

    def claim(self, database_id: str, version_id: str) -> None:
        """This version belongs to a resource of this process from now on."""
        self.of(database_id).claimed.add(version_id)

    def is_claimed(self, database_id: str, version_id: str) -> bool:
        """Whether a resource of this process has got this version in this run."""
        return version_id in self.of(database_id).claimed
