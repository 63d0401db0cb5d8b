"""What the tests of each resource's calls share: a provider process, by each way to the engine, and a service of the module.

A module says which resource it is about with `PROVIDER`, and how its service is with `SERVICE`, the emulator's options.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.near_emulator import near_emulator
from tests.support.plugin_servicer import ADAPTERS
from tests.support.servicer import NO_KEY, Servicer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.sandbox import Service

Serve = Callable[..., Servicer]


@pytest.fixture(scope="module", params=ADAPTERS)
def serve(request: pytest.FixtureRequest, forks: dict[str, str]) -> Serve:
    """Starts a provider, by each way to the engine."""
    return partial(ADAPTERS[request.param], request.module.PROVIDER, forks=forks)


@pytest.fixture(scope="module")
def emulator(request: pytest.FixtureRequest) -> Iterator[Service]:
    with near_emulator(*request.module.SERVICE) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a provider remembers on this machine stays in the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def idle(serve: Serve) -> Iterator[Servicer]:
    """A provider that has no key and no service, and needs none."""
    with serve(env=NO_KEY) as servicer:
        yield servicer
