"""The ways out that errors and warnings print, as a user reads and types them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pulumi_snapshots.cli.terminal.invocation import NAME

_URN = re.compile(r"`pulumi up (?:--refresh )?--replace '(urn:pulumi:[^']+)'`")
_COMMAND = re.compile(rf"`({NAME} (?:create|restore) [^`]+)`")
_NEW = re.compile(r"(?:^|[\s`])--new`? ")
_TRIGGERS = re.compile(r"\bother `?triggers\b", re.IGNORECASE)
_KEEPS = re.compile(
    r"`[^`]+` (?:on [^`]+(?:`--new`, )?keeps waiting|polls again|checks again)"
)
"""A command that a hint names for another reason than to get something done."""


@dataclass(frozen=True)
class Hint:
    """One way out that a message names."""

    kind: Literal["replace", "triggers", "command", "new"]
    text: str  # the line that names it
    # the URN that `--replace` names, or the command without the program's name
    subject: str = ""

    @property
    def arguments(self) -> list[str]:
        """The arguments of its command."""
        return shlex.split(self.subject)


def hints_in(messages: Iterable[str]) -> list[Hint]:
    """The ways out that these messages name; lines that name none are left out."""
    found = [
        hint
        for message in messages
        for line in message.splitlines()
        for hint in _read(line)
    ]
    return [*dict.fromkeys(found)]


def _read(line: str) -> Iterable[Hint]:
    for urn in _URN.findall(line):
        yield Hint("replace", line, urn)
    for command in [] if _KEEPS.search(line) else _COMMAND.findall(line):
        yield Hint("command", line, command.removeprefix(f"{NAME} "))
    if line.startswith("hint: ") and _NEW.search(line):
        yield Hint("new", line)
    if _TRIGGERS.search(line):
        yield Hint("triggers", line)
