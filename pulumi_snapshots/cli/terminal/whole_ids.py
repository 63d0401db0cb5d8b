"""Completes ids that were typed in part.

The beginning of an id, or a database's name, is enough if no other existing id fits it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from pulumi_snapshots.cli.terminal.account import databases_of_account, known_versions
from pulumi_snapshots.cli.terminal.output import joined
from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import (
    CannotTell,
    Hint,
    HintKind,
    LedgerUnavailable,
    ProviderError,
)
from pulumi_snapshots.errors.secrets import shown_id
from pulumi_snapshots.listing.listings import SERVICE_CACHE, by_database, entry_of
from pulumi_snapshots.properties.checks import LATEST, is_usual_database_id
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.errors import NotAllowed, SquareCloudError
from pulumi_snapshots.service.models import ListedSnapshot

PART_OF_DATABASE = re.compile(r"[a-f0-9]{1,31}")
SHORTEST_VERSION = 24
"""Characters of the shortest version id, by the OpenAPI document."""
PART_OF_UUID = re.compile(r"[a-f0-9]{8}-[a-f0-9-]{15,26}")
"""The beginning of a UUID that is no shorter than the shortest version id."""
SHORTEST_PART = 8
"""Characters of a version id that are enough at least: what is not listed yet hardly begins like
that too.
"""
SHOWN_CANDIDATES = 10
"""Candidates that an error lists at most."""
NOTHING_DONE = "Nothing was done."
UNLISTED = (
    f"A snapshot of the last {SERVICE_CACHE / 60:.0f} minutes can be missing from "
    "the listing."
)


class UnclearId(ProviderError):
    """A typed id is the beginning of several ids, or of none."""


async def whole_database(
    session: Session, typed: str, note: Callable[[str], None]
) -> str:
    """Find the database whose id, beginning of an id, or name was typed.

    Args:
        session: The session of the process. No request is sent for an id of the usual form.
        typed: The text that was typed.
        note: Hears what is assumed if the key may not list the databases.

    Returns:
        The id.

    Raises:
        UnclearId: Several databases fit, or none.
    """
    # An id of another form, as in the service's examples, costs a request.
    if is_usual_database_id(typed):
        return typed
    is_part = PART_OF_DATABASE.fullmatch(typed) is not None
    try:
        databases = await databases_of_account(session)
    except NotAllowed as refused:
        if not is_part:
            note(
                f"{shown_id(typed)} is taken for an id: the API key may not list the databases, "
                "so a name cannot be looked up. Give the id, or use a key with the scope "
                "account:read."
            )
            return typed
        seen = await _only_seen_database(session, typed)
        if seen is not None:
            return seen
        happened = (
            f"{typed} is only the beginning of a database's id, and the API key may not list the "
            "databases"
        )
        raise UnclearId(happened, NOTHING_DONE, [HintKind.GIVE_WHOLE_ID]) from refused
    candidates = {each.id: joined(each.name, each.type) for each in databases}
    named = [each.id for each in databases if each.name == typed]
    return _Choice("database", typed, candidates, named, is_part).required()


async def whole_version(session: Session, database_id: str, typed: str) -> str:
    """Find the snapshot whose version id or beginning of a version id was typed.

    Args:
        session: The session of the process. A request is sent only for a beginning.
        database_id: The database's whole id.
        typed: The text that was typed; `latest` is returned as it is.

    Returns:
        The version id.

    Raises:
        UnclearId: Several snapshots fit, or none.
    """
    if typed == LATEST or (
        len(typed) >= SHORTEST_VERSION and not PART_OF_UUID.fullmatch(typed)
    ):
        return typed
    listings = session.listings
    # An old page lacks what runs have found since, and that may be meant too.
    noted = [entry_of(each) for each in await listings.found_lately(database_id)]
    kept = known_versions(session, database_id).values()
    chosen = _choice_of_snapshot(typed, [*noted, *kept]).chosen()
    if chosen is not None:
        return chosen
    page = await listings.complete_page(database_id, listings.recent, spares_own=True)
    entries = [*noted, *page.entries]
    choice = _choice_of_snapshot(typed, entries)
    if not choice.fitting and not page.listing.is_own:
        # The service caches the two listings separately.
        own = await listings.own_page(database_id, listings.recent)
        choice = _choice_of_snapshot(typed, [*entries, *own.entries])
    if not choice.fitting:
        listed_by = session.clock.utc() + timedelta(seconds=SERVICE_CACHE)
        then = [
            Hint(HintKind.GIVE_WHOLE_VERSION),
            Hint(HintKind.RUN_AGAIN_AFTER, time=f"{listed_by:%H:%M:%S} UTC"),
        ]
        raise UnclearId(choice.problem(), f"{NOTHING_DONE} {UNLISTED}", then)
    return choice.required()


async def _only_seen_database(session: Session, beginning: str) -> str | None:
    """The only database with this beginning of which a snapshot is listed, or that runs have noted.

    A key that may not list databases may list snapshots. They do not show all databases, so a few
    characters could be those of another database.
    """
    if len(beginning) < SHORTEST_PART:
        return None
    seen = set[str]()
    with suppress(LedgerUnavailable):
        seen |= {each.database_id for each in await session.ledger.attempts()}
    with suppress(SquareCloudError, CannotTell):
        listing = await session.listings.account_listing(session.listings.recent)
        if listing is not None:
            seen |= by_database(listing).keys()
    fitting = [each for each in seen if each.startswith(beginning)]
    return fitting[0] if len(fitting) == 1 else None


@dataclass(frozen=True)
class _Choice:
    """What was typed of an id, and the ids among which it chooses."""

    what: str
    """`database` or `snapshot`."""
    typed: str
    candidates: Mapping[str, str]
    """The ids, each with what a person recognises it by."""
    named: Sequence[str] = ()
    """The ids of databases whose name was typed."""
    by_beginning: bool = True
    """Whether what was typed can be the beginning of an id."""

    @cached_property
    def fitting(self) -> list[str]:
        """The ids that may be meant."""
        return [
            each
            for each in self.candidates
            if each in self.named or (self.by_beginning and each.startswith(self.typed))
        ]

    def chosen(self) -> str | None:
        """The id that is meant: the id itself, or the only id that fits if enough was typed."""
        if self.typed in self.candidates:
            return self.typed
        is_enough = self.what == "database" or len(self.typed) >= SHORTEST_PART
        return self.fitting[0] if is_enough and len(self.fitting) == 1 else None

    def required(self) -> str:
        """Return the id that is meant.

        Raises:
            UnclearId: Several ids fit, or none, or too little was typed.
        """
        chosen = self.chosen()
        if chosen is not None:
            return chosen
        then = HintKind.CHECK_ID
        if 0 < len(self.candidates) <= SHOWN_CANDIDATES:
            then = HintKind.CHOOSE_ID
        if self.fitting:
            then = HintKind.GIVE_MORE_OF_ID
        raise UnclearId(self.problem(), NOTHING_DONE, [then])

    def problem(self) -> str:
        """Say why no single id is meant, and which ids there are, a line for each."""
        ids = self.fitting or [*self.candidates]
        if not ids:
            return self._reason()
        lines = [
            f"{each}  {self.candidates[each]}".rstrip()
            for each in ids[:SHOWN_CANDIDATES]
        ]
        if len(ids) > SHOWN_CANDIDATES:
            lines.append(f"and {len(ids) - SHOWN_CANDIDATES} more")
        return "\n  ".join([f"{self._reason()}:", *lines])

    def _reason(self) -> str:
        fitting = self.fitting
        if len(fitting) == 1:
            return (
                f"the beginning {self.typed} is shorter than the {SHORTEST_PART} characters that "
                "are needed: a snapshot that is not listed yet may begin like that"
            )
        if self.named and fitting:
            return (
                f"{len(fitting)} {self.what}s have the name {self.typed}, or ids "
                "that begin like it"
            )
        if fitting:
            return f"the ids of {len(fitting)} {self.what}s begin with {self.typed}"
        heading = f". Known {self.what}s" if self.candidates else ""
        if self.by_beginning:
            return f"no {self.what}'s id begins with {self.typed}{heading}"
        return f"no {self.what} has the name or id {self.typed}{heading}"


def _choice_of_snapshot(typed: str, entries: Iterable[ListedSnapshot]) -> _Choice:
    """The choice among entries, each of which a person recognises by its time and origin."""
    candidates = {}
    for each in entries:
        taken = to_the_second(each.modified) if each.modified else None
        candidates[each.version or ""] = joined(taken, each.origin)
    return _Choice("snapshot", typed, candidates)
