"""Sphinx: pages in MyST Markdown; those of the commands are made from their help while building."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "birdnn"
author = "The birdnn developers"
copyright = author
release = metadata.version("birdnn")

extensions = [
    "command_pages",
    "published_fields",
    "schema_list",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
default_role = "code"
smartquotes = False  # it would make one dash of the two of an option

autodoc_class_signature = "separated"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
autodoc_type_aliases = {name: name for name in ("ArrayLike", "File", "NetworkLike", "PropertyLike", "PropertiesLike")}
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_preprocess_types = False

html_theme = "furo"
html_title = "birdnn"
html_static_path = ["_static"]
html_css_files = ["birdnn.css"]
html_extra_path = ["schema"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5d8f", "color-brand-content": "#0b5d8f"},
    "dark_css_variables": {"color-brand-primary": "#6cb6e8", "color-brand-content": "#6cb6e8"},
}
