"""The project's version: it stands in pyproject.toml, and what repeats it is written from there.

`python tools/version.py` names the places that say another one; with a version, such as `0.3.0`, it
writes that everywhere. It needs nothing but Python. What is made from the version follows with
`make registry`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
NUMBER = r"\d+\.\d+\.\d+"
SOURCE = ("pyproject.toml", rf'(?m)(?<=^version = "){NUMBER}(?="$)')
PLACES = {
    "README.md": rf"(?<=\nVersion ){NUMBER}(?=, )",
    "docs/plugin.md": rf"(?<=resource squarecloud ){NUMBER}|(?<=squarecloud-v){NUMBER}",
    "docs/dev/publishing.md": rf"(?:(?<= v)|(?<=/v)|(?<=version.py )|(?<=Version )){NUMBER}",
    "examples/go/go.mod": rf"(?<=/sdk/go v){NUMBER}",
    "examples/guard-go/go.mod": rf"(?<=/sdk/go v){NUMBER}",
}
"""The files that repeat it, and where."""


def current(project: Path = PROJECT) -> str:
    """The version that stands in pyproject.toml."""
    version: str = tomllib.loads((project / SOURCE[0]).read_text())["project"][
        "version"
    ]
    return version


def differing(project: Path = PROJECT) -> list[str]:
    """What says another version, or none: `FILE says X`."""
    right = current(project)
    found = []
    for name, pattern in PLACES.items():
        there = set(re.findall(pattern, (project / name).read_text()))
        if there != {right}:
            found.append(f"{name} says {', '.join(sorted(there - {right})) or 'none'}")
    return found


def write(version: str, project: Path = PROJECT) -> None:
    """Write a version everywhere."""
    for name, pattern in {**PLACES, SOURCE[0]: SOURCE[1]}.items():
        file = project / name
        file.write_text(re.sub(pattern, version, file.read_text()))


def main(arguments: list[str]) -> int:
    """Write a version, or say what differs."""
    if len(arguments) > 1 or not all(re.fullmatch(NUMBER, each) for each in arguments):
        print("usage: python tools/version.py [X.Y.Z]", file=sys.stderr)
        return 2
    for version in arguments:
        write(version)
    found = differing()
    for problem in found:
        print(
            f"version: pyproject.toml has {current()}, and {problem}", file=sys.stderr
        )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
