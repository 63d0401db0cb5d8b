"""A resource's row, for tests that need no emulator: a process of theirs starts in half the time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pulumi_snapshots.engine.wording import PYTHON

if TYPE_CHECKING:
    from pulumi_snapshots.errors import Words
    from pulumi_snapshots.errors.wording import Wording

__all__ = ["OWNER", "Row"]

OWNER = "urn:pulumi:dev::shop::pulumi-python:dynamic/squarecloud:Snapshot::before-release"


@dataclass
class Row:
    """A resource's row on the terminal, which records its texts.

    Attributes:
        shown: the progress.
        notes: the good news that stay.
        warnings: the warnings.
        wording: the words of the texts.
    """

    shown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    wording: Wording = field(default_factory=lambda: PYTHON.about(resource=OWNER))

    def progress(self, text: Words) -> None:
        said = self.wording.text(text)
        if not self.shown or self.shown[-1] != said:
            self.shown.append(said)

    def note(self, text: Words) -> None:
        self.notes.append(self.wording.text(text))

    def warn(self, text: Words) -> None:
        self.warnings.append(self.wording.text(text))
