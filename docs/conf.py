"""Sphinx: Markdown pages, and pages made from the tables and the public names."""

import importlib.metadata
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import pages  # noqa: E402

project = "fastopt"
author = "The fastopt developers"
copyright = "The fastopt developers"
release = version = importlib.metadata.version("fastopt")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "numpydoc",
]
# Not sphinx-gallery: without running the scripts (13 minutes) it shows neither their figures nor
# their numbers, and adds only what studies.md has: thumbnails, titles, scripts to download.
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "html_image"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "**/__pycache__"]

autodoc_typehints = "none"  # the docstrings say them, with shapes and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "fastopt"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
# An empty column beside pages that have no pages below them took the room of code and tables.
html_sidebars: dict[str, list[str]] = {page.stem: [] for page in HERE.glob("*.md")}
html_sidebars |= {"generated/optimizers": [], "generated/tables": []}
html_static_path: list[str] = []
linkcheck_timeout = 20


def setup(app):
    """Write the generated pages before anything is read."""
    app.connect("config-inited", lambda app, config: pages.write(HERE / "generated"))
