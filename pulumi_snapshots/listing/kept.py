"""What the service showed of the account last, in a file of this machine: for the next command, and without download URLs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from pulumi_snapshots.service.models import AccountDatabase, ListedSnapshot
from pulumi_snapshots.whole_file import written_whole

T = TypeVar("T")
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, RecursionError)
"""The errors of a file that another version, or something else, has written: it counts as empty."""
SECRET = {name for name, each in ListedSnapshot.model_fields.items() if not each.repr}
"""What is not kept of an entry: its URL and its key would open the data to anyone who reads the file."""


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

    What cannot be read counts as not kept, and what cannot be written is not kept. If two commands end at the same moment, the
    pages of one may be lost.

    Args:
        path: the file that holds them; without one, or with a relative one, nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path if path is not None and path.is_absolute() else None

    def snapshots(self) -> Kept[Shown] | None:
        """Read the account's snapshots; None if none are kept."""
        with suppress(*UNREADABLE):
            found = self._read()["snapshots"]
            of_each = {
                str(database_id): {str(version): _entry(version, each) for version, each in entries.items()}
                for database_id, entries in found["of_each"].items()
            }
            offset = found["offset"]
            return Kept(Shown(of_each, None if offset is None else float(offset)), parse_rfc3339(found["at"]))
        return None

    def databases(self) -> Kept[list[AccountDatabase]] | None:
        """Read the account's databases; None if none are kept."""
        with suppress(*UNREADABLE):
            found = self._read()["databases"]
            databases = [AccountDatabase.model_validate(each) for each in found["all"]]
            return Kept(databases, parse_rfc3339(found["at"]))
        return None

    def kept_at(self, what: str) -> datetime | None:
        """Return when the page of this kind was requested, `snapshots` or `databases`; None if none is kept."""
        kept = self.snapshots() if what == "snapshots" else self.databases()
        return None if kept is None else kept.at

    def may_request(self, what: str, now: datetime, pause: float) -> bool:
        """Whether the page may be requested in passing; if so, not again for `pause` seconds, whatever the result."""
        asked = self._read().get("asked")
        asked = asked if isinstance(asked, dict) else {}
        with suppress(*UNREADABLE):
            if 0 <= (now - parse_rfc3339(asked[what])).total_seconds() < pause:
                return False
        # What cannot be noted could be requested at every press of a key.
        return self._write("asked", {**asked, what: rfc3339(now)})

    def keep_snapshots(self, shown: Shown, at: datetime) -> None:
        """Keep the account's snapshots, as they were requested at `at`."""
        of_each = {
            database_id: {
                version: each.model_dump(mode="json", exclude={"version_id", *SECRET})
                for version, each in entries.items()
                if each.name  # otherwise no page has shown it yet
            }
            for database_id, entries in shown.of_each.items()
        }
        self._write("snapshots", {"at": rfc3339(at), "offset": shown.offset, "of_each": of_each})

    def keep_databases(self, databases: Iterable[AccountDatabase], at: datetime) -> None:
        """Keep the account's databases, as they were requested at `at`."""
        self._write("databases", {"at": rfc3339(at), "all": [each.model_dump(mode="json") for each in databases]})

    def _read(self) -> dict[str, Any]:
        if self._path is not None:
            with suppress(OSError, *UNREADABLE):
                content = json.loads(self._path.read_bytes())
                if isinstance(content, dict):
                    return content
        return {}

    def _write(self, what: str, content: dict[str, Any]) -> bool:
        """Replace a part of the file; returns whether it could be written."""
        if self._path is None:
            return False
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with written_whole(self._path) as file:
                file.write(json.dumps({**self._read(), what: content}).encode())
        except OSError:
            return False
        return True


def _entry(version: str, shown: Mapping[str, Any]) -> ListedSnapshot:
    return ListedSnapshot.model_validate({**shown, "version_id": version})
