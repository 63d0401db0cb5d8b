"""The archives that a rule keeps. Sends no request."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from pulumi_snapshots.archive.record import Keep, StoredObject

_PERIODS: dict[str, Callable[[datetime], object]] = {
    "daily": lambda time: time.date(),
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: time.year,
}
"""The period of a time, for each tier that counts periods."""


def archives_newest_first(
    objects: Iterable[StoredObject],
) -> list[StoredObject]:
    """Return objects sorted by the times of their snapshots, the newest first.

    Args:
        objects: the objects, in any order.
    """
    return sorted(objects, key=lambda each: each.taken, reverse=True)


def kept_by(keep: Keep, times: Sequence[datetime]) -> set[int]:
    """Apply tiers to times, by the rules of restic's `forget`.

    From the newest time on, a tier keeps the first of each period until it has kept its number,
    or else the oldest time too.

    Args:
        keep: the tiers.
        times: when the objects were taken, in any order.

    Returns:
        The positions in `times` of those that at least one tier keeps.

    Example:
        >>> days = [datetime(2026, 3, day, tzinfo=UTC) for day in (3, 2, 1)]
        >>> sorted(kept_by(Keep(daily=2), days))
        [0, 1]
    """
    newest = sorted(
        range(len(times)),
        key=lambda number: times[number],
        reverse=True,
    )
    kept: set[int] = set()
    for name, most in keep.to_outputs().items():
        slots_left = most
        before: object = None
        for number in newest:
            period = (
                _PERIODS[name](times[number].astimezone(UTC))
                if name in _PERIODS
                else number
            )
            is_next = period != before or number == newest[-1]
            if slots_left and is_next:
                kept.add(number)
                before = period
                slots_left -= 1
    return kept


def kept_of(objects: Sequence[StoredObject], rule: Keep | None) -> list[StoredObject]:
    """Choose the objects that a rule keeps.

    An object that could not be proved takes no good object's slot in a tier. The first object
    always stays. So does an object that is pinned, whose time is not known, or that is the newest
    to have passed a drill.

    Args:
        objects: the objects of one database or resource, the object that was just written first.
        rule: the tiers; None keeps everything.

    Returns:
        The objects that the rule keeps, in the same order.

    Example:
        >>> kept_of([newest, older], Keep(last=1))
        [newest]
    """
    if rule is None:
        return list(objects)
    good = [each for each in objects if not each.unproved]
    unproved = [each for each in _in_tiers(objects, rule) if each.unproved]
    kept = [
        *_in_tiers(good, rule),
        *unproved,
        *_always_kept(objects),
    ]
    return [each for each in objects if each in kept]


def _always_kept(
    objects: Sequence[StoredObject],
) -> list[StoredObject]:
    """List the objects that stay whatever the rule is."""
    drilled = archives_newest_first(each for each in objects if each.drilled)
    held = [each for each in objects if each.pinned or not each.created_at]
    return [*objects[:1], *drilled[:1], *held]


def _in_tiers(objects: Sequence[StoredObject], rule: Keep) -> list[StoredObject]:
    """Choose the objects with a known time that at least one tier keeps."""
    timed = [each for each in objects if each.created_at]
    numbers = kept_by(rule, [each.taken for each in timed])
    return [timed[number] for number in numbers]
