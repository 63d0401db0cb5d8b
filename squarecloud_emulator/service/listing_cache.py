"""The service's cache of its listings, which makes a listing up to half an hour old."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

ACCOUNT = "the account"  # the owner of the account listing's pages


@dataclass
class _Page:
    body: bytes
    fetched_at: datetime


class ListingCache:
    """Pages by owner: a resource id, or `ACCOUNT` with one variant for each scope."""

    def __init__(self) -> None:
        self._pages: dict[tuple[str, str], _Page] = {}

    def cached(self, owner: str, variant: str, now: datetime, cache_seconds: float) -> bytes | None:
        """The cached page; None if there is none, or it is too old."""
        page = self._pages.get((owner, variant))
        if page is None or now - page.fetched_at >= timedelta(seconds=cache_seconds):
            return None
        return page.body

    def keep(self, owner: str, variant: str, body: bytes, now: datetime) -> None:
        """Cache a page that was just made."""
        self._pages[owner, variant] = _Page(body, now)

    def drop(self, owner: str | None = None) -> None:
        """Drop one owner's pages, or all."""
        self._pages = {} if owner is None else {key: page for key, page in self._pages.items() if key[0] != owner}
