"""How the documentation is built; see ci/docs.sh."""

import importlib
import pathlib
import shutil
import types

import daskksvd

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]

project = "daskksvd"
author = "daskksvd maintainers"
version = release = daskksvd.__version__
copyright = "daskksvd maintainers, BSD 3-Clause licence"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# notebooks run in the tests; pages show their text and code, and whoever wants the pictures runs them
nb_execution_mode = "off"

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc says them
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
doctest_test_doctest_blocks = "default"
doctest_global_setup = "import tempfile, os; os.chdir(tempfile.mkdtemp())"

html_theme = "furo"
html_title = f"daskksvd {version}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {"navigation_with_keys": False}


def collected():
    """Notebooks and tables lie where they are used; pages are made of copies of them."""
    notebooks = HERE / "tutorials"
    notebooks.mkdir(exist_ok=True)
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(path, notebooks)


ROOMS = {
    "daskksvd": "Learn, code, name; and what they give back.",
    "daskksvd.datasets": "Data to try things on, of which the truth is known.",
    "daskksvd.captions": "Captions as words.",
    "daskksvd.naming": "Words for atoms.",
    "daskksvd.evaluation": "How good a dictionary, its codes and its names are.",
    "daskksvd.joint": "Images and texts in one dictionary.",
    "daskksvd.view": "Look at a result.",
    "daskksvd.view.plots": "HoloViews elements of a result.",
}
"""Modules with public names, in the order of the reference."""


def reference():
    """The page of all public names: those that modules list themselves, so that none is missing."""
    lines = ["# Reference", "", "Every public name, by the module it is imported from.", ""]
    for name, says in ROOMS.items():
        module = importlib.import_module(name)
        names = {one for one in module.__all__ if not isinstance(getattr(module, one), types.ModuleType)}
        names = sorted(names if module is daskksvd else names - set(daskksvd.__all__))
        lines += [f"## {name}", "", says, "", "```{eval-rst}", f".. currentmodule:: {name}", ""]
        lines += [".. autosummary::", "   :toctree: generated", "   :template: public.rst", ""]
        lines += [*(f"   {one}" for one in names), "```", ""]
    folder = HERE / "api"
    folder.mkdir(exist_ok=True)
    (folder / "index.md").write_text("\n".join(lines))


collected()
reference()
