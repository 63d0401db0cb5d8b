"""Checks of what no test runs: `python -m tools.checks` reads workflows, action and Dockerfile.

With `--flaws` it asks which locked libraries have known flaws instead. The tools have the versions
and hashes of `locks/requirements-checks.txt`, and actionlint that of its Go module. They are in
the cache.
"""

import hashlib
import os
import subprocess
import sys
import venv
from functools import partial
from pathlib import Path

from tools import engine, environment
from tools.engine import Closed
from tools.lock import LOCKS

PROJECT = Path(__file__).resolve().parent.parent
LOCK = LOCKS / "requirements-checks.txt"
ACTIONLINT = "1.7.12"
say = partial(engine.say, who="checks")


def tools() -> Path:
    """The folder of the programs, installed if it is missing; Closed if they cannot be had."""
    made_from = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[
        :12
    ]
    return engine.kept(os.environ, f"checks-{made_from}", _install) / "bin"


def _install(into: Path, _: engine.Environment) -> None:
    venv.create(into, with_pip=True)
    pip = (
        str(into / "bin" / "python"),
        "-m",
        "pip",
        "--quiet",
        "install",
        "--require-hashes",
    )
    if not environment.done(*pip, "--requirement", str(LOCK), shown=True):
        raise Closed("the tools cannot be installed")


def actionlint() -> Path:
    """The program that reads workflows, built from its Go module; Closed if it cannot be built."""
    module = "github.com/rhysd/actionlint"

    def make(into: Path, variables: engine.Environment) -> None:
        needs = f"require {module} v{ACTIONLINT}\n"
        package = f"{module}/cmd/actionlint"
        work = engine.module(into / "work", needs, engine.needing(package))
        go = engine.new_enough(work, variables)
        engine.build(go, work, package, into / "actionlint", ACTIONLINT, variables)
        engine.remove(work)

    return engine.kept(os.environ, f"actionlint-{ACTIONLINT}", make) / "actionlint"


def commands(*, flaws: bool) -> list[list[str]]:
    """What is run; Closed if a tool cannot be had."""
    found = tools()
    if flaws:
        audit = [
            # its script names the folder in which the tools were installed before they were moved
            str(found / "python"),
            "-m",
            "pip_audit",
            "--strict",  # a library that it knows nothing of is not said to have no flaw
            "--disable-pip",
            "--require-hashes",
            "--requirement",
        ]
        return [[*audit, str(LOCKS / "requirements.txt")]]
    return [
        [
            str(found / "zizmor"),
            "--offline",
            "--persona=pedantic",
            ".github",
            "action.yml",
        ],
        [str(found / "shellcheck"), *map(str, sorted(PROJECT.glob("templates/*.sh")))],
        [str(actionlint()), "-shellcheck", str(found / "shellcheck")],
        *[
            [str(found / "hadolint"), str(each)]
            for each in sorted(PROJECT.glob("*Dockerfile"))
        ],
    ]


def main(arguments: list[str]) -> int:
    """Run all of them, whatever the first ones say; 1 if one complains."""
    try:
        wanted = commands(flaws=arguments == ["--flaws"])
    except Closed as reason:
        say(str(reason))
        return 1
    complaints = 0
    for command in wanted:
        done = subprocess.run(command, cwd=PROJECT, check=False)  # noqa: S603
        if done.returncode:
            complaints += 1
        result = "complains" if done.returncode else "nothing to complain about"
        say(f"{Path(command[0]).name}: {result}")
    return int(complaints > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
