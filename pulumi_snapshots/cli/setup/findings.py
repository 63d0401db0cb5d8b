"""What a check of `doctor` has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem", "unknown"]
"""`note` is worth knowing, `problem` stands in the way, `unknown` could not be found out."""
Result = tuple[State, str, str]
"""All of a finding but the name of the check."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: its name.
        state: how it is.
        found: what was found.
        advice: what to do; empty if there is nothing to do.
    """

    check: str
    state: State
    found: str
    advice: str = ""
