"""A fork of a Python that has loaded its libraries already must be like a Python that was started."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.preloaded import python_of, unforked

SHOWN = """
import os, sys
print(sys.argv, os.getcwd(), os.environ["SHOWN"], __name__, sys.path[0], "pulumi" in sys.modules)
print(os.getppid() == {parent}, os.getpgrp(), file=sys.stderr)
print(sys.stdin.read())
sys.exit({status})
"""


@pytest.fixture
def forking(forks: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **forks}


def run(
    environment: dict[str, str], *arguments: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    options: dict[str, Any] = {
        "input": "told",
        "capture_output": True,
        "text": True,
        "check": False,
    }
    return subprocess.run(  # noqa: PLW1510, S603
        [python_of(environment), *arguments], cwd=folder, env=environment, **options
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
        assert started.stdout.startswith(
            f"{[str(name), 'one']} {tmp_path} seen __main__ {tmp_path} False\n"
        )
        assert forked.stdout == started.stdout.replace("False", "True")
        assert forked.stderr == started.stderr == f"True {os.getpgrp()}\n"
        assert forked.returncode == started.returncode == 7


def test_an_error_and_a_signal_end_it_alike(
    tmp_path: Path, forking: dict[str, str]
) -> None:
    (tmp_path / "failing.py").write_text("raise RuntimeError('seen')")
    failed = run(forking, "failing.py", folder=tmp_path)
    assert (failed.returncode, "RuntimeError: seen" in failed.stderr) == (1, True)
    (tmp_path / "killed.py").write_text("import os; os.kill(os.getpid(), 9)")
    assert run(forking, "killed.py", folder=tmp_path).returncode == -9


WAITING = """
import os, sys, time
try:
    print(os.getsid(0), flush=True)
    while True:
        time.sleep(0.1)  # a signal just before a longer wait would not end it
except KeyboardInterrupt:
    sys.exit(3)
"""


@pytest.mark.parametrize(
    ("kind", "whole_group"),
    [
        ({"process_group": 0}, True),
        ({"process_group": 0}, False),
        ({"start_new_session": True}, False),
    ],
    ids=str,
)
def test_a_fork_ends_with_its_command(
    tmp_path: Path, forking: dict[str, str], kind: dict[str, Any], *, whole_group: bool
) -> None:
    """The engine interrupts a provider's group, and kills a program alone; other tests give a provider a session of its own."""
    (tmp_path / "waiting.py").write_text(WAITING)
    command = [python_of(forking), "waiting.py"]
    with subprocess.Popen(  # noqa: S603
        command, cwd=tmp_path, env=forking, stdout=subprocess.PIPE, **kind
    ) as process:
        assert process.stdout is not None
        assert (int(process.stdout.readline()) == os.getsid(0)) == (
            "process_group" in kind
        )
        if whole_group:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.kill()
        assert process.stdout.read() == b"", "the fork has closed its streams"
    assert process.returncode == (3 if whole_group else -9)


def test_other_python_variables_start_a_real_one(
    tmp_path: Path, forking: dict[str, str]
) -> None:
    told = ("-c", "import sys; print('pulumi' in sys.modules)")
    assert (
        run({**forking, "PYTHONPATH": str(tmp_path)}, *told, folder=tmp_path).stdout
        == "False\n"
    )
