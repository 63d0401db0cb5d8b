"""What random stories check beside what always holds."""

import os

ALL = (
    "way out",  # the way out that a message names does what it says within 45 minutes
    "other triggers",  # a plain `up` with other triggers acts within 90, whatever went wrong before
    "as new",  # nothing is handed out as new that was requested before it was typed
    "acts once",  # a restore does not act again because an older state was imported
    "paused",  # a machine that wakes does not restore over what was restored meanwhile
    "answer kept",  # an answer that a process got is not forgotten because the ledger refuses writes
    "roll-back",  # the same roll-back value at another incident leads to that one's snapshot
    "old guard",  # no change happens behind a snapshot that is older than its guard allows
)


def switched_on() -> tuple[str, ...]:
    """The invariants that are checked: all, or those of `INVARIANTS="way out,as new"`."""
    asked = os.environ.get("INVARIANTS", "")
    return tuple(asked.split(",")) if asked else ALL
