"""The tables in the documentation that list the reaction to each event."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Reaction:
    """A row of a table.

    Attributes:
        event: what happens.
        posts: the number of POSTs that the service receives.
        state: what the state holds afterwards.
        reads: texts that the user reads.
    """

    event: str
    posts: int
    state: str
    reads: tuple[str, ...]


def reactions_in(page: Path) -> list[Reaction]:
    """Read the rows between the two marks of a page."""
    text = page.read_text().split("<!-- reactions -->")[1].split("<!-- /reactions -->")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert cells[0] == ["event", "POSTs sent", "what the state holds", "what the user reads"]
    return [
        Reaction(event, int(posts), state, tuple(re.findall(r'"([^"]+)"', reads)))
        for event, posts, state, reads in cells[2:]
    ]
