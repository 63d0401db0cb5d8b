"""Durations as people write them: Go-style strings as in Pulumi's own time-outs, `d` for days, or seconds."""

import math
import re
import sys
from collections.abc import Iterator

from pulumi_snapshots.properties.unfit import Unfit

LONGEST = 100
"""Characters of a duration; the expressions below take hours for thousands of digits."""
MINUTE, HOUR, DAY = 60, 3600, 86400
"""Seconds."""
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)", re.ASCII)


def parse_duration(value: object) -> float:
    """The seconds of `90s`, `45m`, `1h30m`, `7d`, `1.5h`, or of a number of seconds; Unfit if it is no duration."""
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Some whole numbers are too large for a float.
        seconds = float(value) if value <= sys.float_info.max else math.inf
    elif isinstance(value, str) and len(value) <= LONGEST:
        text = value.strip()
        if _NUMBER.fullmatch(text):
            seconds = float(text)
        elif text and _PART.sub("", text) == "":
            seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if not (seconds >= 0 and math.isfinite(seconds)):
        raise Unfit("must be a duration such as 90s, 45m, 1h30m or 7d, or a number of seconds", value)
    return seconds


def lacks_unit(written: object) -> str:
    """Why a text is no duration: its number lacks a unit, and 10 may be meant in minutes. Empty if it has one, or is 0."""
    is_bare = isinstance(written, str) and re.fullmatch(r"[\d.]*[1-9][\d.]*", written)
    return f"needs a unit, such as {written}s, {written}m or {written}h" if is_bare else ""


def spoken(seconds: float, *, exact: bool = False) -> str:
    """`seconds` as a person says it: `40 s`, `12 min`, `1 h 55 min`, `3 days`; in two units at most, unless it is `exact`."""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{round(seconds, 1):g} s"
    least = 1 if exact or seconds < 10 * MINUTE else MINUTE if seconds < DAY else HOUR
    parts = _parts(round(seconds / least) * least, "days", "h", "min", "s")
    return " ".join(f"{count} {'day' if (count, unit) == (1, 'days') else unit}" for count, unit in parts)


def duration_text(seconds: float) -> str:
    """`seconds` as a person would write it: `45m`, `1h30m`, `7d`, `0.5s`."""
    parts = _parts(round(seconds), "d", "h", "m", "s")
    return f"{seconds:g}s" if seconds < MINUTE else "".join(f"{count}{unit}" for count, unit in parts)


def _parts(rest: int, *units: str) -> Iterator[tuple[int, str]]:
    """The days, hours, minutes and seconds of so many seconds, as far as there are any."""
    for unit, size in zip(units, (DAY, HOUR, MINUTE, 1), strict=True):
        count, rest = divmod(rest, size)
        if count:
            yield count, unit
