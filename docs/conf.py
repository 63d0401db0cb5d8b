"""How Sphinx makes the site of these pages: `make docs`. What the pages say stands in them and in the docstrings."""

import gc
import sys
import tomllib
from functools import cache
from pathlib import Path

from sphinx.search.en import SearchEnglish

from pulumi_snapshots.plugin.description.identity import LOGO, NO_UPLOAD

# Sphinx keeps what it has read until its end, and looking for garbage in that takes a quarter of the time.
gc.disable()
# For the search each word is cut to its stem, which is the same on each page.
SearchEnglish.stem = cache(SearchEnglish.stem)

PROJECT = Path(__file__).resolve().parent.parent
# The version stands once, in pyproject.toml.
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())

project = "pulumi-snapshots"
release = METADATA["project"]["version"]
html_title = f"{project} {release}"
copyright = "the authors of pulumi-snapshots, Apache-2.0"  # noqa: A001  Sphinx's name

sys.path.insert(0, str(PROJECT / "docs" / "_ext"))
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "property_tables", "quota_calculator"]
root_doc = "index"
language = "en"
smartquotes = False  # they make one dash of the two of an option

# The headings' anchors are those that a repository's own view of the Markdown gives them, so that links hold in both.
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
        "This package is not published yet: give pip the path of a clone, such as <code>'/path/to/clone[cli]'</code>."
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
