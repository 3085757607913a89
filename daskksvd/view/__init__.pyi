from . import plots as plots
from .data.atom_index import build_atom_index as build_atom_index
from .data.atom_index import open_atom_index as open_atom_index
from .data.galleries import gallery as gallery
from .data.opening import open_view as open_view
from .data.view import View as View
from .page.report import report as report
from .server.app import dashboard as dashboard
from .templates.markup import gallery_html as gallery_html

__all__ = [
    "View",
    "build_atom_index",
    "dashboard",
    "gallery",
    "gallery_html",
    "open_atom_index",
    "open_view",
    "plots",
    "report",
]
