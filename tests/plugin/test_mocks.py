"""A user's program is tested with Pulumi's own mocks or with the emulator, without a key, an engine or the network."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
MOCKED = Path(__file__).with_name("programs") / "mocked.py"
LOADED = "import sys, {}; print([name for name in sys.modules if name.startswith(('httpx', 'starlette', 'pulumi.', 'uvicorn'))])"
WITH_EMULATOR = """
import subprocess, sys
import pytest

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"

@pytest.mark.squarecloud_emulator("--database", DATABASE, "--snapshot-seconds", "0.1")
def test_a_command_takes_one_snapshot(squarecloud_emulator):
    command = [sys.executable, "-m", "pulumi_snapshots.cli", "create", DATABASE]
    subprocess.run(command, check=True)
    assert [entry.kind for entry in squarecloud_emulator.journal].count("create") == 1

def test_another_test_has_another_service(squarecloud_emulator):
    assert not squarecloud_emulator.databases
    assert squarecloud_emulator.journal == []

def test_a_test_without_it_has_no_key():
    import os
    assert "SQUARECLOUD_API_KEY" not in os.environ
"""

DRILLED = """
import asyncio
from itertools import count
from pulumi_snapshots import Drill

NUMBERS = count(100)


async def later(value, turns):
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


def written(id_):
    return id_


def found(id_, turns=0):
    return pulumi.Output.from_input(later(id_, turns))


def late(id_):
    return found(id_, 200)


def guard(name, id_):
    Guard(name, id_, timeout="600")


def is_registered(scratch, guarded, other="", uses=guard):
    number = next(NUMBERS)
    name, id_ = f"weekly{number}", f"{number:x}a" + "b" * 28

    @pulumi.runtime.test
    def program():
        Drill(name, database_id="c" * 32, version_id="v", scratch_database_id=scratch(id_), overwrite_scratch=True,
              connection="postgresql://x.invalid/x", checks=[{"query": "select 1", "equals": 1}])
        uses(f"shop{number}", guarded((other + id_).upper()))

    try:
        program()
    except pulumi.RunError as refused:
        assert f" 'shop{number}' uses it too" in str(refused)
        assert "must be used for drills only, but " in str(refused)
    return name in MADE


def test_a_drill_of_a_database_in_use_is_not_registered():
    for scratch in (written, found, late):
        for guarded in (written, found, late):
            assert not is_registered(scratch, guarded), (scratch, guarded)


def test_what_another_resource_is_about_is_not_drilled_onto():
    def restores(name, id_):
        Restore(name, database_id="c" * 32, version_id="v", target_database_id=id_, overwrite=True)

    for uses in (Snapshot, restores):
        assert not is_registered(written, written, uses=uses)


def test_a_drill_of_another_database_is_registered():
    for scratch in (written, found):
        for guarded in (written, late):
            assert is_registered(scratch, guarded, "d"), (scratch, guarded)
"""


def pytest_on(file: Path, *options: str, **environment: str) -> None:
    """Run a user's tests as a user does, without our own settings."""
    usual = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SQUARECLOUD_", "PYTEST_"))
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        os.devnull,
        "-p",
        "no:cacheprovider",
        *options,
        str(file),
    ]
    own = {**usual, **environment, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(  # noqa: S603  this very interpreter
        command,
        env=own,
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["pulumi_snapshots", "pulumi_snapshots.plugin"])
def test_a_program_is_tested_with_pulumis_mocks_alone(
    package: str, tmp_path: Path
) -> None:
    file = tmp_path / "test_program.py"
    text = MOCKED.read_text() + DRILLED
    file.write_text(
        re.sub(r"from pulumi_snapshots import", f"from {package} import", text)
    )
    # A request would end at this address, and a wait for it with the test's time.
    pytest_on(
        file,
        SQUARECLOUD_API_KEY="k",
        SQUARECLOUD_API_URL="http://127.0.0.1:9",
        XDG_STATE_HOME=str(tmp_path),
    )
    assert list(tmp_path.glob("pulumi-snapshots*")) == []


def test_a_user_s_test_has_an_emulator_by_a_fixture(tmp_path: Path) -> None:
    file = tmp_path / "test_release.py"
    file.write_text(WITH_EMULATOR)
    pytest_on(file, "--strict-markers")


def test_pytest_finds_the_fixture_and_loads_nothing_for_it() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    told = subprocess.run(  # noqa: S603  this very interpreter
        [sys.executable, "-c", LOADED.format(module)],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
    )
    assert told.stdout.strip() == "[]"
