"""How to install an extra of this package today."""

from __future__ import annotations

PUBLISHED = False
"""Whether an index may have the package, as the classifiers in pyproject.toml say; a test compares the two."""
SOURCE = "pulumi-snapshots" if PUBLISHED else "/path/to/clone"


def pip_install(extra: str) -> str:
    """The command that installs an extra, in words for an error: from a clone until an index has the package."""
    return f"pip install '{SOURCE}[{extra}]'"
