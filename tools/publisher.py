"""`python tools/publisher.py`: writes what follows from the publisher in pyproject.toml.

Once the classifier against uploads is gone, pages and errors install the package from an index.
Once the repository is named, the Go examples import the module there. It needs nothing but Python;
`make environment generated` makes the rest.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
NO_UPLOAD = "Private :: Do Not Upload"
GO_WITHOUT_REPOSITORY = "pulumi-squarecloud.invalid/sdk/go"
INSTALLING = (
    "docs/**/*.md",
    "squarecloud_emulator/__main__.py",
    "tests/emulator/test_postgres_process.py",
    "tests/engine/test_package.py",
)
"""The files that say how to install the package."""
PUBLISHED = (
    ("pulumi_snapshots/errors/__init__.py", r"^PUBLISHED = False", "PUBLISHED = True"),
    ("README.md", r"pip install \S+ +# once published: ", ""),
    ("README.md", r"(?<=^Version )(\S+), not published", r"\1, published"),
    ("docs/install.md", r"^The package is not published yet.*\n", "From PyPI:\n"),
    ("docs/install.md", r"^Once it is published.*\n\n", ""),
    ("docs/plugin.md", r"^Once the package is published.*\n\n", ""),
    *((files, r"'/path/to/clone\[", "'pulumi-snapshots[") for files in INSTALLING),
)
"""Files, a pattern and what takes its place."""
GO = (
    "examples/*go/go.mod",
    "examples/*go/main.go",
    "tests/engine/programs/*/*.go",
)
"""The files that import the Go module."""


def replacements(project: Path) -> list[tuple[str, str, str]]:
    """Return what is to be replaced, as `PUBLISHED` has it, for the publisher that is set."""
    known = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    found = list(PUBLISHED) if NO_UPLOAD not in known["classifiers"] else []
    repository = known.get("urls", {}).get("Repository", "")
    if repository:
        module = f"{repository.partition('://')[2].rstrip('/')}/sdk/go"
        found += [(each, re.escape(GO_WITHOUT_REPOSITORY), module) for each in GO]
    return found


def write(project: Path = PROJECT) -> list[str]:
    """Replace it, and return the names of the files that have changed."""
    changed = set()
    for files, pattern, new in replacements(project):
        for file in project.glob(files):
            text = file.read_text()
            written = re.sub(pattern, new, text, flags=re.MULTILINE)
            if written != text:
                file.write_text(written)
                changed.add(str(file.relative_to(project)))
    return sorted(changed)


def main() -> int:
    """Write it, and print the files that have changed."""
    for name in write():
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
