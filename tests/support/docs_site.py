"""Makes the site of docs/ as `make docs` does, in half the time: `python -m tests.support.docs_site`, with Sphinx's arguments.

The theme makes the navigation again for each page, to mark the page in it. Here the pages of a folder share one.
"""

from __future__ import annotations

import sys
from typing import Any

import furo  # type: ignore[import-untyped]
from sphinx.cmd.build import main

made: dict[str, str] = {}
make = furo._compute_navigation_tree


def navigation(context: dict[str, Any]) -> str:
    folder = context["pagename"].rpartition("/")[0]
    if folder not in made:
        made[folder] = make(context)
    return made[folder]


if __name__ == "__main__":
    furo._compute_navigation_tree = navigation
    sys.exit(main(sys.argv[1:]))
