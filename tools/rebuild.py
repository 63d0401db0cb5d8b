"""Rebuild a release and compare: `python -m tools.rebuild TAG SHA256SUMS`, in a clone.

It makes the files again from the tag's sources, in a folder of its own, with the locked versions of
all libraries, and compares them with the sums of the published files. The package, its sources and
the SDKs are the same on every machine. The plugin's archive holds Python: it is the same only on
the same kind of machine with the Python that its list of libraries (`.cdx.json`) names.
"""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from tools import engine
from tools.engine import Closed

PROJECT = Path(__file__).resolve().parent.parent
SAME = "the same"
OTHER = "DIFFERS"
MISSING = "not made here"
say = partial(engine.say, who="rebuild")


def read_sums(text: str) -> dict[str, str]:
    """The SHA-256 of each file, from lines as `sha256sum` writes them.

    Raises:
        Closed: A line is none of these.
    """
    found = {}
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:  # noqa: PLR2004  hexadecimal digits of SHA-256
            raise Closed(f"this is no line of a file of sums: {line!r}")
        found[name] = digest
    if not found:
        raise Closed("the file of sums is empty")
    return found


def compare(published: dict[str, str], rebuilt: dict[str, str]) -> dict[str, str]:
    """How each published file compares with the one that was made here."""
    return {
        name: MISSING
        if name not in rebuilt
        else SAME
        if rebuilt[name] == digest
        else OTHER
        for name, digest in published.items()
    }


def rebuild(tag: str, folder: Path) -> dict[str, str]:
    """Make the release of a tag in a folder; returns the sums of its files.

    Raises:
        Closed: There is no such tag, or it cannot be made.
    """
    engine.run(
        ["git", "clone", "--quiet", "--branch", tag, str(PROJECT), str(folder)],
        PROJECT,
        os.environ,
    )
    say(f"making {tag} in {folder}: minutes")
    for command in (["make", "environment"], [".venv/bin/python", "-m", "tools.dist"]):
        done = subprocess.run(command, cwd=folder, check=False, stdout=sys.stderr)  # noqa: S603
        if done.returncode:
            raise Closed(f"{' '.join(command)} failed")
    return read_sums((folder / "dist" / "SHA256SUMS").read_text())


def main(arguments: list[str]) -> int:
    """Print how each file compares; 0 only if none differs and one is the same."""
    if len(arguments) != 2:  # noqa: PLR2004  the two that the usage names
        print("usage: python -m tools.rebuild TAG SHA256SUMS", file=sys.stderr)
        return 2
    try:
        published = read_sums(Path(arguments[1]).read_text())
        with tempfile.TemporaryDirectory(prefix="rebuild-") as name:
            found = compare(published, rebuild(arguments[0], Path(name) / "sources"))
    except (Closed, OSError) as reason:
        say(str(reason))
        return 1
    for file, result in found.items():
        print(f"{result:<14} {file}")
    return int(OTHER in found.values() or SAME not in found.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
