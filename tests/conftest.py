"""What tests of every folder may ask for: a real PostgreSQL server, one for the run, from the development packages."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tools import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

# Tests start many Python processes. Without compiled files on disk each compiles all that it imports, which doubles its
# time, so they are written whatever the environment says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A script's background job ignores SIGINT, and so does all that it starts. The engine ends its plugins by SIGINT, and would
# wait 5 s for each.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the engine, if several workers share the tests: seconds-long tests at the end leave a worker idle."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("engine") is None)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A server of this machine; without one the tests that need it fail."""
    with postgres.served() as server:
        yield server


@pytest.fixture
def server(postgres_server: postgres.Server, monkeypatch: pytest.MonkeyPatch) -> postgres.Server:
    """The server, with its programs and its password in the environment of the test."""
    for name, value in postgres_server.environment.items():
        monkeypatch.setenv(name, value)
    return postgres_server
