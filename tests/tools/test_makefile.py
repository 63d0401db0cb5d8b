import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.machine import without

PROJECT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None, reason=without("make", "it is not on PATH")
)


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        key: text
        for key, text in os.environ.items()
        if key not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(  # noqa: S603
        command, cwd=PROJECT, env=inherited, capture_output=True, text=True, check=False
    )


def test_help_is_the_default_and_lists_every_target() -> None:
    phony = re.search(
        r"^\.PHONY: (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE
    )
    assert phony
    listed = [line.split()[1] for line in make().stdout.splitlines()]
    assert sorted(listed) == sorted(phony[1].split())
    assert {"help", "demo", "test", "lint", "unit", "engine", "bench", "clean"} <= set(
        listed
    )


def test_missing_python_names_the_way_out() -> None:
    result = make("environment", "PYTHON=/no/such/python")
    assert result.returncode == 2
    assert "make PYTHON=" in result.stderr
