"""Finds problems that would stop the next snapshot.

Checks key, scopes, plan, quota, clock, listing, ledger and attempts. Sends no POST.

Sends at most five requests, each once. They request the account's listing, not a database's: the
service caches the two apart, and a create right after a poll of its database's own listing would
get an old page.
"""

import re
import secrets
import shutil
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from pulumi_snapshots.cli.assurance.runs import under_way
from pulumi_snapshots.cli.setup.plugin import PROGRAM
from pulumi_snapshots.cli.terminal.arguments import command, flag_option
from pulumi_snapshots.cli.terminal.invocation import ASKING, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS
from pulumi_snapshots.cli.terminal.pulumi import PulumiTrouble, pulumi, stack_option
from pulumi_snapshots.cli.terminal.wording import COMMAND_MESSAGES, in_stack
from pulumi_snapshots.clock import rfc3339, to_the_second
from pulumi_snapshots.errors import (
    Hint,
    HintKind,
    LedgerUnavailable,
    MessageFormatter,
    ProviderError,
    pip_install,
)
from pulumi_snapshots.ledger.bucket import Bucket
from pulumi_snapshots.ledger.decision import Claim, Wish
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.moving import bare
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from pulumi_snapshots.listing.listings import SERVICE_CACHE
from pulumi_snapshots.listing.plan import (
    ARCHIVES_STAY,
    KEPT_AFTER_PLAN,
    is_ending,
    plan_end_text,
)
from pulumi_snapshots.listing.quota import counted, daily_quota, slot_frees, slots_left
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import (
    PACKAGE,
    MissingKey,
    Settings,
    SettingsError,
    bucket_url,
    config_key,
    variable,
)
from pulumi_snapshots.service import errors as refusals
from pulumi_snapshots.service.client import DEGRADED, ONCE, ONLINE
from pulumi_snapshots.service.models import Account, Listing
from pulumi_snapshots.state_directory import home_directory
from pulumi_snapshots.storage.credentials import (
    MACHINE,
    NAMES,
    NoCredentials,
    access,
)
from pulumi_snapshots.storage.destination import BUCKETS, EXTRA, LIBRARY

State = Literal["ok", "note", "problem", "unknown"]
# a finding without the name of its check
Diagnosis = tuple[State, str] | tuple[State, str, str]


class Finding(NamedTuple):
    """The result of one check.

    A `note` is worth knowing. There is no advice if there is nothing to do.
    """

    check: str
    state: State
    found: str
    advice: str = ""


# the first engine that hands a dynamic provider its configuration
OLDEST_ENGINE = (3, 139, 0)
# seconds between the clocks that are worth a word: `rotate_after` goes by this machine's
CLOCK_NOTE = 60.0
UNSHARED = (
    "Runs without shared state, on this machine too, do not see this ledger: "
    "they keep their own limits."
)
OTHER_VARIABLES = (
    "SQUARECLOUD_DEBUG",
    "SQUARECLOUD_TRACEBACK",
)
"""Variables that stand for no setting of a stack."""
EMULATOR_VARIABLES = "SQUARECLOUD_EMULATOR_"
REHEARSAL = "rehearsal"  # the document, beside the ledger, in which two machines play


@command(
    flag_option(
        "--forget-block", "First forget that the service has blocked the account."
    ),
    stack_option,
    flag_option(
        "--two-machines", "Play a second machine that takes over a killed run."
    ),
)
async def doctor(
    invocation: Invocation,
    *,
    stack: str | None,
    forget_block: bool,
    two_machines: bool,
) -> None:
    """Find what would stop the next snapshot.

    Checks key, scopes, plan, quota, clock, listing, ledger, what is under way and what is
    installed, by five requests at most, none of which starts something. The exit code is 1 if
    anything is a PROBLEM, which would stop a create or a restore. Without --stack it reads the
    environment, not a stack's configuration.

    If your data is damaged: `status DATABASE` names the snapshot to go back to, and `restore` puts
    it back.
    """
    words = in_stack(stack) if stack else invocation.wording
    findings: list[Finding] = []
    with invocation.working(doing="checking the installation", logged=False):
        installed = await invocation.in_thread(
            look_at_installation, invocation.environment
        )
        invocation.progress(ASKING)
        try:
            async with invocation.session(stack) as session:
                checks = ServiceChecks(
                    session, words, bucket_url(invocation.environment)
                )
                if stack:
                    used = f"{stack}: its configuration is used"
                    findings.append(Finding("stack", "ok", used))
                if forget_block:
                    findings.append(await checks.checked("block", checks.forget_block))
                findings += [each async for each in checks.findings()]
                if two_machines:
                    findings.append(
                        await checks.checked("two machines", checks.rehearse)
                    )
        except (PulumiTrouble, SettingsError) as error:
            kinds = {PulumiTrouble: "stack", MissingKey: "key"}
            check = kinds.get(type(error), "settings")
            findings = [Finding(check, "problem", words.report(error))]
    _show(invocation, [*_misspelt(invocation.environment), *findings, *installed])


def _misspelt(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Find variables that are set, that no part of this package reads."""
    known = {*map(variable, Settings.properties()), *OTHER_VARIABLES}
    for name in sorted(environment.keys() - known):
        if name.startswith(variable("")) and not name.startswith(EMULATOR_VARIABLES):
            # The beginning that all of them have makes none of them similar.
            rests = {each.removeprefix(variable("")): each for each in known}
            similar = get_close_matches(name.removeprefix(variable("")), rests, 1)
            advice = f"Did you mean {rests[similar[0]]}?" if similar else ""
            found = f"{name} is set, and nothing reads it"
            yield Finding("variable", "note", found, advice)


def _show(invocation: Invocation, findings: Sequence[Finding]) -> None:
    """Show what was found; the command has failed if anything is a problem."""
    problems = [each.check for each in findings if each.state == "problem"]
    rows = [
        (MARKS[each.state], each.check, f"{each.found}\n{each.advice}".strip())
        for each in findings
    ]
    invocation.result([each._asdict() for each in findings], rows, *problems)
    invocation.has_failed = bool(problems)


@dataclass
class ServiceChecks:
    """The checks that need the service or the ledger, and the facts that they share."""

    session: Session
    words: MessageFormatter
    backend: str
    account: Account | None = None
    listing: Listing | None = None

    async def checked(
        self, check: str, look: Callable[[], Awaitable[Diagnosis]]
    ) -> Finding:
        """Run one check; an error is a problem.

        Args:
            check: the check's name, as it is shown.
            look: runs the check.

        Returns:
            The result.
        """
        try:
            return Finding(check, *await look())
        except ProviderError as error:
            if isinstance(error, LedgerUnavailable):
                self.session.take_note()  # the finding says it
            return Finding(check, "problem", self.words.report(error))

    async def findings(self) -> AsyncIterator[Finding]:
        """Run one check after the other.

        The scopes are checked only for a key that the service has accepted.

        Yields:
            The result of each check.
        """
        accepted = Finding("key", "ok", "accepted")
        account = f"scope {refusals.ACCOUNT_READ}"
        is_accepted = True
        try:
            self.account = await self.session.client.account(patience=ONCE)
            yield accepted
            yield Finding(account, "ok", "the account can be read")
        except refusals.NotAllowed as error:
            advice = (
                "Without it, `databases`, names of databases, and the plan and quota shown here do "
                "not work, and of an id at least 8 characters must be typed."
            )
            yield accepted
            yield Finding(account, "note", f"{error}", advice)
        except refusals.SquareCloudError as error:
            is_accepted = False
            yield self._refused(error)
        checks = {"outage": self._outage}
        if is_accepted:
            checks |= {
                f"scope {refusals.SNAPSHOTS_READ}": self._snapshots,
                f"scope {refusals.SNAPSHOTS_WRITE}": self._writing,
                f"scope {refusals.DATABASES_READ}": self._databases,
            }
        checks |= {
            "plan": self._plan,
            "quota": self._quota,
            "clock": self._clock,
            "listing": self._page,
            "ledger": self._ledger,
            "runs": self._runs,
        }
        for check, look in checks.items():
            yield await self.checked(check, look)

    def _refused(self, error: refusals.SquareCloudError) -> Finding:
        """Say why the account cannot be read."""
        check = "key" if isinstance(error, refusals.KeyRefused) else "service"
        advice = ""
        if isinstance(error, refusals.Blocked) and error.unsent:
            advice = (
                f"If the service's support has lifted the block early: `{NAME} doctor "
                "--forget-block`."
            )
        return Finding(check, "problem", self.words.report(error), advice)

    async def forget_block(self) -> Diagnosis:
        """Let runs forget a block that they remember.

        Returns:
            What was forgotten.
        """
        until = await self.session.rate_limiter.forget_blocks()
        if until is None:
            return "ok", "no run knows of one"
        return "ok", f"forgotten: it was noted until {to_the_second(until)}"

    async def _outage(self) -> Diagnosis:
        word, words = await self.session.client.health()
        if word == DEGRADED:
            found = f"the service itself reports one ({words})"
            return "note", found, "Requests may fail until the outage is over."
        if word == ONLINE:
            return "ok", "the service reports none"
        said = f'the service says "{words}"' if words else "the service does not say"
        return "unknown", said

    async def _snapshots(self) -> Diagnosis:
        listings = self.session.listings
        now = self.session.clock.monotonic()
        self.listing = await listings.account_listing(now, patience=ONCE)
        if self.listing is not None:
            return "ok", "the account's snapshots can be listed"
        refusal = listings.account_refusal
        if refusal is not None and refusal.code == "MISSING_SCOPE":
            raise refusal
        if self.account is None or not self.account.databases:
            return "unknown", f"{refusal}"
        await listings.own_page(self.account.databases[0].id, now, patience=ONCE)
        found = (
            "the snapshots of one database can be listed, those of the whole account "
            f"cannot: {refusal}"
        )
        advice = "Nothing to do: polling each database by itself takes more requests."
        return "note", found, advice

    async def _writing(self) -> Diagnosis:
        lacks = "Without this scope, a create or restore starts nothing and says so."
        return (
            "unknown",
            "only a POST would show whether the key has it, and none is sent",
            lacks,
        )

    async def _databases(self) -> Diagnosis:
        entries = self.listing.entries if self.listing else ()
        ids = [each.id for each in self.account.databases] if self.account else []
        ids += [each.database for each in entries if each.database]
        if not ids:
            return "unknown", "no database is known to check it with"
        try:
            await self.session.client.database(ids[0], patience=ONCE)
        except refusals.NotAllowed as error:
            return (
                "problem",
                f"{error}",
                "Restores and lookups of databases need this scope.",
            )
        except refusals.SquareCloudError as error:
            # Such as that the database was deleted, which says nothing of the scope.
            return "unknown", f"{error}"
        return "ok", "databases can be read"

    async def _plan(self) -> Diagnosis:
        if self.account is None or self.account.plan_memory is None:
            return "unknown", "the service did not say"
        name = f"{self.account.plan}, " if self.account.plan else ""
        memory = self.account.plan_memory
        found = f"{name}{memory} MB: {daily_quota(memory)} snapshots in any 24 hours"
        ends = self.account.plan_ends
        now = self.session.service_clock.now()
        if ends is not None:
            found += f"; {plan_end_text(ends, now)}"
        if is_ending(ends, now):
            return "note", f"{found}: {KEPT_AFTER_PLAN}", f"{ARCHIVES_STAY}."
        return "ok", found

    async def _quota(self) -> Diagnosis:
        """Count what is left of the plan's snapshots."""
        memory = self.account.plan_memory if self.account else None
        if memory is None or self.listing is None:
            return "unknown", "the plan and the account's listing are needed"
        quota = daily_quota(memory)
        left = await slots_left(self.session.listings, self.listing, quota)
        text = f"{left} of {quota} left, as far as the listing shows"
        if left:
            return "ok", text
        at = slot_frees(counted(self.listing, self.session.service_clock.now()), quota)
        frees = f"A slot frees at about {to_the_second(at)}" if at else "Wait"
        advice = f"{frees}; a larger plan allows more, and reuse_within saves some."
        return "problem", text, advice

    async def _clock(self) -> Diagnosis:
        offset = self.session.service_clock.offset
        if offset is None:
            return "unknown", "the service has not shown its time"
        if abs(offset) <= CLOCK_NOTE:
            return "ok", f"within {spoken(CLOCK_NOTE)} of the service's"
        away = f"{spoken(abs(offset))} {'behind' if offset > 0 else 'ahead of'}"
        advice = (
            "Set the clock: rotate_after uses it, and buckets refuse requests with a "
            "wrong time. Waiting "
            "for a snapshot still works."
        )
        return "note", f"this machine's is {away} the service's", advice

    async def _page(self) -> Diagnosis:
        if self.listing is None:
            return "unknown", "it could not be read"
        oldest = spoken(SERVICE_CACHE)
        return (
            "ok",
            f"at most {oldest} old: the service may serve the same page for that long",
        )

    async def _ledger(self) -> Diagnosis:
        """Check that the place of the ledger allows all that a create does there.

        Nothing is sent otherwise.
        """
        ledger = self.session.ledger
        place = bare(ledger.place)
        await ledger.read()
        await ledger.edit(
            lambda document: document.update(checked=rfc3339(self.session.clock.utc()))
        )
        found = (
            f"{'shared' if place.is_shared else 'this machine only'}: {place.where} can be read "
            "and written"
        )
        if not place.is_shared:
            setting = f"{variable('shared_state')}=backend"
            kept = f"With {setting}, the ledger is kept in {self.backend}."
            return "ok", found, kept if self.backend else ""
        if isinstance(place, Bucket):
            found += ", and a stale write is refused"
            try:
                await place.beside("missing").read()
            except LedgerUnavailable:
                advice = self.words.text(Hint(HintKind.ALLOW_LISTING))
                return "note", f"{found}; the bucket cannot be listed", advice
        return "ok", found, UNSHARED

    async def _runs(self) -> Diagnosis:
        """Whether anything is under way, or was begun and has no known end."""
        try:
            attempts = await under_way(self.session)
        except LedgerUnavailable:
            return "unknown", "the ledger cannot be read"
        if not attempts:
            return "ok", "none is under way"
        now = self.session.service_clock.now()
        is_late = any(now >= each.waited_for_until for each in attempts)
        state: State = "note" if is_late else "ok"
        shows = (
            f"`{NAME} runs` shows each request, how long others wait for it, and what "
            "resumes it."
        )
        return state, f"{len(attempts)} under way or without a known end", shows

    async def rehearse(self) -> Diagnosis:
        """Rehearse a run that is killed after its request.

        A second machine takes it over, and a third one, of another resource, waits.

        Returns:
            The result, as a check's.
        """
        clock = self.session.service_clock
        place = bare(self.session.ledger.place)
        if not (place.is_shared and isinstance(place, Bucket | SqliteFile)):
            found = "no second machine sees what this one has requested"
            advice = f"Set {config_key('shared_state')} or {variable('shared_state')}."
            return "problem", found, advice
        database_id = secrets.token_hex(16)

        async def claim(resource: str) -> Claim:
            ledger = Ledger(place.beside(REHEARSAL), clock)
            owner = f"{REHEARSAL}::dev::{resource}"
            id_ = secrets.token_hex(8)
            wish = Wish("snapshot", owner, database_id, "v1", 600.0, id=id_)
            return await ledger.edit(lambda document: ledger.decided(document, wish))

        first = await claim("one")
        second = await claim("one")
        third = await claim("two")
        await Ledger(place.beside(REHEARSAL), clock).withdraw(first.attempt)
        roles = [first.role, second.role, third.role]
        is_taken_over = second.attempt.id == first.attempt.id
        if roles != ["new", "resumed", "in the way"] or not is_taken_over:
            found = (
                f"a second machine would have sent another request: {', '.join(roles)}"
            )
            return "problem", found, "Report this as a bug."
        resumed = (
            "a second machine resumed what a killed run had requested, and sent nothing"
        )
        return "ok", f"{resumed}; a third one, of another resource, waited"


# What is installed on this machine: engine, SDK and plugin. Sends no request ----------------------


def look_at_installation(environment: Mapping[str, str]) -> list[Finding]:
    """Check what is installed. This takes about a second, and starts a process.

    Args:
        environment: the environment of the process.

    Returns:
        The result of each check.
    """
    return [
        Finding("package", "ok", f"pulumi-snapshots {version('pulumi-snapshots')}"),
        Finding("SDK", "ok", f"pulumi {version('pulumi')} for Python"),
        Finding("engine", *_engine(environment)),
        Finding("plugin", *_plugin(environment)),
        *_buckets(environment),
    ]


def _engine(environment: Mapping[str, str]) -> Diagnosis:
    if shutil.which("pulumi", path=environment.get("PATH", "")) is None:
        advice = (
            "Install the Pulumi CLI to run programs. These commands do not need it."
        )
        return "note", "no pulumi on PATH", advice
    try:
        answer = pulumi(environment, "version").strip()
    except PulumiTrouble as error:
        return "problem", str(error), "Reinstall the Pulumi CLI."
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", answer)
    oldest = ".".join(map(str, OLDEST_ENGINE))
    if match is None:
        advice = f"It must be {oldest} or newer."
        return "unknown", f"`pulumi version` says {answer!r}", advice
    if tuple(map(int, match.groups())) < OLDEST_ENGINE:
        advice = f"Update it: {oldest} is the first that configures a dynamic provider."
        return "problem", f"pulumi {answer}", advice
    return "ok", f"pulumi {answer}"


def _plugin(environment: Mapping[str, str]) -> Diagnosis:
    usual = home_directory(environment) / ".pulumi"
    home = Path(environment.get("PULUMI_HOME") or usual)
    folders = filter(Path.is_dir, home.glob(f"plugins/resource-{PACKAGE}-v*"))
    installed = sorted(path.name.rpartition("-v")[2] for path in folders)
    own_version = version("pulumi-snapshots")
    install = "squarecloud-snapshots plugin install"
    if own_version in installed:
        return "ok", f"{PACKAGE} {own_version} is installed"
    if installed:
        found = f"{PACKAGE} {', '.join(installed)} is installed, this package is {own_version}"
        return "note", found, f"Install this version: {install}"
    on_path = shutil.which(PROGRAM, path=environment.get("PATH", ""))
    if on_path:
        return "ok", f"{on_path} is on PATH"
    advice = f"Only programs in other languages than Python need the plugin: {install}"
    return "note", "none is installed", advice


def _buckets(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Which credentials an archive to each store would use.

    Missing credentials are no problem, since the store may not be used.
    """
    if find_spec(LIBRARY) is None:
        found = f"{LIBRARY} is not installed"
        yield Finding("buckets", "note", found, pip_install(EXTRA))
        return
    for scheme in BUCKETS:
        at = f"{scheme}://"
        try:
            source, _ = access(scheme, environment)
            state: State = "note" if source.startswith(MACHINE) else "ok"
            yield Finding(at, state, f"credentials of {NAMES[scheme]}: {source}")
        except NoCredentials as error:
            found = COMMAND_MESSAGES.text((error.happened, *error.then))
            advice = "Only archives to such a bucket need them."
            yield Finding(at, "note", found, advice)
