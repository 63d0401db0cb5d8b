"""What only a real process shows: a closed pipe, a locale without UTF-8, its first second, a shell's completion."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pulumi_snapshots.errors import pip_install
from tests.support.preloaded import python_of

MODULE = ("-W", "error", "-m", "pulumi_snapshots.cli")
NO_UTF8 = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
Runs = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Runs a program with its arguments, and more of an environment."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **more}
        return subprocess.run(  # noqa: S603  a fixed command
            arguments,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            env=environment,
        )

    return run


@pytest.mark.parametrize(
    ("line", "code", "errors"),
    [
        ("completion bash 1>&- 2>&-", 1, 0),
        ("completion bash >/dev/full", 1, 1),
        ("--help >/dev/full", 1, 1),
        ("list --frob 2>/dev/full", 2, 0),
    ],
)
def test_closed_or_full_streams_cause_no_traceback(
    runs: Runs, line: str, code: int, errors: int
) -> None:
    ended = runs("bash", "-c", f'"$@" {line}', "bash", sys.executable, *MODULE)
    said = [
        each
        for each in ended.stderr.splitlines()
        if not each.startswith(("hint: ", "more: "))
    ]
    assert (ended.returncode, len(said)) == (code, errors), ended.stderr
    assert all(each.startswith("Error: ") for each in said)


def test_a_locale_without_utf8_shows_escaped_characters(runs: Runs) -> None:
    ended = runs(
        sys.executable, *MODULE, "download", "größe", "--output", "x", **NO_UTF8
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    said = ended.stderr.encode().decode("ascii")
    assert "not 'gr\\xf6\\xdfe'" in said.replace("\\udcc3\\udcb6", "\\xf6").replace(
        "\\udcc3\\udc9f", "\\xdf"
    )


INTERRUPTS = """
import signal
class Finder:
    def find_spec(self, name, *_):
        if name == "pulumi_snapshots.cli.commands":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
STARTS = {
    INTERRUPTS: (130, "Error: interrupted before anything was sent.\n"),
    "sys.modules['rich'] = None": (
        1,
        f"Error: rich is missing; install it with: {pip_install('cli')}\n",
    ),
}


@pytest.mark.parametrize("trouble", STARTS, ids=["interrupt", "missing extra"])
def test_trouble_while_modules_load_is_one_line(runs: Runs, trouble: str) -> None:
    program = f"import sys\n{trouble}\nfrom pulumi_snapshots.cli.__main__ import main\nsys.exit(main())"
    ended = runs(sys.executable, "-c", program, "create", "a")
    assert (ended.returncode, ended.stderr) == STARTS[trouble]
    assert "/path/to" not in ended.stderr, "the clone of this installation is known"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(
    runs: Runs, forks: dict[str, str], shell: str
) -> None:
    script = runs(python_of(forks), *MODULE, "completion", shell, **forks).stdout
    variable, asked = re.findall(rf"(_\w+_COMPLETE)=({shell}_complete)", script)[0]
    for typed, offered in (("cr", "create"), ("create --re", "--reuse-within")):
        words = f"squarecloud-snapshots {typed}"
        # fish gives the word itself, the others its index.
        current = (
            words.rsplit(maxsplit=1)[-1]
            if shell == "fish"
            else str(len(words.split()) - 1)
        )
        completing = {variable: asked, "COMP_WORDS": words, "COMP_CWORD": current}
        ended = runs(python_of(forks), *MODULE, **forks, **completing)
        assert re.findall(r"^(?:plain[,\n])([\w-]+)", ended.stdout, re.MULTILINE) == [
            offered
        ], ended.stderr
