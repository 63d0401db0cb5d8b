"""What may stand in the way of the next snapshot: key, scopes, plan, quota, clock, listing, ledger and attempts. Sends no POST.

Five requests at most, each sent once. They ask for the account's listing, not for a database's: the service caches the two
apart, and a create right after a poll of its database's own listing would get an old page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import click

from pulumi_snapshots.cli.assurance.runs import under_way
from pulumi_snapshots.cli.setup.rehearsal import rehearse
from pulumi_snapshots.cli.setup.toolchain import Finding, Result, look_at_installation
from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.display import ASKING, display
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, report
from pulumi_snapshots.cli.terminal.stack import StackUnreadable, stack_option
from pulumi_snapshots.cli.terminal.wording import in_stack
from pulumi_snapshots.clock import rfc3339, to_the_second
from pulumi_snapshots.errors import Explained, LedgerUnavailable, Next, Step
from pulumi_snapshots.errors.pages import with_pointer
from pulumi_snapshots.errors.wording import Wording
from pulumi_snapshots.ledger.bucket import Bucket
from pulumi_snapshots.listing.listings import SERVICE_CACHE, database_of_entry
from pulumi_snapshots.listing.quota import allowance_of, counted, slot_frees
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.backend import bucket_url
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import LISTING_CACHES, MissingKey, SettingsError, variable
from pulumi_snapshots.service.client import ONCE, ONLINE
from pulumi_snapshots.service.errors import (
    ACCOUNT_READ,
    DATABASES_READ,
    SNAPSHOTS_READ,
    SNAPSHOTS_WRITE,
    Blocked,
    KeyRefused,
    ListingBlocked,
    NotAllowed,
    SquareCloudError,
    UpgradeRequired,
)
from pulumi_snapshots.service.models import Account, Listing
from pulumi_snapshots.service.rate_limiter import accounts_in

CHECKED = "checked"
"""When the ledger was last checked; the entry makes the check write something."""
CLOCK_NOTE = 60.0
"""Seconds between the clocks that are worth a word: `rotate_after` goes by this machine's."""
UNSHARED = "Runs without shared state, on this machine too, do not see it: they keep limits of their own."
FORGET_BLOCK = f"`{NAME} doctor --forget-block`"


@command(
    click.option("--forget-block", is_flag=True, help="First forget that the service has blocked the account."),
    stack_option,
    click.option(
        "--two-machines", is_flag=True, help="Let a second machine take over a killed run, in the ledger's place only."
    ),
    short_help="Find what would stop the next snapshot.",
)
async def doctor(invocation: Invocation, /, **options: Any) -> int:
    """Check key, scopes, plan, quota, clock, listing, ledger, what is under way and what is installed.

    Sends at most five requests, and none that starts something. The exit code is 1 if anything is a PROBLEM, which would
    stop a create or a restore. Without --stack only the environment is checked, not the stack's configuration.

    If your data is damaged: `status DATABASE` names the snapshot to go back to, and `restore` puts it back.
    """
    with display(invocation, logged=False) as shown:
        shown.progress("checking the installation")
        installed = await invocation.in_thread(look_at_installation, invocation.environment)
        shown.progress(ASKING)
        findings = [*await _examine(invocation, **options), *installed]
    rows = [(MARKS[one.state], one.check, one.found, one.advice) for one in findings]
    problems = [one.check for one in findings if one.state == "problem"]
    invocation.result([one._asdict() for one in findings], report(rows, invocation.out), *problems)
    return FAILED if problems else DONE


async def _examine(
    invocation: Invocation, *, stack: str | None, forget_block: bool, two_machines: bool
) -> list[Finding]:
    """Check everything that the service and the ledger show, with a stack's configuration or only the environment."""
    words = in_stack(stack) if stack else invocation.wording
    try:
        async with invocation.session(stack=stack) as session:
            examination = Examination(session, words, invocation.environment)
            found = [Finding("stack", "ok", f"{stack}: its configuration is used")] if stack else []
            found += [Finding("block", *await examination.forget_block())] if forget_block else []
            found += [each async for each in examination.findings()]
            return [*found, Finding("two machines", *await rehearse(session, words))] if two_machines else found
    except StackUnreadable as error:
        return [Finding("stack", "problem", words.report(error))]
    except SettingsError as error:
        told = words.told(Explained(error.happened, "No request was sent.", error.then))
        return [Finding("key" if isinstance(error, MissingKey) else "settings", "problem", with_pointer(told, error))]


@dataclass
class Examination:
    """The facts of the service about the account, None if unknown, and what runs have found lately."""

    session: Session
    words: Wording
    environment: Mapping[str, str]
    account: Account | None = None
    listing: Listing | None = None
    lacking: list[tuple[str, datetime]] = field(default_factory=list)
    """What was found so lately that the listing may be an older page, and is not in it; oldest first."""

    async def findings(self) -> AsyncIterator[Finding]:
        """Check one thing after the other."""
        key, scope = await self._key()
        yield key
        yield Finding("outage", *await self._outage())
        if key.state != "problem":
            yield Finding(f"scope {ACCOUNT_READ}", *scope)
            yield Finding(f"scope {SNAPSHOTS_READ}", *await self._snapshots())
            lacks = "A create or restore that lacks it starts nothing and says so."
            unknown = "only a POST would show it, and none is sent"
            yield Finding(f"scope {SNAPSHOTS_WRITE}", "unknown", unknown, lacks)
            yield Finding(f"scope {DATABASES_READ}", *await self._databases())
        listed = {entry.version for entry in self.listing.entries} if self.listing else set()
        found = (await self.session.complete_listings.found_lately()).items()
        self.lacking = [
            (one[1], each.ended_at or each.request.posted_at) for one, each in found if one[1] not in listed
        ]
        yield Finding("plan", *self._plan())
        yield Finding("quota", *self._quota())
        yield Finding("clock", *self._clock())
        yield Finding("listing", *self._page())
        yield Finding("listing cache", *self._cache())
        yield Finding("ledger", *await self._ledger())
        yield Finding("runs", *await self._runs())

    async def forget_block(self) -> Result:
        """Let runs forget a block that they remember."""
        try:
            until = await self.session.rate_limiter.forget_blocks()
        except LedgerUnavailable as error:
            found = f"not forgotten, since that cannot be written down ({error.trouble})"
            return "problem", found, f"Run {FORGET_BLOCK} again once it can be."
        if until is None:
            return "ok", "no run remembers one", ""
        return "ok", f"forgotten: runs took it to last until {to_the_second(until)}", ""

    async def _outage(self) -> Result:
        client = self.session.client
        word, message = await client.health()
        if outage := await client.outage():
            return "note", f"the service itself reports one ({outage})", "Requests may fail until it is over."
        if word == ONLINE:
            return "ok", "the service reports none", ""
        return "unknown", message or "the service does not say", ""

    async def _key(self) -> tuple[Finding, Result]:
        """Whether the key is accepted, and whether it may read the account."""
        accepted = Finding("key", "ok", "accepted")
        try:
            self.account = await self.session.client.account(patience=ONCE)
        except NotAllowed as error:
            return accepted, ("note", f"{error}", "Only a list of databases, and plan and quota here, need it.")
        except SquareCloudError as error:
            check = "key" if isinstance(error, KeyRefused) else "service"
            lifted = isinstance(error, Blocked) and error.unsent
            advice = f"If the service's support has lifted the block early: {FORGET_BLOCK}." if lifted else ""
            return Finding(check, "problem", self.words.report(error), advice), ("unknown", "", "")
        return accepted, ("ok", "the account can be read", "")

    async def _databases(self) -> Result:
        """Whether a database and its status can be read."""
        known = [one.id for one in self.account.databases] if self.account else []
        entries = self.listing.entries if self.listing else ()
        known += [found for entry in entries if (found := database_of_entry(entry))]
        if not known:
            return "unknown", "no database is known to check it with", ""
        try:
            await self.session.client.database(known[0], patience=ONCE)
        except NotAllowed as error:
            return "note", f"{error}", "Only a Restore and lookups of databases need it."
        except SquareCloudError as error:
            return "unknown", f"{error}", ""
        return "ok", "databases can be read", ""

    async def _snapshots(self) -> Result:
        """Whether snapshots can be listed."""
        listings, now = self.session.listings, self.session.clock.monotonic()
        try:
            self.listing = await listings.account_listing(now, patience=ONCE)
            if self.listing is not None:
                return "ok", "the account's snapshots can be listed", ""
            refusal = listings.account_refusal
            if isinstance(refusal, NotAllowed) and refusal.code == "MISSING_SCOPE":
                return "problem", self.words.report(refusal), ""
            if self.account is None or not self.account.databases:
                return "unknown", f"{refusal}", ""
            await listings.own_page(self.account.databases[0].id, now, patience=ONCE)
        except SquareCloudError as error:
            return "problem", self.words.report(error), ""
        if isinstance(refusal, ListingBlocked):
            why = "the service blocks it for up to 5 minutes, since it was requested too often"
        else:
            why = f"the {'plan' if isinstance(refusal, UpgradeRequired) else 'key'} does not include it"
        found = f"a database's snapshots can be listed, the whole account's not: {why}"
        return "note", found, "Nothing to do: polling each database by itself takes more requests."

    def _plan(self) -> Result:
        if self.account is None or self.account.plan_memory is None:
            return "unknown", "the service did not say", ""
        memory = self.account.plan_memory
        name = f"{self.account.plan}, " if self.account.plan else ""
        return "ok", f"{name}{memory} MB: {allowance_of(memory)} snapshots in any 24 hours", ""

    def _quota(self) -> Result:
        if self.account is None or self.account.plan_memory is None or self.listing is None:
            return "unknown", "the plan and the account's listing are needed", ""
        allowance = allowance_of(self.account.plan_memory)
        taken = counted(self.listing, self.session.service_clock.now())
        left = max(0, allowance - len(taken) - len(self.lacking))
        text = f"{left} of {allowance} left, as far as the listing shows"
        if left:
            return "ok", text, ""
        at = slot_frees(taken, allowance)
        frees = f"A slot frees at about {to_the_second(at)}" if at else "Wait"
        return "problem", text, f"{frees}; a larger plan allows more, and reuse_within saves some."

    def _clock(self) -> Result:
        offset = self.session.service_clock.offset
        if offset is None:
            return "unknown", "the service has not shown its time", ""
        if abs(offset) <= CLOCK_NOTE:
            return "ok", f"within {spoken(CLOCK_NOTE)} of the service's", ""
        away = f"{spoken(abs(offset))} {'behind' if offset > 0 else 'ahead of'}"
        advice = "Set it: rotate_after uses it, and buckets refuse requests with a wrong time. Waiting for a snapshot still works."
        return "note", f"this machine's is {away} the service's", advice

    def _page(self) -> Result:
        if self.listing is None:
            return "unknown", "there is none", ""
        if self.listing.unreadable:
            found = f"{self.listing.unreadable} of its entries cannot be read"
            return "note", found, "A newer version of this package may read them."
        if self.lacking:
            version, at = self.lacking[-1]
            until = at + timedelta(seconds=SERVICE_CACHE)
            found = f"an old page: it lacks {len(self.lacking)} that runs have found, the newest {version}"
            return "note", found, f"Nothing to do: it is renewed by {until:%H:%M:%S} UTC."
        now = self.session.service_clock.now()
        ages = [(now - entry.modified).total_seconds() for entry in self.listing.entries if entry.modified]
        if ages and 0 <= min(ages) < SERVICE_CACHE:
            return "ok", f"at most {spoken(min(ages))} old: it has a snapshot of that age", ""
        cache = spoken(SERVICE_CACHE)
        return "ok", f"at most {cache} old, which is how long the service may serve the same page", ""

    def _cache(self) -> Result:
        known = self.session.settings.listing_cache
        if LISTING_CACHES[known] is None:
            advice = f"Nothing to do: both are waited out. `{NAME} probe` finds out, for 2 snapshots."
            return "unknown", "whether a new snapshot ends the caching of a listing is not known", advice
        return "ok", f"{known}, by {variable('listing_cache')}", ""

    async def _ledger(self) -> Result:
        """Whether the place of the ledger allows all that a create does there, since nothing is sent otherwise."""
        session, place = self.session, self.session.ledger.place
        try:
            document = await session.ledger.read()
            await session.ledger.edit(lambda document: document.update({CHECKED: rfc3339(session.clock.utc())}))
        except LedgerUnavailable as error:
            session.take_note()  # the finding says it
            return "problem", self.words.report(error), ""
        if not place.is_shared:
            url = bucket_url(self.environment)
            advice = f"With {variable('shared_state')}=backend it is kept in {url}." if url else ""
            found = f"this machine only: {place.where} is read and written"
        else:
            found, advice = f"shared: {place.where} is read and written", UNSHARED
            if isinstance(place, Bucket):
                found += ", and a stale write is refused"
            if others := accounts_in(document) - {session.settings.account()}:
                found += f"; {len(others)} more accounts use it, whose limits are kept apart"
            if isinstance(place, Bucket) and not await place.may_list():
                return "note", f"{found}; the bucket cannot be listed", self.words.text(Next(Step.ALLOW_LISTING))
        if note := session.take_note():
            return "note", f"{found}; before that, {self.words.text(note)}", "Check the network and the rights to it."
        return "ok", found, advice

    async def _runs(self) -> Result:
        """Whether anything is under way, or was begun and has no known end."""
        try:
            found = await under_way(self.session)
        except LedgerUnavailable:
            return "unknown", "the ledger cannot be read", ""
        if not found:
            return "ok", "none is left", ""
        late = any(each.now >= each.until for each in found)
        shows = f"`{NAME} runs` shows each, until when it is waited for, and what resumes it."
        return "note" if late else "ok", f"{len(found)} under way or without a known end", shows
