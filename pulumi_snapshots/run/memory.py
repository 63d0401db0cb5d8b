"""Facts that one run knows without a request, and the progress that it shows. Needs no key."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, product
from typing import Any, Protocol

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import AnyMessage, Message
from pulumi_snapshots.ledger.attempt import Kind, Request, owner_of, request_name
from pulumi_snapshots.properties.checks import MINUTE, digest_of, spoken

PENDING = "pending:"
"""Begins the version part of a provisional id; no version id of the service holds a colon."""
# how many combinations of ids are tried, which are two for each snapshot among the triggers
FORMS = 64
DRILLS_OVERWRITE = (
    "a drill overwrites everything that the scratch database holds, each time"
)
ROUTINE_EVERY = 10.0
"""Seconds between two texts of one snapshot if only a detail has changed, such as the next poll."""
CONNECTING = "connecting to the service"
"""The first step of each operation."""
LONG_WAIT = 30.0
"""Seconds. A longer wait leaves a line that a narrow terminal shows, too."""
REMIND_EVERY = 180.0
"""Seconds between two such lines of a process."""
MANY = 10  # from this many snapshots on, only changes are shown, since each text is a line in a log


class Uses:
    """The databases that resources are about, and those that drills overwrite."""

    def __init__(self) -> None:
        self._users: dict[str, str] = {}
        self._drills: dict[str, str] = {}

    def user_of(self, database_id: str) -> str | None:
        """Return the first resource that is about the data of a database; None if none is known.

        Args:
            database_id: The database.
        """
        return self._users.get(database_id.lower())

    def remember_use(self, database_id: str, resource: str) -> str | None:
        """Remember that a resource is about the data of a database.

        Args:
            database_id: The database.
            resource: The resource, as a problem of another one names it.

        Returns:
            Why the resource must not use the database; None if it can.
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
            Why the drill must not overwrite the database; None if it can.
        """
        self._drills.setdefault(database_id.lower(), drill)
        resource = self.user_of(database_id)
        return None if resource is None else in_use(resource)


def is_same_database(one: object, other: object) -> bool:
    """Return whether two ids are of one database. Case does not matter, as in host names.

    Args:
        one: An id.
        other: Another id.
    """
    return (
        isinstance(one, str) and isinstance(other, str) and one.lower() == other.lower()
    )


def in_use(resource: str) -> str:
    """Return why drills must not overwrite a database that a resource uses.

    Args:
        resource: The resource.
    """
    return (
        f"must be used for drills only, but {resource} uses it too: {DRILLS_OVERWRITE}"
    )


def id_at(about: str, what: str, requested_at: str) -> str:
    """Return an id with the time of its request: `DATABASE_ID/restore:20260301T120000Z`.

    Args:
        about: The database.
        what: The act, such as `restore`.
        requested_at: The time of the request, RFC 3339.
    """
    return f"{about}/{what}{requested_at.replace('-', '').replace(':', '')}"


def is_provisional(resource_id: str) -> bool:
    """Return whether an id is that of a snapshot that was pending when it got the id.

    Args:
        resource_id: The id.
    """
    return resource_id.partition("/")[2].startswith(PENDING)


class ResourceCalls:
    """The engine's calls about one resource in this run; check, diff and delete fill the record.

    A create uses these facts, since the engine does not tell a create what it replaces or why.
    """

    def __init__(self) -> None:
        self.is_forced = False
        """Whether another act is wanted whatever the state has.

        Then the resource was checked with its old inputs, and not compared since (an option of the
        resource), or read and then checked without them (`--replace` after a refresh, or tainted).
        """
        self.version: str | None = None
        """Of a snapshot, the version that the state has, once the engine has compared it."""
        self.replaces: str | None = None
        """Of a snapshot, its id in the state if a diff has said that it is replaced."""
        self.makes_new_of: object = None
        """Of a snapshot, its database if its inputs were checked, but not compared with a state."""
        self.rotated: Any = None
        """Of a snapshot, what the state has if its age alone replaces it; None otherwise."""
        self._was_read = False  # and neither checked nor deleted since
        self._was_checked = False
        self._was_compared = False
        self._to_keep: StateRequest | None = None

    def note_read(self) -> None:
        """Note that a refresh has shown that the state has the resource."""
        self._was_read = True

    def note_check(self, *, in_state: bool) -> None:
        """Note a check.

        Args:
            in_state: Whether the check had the inputs that the state has.
        """
        self.is_forced = self.is_forced or in_state or self._was_read
        self._was_checked = True
        self._was_read = False

    def note_diff(self, kept: StateRequest | None) -> None:
        """Note that the state's resource was compared.

        For a refresh, and before something upstream is deleted first, the engine compares inputs
        that it has not checked yet: such a call does not show what the engine is going to do.

        Args:
            kept: The request in the state, if the resource should not change; None if the resource
                is to be replaced.
        """
        if self.is_forced:
            self._was_compared = True
            self._to_keep = kept
        self._was_checked = self._was_checked or kept is None
        self.is_forced = False

    def note_delete(self, dropped: StateRequest) -> None:
        """Note a delete, which comes first of all if something upstream is deleted first.

        Args:
            dropped: The request in the state.
        """
        self._was_read = False
        if not self._was_compared:
            self._to_keep = None if self._was_checked else dropped

    @property
    def is_kept(self) -> bool:
        """Whether a diff has said that the resource stays as it is: a create follows its delete."""
        return self._was_compared and self._to_keep is not None

    def kept_for(self, purposes: frozenset[str]) -> StateRequest | None:
        """Return the request with which a create has to begin, since nothing was to change.

        Args:
            purposes: The digests that the triggers may have had.

        Returns:
            The request that the state had before the engine deleted it; None if another request is
            wanted.
        """
        kept = self._to_keep
        if self.is_forced or kept is None:
            return None
        return kept if self._was_compared or kept.purpose in purposes else None


@dataclass(frozen=True)
class StateRequest:
    """The request in a state, as a call of the engine shows it; see `Attempt` for the rest."""

    kind: Kind
    database_id: str
    # None if no request of a run has started the snapshot
    requested_at: str | None = None
    request: Request | None = None  # None once the snapshot is complete
    purpose: str = ""
    record: Any = None  # the resource

    @property
    def names(self) -> frozenset[str]:
        """The names by which the ledger knows the request, see `Attempt.names`."""
        names = set[str]()
        if self.request is not None:
            names.add(self.request.id)
        if self.requested_at is not None:
            names.add(request_name(self.kind, self.database_id, self.requested_at))
        return frozenset(names)


class RunMemory:
    """Facts that the resources of a process share.

    Check, diff and read fill the memory, create uses it.

    Attributes:
        run: The name of the run in all its processes, from the engine's address; empty without an
            engine.
        uses: The databases that resources are about, and those that drills overwrite.
        kept_until: Snapshots in states as DATABASE_ID/VERSION_ID, each with the end of its 30 days:
            a listing without one of them proves nothing.
    """

    def __init__(self, run: str = "") -> None:
        self.run = run
        self.uses = Uses()
        self._seen = set[str]()
        self._taken = set[str]()
        self.kept_until: dict[str, datetime] = {}
        self._said: set[Hashable] = set()
        self._other_ids: dict[str, str] = {}
        self._calls: dict[tuple[str, str | None], ResourceCalls] = defaultdict(
            ResourceCalls
        )

    @property
    def seen(self) -> AbstractSet[str]:
        """What calls of this process have shown states to have, up to date at each use.

        Requests as `Attempt.names`, and snapshots as their ids. No request of this process has
        started these.
        """
        return self._seen

    @property
    def taken(self) -> AbstractSet[str]:
        """The same for what resources of this process have made, resumed or are to keep."""
        return self._taken

    def note_in_state(self, names: Iterable[str]) -> None:
        """Note what a state has.

        Args:
            names: Names as in `seen`.
        """
        self._seen.update(names)

    def note_dropped(self, names: Iterable[str]) -> None:
        """Note what a state has no longer, so that the ledger can note the drop.

        Args:
            names: Names as in `seen`.
        """
        self._seen.difference_update(names)

    def note_taken(self, names: Iterable[str]) -> None:
        """Note what a resource of this process has made, resumed or is to keep.

        Args:
            names: Names as in `taken`.
        """
        self._taken.update(names)

    def versions(self, database_id: str, names: Iterable[str]) -> set[str]:
        """Return the versions of a database among names as in `seen`.

        Args:
            database_id: The database.
            names: The names.
        """
        prefix = f"{database_id}/"
        return {each.removeprefix(prefix) for each in names if each.startswith(prefix)}

    def ends_of(self, database_id: str) -> dict[str, datetime]:
        """Return the versions of a database that states have, each with the end of its 30 days.

        Args:
            database_id: The database.
        """
        prefix = f"{database_id}/"
        return {
            id_.removeprefix(prefix): ends
            for id_, ends in self.kept_until.items()
            if id_.startswith(prefix)
        }

    def remember_request(self, id_: str, requested_at: str | None) -> None:
        """Remember the final id of a snapshot with its provisional one, by the time of its request.

        Args:
            id_: The final id.
            requested_at: The time of the request, RFC 3339; None if no run has requested it.
        """
        if requested_at is not None:
            provisional = id_at(id_.partition("/")[0], PENDING, requested_at)
            self._other_ids |= {id_: provisional, provisional: id_}

    def is_same_snapshot(self, old: object, new: object) -> bool:
        """Tell whether two ids are of one snapshot, whose pending id became final in between.

        Only ids that the run knows count; anything other than two ids is not the same.

        Args:
            old: An id.
            new: Another id.
        """
        if not (isinstance(old, str) and isinstance(new, str)):
            return False
        if not is_provisional(old) or "/" not in new:
            return False
        if new in self._other_ids:
            return old == self._other_ids[new]
        return old.partition("/")[0] == new.partition("/")[0] and not is_provisional(
            new
        )

    def purposes(self, triggers: object) -> frozenset[str]:
        """Return the digests that triggers have had, since a snapshot in them can have two ids.

        Args:
            triggers: The triggers.
        """
        return frozenset(map(digest_of, islice(self._forms(triggers), FORMS)))

    def _forms(self, value: Any) -> Iterable[Any]:
        """The value, with each id of a snapshot in it as it is, and as the snapshot's other id."""
        if isinstance(value, list):
            return map(list, product(*map(self._forms, value)))
        if isinstance(value, dict):
            forms = product(*map(self._forms, value.values()))
            return (dict(zip(value, each, strict=True)) for each in forms)
        if isinstance(value, str) and value in self._other_ids:
            return (value, self._other_ids[value])
        return (value,)

    def is_first(self, said: Hashable) -> bool:
        """Tell whether this process says something for the first time.

        An engine can compare a resource twice.

        Args:
            said: The message.
        """
        first = said not in self._said
        self._said.add(said)
        return first

    def is_replaced(self, snapshot: str) -> bool:
        """Tell whether this run is about to replace a snapshot, or to make a new one beside it.

        The engine does not compare a resource that `--replace` names: then the snapshot looks like
        a new one.

        Args:
            snapshot: DATABASE_ID/VERSION_ID.
        """
        database_id = snapshot.partition("/")[0]
        return any(
            each.replaces == snapshot or each.makes_new_of == database_id
            for each in [*self._calls.values()]
        )

    def calls_of(self, kind: str, owner: str | None) -> ResourceCalls:
        """Return the engine's calls about a resource; new ones for an unknown resource.

        Args:
            kind: The resource's kind.
            owner: The resource's URN; None if it is not known.
        """
        return ResourceCalls() if owner is None else self._calls[kind, owner_of(owner)]


# What a run shows ---------------------------------------------------------------------------------


class Listener(Protocol):
    """Shows the progress of an operation, such as a resource's row on the terminal."""

    def progress(self, text: AnyMessage) -> None:
        """Show a text, which replaces the previous one.

        Args:
            text: The text.
        """

    def note(self, text: AnyMessage) -> None:
        """Show good news that stays visible after the run.

        Args:
            text: The text.
        """

    def warn(self, text: AnyMessage) -> None:
        """Show a warning that stays visible after the run.

        Args:
            text: The text.
        """

    def remind(self, text: AnyMessage) -> None:
        """Show beside the row that a long wait is under way: a narrow terminal cuts off the row.

        Args:
            text: The text.
        """


class Fleet:
    """All snapshots that a session creates or resumes at the same time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.members = list[Member]()
        self._reminded_at = -math.inf

    def may_remind(self) -> bool:
        """Tell whether the last reminder of the process is so old that another may follow."""
        now = self.clock.monotonic()
        is_due = now - self._reminded_at >= REMIND_EVERY
        if is_due:
            self._reminded_at = now
        return is_due

    @contextmanager
    def joins(self, listener: Listener) -> Iterator[Member]:
        """Count a snapshot while the body creates or resumes it.

        Args:
            listener: Shows the snapshot's progress.

        Yields:
            The snapshot as a member of the fleet.
        """
        member = Member(self, listener)
        self.members.append(member)
        try:
            yield member
        finally:
            self.members.remove(member)


_FORMS = {
    "until": "{text} until {time}{left}{detail}{reason}",
    "next_poll": "{text}; next poll {time}{left}{detail}{reason}",
    "next_try": "{text}; next try {time}{left}, nothing was started{reason}",
    "answer_by": "{text}; answer by {time}{left}",
    "at_most": "{text}{detail}, until {time}{left} at most{reason}",
}
"""The words of a wait, by the time that they name."""


def _seconds_to(time: datetime, now: datetime) -> float:
    return max(1.0, (time - now).total_seconds())


def _in_words(time: datetime, now: datetime) -> str:
    """How far away a time is, beside that time: ` (in about 3 min)`."""
    seconds = _seconds_to(time, now)
    unit = MINUTE if seconds >= MINUTE else 1
    return f" (in about {spoken(round(seconds / unit) * unit)})"


class Member:
    """One snapshot of a fleet; limits how much its listener shows of the progress."""

    def __init__(self, fleet: Fleet, listener: Listener) -> None:
        self.note = listener.note
        self.warn = listener.warn
        self.remind = listener.remind
        self._fleet = fleet
        self._listener = listener
        self._line: AnyMessage = CONNECTING  # until the row shows more
        self._line_time: datetime | None = None
        self._shown = fleet.clock.monotonic()
        self._waits_for = ""
        self._waiting_since: float | None = None

    def waits(  # noqa: PLR0913  each is a fact of its own
        self,
        text: str,
        detail: str = "",
        *,
        starts: datetime | None = None,
        until: datetime | None = None,
        next_poll: datetime | None = None,
        next_try: datetime | None = None,
        answer_by: datetime | None = None,
        at_most: datetime | None = None,
        why: str = "",
    ) -> None:
        """Show what the snapshot waits for.

        A change is shown at once, anything else every `ROUTINE_EVERY` seconds. A terminal of 120
        columns leaves 34 for the text, so the state comes first, in two words, and then one time,
        the first that is given. The time is absolute, since a row is not redrawn; a start that
        follows soon is shown in seconds. A long wait is also shown beside the row, with its rest in
        words.

        Args:
            text: The state.
            detail: Details that change during the wait; many snapshots together do not show them.
            starts: When the request is sent, about.
            until: When that wait ends.
            next_poll: When the next poll is due; many together do not show it.
            next_try: When the request is sent again, after a refusal.
            answer_by: When a request that has left is answered at the latest.
            at_most: When the wait ends at the latest.
            why: Why the resource waits.
        """
        state = text + why
        is_many = len(self._fleet.members) >= MANY
        if self._is_shown(state, starts):
            return
        if is_many:
            # The text is shown once, without what would soon be out of date.
            detail = ""
            next_poll = None
        given = (until, next_poll, next_try, answer_by, at_most)
        named = zip(_FORMS, given, strict=True)
        kind, time = next((each for each in named if each[1]), ("", None))
        ends = starts or (None if kind in {"answer_by", "at_most"} else time)
        form = _FORMS.get(kind, "{text}{detail}{reason}")
        now = self._fleet.clock.utc()
        if starts is not None:
            form = "{text}{detail}{reason}"
            time = None
            text = f"starts in about {spoken(_seconds_to(starts, now))}"
        reason = f": {why}" if why else ""
        self._show(
            Message(form, text=text, time=time, left="", detail=detail, reason=reason),
            time,
        )
        self._waits_for = state
        self._remind_if_long(ends)

    def _remind_if_long(self, ends: datetime | None) -> None:
        """Show the wait beside the row too, if it has taken long, or will have when it ends."""
        if self._waiting_since is None:
            self._waiting_since = self._shown
        duration = self._shown - self._waiting_since
        if ends is not None:
            duration += (ends - self._fleet.clock.utc()).total_seconds()
        if duration > LONG_WAIT:
            self._remind()

    def _is_shown(self, state: str, starts: datetime | None) -> bool:
        """Whether a state was shown lately; of many, a start is shown once."""
        if state != self._waits_for:
            return False
        is_many = len(self._fleet.members) >= MANY
        if is_many and starts is not None:
            return True
        return self._fleet.clock.monotonic() - self._shown < ROUTINE_EVERY

    def _show(self, line: AnyMessage, time: datetime | None) -> None:
        self._line = line
        self._line_time = time
        self._shown = self._fleet.clock.monotonic()
        self._listener.progress(line)

    async def watch(self) -> None:
        """Show beside the row what has stood there for long, whatever it is, until cancelled."""
        clock = self._fleet.clock
        while True:
            stood = clock.monotonic() - self._shown
            if stood >= LONG_WAIT:
                self._remind()
                stood = 0.0
            await clock.sleep(max(1.0, LONG_WAIT - stood))

    def _remind(self) -> None:
        """Show beside the row what the row shows, unless a wait was shown there lately."""
        if not self._fleet.may_remind():
            return
        line = self._line
        if isinstance(line, Message) and self._line_time is not None:
            left = _in_words(self._line_time, self._fleet.clock.utc())
            line = Message(line.template, **{**line.values, "left": left})
        others = len(self._fleet.members) - 1
        more = f" ({others} more wait)" if others > 0 else ""
        form = "{line}{more}"
        if not str(line).startswith("waiting"):
            form = f"waiting: {form}"
        self._listener.remind(Message(form, line=line, more=more))

    def progress(self, text: AnyMessage) -> None:
        """Show an event.

        Args:
            text: The text.
        """
        self._waits_for = ""
        self._waiting_since = None
        self._show(text, None)
