"""What may stand in the way of the next snapshot: key, scopes, plan, quota, clock, listing, ledger and attempts. Sends no POST.

Five requests at most, each sent once. They ask for the account's listing, not for a database's: the service caches the two
apart, and a create right after a poll of its database's own listing would get an old page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import click

from pulumi_snapshots.cli.assurance.runs import under_way
from pulumi_snapshots.cli.setup.findings import Finding, Result
from pulumi_snapshots.cli.setup.rehearsal import rehearse
from pulumi_snapshots.cli.setup.toolchain import look_at_installation
from pulumi_snapshots.cli.terminal.arguments import json_option
from pulumi_snapshots.cli.terminal.display import ASKING, display
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, json_text, report
from pulumi_snapshots.cli.terminal.stack import StackUnreadable, stack_option
from pulumi_snapshots.cli.terminal.wording import COMMANDS
from pulumi_snapshots.clock import rfc3339, to_the_second
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import LedgerUnavailable
from pulumi_snapshots.errors.pages import with_pointer
from pulumi_snapshots.ledger.bucket import Bucket
from pulumi_snapshots.listing.listings import SERVICE_CACHE, database_of_entry
from pulumi_snapshots.listing.quota import allowance_of, counted, slot_frees
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.backend import bucket_url
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import LISTING_CACHES, MissingKey, SettingsError, variable
from pulumi_snapshots.service.client import ONCE
from pulumi_snapshots.service.errors import (
    Blocked,
    KeyRefused,
    ListingBlocked,
    NotAllowed,
    SquareCloudError,
    UpgradeRequired,
)
from pulumi_snapshots.service.health import ONLINE
from pulumi_snapshots.service.models import Account, Listing
from pulumi_snapshots.service.rate_limiter import accounts_in
from pulumi_snapshots.service.scopes import ACCOUNT_READ, DATABASES_READ, SNAPSHOTS_READ, SNAPSHOTS_WRITE

CHECKED = "checked"
"""When the ledger was last checked; the entry makes the check write something."""
CLOCK_NOTE = 60.0
"""Seconds between the clocks that are worth a word: `rotate_after` goes by this machine's."""


UNSHARED = "Runs without shared state, on this machine too, do not see it: they keep limits of their own."
FORGET_BLOCK = "If the service's support has lifted the block early: `squarecloud-snapshots doctor --forget-block`."


@dataclass(frozen=True)
class Seen:
    """The service's facts about the account, None if unknown, and what runs have found lately.

    Attributes:
        found: of each snapshot its version, and when it was found, by this machine's clock.
    """

    session: Session
    account: Account | None
    listing: Listing | None
    found: list[tuple[str, datetime]]

    @cached_property
    def lacking(self) -> list[tuple[str, datetime]]:
        """What was found so lately that the listing may be an older page, and is not in it; oldest first."""
        listed = {entry.version for entry in self.listing.entries} if self.listing else set()
        lately = self.session.clock.utc() - timedelta(seconds=SERVICE_CACHE)
        lacking = [(version, at) for version, at in self.found if at > lately and version not in listed]
        return sorted(lacking, key=lambda each: each[1])


@click.command(short_help="Find what would stop the next snapshot.")
@click.option("--forget-block", is_flag=True, help="First forget that the service has blocked the account.")
@stack_option
@click.option(
    "--two-machines", is_flag=True, help="Let a second machine take over a killed run, in the ledger's place only."
)
@json_option
@click.pass_obj
async def doctor(invocation: Invocation, /, *, as_json: bool, **options: Any) -> int:
    """Check key, scopes, plan, quota, clock, listing, ledger, what is under way and what is installed.

    Sends five requests at most, and none that starts something. The exit code is 1 if anything is a PROBLEM: it would stop
    a create. Runs read the stack's configuration: without --stack only the environment is checked.
    """
    with display(invocation, logged=False) as shown:
        shown.progress("checking the installation")
        installed = await invocation.in_thread(look_at_installation, invocation.environment)
        shown.progress(ASKING)
        findings = [*await examine(invocation, **options), *installed]
    if as_json:
        invocation.show(json_text([asdict(one) for one in findings]))
    else:
        rows = [(MARKS[one.state], one.check, one.found, one.advice) for one in findings]
        invocation.show(report(rows, invocation.out))
    return FAILED if any(one.state == "problem" for one in findings) else DONE


async def examine(
    invocation: Invocation, *, stack: str | None, forget_block: bool, two_machines: bool
) -> list[Finding]:
    """Check everything that the service and the ledger show.

    Args:
        invocation: the run of the command.
        stack: whose configuration is used; only the environment if None.
        forget_block: whether runs forget a block first that they remember.
        two_machines: whether to rehearse that another machine takes over.
    """
    try:
        async with invocation.session(stack=stack) as session:
            found = [Finding("stack", "ok", f"{stack}: its configuration is used")] if stack else []
            found += [await _forget_block(session)] if forget_block else []
            found += [each async for each in _examined(session, invocation.environment)]
            return [*found, Finding("two machines", *await rehearse(session))] if two_machines else found
    except StackUnreadable as error:
        return [Finding("stack", "problem", COMMANDS.report(error))]
    except SettingsError as error:
        told = COMMANDS.told(Explained(error.happened, "No request was sent.", error.then))
        check = "key" if isinstance(error, MissingKey) else "settings"
        return [Finding(check, "problem", with_pointer(told, error))]


async def _examined(session: Session, environment: Mapping[str, str]) -> AsyncIterator[Finding]:
    key, whole, account = await _key(session)
    yield key
    yield Finding("outage", *await _health(session))
    listing = None
    if key.state != "problem":
        yield Finding(f"scope {ACCOUNT_READ}", *whole)
        reading, listing = await _reading(session, account)
        yield Finding(f"scope {SNAPSHOTS_READ}", *reading)
        lacks = "A create or restore that lacks it starts nothing and says so."
        yield Finding(f"scope {SNAPSHOTS_WRITE}", "unknown", "only a POST would show it, and none is sent", lacks)
        yield Finding(f"scope {DATABASES_READ}", *await _database(session, account, listing))
    found = [(one.version_id, one.at) for one in await session.found_lately()]
    seen = Seen(session, account, listing, found)
    for check, look in {
        "plan": _plan,
        "quota": _quota,
        "clock": _clock,
        "listing": _listing,
        "listing cache": _cache,
    }.items():
        yield Finding(check, *look(seen))
    yield Finding("ledger", *await _ledger(session, environment))
    yield Finding("runs", *await _runs(session))


async def _forget_block(session: Session) -> Finding:
    try:
        until = await session.rate_limiter.forget_blocks()
    except LedgerUnavailable as error:
        found = f"not forgotten, since that cannot be written down ({error.trouble})"
        return Finding(
            "block", "problem", found, "Run `squarecloud-snapshots doctor --forget-block` again once it can be."
        )
    if until is None:
        return Finding("block", "ok", "no run remembers one")
    return Finding("block", "ok", f"forgotten: runs took it to last until {to_the_second(until)}")


async def _health(session: Session) -> Result:
    """Whether the service itself reports an outage."""
    word, message = await session.client.health.said()
    if outage := await session.client.health.outage():
        return "note", f"the service itself reports one ({outage})", "Requests may fail until it is over."
    if word == ONLINE:
        return "ok", "the service reports none", ""
    return "unknown", message or "the service does not say", ""


async def _key(session: Session) -> tuple[Finding, Result, Account | None]:
    """Whether the key is accepted, whether it may read the account, and the account."""
    accepted = Finding("key", "ok", "accepted")
    try:
        account = await session.client.account(patience=ONCE)
    except NotAllowed as error:
        return accepted, ("note", f"{error}", "Only a list of databases, and plan and quota here, need it."), None
    except SquareCloudError as error:
        check = "key" if isinstance(error, KeyRefused) else "service"
        advice = FORGET_BLOCK if isinstance(error, Blocked) and error.unsent else ""
        return Finding(check, "problem", COMMANDS.report(error), advice), ("unknown", "", ""), None
    return accepted, ("ok", "the account can be read", ""), account


async def _database(session: Session, account: Account | None, listing: Listing | None) -> Result:
    """Whether a database and its status can be read."""
    known = [one.id for one in account.databases] if account else []
    known += [found for entry in (listing.entries if listing else ()) if (found := database_of_entry(entry))]
    if not known:
        return "unknown", "no database is known to check it with", ""
    try:
        await session.client.database(known[0], patience=ONCE)
    except NotAllowed as error:
        return "note", f"{error}", "Only a Restore and lookups of databases need it."
    except SquareCloudError as error:
        return "unknown", f"{error}", ""
    return "ok", "databases can be read", ""


async def _reading(session: Session, account: Account | None) -> tuple[Result, Listing | None]:
    """Whether snapshots can be listed, and the account's listing."""
    now = session.clock.monotonic()
    try:
        listing = await session.listings.account_listing(now, patience=ONCE)
        if listing is not None:
            return ("ok", "the account's snapshots can be listed", ""), listing
        refusal = session.listings.account_refusal
        if isinstance(refusal, NotAllowed) and refusal.code == "MISSING_SCOPE":
            return ("problem", COMMANDS.report(refusal), ""), None
        if account is None or not account.databases:
            return ("unknown", f"{refusal}", ""), None
        await session.listings.own_page(account.databases[0].id, now, patience=ONCE)
    except SquareCloudError as error:
        return ("problem", COMMANDS.report(error), ""), None
    if isinstance(refusal, ListingBlocked):
        why = "the service blocks it for up to 5 minutes, since it was requested too often"
    else:
        why = f"the {'plan' if isinstance(refusal, UpgradeRequired) else 'key'} does not include it"
    found = f"a database's snapshots can be listed, the whole account's not: {why}"
    return ("note", found, "Nothing to do: polling each database by itself takes more requests."), None


def _plan(seen: Seen) -> Result:
    if seen.account is None or seen.account.plan_memory is None:
        return "unknown", "the service did not say", ""
    memory = seen.account.plan_memory
    name = f"{seen.account.plan}, " if seen.account.plan else ""
    return "ok", f"{name}{memory} MB: {allowance_of(memory)} snapshots in any 24 hours", ""


def _quota(seen: Seen) -> Result:
    if seen.account is None or seen.account.plan_memory is None or seen.listing is None:
        return "unknown", "the plan and the account's listing are needed", ""
    allowance = allowance_of(seen.account.plan_memory)
    taken = counted(seen.listing, seen.session.client.service_clock.now())
    left = max(0, allowance - len(taken) - len(seen.lacking))
    text = f"{left} of {allowance} left, as far as the listing shows"
    if left:
        return "ok", text, ""
    at = slot_frees(taken, allowance)
    frees = f"A slot frees at about {to_the_second(at)}" if at else "Wait"
    return "problem", text, f"{frees}; a larger plan allows more, and reuse_within saves some."


def _clock(seen: Seen) -> Result:
    offset = seen.session.client.service_clock.offset
    if offset is None:
        return "unknown", "the service has not shown its time", ""
    if abs(offset) <= CLOCK_NOTE:
        return "ok", f"within {spoken(CLOCK_NOTE)} of the service's", ""
    away = f"{spoken(abs(offset))} {'behind' if offset > 0 else 'ahead of'}"
    advice = "Set it: rotate_after uses it, and buckets refuse requests with a wrong time. Waiting for a snapshot still works."
    return "note", f"this machine's is {away} the service's", advice


def _listing(seen: Seen) -> Result:
    if seen.listing is None:
        return "unknown", "there is none", ""
    if seen.listing.unreadable:
        found = f"{seen.listing.unreadable} of its entries cannot be read"
        return "note", found, "A newer version of this package may read them."
    if lacking := seen.lacking:
        version, at = lacking[-1]
        until = at + timedelta(seconds=SERVICE_CACHE)
        found = f"an old page: it lacks {len(lacking)} that runs have found, the newest {version}"
        return "note", found, f"Nothing to do: it is renewed by {until:%H:%M:%S} UTC."
    now = seen.session.client.service_clock.now()
    ages = [(now - entry.modified).total_seconds() for entry in seen.listing.entries if entry.modified]
    if ages and 0 <= min(ages) < SERVICE_CACHE:
        return "ok", f"at most {spoken(min(ages))} old: it has a snapshot of that age", ""
    cache = spoken(SERVICE_CACHE)
    return "ok", f"at most {cache} old, which is how long the service may serve the same page", ""


def _cache(seen: Seen) -> Result:
    known = seen.session.settings.listing_cache
    if LISTING_CACHES[known] is None:
        advice = "Nothing to do: both are waited out. `squarecloud-snapshots probe` finds out, for 2 snapshots."
        return "unknown", "whether a new snapshot ends the caching of a listing is not known", advice
    return "ok", f"{known}, by {variable('listing_cache')}", ""


async def _ledger(session: Session, environment: Mapping[str, str]) -> Result:
    """Whether the place of the ledger allows all that a create does there, since nothing is sent otherwise."""
    place = session.ledger.place
    try:
        document = await session.ledger.read()
        await session.ledger.edit(lambda document: document.update({CHECKED: rfc3339(session.clock.utc())}))
    except LedgerUnavailable as error:
        session.take_note()  # the finding says it
        return "problem", COMMANDS.report(error), ""
    if not place.is_shared:
        could = (
            f"With {variable('shared_state')}=backend it is kept in {url}." if (url := bucket_url(environment)) else ""
        )
        found, advice = f"this machine only: {place.where} is read and written", could
    else:
        found, advice = f"shared: {place.where} is read and written", UNSHARED
        if isinstance(place, Bucket):
            found += ", and a stale write is refused"
        if others := accounts_in(document) - {session.settings.account()}:
            found += f"; {len(others)} more accounts use it, whose limits are kept apart"
        if isinstance(place, Bucket) and not await place.may_list():
            return "note", f"{found}; the bucket cannot be listed", COMMANDS.text(Next(Step.ALLOW_LISTING))
    if note := session.take_note():
        return "note", f"{found}; before that, {COMMANDS.text(note)}", "Check the network and the rights to it."
    return "ok", found, advice


async def _runs(session: Session) -> Result:
    """Whether anything is under way, or was begun and has no known end."""
    try:
        found = await under_way(session)
    except LedgerUnavailable:
        return "unknown", "the ledger cannot be read", ""
    late = sum(each.now >= each.until for each in found)
    text = f"{len(found)} under way or without a known end" if found else "none is left"
    shows = "`squarecloud-snapshots runs` shows each, until when it is waited for, and what resumes it." * bool(found)
    return "note" if late else "ok", text, shows
