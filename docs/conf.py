"""Sphinx's settings."""

from dipole import __version__

project = "dipole"
author = "the dipole contributors"
release = __version__
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
