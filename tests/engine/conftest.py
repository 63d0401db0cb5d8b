import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.stage import DATABASE, OTHER_DATABASE, PROVIDER, App, secret_keys
from tests.support.near_emulator import near_emulator
from tests.support.preloaded import commands_of
from tests.support.servicer import PLENTY
from tools.engine import ensure
from tools.sandbox import Stack

# A snapshot is there after 0.1 s unless a test makes it slow; then the service answers 202 at once. The service's clock is
# two hours behind, so what it has made is old to a client that asks nobody, and no cooldown costs real time.
SERVICE = ("--clock-offset", "-7200", "--snapshot-seconds", "0.1", "--soft-deadline", "0.3", "--no-automatic",
           "--cache-world", "invalidated", "--requests-per-minute", "10000", "--database", DATABASE, "--database", f"{OTHER_DATABASE}:redis")  # fmt: skip
# A command of Go's ends before it needs memory back; collecting it takes a third of the time of the shortest ones.
NO_COLLECTION = {"GOGC": "off", "GOMEMLIMIT": "1GiB"}
PACE = {
    **PLENTY,
    "SQUARECLOUD_FIRST_POLL_AFTER": "0.2s",
    "SQUARECLOUD_POLL_EVERY": "0.3s",
}


@pytest.fixture(scope="session")
def engine() -> Path:
    return ensure(os.environ)


@pytest.fixture(scope="session")
def quick(forks: dict[str, str]) -> Iterator[dict[str, str]]:
    """What every engine of the tests has in its environment, so that most of a command's time is the test's own."""
    with secret_keys() as keys:
        yield {**forks, **keys, **NO_COLLECTION, "PULUMI_STACK": "dev"}


@pytest.fixture(scope="session")
def fresh(
    tmp_path_factory: pytest.TempPathFactory, engine: Path, quick: dict[str, str]
) -> Path:
    """A folder with a new project and its empty stack, to be copied: making a stack takes longer than that."""
    folder = tmp_path_factory.mktemp("fresh")
    project = folder / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: app\nruntime: python\n")
    Stack(folder, project, engine, quick).run("stack", "init", "dev", PROVIDER)
    return folder


@pytest.fixture
def service() -> tuple[str, ...]:
    """More options of the emulator; a file of tests may have its own."""
    return ()


@pytest.fixture
def app(
    tmp_path: Path,
    fresh: Path,
    engine: Path,
    quick: dict[str, str],
    service: tuple[str, ...],
) -> Iterator[App]:
    """An app in a folder of its own, with a service of its own."""
    shutil.copytree(fresh / "project", tmp_path / "project")
    with near_emulator(*SERVICE, *service) as emulator:
        stack = Stack(
            tmp_path,
            tmp_path / "project",
            engine,
            {**quick, **emulator.environment, **PACE},
        )
        stack.environment["PATH"] = os.pathsep.join(
            [commands_of(quick), stack.environment["PATH"]]
        )
        shutil.copytree(fresh / "backend", tmp_path / "backend", dirs_exist_ok=True)
        staged = App(tmp_path, stack, emulator)
        yield staged
        for command in staged.commands:
            command.end_family()
            command.process.wait()
