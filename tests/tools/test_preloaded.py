"""A fork of a Python that has loaded its libraries already must be like a Python that was started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.preloaded import preloaded, real, unforked

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN = """
import os, sys
from pulumi_snapshots.attempt.process import parent_of
print(sys.argv, os.getcwd(), os.environ["SHOWN"], __name__, sys.path[0], "pulumi" in sys.modules)
print(os.getppid() == parent_of(os.getpid()) == {parent}, os.getpgrp(), file=sys.stderr)
print(sys.stdin.read())
sys.exit({status})
"""


@pytest.fixture(scope="module")
def forking() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder, preloaded(Path(folder)) as found:
        yield {**os.environ, **found}


def run(environment: dict[str, str], *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [environment["PULUMI_PYTHON_CMD"], *arguments]
    return subprocess.run(  # noqa: S603
        command, cwd=folder, env=environment, input="told", capture_output=True, text=True, check=False
    )


def test_a_fork_is_what_was_started(tmp_path: Path, forking: dict[str, str]) -> None:
    (tmp_path / "shown.py").write_text(SHOWN.format(parent=os.getpid(), status=7))
    environment = {**forking, "SHOWN": "seen"}
    for arguments, name in (
        (("-u", "shown.py", "one"), "shown.py"),
        (("-u", "-m", "shown", "one"), tmp_path / "shown.py"),
    ):
        forked = run(environment, *arguments, folder=tmp_path)
        started = run(unforked(environment), *arguments, folder=tmp_path)
        assert started.stdout.startswith(f"{[str(name), 'one']} {tmp_path} seen __main__ {tmp_path} False\n")
        assert forked.stdout == started.stdout.replace("False", "True")
        assert forked.stderr == started.stderr == f"True {os.getpgrp()}\n"
        assert forked.returncode == started.returncode == 7


def test_an_error_and_a_signal_end_it_alike(tmp_path: Path, forking: dict[str, str]) -> None:
    (tmp_path / "failing.py").write_text("raise RuntimeError('seen')")
    assert run(forking, "failing.py", folder=tmp_path).returncode == 1
    assert "RuntimeError: seen" in run(forking, "failing.py", folder=tmp_path).stderr
    (tmp_path / "killed.py").write_text("import os; os.kill(os.getpid(), 9)")
    assert run(forking, "killed.py", folder=tmp_path).returncode == -9


@pytest.mark.parametrize("whole_group", [True, False])
def test_a_fork_ends_with_its_command(tmp_path: Path, forking: dict[str, str], *, whole_group: bool) -> None:
    """The engine interrupts a provider's group, and kills a program alone."""
    (tmp_path / "waiting.py").write_text(
        "import signal, sys\ntry:\n    print('waits', flush=True)\n    signal.pause()\nexcept KeyboardInterrupt:\n    sys.exit(3)\n"
    )
    command = [forking["PULUMI_PYTHON_CMD"], "waiting.py"]
    with subprocess.Popen(  # noqa: S603
        command, cwd=tmp_path, env=forking, stdout=subprocess.PIPE, process_group=0
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waits\n"
        if whole_group:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.kill()
        assert process.stdout.read() == b"", "the fork has closed its streams"
    assert process.returncode == (3 if whole_group else -9)


def test_other_python_variables_start_a_real_one(tmp_path: Path, forking: dict[str, str]) -> None:
    told = ("-c", "import sys; print('pulumi' in sys.modules)")
    assert run({**forking, "PYTHONPATH": str(tmp_path)}, *told, folder=tmp_path).stdout == "False\n"


def test_what_the_engine_asks_about_is_answered_at_once(tmp_path: Path, forking: dict[str, str]) -> None:
    assert run(forking, "--version", folder=tmp_path).stdout == f"Python {sys.version.split()[0]}\n"
    assert (
        '"name": "pulumi-snapshots"'
        in run(forking, "-m", "pip", "list", "-v", "--format", "json", folder=tmp_path).stdout
    )


def test_an_engine_that_finds_python_by_itself_finds_a_real_one(forking: dict[str, str]) -> None:
    folder = str(Path(forking["PULUMI_PYTHON_CMD"]).parent)
    found = real({**forking, "PATH": f"{folder}:/usr/bin"})
    assert found["PATH"] == "/usr/bin"
    assert not found.keys() & {"PULUMI_PYTHON_CMD", "TESTS_PRELOADED"}
