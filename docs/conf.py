"""How Sphinx makes the site of these pages: `make docs`.

What the pages say stands in them and in the docstrings.
"""

import gc
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

from pulumi_snapshots.plugin.description.identity import LOGO, NO_UPLOAD
from pulumi_snapshots.program import Declared
from pulumi_snapshots.properties.catalogue import Record

# Sphinx keeps what it has read until its end, and looking for garbage in that takes a quarter of
# the time.
gc.disable()
# For the search each word is cut to its stem, which is the same on each page.
SearchEnglish.stem = cache(SearchEnglish.stem)

PROJECT = Path(__file__).resolve().parent.parent
# The version stands once, in pyproject.toml.
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())

STATUS = re.compile(r"\b(?:20[02]|40\d|429|499|5\d\d)\b(?! (?:bytes|MB|GB))")

project = "pulumi-snapshots"
release = METADATA["project"]["version"]
html_title = f"{project} {release}"
copyright = "the authors of pulumi-snapshots, Apache-2.0"  # noqa: A001  Sphinx's name

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
MISSING_PAGE = "404"
language = "en"
# What Pulumi's registry reads, made of other pages by `make registry`.
exclude_patterns = ["_index.md", "installation-configuration.md"]
smartquotes = False  # they make one dash of the two of an option

# The headings' anchors are those that a repository's own view of the Markdown gives them, so that
# links hold in both.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

# Docstrings are written with Markdown's backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_use_ivar = True

html_theme = "furo"
html_logo = LOGO
html_favicon = LOGO
if NO_UPLOAD in METADATA["project"]["classifiers"]:
    clone = (
        "This package is not published yet: give pip the path of a clone, such as "
        "<code>'/path/to/clone[cli]'</code>."
    )
    html_theme_options = {"announcement": clone}
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
# Nothing is loaded from elsewhere: the site works without a network, and tells nobody who reads it.
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
pygments_style = "friendly"
pygments_dark_style = "native"


def link_files(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Let a link to an example or to a measure be a download: neither is a page of the site."""
    source[0] = re.sub(r"\]\(((?:\.\./)+(?:examples|bench)/)", r"](path:\1", source[0])


def index_statuses(_app: Sphinx, page: str, source: list[str]) -> None:
    """Let the search find a status such as 429, and the term that a question begins with.

    The search of the site skips numbers, except those in the index.
    """
    is_faq = page == "faq"
    if not is_faq and not page.startswith("errors/"):
        return
    sections = re.split(r"^(?=## )", source[0], flags=re.MULTILINE)
    for at, section in enumerate(sections[1:], 1):
        heading, rest = section.split("\n", 1)
        found = sorted(set(STATUS.findall(heading if is_faq else rest)))
        if is_faq:  # the first of what is found
            found = [f"! {each}" for each in found]
            found += [f"! {term}" for term in re.findall(r"^## (.+): ", heading)]
        entries = "".join(f"```{{index}} {each}\n```\n" for each in found)
        sections[at] = f"{heading}\n\n{entries}{rest}"
    source[0] = "".join(sections)


def describe(
    _app: Sphinx, _what: str, _name: str, shown: Any, _options: object, lines: list[str]
) -> None:
    """Add the declared properties to the docstring of a resource or a record, in the reference."""
    if isinstance(shown, type) and issubclass(shown, Record | Declared):
        properties = (
            shown.properties() if issubclass(shown, Record) else shown.schema.outputs
        )
        lines += [
            "",
            "Attributes:",
            *(f"    {name}: {each.description}" for name, each in properties.items()),
        ]


def find_site(
    _app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Let the page for a missing page find the site, since a server shows it at any address."""
    address = METADATA["project"]["urls"].get("Documentation")
    if page == MISSING_PAGE and address:
        context["metatags"] += f'<base href="{address.rstrip("/")}/">'


def setup(app: Sphinx) -> None:
    """Register the functions above."""
    app.connect("html-page-context", find_site)
    app.connect("source-read", link_files)
    app.connect("source-read", index_statuses)
    # before Napoleon reads the docstring
    app.connect("autodoc-process-docstring", describe, priority=100)
