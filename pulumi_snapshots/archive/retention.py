"""Which archived objects tiers keep, by the rules of restic's `forget`. Programs load it, so it loads no HTTP stack."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import TYPE_CHECKING, TypeVar

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Record, declare
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.properties.unfit import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

T = TypeVar("T")
TIER_LIMIT = 500
"""Objects that one tier may keep: each stands in the state with about 200 bytes."""
count = checks.whole_number(f"from 1 to {TIER_LIMIT}", least=1, most=TIER_LIMIT)


class Keep(Record, sparse=True):
    """How many objects to keep: the newest of each of the last so many days, weeks, months and years that have one.

    An object is kept if one tier keeps it. Days, ISO weeks, months and years are those of UTC.
    """

    last: int | None = declare("The newest ones, whenever they were taken.", default=None, read=count)
    daily: int | None = declare("One a day, for so many days.", default=None, read=count)
    weekly: int | None = declare("One a week, for so many weeks.", default=None, read=count)
    monthly: int | None = declare("One a month, for so many months.", default=None, read=count)
    yearly: int | None = declare("One a year, for so many years.", default=None, read=count)


def read_keep(given: object) -> Keep:
    """What a program gave; raises Unfit."""
    tiers = Keep.properties()
    if not isinstance(given, Mapping) or not given or given.keys() - tiers.keys():
        raise Unfit(f"must be an object with some of {', '.join(tiers)}")
    counts = {}
    for name, number in given.items():
        try:
            counts[name] = None if number in {None, UNKNOWN} else tiers[name].read(number)
        except ValueError as error:
            raise Unfit(f"has {name}, which {error}") from None
    if all(number is None for number in given.values()):
        raise Unfit(f"must be an object with some of {', '.join(tiers)}")
    return Keep(**counts)


_PERIODS: dict[str, Callable[[datetime], object]] = {
    "daily": lambda time: time.date(),
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: time.year,
}


def kept_by(keep: Keep, objects: Sequence[T], created_at: Callable[[T], str]) -> list[T]:
    """The objects that at least one tier keeps, of all that there are, in any order.

    As restic does: from the newest on, each tier keeps an object that is the first of its period, until it has kept its
    number; a tier that is not used up by then keeps the oldest object too.
    """
    timed = [(parse_rfc3339(created_at(each)).astimezone(UTC), each) for each in objects]
    timed.sort(key=lambda pair: pair[0], reverse=True)
    kept: list[int] = []
    for name, left in keep.to_outputs().items():
        before: object = None
        for number, (time, _) in enumerate(timed):
            period = _PERIODS[name](time) if name in _PERIODS else number
            if left and (period != before or number == len(timed) - 1):
                kept.append(number)
                before, left = period, left - 1  # noqa: PLW2901  counts down
    return [timed[number][1] for number in sorted(set(kept))]
