"""The end of the account's plan, and what the service keeps of its snapshots then."""

from datetime import datetime, timedelta

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.properties.checks import spoken

PLAN_NOTICE = timedelta(days=14)
"""How long before its end a plan is worth a warning."""
KEPT_AFTER_PLAN = (
    "then the service keeps the newest snapshot of each database for 30 days, all others for 14 "
    "days at most, and after that nothing"
)
"""By the vendor's help centre."""
ARCHIVES_STAY = (
    "Renew the plan, or archive what you need: an archive stays in your own storage"
)


def plan_end_text(ends: datetime, now: datetime) -> str:
    """Say when a plan ends, or that it has ended.

    Args:
        ends: When it ends, UTC.
        now: The service's time.

    Returns:
        The clause, such as `ends on 2026-12-31T12:00:00Z, in 29 days`.
    """
    exact = to_the_second(ends)
    if ends <= now:
        return f"ended on {exact}"
    return f"ends on {exact}, in {spoken((ends - now).total_seconds())}"


def is_ending(ends: datetime | None, now: datetime) -> bool:
    """Tell whether a plan ends within 14 days, or has ended.

    Args:
        ends: When it ends, UTC; None if that is not known.
        now: The service's time.
    """
    return ends is not None and ends - now <= PLAN_NOTICE


def plan_warning(ends: datetime | None, now: datetime) -> str | None:
    """Say that a plan ends soon or has ended, what the service keeps then, and what to do.

    Args:
        ends: When it ends, UTC; None if that is not known.
        now: The service's time.

    Returns:
        The warning; None without a reason to warn.
    """
    if ends is None or not is_ending(ends, now):
        return None
    return f"The account's plan {plan_end_text(ends, now)}: {KEPT_AFTER_PLAN}. {ARCHIVES_STAY}."
