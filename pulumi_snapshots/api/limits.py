"""The service's limits, each number once. What keeps them, and adds room for jitter, is the rate limiter."""

from __future__ import annotations

__all__ = [
    "ACCOUNT_LISTINGS_PER_MINUTE",
    "RESTORE_PER_ACCOUNT",
    "RESTORE_PER_DATABASE",
    "SNAPSHOT_PER_ACCOUNT",
    "SNAPSHOT_PER_DATABASE",
]

SNAPSHOT_PER_ACCOUNT = 5.0
"""Seconds between two creates of an account; the first of two cooldowns that the reference page names."""
SNAPSHOT_PER_DATABASE = 180.0
"""Seconds between two creates of a database; the second one."""
RESTORE_PER_ACCOUNT = 60.0
"""Seconds between two restores of an account, by the OpenAPI document."""
RESTORE_PER_DATABASE = 120.0
"""Seconds between two restores of a database, by the OpenAPI document."""
ACCOUNT_LISTINGS_PER_MINUTE = 3
"""Account listings in a minute that are not served from the service's cache; one more blocks for 5 minutes."""
