"""What only a real process shows: signals, a kill, a closed pipe, a terminal, a locale without UTF-8."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pulumi_snapshots.errors import pip_install
from tests.emulator.served import KEY, Served, served
from tests.support.preloaded import python_of

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
MODULE = ("-W", "error", "-m", "pulumi_snapshots.cli")
PLENTY = ("--cache-world", "invalidated", "--requests-per-minute", "1000")
NOTHING: Mapping[str, str] = MappingProxyType({})
NO_UTF8 = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.fixture(scope="module")
def emulator(forks: dict[str, str]) -> Iterator[Served]:
    options = ("--no-automatic", "--snapshot-seconds", "3", "--soft-deadline", "1", "--database", DATABASE)
    with served(*options, *PLENTY, forks=forks) as one:
        yield one


@pytest.fixture
def environment(emulator: Served, tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "SQUARECLOUD_API_KEY": KEY,
        "SQUARECLOUD_API_URL": emulator.api,
        "SQUARECLOUD_SNAPSHOTS_URL": f"{emulator.url}/files",
        "SQUARECLOUD_REQUESTS_PER_MINUTE": "1000",
        "SQUARECLOUD_FIRST_POLL_AFTER": "0.2s",
        "SQUARECLOUD_POLL_EVERY": "0.2s",
    }


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command, a fork if it is given `forks`; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def one(
        *arguments: str, more: Mapping[str, str] = NOTHING, forks: Mapping[str, str] = NOTHING, **options: Any
    ) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        command = [python_of(forks), *MODULE, *arguments]
        process = subprocess.Popen(command, env={**environment, **forks, **more}, **pipes)  # noqa: S603  a fixed command
        started.append(process)
        return process

    yield one
    for process in started:
        process.kill()
        process.communicate()


def posts(emulator: Served) -> list[str]:
    """The version that each POST has started."""
    return [entry["version_id"] for entry in emulator.control("journal") if entry["kind"] == "create"]


def test_the_next_create_resumes_one_that_was_killed(
    emulator: Served, start: Callable[..., subprocess.Popen[str]], forks: dict[str, str]
) -> None:
    before = len(posts(emulator))
    emulator.control("clock", {"advance": 300})
    process = start("create", DATABASE)
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any("accepted" in line for line in lines)
    process.kill()
    assert process.communicate(timeout=90)[0] == ""
    again = start("create", DATABASE, "--json", forks=forks)
    out, err = again.communicate(timeout=90)
    assert again.returncode == 0, err
    assert json.loads(out)["version_id"] == posts(emulator)[-1]
    assert len(posts(emulator)) == before + 1


@pytest.mark.parametrize(
    ("arguments", "closed"),
    [
        ("list --json", "1>&- 2>&-"),
        ("list --json", ">/dev/full"),
        ("--help", "1>&-"),
        ("--help", ">/dev/full"),
        ("list --frob", "2>&-"),
        ("list --frob", "2>/dev/full"),
    ],
)
def test_closed_or_full_streams_cause_no_traceback(
    environment: dict[str, str], forks: dict[str, str], arguments: str, closed: str
) -> None:
    script = f'"$@" {arguments} {closed}'
    # A fork is given the streams, so they must be there. How Python itself ends with a full one, a real process shows.
    forked = forks if "/dev/full" in closed and arguments != "--help" else NOTHING
    ended = subprocess.run(  # noqa: S603  a fixed command
        ["bash", "-c", script, "bash", python_of(forked), *MODULE],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**environment, **forked},
    )
    no_result = "1>&-" in closed or closed == ">/dev/full"
    usage = arguments == "list --frob"
    assert ended.returncode == (2 if usage else 1 if no_result else 0), ended.stderr
    lines = [line for line in ended.stderr.splitlines() if not line.startswith(("hint: ", "more: "))]
    assert len(lines) == (0 if "2>" in closed else 1 if usage or no_result else 0)
    assert all(line.startswith("Error: ") for line in lines)


def test_a_locale_without_utf8_shows_escaped_characters(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("download", "größe", "--output", "x", more=NO_UTF8)
    out, err = process.communicate(timeout=90)
    assert (process.returncode, out) == (2, "")
    assert "not 'gr\\xf6\\xdfe'" in err.encode().decode("ascii").replace("\\udcc3\\udcb6", "\\xf6").replace(
        "\\udcc3\\udc9f", "\\xdf"
    )


@pytest.mark.parametrize("more", [{}, NO_UTF8], ids=["UTF-8", "ASCII"])
def test_a_narrow_terminal_shows_one_live_line(
    emulator: Served, start: Callable[..., subprocess.Popen[str]], forks: dict[str, str], more: dict[str, str]
) -> None:
    emulator.control("clock", {"advance": 300})
    ours, theirs = pty.openpty()
    process = start("create", DATABASE, more={"COLUMNS": "25", **more}, forks=forks, stderr=theirs, stdin=theirs)
    os.close(theirs)
    seen = b""
    while piece := _read(ours):
        seen += piece
    os.close(ours)
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 0, seen
    assert posts(emulator)[-1] in out
    lines = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", seen).replace(b"\r", b"\n").decode().split("\n")
    assert any("sent" in line for line in lines)
    assert max(len(line) for line in lines if not line.startswith("hint: ")) <= 25
    assert "Traceback" not in seen.decode()
    assert more == {} or seen.isascii()


def _read(terminal: int) -> bytes:
    """What is written to it; nothing once it is closed."""
    try:
        return os.read(terminal, 1024)
    except OSError:
        return b""


INTERRUPTS = """
import signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "pulumi_snapshots.cli.commands":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
from pulumi_snapshots.cli.__main__ import main
sys.exit(main())
"""


def test_an_interrupt_while_modules_load_is_one_line(environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", INTERRUPTS, "create", DATABASE]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=environment)  # noqa: S603
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "Error: interrupted before anything was sent.\n"


def test_a_missing_extra_is_named_with_how_to_install_it(environment: dict[str, str]) -> None:
    program = "import sys; sys.modules['rich'] = None\nfrom pulumi_snapshots.cli.__main__ import main\nsys.exit(main())"
    ended = subprocess.run(  # noqa: S603  a fixed command
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=90, check=False, env=environment
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"Error: rich is missing; install it with: {pip_install('cli')}\n"
    assert "/path/to" not in ended.stderr, "the clone of this installation is known"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(
    start: Callable[..., subprocess.Popen[str]], forks: dict[str, str], shell: str
) -> None:
    script, _ = start("completion", shell, forks=forks).communicate(timeout=90)
    variable, asked = re.findall(rf"(_\w+_COMPLETE)=({shell}_complete)", script)[0]
    for typed, offered in (("cr", "create"), ("create --re", "--reuse-within")):
        words = f"squarecloud-snapshots {typed}"
        # fish gives the word itself, the others its index.
        current = words.rsplit(maxsplit=1)[-1] if shell == "fish" else str(len(words.split()) - 1)
        completing = {variable: asked, "COMP_WORDS": words, "COMP_CWORD": current}
        out, err = start(more=completing, forks=forks).communicate(timeout=90)
        assert re.findall(r"^(?:plain[,\n])([\w-]+)", out, re.MULTILINE) == [offered], err
