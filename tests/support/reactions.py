"""The tables in the documentation that list the reaction to each event, and how tests play the events."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Reaction:
    event: str  # what happens
    posts: int  # the number of POSTs that the service receives
    state: str  # what the state holds afterwards
    reads: tuple[str, ...]  # texts that the user reads


def reactions_in(page: Path) -> list[Reaction]:
    """Read the rows between the two marks of a page."""
    text = (
        page.read_text().split("<!-- reactions -->")[1].split("<!-- /reactions -->")[0]
    )
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert cells[0] == [
        "event",
        "POSTs sent",
        "what the state holds",
        "what the user reads",
    ]
    return [
        Reaction(event, int(posts), state, tuple(re.findall(r'"([^"]+)"', reads)))
        for event, posts, state, reads in cells[2:]
    ]


@dataclass(frozen=True)
class Scenario:
    """How an event is played: by what, with which variant of it, at which service."""

    event: str
    play: Callable[[Any, Any], Awaitable[Any]]
    variant: Any
    service: dict[str, Any]


class Table:
    """The rows of some pages, and the scenarios that play their events."""

    def __init__(self, *pages: Path) -> None:
        self._rows = [row for page in pages for row in reactions_in(page)]
        self._scenarios: list[Scenario] = []

    def event(self, name: str, *variants: Any, **service: Any) -> Callable[[Any], Any]:
        def register(play: Any) -> Any:
            self._scenarios += [
                Scenario(name, play, one, service) for one in (variants or (None,))
            ]
            return play

        return register

    def played(self) -> list[Any]:
        """Each scenario with its row; an event without a row, or a row without a scenario, is an error."""
        rows = {row.event: row for row in self._rows}
        assert len(rows) == len(self._rows)
        assert rows.keys() == {one.event for one in self._scenarios}
        numbered = enumerate(self._scenarios)
        return [
            pytest.param(rows[one.event], one, id=f"{one.event}-{number}")
            for number, one in numbered
        ]
