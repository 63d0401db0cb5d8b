"""What the service showed of the account last, in a file of this machine: for the next command, and without download URLs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from pulumi_snapshots.service.models import AccountDatabase, ListedSnapshot, Utc
from pulumi_snapshots.whole_file import written_whole

SECRET = {name for name, each in ListedSnapshot.model_fields.items() if not each.repr}
"""What is not kept of an entry: its URL and its key would open the data to anyone who reads the file."""


class _Kept(BaseModel):
    """A page.

    Attributes:
        at: when it was requested, by this machine's clock.
    """

    at: Utc

    def age(self, now: datetime) -> float:
        """Seconds since it was requested; negative if the clock was set back."""
        return (now - self.at).total_seconds()


class Shown(_Kept):
    """The account's snapshots as a page showed them.

    Attributes:
        of_each: the entries of each database by version, without URLs.
        offset: seconds that the service's clock was ahead of this machine's; None if that was not known.
    """

    of_each: dict[str, dict[str, ListedSnapshot]] = Field(repr=False)
    offset: float | None


class KeptDatabases(_Kept):
    """The account's databases."""

    all: list[AccountDatabase]


class _File(BaseModel):
    snapshots: Shown | None = None
    databases: KeptDatabases | None = None
    asked: dict[str, Utc] = {}
    """When a page of each kind was requested in passing."""


class KeptPages:
    """The newest pages of the account, shared by the commands of one machine.

    A file that cannot be read counts as empty, and what cannot be written is not kept. If two commands end at the same moment,
    the pages of one may be lost.

    Args:
        path: the file that holds them; without one, or with a relative one, nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path if path is not None and path.is_absolute() else None

    @property
    def snapshots(self) -> Shown | None:
        """The account's snapshots; None if none are kept."""
        return self._read().snapshots

    @property
    def databases(self) -> KeptDatabases | None:
        """The account's databases; None if none are kept."""
        return self._read().databases

    def may_request(self, what: str, now: datetime, pause: float) -> bool:
        """Whether `snapshots` or `databases` may be requested in passing; if so, not again for `pause` seconds, whatever the result."""
        asked = self._read().asked
        if what in asked and 0 <= (now - asked[what]).total_seconds() < pause:
            return False
        # What cannot be noted could be requested at every press of a key.
        return self._write(asked={**asked, what: now})

    def keep_snapshots(
        self, of_each: Mapping[str, Mapping[str, ListedSnapshot]], offset: float | None, at: datetime
    ) -> None:
        """Keep the account's snapshots, see `Shown`; those without a name no page has shown yet."""
        named = {one: {id_: each for id_, each in entries.items() if each.name} for one, entries in of_each.items()}
        self._write(snapshots=Shown(at=at, of_each=named, offset=offset))

    def keep_databases(self, databases: Iterable[AccountDatabase], at: datetime) -> None:
        """Keep the account's databases, as they were requested at `at`."""
        self._write(databases=KeptDatabases(at=at, all=list(databases)))

    def _read(self) -> _File:
        if self._path is not None:
            with suppress(OSError, ValueError):
                return _File.model_validate_json(self._path.read_bytes())
        return _File()

    def _write(self, **changes: Any) -> bool:
        """Replace a part of the file; returns whether it could be written."""
        if self._path is None:
            return False
        content = self._read().model_copy(update=changes)
        secret = {"snapshots": {"of_each": {"__all__": {"__all__": SECRET}}}}
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with written_whole(self._path) as file:
                file.write(content.model_dump_json(exclude=secret, exclude_defaults=True).encode())
        except OSError:
            return False
        return True
