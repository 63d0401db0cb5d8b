"""What a user reads of an error that a test expects."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pulumi_snapshots.engine.wording import PYTHON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_snapshots.errors.explained import Explained

__all__ = ["telling"]


@contextmanager
def telling(kind: type[Explained], words: str) -> Iterator[None]:
    """The body fails with such an error, whose text in programs has these words, a pattern; its next steps included."""
    with pytest.raises(kind) as caught:
        yield
    told = PYTHON.told(caught.value)
    assert re.search(words, told), told
