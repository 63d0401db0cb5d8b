"""The lock files in locks/: names, versions and hashes of what is installed, and no address.

`python -m tools.lock` renews them to the newest versions that `pyproject.toml` and the examples
allow; `--check` says whether each still fits what it is made from.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tools import engine, environment
from tools.engine import Closed, exit_code

PROJECT = Path(__file__).resolve().parent.parent
LOCKS = PROJECT / "locks"
REQUIREMENTS = {
    "requirements.txt": ("pyproject.toml", "--group", "dev", "--all-extras"),
    "requirements-image.txt": (
        "pyproject.toml",
        *(f"--extra={name}" for name in ("archive", "cli", "drill", "encrypt")),
    ),
    "requirements-checks.txt": ("--group", "pyproject.toml:checks"),
}
"""The files for Python, and what of `pyproject.toml` each of them locks."""
OLDEST_PYTHON = "3.11"
GO_SUMS = LOCKS / "go.sum"
TYPESCRIPT = PROJECT / "examples" / "typescript" / "package.json"
AZURITE = "3.37.0"
NEVER_LOADED = ("applicationinsights", "mysql2", "tedious")
"""What Azurite asks for and does without: telemetry, which is off, and two databases.

With what they ask for in turn they make up seven of every eight files, and loading the first would
take longer than the rest of a start.
"""
NPM = ("--no-audit", "--no-fund", "--ignore-scripts")
say = partial(engine.say, who="lock")


# Python


def compile_requirements(name: str, folder: Path, *options: str) -> None:
    """Write a file for Python into a folder.

    Versions that it has already stay unless `--upgrade` is among the options.

    Raises:
        Closed: uv cannot be had, or finds no versions that fit.
    """
    command = [
        str(environment.uv()),
        *("pip", "compile", *REQUIREMENTS[name]),
        *("--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes"),
        *(
            "--no-annotate",
            "--no-header",
            "--no-emit-index-url",
            "--no-emit-find-links",
        ),
        *("--quiet", "--output-file", str(folder / name), *options),
    ]
    engine.run(command, PROJECT, os.environ)


# npm


def typescript_packages() -> dict[str, Any]:
    """What the tests of TypeScript need: what the example asks for, except the generated SDK."""
    wanted = json.loads(TYPESCRIPT.read_text())
    packages = {**wanted["dependencies"], **wanted["devDependencies"]}
    return {
        "private": True,
        "dependencies": {
            name: version
            for name, version in packages.items()
            if not version.startswith("file:")
        },
    }


def azurite_packages(folder: Path) -> dict[str, Any]:
    """What Azurite needs, with an empty package in place of what is never loaded.

    The package is made in the folder, and npm makes a relative link of it. A relative path would
    not do: npm before 11 resolves it from Azurite's folder.
    """
    nothing = folder.resolve() / "nothing"
    nothing.mkdir()
    (nothing / "package.json").write_text(
        json.dumps({"name": "nothing", "version": "1.0.0"})
    )
    (nothing / "index.js").touch()
    return {
        "private": True,
        "dependencies": {"azurite": AZURITE},
        "overrides": dict.fromkeys(NEVER_LOADED, f"file:{nothing}"),
    }


NPM_LOCKS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "typescript.json": lambda _: typescript_packages(),
    "azurite.json": azurite_packages,
}


def install_npm(name: str, into: Path) -> None:
    """Install the packages of a lock file into a folder, and only what has the locked hashes.

    Raises:
        Closed: npm cannot get them, or they are not those that are locked.
    """
    wanted = NPM_LOCKS[name](into)
    (into / "package.json").write_text(json.dumps(wanted))
    shutil.copyfile(LOCKS / name, into / "package-lock.json")
    engine.run(["npm", "install", *NPM], into, os.environ)


def lock_npm(name: str, folder: Path) -> None:
    """Write a lock file of npm into a folder, which has it already if its versions are to stay."""
    with tempfile.TemporaryDirectory() as work:
        place = Path(work) / "locked"  # npm writes the folder's name into the file
        place.mkdir()
        wanted = NPM_LOCKS[name](place)
        (place / "package.json").write_text(json.dumps(wanted))
        made = place / "package-lock.json"
        if (folder / name).exists():
            shutil.copyfile(folder / name, made)
        options = ("--package-lock-only", "--omit-lockfile-registry-resolved")
        engine.run(["npm", "install", *NPM, *options], place, os.environ)
        content = json.loads(made.read_text())
    for package in content["packages"].values():
        # The first two can be addresses; npm drops the third one when it reads the file again.
        for needless in ("funding", "license", "name"):
            package.pop(needless, None)
    (folder / name).write_text(json.dumps(content, indent=1) + "\n")


# All of them


def make(folder: Path, *, upgrade: bool) -> None:
    """Write the files for Python and npm into a folder.

    Args:
        folder: Where to; it may have earlier ones.
        upgrade: Whether to take the newest versions, or those that the earlier files have.
    """
    for name in REQUIREMENTS:
        compile_requirements(name, folder, *(["--upgrade"] if upgrade else []))
    for name in NPM_LOCKS:
        if upgrade:
            (folder / name).unlink(missing_ok=True)
        lock_npm(name, folder)


def stale() -> list[str]:
    """The names of the files that do not fit what they are made from."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in (*REQUIREMENTS, *NPM_LOCKS):
            shutil.copyfile(LOCKS / each, folder / each)
        make(folder, upgrade=False)
        return [
            each
            for each in (*REQUIREMENTS, *NPM_LOCKS)
            if (folder / each).read_text() != (LOCKS / each).read_text()
        ]


def lock_go() -> None:
    """Write the hashes of all Go modules that are compiled here, by compiling them again.

    Raises:
        Closed: There is no Go, or a module cannot be compiled.
    """
    say("compiling all Go programs again, for the hashes of their modules: minutes")
    with tempfile.TemporaryDirectory() as name:
        collected = Path(name) / "collected"
        collected.touch()
        own = {
            "XDG_CACHE_HOME": name,
            engine.COLLECT_SUMS: str(collected),
            "PATH": _without_pulumi(os.environ.get("PATH", os.defpath)),
        }
        command = [str(environment.PYTHON), "-m", "tools.go_programs"]
        variables = {**os.environ, **own}
        done = subprocess.run(command, cwd=PROJECT, env=variables, check=False)  # noqa: S603
        lines = sorted(set(collected.read_text().splitlines()))
        engine.remove(Path(name) / "pulumi-snapshots")
    if done.returncode:
        raise Closed("not all Go programs could be compiled")
    GO_SUMS.write_text("".join(f"{line}\n" for line in lines))


def _without_pulumi(path: str) -> str:
    """The path without an installed Pulumi, which would be taken instead of compiling one."""
    folders = path.split(os.pathsep)
    return os.pathsep.join(
        each
        for each in folders
        if not re.search(r"pulumi", " ".join(_names(Path(each))))
    )


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [each.name for each in folder.iterdir()]


def main(arguments: list[str]) -> int:
    """Renew the files, or check them."""
    return exit_code(_check if arguments == ["--check"] else _renew, say)


def _check() -> int:
    """Say which files are stale; returns 1 if one is."""
    found = stale()
    for name in found:
        say(f"locks/{name} does not fit what it is made from: run `make lock`")
    return int(bool(found))


def _renew() -> int:
    """Make the files again; returns 1 if the environment of Python cannot be made of them."""
    LOCKS.mkdir(exist_ok=True)
    make(LOCKS, upgrade=True)
    if environment.main():
        return 1
    lock_go()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
