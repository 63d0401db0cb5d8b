"""What the tests need is made at the same time: what fails says so last, and nothing goes on behind a user's back."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.tools.test_engine import script
from tests.tools.test_makefile import PROJECT
from tools import prepare

if TYPE_CHECKING:
    from pathlib import Path

ENDLESS = "sleep 600 & echo $! >{0}; wait"
"""Starts another program, as compilers are started, and says which."""


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for programs in place of the parts: `environment`, `engine`, `clients` at once, `sdks` after the first."""
    monkeypatch.setattr(prepare, "PROJECT", tmp_path)
    monkeypatch.setattr(prepare, "PYTHON", "/bin/sh")
    monkeypatch.setattr(prepare, "ENVIRONMENT", ("environment",))
    monkeypatch.setattr(prepare, "STANDARD_LIBRARY", {name: (name,) for name in ("engine", "clients")})
    monkeypatch.setattr(prepare, "WITH_PACKAGES", {"sdks": ("sdks",)})
    monkeypatch.setattr(prepare, "FIRST_PYTHON", "/bin/sh")
    for name in ("environment", "engine", "clients", "sdks"):
        script(tmp_path / name, f"echo {name} >&2")
    return tmp_path


def ended(process: Path) -> bool:
    """Whether a process is gone, or only waits for its parent to notice."""
    status = subprocess.run(  # noqa: S603
        ["ps", "-o", "stat=", "-p", process.read_text().strip()],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return status.stdout.strip()[:1] in {"", "Z"}


def test_parts_are_made_beside_each_other_and_packages_first(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The engine needs the clients, and those `.venv`'s: neither would end if they were made one after another.
    script(parts / "engine", f"until [ -e {parts}/clients-made ]; do :; done; touch {parts}/engine-made")
    script(parts / "clients", f"until [ -e {parts}/environment-begun ]; do :; done; touch {parts}/clients-made")
    script(
        parts / "environment",
        f"touch {parts}/environment-begun; until [ -e {parts}/engine-made ]; do :; done; touch {parts}/packages",
    )
    script(parts / "sdks", f"[ -e {parts}/packages ] && echo sdks: made >&2")
    assert prepare.prepare(["engine", "sdks", "clients"]) == 0
    assert capsys.readouterr().err == "sdks: made\n"


@pytest.mark.parametrize("failing", ["environment", "engine"])
def test_the_first_failure_ends_the_others_and_is_the_last_text(
    parts: Path, capsys: pytest.CaptureFixture[str], failing: str
) -> None:
    script(parts / "clients", f"echo clients: compiling >&2; {ENDLESS.format(parts / 'pid')}")
    script(parts / failing, f"until [ -s {parts}/pid ]; do :; done; echo 'no Go here' >&2; exit 3")
    assert prepare.prepare(["engine", "clients", "sdks"]) == 1
    said = capsys.readouterr().err
    assert said.endswith("prepare: failed; what it said:\nno Go here\n")
    assert "clients: compiling\n" in said
    assert ended(parts / "pid")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_that_was_started(parts: Path, number: signal.Signals) -> None:
    script(parts / "engine", f"echo begun >&2; {ENDLESS.format(parts / 'pid')}")
    script(parts / "clients", f"until [ -s {parts}/pid ]; do :; done; kill -{number.value} $PPID; wait")
    program = f"""
import sys
from tools import prepare
prepare.PROJECT, prepare.ENVIRONMENT = {str(parts)!r}, ("environment",)
prepare.STANDARD_LIBRARY = {{"engine": ("engine",), "clients": ("clients",)}}
prepare.FIRST_PYTHON = "/bin/sh"
sys.exit(prepare.main(["engine", "clients"]))
"""
    ending = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=PROJECT
    )
    assert ending.returncode == 130
    assert ending.stderr.endswith("prepare: stopped; the next run resumes\n")
    assert "Traceback" not in ending.stderr
    assert ended(parts / "pid")
