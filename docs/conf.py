"""Settings of the documentation: ``sphinx-build -W docs docs/_build``.

Everything shown is made at build time, and nothing is fetched: pictures by
`pictures.py`, tables of flags and fields from the code, the reference from docstrings,
formulas as MathML, which browsers show without a script.
"""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Pictures compile a dozen small loops that run for a moment each.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")

project = "hierjax"
author = "The hierjax authors"
copyright = author

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_mathml",
    "sphinx_directives",
    "sphinx_signatures",
]
exclude_patterns = ["_build"]
suppress_warnings = ["config.cache"]

html_theme = "furo"
html_title = "hierjax"
html_static_path = ["style"]
html_css_files = ["tables.css"]
html_show_copyright = False
html_copy_source = False
html_math_renderer = "mathml"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

highlight_language = "none"
smartquotes = False
default_role = "py:obj"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [
    ("Arrays", "params_style"),
    ("Protocols", "params_style"),
    ("Class attributes", "params_style"),
]
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
python_trailing_comma_in_multi_line_signatures = False
add_module_names = False
toc_object_entries_show_parents = "hide"
