"""What every test of a command starts from: signals end a command, whatever the test run itself ignores."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    """A run under nohup, or in a script's background, passes ignored signals on, and commands rightly leave them ignored."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for each, handler in before.items():
        signal.signal(each, handler)
