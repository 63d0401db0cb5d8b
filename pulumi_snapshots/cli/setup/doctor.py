"""What may stand in the way of the next snapshot: key, scopes, plan, quota, clock, listing, ledger and attempts. Sends no POST.

Five requests at most, each sent once. They ask for the account's listing, not for a database's: the service caches the two
apart, and a create right after a poll of its database's own listing would get an old page.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta

import click

from pulumi_snapshots.cli.assurance.runs import under_way
from pulumi_snapshots.cli.setup.toolchain import Finding, Result, look_at_installation
from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import ASKING, DONE, FAILED, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, grid
from pulumi_snapshots.cli.terminal.pulumi import PulumiTrouble, stack_option
from pulumi_snapshots.cli.terminal.wording import in_stack
from pulumi_snapshots.clock import rfc3339, to_the_second
from pulumi_snapshots.errors import LedgerUnavailable, Next, Step
from pulumi_snapshots.errors.wording import Wording
from pulumi_snapshots.ledger.attempt import Claim, Intent
from pulumi_snapshots.ledger.bucket import Bucket
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from pulumi_snapshots.listing.listings import SERVICE_CACHE
from pulumi_snapshots.listing.quota import allowance_of, counted, slot_frees
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.backend import bucket_url
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import LISTING_CACHES, MissingKey, SettingsError, config_key, variable
from pulumi_snapshots.service.client import ONCE, ONLINE
from pulumi_snapshots.service.errors import (
    ACCOUNT_READ,
    DATABASES_READ,
    SNAPSHOTS_READ,
    SNAPSHOTS_WRITE,
    Blocked,
    KeyRefused,
    NotAllowed,
    SquareCloudError,
)
from pulumi_snapshots.service.models import Account, Listing

CHECKED = "checked"
"""When the ledger was last checked; the entry makes the check write something."""
CLOCK_NOTE = 60.0
"""Seconds between the clocks that are worth a word: `rotate_after` goes by this machine's."""
UNSHARED = "Runs without shared state, on this machine too, do not see it: they keep limits of their own."
FORGET_BLOCK = f"`{NAME} doctor --forget-block`"
REHEARSAL = "rehearsal"
"""The document, beside the ledger, in which two machines play."""


@command(
    click.option("--forget-block", is_flag=True, help="First forget that the service has blocked the account."),
    stack_option,
    click.option(
        "--two-machines", is_flag=True, help="Let a second machine take over a killed run, in the ledger's place only."
    ),
    short_help="Find what would stop the next snapshot.",
)
async def doctor(invocation: Invocation, /, *, stack: str | None, forget_block: bool, two_machines: bool) -> int:
    """Check key, scopes, plan, quota, clock, listing, ledger, what is under way and what is installed.

    Sends at most five requests, and none that starts something. The exit code is 1 if anything is a PROBLEM, which would
    stop a create or a restore. Without --stack only the environment is checked, not the stack's configuration.

    If your data is damaged: `status DATABASE` names the snapshot to go back to, and `restore` puts it back.
    """
    words, found = in_stack(stack) if stack else invocation.wording, []
    with invocation.working(logged=False):
        invocation.progress("checking the installation")
        installed = await invocation.in_thread(look_at_installation, invocation.environment)
        invocation.progress(ASKING)
        try:
            async with invocation.session(stack) as session:
                if stack:
                    found.append(Finding("stack", "ok", f"{stack}: its configuration is used"))
                if forget_block:
                    found.append(Finding("block", *await _forget_block(session)))
                found += [each async for each in Examination(session, words).findings(invocation)]
                if two_machines:
                    found.append(Finding("two machines", *await _rehearse(session, words)))
        except PulumiTrouble as error:
            found = [Finding("stack", "problem", words.report(error))]
        except SettingsError as error:
            check = "key" if isinstance(error, MissingKey) else "settings"
            found = [Finding(check, "problem", words.report(error))]
    found += installed
    rows = [(MARKS[one.state], one.check, f"{one.found}\n{one.advice}".strip()) for one in found]
    problems = [one.check for one in found if one.state == "problem"]
    invocation.result([one._asdict() for one in found], grid(rows, invocation.out), *problems)
    return FAILED if problems else DONE


async def _forget_block(session: Session) -> Result:
    """Let runs forget a block that they remember."""
    try:
        until = await session.rate_limiter.forget_blocks()
    except LedgerUnavailable as error:
        found = f"not forgotten, since that cannot be written down ({error.trouble})"
        return "problem", found, f"Run {FORGET_BLOCK} again once it can be."
    if until is None:
        return "ok", "no run remembers one", ""
    return "ok", f"forgotten: runs took it to last until {to_the_second(until)}", ""


class Examination:
    """The checks that need the service or the ledger, and the facts that they share."""

    def __init__(self, session: Session, words: Wording) -> None:
        self.session, self.words = session, words
        self.account: Account | None = None
        self.listing: Listing | None = None
        self.allowance: int | None = None

    async def findings(self, invocation: Invocation) -> AsyncIterator[Finding]:
        """Check one thing after the other."""
        session, reads = self.session, ""
        try:
            self.account = await session.client.account(patience=ONCE)
        except NotAllowed as error:
            reads = f"{error}"
        except SquareCloudError as error:
            check = "key" if isinstance(error, KeyRefused) else "service"
            lifted = isinstance(error, Blocked) and error.unsent
            advice = f"If the service's support has lifted the block early: {FORGET_BLOCK}." if lifted else ""
            yield Finding(check, "problem", self.words.report(error), advice)
        known = self.account is not None or bool(reads)
        if known:
            yield Finding("key", "ok", "accepted")
        yield Finding("outage", *await self._outage())
        if known:
            advice = "Only a list of databases, and plan and quota here, need it."
            yes = Finding(f"scope {ACCOUNT_READ}", "ok", "the account can be read")
            yield Finding(f"scope {ACCOUNT_READ}", "note", reads, advice) if reads else yes
            yield Finding(f"scope {SNAPSHOTS_READ}", *await self._snapshots())
            lacks = "A create or restore that lacks it starts nothing and says so."
            unknown = "only a POST would show it, and none is sent"
            yield Finding(f"scope {SNAPSHOTS_WRITE}", "unknown", unknown, lacks)
            yield Finding(f"scope {DATABASES_READ}", *await self._databases())
        listed = {entry.version for entry in self.listing.entries} if self.listing else set()
        found = await session.complete_listings.found_lately()
        # The listing may be an older page.
        lacking = {each.result: each.ended_at or each.request.posted_at for each in found if each.result not in listed}
        yield Finding("plan", *self._plan())
        yield Finding("quota", *self._quota(len(lacking)))
        yield Finding("clock", *self._clock())
        yield Finding("listing", *self._page(lacking))
        yield Finding("listing cache", *self._cache())
        yield Finding("ledger", *await self._ledger(bucket_url(invocation.environment)))
        yield Finding("runs", *await self._runs())

    async def _outage(self) -> Result:
        client = self.session.client
        word, message = await client.health()
        if outage := await client.outage():
            return "note", f"the service itself reports one ({outage})", "Requests may fail until it is over."
        if word == ONLINE:
            return "ok", "the service reports none", ""
        return "unknown", message or "the service does not say", ""

    async def _snapshots(self) -> Result:
        """Whether snapshots can be listed."""
        listings, now = self.session.listings, self.session.clock.monotonic()
        try:
            self.listing = await listings.account_listing(now, patience=ONCE)
            if self.listing is not None:
                return "ok", "the account's snapshots can be listed", ""
            refusal = listings.account_refusal
            if refusal is not None and refusal.code == "MISSING_SCOPE":
                return "problem", self.words.report(refusal), ""
            if self.account is None or not self.account.databases:
                return "unknown", f"{refusal}", ""
            await listings.own_page(self.account.databases[0].id, now, patience=ONCE)
        except SquareCloudError as error:
            return "problem", self.words.report(error), ""
        found = f"a database's snapshots can be listed, the whole account's not: {refusal}"
        return "note", found, "Nothing to do: polling each database by itself takes more requests."

    async def _databases(self) -> Result:
        """Whether a database and its status can be read."""
        known = [one.id for one in self.account.databases] if self.account else []
        entries = self.listing.entries if self.listing else ()
        known += [entry.database for entry in entries if entry.database]
        if not known:
            return "unknown", "no database is known to check it with", ""
        try:
            await self.session.client.database(known[0], patience=ONCE)
        except NotAllowed as error:
            return "note", f"{error}", "Only a Restore and lookups of databases need it."
        except SquareCloudError as error:
            return "unknown", f"{error}", ""
        return "ok", "databases can be read", ""

    def _plan(self) -> Result:
        if self.account is None or self.account.plan_memory is None:
            return "unknown", "the service did not say", ""
        self.allowance = allowance_of(self.account.plan_memory)
        name = f"{self.account.plan}, " if self.account.plan else ""
        return "ok", f"{name}{self.account.plan_memory} MB: {self.allowance} snapshots in any 24 hours", ""

    def _quota(self, unlisted: int) -> Result:
        if self.allowance is None or self.listing is None:
            return "unknown", "the plan and the account's listing are needed", ""
        taken = counted(self.listing, self.session.service_clock.now())
        left = max(0, self.allowance - len(taken) - unlisted)
        text = f"{left} of {self.allowance} left, as far as the listing shows"
        if left:
            return "ok", text, ""
        at = slot_frees(taken, self.allowance)
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

    def _page(self, lacking: Mapping[str | None, datetime]) -> Result:
        if self.listing is None:
            return "unknown", "there is none", ""
        if self.listing.unreadable:
            found = f"{self.listing.unreadable} of its entries cannot be read"
            return "note", found, "A newer version of this package may read them."
        if lacking:
            newest, at = max(lacking.items(), key=lambda each: each[1])
            until = at + timedelta(seconds=SERVICE_CACHE)
            found = f"an old page: it lacks {len(lacking)} that runs have found, the newest {newest}"
            return "note", found, f"Nothing to do: it is renewed by {until:%H:%M:%S} UTC."
        return "ok", f"at most {spoken(SERVICE_CACHE)} old: the service may serve the same page for that long", ""

    def _cache(self) -> Result:
        known = self.session.settings.listing_cache
        if LISTING_CACHES[known] is None:
            advice = f"Nothing to do: both are waited out. `{NAME} probe` finds out, for 2 snapshots."
            return "unknown", "whether a new snapshot ends the caching of a listing is not known", advice
        return "ok", f"{known}, by {variable('listing_cache')}", ""

    async def _ledger(self, backend: str) -> Result:
        """Whether the place of the ledger allows all that a create does there, since nothing is sent otherwise."""
        session, place = self.session, self.session.ledger.place
        try:
            await session.ledger.read()
            await session.ledger.edit(lambda document: document.update({CHECKED: rfc3339(session.clock.utc())}))
        except LedgerUnavailable as error:
            session.take_note()  # the finding says it
            return "problem", self.words.report(error), ""
        if not place.is_shared:
            advice = f"With {variable('shared_state')}=backend it is kept in {backend}." if backend else ""
            return "ok", f"this machine only: {place.where} is read and written", advice
        found = f"shared: {place.where} is read and written"
        if isinstance(place, Bucket):
            found += ", and a stale write is refused"
            try:
                await place.beside("missing").read()
            except LedgerUnavailable:
                return "note", f"{found}; the bucket cannot be listed", self.words.text(Next(Step.ALLOW_LISTING))
        return "ok", found, UNSHARED

    async def _runs(self) -> Result:
        """Whether anything is under way, or was begun and has no known end."""
        try:
            found = await under_way(self.session)
        except LedgerUnavailable:
            return "unknown", "the ledger cannot be read", ""
        if not found:
            return "ok", "none is left", ""
        now = self.session.service_clock.now()
        late = any(now >= each.waited_for_until for each in found)
        shows = f"`{NAME} runs` shows each, until when it is waited for, and what resumes it."
        return "note" if late else "ok", f"{len(found)} under way or without a known end", shows


async def _rehearse(session: Session, words: Wording) -> Result:
    """Let a run be killed after its request, a second machine take it over, and a third one, of another resource, wait."""
    place = session.ledger.place
    if not (place.is_shared and isinstance(place, Bucket | SqliteFile)):
        found = "no second machine sees what this one has requested"
        return "problem", found, f"Set {config_key('shared_state')} or {variable('shared_state')}."
    began, database_id, longest = session.clock.monotonic(), secrets.token_hex(16), timedelta(minutes=10)
    killed, second, third = (Ledger(place.beside(REHEARSAL), session.service_clock) for _ in range(3))

    async def claims(ledger: Ledger, resource: str) -> Claim:
        now, owner = session.service_clock.now(), f"{REHEARSAL}::dev::{resource}"
        intent = Intent("snapshot", owner, database_id, "v1", longest.total_seconds(), now)
        return await ledger.edit(lambda document: ledger.decided(document, intent))

    try:
        first, taken_over, waits = await claims(killed, "one"), await claims(second, "one"), await claims(third, "two")
        await second.withdraw(first.attempt)
    except LedgerUnavailable as error:
        return "problem", words.report(error), ""
    roles = [first.role, taken_over.role, waits.role]
    if roles != ["new", "resumed", "in the way"] or taken_over.attempt.id != first.attempt.id:
        found = f"a second machine would have sent another request: {', '.join(roles)}"
        return "problem", found, "Report this as a bug."
    took = spoken(session.clock.monotonic() - began)
    found = "a second machine resumed what a killed run had requested, and sent nothing; a third one, of another resource, waited"
    return "ok", f"{found} ({took})", ""
