"""The service's limits, each number once. The rate limiter keeps them, and adds room for jitter."""

from __future__ import annotations

SNAPSHOT_PER_ACCOUNT = 5.0
"""Seconds between two creates of an account, by the reference page."""
SNAPSHOT_PER_DATABASE = 180.0
"""Seconds between two creates of a database, by the reference page."""
RESTORE_PER_ACCOUNT = 60.0
"""Seconds between two restores of an account, by the OpenAPI document."""
RESTORE_PER_DATABASE = 120.0
"""Seconds between two restores of a database, by the OpenAPI document."""
ACCOUNT_LISTINGS_PER_MINUTE = 3
"""Account listings per minute that the service does not serve from its cache, by the OpenAPI document."""
ACCOUNT_LISTING_BLOCK = 300.0
"""Seconds for which one more blocks the account listing, and nothing else, by the OpenAPI document."""
CREDENTIALS_EVERY = 3.0
"""Seconds between two requests of an account for a database's certificate, by the OpenAPI document."""
