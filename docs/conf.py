"""Sphinx: how the documentation is built."""

import txrouter

project = "txrouter"
version = release = txrouter.__version__
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
# A link to a heading of another page, as in [credit](architecture.md#credit), is checked too.
myst_heading_anchors = 3
nitpicky = True
html_theme = "furo"
html_title = f"txrouter {release}"
