"""A text for users, whose names are spelled by the edge that shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_snapshots.clock import time_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


_NAME = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, init=False)
class Text:
    """A template and its values. `str()` spells every name as Python does.

    A `{name}` in the template stands for the value of that name. Without such a value, it is the name of a property or a
    setting, which each edge spells in its own way: `rotate_after`, `rotateAfter`, `--rotate-after`.

    Values are texts, next steps, errors, tuples of these, or anything with a `str()`; their own braces stay as they are.
    """

    template: str
    values: tuple[tuple[str, object], ...]

    def __init__(self, template: str, **values: object) -> None:
        object.__setattr__(self, "template", template)
        object.__setattr__(self, "values", tuple(values.items()))

    def worded(self, spell: Callable[[str], str], word: Callable[[object], str]) -> str:
        """The text as it is shown: `spell` spells a name, `word` words a value."""
        values = dict(self.values)
        return _NAME.sub(lambda found: word(values[found[1]]) if found[1] in values else spell(found[1]), self.template)

    def __str__(self) -> str:
        return self.worded(str, lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else str(value))


@dataclass(frozen=True)
class TimeOfDay:
    """A time of day, which each edge shows in its own zone; `str()` is in UTC."""

    moment: datetime

    def __str__(self) -> str:
        return time_text(self.moment)


Words = str | Text
"""A text for users; a `str` names no property and no setting."""


def sentence(text: str) -> str:
    """The text as a sentence: with a capital, if its first word has only letters, and a full stop."""
    if text.partition(" ")[0].isalpha():  # an id or a setting's name keeps its spelling
        text = text[:1].upper() + text[1:]
    return text if not text or text.endswith(".") else f"{text}."
