"""The file that keeps an account across restarts: read and written whole; what is in it is the account's."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter, ValidationError

from pulumi_snapshots.emulator.service.account import AccountState

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SavedState", "StateFile"]


@dataclass
class SavedState:
    """The file's content. The API key is not in it: a secret stays in the environment."""

    format: Literal[1] = 1
    lead_seconds: float = 0.0  # how far service time is ahead of the machine's
    account: AccountState = field(default_factory=AccountState)


_SAVED_STATE = TypeAdapter(SavedState)


class StateFile:
    """`state.json` in the data folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state.json"

    def read(self) -> SavedState:
        """What an earlier run kept, or an empty account.

        Raises:
            ValueError: The file is not a state of this version.
        """
        if not self._path.exists():
            return SavedState()
        try:
            return _SAVED_STATE.validate_json(self._path.read_bytes())
        except ValidationError as error:
            raise ValueError(f"{self._path} is not a state that this emulator can read") from error

    def write(self, kept: SavedState) -> None:
        """Keep it: a reader, or a run after a crash, sees the old file or the new one, never half of one."""
        unfinished = self._path.with_suffix(".part")
        with unfinished.open("wb") as target:
            target.write(_SAVED_STATE.dump_json(kept, indent=1))
            target.flush()
            os.fsync(target.fileno())
        unfinished.replace(self._path)
