"""What one run knows about each database without a request: versions in the state and POSTs. Needs no API key."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pulumi_snapshots.attempt.owner import owner_of

if TYPE_CHECKING:
    from collections.abc import Hashable
    from datetime import datetime

    from pulumi_snapshots.attempt.post import Post


@dataclass(frozen=True)
class UnresolvedPost:
    """A POST whose result is not known yet.

    Attributes:
        owner: the resource, see `owner_of`, or its URN; None if unknown.
        post: the POST.
        orphaned: whether no resource will claim its snapshot, so that `reuse_within` may adopt it.
    """

    owner: str | None
    post: Post
    orphaned: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "owner", owner_of(self.owner))


@dataclass
class DatabaseMemory:
    """What the run knows about one database; times are by the service's clock.

    Attributes:
        known: versions in the state, or of another process's resource; no POST of this run started them.
        claimed: versions that belong to a resource of this process since this run.
        replaced: versions that are about to be replaced.
        reserved: versions of an earlier POST whose resource will find them, so that no other may adopt them.
        unresolved: the POSTs whose result is not known, in the order in which they became known.
        newest_in_state: when the newest manual snapshot in the state was created.
        newest_known: the time of the newest manual snapshot in the state or in a listing.
        due: versions in the state, each with the end of its 30 days: a listing without one of them proves nothing.
        failed: the POST of each owner that a listing has proved to have failed, and that another one is to replace.
        restored: the snapshot that this run restored onto the database last.
    """

    known: set[str] = field(default_factory=set)
    claimed: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    reserved: set[str] = field(default_factory=set)
    unresolved: list[UnresolvedPost] = field(default_factory=list)
    newest_in_state: datetime | None = None
    newest_known: datetime | None = None
    due: dict[str, datetime] = field(default_factory=dict)
    failed: dict[str | None, Post] = field(default_factory=dict)
    restored: str | None = None

    @property
    def not_new(self) -> frozenset[str]:
        """Versions that a new POST cannot have started."""
        return frozenset(self.known | self.claimed)

    @property
    def not_reusable(self) -> frozenset[str]:
        """Versions that `reuse_within` must not adopt."""
        return frozenset(self.replaced | self.claimed | self.reserved)

    def note_snapshot(self, modified: datetime | None) -> None:
        """Note the time of a manual snapshot."""
        if modified is not None:
            self.newest_known = max(modified, self.newest_known or modified)

    def note_post(self, post: UnresolvedPost) -> None:
        """Note a POST that is about to be sent, or whose result is not known."""
        if post not in self.unresolved:
            self.unresolved.append(post)

    def resolve(self, post: UnresolvedPost) -> None:
        """Note that the result of a POST is known: found, refused, never sent, or given up."""
        if post in self.unresolved:
            self.unresolved.remove(post)


class RunMemory:
    """The memory of a process, shared by all its resources: diff and read fill it, create uses it.

    Attributes:
        resumed: owners whose pending snapshot, of an earlier run, was found.
    """

    def __init__(self) -> None:
        self.resumed: set[str | None] = set()
        self._said: set[Hashable] = set()
        self._databases: dict[str, DatabaseMemory] = defaultdict(DatabaseMemory)
        self._requested: dict[str, str] = {}
        self._asked: dict[tuple[str, str | None], bool] = {}
        self._stays: dict[tuple[str, str | None], datetime | None] = {}
        self._kept: dict[str, str] = {}
        self._overwritten: dict[str, str] = {}

    def of(self, database_id: str) -> DatabaseMemory:
        """The memory of a database."""
        return self._databases[database_id]

    def note_requested(self, id_: str, requested_at: str | None) -> None:
        """Note when a snapshot was requested; `id_` as DATABASE_ID/VERSION_ID."""
        if requested_at is not None:
            self._requested[id_] = requested_at

    def requested_at(self, id_: str) -> str | None:
        """When a snapshot was requested, as far as this run knows."""
        return self._requested.get(id_)

    def is_first(self, said: Hashable) -> bool:
        """Whether this process says something for the first time: an engine may compare a resource twice."""
        first = said not in self._said
        self._said.add(said)
        return first

    def note_asked(self, what: str, owner: str | None, *, in_state: bool = False) -> None:
        """Note that the engine has asked what is to become of a resource of this kind; `in_state` if its state has one."""
        key = what, owner_of(owner)
        self._asked[key] = in_state or self._asked.get(key, False)

    def note_compared(self, what: str, owner: str | None, stays: datetime | None = None) -> None:
        """Note that the engine has compared the resource that its state has; `stays` is its POST's time if it is to stay.

        Before something upstream is deleted first, the engine compares what depends on it, and has not asked about it yet: that
        does not show what it is going to do with it.
        """
        key = what, owner_of(owner)
        if self._asked.get(key):
            self._stays[key] = stays
        self._asked[key] = False

    def is_replaced(self, what: str, owner: str | None) -> bool:
        """Whether a resource was compared, and is to be replaced."""
        return self._stays.get((what, owner_of(owner)), ...) is None

    def stays(self, what: str, owner: str | None) -> datetime | None:
        """When the POST was sent of a resource that was compared, and is to stay."""
        return self._stays.get((what, owner_of(owner)))

    def is_replaced_unseen(self, what: str, owner: str | None) -> bool:
        """Whether a create replaces what the state has without a comparison: a `replacement_trigger` asks for another one."""
        return self._asked.get((what, owner_of(owner)), False)

    def was_asked(self, what: str, owner: str | None) -> bool:
        """Whether the engine has asked in this process what is to become of a resource."""
        return (what, owner_of(owner)) in self._asked

    def note_kept(self, database_id: str, resource: str) -> None:
        """Note that a resource of the stack is about the data of a database, so that no drill may overwrite it."""
        self._kept.setdefault(database_id, resource)

    def kept_by(self, database_id: str) -> str | None:
        """A resource that is about the data of a database; None if this run knows of none."""
        return self._kept.get(database_id)

    def note_scratch(self, database_id: str, resource: str) -> None:
        """Note that drills overwrite a database."""
        self._overwritten.setdefault(database_id, resource)

    def overwritten_by(self, database_id: str) -> str | None:
        """The drill that overwrites a database; None if this run knows of none."""
        return self._overwritten.get(database_id)

    def claim(self, database_id: str, version_id: str) -> None:
        """Note that a version belongs to a resource of this process from now on."""
        self.of(database_id).claimed.add(version_id)

    def is_claimed(self, database_id: str, version_id: str) -> bool:
        """Whether a version belongs to a resource of this process since this run."""
        return version_id in self.of(database_id).claimed
