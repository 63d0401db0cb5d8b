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


@contextmanager
def quick_emulator(*databases: str) -> Iterator[Service]:
    """A service with these databases, whose snapshots take a moment and are listed at once."""
    quick = ("--snapshot-seconds", "0.1", "--cache-world", "invalidated")
    wanted = [each for name in databases for each in ("--database", name)]
    with near_emulator(*wanted, *quick, "--no-automatic") as emulator:
        yield emulator
