"""The file that keeps the emulator's state across restarts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter, ValidationError

from squarecloud_emulator.data.whole_file import written_whole
from squarecloud_emulator.service.account import AccountState

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class SavedState:
    """The file's content. It has no API key: a secret stays in the environment."""

    format: Literal[1] = 1
    lead_seconds: float = 0.0  # how far the service's time is ahead of the machine's
    account: AccountState = field(default_factory=AccountState)


_SAVED_STATE = TypeAdapter(SavedState)


class StateFile:
    """`state.json` in the data folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state.json"

    def read(self) -> SavedState:
        """The state of the last run, or an empty account.

        Raises:
            ValueError: The file is not a state that this version can read.
        """
        if not self._path.exists():
            return SavedState()
        try:
            return _SAVED_STATE.validate_json(self._path.read_bytes())
        except ValidationError as error:
            raise ValueError(
                f"{self._path} is not a state that this emulator can read"
            ) from error

    def write(self, state: SavedState) -> None:
        """Replace the file, whole or not at all."""
        with written_whole(self._path) as target:
            target.write(_SAVED_STATE.dump_json(state, indent=1))
