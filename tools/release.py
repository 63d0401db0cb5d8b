"""What a tag releases: `python tools/release.py v0.1.0` prints the release's notes, or what stands in its way.

The release's workflow asks this first. It needs nothing but Python.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = Path(__file__).resolve().parent.parent
NO_UPLOAD = "Private :: Do Not Upload"


def problems(tag: str, environment: Mapping[str, str], project: Path = PROJECT) -> list[str]:
    """What must be done before this tag can be released."""
    known = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    repository = known.get("urls", {}).get("Repository", "")
    found = []
    if tag != f"v{known['version']}":
        found.append(f"the tag is {tag}, and the version in pyproject.toml is {known['version']}")
    if NO_UPLOAD in known["classifiers"]:
        found.append(f"pyproject.toml has the classifier {NO_UPLOAD!r}: remove it")
    if not known.get("authors"):
        found.append("pyproject.toml has no authors: name the publisher")
    if not repository:
        found.append("pyproject.toml has no urls.Repository")
    here = f"{environment.get('GITHUB_SERVER_URL', '')}/{environment.get('GITHUB_REPOSITORY', '')}"
    if repository and here != "/" and repository.rstrip("/").lower() != here.lower():
        found.append(f"urls.Repository in pyproject.toml is {repository}, and this is {here}")
    if not notes(tag, project):
        found.append(
            f"CHANGELOG.md has no section for {tag.removeprefix('v')}: give [Unreleased] its number and date"
        )
    return found


def notes(tag: str, project: Path = PROJECT) -> str:
    """What the changelog says of a version; empty if it has no section for it."""
    title = rf"^## \[{re.escape(tag.removeprefix('v'))}\].*?$"
    parts = re.split(title, (project / "CHANGELOG.md").read_text(), maxsplit=1, flags=re.MULTILINE)
    return parts[1].partition("\n## ")[0].strip() if len(parts) > 1 else ""


def main(arguments: list[str]) -> int:
    """Print the notes; with problems print those instead, and fail."""
    if len(arguments) != 1:
        print("usage: python tools/release.py TAG", file=sys.stderr)
        return 2
    for problem in (found := problems(arguments[0], os.environ)):
        print(f"release: {problem}", file=sys.stderr)
    if not found:
        print(notes(arguments[0]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
