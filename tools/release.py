"""What a tag releases: `python tools/release.py` prints its notes, or what stands in its way.

The release's workflow asks this first. It needs nothing but Python.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))  # for the workflow, which runs this file alone

from tools import version  # noqa: E402

NO_UPLOAD = "Private :: Do Not Upload"
WHERE = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY")
"""The variables that name the repository that a workflow runs in."""
STATES = Path("tests") / "fixtures" / "states"


def problems(
    tag: str, environment: Mapping[str, str], project: Path = PROJECT
) -> list[str]:
    """What must be done before this tag can be released."""
    known = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    repository = known.get("urls", {}).get("Repository", "")
    found = []
    if tag != f"v{known['version']}":
        found.append(
            f"the tag is {tag}, and the version in pyproject.toml is {known['version']}"
        )
    if NO_UPLOAD in known["classifiers"]:
        found.append(f"pyproject.toml has the classifier {NO_UPLOAD!r}: remove it")
    if not known.get("authors"):
        found.append("pyproject.toml has no authors: name the publisher")
    if not repository:
        found.append("pyproject.toml has no urls.Repository")
    here = elsewhere(repository, environment) if repository else None
    if here is not None:
        found.append(
            f"urls.Repository in pyproject.toml is {repository}, and this is {here}"
        )
    found += [
        f"{each}: run `python tools/version.py`" for each in version.differing(project)
    ]
    number = tag.removeprefix("v")
    if not (project / STATES / number / "formats.json").is_file():
        found.append(
            f"{STATES / number} is missing: `make release-prepare` records it, "
            "last of all"
        )
    if not notes(tag, project):
        found.append(
            f"CHANGELOG.md has no section for {number}: `make release-prepare` gives "
            f"[Unreleased] its number and date"
        )
    return found


def elsewhere(repository: str, environment: Mapping[str, str]) -> str | None:
    """The repository that the workflow runs in, if it is another one than this."""
    here = "/".join(environment.get(each, "") for each in WHERE)
    is_same = repository.rstrip("/").lower() == here.lower()
    return None if is_same or here == "/" else here


def notes(tag: str, project: Path = PROJECT) -> str:
    """What the changelog says of a version; empty if it has no section for it."""
    title = rf"^## \[{re.escape(tag.removeprefix('v'))}\].*?$"
    parts = re.split(
        title, (project / "CHANGELOG.md").read_text(), maxsplit=1, flags=re.MULTILINE
    )
    return parts[1].partition("\n## ")[0].strip() if len(parts) > 1 else ""


def enter_in_changelog(project: Path, today: date) -> None:
    """Give what is unreleased the number of the version and a date, below a new empty section."""
    file = project / "CHANGELOG.md"
    text = file.read_text()
    title = f"## [{version.current(project)}] - {today}"
    if title.partition(" - ")[0] not in text:
        unreleased = "## [Unreleased]\n"
        file.write_text(text.replace(unreleased, f"{unreleased}\n{title}\n", 1))


def main(arguments: list[str]) -> int:
    """Print the notes; with problems print those instead, and fail.

    Without a tag, that of the version.
    """
    if arguments == ["--changelog"]:
        enter_in_changelog(PROJECT, datetime.now(UTC).date())
        return 0
    if len(arguments) > 1 or any(each.startswith("-") for each in arguments):
        print("usage: python tools/release.py [TAG] | --changelog", file=sys.stderr)
        return 2
    tag = arguments[0] if arguments else f"v{version.current()}"
    found = problems(tag, os.environ)
    for problem in found:
        print(f"release: {problem}", file=sys.stderr)
    if not found:
        print(notes(tag))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
