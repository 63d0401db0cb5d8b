"""What may stand in the way of the next snapshot: key, scopes, plan, quota, clock, listing and attempts. Never a POST.

Three requests at most, each sent once. The account's listing is asked for and not a database's: the service caches the two
apart, and a look at a database's own right before a create would show the create an old page.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from pulumi_snapshots.api.client import ONCE
from pulumi_snapshots.api.errors import KeyRefused, NotAllowed, SquareCloudError, UpgradeRequired
from pulumi_snapshots.cli.wording import COMMANDS
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors.text import sentence
from pulumi_snapshots.listing.listings import SERVICE_CACHE
from pulumi_snapshots.properties.durations import duration_text
from pulumi_snapshots.run.quota import allowance_of, counted, slot_frees

if TYPE_CHECKING:
    from pulumi_snapshots.api.models import Account, Listing
    from pulumi_snapshots.attempt.journal import AttemptJournal, Entry, Found
    from pulumi_snapshots.run.session import Session

__all__ = ["Finding", "State", "examine"]

State = Literal["ok", "note", "problem", "unknown"]
"""`note` is worth knowing, `problem` stands in the way, `unknown` could not be found out."""

CLOCK_NOTE = 60.0
"""Seconds between the clocks that are worth a word: `rotate_after` goes by this machine's."""


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes:
        check: what.
        state: how it is.
        found: what was found, one sentence or none of its own.
        advice: what to do; empty where there is nothing to do.
    """

    check: str
    state: State
    found: str
    advice: str = ""


async def examine(session: Session) -> list[Finding]:
    """Check everything that the service and this machine's files tell.

    Args:
        session: the service; nothing is asked a second time.
    """
    findings: list[Finding] = []
    account, listing = None, None
    try:
        account = await session.client.account(patience=ONCE)
        findings.append(Finding("key", "ok", "accepted"))
    except NotAllowed as error:
        findings.append(Finding("key", "note", f"accepted, but not for the account: {COMMANDS.told(error)}"))
    except SquareCloudError as error:
        findings.append(_failed("key" if isinstance(error, KeyRefused) else "service", error))
    if findings[0].state != "problem":
        reading, listing = await _reading(session, account)
        findings += [reading, _writing()]
    findings.append(_plan(account))
    found = await session.snapshot_journal.recently_found()
    findings.append(_quota(session, account, listing, found))
    findings.append(_clock(session))
    findings.append(_listing(session, listing, found))
    findings += await _attempts(session, session.snapshot_journal, "snapshot")
    findings += await _attempts(session, session.restore_journal, "restore")
    if note := session.take_note():
        told = sentence(COMMANDS.text(note))
        findings.append(Finding("state directory", "note", told, "Check its owner and free space."))
    return findings


def _failed(check: str, error: SquareCloudError) -> Finding:
    return Finding(check, "problem", COMMANDS.paragraph(error))


async def _reading(session: Session, account: Account | None) -> tuple[Finding, Listing | None]:
    """Whether snapshots can be listed, and the account's listing."""
    check, now = "scope snapshots:read", session.clock.monotonic()
    try:
        listing = await session.listings.account_listing(now, patience=ONCE)
        if listing is not None:
            return Finding(check, "ok", "the account's snapshots can be listed"), listing
        refusal = session.listings.account_refusal
        if isinstance(refusal, NotAllowed) and refusal.code == "MISSING_SCOPE":
            return _failed(check, refusal), None
        if account is None or not account.databases:
            return Finding(check, "unknown", f"{refusal}"), None
        await session.listings.own_page(account.databases[0].id, now, patience=ONCE)
    except SquareCloudError as error:
        return _failed(check, error), None
    why = "the plan" if isinstance(refusal, UpgradeRequired) else "the key"
    found = f"a database's snapshots can be listed, the whole account's not: {why} does not include it"
    return Finding(
        check, "note", found, "Nothing has to be done: each database is asked by itself, which costs requests."
    ), None


def _writing() -> Finding:
    found = "only a POST could tell, and none is sent"
    return Finding(
        "scope snapshots:write", "unknown", found, "A create or restore that lacks it starts nothing and says so."
    )


def _plan(account: Account | None) -> Finding:
    memory = account.plan_memory if account is not None else None
    if account is None or memory is None:
        return Finding("plan", "unknown", "the service did not say")
    name = f"{account.plan}, " if account.plan else ""
    return Finding("plan", "ok", f"{name}{memory} MB: {allowance_of(memory)} snapshots in any 24 hours")


def _quota(session: Session, account: Account | None, listing: Listing | None, found: list[Found]) -> Finding:
    memory = account.plan_memory if account is not None else None
    if memory is None or listing is None:
        return Finding("quota", "unknown", "it takes the plan and the account's listing")
    allowance, now = allowance_of(memory), session.client.service_clock.now()
    taken = counted(listing, now)
    used = len(taken) + len(_lacking(session, listing, found))
    left = max(0, allowance - used)
    text = f"{left} of {allowance} left, as far as the listing tells"
    if left:
        return Finding("quota", "ok", text)
    at = slot_frees(taken, allowance)
    frees = f"A slot frees at about {rfc3339(at)}" if at else "Wait"
    return Finding("quota", "problem", text, f"{frees}; a larger plan allows more, and reuse_within saves some.")


def _clock(session: Session) -> Finding:
    offset = session.client.service_clock.offset
    if offset is None:
        return Finding("clock", "unknown", "the service has not shown its time")
    away = duration_text(round(abs(offset)))
    if abs(offset) <= CLOCK_NOTE:
        return Finding("clock", "ok", f"within {duration_text(CLOCK_NOTE)} of the service's")
    which = "behind" if offset > 0 else "ahead of"
    advice = "Set it: rotate_after goes by it, and buckets refuse requests of a wrong time. Waiting for a snapshot is right all the same."
    return Finding("clock", "note", f"this machine's is {away} {which} the service's", advice)


def _listing(session: Session, listing: Listing | None, found: list[Found]) -> Finding:
    if listing is None:
        return Finding("listing", "unknown", "none was had")
    if listing.unreadable:
        text = f"{listing.unreadable} of its entries cannot be read"
        return Finding("listing", "note", text, "A newer version of this package may read them.")
    cache = duration_text(SERVICE_CACHE)
    if lacking := _lacking(session, listing, found):
        until = max(one.at for one in lacking) + timedelta(seconds=SERVICE_CACHE)
        text = f"an old page: it lacks {len(lacking)} that this machine has found, the newest {lacking[-1].version_id}"
        return Finding("listing", "note", text, f"Nothing has to be done: it is renewed by {until:%H:%M:%S} UTC.")
    newest = max((entry.modified for entry in listing.entries if entry.modified is not None), default=None)
    age = None if newest is None else (session.client.service_clock.now() - newest).total_seconds()
    if age is not None and 0 <= age < SERVICE_CACHE:
        return Finding("listing", "ok", f"at most {duration_text(round(age))} old: it has a snapshot of that age")
    return Finding("listing", "ok", f"at most {cache} old, which is how long the service may serve the same page")


def _lacking(session: Session, listing: Listing, found: list[Found]) -> list[Found]:
    """What creates of this machine have found so lately that the listing may be an older page; and it is not there."""
    listed = {entry.version for entry in listing.entries}
    lately = session.clock.utc() - timedelta(seconds=SERVICE_CACHE)
    return sorted((one for one in found if one.at > lately and one.version_id not in listed), key=lambda one: one.at)


async def _attempts(session: Session, journal: AttemptJournal, what: str) -> list[Finding]:
    entries = await journal.all()
    if not entries:
        return [Finding(f"{what} attempts", "ok", "none is left")]
    return [_attempt(session, journal, entry, what) for entry in entries]


def _attempt(session: Session, journal: AttemptJournal, entry: Entry, what: str) -> Finding:
    owner = entry.owner or "an unnamed resource"
    which = f"{owner} requested a {what} {'of' if what == 'snapshot' else 'onto'} database {entry.database_id}"
    text = f"{which} at {rfc3339(entry.post.posted_at)} ({entry.post.answered}), and its end was not seen"
    check = f"{what} attempts"
    if journal.is_under_way(entry):
        return Finding(check, "ok", f"{text}: it is under way")
    if entry.in_state:
        return Finding(check, "note", text, "Its stack has it as pending: the next `pulumi up` there goes on.")
    if timedelta(seconds=entry.post.age(session.clock.utc())) > entry.post.failed_after and what == "snapshot":
        return Finding(check, "note", text, "It is over, and the next snapshot of that database forgets it.")
    again = (
        f"running `{owner}` again"
        if owner.startswith("squarecloud-snapshots ")
        else "the next `pulumi up` of its stack"
    )
    return Finding(
        check, "note", text, f"It was killed or interrupted: {again} on this machine goes on, and sends nothing."
    )
