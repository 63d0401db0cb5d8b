"""What earlier versions have left: states, files on the disk, the schema of their SDKs. `tools/record_states.py` records it."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from tests.support.world import START

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["STATES", "VERSIONS", "moved", "read", "without_state"]

STATES = Path(__file__).parents[1] / "fixtures" / "states"
VERSIONS = sorted(folder.name for folder in STATES.iterdir() if folder.is_dir())
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_SECONDS = re.compile(r"\b1[6-9]\d{8}\.\d+\b")
"""Seconds since 1970, of this century's twenties to fifties."""


def read(version: str, *path: str) -> Any:
    """The content of one of the files."""
    return json.loads(STATES.joinpath(version, *path).read_text())


def moved(text: str, recorded: datetime) -> str:
    """The text with its times as if `recorded` had been at the start of the virtual clock."""

    by = START - recorded

    def move(found: re.Match[str]) -> str:
        return rfc3339(parse_rfc3339(found[0]) + by)

    return _SECONDS.sub(lambda found: str(float(found[0]) + by.total_seconds()), _TIME.sub(move, text))


def without_state(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries of a journal that no state has: of runs that were killed."""
    return [one for one in entries if not one["in_state"] and one.get("finished") is None]
