"""Whole ids for what was typed: the beginning of an id, or a database's name, is enough if it can mean no other one that exists now."""

import re
from collections.abc import Mapping, Sequence

from pulumi_snapshots.cli.terminal.account import databases_of_account
from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Explained, Next, Step
from pulumi_snapshots.listing.listings import SERVICE_CACHE, entry_of
from pulumi_snapshots.properties.checks import LATEST, is_usual_database_id
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import NotAllowed

PART_OF_DATABASE = re.compile(r"[a-f0-9]{1,31}")
SHORTEST_VERSION = 24
"""Characters of the shortest version id, by the OpenAPI document."""
PART_OF_UUID = re.compile(r"[a-f0-9]{8}-[a-f0-9-]{15,26}")
"""The beginning of a UUID that is no shorter than the shortest version id."""
SHORTEST_PART = 8
"""Characters of a version id that are enough at least: what is not listed yet hardly begins like that too."""
SHOWN = 10
"""Candidates that an error lists at most."""
NOTHING_DONE = "Nothing was done."
UNLISTED = f"A snapshot of the last {SERVICE_CACHE / 60:.0f} minutes may not be listed yet."


class UnclearId(Explained):
    """What was typed of an id is the beginning of several ids, or of none."""


async def whole_database(session: Session, typed: str) -> str:
    """The id of the database of which an id, its beginning or its name was typed; UnclearId if that means several, or none."""
    if is_usual_database_id(typed):  # another one, as in the service's examples, costs a request
        return typed
    is_part = PART_OF_DATABASE.fullmatch(typed) is not None
    try:
        databases = await databases_of_account(session)
    except NotAllowed as refused:
        if not is_part:
            return typed  # the service knows whether it is an id
        happened = f"{typed} is only the beginning of a database's id, and the API key may not list the databases"
        raise UnclearId(happened, NOTHING_DONE, [Next(Step.GIVE_WHOLE_ID)]) from refused
    known = {each.id: ", ".join(filter(None, (each.name, each.type))) for each in databases}
    named = [each.id for each in databases if each.name == typed]
    return _only("database", typed, known, named, by_beginning=is_part)


async def whole_version(session: Session, database_id: str, typed: str) -> str:
    """The version id that was typed, of a database whose id is whole; UnclearId if it begins several, or none."""
    if typed == LATEST or (len(typed) >= SHORTEST_VERSION and not PART_OF_UUID.fullmatch(typed)):
        return typed
    page = await session.listings.own_page(database_id, session.listings.recent, patience=BRIEF)
    # which an old page lacks, and which may be meant too
    found = await session.listings.found_lately(database_id)
    known = {}
    for each in (*map(entry_of, found), *page.entries):
        taken = to_the_second(each.modified) if each.modified else None
        known[each.version or ""] = ", ".join(filter(None, (taken, each.origin)))
    return _only("snapshot", typed, known)


def _only(
    what: str,
    typed: str,
    candidates: Mapping[str, str],
    named: Sequence[str] = (),
    *,
    by_beginning: bool = True,
) -> str:
    """The candidate that is meant: the id itself, or else the only one that begins like this or has this name."""
    begin = [
        each for each in candidates if each in named or (by_beginning and each.startswith(typed))
    ]
    if typed in candidates:
        return typed
    if len(begin) == 1 and (what == "database" or len(typed) >= SHORTEST_PART):
        return begin[0]
    if len(begin) == 1:
        happened = f"the beginning {typed} is shorter than the {SHORTEST_PART} characters that are needed: a snapshot that is not listed yet may begin like that"
    elif named and begin:
        happened = f"{len(begin)} {what}s have the name {typed}, or ids that begin like it"
    elif begin:
        happened = f"the ids of {len(begin)} {what}s begin with {typed}"
    else:
        no_such = (
            f"no {what}'s id begins with {typed}"
            if by_beginning
            else f"no {what} has the name or id {typed}"
        )
        happened = f"{no_such}{f'. Known {what}s' if candidates else ''}"
    listed = begin or list(candidates)
    lines = [f"\n  {each}  {candidates[each]}".rstrip() for each in listed[:SHOWN]]
    if len(listed) > SHOWN:
        lines.append(f"\n  and {len(listed) - SHOWN} more")
    done = NOTHING_DONE if begin or what == "database" else f"{NOTHING_DONE} {UNLISTED}"
    then = Next(Step.GIVE_MORE_OF_ID if begin else Step.CHECK_ID)
    raise UnclearId(f"{happened}{':' if lines else ''}{''.join(lines)}", done, [then])
