"""What may stand in the way of the next snapshot: key, scopes, plan, quota, clock, listing, ledger and attempts. Sends no POST.

Five requests at most, each sent once. They ask for the account's listing, not for a database's: the service caches the two
apart, and a create right after a poll of its database's own listing would get an old page.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Collection
from datetime import timedelta

import click

from pulumi_snapshots.cli.assurance.runs import under_way
from pulumi_snapshots.cli.setup.toolchain import Finding, look_at_installation
from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import ASKING, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS
from pulumi_snapshots.cli.terminal.pulumi import PulumiTrouble, stack_option
from pulumi_snapshots.cli.terminal.wording import in_stack
from pulumi_snapshots.clock import rfc3339, to_the_second
from pulumi_snapshots.errors import LedgerUnavailable, Next, Step
from pulumi_snapshots.errors.wording import Wording
from pulumi_snapshots.ledger.attempt import Attempt, Claim, Intent
from pulumi_snapshots.ledger.bucket import Bucket
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from pulumi_snapshots.listing.listings import SERVICE_CACHE
from pulumi_snapshots.listing.quota import allowance_of, counted, slot_frees
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.backend import bucket_url
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import MissingKey, SettingsError, config_key, variable
from pulumi_snapshots.service import errors as refusals
from pulumi_snapshots.service.client import DEGRADED, ONCE, ONLINE
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
    click.option("--two-machines", is_flag=True, help="Play a second machine that takes over a killed run."),
    short_help="Find what would stop the next snapshot.",
)
async def doctor(invocation: Invocation, /, *, stack: str | None, forget_block: bool, two_machines: bool) -> bool:
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
                    found.append(await _forget_block(session))
                found += [
                    each async for each in Examination(session, words).findings(bucket_url(invocation.environment))
                ]
                if two_machines:
                    found.append(await _rehearse(session, words))
        except (PulumiTrouble, SettingsError) as error:
            check = (
                "key" if isinstance(error, MissingKey) else "settings" if isinstance(error, SettingsError) else "stack"
            )
            found = [Finding(check, "problem", words.report(error))]
    found += installed
    problems = [one.check for one in found if one.state == "problem"]
    rows = [(MARKS[one.state], one.check, f"{one.found}\n{one.advice}".strip()) for one in found]
    invocation.result([one._asdict() for one in found], rows, *problems)
    return bool(problems)


async def _forget_block(session: Session) -> Finding:
    """Let runs forget a block that they remember."""
    try:
        until = await session.rate_limiter.forget_blocks()
    except LedgerUnavailable as error:
        found = f"not forgotten, since that cannot be written down ({error.trouble})"
        return Finding("block", "problem", found, f"Run {FORGET_BLOCK} again once it can be.")
    forgotten = f"forgotten: runs took it to last until {to_the_second(until)}" if until else "no run remembers one"
    return Finding("block", "ok", forgotten)


class Examination:
    """The checks that need the service or the ledger, and the facts that they share."""

    def __init__(self, session: Session, words: Wording) -> None:
        self.session, self.words = session, words
        self.account: Account | None = None
        self.listing: Listing | None = None

    async def findings(self, backend: str) -> AsyncIterator[Finding]:
        """Check one thing after the other."""
        session, refused = self.session, None
        try:
            self.account = await session.client.account(patience=ONCE)
        except refusals.NotAllowed as error:
            refused = error
        except refusals.SquareCloudError as error:
            check = "key" if isinstance(error, refusals.KeyRefused) else "service"
            lifted = isinstance(error, refusals.Blocked) and error.unsent
            advice = f"If the service's support has lifted the block early: {FORGET_BLOCK}." if lifted else ""
            yield Finding(check, "problem", self.words.report(error), advice)
        if known := self.account is not None or refused is not None:
            yield Finding("key", "ok", "accepted")
        yield await self._outage()
        if known:
            advice = "Only a list of databases, and plan and quota here, need it."
            check = f"scope {refusals.ACCOUNT_READ}"
            yes = Finding(check, "ok", "the account can be read")
            yield Finding(check, "note", f"{refused}", advice) if refused else yes
            yield await self._snapshots(f"scope {refusals.SNAPSHOTS_READ}")
            lacks = "A create or restore that lacks it starts nothing and says so."
            unknown = "only a POST would show it, and none is sent"
            yield Finding(f"scope {refusals.SNAPSHOTS_WRITE}", "unknown", unknown, lacks)
            yield await self._databases(f"scope {refusals.DATABASES_READ}")
        for finding in (*self._plan(await session.complete_listings.found_lately()), self._clock(), self._page()):
            yield finding
        yield await self._ledger(backend)
        yield await self._runs()

    async def _outage(self) -> Finding:
        word, words = await self.session.client.health()
        if word == DEGRADED:
            advice = "Requests may fail until it is over."
            return Finding("outage", "note", f"the service itself reports one ({words})", advice)
        if word == ONLINE:
            return Finding("outage", "ok", "the service reports none")
        return Finding("outage", "unknown", words or "the service does not say")

    async def _snapshots(self, check: str) -> Finding:
        """Whether snapshots can be listed."""
        listings, now = self.session.listings, self.session.clock.monotonic()
        try:
            self.listing = await listings.account_listing(now, patience=ONCE)
            if self.listing is not None:
                return Finding(check, "ok", "the account's snapshots can be listed")
            refusal = listings.account_refusal
            if refusal is not None and refusal.code == "MISSING_SCOPE":
                return Finding(check, "problem", self.words.report(refusal))
            if self.account is None or not self.account.databases:
                return Finding(check, "unknown", f"{refusal}")
            await listings.own_page(self.account.databases[0].id, now, patience=ONCE)
        except refusals.SquareCloudError as error:
            return Finding(check, "problem", self.words.report(error))
        found = f"a database's snapshots can be listed, the whole account's not: {refusal}"
        return Finding(check, "note", found, "Nothing to do: polling each database by itself takes more requests.")

    async def _databases(self, check: str) -> Finding:
        """Whether a database and its status can be read."""
        known = [one.id for one in self.account.databases] if self.account else []
        entries = self.listing.entries if self.listing else ()
        known += [entry.database for entry in entries if entry.database]
        if not known:
            return Finding(check, "unknown", "no database is known to check it with")
        try:
            await self.session.client.database(known[0], patience=ONCE)
        except refusals.NotAllowed as error:
            return Finding(check, "note", f"{error}", "Only a Restore and lookups of databases need it.")
        except refusals.SquareCloudError as error:
            return Finding(check, "unknown", f"{error}")
        return Finding(check, "ok", "databases can be read")

    def _plan(self, found: Collection[Attempt]) -> tuple[Finding, Finding]:
        """The plan, and what is left of its snapshots; those that runs have `found` count even if an older page lacks them."""
        unknown = Finding("quota", "unknown", "the plan and the account's listing are needed")
        if self.account is None or self.account.plan_memory is None:
            return Finding("plan", "unknown", "the service did not say"), unknown
        allowance, name = allowance_of(self.account.plan_memory), f"{self.account.plan}, " if self.account.plan else ""
        about = f"{name}{self.account.plan_memory} MB: {allowance} snapshots in any 24 hours"
        plan = Finding("plan", "ok", about)
        if self.listing is None:
            return plan, unknown
        listed = {entry.version for entry in self.listing.entries}
        lacking = sum(each.result not in listed for each in found)
        taken = counted(self.listing, self.session.service_clock.now())
        left = max(0, allowance - len(taken) - lacking)
        text = f"{left} of {allowance} left, as far as the listing shows"
        if left:
            return plan, Finding("quota", "ok", text)
        at = slot_frees(taken, allowance)
        frees = f"A slot frees at about {to_the_second(at)}" if at else "Wait"
        return plan, Finding(
            "quota", "problem", text, f"{frees}; a larger plan allows more, and reuse_within saves some."
        )

    def _clock(self) -> Finding:
        offset = self.session.service_clock.offset
        if offset is None:
            return Finding("clock", "unknown", "the service has not shown its time")
        if abs(offset) <= CLOCK_NOTE:
            return Finding("clock", "ok", f"within {spoken(CLOCK_NOTE)} of the service's")
        away = f"{spoken(abs(offset))} {'behind' if offset > 0 else 'ahead of'}"
        advice = "Set it: rotate_after uses it, and buckets refuse requests with a wrong time. Waiting for a snapshot still works."
        return Finding("clock", "note", f"this machine's is {away} the service's", advice)

    def _page(self) -> Finding:
        if self.listing is None:
            return Finding("listing", "unknown", "it could not be read")
        if self.listing.unreadable:
            found = f"{self.listing.unreadable} of its entries cannot be read"
            return Finding("listing", "note", found, "A newer version of this package may read them.")
        age = f"at most {spoken(SERVICE_CACHE)} old: the service may serve the same page for that long"
        return Finding("listing", "ok", age)

    async def _ledger(self, backend: str) -> Finding:
        """Whether the place of the ledger allows all that a create does there, since nothing is sent otherwise."""
        session, place = self.session, self.session.ledger.place
        try:
            await session.ledger.read()
            await session.ledger.edit(lambda document: document.update({CHECKED: rfc3339(session.clock.utc())}))
        except LedgerUnavailable as error:
            session.take_note()  # the finding says it
            return Finding("ledger", "problem", self.words.report(error))
        if not place.is_shared:
            advice = f"With {variable('shared_state')}=backend it is kept in {backend}." if backend else ""
            return Finding("ledger", "ok", f"this machine only: {place.where} can be read and written", advice)
        found = f"shared: {place.where} can be read and written"
        if isinstance(place, Bucket):
            found += ", and a stale write is refused"
            try:
                await place.beside("missing").read()
            except LedgerUnavailable:
                advice = self.words.text(Next(Step.ALLOW_LISTING))
                return Finding("ledger", "note", f"{found}; the bucket cannot be listed", advice)
        return Finding("ledger", "ok", found, UNSHARED)

    async def _runs(self) -> Finding:
        """Whether anything is under way, or was begun and has no known end."""
        try:
            found = await under_way(self.session)
        except LedgerUnavailable:
            return Finding("runs", "unknown", "the ledger cannot be read")
        if not found:
            return Finding("runs", "ok", "none is under way")
        now = self.session.service_clock.now()
        late = any(now >= each.waited_for_until for each in found)
        shows = f"`{NAME} runs` shows each, until when it is waited for, and what resumes it."
        return Finding("runs", "note" if late else "ok", f"{len(found)} under way or without a known end", shows)


async def _rehearse(session: Session, words: Wording) -> Finding:
    """Let a run be killed after its request, a second machine take it over, and a third one, of another resource, wait."""
    check, place = "two machines", session.ledger.place
    if not (place.is_shared and isinstance(place, Bucket | SqliteFile)):
        found = "no second machine sees what this one has requested"
        return Finding(check, "problem", found, f"Set {config_key('shared_state')} or {variable('shared_state')}.")
    database_id, longest = secrets.token_hex(16), timedelta(minutes=10)

    async def claims(resource: str) -> Claim:
        ledger, now = Ledger(place.beside(REHEARSAL), session.service_clock), session.service_clock.now()
        intent = Intent("snapshot", f"{REHEARSAL}::dev::{resource}", database_id, "v1", longest.total_seconds(), now)
        return await ledger.edit(lambda document: ledger.decided(document, intent))

    try:
        first, taken_over, waits = await claims("one"), await claims("one"), await claims("two")
        await Ledger(place.beside(REHEARSAL), session.service_clock).withdraw(first.attempt)
    except LedgerUnavailable as error:
        return Finding(check, "problem", words.report(error))
    roles = [first.role, taken_over.role, waits.role]
    if roles != ["new", "resumed", "in the way"] or taken_over.attempt.id != first.attempt.id:
        found = f"a second machine would have sent another request: {', '.join(roles)}"
        return Finding(check, "problem", found, "Report this as a bug.")
    found = "a second machine resumed what a killed run had requested, and sent nothing; a third one, of another resource, waited"
    return Finding(check, "ok", found)
