"""The command `status`: whether each database's snapshot, archive and drill are recent enough.

It is for monitoring, and green only if that is certain.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.cli.assurance.guards import changes_text
from pulumi_snapshots.cli.assurance.health import (
    AgeLimits,
    DatabaseHealth,
    Evidence,
    Examination,
    Gap,
    typed_limits,
)
from pulumi_snapshots.cli.assurance.metrics import overall_metrics, write_metrics
from pulumi_snapshots.cli.terminal import arguments
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.cli.terminal.output import GOOD, table
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.listing.listings import SERVICE_CACHE
from pulumi_snapshots.listing.plan import is_ending, plan_end_text, plan_warning
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.run.notices import PLAN
from pulumi_snapshots.snapshot.record import short_id
from pulumi_snapshots.storage.destination import place_text


@arguments.command(
    arguments.databases_argument,
    *arguments.options_of(AgeLimits, "max_age", "origin"),
    arguments.archives_option("Look for archives and drills there."),
    *arguments.options_of(AgeLimits, "max_archive_age", "max_drill_age"),
    click.option(
        "--metrics",
        type=arguments.FILE,
        help="Also write OpenMetrics, for node_exporter's textfile collector.",
    ),
    arguments.notify_option,
)
async def status_command(
    invocation: Invocation, *, metrics: Path | None, **typed: Any
) -> None:
    """Check that every database has a recent snapshot.

    Checks each DATABASE, or all of the account. For cron and monitoring: the exit code is 0 only if
    everything is certain; standard error says what is wrong, and is empty if all is well. Also
    prints the command that goes back to the data of a snapshot.
    """
    limits = typed_limits(invocation, typed)
    places = typed["archives"]
    began = invocation.clock.utc()
    try:
        async with invocation.asking(in_log=False) as session:
            examination = Examination(invocation, session, limits, places)
            evidence, healths = await examination.examine(typed["databases"])
    except ProviderError:
        if metrics:
            write_metrics(metrics, overall_metrics(began))
        raise
    kinds = ["snapshot", "archive", "drill"]
    if not places:
        kinds.remove("archive")
        if limits.max_drill_age is None and not any(each.drill for each in healths):
            kinds.remove("drill")
    warning = plan_warning(evidence.account.plan_ends, evidence.now)
    if warning is not None:
        invocation.warn(warning)
    _show(invocation, began, evidence, healths, kinds)
    if warning is not None:
        await invocation.tell_monitor("warned", PLAN, PLAN, warning)
    if metrics:
        write_metrics(metrics, overall_metrics(began, evidence), healths, kinds)


def _show(
    invocation: Invocation,
    began: datetime,
    evidence: Evidence,
    healths: Sequence[DatabaseHealth],
    kinds: Sequence[str],
) -> None:
    """Write what was found, and fail for each problem."""
    account = evidence.account
    bad = [each for each in healths if each.problems]
    fields = {
        "ok": bool(healths) and not bad,
        "checked_at": rfc3339(began),
        "listing_age": account.page.age,
        "listing_kept": account.page.kept,
        "plan_ends_at": account.plan_ends and rfc3339(account.plan_ends),
        **vars(evidence.limits),
        "databases": [each.fields() for each in healths],
    }
    text = _ages_table(invocation, healths, kinds)
    text += "".join(f"{line}\n" for line in _lines(invocation, evidence, healths))
    invocation.result(fields, text, *(each.id for each in bad))
    _fail(invocation, bad)
    if not healths:
        invocation.fail("the account has no databases, so nothing was checked.")


def _fail(invocation: Invocation, bad: Sequence[DatabaseHealth]) -> None:
    """Fail for each database that has a problem."""
    for health in bad:
        name = f" ({health.name})" if health.name else ""
        invocation.fail(f"database {health.id}{name}: {', '.join(health.problems)}.")


def _ages_table(
    invocation: Invocation, healths: Sequence[DatabaseHealth], kinds: Sequence[str]
) -> str:
    """Show each database with its ages; empty without databases."""
    if not healths:
        return ""
    rows = []
    for health in healths:
        ages = [health.ages[kind] for kind in kinds]
        texts = ["none" if age is None else spoken(age) for age in ages]
        rows.append((GOOD[not health.problems], health.id, health.name, *texts))
    heads = ("", "DATABASE", "NAME", *(kind.upper() for kind in kinds))
    return table(heads, rows, invocation.out)


def _lines(
    invocation: Invocation, evidence: Evidence, healths: Sequence[DatabaseHealth]
) -> Iterator[str]:
    """Say how to go back, how old the listing is, and when the plan ends."""
    names = Counter(each.name for each in healths)
    for health in healths:
        name = health.name or health.id
        if health.name and names[name] > 1:
            name = f"{name} ({health.id})"
        yield ""
        yield from _ways_back(invocation, health, name)
    age = evidence.account.page.age
    asked = f"{spoken(age)} ago" if age >= 1 else "just now"
    cache = f"the service can serve a page that is {spoken(SERVICE_CACHE)} old"
    yield ""
    yield f"The listing was requested {asked}; {cache}."
    ends = evidence.account.plan_ends
    if ends is not None and not is_ending(ends, evidence.now):
        yield f"The account's plan {plan_end_text(ends, evidence.now)}."


def _ways_back(
    invocation: Invocation, health: DatabaseHealth, name: str
) -> Iterator[str]:
    """Say to what one can go back, that from before the last change first, and what proved it.

    Args:
        invocation: The command, for its zone.
        health: What is known of the database.
        name: How lines name the database.
    """
    yield from _guarded_ways_back(invocation, health, name)
    if health.snapshot or health.archive:
        yield f"{name}: {_newest(invocation, health)}; {_proof(invocation, health.drill)}"
        if not health.guarded and not health.kept:
            yield from _how_to_get_newest(health)
    elif not health.guarded:
        yet = " yet" if health.pending_since else ""
        yield f"{name}: there is no snapshot to go back to{yet}"
    if health.gap:
        yield f"{name}: {_recovery(health.gap, health.recovery_seconds)}"
    if health.pending_since:
        requested = invocation.moment(health.pending_since)
        yield f"  a snapshot was requested at {requested} and is not listed yet"


def _guarded_ways_back(
    invocation: Invocation, health: DatabaseHealth, name: str
) -> Iterator[str]:
    """Say how to go back to before the last change, and to what the last restore overwrote.

    With `keep_current`, and without `--no-keep`, a restore first takes a snapshot of what it
    overwrites.
    """
    if health.guarded:
        snapshot = health.guarded.snapshot
        taken = invocation.moment(snapshot.get("created_at") or health.guarded.noted_at)
        yield f"{name}: from before {changes_text(health.guarded)}: {taken}"
        yield f"  {NAME} restore {health.guarded.id}"
    if health.kept:
        overwritten = invocation.moment(health.kept.changed_at)
        yield f"{name}: what the {changes_text(health.kept)} overwrote: {overwritten}"
        yield f"  {NAME} restore {health.kept.id} --no-keep"


def _newest(invocation: Invocation, health: DatabaseHealth) -> str:
    """Say of when the newest snapshot is, or else that in the newest archive."""
    named = {each.id for each in (health.guarded, health.kept) if each}
    if health.snapshot and health.snapshot.id in named:
        # Not its time again: that of its request, above, is another one.
        return f"the newest snapshot is {short_id(health.snapshot.id)}, see above"
    if health.snapshot:
        return f"the newest snapshot was taken on {invocation.moment(health.times['snapshot'])}"
    taken = invocation.moment(health.times["archive"])
    return f"the snapshot in the newest archive was taken on {taken}"


def _how_to_get_newest(health: DatabaseHealth) -> Iterator[str]:
    """Say how to restore the newest snapshot, or else where the newest archive is."""
    if health.snapshot is None:
        yield f"  {place_text(health.archive or '')}"
    else:
        yield f"  {NAME} restore {health.snapshot.id}"


def _recovery(gap: Gap, seconds: float | None) -> str:
    """Say what a loss can have cost, and how long a recovery takes."""
    lost = f"at most {spoken(gap.seconds)} passed without a new snapshot in the last 30 days"
    if seconds is None:
        return lost
    return f"{lost}; the last drill took {spoken(seconds)} from its request to its last check"


def _proof(invocation: Invocation, drill: Drilled | None) -> str:
    """Say what has proved that a restore works."""
    if drill is None:
        return "no drill has proved a restore"
    took = f", in {spoken(drill.restore_seconds)}" if drill.restore_seconds else ""
    return f"a restore was proved on {invocation.moment(drill.drilled_at)}{took}"
