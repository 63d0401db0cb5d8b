"""What the tests of the resources' calls share: a provider's process by each way to the engine, and a service of the module.

A module says with `KIND` which resource it is about, with `SERVICE` how its service is, and with `PACE` how often it polls.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pulumi_snapshots.dynamic import provider
from pulumi_snapshots.resources import RESOURCES
from tests.support.near_emulator import near_emulator
from tests.support.plugin_servicer import ADAPTERS
from tests.support.servicer import NO_KEY, Servicer, urn
from tools.sandbox import Service

Serve = Callable[..., Servicer]
PROVIDERS = {kind: getattr(provider, f"{kind}Provider")() for kind in RESOURCES}
NAMES = {kind: urn("x", f"squarecloud:index:{kind}") for kind in PROVIDERS}
DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
OTHER = "b25c9e6f2dc8516b962fc5d186617232"
SERVICE = (
    "--no-automatic",
    "--cache-world",
    "invalidated",
    "--requests-per-minute",
    "10000",
)
_numbers = count(1)


@pytest.fixture(scope="module", params=ADAPTERS)
def serve(request: pytest.FixtureRequest, forks: dict[str, str]) -> Serve:
    """Starts a provider, by each way to the engine."""
    return partial(ADAPTERS[request.param], PROVIDERS[request.module.KIND], forks=forks)


@pytest.fixture(scope="module")
def emulator(request: pytest.FixtureRequest) -> Iterator[Service]:
    with near_emulator(*SERVICE, *request.module.SERVICE) as running:
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


@dataclass
class Place:
    """A database of its own at the service, a provider's process, and the URN of a resource."""

    emulator: Service
    servicer: Servicer
    database: str
    name: str

    def requests(self, *kinds: str) -> list[dict[str, Any]]:
        """Those about the database; of some kinds only, if any is given."""
        mine = [
            one
            for one in self.emulator.journal()
            if one["database_id"] == self.database
        ]
        return [one for one in mine if not kinds or one["kind"] in kinds]

    def fault(self, kind: str, **effect: Any) -> None:
        self.emulator.control(
            "faults", {"kind": kind, "database_id": self.database, **effect}
        )

    def waits(self, text: str) -> None:
        """Wait until the resource's row shows that."""
        self.servicer.wait_for(
            lambda: any(text in shown for shown in self.servicer.progress(self.name)),
            text,
        )


@contextmanager
def placed(module: Any, serve: Serve, emulator: Service, **how: Any) -> Iterator[Place]:
    emulator.control("faults", method="DELETE")
    # the cooldowns of the test before are over
    emulator.control("clock", {"advance": 200})
    database = str(
        emulator.control("databases", {"id": f"{next(_numbers):032x}"})["id"]
    )
    with serve(env={**emulator.environment, **module.PACE}, **how) as servicer:
        yield Place(emulator, servicer, database, NAMES[module.KIND])


@pytest.fixture
def place(
    request: pytest.FixtureRequest, serve: Serve, emulator: Service
) -> Iterator[Place]:
    with placed(request.module, serve, emulator) as one:
        yield one


@pytest.fixture
def started_place(
    request: pytest.FixtureRequest, serve: Serve, emulator: Service
) -> Iterator[Place]:
    """One whose process was really started."""
    with placed(request.module, serve, emulator, forks={}) as one:
        yield one
