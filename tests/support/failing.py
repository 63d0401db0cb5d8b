"""Expecting an error by the text that a user reads."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import ProviderError


def flat(text: str) -> str:
    """The lines of an error as one paragraph, without what marks its next steps."""
    return text.replace("\nhint: ", " ").replace("\n", " ")


@contextmanager
def fails_with(kind: type[ProviderError], words: str) -> Iterator[None]:
    with pytest.raises(kind) as caught:
        yield
    text = flat(PYTHON.error_text(caught.value))
    assert re.search(words, text), text
