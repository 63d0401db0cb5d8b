"""What the service showed of the account last, in a file of this machine: for the next command, and without download URLs."""

import math
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from pulumi_snapshots.service.models import AccountDatabase, ListedSnapshot, Utc
from pulumi_snapshots.state_directory import written_whole


class Kept(BaseModel):
    """What is kept; times are by this machine's clock."""

    snapshots: dict[str, dict[str, ListedSnapshot]] = Field(default={}, repr=False)  # by database and version
    offset: float | None = None  # seconds that the service's clock was ahead of this machine's, if that was known
    databases: list[AccountDatabase] = []
    at: dict[str, Utc] = {}  # when each of the two was requested
    asked: dict[str, Utc] = {}  # when each was requested in passing, whatever the result

    def age(self, what: str, now: datetime) -> float:
        """Seconds since `snapshots` or `databases` were requested; negative if the clock was set back."""
        return (now - self.at[what]).total_seconds() if what in self.at else math.inf


class KeptPages:
    """The newest pages of the account, shared by the commands of one machine, in a file.

    One that cannot be read counts as empty, and what cannot be written is not kept; without a path, or with a relative one,
    nothing is. If two commands end at the same moment, the pages of one may be lost.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path if path is not None and path.is_absolute() else None

    def read(self) -> Kept:
        """What is kept."""
        if self._path is not None:
            with suppress(OSError, ValueError):
                return Kept.model_validate_json(self._path.read_bytes())
        return Kept()

    def may_request(self, what: str, now: datetime, pause: float) -> bool:
        """Whether `snapshots` or `databases` may be requested in passing; if so, not again for `pause` seconds, whatever the result."""
        asked = self.read().asked
        if what in asked and 0 <= (now - asked[what]).total_seconds() < pause:
            return False
        # What cannot be noted could be requested at every press of a key.
        return self._write(asked={**asked, what: now})

    def keep(self, at: datetime, **shown: Any) -> None:
        """Keep attributes of `Kept`, as they were requested at `at`."""
        self._write(**shown, at={**self.read().at, **dict.fromkeys(shown, at)})

    def _write(self, **changes: Any) -> bool:
        """Replace a part of the file; returns whether it could be written."""
        content = self.read().model_copy(update=changes)
        if self._path is not None:
            with suppress(OSError):
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with written_whole(self._path) as file:
                    file.write(content.model_dump_json(exclude_defaults=True).encode())
                return True
        return False
