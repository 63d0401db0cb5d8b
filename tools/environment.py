"""The project's virtual environment: made, brought up to date, or repaired, whichever it needs.

`python -m tools.environment` makes `.venv` of the Python that runs it, with the package in editable
mode, the emulator, what makes the documentation, and the development tools, each of the version and
with the hash in `locks/requirements.txt`. A stamp, written last, says for what it was made; without
it the environment is unfinished.
"""

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import venv
from functools import partial
from pathlib import Path

from tools import engine
from tools.engine import Closed, Environment, kept

PROJECT = Path(__file__).resolve().parent.parent
REQUIREMENTS = PROJECT / "pyproject.toml"
ENVIRONMENT = PROJECT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
STAMP = ENVIRONMENT / "made-for"

LOCK = PROJECT / "locks" / "requirements.txt"
"""Names, versions and hashes of all that is installed; `make lock` renews it."""
LOCKED = ("--require-hashes", "--no-deps", "--requirement", str(LOCK))
OWN = ("--no-deps", "--no-build-isolation", "--editable", ".")
"""The package itself, by the build backend that is installed before it."""
say = partial(engine.say, who="environment")


def wanted() -> str:
    """What the environment is made for: requirements, Python, and the path in its scripts."""
    parts = (
        REQUIREMENTS.read_text(),
        LOCK.read_text(),
        sys.version,
        str(ENVIRONMENT),
        *OWN,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def ready() -> bool:
    """Whether it is finished, up to date and runs."""
    return STAMP.exists() and STAMP.read_text() == wanted() and runs()


def runs() -> bool:
    """Whether its Python is there, is the wanted one, and has pip."""
    script = "import sys, pip; print(sys.version, end='')"
    try:
        answer = subprocess.run(  # noqa: S603
            [PYTHON, "-c", script], capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return answer.stdout == sys.version


def install() -> bool:
    """Install what is needed: by uv, which takes a quarter of pip's time, else by pip."""
    try:
        program = uv()
    except Closed as reason:
        say(str(reason))
    else:
        if not mirrored(program.parent / "python"):
            into = (str(program), "--quiet", "pip", "install", "--python", str(PYTHON))
            if all(done(*into, *what) for what in (LOCKED, OWN)):
                return True
            say("uv does not do it here: pip does, in a minute")
    # Python compiles what is imported; all that is installed would take half a minute.
    options = ("--quiet", "--disable-pip-version-check", "install", "--no-compile")
    pip = (str(PYTHON), "-m", "pip", *options)
    own = done(str(PYTHON), "-m", "ensurepip")
    return own and all(done(*pip, *what, shown=True) for what in (LOCKED, OWN))


def uv() -> Path:
    """The uv that is locked, installed if it is missing and kept in the user's cache.

    Closed if it cannot be had.
    """
    made_from = hashlib.sha256(f"{locked('uv')}{sys.version}".encode()).hexdigest()[:12]
    return kept(os.environ, f"uv-{made_from}", fetch_uv, has_uv) / "bin" / "uv"


def locked(name: str) -> str:
    """The lines of the lock file about one distribution; empty if it has none."""
    lines = re.search(
        rf"^{name}==.*?(?=^\S|\Z)", LOCK.read_text(), re.MULTILINE | re.DOTALL
    )
    return lines[0] if lines else ""


def fetch_uv(into: Path, _: Environment) -> None:
    """Make an environment with pip and uv alone.

    Kept, it makes others in a third of the time that their own pip takes.
    """
    venv.create(into, with_pip=True)
    wanted = into / "uv.txt"
    wanted.write_text(locked("uv"))
    pip = (
        str(into / "bin" / "python"),
        "-m",
        "pip",
        "--quiet",
        "install",
        "--no-compile",
    )
    if not done(*pip, "--require-hashes", "--requirement", str(wanted)):
        raise Closed("uv cannot be had here: pip installs everything, in a minute")


def has_uv(home: Path) -> bool:
    """Whether its Python and uv are still there."""
    return all((home / "bin" / name).exists() for name in ("python", "uv"))


def mirrored(python: Path = PYTHON) -> bool:
    """Whether pip's settings say where packages come from; uv does not read them."""
    listing = [str(python), "-m", "pip", "config", "list"]
    return (
        "index"
        in subprocess.run(listing, capture_output=True, text=True, check=False).stdout  # noqa: S603
    )


def done(*command: str, shown: bool = False) -> bool:
    """Whether the command succeeds.

    What it prints is for the user only if nothing else is tried.
    """
    output = None if shown else subprocess.DEVNULL
    return (
        subprocess.run(  # noqa: S603
            command, cwd=PROJECT, check=False, stdout=output, stderr=output
        ).returncode
        == 0
    )


def make() -> bool:
    """Bring it up to date, or else make it again."""
    STAMP.unlink(missing_ok=True)
    if runs():
        say("bringing .venv up to date")
        if install():
            return True
    say(f"making .venv with Python {sys.version.split()[0]}: up to a minute, once")
    venv.create(ENVIRONMENT, clear=True)
    return install()


def main() -> int:
    """Make it ready; one run at a time."""
    with REQUIREMENTS.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if ready():
            return 0
        # before the install: a change while it runs must not go unnoticed
        key = wanted()
        if not make():
            say("not ready: the installation above failed")
            return 1
        STAMP.write_text(key)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("stopped; the next run resumes")
        sys.exit(130)
