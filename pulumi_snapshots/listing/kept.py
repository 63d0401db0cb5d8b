"""What the service showed of the account last, in a file of this machine: for the next command, and without download URLs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from pulumi_snapshots.api.models import AccountDatabase, ListedSnapshot
from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from pulumi_snapshots.locked_file import LockedFile

T = TypeVar("T")
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)
"""The errors of a file that another version, or something else, has written: it counts as empty."""
SHOWN = {"name", "size", "modified", "runtime", "origin"}
"""What is kept of an entry beside its version. Its URL and its key would open the data to anyone who reads the file."""


@dataclass(frozen=True)
class Kept(Generic[T]):
    """A page, and when it was requested by this machine's clock."""

    content: T
    at: datetime

    def age(self, now: datetime) -> float:
        """Seconds since it was requested; negative if the clock was set back."""
        return (now - self.at).total_seconds()


@dataclass(frozen=True)
class Shown:
    """The account's snapshots as a page showed them.

    Attributes:
        of_each: the entries of each database by version, without URLs.
        offset: seconds that the service's clock was ahead of this machine's; None if that was not known.
    """

    of_each: Mapping[str, Mapping[str, ListedSnapshot]]
    offset: float | None


class KeptPages:
    """The newest pages of the account, shared by the commands of one machine.

    Args:
        file: holds them; without one nothing is kept.
    """

    def __init__(self, file: LockedFile | None) -> None:
        self._file = file

    async def snapshots(self) -> Kept[Shown] | None:
        """The account's snapshots; None if none are kept."""
        found = await self._read("snapshots")
        try:
            of_each = {
                str(database_id): {str(version): _entry(version, each) for version, each in entries.items()}
                for database_id, entries in found["of_each"].items()
            }
            offset = found["offset"]
            return Kept(Shown(of_each, None if offset is None else float(offset)), parse_rfc3339(found["at"]))
        except UNREADABLE:
            return None

    async def databases(self) -> Kept[list[AccountDatabase]] | None:
        """The account's databases; None if none are kept."""
        found = await self._read("databases")
        try:
            databases = [AccountDatabase.model_validate(each) for each in found["all"]]
            return Kept(databases, parse_rfc3339(found["at"]))
        except UNREADABLE:
            return None

    async def kept_at(self, what: str) -> datetime | None:
        """When the page of this kind was requested, `snapshots` or `databases`; None if none is kept."""
        kept = await (self.snapshots() if what == "snapshots" else self.databases())
        return None if kept is None else kept.at

    async def may_request(self, what: str, now: datetime, pause: float) -> bool:
        """Whether the page may be requested in passing; if so, not again for `pause` seconds, whatever the result."""
        if self._file is None:
            return False

        def note(file: dict[str, Any]) -> bool:
            asked = file.get("asked")
            asked = asked if isinstance(asked, dict) else {}
            with suppress(*UNREADABLE):
                if 0 <= (now - parse_rfc3339(asked[what])).total_seconds() < pause:
                    return False
            file["asked"] = {**asked, what: rfc3339(now)}
            return True

        # What cannot be noted could be requested at every press of a key.
        return await self._file.change(note) and not self._file.trouble

    async def keep_snapshots(self, shown: Shown, at: datetime) -> None:
        """Keep the account's snapshots, as they were requested at `at`."""
        of_each = {
            database_id: {version: each.model_dump(mode="json", include=SHOWN) for version, each in entries.items()}
            for database_id, entries in shown.of_each.items()
        }
        await self._write("snapshots", {"at": rfc3339(at), "offset": shown.offset, "of_each": of_each})

    async def keep_databases(self, databases: Iterable[AccountDatabase], at: datetime) -> None:
        """Keep the account's databases, as they were requested at `at`."""
        await self._write("databases", {"at": rfc3339(at), "all": [each.model_dump(mode="json") for each in databases]})

    async def _read(self, what: str) -> Any:
        return {} if self._file is None else (await self._file.read()).get(what)

    async def _write(self, what: str, content: dict[str, Any]) -> None:
        if self._file is not None:
            await self._file.change(lambda file: file.update({what: content}))


def _entry(version: str, shown: Mapping[str, Any]) -> ListedSnapshot:
    return ListedSnapshot.model_validate({**shown, "version_id": version})
