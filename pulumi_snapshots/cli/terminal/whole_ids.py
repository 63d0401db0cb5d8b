"""Completes ids that were typed in part.

The beginning of an id, or a database's name, is enough if no other existing id fits it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from pulumi_snapshots.cli.terminal.account import databases_of_account, known_versions
from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import (
    CannotTell,
    Hint,
    HintKind,
    LedgerUnavailable,
    ProviderError,
)
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


async def whole_database(session: Session, typed: str) -> str:
    """Find the database whose id, beginning of an id, or name was typed.

    Args:
        session: The session of the process. No request is sent for an id of the usual form.
        typed: The text that was typed.

    Returns:
        The id.

    Raises:
        UnclearId: Several databases fit, or none.
    """
    if is_usual_database_id(
        typed
    ):  # another one, as in the service's examples, costs a request
        return typed
    is_part = PART_OF_DATABASE.fullmatch(typed) is not None
    try:
        databases = await databases_of_account(session)
    except NotAllowed as refused:
        if not is_part:
            return typed  # the service knows whether it is an id
        seen = await _only_seen_database(session, typed)
        if seen is not None:
            return seen
        happened = (
            f"{typed} is only the beginning of a database's id, and the API key may not list the "
            "databases"
        )
        raise UnclearId(happened, NOTHING_DONE, [HintKind.GIVE_WHOLE_ID]) from refused
    known = {
        each.id: ", ".join(filter(None, (each.name, each.type))) for each in databases
    }
    named = [each.id for each in databases if each.name == typed]
    return _only(_Choice("database", typed, known, named, by_beginning=is_part))


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
    listed = _described((*noted, *known_versions(session, database_id).values()))
    chosen = _Choice("snapshot", typed, listed).chosen()
    if chosen is not None:
        return chosen
    page = await listings.complete_page(database_id, listings.recent, spares_own=True)
    choice = _Choice("snapshot", typed, _described((*noted, *page.entries)))
    if not choice.fitting() and not page.listing.is_own:
        # The service caches the two listings separately.
        own = await listings.own_page(database_id, listings.recent)
        known = _described((*noted, *page.entries, *own.entries))
        choice = _Choice("snapshot", typed, known)
    if not choice.fitting():
        listed_by = session.clock.utc() + timedelta(seconds=SERVICE_CACHE)
        then = [
            Hint(HintKind.GIVE_WHOLE_VERSION),
            Hint(HintKind.RUN_AGAIN_AFTER, time=f"{listed_by:%H:%M:%S} UTC"),
        ]
        raise UnclearId(choice.refused(), f"{NOTHING_DONE} {UNLISTED}", then)
    return _only(choice)


async def _only_seen_database(session: Session, beginning: str) -> str | None:
    """The only database that begins so of which a snapshot is listed, or which runs have noted.

    A key that may not list the databases may list these. Not all are seen, so a few characters
    could be another one's.
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


def _described(entries: Iterable[ListedSnapshot]) -> dict[str, str]:
    """What a person recognises each version by."""
    known = {}
    for each in entries:
        taken = to_the_second(each.modified) if each.modified else None
        known[each.version or ""] = ", ".join(filter(None, (taken, each.origin)))
    return known


@dataclass(frozen=True)
class _Choice:
    """What was typed of an id, and the ids among which it chooses."""

    what: str
    """`database` or `snapshot`."""
    typed: str
    candidates: Mapping[str, str]
    """The ids, each with what a person recognises it by."""
    named: Sequence[str] = ()
    """The ids of databases that have this name."""
    by_beginning: bool = True
    """Whether what was typed can be the beginning of an id."""

    def fitting(self) -> list[str]:
        """The ids that are meant, perhaps."""
        return [
            each
            for each in self.candidates
            if each in self.named or (self.by_beginning and each.startswith(self.typed))
        ]

    def chosen(self) -> str | None:
        """The id that is meant: the id itself, or the only one that fits if enough was typed."""
        if self.typed in self.candidates:
            return self.typed
        is_enough = self.what == "database" or len(self.typed) >= SHORTEST_PART
        fitting = self.fitting()
        return fitting[0] if is_enough and len(fitting) == 1 else None

    def refused(self) -> str:
        """Say why no single id is meant, and which ids there are."""
        fitting = self.fitting()
        return f"{self.happened(fitting)}{self.shown(fitting or list(self.candidates))}"

    def happened(self, fitting: Sequence[str]) -> str:
        """Say why no single id is meant."""
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
        known = f". Known {self.what}s" if self.candidates else ""
        if self.by_beginning:
            return f"no {self.what}'s id begins with {self.typed}{known}"
        return f"no {self.what} has the name or id {self.typed}{known}"

    def shown(self, ids: Sequence[str]) -> str:
        """List ids with what they are recognised by, a line for each."""
        lines = [
            f"\n  {each}  {self.candidates[each]}".rstrip()
            for each in ids[:SHOWN_CANDIDATES]
        ]
        if len(ids) > SHOWN_CANDIDATES:
            lines.append(f"\n  and {len(ids) - SHOWN_CANDIDATES} more")
        return f":{''.join(lines)}" if lines else ""


def _only(choice: _Choice) -> str:
    """Return the id that is meant: the id itself, or the only one that fits.

    Raises:
        UnclearId: Several ids fit, or none, or too little was typed.
    """
    chosen = choice.chosen()
    if chosen is not None:
        return chosen
    then = HintKind.GIVE_MORE_OF_ID if choice.fitting() else HintKind.CHECK_ID
    raise UnclearId(choice.refused(), NOTHING_DONE, [then])
