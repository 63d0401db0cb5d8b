"""`guard` in real processes: the terminal, signals and exit code of its command, and the pages that show it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.near_emulator import quick_emulator
from tools.sandbox import Service

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "howto" / "before-a-migration.md").read_text()
DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
OTHER = "b25c9e6f2dc8516b962fc5d186617232"
GUARD = (
    sys.executable,
    "-m",
    "pulumi_snapshots.cli",
    "guard",
    DATABASE,
    "--",
    "sh",
    "-c",
)
TERMINAL = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""
"""Gives a command a terminal, on which this process's input is typed."""
READS = "while ! read a; do :; done; echo $a; exit 4"
"""Ends by the line that it reads, and by no signal that it has a trap for."""


@pytest.fixture
def service() -> Iterator[Service]:
    with quick_emulator(DATABASE, OTHER) as emulator:
        yield emulator


@pytest.fixture
def environment(service: Service, tmp_path: Path) -> dict[str, str]:
    own = {"HOME": str(tmp_path), "SQUARECLOUD_STATE_DIR": str(tmp_path / "state")}
    return {"PATH": "/usr/bin:/bin", **own, **service.environment}


Starts = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def starts(environment: dict[str, str]) -> Iterator[Starts]:
    """Starts a command, whose output and errors are one stream."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603  a fixed command
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for each in started:
        each.kill()
        each.communicate()


def until(process: subprocess.Popen[str], line: str) -> str:
    """What a process prints until a line comes."""
    assert process.stdout is not None
    seen = ""
    for each in process.stdout:
        seen += each
        if line in each:
            return seen
    raise AssertionError(seen)


def types(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.flush()


@pytest.mark.parametrize(
    ("line", "code"),
    [("exit 3", 3), ("kill -KILL $$", 137), ("kill -INT $$", 130), ("exit 0", 0)],
)
def test_the_exit_code_is_the_commands(starts: Starts, line: str, code: int) -> None:
    process = starts(*GUARD, line)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == code, printed
    assert ("run of sh has failed, guarded by" in printed) is (code != 0)


def test_the_command_reads_and_writes_the_same_terminal_and_gets_each_interrupt_once(
    starts: Starts,
) -> None:
    asks = 'trap "echo heard" INT; test -t 0 && test -t 1 && test -t 2 && echo ready;'
    process = starts(sys.executable, "-c", TERMINAL, *GUARD, f"{asks} {READS}")
    until(process, "ready")
    for _ in range(2):
        types(process, "\x03")
        until(process, "heard")
    types(process, "end\n")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 4, printed
    assert "heard" not in printed
    assert printed.count("end") == 2, "once by the terminal, and once by the command"
    assert "run of sh has failed" in printed


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_no_terminal_sends_is_handed_on(
    starts: Starts, by: signal.Signals
) -> None:
    process = starts(*GUARD, f'trap "echo heard" INT TERM HUP; echo ready; {READS}')
    until(process, "ready")
    for _ in range(2):
        process.send_signal(by)
        until(process, "heard")
    types(process, "end\n")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 4, printed
    assert printed.startswith("end\n")


def test_a_command_that_forks_ends_when_it_ends_itself(
    starts: Starts, tmp_path: Path
) -> None:
    process = starts(
        *GUARD, f"sleep 300 >/dev/null 2>&1 & echo $! >{tmp_path}/forked; exit 6"
    )
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 6, printed
    os.kill(int((tmp_path / "forked").read_text()), signal.SIGKILL)  # it lives


def test_a_file_that_is_no_program_is_said_not_to_have_run(
    starts: Starts, tmp_path: Path, service: Service
) -> None:
    broken = tmp_path / "migrate"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    process = starts(*GUARD[:-2], str(broken), "--password=hunter2")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 125, printed
    assert (
        "Error: The run of migrate could not begin: Exec format error.\nNothing was run."
        in printed
    )
    assert "hunter2" not in printed
    assert [each["kind"] for each in service.journal()].count("create") == 1


# The page -----------------------------------------------------------------------------------------

STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*, $SQUARECLOUD_GUARDED_BY, key: ${SQUARECLOUD_API_KEY:+yes}" >>"$HOME/ran"
exit $(cat "$HOME/code")
"""
"""What stands for a tool that is not on this machine: it writes down how it was run."""
BLOCKS = dict(
    re.findall(r"^## (.+?)\n.*?^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
)
TOOLS = {
    "Alembic": "alembic upgrade head",
    "Prisma": "npx prisma migrate deploy",
    "Flyway": "flyway migrate",
    "`squarecloud commit`": "squarecloud commit my-app --restart",
    "Several commands, several databases": "alembic upgrade head",
}


def test_the_page_has_a_block_for_each_tool() -> None:
    assert BLOCKS.keys() == TOOLS.keys()
    assert PAGE.count("```sh\n") == len(TOOLS)


@pytest.mark.parametrize("code", [0, 9])
@pytest.mark.parametrize("tool", TOOLS)
def test_a_block_of_the_page_runs_the_tool_after_a_snapshot(
    environment: dict[str, str], service: Service, tmp_path: Path, tool: str, code: int
) -> None:
    """With stand-ins for the tools, none of which is here."""
    folder = _stand_ins(tmp_path, code)
    variables = {
        "DATABASE_ID": DATABASE,
        "OTHER_DATABASE_ID": OTHER,
        "APP_ID": "my-app",
    }
    path = {"PATH": f"{folder}:{environment['PATH']}"}
    ended = subprocess.run(  # noqa: S603  what the page shows
        ["bash", "-c", BLOCKS[tool]],  # noqa: S607  as a user's shell
        env={**environment, **variables, **path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    sent = [each for each in service.journal() if each["kind"] == "create"]
    snapshots = [f"{each['database_id']}/{each['version_id']}" for each in sent]
    first, *more = (tmp_path / "ran").read_text().splitlines()
    how, by, key = first.split(", ")
    assert how == TOOLS[tool]
    assert sorted(by.split(" ")) == sorted(snapshots)
    assert key == ("key: yes" if "commit" in tool else "key: ")
    is_several = tool.startswith("Several")
    assert len(snapshots) == 1 + is_several
    assert len(more) == (is_several and code == 0)
    assert ("has failed, guarded by" in ended.stderr) is (code != 0)


def _stand_ins(home: Path, code: int) -> Path:
    """A folder with this project's command, and with what stands for each tool and ends with this code."""
    folder = home / "bin"
    folder.mkdir()
    (folder / "squarecloud-snapshots").write_text(
        f'#!/bin/sh\nexec {sys.executable} -m pulumi_snapshots.cli "$@"\n'
    )
    for tool in ("alembic", "npx", "flyway", "squarecloud"):
        (folder / tool).write_text(STAND_IN)
    script = home / "load-data.sh"
    script.write_text(STAND_IN)
    for each in (*folder.iterdir(), script):
        each.chmod(0o755)
    (home / "code").write_text(str(code))
    return folder
