"""What one run knows without a request, such as versions in the state and what the engine has asked, and what it shows. Needs no key."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, product
from typing import Any, Protocol

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import Text, Words
from pulumi_snapshots.ledger.attempt import Proof, owner_of
from pulumi_snapshots.properties.checks import digest_of

PENDING = "pending:"  # begins the version part of a provisional id; no version id of the service holds a colon
# how many combinations of ids are tried, which are two for each snapshot among the triggers
FORMS = 64
DRILLS_OVERWRITE = "a drill overwrites everything that the scratch database holds, each time"
ROUTINE_EVERY = 10.0  # seconds between two texts of one snapshot if only a detail has changed, such as the next poll
MANY = 10  # from this many snapshots on, only changes are shown, since each text is a line in a log


class Uses:
    """The databases that resources are about, and those that drills overwrite, as far as the program or a provider knows."""

    def __init__(self) -> None:
        self._users: dict[str, str] = {}
        self._drills: dict[str, str] = {}

    def user_of(self, database_id: str) -> str | None:
        """Return the first resource that is about the data of a database; None if none is known."""
        return self._users.get(database_id.lower())

    def remember_use(self, database_id: str, resource: str) -> str | None:
        """Remember that a resource is about the data of a database.

        Args:
            database_id: The database.
            resource: The resource, as a problem of another one names it.

        Returns:
            Why the resource must not be about it; None if it may.
        """
        self._users.setdefault(database_id.lower(), resource)
        drill = self._drills.get(database_id.lower())
        if drill is None:
            return None
        return f"must not be the scratch database of {drill}, which overwrites it"

    def remember_overwriting(self, database_id: str, drill: str) -> str | None:
        """Remember that a drill overwrites a database.

        Args:
            database_id: The scratch database.
            drill: The drill, as a problem of another resource names it.

        Returns:
            Why the drill must not overwrite it; None if it may.
        """
        self._drills.setdefault(database_id.lower(), drill)
        resource = self.user_of(database_id)
        return None if resource is None else in_use(resource)


def is_same_database(one: object, other: object) -> bool:
    """Whether two ids are of one database, in whatever case, as in the names of the databases' hosts."""
    return isinstance(one, str) and isinstance(other, str) and one.lower() == other.lower()


def in_use(resource: str) -> str:
    """Say why drills must not overwrite a database that a resource uses."""
    return f"must be used for drills only, but {resource} uses it too: {DRILLS_OVERWRITE}"


def id_at(about: str, what: str, requested_at: str) -> str:
    """An id that names the time of its request, by the service's clock: `DATABASE_ID/restore:20260301T120000Z`."""
    return f"{about}/{what}{requested_at.replace('-', '').replace(':', '')}"


def is_provisional(resource_id: str) -> bool:
    """Whether the id is one of a snapshot that was pending when it got it."""
    return resource_id.partition("/")[2].startswith(PENDING)


@dataclass
class DatabaseMemory:
    """The versions of one database that the run knows, for which the ledger need not have a request of its runs."""

    # Those in the state, and ids of requests, or of another process's resource; no request of this run started them.
    known: set[str] = field(default_factory=set)
    # Those that belong to a resource of this process since this run, or to one of another run that will find it.
    claimed: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)  # those that are about to be
    # Ids and results of requests of which a resource is to stay, or is made: the state drops none of them with another one.
    kept: set[str] = field(default_factory=set)
    # Those in the state, each with the end of its 30 days: a listing without one of them proves nothing.
    due: dict[str, datetime] = field(default_factory=dict)


class Course:
    """What the engine does with one resource in this run: check, diff and delete fill it, create uses it."""

    def __init__(self) -> None:
        # Whether it was checked with its old inputs, and not compared since: `--replace` or a taint replaces it.
        self.is_forced = False
        self._is_seen = self._is_compared = False
        # What was compared, if it is to stay; until then what was deleted before the engine had asked anything about it.
        self._carried: Proof | None = None

    def checked(self, *, in_state: bool) -> None:
        """The engine has checked it; `in_state` if with the inputs that its state has."""
        self._is_seen = True
        self.is_forced |= in_state

    def compared(self, kept: Proof | None) -> None:
        """The engine has compared what its state has; `kept` is that if it is to stay.

        For a refresh, and before something upstream is deleted first, it compares what it has not checked yet: that does not
        show what it is going to do with it.
        """
        if self.is_forced:
            self._is_compared, self._carried = True, kept
        self._is_seen, self.is_forced = self._is_seen or kept is None, False

    def deleted(self, kept: Proof | None) -> None:
        """The engine has deleted it: what depends on something that is deleted first before it has asked about it, to make it again."""
        if not self._is_compared:
            self._carried = None if self._is_seen else kept

    def carried_over(self, purposes: frozenset[str]) -> Proof | None:
        """What a create for one of these purposes has to begin with, since nothing was to change; None without one."""
        carried = None if self.is_forced else self._carried
        return carried if carried and (self._is_compared or carried.purpose in purposes) else None


class RunMemory:
    """What the resources of a process share: check, diff and read fill it, create uses it."""

    def __init__(self, run: str = "") -> None:
        self.run = run  # names the run to all its processes, by the engine's address; empty without an engine
        self.uses = Uses()
        self._said: set[Hashable] = set()
        self._databases: dict[str, DatabaseMemory] = {}
        self._other_ids: dict[str, str] = {}
        self._courses: dict[tuple[str, str | None], Course] = defaultdict(Course)

    def of(self, database_id: str) -> DatabaseMemory:
        """The memory of a database."""
        # at once: threads of `diff` ask too
        return self._databases.setdefault(database_id, DatabaseMemory())

    def remember_request(self, id_: str, requested_at: str | None) -> None:
        """Remember the two ids of a snapshot, by when it was requested."""
        if requested_at is not None:
            provisional = id_at(id_.partition("/")[0], PENDING, requested_at)
            self._other_ids |= {id_: provisional, provisional: id_}

    def is_same_snapshot(self, old: object, new: object) -> bool:
        """Whether two ids are of one snapshot, which got its final id in between, as far as the run knows."""
        if not (
            isinstance(old, str) and isinstance(new, str) and is_provisional(old) and "/" in new
        ):
            return False
        if new in self._other_ids:
            return old == self._other_ids[new]
        return old.partition("/")[0] == new.partition("/")[0] and not is_provisional(new)

    def purposes(self, triggers: object) -> frozenset[str]:
        """The digests that these triggers have had: a snapshot among them may have had its provisional id."""
        return frozenset(map(digest_of, islice(self._forms(triggers), FORMS)))

    def _forms(self, value: Any) -> Iterable[Any]:
        """The value, with each id of a snapshot in it as it is and as the other one of its two."""
        if isinstance(value, list):
            return map(list, product(*map(self._forms, value)))
        if isinstance(value, dict):
            return (
                dict(zip(value, each, strict=True))
                for each in product(*map(self._forms, value.values()))
            )
        return (
            (value, self._other_ids[value])
            if isinstance(value, str) and value in self._other_ids
            else (value,)
        )

    def is_first(self, said: Hashable) -> bool:
        """Whether this process says something for the first time: an engine may compare a resource twice."""
        first = said not in self._said
        self._said.add(said)
        return first

    def course(self, kind: str, owner: str | None) -> Course:
        """What the engine does with a resource."""
        return Course() if owner is None else self._courses[kind, owner_of(owner)]


# What it shows -------------------------------------------------------------------------------------------------------


class Listener(Protocol):
    """Shows the progress of an operation, such as a resource's row on the terminal."""

    def progress(self, text: Words) -> None:
        """Show a text, which replaces the previous one."""

    def note(self, text: Words) -> None:
        """Show good news that stay visible after the run."""

    def warn(self, text: Words) -> None:
        """Show a warning that stays visible after the run."""


class Fleet:
    """All snapshots that a session creates or resumes at the same time."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.members = clock, list[Member]()

    @contextmanager
    def joins(self, listener: Listener) -> Iterator[Member]:
        """Count a snapshot while the body creates or resumes it."""
        self.members.append(member := Member(self, listener))
        try:
            yield member
        finally:
            self.members.remove(member)


class Member:
    """One snapshot of a fleet; limits how much its listener gets. `note` and `warn` are the listener's."""

    def __init__(self, fleet: Fleet, listener: Listener) -> None:
        self._fleet, self._listener = fleet, listener
        self.note, self.warn = listener.note, listener.warn
        self._shown, self._waits_for = -math.inf, ""

    def waits(  # noqa: PLR0913  each is a fact of its own
        self,
        text: str,
        detail: str = "",
        *,
        until: datetime | None = None,
        next_check: datetime | None = None,
        at_most: datetime | None = None,
        why: str = "",
    ) -> None:
        """Show what the snapshot waits for: at once if that has changed, otherwise every `ROUTINE_EVERY` seconds.

        A terminal of 120 columns leaves 34 for it, so the state comes first, in two words, and one time, the first that is
        given. It is absolute, since a row is not redrawn. `detail` and `next_check` change while it waits; a fleet shows neither.
        """
        now, state = self._fleet.clock.monotonic(), text + why
        if state == self._waits_for and now - self._shown < ROUTINE_EVERY:
            return
        if (
            len(self._fleet.members) >= MANY
        ):  # the text is shown once, without what would soon be out of date
            detail, next_check = "", None
        forms = {
            "{text} until {time}{detail}{reason}": until,
            "{text}; next check {time}{detail}{reason}": next_check,
            "{text}{detail}, until {time} at most{reason}": at_most,
        }
        form, time = next(
            (each for each in forms.items() if each[1]), ("{text}{detail}{reason}", None)
        )
        self.progress(
            Text(form, text=text, time=time, detail=detail, reason=f": {why}" if why else "")
        )
        self._waits_for, self._shown = state, now

    def progress(self, text: Words) -> None:
        """Show an event."""
        self._waits_for = ""
        self._listener.progress(text)
