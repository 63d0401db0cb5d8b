from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.engine.stage import DATABASE, OTHER_DATABASE, App
from tests.support.near_emulator import near_emulator
from tests.support.servicer import PLENTY
from tools.engine import ensure
from tools.sandbox import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A snapshot is there after 0.1 s unless a test makes it slow; then the service answers 202 at once. The service's clock is
# two hours behind, so what it has made is old to a client that asks nobody, and no cooldown costs real time.
SERVICE = ("--clock-offset", "-7200", "--snapshot-seconds", "0.1", "--soft-deadline", "0.3", "--no-automatic",
           "--cache-world", "invalidated", "--requests-per-minute", "10000", "--database", DATABASE, "--database", f"{OTHER_DATABASE}:redis")  # fmt: skip
PACE = {**PLENTY, "SQUARECLOUD_FIRST_LOOK_AFTER": "0.2s", "SQUARECLOUD_LOOK_EVERY": "0.3s"}
PASSPHRASE = "a passphrase"


def _environment() -> dict[str, str]:
    return {"PULUMI_STACK": "dev", "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE}


@pytest.fixture(scope="session")
def engine() -> Path:
    return ensure(os.environ)


LISTED = """
import runpy, sys

ASKED, ANSWER = {asked!r}, {answer!r}
if sys.argv[1:] == ASKED:
    print(ANSWER)
else:
    del sys.modules["pip"]
    sys.path.remove({folder!r})
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""

# Python loads this before anything else. The HTTP client loads both modules if they are installed; a provider needs neither.
LEAN = """
import sys

if "pulumi.dynamic" in sys.orig_argv or any("pulumi-resource-squarecloud" in each for each in sys.orig_argv):
    sys.modules.update({"httpx._main": None, "trio": None})
"""


@pytest.fixture(scope="session")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with a pip that remembers its answer to what the engine asks before each command.

    It asks which packages bring a plugin, and the answer takes a fifth of a command's time. Tests that install something
    do without it. A provider does without what only this environment has, and its users do not.
    """
    folder = tmp_path_factory.mktemp("listed")
    asked = ["list", "-v", "--format", "json"]
    answer = subprocess.run([sys.executable, "-m", "pip", *asked], capture_output=True, text=True, check=True).stdout  # noqa: S603
    (folder / "pip").mkdir()
    (folder / "pip" / "__init__.py").touch()
    (folder / "pip" / "__main__.py").write_text(LISTED.format(asked=asked, answer=answer, folder=str(folder)))
    (folder / "sitecustomize.py").write_text(LEAN)
    return folder


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory, engine: Path) -> Path:
    """A folder with a new project and its empty stack, to be copied: making a stack takes longer than that."""
    folder = tmp_path_factory.mktemp("fresh")
    project = folder / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: app\nruntime: python\n")
    Stack(folder, project, engine, _environment()).run("stack", "init", "dev")
    return folder


@pytest.fixture
def service() -> tuple[str, ...]:
    """More options of the emulator; a file of tests may have its own."""
    return ()


@contextmanager
def staged(folder: Path, fresh: Path, engine: Path, listed: Path, service: tuple[str, ...]) -> Iterator[App]:
    """An app in a folder of its own, with a service of its own."""
    shutil.copytree(fresh / "project", folder / "project")
    with near_emulator(*SERVICE, *service) as emulator:
        stack = Stack(folder, folder / "project", engine, {**_environment(), **emulator.environment, **PACE})
        stack.environment["PYTHONPATH"] = str(listed)
        shutil.copytree(fresh / "backend", folder / "backend", dirs_exist_ok=True)
        staged = App(folder, stack, emulator)
        yield staged
        for command in staged.commands:
            command.end_family()
            command.process.wait()


@pytest.fixture
def app(tmp_path: Path, fresh: Path, engine: Path, listed: Path, service: tuple[str, ...]) -> Iterator[App]:
    with staged(tmp_path, fresh, engine, listed, service) as one:
        yield one


@pytest.fixture
def both_apps(
    tmp_path: Path, fresh: Path, engine: Path, listed: Path, service: tuple[str, ...]
) -> Iterator[tuple[App, App]]:
    """One whose programs use the dynamic provider, and one whose programs use the plugin."""
    folders = tmp_path / "dynamic", tmp_path / "plugin"
    for folder in folders:
        folder.mkdir()
    with (
        staged(folders[0], fresh, engine, listed, service) as one,
        staged(folders[1], fresh, engine, listed, service) as other,
    ):
        yield one, other
