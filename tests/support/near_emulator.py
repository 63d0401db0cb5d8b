"""The service in a thread of the test's own process: there at once, where another process takes half a second to start."""

from collections.abc import Iterator
from contextlib import contextmanager

from squarecloud_emulator.nearby import nearby
from tools.sandbox import Service


@contextmanager
def near_emulator(*arguments: str) -> Iterator[Service]:
    """A service with these options of the emulator's command, with a key of its own, and without automatic snapshots."""
    with nearby(*arguments) as emulator:
        yield Service(
            emulator.base_url,
            emulator.api_url,
            emulator.snapshots_url,
            emulator.settings.api_key,
        )
