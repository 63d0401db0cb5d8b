"""How to install an extra of this package today."""

from __future__ import annotations

import json
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import unquote, urlsplit

PUBLISHED = False
"""Whether an index may have the package, as the classifiers in pyproject.toml say; a test compares the two."""
NAME = "pulumi-snapshots"


def pip_install(extra: str) -> str:
    """The command that installs an extra, in words for an error: from the clone of this installation, or from an index."""
    return f"pip install '{_source()}[{extra}]'"


def _source() -> str:
    with suppress(PackageNotFoundError, ValueError):
        url = urlsplit(json.loads(distribution(NAME).read_text("direct_url.json") or "{}").get("url", ""))
        if url.scheme == "file":
            return unquote(url.path)
    return NAME if PUBLISHED else "/path/to/clone"
